"""The mounted filesystem: inodes over a store.

    JefeFilesystem  ──►  Store (trees, space, commit)            of the live files
    JefeFilesystem  ──►  the same Store, the tree of a snapshot  read-only, below ``.snapshots`` or mounted by itself

Inodes are found by number in a table of weak references, so that one node is one object; those that are dirty, or
without a name, are held until a commit has written them or they are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import S_IFDIR, S_IFMT, S_IFREG
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat

from jefeos_fs_jefefs.contents import extent_of
from jefeos_fs_jefefs.directory import Directory, orphan_key
from jefeos_fs_jefefs.inode import JefeInode, check_fields
from jefeos_fs_jefefs.layout import EXTENT, INODE, ITEM_KEY, ORPHAN, ROOT_INO, item_key
from jefeos_fs_jefefs.regular import RegularInode

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache

    from jefeos_fs_jefefs.snapshots import Snapshot
    from jefeos_fs_jefefs.store import Store
    from jefeos_fs_jefefs.view import SnapshotsDirectory

MAGIC: Final = 0x4A454645  # f_type of statfs: "JEFE"
DIRTY_INODES_MOST: Final = 2000
FEW_ITEMS: Final = 3
SNAPSHOT_SHIFT: Final = 40
"""Where the number of a snapshot stands in the inode numbers of its files."""


class JefeFilesystem(Filesystem):
    """See the module's text."""

    name = "jefefs"

    def __init__(self, store: Store, *, writable: bool, page_cache: PageCache | None, clock: Clock,
                 snapshot: Snapshot | None = None) -> None:
        super().__init__(clock, page_cache)
        self.store = store
        self.read_only = not writable
        self.block_size = store.geometry.block_bytes
        self.tree = store.files if snapshot is None else store.tree_of_snapshot(snapshot.root)
        self.ino_bits = 0 if snapshot is None else snapshot.number << SNAPSHOT_SHIFT
        self.inodes: WeakValueDictionary[int, JefeInode] = WeakValueDictionary()
        self.dirty: dict[int, JefeInode] = {}
        self.orphans: dict[int, JefeInode] = {}
        self._noted_orphans: set[int] = set()
        self.snapshots_directory: SnapshotsDirectory | None = None
        root = self.inode(ROOT_INO)
        if not isinstance(root, Directory):
            raise CorruptError("the root is no directory")
        self._root = root
        if snapshot is None:
            from jefeos_fs_jefefs.view import SnapshotsDirectory

            self.snapshots_directory = SnapshotsDirectory(self)
        if writable:
            store.before_commit = self.write_inodes
            store.owed_blocks = self._owed_blocks
            self._finish_what_was_begun()

    def _finish_what_was_begun(self) -> None:
        """Files without names and dying snapshots go. What is broken in them is no reason not to read the rest."""
        try:
            self._delete_orphans()
            self.store.snapshots.finish_deletions()
        except KernelError as error:
            if error.errno != Errno.ENOSPC:  # that may be otherwise the next time
                self.read_only, self.read_only_reason = True, str(error)

    @property
    def root(self) -> Directory:
        return self._root

    # --- inodes --------------------------------------------------------------------------------------------

    def inode(self, ino: int, kind: int = 0) -> JefeInode:
        """The inode of that number. Raises CorruptError if there is none, or it is not of ``kind``."""
        inode = self.inodes.get(ino)
        if inode is not None:
            return inode
        value = self.tree.get(ITEM_KEY.pack(ino, INODE))
        if value is None:
            raise CorruptError(f"inode {ino} is not there, but something leads to it")
        fields = check_fields(ino, value)
        if kind and fields[0] & S_IFMT != kind or ino >= self.store.next_ino:
            raise CorruptError(f"inode {ino} is not what leads to it says")
        return self._object(ino, fields)

    def _object(self, ino: int, fields: tuple[int, ...]) -> JefeInode:
        kind = fields[0] & S_IFMT
        make = RegularInode if kind == S_IFREG else Directory if kind == S_IFDIR else JefeInode
        inode = self.inodes[ino] = make(self, ino, fields)
        return inode

    def new_inode(self, mode: int, uid: int, gid: int, *, nlink: int, rdev: int = 0, size: int = 0,
                  parent: int = 0) -> JefeInode:
        """A new inode, in the tree at once. Within a change."""
        store = self.store
        ino = store.next_ino
        now_ns = self.clock.realtime_ns()
        inode = self._object(ino, (mode, uid, gid, nlink, size, rdev, 0, now_ns, now_ns, now_ns, now_ns, parent))
        self.tree.put(ITEM_KEY.pack(ino, INODE), inode.value())
        store.next_ino += 1
        store.inodes += 1
        return inode

    def adopt(self, inode: JefeInode) -> None:
        """An orphan gets a name. Within a change."""
        if self.orphans.pop(inode.own_ino, None) is not None and inode.own_ino in self._noted_orphans:
            self._noted_orphans.discard(inode.own_ino)
            self.tree.remove(orphan_key(inode.own_ino))

    def delete_inode(self, inode: JefeInode) -> None:
        """Nobody can reach it any more. If there is no room to delete it now, the next mount does."""
        store = self.store
        ino = inode.own_ino
        try:
            store.begin(store.blocks_for(3), reserve=store.reserve // 4)
            inode.delete_contents()
            store.begin(store.blocks_for(3), reserve=store.reserve // 4)
        except KernelError:
            return
        with store.changing:
            self._remove_items(ino)
            if ino in self._noted_orphans:
                self._noted_orphans.discard(ino)
                self.tree.remove(orphan_key(ino))
        store.inodes -= 1
        self.dirty.pop(ino, None)
        self.orphans.pop(ino, None)
        self.inodes.pop(ino, None)

    def _remove_items(self, ino: int) -> None:
        """Take all that belongs to an inode out of the tree, and let go of its extents."""
        low, high = item_key(ino, 0), item_key(ino + 1, 0)
        items = list(self.tree.scan(low, high))
        for key, value in items:
            if key[8] == EXTENT:
                extent = extent_of(key, value, self.store.limits)
                self.store.release(extent.address, extent.blocks, extent.birth)
        if len(items) > FEW_ITEMS:
            self.tree.remove_range(low, high)
        else:
            for key, _ in items:
                self.tree.remove(key)

    def _delete_orphans(self) -> None:
        """What was open without a name when the volume was last in use."""
        for key, _ in list(self.tree.scan(item_key(0, ORPHAN), item_key(0, ORPHAN + 1))):
            ino = int.from_bytes(key[9:], "big")
            inode = self.inode(ino)
            if inode.nlink:
                raise CorruptError(f"inode {ino} is noted as an orphan but has names")
            self.orphans[ino] = inode
            self._noted_orphans.add(ino)
            inode.evict()

    # --- changes -------------------------------------------------------------------------------------------

    def begin(self, blocks: int, *, reserve: int | None = None) -> None:
        """Before each change: see `Store.begin`. Raises KernelError: EROFS, ENOSPC, EIO."""
        if self.read_only:
            raise KernelError(Errno.EROFS, self.read_only_reason)
        if len(self.dirty) > DIRTY_INODES_MOST:
            self._write_dirty()
        self.store.begin(blocks, reserve=reserve)

    def _owed_blocks(self) -> int:
        return (len(self.dirty) + 2 * len(self.orphans)) * (self.tree.level + 1)

    def _write_dirty(self) -> None:
        with self.store.changing:
            for ino in sorted(self.dirty):
                self.tree.put(ITEM_KEY.pack(ino, INODE), self.dirty[ino].value())
        self.dirty.clear()

    def write_inodes(self) -> None:
        """Bring what is only in memory into the tree. Within a commit."""
        if self.dirty:
            self._write_dirty()
        for ino in self.orphans.keys() - self._noted_orphans:
            self.tree.put(orphan_key(ino), b"")
            self._noted_orphans.add(ino)

    def commit(self) -> None:
        """Everything that was done so far is on the medium when it returns. Raises KernelError(EIO)."""
        if self.read_only:
            return
        self.store.commit()

    def sync(self) -> None:
        super().sync()
        self.commit()

    def unmount(self) -> None:
        try:
            self.sync()
        finally:
            if self.snapshots_directory is not None:
                self.snapshots_directory.close()
            for inode in list(self.inodes.values()):
                if inode._mapping is not None:
                    inode._mapping.release()
                    inode._mapping = None

    def open_snapshot(self, name: bytes) -> Filesystem:
        if self.snapshots_directory is None:
            return super().open_snapshot(name)  # a snapshot has none of its own
        return self.snapshots_directory.filesystem(self.store.snapshots.find(name))

    # --- numbers -------------------------------------------------------------------------------------------

    def statfs(self) -> FilesystemStat:
        store = self.store
        geometry = store.geometry
        free = store.space.free_after_commit
        available = max(free - store.reserve, 0)
        uuid = int.from_bytes(store.superblock.uuid[:8], "little")
        return FilesystemStat(MAGIC, self.block_size, geometry.data_end - geometry.first_data, free, available,
                              store.inodes + available, available, 255, uuid)
