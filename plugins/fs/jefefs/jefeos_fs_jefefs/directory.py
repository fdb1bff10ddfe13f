"""Directories: names in the file tree.

    key  (ino, ENTRY, name)    value  (ino of what it names, its type)

The entries of a directory are neighbours in the tree, in the order of their bytes: a lookup is one descent, however
many there are. ``size`` is the sum over the entries of the name's length and `ENTRY_SIZE`; so an empty one has size 0.
``parent_ino`` leads back up, for fsck.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import NAME_MAX, RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from jefeos.vfs.inode import DirEntry, Inode

from jefeos_fs_jefefs.inode import JefeInode
from jefeos_fs_jefefs.layout import ENTRY, ENTRY_VALUE, ITEM_KEY, ORPHAN, ROOT_INO, TARGET, item_key

if TYPE_CHECKING:
    from jefeos_fs_jefefs.filesystem import JefeFilesystem

ENTRY_SIZE: Final = 16
LINKS_MOST: Final = 1 << 31
TARGET_MOST: Final = 4095
SNAPSHOTS_NAME: Final = b".snapshots"


class Directory(JefeInode):
    """See the module's text."""

    def __init__(self, fs: JefeFilesystem, own_ino: int, fields: tuple[int, ...]) -> None:
        super().__init__(fs, own_ino, fields)
        self.entry_prefix = ITEM_KEY.pack(own_ino, ENTRY)

    def _key(self, name: bytes) -> bytes:
        if len(name) > NAME_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        return self.entry_prefix + name

    def _find(self, name: bytes) -> JefeInode | None:
        value = self.fs.tree.get(self._key(name))
        return None if value is None else self.fs.inode(*entry_of(value))

    # --- looking -------------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Inode:
        value = self.fs.tree.get(self._key(name))
        if value is None:
            if name == SNAPSHOTS_NAME and self.own_ino == ROOT_INO and self.fs.snapshots_directory is not None:
                return self.fs.snapshots_directory
            raise KernelError(Errno.ENOENT)
        return self.fs.inode(*entry_of(value))

    def readdir(self) -> Iterable[DirEntry]:
        prefix = self.entry_prefix
        bits, start = self.fs.ino_bits, len(prefix)
        entries: list[DirEntry] = []
        for key, value in self.fs.tree.scan(prefix, item_key(self.own_ino, ENTRY + 1)):
            ino, kind = entry_of(value)
            entries.append(DirEntry(key[start:], ino | bits, kind))
        return entries

    # --- making --------------------------------------------------------------------------------------------

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self._make(name, mode, uid, gid)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self._make(name, S_IFDIR | mode & ~S_IFMT, uid, gid)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        return self._make(name, mode, uid, gid, rdev=rdev)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        if len(target) > TARGET_MOST:
            raise KernelError(Errno.ENAMETOOLONG)
        return self._make(name, S_IFLNK | 0o777, uid, gid, target=target)

    def create_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        fs = self.fs
        self._require_writable()
        fs.begin(fs.store.blocks_for(2))
        with fs.store.changing:
            inode = fs.new_inode(S_IFREG | mode & ~S_IFMT, uid, gid, nlink=0)
        fs.orphans[inode.own_ino] = inode
        return inode

    def _make(self, name: bytes, mode: int, uid: int, gid: int, *, rdev: int = 0, target: bytes = b"") -> JefeInode:
        fs = self.fs
        store = fs.store
        key = self._key(name)
        self._require_writable()
        directory = mode & S_IFMT == S_IFDIR
        fs.begin(store.blocks_for(3) + (2 * len(target) // store.limits.chunk_bytes if target else 0))
        with store.changing:
            inode = fs.new_inode(mode, uid, gid, nlink=2 if directory else 1, rdev=rdev, size=len(target),
                                 parent=self.own_ino if directory else 0)
            if target:
                inode.put_long(item_key(inode.own_ino, TARGET), target)
            self._enter(key, name, inode)
        if directory:
            self.nlink += 1
        self.touch_modified()
        return inode

    def _enter(self, key: bytes, name: bytes, inode: JefeInode) -> None:
        self.fs.tree.put(key, ENTRY_VALUE.pack(inode.own_ino, (inode.mode & S_IFMT) >> 12))
        self.size += len(name) + ENTRY_SIZE

    def _leave(self, name: bytes) -> None:
        if not self.fs.tree.remove(self._key(name)):
            raise KernelError(Errno.ENOENT)
        self.size -= len(name) + ENTRY_SIZE

    def _require_writable(self) -> None:
        if self.fs.read_only:
            raise KernelError(Errno.EROFS)
        if not self.nlink:
            raise KernelError(Errno.ENOENT)

    def link(self, name: bytes, inode: Inode) -> None:
        fs = self.fs
        key = self._key(name)
        self._require_writable()
        if not isinstance(inode, JefeInode) or inode.fs is not fs:
            raise KernelError(Errno.EXDEV)
        if inode.nlink >= LINKS_MOST:
            raise KernelError(Errno.EMLINK)
        fs.begin(fs.store.blocks_for(3))
        with fs.store.changing:
            self._enter(key, name, inode)
            fs.adopt(inode)
        inode.nlink += 1
        self.touch_modified()
        inode.touch_changed()

    # --- removing ------------------------------------------------------------------------------------------

    def unlink(self, name: bytes) -> None:
        inode = self._existing(name)
        store = self.fs.store
        self.fs.begin(store.blocks_for(2), reserve=store.reserve // 2)
        with store.changing:
            self._leave(name)
        self._drop_link(inode)
        self.touch_modified()

    def rmdir(self, name: bytes) -> None:
        if name == SNAPSHOTS_NAME and self.own_ino == ROOT_INO:
            raise KernelError(Errno.EBUSY)
        inode = self._existing(name)
        if not isinstance(inode, Directory):
            raise KernelError(Errno.ENOTDIR)
        if inode.size:
            raise KernelError(Errno.ENOTEMPTY)
        store = self.fs.store
        self.fs.begin(store.blocks_for(2), reserve=store.reserve // 2)
        with store.changing:
            self._leave(name)
        self.nlink -= 1
        inode.nlink = 1
        self._drop_link(inode)
        self.touch_modified()

    def _existing(self, name: bytes) -> JefeInode:
        self._require_writable()
        inode = self._find(name)
        if inode is None:
            raise KernelError(Errno.ENOENT)
        return inode

    def _drop_link(self, inode: JefeInode) -> None:
        inode.nlink = max(inode.nlink - 1, 0)
        inode.touch_changed()
        if not inode.nlink:
            self.fs.orphans[inode.own_ino] = inode

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise KernelError(Errno.EINVAL)
        if not isinstance(new_directory, Directory) or new_directory.fs is not self.fs:
            raise KernelError(Errno.EXDEV)
        inode = self._existing(name)
        new_key = new_directory._key(new_name)
        new_directory._require_writable()
        target = new_directory._find(new_name)
        if flags & RENAME_EXCHANGE:
            if target is None:
                raise KernelError(Errno.ENOENT)
        elif isinstance(target, Directory) and target.size:
            raise KernelError(Errno.ENOTEMPTY)
        if target is inode:
            return
        store = self.fs.store
        self.fs.begin(store.blocks_for(5))
        with store.changing:
            self._leave(name)
            if target is not None:
                new_directory._leave(new_name)
            new_directory._enter(new_key, new_name, inode)
            if flags & RENAME_EXCHANGE and target is not None:
                self._enter(self._key(name), name, target)
        self._moved(inode, new_directory)
        if target is not None:
            if flags & RENAME_EXCHANGE:
                new_directory._moved(target, self)
                target.touch_changed()
            else:
                if isinstance(target, Directory):
                    target.nlink = 1
                    new_directory.nlink -= 1
                self._drop_link(target)
        self.touch_modified()
        new_directory.touch_modified()
        inode.touch_changed()

    def _moved(self, inode: JefeInode, new_directory: Directory) -> None:
        """A directory that is somewhere else now: its ``..`` leads there."""
        if isinstance(inode, Directory) and new_directory is not self:
            self.nlink -= 1
            new_directory.nlink += 1
            inode.parent_ino = new_directory.own_ino


def entry_of(value: bytes) -> tuple[int, int]:
    """Inode number and type (as in st_mode) of an entry. Raises CorruptError."""
    if len(value) != ENTRY_VALUE.size:
        raise CorruptError("a directory's entry has a wrong length")
    ino, kind = ENTRY_VALUE.unpack(value)
    if kind > 15 or not ino:
        raise CorruptError("a directory's entry makes no sense")
    return ino, kind << 12


def orphan_key(ino: int) -> bytes:
    """The key of the note that an inode has no name."""
    return item_key(0, ORPHAN, ino.to_bytes(8, "big"))
