"""The kinds of node in /proc, without knowledge of what is in them.

    ProcDirectory   names from a table (`StaticDirectory`), from a function that makes one at each look
                    (`MadeDirectory`), or made up at each lookup
    ProcFile        text made by a function; again whenever it is read from the start
    ProcLink        a symbolic link, plain or magic (leads to a place whatever its text says)

Nodes are made at each lookup and hold no state of their own. As on Linux their size is 0. A file is generated at the
read at offset 0 and kept for the rest of that pass, so that `top`, which rewinds one open file, sees news, and a
reader in small pieces a consistent text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import File, SeekableFile
from jefeos.vfs.flags import O_APPEND, S_IFDIR, S_IFLNK, S_IFREG
from jefeos.vfs.inode import DirEntry, Filesystem, Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.path import Path

Generate = Callable[[], bytes]
Store = Callable[[bytes], None]

_DIRECTORY_MODE = 0o555
_FILE_MODE = 0o444
_LINK_MODE = 0o777


class ProcNode(Inode):
    """Any node. Owned by ``uid`` and ``gid``; mode cannot be changed."""

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        if mode is not None or uid is not None or gid is not None:
            raise KernelError(Errno.EPERM)


class ProcFile(ProcNode):
    """A file whose text `generate` makes. With `store` it takes writes, each one a complete value."""

    def __init__(self, fs: Filesystem, ino: int, generate: Generate, *, mode: int = _FILE_MODE, uid: int = 0,
                 gid: int = 0, store: Store | None = None) -> None:
        super().__init__(fs, ino, S_IFREG | mode, uid, gid)
        self.generate = generate
        self.store = store

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        return OpenProcFile(self, flags & ~O_APPEND, context.path)

    def truncate(self, size: int) -> None:
        """``echo 1 >/proc/sys/…`` truncates first: nothing to do."""

    def read(self, offset: int, count: int) -> bytes:
        return self.generate()[offset : offset + count]


class OpenProcFile(SeekableFile):
    """An open generated file."""

    inode: ProcFile

    def __init__(self, inode: ProcFile, flags: int, path: Path | None) -> None:
        super().__init__(inode, flags, path)
        self._text = b""

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        if offset == 0:
            self._text = self.inode.generate()
        return self._text[offset : offset + count]

    def pwrite(self, data: bytes, offset: int) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        if self.inode.store is None:
            raise KernelError(Errno.EIO)
        self.inode.store(data)
        return len(data)

    def truncate(self, size: int) -> None:
        if not self.writable:
            raise KernelError(Errno.EINVAL)
        self.inode.truncate(size)


class ProcLink(ProcNode):
    """A symbolic link. `read` gives its text; `lead`, if given, the place it leads to."""

    def __init__(self, fs: Filesystem, ino: int, read: Generate, *, lead: Callable[[], Path] | None = None,
                 mode: int = _LINK_MODE, uid: int = 0, gid: int = 0, size: int = 0) -> None:
        super().__init__(fs, ino, S_IFLNK | mode, uid, gid, size=size)
        self._read = read
        self._lead = lead

    def readlink(self) -> bytes:
        return self._read()

    def follow(self) -> Path | None:
        return self._lead() if self._lead is not None else None


class ProcDirectory(ProcNode):
    """A directory. Subclasses give `lookup` and `readdir`."""

    def __init__(self, fs: Filesystem, ino: int, *, mode: int = _DIRECTORY_MODE, uid: int = 0,
                 gid: int = 0) -> None:
        super().__init__(fs, ino, S_IFDIR | mode, uid, gid, nlink=2)

    # Nothing can be made here, and on Linux it is the lookup of the new name that says so.

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        raise KernelError(Errno.ENOENT)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        raise KernelError(Errno.ENOENT)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        raise KernelError(Errno.ENOENT)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        raise KernelError(Errno.ENOENT)

    def link(self, name: bytes, inode: Inode) -> None:
        raise KernelError(Errno.ENOENT)


class StaticDirectory(ProcDirectory):
    """A directory with a fixed table of nodes, made once."""

    def __init__(self, fs: Filesystem, ino: int, nodes: Mapping[bytes, Inode]) -> None:
        super().__init__(fs, ino)
        self.nodes = dict(nodes)
        self.nlink += sum(node.is_directory for node in self.nodes.values())

    def lookup(self, name: bytes) -> Inode:
        try:
            return self.nodes[name]
        except KeyError:
            raise KernelError(Errno.ENOENT) from None

    def readdir(self) -> Iterable[DirEntry]:
        return [DirEntry(name, node.ino, node.kind) for name, node in self.nodes.items()]


class MadeDirectory(ProcDirectory):
    """A directory whose table of nodes is made anew whenever somebody looks: what it tells of comes and goes."""

    def __init__(self, fs: Filesystem, ino: int, make: Callable[[], Mapping[bytes, Inode]]) -> None:
        super().__init__(fs, ino)
        self._make = make

    def refresh(self) -> None:
        self.nlink = 2 + sum(node.is_directory for node in self._make().values())

    def lookup(self, name: bytes) -> Inode:
        try:
            return self._make()[name]
        except KeyError:
            raise KernelError(Errno.ENOENT) from None

    def readdir(self) -> Iterable[DirEntry]:
        return [DirEntry(name, node.ino, node.kind) for name, node in self._make().items()]
