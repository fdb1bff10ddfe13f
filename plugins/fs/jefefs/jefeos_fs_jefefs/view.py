"""``/.snapshots`` of a mounted volume: the snapshots as directories, for programs that know nothing of them.

    ls /mnt/.snapshots            the snapshots
    mkdir /mnt/.snapshots/NAME    make one of everything as it is now
    rmdir /mnt/.snapshots/NAME    delete it
    cp /mnt/.snapshots/NAME/...   files as they were, read-only

The name does not show in a listing of the root, so that nothing walks into it by accident. To delete a snapshot that is
mounted or has open files is EBUSY. Rolling back needs an unmounted volume (``VolumeFormat.roll_back``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import S_IFDIR
from jefeos.vfs.inode import DirEntry, Inode

from jefeos_fs_jefefs.layout import ROOT_INO

if TYPE_CHECKING:
    from jefeos_fs_jefefs.filesystem import JefeFilesystem
    from jefeos_fs_jefefs.snapshots import Snapshot

VIEW_INO: Final = (1 << 62) + 1


class SnapshotsDirectory(Inode):
    """See the module's text."""

    fs: JefeFilesystem

    def __init__(self, fs: JefeFilesystem) -> None:
        super().__init__(fs, VIEW_INO, S_IFDIR | 0o755, nlink=2, time_ns=fs.store.superblock.created_ns)
        self._open: dict[int, JefeFilesystem] = {}

    def refresh(self) -> None:
        self.nlink = 2 + len(self.fs.store.snapshots.listed())

    def lookup(self, name: bytes) -> Inode:
        return self.filesystem(self.fs.store.snapshots.find(name)).root

    def filesystem(self, snapshot: Snapshot) -> JefeFilesystem:
        """The files of a snapshot: always the same object."""
        from jefeos_fs_jefefs.filesystem import JefeFilesystem

        fs = self._open.get(snapshot.number)
        if fs is None:
            fs = JefeFilesystem(self.fs.store, writable=False, page_cache=self.fs.page_cache, clock=self.fs.clock,
                                snapshot=snapshot)
            fs.device = self.fs.device
            self._open[snapshot.number] = fs
        return fs

    def readdir(self) -> Iterable[DirEntry]:
        from jefeos_fs_jefefs.filesystem import SNAPSHOT_SHIFT

        return [DirEntry(snapshot.name, ROOT_INO | snapshot.number << SNAPSHOT_SHIFT, S_IFDIR)
                for snapshot in self.fs.store.snapshots.listed()]

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        self.fs.sync()
        self.fs.begin(0)
        root = self.filesystem(self.fs.store.snapshots.create(name)).root
        self.touch_modified()
        return root

    def rmdir(self, name: bytes) -> None:
        self.fs.begin(0, reserve=0)
        snapshot = self.fs.store.snapshots.find(name)
        fs = self._open.get(snapshot.number)
        if fs is not None:
            if fs.medium is not None or any(inode.open_count for inode in list(fs.inodes.values())):
                raise KernelError(Errno.EBUSY)
            fs.unmount()
        self.fs.store.snapshots.delete(name)
        if fs is not None:
            del self._open[snapshot.number]
            fs.root.nlink = 0
        self.touch_modified()

    def close(self) -> None:
        """The volume is being unmounted: let go of pages of the files of snapshots that are not mounted themselves."""
        for number, fs in list(self._open.items()):
            if fs.medium is None:
                fs.unmount()
                del self._open[number]

    def set_attributes(self, **changes: Any) -> None:
        raise KernelError(Errno.EPERM)
