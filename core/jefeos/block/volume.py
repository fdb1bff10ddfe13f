"""Filesystems that live on a volume: what a plugin offers beside mounting one.

    disk image or disk --> BlockDevice (whole, or a partition) --> BufferCache = the volume --> VolumeFormat
                                                                                  recognise, open, make, check, describe

A `VolumeFormat` is what `jefeos_filesystems` hands over in `FilesystemType.volume`. The kernel opens a disk's partition
with it, and ``jefeos disk`` an image without a kernel. Rules for who implements one:

  * The volume is a `BufferCache`: bytes at offsets. Write to it freely; `order()` stands between what must reach the
    medium first and what comes after, and `flush()` is fsync. Only metadata belongs into the cache for long.
  * What is on the medium is untrusted. Whatever it says, the answer is a `CorruptError` or KernelError(EIO, EUCLEAN)
    with the structure's name, never another exception, a loop without end or memory in proportion to a claim.
  * A volume that is opened read-only, or checked without ``repair``, is not written to at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from jefeos.block.partitions import LINUX_DATA, PartitionKind
from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.inode import Clock, Filesystem

Progress: TypeAlias = Callable[[int, int], None]
"""Called with work done and work in all, in one unit, while something long goes on."""


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


@frozen
class FormatOptions:
    """How `VolumeFormat.make` is to lay out a volume."""

    label: str = ""
    cluster_bytes: int | None = None
    """Unit of allocation; None chooses by the size of the volume."""
    variant: str | None = None
    """Which of a family of formats (``fat12``, ``fat16``, ``fat32``); None chooses by the size."""
    entropy: Callable[[int], bytes] | None = None
    """Gives that many random bytes, for serial numbers; None takes the host's."""
    hidden_sectors: int = 0
    """Sectors of the disk before this partition."""


@frozen
class Problem:
    """Something that `VolumeFormat.check` found."""

    where: str
    """The structure or the path, as ``FAT 2``, ``MFT record 35``, ``/dir/name``."""
    what: str
    """What is wrong with it, in one sentence without a period at the end."""
    harmless: bool = False
    """Only space is lost (leaked clusters, an orphan): no file and no name is affected."""
    repaired: bool = False


@frozen
class CheckReport:
    """What `VolumeFormat.check` gives."""

    problems: tuple[Problem, ...] = ()
    files: int = 0
    directories: int = 0
    used_bytes: int = 0
    free_bytes: int = 0
    notes: tuple[str, ...] = field(default=())
    """What is no problem but worth saying (dirty flag set, journal replayed)."""

    @property
    def clean(self) -> bool:
        """Nothing is wrong, or everything that was has been repaired."""
        return all(problem.repaired for problem in self.problems)


@frozen
class SnapshotInfo:
    """A snapshot that a volume holds, as `VolumeFormat.snapshots` lists it."""

    name: bytes
    created_ns: int


class VolumeFormat(ABC):
    """See the module's text."""

    #: Whether it has snapshots of whole volumes. If not, the methods for them raise EOPNOTSUPP.
    has_snapshots = False

    @abstractmethod
    def recognise(self, volume: BufferCache) -> bool:
        """Whether the volume looks like one of this format; cheap, by its first sectors. Never raises CorruptError."""

    @abstractmethod
    def open(
        self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock
    ) -> Filesystem:
        """Mount it. Raises CorruptError if its geometry makes no sense.

        A volume that must not be written to now (a live journal that is not ours, hibernation) is opened with
        ``read_only`` set, and ``read_only_reason`` says why in one line.
        """

    @abstractmethod
    def make(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress) -> None:
        """Lay out an empty filesystem and flush it. Raises UsageError for options or a size it cannot serve."""

    @abstractmethod
    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        """Look at all of its structures; with ``repair``, put right what can be without losing data, and flush."""

    @abstractmethod
    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        """What ``jefeos disk info`` shows, by name: label, serial, version, size_bytes, cluster_bytes and so on;
        used_bytes and free_bytes are those of `CheckReport`."""

    def partition_kind(self, volume: BufferCache) -> PartitionKind:
        """What a partition table is to call a partition with this filesystem, which was just made on it."""
        return LINUX_DATA

    # --- snapshots of a volume that is not mounted ---------------------------------------------------------------

    def snapshots(self, volume: BufferCache) -> list[SnapshotInfo]:
        """The snapshots, oldest first. Nothing is written."""
        raise KernelError(Errno.EOPNOTSUPP)

    def create_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        """Keep the state of now under a name, on the medium when it returns. Raises KernelError: EEXIST, EINVAL,
        ENAMETOOLONG, ENOSPC, EROFS."""
        raise KernelError(Errno.EOPNOTSUPP)

    def delete_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        """Delete a snapshot; what only it used is free. Raises KernelError: ENOENT, EROFS."""
        raise KernelError(Errno.EOPNOTSUPP)

    def roll_back(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        """The files become what they were in a snapshot, which stays. Raises KernelError: ENOENT, EROFS, EBUSY if
        newer snapshots stand in the way."""
        raise KernelError(Errno.EOPNOTSUPP)
