"""Open directories: what getdents reads, and where seekdir goes.

Entries are read from a snapshot taken at position 0, so that a program that removes files while it reads neither skips
nor repeats any; rewinding takes a new one. A position is the number of entries before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_NOATIME, S_IFDIR, SEEK_CUR, SEEK_END, SEEK_SET
from jefeos.vfs.inode import DirEntry, Inode
from jefeos.vfs.watches import IN_ACCESS

if TYPE_CHECKING:
    from jefeos.vfs.path import Path


class DirectoryFile(File):
    """An open directory; see the module's text."""

    def __init__(self, inode: Inode, flags: int, path: Path | None = None) -> None:
        super().__init__(inode, flags, path)
        self._entries: list[tuple[DirEntry, int]] | None = None

    def read(self, count: int) -> bytes:
        raise KernelError(Errno.EISDIR)

    def write(self, data: bytes) -> int:
        raise KernelError(Errno.EBADF)

    def pread(self, count: int, offset: int) -> bytes:
        raise KernelError(Errno.EISDIR)

    def pwrite(self, data: bytes, offset: int) -> int:
        raise KernelError(Errno.EBADF)

    def seek(self, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.position
        elif whence == SEEK_END:
            offset += len(self._snapshot())
        elif whence != SEEK_SET:
            raise KernelError(Errno.EINVAL)
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        if offset == 0:
            self._entries = None
        self.position = offset
        return offset

    def readdir_at(self, position: int) -> list[tuple[DirEntry, int]]:
        if position == 0:
            self._entries = None
        if self.inode.watches is not None:
            self.inode.watches.file_event(self, IN_ACCESS)
        return self._snapshot()[position:]

    def _snapshot(self) -> list[tuple[DirEntry, int]]:
        entries = self._entries
        if entries is None:
            inode = self.inode
            if inode.nlink == 0 or self.path is not None and self.path.dentry.deleted:
                raise KernelError(Errno.ENOENT)
            above = self.path.parent().inode if self.path is not None else inode
            listing = [DirEntry(b".", inode.ino, S_IFDIR), DirEntry(b"..", above.ino, S_IFDIR), *inode.readdir()]
            entries = self._entries = [(entry, index) for index, entry in enumerate(listing, 1)]
            if not self.flags & O_NOATIME:
                inode.touch_accessed()
        return entries

    def fsync(self) -> None:
        self.inode.sync()
