"""A tar archive as a read-only filesystem: inodes over the nodes of its index.

The archive is unpacked and indexed when the filesystem is opened (`archive`, `index`); after that nothing can
fail any more. Inodes are made when they are first looked up. Files read from the unpacked archive through the
page cache. For a root that can be written to, the kernel puts its overlay above this.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import S_IFMT, make_device
from jefeos.vfs.inode import PAGE_SIZE, Clock, DirEntry, Filesystem, FilesystemStat, Inode

from .archive import MEMORY_LIMIT_BYTES, UNPACKED_LIMIT_BYTES, Store, open_archive
from .index import Node, build_tree

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache

TAR_MAGIC = int.from_bytes(b"utar", "big")  # f_type of statfs(2): no such filesystem has a number in Linux


class TarFilesystem(Filesystem):
    """The tree of one archive. Errors: `BootError` when it cannot be read, `CorruptError` when it is damaged."""

    name = "tar"
    read_only = True
    no_access_times = True

    def __init__(
        self,
        archive: str | Path,
        *,
        clock: Clock,
        page_cache: PageCache | None = None,
        limit_bytes: int = UNPACKED_LIMIT_BYTES,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        super().__init__(clock, page_cache)
        path = Path(archive)
        self.store: Store = open_archive(path, limit_bytes=limit_bytes, memory_limit_bytes=memory_limit_bytes)
        tree = build_tree(self.store, str(path))
        self._inodes: dict[int, TarInode] = {}
        self._root = self.inode_of(tree)

    @property
    def root(self) -> TarInode:
        return self._root

    def inode_of(self, node: Node) -> TarInode:
        """The one inode of a node, whatever the name it was found by."""
        inode = self._inodes.get(node.number)
        if inode is None:
            inode = self._inodes[node.number] = TarInode(self, node)
        return inode

    def statfs(self) -> FilesystemStat:
        blocks = -(-self.store.size // PAGE_SIZE)
        return FilesystemStat(type=TAR_MAGIC, block_size=PAGE_SIZE, blocks=blocks, fsid=self.device)

    def unmount(self) -> None:
        for inode in self._inodes.values():
            inode.evict()
        self.store.close()


class TarInode(Inode):
    """A file of the archive."""

    fs: TarFilesystem

    def __init__(self, fs: TarFilesystem, node: Node) -> None:
        super().__init__(
            fs,
            node.number,
            node.mode,
            node.uid,
            node.gid,
            nlink=node.links,
            size=node.size,
            rdev=make_device(*node.device),
            time_ns=node.mtime_ns,
        )
        self.node = node
        if node.children is not None:
            self.size = PAGE_SIZE

    @property
    def blocks(self) -> int:
        return sum(-(-length // 512) for _, length, _ in self.node.extents)

    def lookup(self, name: bytes) -> TarInode:
        children = self.node.children
        if children is None:
            raise KernelError(Errno.ENOTDIR)
        child = children.get(name)
        if child is None:
            raise KernelError(Errno.ENOENT)
        return self.fs.inode_of(child)

    def readdir(self) -> Iterator[DirEntry]:
        children = self.node.children
        if children is None:
            raise KernelError(Errno.ENOTDIR)
        for name, child in children.items():
            yield DirEntry(name, child.number, child.mode & S_IFMT)

    def readlink(self) -> bytes:
        if not self.is_symlink:
            raise KernelError(Errno.EINVAL)
        return self.node.target

    def read_at(self, offset: int, count: int) -> bytes:
        return self.node.read(self.fs.store, offset, count)

    def get_xattr(self, name: bytes) -> bytes:
        try:
            return self.node.xattrs[name]
        except KeyError:
            raise KernelError(Errno.ENODATA) from None

    def list_xattrs(self) -> list[bytes]:
        return list(self.node.xattrs)
