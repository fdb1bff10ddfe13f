"""The mounted filesystem: inodes by number, what is put off until a commit, statfs, sync and unmount.

Inodes are kept by weak reference, so that a file is one object for as long as anybody holds it, and the last few
thousand by a strong one. `changed` holds those whose times or sizes have to be written.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import S_IFDIR
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat, Inode

from jefeos_fs_ntfs import reparse
from jefeos_fs_ntfs.directory import NtfsDirectory, new_index
from jefeos_fs_ntfs.index_edit import replace
from jefeos_fs_ntfs.inode import (
    TICK_NS,
    NtfsInode,
    StreamInode,
    describe,
    index_entry,
    make_name,
    name_of,
)
from jefeos_fs_ntfs.layout import (
    HIBERNATED_MAGIC,
    NAME_UNITS_MAX,
    REFERENCE_MASK,
    AttributeType,
    MetaFile,
    VolumeFlags,
)
from jefeos_fs_ntfs.overlay import OverlayDevice
from jefeos_fs_ntfs.secure import default_security_id
from jefeos_fs_ntfs.volume import Volume
from jefeos_fs_ntfs.weak import WeakTable

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache

    from jefeos_fs_ntfs.entry import Entry

HIBERNATION_FILE: Final = b"hiberfil.sys"
HIBERNATION_BYTES: Final = 4096
NTFS_MAGIC_NUMBER: Final = 0x5346544E
RECENT_INODES: Final = 8192
STREAM_SHIFT: Final = 48


class NtfsFilesystem(Filesystem):
    """A volume, mounted: read-only until `begin_writing`."""

    name = "ntfs"

    def __init__(self, volume: Volume, clock: Clock, page_cache: PageCache | None) -> None:
        super().__init__(clock, page_cache)
        self.volume = volume
        self.read_only = True
        self.block_size = volume.geometry.cluster_bytes
        self.changed: dict[NtfsInode, None] = {}
        self.empty_index = new_index(volume.geometry.index_bytes, volume.geometry.cluster_bytes)
        self._inodes: WeakTable[int, NtfsInode] = WeakTable()
        self._streams: WeakTable[tuple[int, str], StreamInode] = WeakTable()
        self._recent: OrderedDict[int, NtfsInode] = OrderedDict()
        self._security_id = -1
        self._born: set[int] = set()
        """Files that the medium does not know yet."""
        self._half_gone: set[int] = set()
        """Open files without a name that still have one on the medium."""
        volume.before_commit = self._flush_changed
        root = self._load(volume.entry(MetaFile.ROOT))
        if not isinstance(root, NtfsDirectory):
            raise CorruptError("MFT record 5 is not a directory")
        root.index.lookup(("", ""))
        self._root = root

    @property
    def root(self) -> Inode:
        return self._root

    def now_ns(self) -> int:
        """The time, as NTFS can store it."""
        return self.clock.realtime_ns() // TICK_NS * TICK_NS

    def require_writable(self) -> None:
        """Raises KernelError(EROFS)."""
        if self.read_only:
            raise KernelError(Errno.EROFS, self.read_only_reason)

    def begin_writing(self) -> str:
        """It is written to from now on. If it must not be, it stays read-only, and this gives the reason."""
        volume = self.volume
        state = volume.journal.state()
        if state.live:
            return f"{state.live}; run Windows, or fsck, first"
        if volume.information().flags & VolumeFlags.DIRTY:
            return "the volume was not unmounted cleanly; run fsck first"
        if self._is_hibernated():
            return "Windows is hibernated on this volume"
        volume.journal.begin(empty=state.empty)
        self.read_only = False
        return ""

    def make_writable(self) -> None:
        device = self.volume.cache.device
        if device.read_only:
            raise KernelError(Errno.EACCES, f"{device.name} is read-only")
        if isinstance(device, OverlayDevice):
            reason = "a loss of power left changes unfinished: unmount the volume and mount it for writing"
        else:
            reason = self.begin_writing()
        if reason:
            raise KernelError(Errno.EROFS, reason)
        self.read_only_reason = ""

    def _is_hibernated(self) -> bool:
        """Whether Windows means to come back to what is in its memory."""
        try:
            inode = self.root.lookup(HIBERNATION_FILE)
            return inode.read_at(0, HIBERNATION_BYTES)[:4] in HIBERNATED_MAGIC
        except KernelError as error:
            if error.errno != Errno.ENOENT:
                raise
            return False

    # -- inodes --

    def inode(self, reference: int) -> NtfsInode:
        """The file that a file reference means. Raises CorruptError."""
        inode = self._inodes.get(reference & REFERENCE_MASK)
        if inode is None:
            inode = self._load(self.volume.entry_of(self.volume.mft.read_reference(reference)))
        elif inode.entry.base.sequence != reference >> 48 and reference >> 48:
            raise CorruptError(f"MFT record {inode.ino}: a reference to it is out of date")
        return inode

    def _load(self, entry: Entry) -> NtfsInode:
        facts = describe(entry)
        inode = (NtfsDirectory if facts.kind == S_IFDIR and entry.is_directory else NtfsInode)(self, entry, facts)
        self.adopt(inode)
        return inode

    def adopt(self, inode: NtfsInode) -> None:
        """It is the object for its file from now on."""
        self._inodes[inode.ino] = inode
        recent = self._recent
        recent[inode.ino] = inode
        if len(recent) > RECENT_INODES:
            recent.popitem(last=False)
        if self.volume.needs_trimming:
            self.volume.trim([other.index for other in self._inodes.values() if isinstance(other, NtfsDirectory)])

    def made(self, inode: NtfsInode) -> None:
        """A new file."""
        self._born.add(inode.ino)
        self.adopt(inode)

    def lost_its_names(self, inode: NtfsInode) -> None:
        """It lives on while it is open. Within the operation, which may end with a commit."""
        self.volume.orphans.add(inode.ino)
        self.volume.transaction.on_failure(self.volume.orphans.discard, inode.ino)
        if inode.ino not in self._born:
            self._half_gone.add(inode.ino)
            self.volume.transaction.on_failure(self._half_gone.discard, inode.ino)

    def has_a_name(self, inode: NtfsInode) -> None:
        """The opposite, also within the operation."""
        if inode.ino in self.volume.orphans:
            self.volume.orphans.discard(inode.ino)
            self.volume.transaction.on_failure(self.volume.orphans.add, inode.ino)

    def settle_names(self, inode: NtfsInode) -> None:
        """Its contents are going to change, which must not be seen under a name that it had before."""
        if inode.ino in self._half_gone:
            self.volume.commit()

    def stream_inode(self, owner: NtfsInode, name: str) -> StreamInode:
        """An alternate stream as a file."""
        inode = self._streams.get((owner.ino, name))
        if inode is None:
            facts = describe(owner.entry)._replace(size=owner.entry.stream(AttributeType.DATA, name).data_size)
            self._streams[owner.ino, name] = inode = StreamInode(self, owner.entry, facts)
            inode.stream_name = name
            inode.mode = owner.mode
            inode.ino = owner.ino | (len(self._streams) & 0x7FFF) << STREAM_SHIFT
            inode.btime_ns, inode.mtime_ns = owner.btime_ns, owner.mtime_ns
            inode.ctime_ns, inode.atime_ns = owner.ctime_ns, owner.atime_ns
        return inode

    def evict(self, inode: NtfsInode) -> None:
        """No name and no open file is left."""
        self.changed.pop(inode, None)
        if inode.nlink or isinstance(inode, StreamInode):
            return
        if inode.ino in self.volume.orphans:
            self.volume.run(reparse.release_file, self.volume, inode.entry)
            self.volume.orphans.discard(inode.ino)
            self.released(inode)

    def released(self, inode: NtfsInode) -> None:
        """Its record has been given back."""
        self.changed.pop(inode, None)
        self._inodes.discard(inode.ino)
        self._recent.pop(inode.ino, None)
        self.volume.drop_entry(inode.ino)

    # -- what is put off --

    def _flush_changed(self) -> None:
        """Before a commit: times and sizes to the records and directories."""
        changed, self.changed = self.changed, {}
        self._born.clear()
        self._half_gone.clear()
        if changed:
            self.volume.run(self._flush, list(changed))

    def _flush(self, inodes: list[NtfsInode]) -> None:
        for inode in inodes:
            inode.flush()

    def update_name(self, reference: int, value: bytes, summary: tuple[int, ...]) -> None:
        """Bring the copy of a file's facts in its directory up to date."""
        parent, namespace, name = name_of(value)
        try:
            directory = self.inode(parent)
            if isinstance(directory, NtfsDirectory):
                key = self.volume.collator.key(name)
                replace(directory.index, key, index_entry(reference, make_name(parent, name, namespace, summary)))
        except CorruptError:
            return  # a damaged directory is no reason to lose what is right

    def security_id(self) -> int:
        """What new files get. Within an operation."""
        if self._security_id < 0:
            self.volume.transaction.on_failure(setattr, self, "_security_id", -1)
            self._security_id = default_security_id(self.volume)
        return self._security_id

    # -- the whole --

    def statfs(self) -> FilesystemStat:
        volume = self.volume
        clusters, free = volume.geometry.clusters, volume.clusters.free + volume.clusters.waiting_count
        records = volume.mft.count
        taken = volume.mft.bitmap.taken
        possible = free * volume.geometry.cluster_bytes // volume.geometry.record_bytes
        return FilesystemStat(NTFS_MAGIC_NUMBER, self.block_size, clusters, free, free, records + possible,
                              records - taken + possible, NAME_UNITS_MAX, self.device)

    def sync(self) -> None:
        super().sync()
        if not self.read_only:
            self.volume.flush()

    def unmount(self) -> None:
        super().sync()
        for inode in self._inodes.values():
            if inode._mapping is not None:
                inode._mapping.release()
                inode._mapping = None
        if not self.read_only:
            self.volume.close()
