"""A mounted FAT volume.

    FatFilesystem -- table (chains, free space) -- volume (BufferCache)
        |-- writes (what changed, and in which order it is written)
        '-- root: FatDirectory -- Entry --weak--> FatFile, FatDirectory

Type ``vfat`` has long names; ``msdos`` sees and makes short ones only, and shows them in lower case, as on Linux.

A volume that was not unmounted keeps its dirty flag here (format.py checks it before it is opened for writing). Does
not do: symbolic and hard links, owners, device nodes (EPERM), RENAME_EXCHANGE (EINVAL), room kept past the end of a
file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import NAME_MAX
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat, Inode

from jefeos_fs_fat32 import names, times
from jefeos_fs_fat32.directory import FatDirectory
from jefeos_fs_fat32.file import FatFile
from jefeos_fs_fat32.geometry import Geometry
from jefeos_fs_fat32.inode import Entry, FatInode
from jefeos_fs_fat32.layout import Attribute, Slot
from jefeos_fs_fat32.slots import cluster_of, set_cluster
from jefeos_fs_fat32.table import AllocationTable, Run
from jefeos_fs_fat32.writes import VolumeState, Writes

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache

MSDOS_SUPER_MAGIC: Final = 0x4D44
TRUSTED_COUNT_ABOVE: Final = 1 << 22
"""On volumes with more clusters the medium's count of free ones is believed, if it was unmounted cleanly."""
ROOT_INO: Final = 1


class FatFilesystem(Filesystem):
    """See the module's text. Raises CorruptError for a volume whose geometry makes no sense."""

    name = "vfat"
    folds_names = True
    most_idle = 4096
    """Files whose pages may stay in the cache while nobody uses them: each of them keeps its inode as well."""

    def __init__(
        self,
        volume: BufferCache,
        *,
        writable: bool,
        clock: Clock,
        page_cache: PageCache | None = None,
        long_names: bool = True,
    ) -> None:
        super().__init__(clock, page_cache)
        self.volume = volume
        self.long_names = long_names
        if not long_names:
            self.name = "msdos"
        self.geometry = Geometry.read(volume)
        self.read_only = not writable or volume.device.read_only
        self.block_size = self.geometry.cluster_bytes
        self.table = AllocationTable(volume, self.geometry)
        self.state = VolumeState(volume, self.geometry, self.table)
        info = self.state.info
        if info is not None:
            self.table.suggest(info.next_free)
            if self.geometry.clusters > TRUSTED_COUNT_ABOVE and not self.state.was_dirty:
                self.table.assume_free(info.free_clusters)
        self.writes = Writes(volume, self.table, self.state)
        self.mapped: dict[FatFile, None] = {}
        """Files with pages in the cache, the first ones first."""
        self._last_ino = ROOT_INO
        slot = Slot(attributes=Attribute.DIRECTORY)
        set_cluster(slot, self.geometry.root_cluster)
        self._root = FatDirectory(self, ROOT_INO, None, None, slot)
        self._root.refresh()

    @property
    def root(self) -> Inode:
        return self._root

    def next_ino(self) -> int:
        """A fresh inode number: FAT has none of its own."""
        self._last_ino += 1
        return self._last_ino

    def make_inode(self, directory: FatDirectory, entry: Entry, new: Slot | None = None) -> FatInode:
        """The object for an entry that has none, or was just made as ``new`` says. Raises
        CorruptError for a directory that is inside of itself."""
        slot = new or directory.slots.get(entry.slot)
        if not entry.ino:
            entry.ino = self.next_ino()
        inode: FatInode
        if entry.is_directory:
            above: FatDirectory | None = directory
            cluster = cluster_of(slot)
            while above is not None:
                if above.cluster == cluster:
                    raise CorruptError(f"directory {entry.name.decode('utf-8', 'replace')} is inside of itself")
                above = above.directory
            inode = FatDirectory(self, entry.ino, directory, entry, slot)
        else:
            inode = FatFile(self, entry.ino, directory, entry, slot)
        if new is not None:
            inode.batch = self.writes.number
        return inode

    def will_map(self, file: FatFile) -> None:
        """``file`` is about to get pages; some that nobody uses give theirs back if there are too many."""
        if len(self.mapped) >= self.most_idle:
            for other in [other for other in self.mapped if other.is_idle][: max(self.most_idle // 8, 1)]:
                other.release_pages()
                del self.mapped[other]
        self.mapped[file] = None

    def new_slot(self, attributes: int) -> Slot:
        """An entry that is made now, without a name and without clusters."""
        now_ns = self.clock.realtime_ns()
        date, time, hundredths = times.pack(now_ns)
        return Slot(
            attributes=attributes,
            create_hundredths=hundredths,
            create_time=time,
            create_date=date,
            access_date=date,
            write_time=time,
            write_date=date,
        )

    # --- rules -------------------------------------------------------------------------------------------------------

    def require_writable(self) -> None:
        """Raise KernelError(EROFS) if it is mounted read-only."""
        if self.read_only:
            raise KernelError(Errno.EROFS)

    def require_name(self, text: str) -> None:
        """Raise KernelError for what cannot be a new name: EINVAL, ENAMETOOLONG."""
        names.require_valid(text)
        if not self.long_names and names.exact_short(text.upper()) is None:
            raise KernelError(Errno.EINVAL, f"{text!r} is no name of eight and three characters")

    # --- space -------------------------------------------------------------------------------------------------------

    def allocate(self, count: int, near: int = 0) -> list[Run]:
        """Take clusters. Raises KernelError(ENOSPC), and nothing is taken."""
        if count > self.table.free_clusters and self.writes.releases:
            self.writes.commit()
        return self.table.allocate(count, near)

    def release(self, runs: list[Run], *, at_once: bool) -> None:
        """Give clusters back: as soon as the medium no longer names them, or ``at_once`` if it never did."""
        if at_once:
            self.table.release(runs)
        else:
            self.writes.releases += runs

    def statfs(self) -> FilesystemStat:
        geometry = self.geometry
        waiting = sum(count for _, count in self.writes.releases)
        free = self.table.free_clusters + waiting
        return FilesystemStat(
            MSDOS_SUPER_MAGIC, geometry.cluster_bytes, geometry.clusters, free, free, 0, 0, NAME_MAX, self.device
        )

    # --- the medium --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """All changes so far are on the medium when this returns."""
        if not self.read_only:
            self.writes.commit()
            self.volume.flush()

    def sync(self) -> None:
        super().sync()
        self.flush()

    def unmount(self) -> None:
        super().sync()
        if not self.read_only:
            self.writes.close()
        for file in self.mapped:
            file.release_pages()
        self.mapped.clear()
