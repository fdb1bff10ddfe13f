"""A mounted volume: what all parts of it share, and how changes get to the medium.

    operation (all or nothing in memory, `transaction`) …  commit (all or nothing on the medium, `journal`) … flush

Operations gather until a sync, or until they nearly fill the journal. A commit asks the filesystem for what it has put
off (times, sizes in directories), lets the clusters go that were given back, and hands all dirty blocks to the journal.
When the disk is full while clusters wait for a commit, the operation is undone, the commit made, and the operation
begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.attribute import make_resident
from jefeos_fs_ntfs.bitmap import Bitmap, Clusters
from jefeos_fs_ntfs.boot import parse_geometry
from jefeos_fs_ntfs.entry import Entry
from jefeos_fs_ntfs.journal import Journal
from jefeos_fs_ntfs.layout import (
    BLOCK_BYTES,
    AttributeType,
    MetaFile,
    RecordFlags,
    VolumeFlags,
    VolumeInformation,
)
from jefeos_fs_ntfs.mft import CachedRecord, Mft
from jefeos_fs_ntfs.names import UPCASE_UNITS, Collator
from jefeos_fs_ntfs.reparse import release_file
from jefeos_fs_ntfs.transaction import Block, Transaction
from jefeos_fs_ntfs.weak import WeakTable

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_ntfs.index import Index

Result = TypeVar("Result")
NODES_CACHED_MOST: Final = 4096
LABEL_BYTES_MAX: Final = 256
_IN_USE: Final = int(RecordFlags.IN_USE)
SPARE_MOST: Final = 512 << 10
"""A commit is made before it would fill the journal: with half of it free, or this much, for one operation more."""


class Volume:
    """See the module's text."""

    def __init__(self, cache: BufferCache) -> None:
        """Reads what cannot be done without. Raises CorruptError."""
        self.cache = cache
        self.geometry = parse_geometry(cache.read(0, BLOCK_BYTES), cache.size_bytes)
        self.transaction = Transaction()
        self.journal = Journal(cache, self.geometry)
        capacity = self.journal.capacity
        self._commit_at = capacity - min(capacity // 2, SPARE_MOST)
        self.nodes_cached = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.orphans: set[int] = set()
        """Files that have no name but are open."""
        self.collator = Collator(b"")
        self.entries: WeakTable[int, Entry] = WeakTable()
        self._kept: dict[int, Entry] = {}
        self._metadata_files: dict[str, int | None] = {}
        self._clusters: Clusters | None = None
        self._unwritten: list[Block] = []
        self._committing = False
        self._marked = False
        self.was_dirty = False
        self.mft = Mft(self)
        self._kept[0] = self.mft.load()
        self.mft.load_bitmap()
        mirror = self.entry(MetaFile.MFT_MIRROR).stream(AttributeType.DATA)
        self.mft.mirrored = 0 if mirror.resident else mirror.data_size // self.geometry.record_bytes
        upcase = self.entry(MetaFile.UPCASE).value(AttributeType.DATA, limit=2 * UPCASE_UNITS)
        if not upcase or len(upcase) % 2:
            raise CorruptError("$UpCase has no table")
        self.collator = Collator(upcase)
        self.entries.clear()
        self.entries[0] = self._kept[0]

    # -- parts --

    def entry(self, number: int) -> Entry:
        """The file of a base record. Raises CorruptError."""
        return self.entries.get(number) or self.entry_of(self.mft.read(number))

    def entry_of(self, record: CachedRecord) -> Entry:
        """The file of this base record. Raises CorruptError."""
        number = record.number
        entry = self.entries.get(number)
        if entry is None:
            if record.base or not record.flags & _IN_USE:
                raise CorruptError(f"MFT record {number} is not the base record of a file")
            entry = self.entries[number] = Entry(self, record)
        return entry

    def adopt(self, entry: Entry) -> None:
        """A file that was just made."""
        self.entries[entry.number] = entry

    def drop_entry(self, number: int) -> None:
        """The file is gone."""
        self.entries.discard(number)

    @property
    def clusters(self) -> Clusters:
        """$Bitmap, read when it is needed first."""
        if self._clusters is None:
            count = self.geometry.clusters
            stream = self.entry(MetaFile.BITMAP).stream(AttributeType.DATA)
            needed = (count + 7) // 8
            if stream.data_size < needed:
                raise CorruptError(f"$Bitmap has {stream.data_size} bytes for {count} clusters")
            self._kept[MetaFile.BITMAP] = stream.entry
            bits = stream.read(0, needed)
            lcn, length = self.mft.stream.runs[-1]
            bitmap = Bitmap(bits, count, self.transaction, stream.locate_data)
            self._clusters = Clusters(bitmap, max(lcn, 0) + length)
        return self._clusters

    def mirror_blocks(self, number: int, data: bytes) -> list[Block]:
        """The copy of one of the first records in $MFTMirr."""
        stream = self.entry(MetaFile.MFT_MIRROR).stream(AttributeType.DATA)
        return stream.locate_data(number * self.geometry.record_bytes, data)

    def metadata_file(self, name: str) -> int | None:
        """The record number of a file in $Extend; None if the volume has none of that name. Its entry is kept."""
        if name not in self._metadata_files:
            extend = self.entry(MetaFile.EXTEND)
            found = extend.index().lookup(self.collator.key(name)) if extend.is_directory else None
            number = None if found is None else int.from_bytes(found[:6], "little")
            if number is not None:
                self._kept[number] = self.entry(number)
            self._metadata_files[name] = number
        return self._metadata_files[name]

    def information(self) -> VolumeInformation:
        """VOLUME_INFORMATION: version and flags."""
        value = self.entry(MetaFile.VOLUME).value(AttributeType.VOLUME_INFORMATION)
        if value is None:
            raise CorruptError("$Volume has no $VOLUME_INFORMATION")
        return VolumeInformation.parse(value)

    @property
    def label(self) -> str:
        """The volume's name."""
        value = self.entry(MetaFile.VOLUME).value(AttributeType.VOLUME_NAME, limit=LABEL_BYTES_MAX) or b""
        return value[: len(value) & ~1].decode("utf-16-le", "replace")

    # -- operations --

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Do something entirely or not at all."""
        transaction = self.transaction
        if transaction.active:
            return function(*arguments)
        for attempt in range(2):
            transaction.begin()
            try:
                if not self._marked:
                    self._mark_dirty()
                result = function(*arguments)
            except KernelError as error:
                transaction.roll_back()
                if error.errno != Errno.ENOSPC or attempt or self._committing:
                    raise
                if not (self.clusters.waiting or self.clusters.some_ahead):
                    raise
                self.commit()
            except BaseException:
                transaction.roll_back()
                raise
            else:
                transaction.end()
                break
        if transaction.weight > self._commit_at and not self._committing:
            self.commit()
        return result

    def commit(self) -> None:
        """Hand everything that changed to the journal. Raises KernelError(EIO); then the next commit tries again."""
        if self._committing:
            return
        self._committing = True
        try:
            self.before_commit()
            if self._clusters is not None:
                self._clusters.free_waiting()
            for changed in self.transaction.take_dirty():
                self._unwritten += changed.blocks()
            if self._unwritten:
                self.journal.write(self._unwritten, self.orphans)
                self._unwritten = []
        finally:
            self._committing = False
        self.mft.forget_some()

    def flush(self) -> None:
        """Everything is on the medium when this returns."""
        self.commit()
        self.cache.flush()

    def resume(self, sequence: int, orphans: Iterable[int]) -> None:
        """After a crash, its journal done: remove the files that had lost their names, and unmount."""
        self.journal.go_on(sequence)
        self._marked = True
        for number in orphans:
            try:
                entry = self.entry(number)
            except CorruptError:
                continue
            if entry.find(AttributeType.FILE_NAME) is None and number >= MetaFile.FIRST_USER:
                self.run(release_file, self, entry)
        self.close()

    def close(self) -> None:
        """The last flush: the volume is clean, and its log empty."""
        if self._marked and not self.was_dirty:
            self.run(self._set_flags, 0)
        self.flush()
        if self._marked:
            self.journal.close()
            self._marked = False

    def _mark_dirty(self) -> None:
        """The first change since it was mounted."""
        self._set_flags(VolumeFlags.DIRTY)
        self.transaction.on_failure(setattr, self, "_marked", False)
        self._marked = True

    def _set_flags(self, dirty: int) -> None:
        entry = self.entry(MetaFile.VOLUME)
        self._kept[MetaFile.VOLUME] = entry
        information = self.information()
        information.flags = information.flags & ~VolumeFlags.DIRTY | dirty
        old = entry.find(AttributeType.VOLUME_INFORMATION)
        assert old is not None
        entry.replace(old, make_resident(AttributeType.VOLUME_INFORMATION, information.pack()))

    @property
    def needs_trimming(self) -> bool:
        """Whether there are more decoded nodes than are to be kept."""
        return self.nodes_cached > NODES_CACHED_MOST and not self.transaction.active

    def trim(self, indexes: list[Index]) -> None:
        """Keep the memory of decoded index nodes bounded. Not during an operation."""
        dirty = self.transaction.dirty
        self.nodes_cached = 0
        for index in indexes:
            index.nodes = {vcn: node for vcn, node in index.nodes.items() if node in dirty}
            index.packed.clear()
            index.finger = None
            self.nodes_cached += len(index.nodes)
