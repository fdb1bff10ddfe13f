"""How an inode is opened if its filesystem has no ideas of its own: by its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.directory import DirectoryFile
from jefeos.vfs.file import File, RegularFile
from jefeos.vfs.flags import O_DIRECT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG
from jefeos.vfs.inode import Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.sched.wait import MaybeAwait


def open_inode(inode: Inode, flags: int, context: OpenContext) -> MaybeAwait[File]:
    """An open file for the inode. ENXIO for sockets and for devices that nobody serves; a FIFO may have to wait."""
    kind = inode.mode & S_IFMT
    if kind == S_IFREG:
        return RegularFile(inode, flags & ~O_DIRECT, context.path)
    if kind == S_IFDIR:
        return DirectoryFile(inode, flags, context.path)
    if kind == S_IFCHR or kind == S_IFBLK:
        return context.vfs.devices.open(inode, flags, context)
    if kind == S_IFIFO:
        from jefeos.vfs.pipe import open_fifo

        return open_fifo(inode, flags, context.path, context.vfs.buffers)
    raise KernelError(Errno.ENXIO)
