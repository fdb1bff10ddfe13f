"""What files and directories have in common: the entry that names them, and the attributes in it.

A `FatInode` knows its entry, and the entry knows its inode weakly: an inode lives as long as somebody uses it, or has
changes that are not in its directory yet (`Writes.inodes`). The root has no entry; its times are only in memory.

Attributes follow Linux's vfat with ``umask=022``: everything belongs to root; mode is 0755, without the write bits if
the entry is read-only; chmod changes only that, and does nothing if it would have to change more.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import S_IFDIR, S_IFMT, S_IFREG
from jefeos.vfs.inode import Inode

from jefeos_fs_fat32 import times
from jefeos_fs_fat32.layout import IS_DIRECTORY, IS_READ_ONLY, Slot
from jefeos_fs_fat32.slots import cluster_of, set_cluster

if TYPE_CHECKING:
    from jefeos_fs_fat32.directory import FatDirectory
    from jefeos_fs_fat32.filesystem import FatFilesystem

READ_AND_RUN: Final = 0o555
WRITE: Final = 0o222
UMASK: Final = 0o022
MODE: Final = (READ_AND_RUN | WRITE) & ~UMASK


class Entry:
    """A name in a directory: slots ``first`` to ``slot``, the last of which has the short name and the attributes."""

    __slots__ = ("batch", "first", "ino", "inode", "is_directory", "key", "name", "short", "slot")

    def __init__(self, name: bytes, key: str, short: bytes, first: int, slot: int, is_directory: bool) -> None:
        self.name = name
        self.key = key
        self.short = short
        self.first = first
        self.slot = slot
        self.is_directory = is_directory
        self.ino = 0
        self.batch = 0
        """The batch of writes that brings it to the medium; 0 if it is there."""
        self.inode: weakref.ref[FatInode] | None = None


class FatInode(Inode):
    """See the module's text."""

    fs: FatFilesystem

    def __init__(
        self, fs: FatFilesystem, ino: int, directory: FatDirectory | None, entry: Entry | None, slot: Slot
    ) -> None:
        kind = S_IFDIR if slot.attributes & IS_DIRECTORY else S_IFREG
        mode = MODE & ~WRITE if slot.attributes & IS_READ_ONLY and kind == S_IFREG else MODE
        super().__init__(fs, ino, kind | mode, size=slot.size_bytes, time_ns=0)
        self.directory = directory
        """The parent; None for the root."""
        self.entry = entry
        """None once the name is gone (and for the root)."""
        self.cluster = cluster_of(slot)
        """The first one, 0 if there is none."""
        self.attributes = slot.attributes
        self.batch = 0
        """The batch of writes in which it was made; 0 if it was there."""
        self.never_stored = False
        """It lost its name before the medium knew of it."""
        self.removed_batch = 0
        """The batch of writes in which it loses its name."""
        self.mtime_ns = self.ctime_ns = times.unpack(slot.write_date, slot.write_time)
        self.atime_ns = times.unpack(slot.access_date) if slot.access_date else self.mtime_ns
        created = slot.create_date
        self.btime_ns = times.unpack(created, slot.create_time, slot.create_hundredths) if created else self.mtime_ns
        if entry is not None:
            entry.inode = weakref.ref(self)

    @property
    def is_fresh(self) -> bool:
        """Nothing on the medium names it: what it lets go of is free at once."""
        return self.never_stored or self.batch == self.fs.writes.number

    def changed(self) -> None:
        """Its entry has to be written."""
        if self.entry is not None:
            self.fs.writes.inodes[self] = None

    def store_entry(self) -> None:
        """Bring the directory's copy of the attributes up to date."""
        entry, directory = self.entry, self.directory
        if entry is None or directory is None:
            return
        slot = directory.slots.get(entry.slot)
        slot.attributes = self.attributes
        set_cluster(slot, self.cluster)
        slot.size_bytes = 0 if self.is_directory else self.size
        slot.write_date, slot.write_time, _ = times.pack(self.mtime_ns)
        slot.access_date = times.pack(self.atime_ns)[0]
        slot.create_date, slot.create_time, slot.create_hundredths = times.pack(self.btime_ns)
        directory.slots.put(entry.slot, slot)

    # --- attributes --------------------------------------------------------------------------------------------------

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        if uid not in (None, self.uid) or gid not in (None, self.gid):
            raise KernelError(Errno.EPERM, "FAT has no owners")
        self.fs.require_writable()
        self.fs.writes.begin()
        if mode is not None:
            self._set_mode(mode)
        if atime_ns is not None:
            self.atime_ns = times.cut_access_time(atime_ns)
        if mtime_ns is not None:
            self.mtime_ns = times.cut_write_time(mtime_ns)
        self.ctime_ns = times.cut_write_time(self.fs.clock.realtime_ns())
        self.changed()

    def _set_mode(self, mode: int) -> None:
        mode &= ~UMASK
        if mode & READ_AND_RUN != READ_AND_RUN or mode & WRITE not in (0, WRITE & ~UMASK):
            return
        if self.is_directory:  # the bit means something else there: Linux keeps such directories writable
            return
        self.mode = self.mode & S_IFMT | mode & (READ_AND_RUN | WRITE)
        self.attributes &= ~IS_READ_ONLY
        if not mode & WRITE:
            self.attributes |= IS_READ_ONLY

    def touch_accessed(self) -> None:
        if self.fs.read_only:
            return
        now_ns = times.cut_access_time(self.fs.clock.realtime_ns())
        if now_ns != self.atime_ns:
            self.fs.writes.begin()
            self.atime_ns = now_ns
            self.changed()

    def touch_modified(self) -> None:
        now_ns = times.cut_write_time(self.fs.clock.realtime_ns())
        self.mtime_ns = self.ctime_ns = now_ns
        self.changed()

    def sync(self) -> None:
        super().sync()
        self.fs.flush()
