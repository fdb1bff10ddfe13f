"""The contents of an attribute: in the record, or in clusters, with holes, possibly compressed.

      0                     initialized_size       data_size        clusters * cluster_bytes
      | data                | reads as zeros       |  (allocated)   |
      | run | hole | run …                                          |

Reading and writing go run by run, whatever their length. Rules that writing keeps: what lies behind
``initialized_size`` reads as zeros whatever the clusters hold, so a write behind it fills the gap with zeros first;
growing a file makes a hole; a hole that is written into gets clusters; small contents live in the record, and come back
into it when a file is cut. A change of runs or sizes reaches the record by `store`, which splits a long list of runs
into extents.

Writing to a compressed file expands it first. Encrypted contents are refused (EACCES): nobody here has the keys.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_ntfs.attribute import Attribute, make_non_resident, make_resident, type_name
from jefeos_fs_ntfs.compression import read_compressed
from jefeos_fs_ntfs.layout import (
    COMPRESSION_UNIT,
    NO_CLUSTER,
    NON_RESIDENT_PAIRS_OFFSET,
    AttributeFlags,
    AttributeType,
)
from jefeos_fs_ntfs.record import attributes_offset
from jefeos_fs_ntfs.runlist import ExtentPacker, RunList
from jefeos_fs_ntfs.runs import Run, decode_runs

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.transaction import Block

COMPRESSED: Final = int(AttributeFlags.COMPRESSION_MASK)
SPARSE: Final = int(AttributeFlags.SPARSE)
ENCRYPTED: Final = int(AttributeFlags.ENCRYPTED)
ZEROS_AT_ONCE: Final = 1 << 20
COMES_BACK_BYTES: Final = 400
"""Contents that are cut to this size go back into the record, if there is room."""
AHEAD_BYTES_MOST: Final = 1 << 20
AHEAD_FREE_SHARE: Final = 16
"""Clusters are taken ahead only while there are so many times more free ones."""


class Stream(RunList):
    """One attribute of a file. Offsets and sizes in bytes, unless named otherwise."""

    def __init__(self, entry: Entry, kind: int, name: str = "", *, first_extent_only: bool = False) -> None:
        self.entry = entry
        self.kind = kind
        self.name = name
        self.volume = entry.volume
        self.cluster_bytes = entry.volume.geometry.cluster_bytes
        if first_extent_only:
            self._load([attribute for attribute in entry.base.attributes
                        if attribute.type == kind and attribute.name == name][:1])
        else:
            self.load()

    # -- from the records --

    def load(self) -> None:
        """Read runs and sizes from the records. Raises CorruptError."""
        self._load(self.entry.extents(self.kind, self.name))
        if self.data_size > self.clusters * self.cluster_bytes and not self.resident:
            raise CorruptError(f"{self}: {self.data_size} bytes in {self.clusters} clusters")

    def _load(self, extents: list[Attribute]) -> None:
        if not extents:
            raise CorruptError(f"{self} is missing")
        first = extents[0]
        self.flags = first.flags
        self.resident = first.resident
        self.clear()
        self._packer = ExtentPacker()
        self.unit_clusters = 0
        self._ahead = 0
        """Clusters behind the end that were taken for what is yet to come."""
        if first.resident:
            self.data_size = self.initialized_size = len(first.value)
            return
        extent = first.extent
        self.data_size, self.initialized_size = extent.data_size, min(extent.initialized_size, extent.data_size)
        if first.flags & COMPRESSED:
            self.unit_clusters = 1 << extent.compression_unit
        for attribute in extents:
            self._append_extent(attribute)

    def _append_extent(self, attribute: Attribute) -> None:
        extent = attribute.extent
        if extent.lowest_vcn != self.clusters:
            raise CorruptError(f"{self}: an extent begins at cluster {extent.lowest_vcn}, not {self.clusters}")
        for lcn, length in decode_runs(extent.pairs, self.volume.geometry.clusters, extent.clusters):
            self.append(lcn, length)

    def load_further_extents(self) -> None:
        """Of $MFT's data, whose extension records lie in the extents before them."""
        for line in self.entry.list_entries():
            if line.type == self.kind and line.name_length == 0 and line.lowest_vcn:
                record = self.volume.mft.read_while_loading(line.mft_reference)
                for attribute in record.attributes:
                    if attribute.type == self.kind and not attribute.name and attribute.extent.lowest_vcn == \
                            line.lowest_vcn:
                        self._append_extent(attribute)

    # -- where things are --

    @property
    def allocated_bytes(self) -> int:
        """What it takes on the medium; nothing while it is resident."""
        return (self.clusters - self.holes) * self.cluster_bytes

    def locate(self, offset: int, length: int) -> list[tuple[int, int]]:
        """The pieces of a range: offset on the volume (-1 for a hole) and length. The range has to be covered."""
        cluster_bytes = self.cluster_bytes
        if offset < 0 or offset + length > self.clusters * cluster_bytes:
            raise CorruptError(f"{self}: {length} bytes at {offset} are past its {self.clusters} clusters")
        if length <= 0:
            return []
        index = bisect_right(self.starts, offset // cluster_bytes) - 1
        lcn, count = self.runs[index]
        skip = offset - self.starts[index] * cluster_bytes
        if skip + length <= count * cluster_bytes:  # nearly always
            return [(-1 if lcn == NO_CLUSTER else lcn * cluster_bytes + skip, length)]
        pieces: list[tuple[int, int]] = []
        while length > 0:
            lcn, count = self.runs[index]
            skip = offset - self.starts[index] * cluster_bytes
            size = min(count * cluster_bytes - skip, length)
            pieces.append((-1 if lcn == NO_CLUSTER else lcn * cluster_bytes + skip, size))
            offset += size
            length -= size
            index += 1
        return pieces

    def locate_data(self, offset: int, data: bytes) -> list[Block]:
        """Which bytes go where on the volume, for a part of metadata. Holes are a CorruptError."""
        pieces = self.locate(offset, len(data))
        if len(pieces) == 1:
            if pieces[0][0] < 0:
                raise CorruptError(f"{self}: a hole where there are metadata")
            return [(pieces[0][0], data)]
        blocks: list[Block] = []
        done = 0
        for place, length in pieces:
            if place < 0:
                raise CorruptError(f"{self}: a hole where there are metadata")
            blocks.append((place, data[done : done + length]))
            done += length
        return blocks

    # -- reading --

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes; fewer only at the end."""
        count = min(count, self.data_size - offset)
        if count <= 0:
            return b""
        if self.resident:
            attribute = self.entry.find(self.kind, self.name)
            assert attribute is not None
            return attribute.value[offset : offset + count]
        if self.flags & ENCRYPTED:
            raise KernelError(Errno.EACCES, "the contents are encrypted")
        valid = min(count, self.initialized_size - offset)
        if valid <= 0:
            return bytes(count)
        if self.flags & COMPRESSED:
            data = read_compressed(self, offset, valid)
        else:
            data = self.read_raw(offset, valid)
        return data if valid == count else data + bytes(count - valid)

    def read_raw(self, offset: int, count: int) -> bytes:
        """What is in the clusters, zeros for holes."""
        pieces = self.locate(offset, count)
        if len(pieces) == 1 and pieces[0][0] >= 0:
            return self.volume.cache.read(*pieces[0])
        return self.volume.cache.read_pieces(pieces)

    # -- writing --

    def write(self, offset: int, data: bytes) -> None:
        """Write, growing as need be. Raises KernelError: ENOSPC, EACCES."""
        if not data:
            return
        self._begin_change()
        end = offset + len(data)
        if self.resident:
            if self._write_resident(offset, data):
                return
            self.make_non_resident()
        first, last = offset // self.cluster_bytes, (end - 1) // self.cluster_bytes + 1
        before = self.clusters, self.holes, self.data_size, self.initialized_size
        if last > self.clusters or self.holes:
            self._cover(first, last, offset, end)
        if offset > self.initialized_size:
            self._zero(self.initialized_size, offset)
        self.overwrite(offset, data)
        self.initialized_size = max(self.initialized_size, end)
        self.data_size = max(self.data_size, end)
        if before != (self.clusters, self.holes, self.data_size, self.initialized_size):
            self.store()

    def overwrite(self, offset: int, data: bytes) -> None:
        """Into clusters that are there."""
        write = self.volume.cache.write
        pieces = self.locate(offset, len(data))
        if len(pieces) == 1:
            write(pieces[0][0], data)
            return
        view = memoryview(data)
        for place, length in pieces:
            write(place, view[:length])
            view = view[length:]

    def set_size(self, size: int) -> None:
        """Cut, or extend with zeros."""
        if size == self.data_size:
            return
        self._begin_change(expand=size > 0)
        if self.resident:
            if size < self.data_size or self._fits(size):
                attribute = self.entry.find(self.kind, self.name)
                assert attribute is not None
                self._store_value(attribute, attribute.value[:size].ljust(size, b"\0"))
                return
            self.make_non_resident()
        if size < self.data_size:
            if size <= COMES_BACK_BYTES and self._make_resident(size):
                return
            self.volume.clusters.release(self.cut(-(-size // self.cluster_bytes)))
            self.initialized_size = min(self.initialized_size, size)
        else:
            missing = -(-size // self.cluster_bytes) - self.clusters
            if missing > 0:
                self.append(NO_CLUSTER, missing)
        self.data_size = size
        self.store()

    def reserve(self, offset: int, length: int, *, keep_size: bool) -> None:
        """Have clusters for a range; what was a hole in it, or behind the end, reads as zeros."""
        self._begin_change()
        end = offset + length
        if self.resident:
            self.make_non_resident()
        first, last = offset // self.cluster_bytes, (end - 1) // self.cluster_bytes + 1
        self._cover(first, last, min(end, self.initialized_size), min(end, self.initialized_size))
        if not keep_size:
            self.data_size = max(self.data_size, end)
        self.store()

    def punch(self, offset: int, length: int) -> None:
        """Make zeros of a range: its whole clusters become a hole."""
        self._begin_change()
        end = min(offset + length, self.data_size)
        if end <= offset:
            return
        if self.resident:
            self._write_resident(offset, bytes(end - offset))
            return
        covered = self.clusters * self.cluster_bytes
        first = -(-offset // self.cluster_bytes)
        last = self.clusters if end == self.data_size else end // self.cluster_bytes
        if first >= last:
            self._zero(offset, min(end, covered, self.initialized_size))
            return
        self._zero(offset, min(first * self.cluster_bytes, self.initialized_size))
        self._zero(last * self.cluster_bytes, min(end, self.initialized_size))
        self.volume.clusters.release(self.part(first, last))
        self.replace(first, last, [(NO_CLUSTER, last - first)])
        self.store()

    def extend_allocation(self, size: int, *, for_mft: bool = False) -> None:
        """Have clusters for ``size`` bytes; sizes stay. For metadata: no holes."""
        self.volume.transaction.on_failure(self.entry.forget)
        if self.resident:
            self.make_non_resident()
        missing = -(-size // self.cluster_bytes) - self.clusters
        if missing > 0:
            for lcn, length in self.volume.clusters.allocate(missing, self._goal(self.clusters), for_mft=for_mft):
                self.append(lcn, length)

    def set_sizes(self, size: int) -> None:
        """All of ``size`` bytes are valid now; to the record."""
        self.data_size = self.initialized_size = size
        self.store()

    def release_clusters(self) -> None:
        """The attribute is going to be removed."""
        self.volume.transaction.on_failure(self.entry.forget)
        self.volume.clusters.release(self.runs)
        self.set_runs([])

    def _begin_change(self, *, expand: bool = True) -> None:
        self.volume.transaction.on_failure(self.entry.forget)
        if self.flags & ENCRYPTED:
            raise KernelError(Errno.EACCES, "the contents are encrypted")
        if self.flags & COMPRESSED:
            self._expand(expand)

    def _expand(self, keep: bool) -> None:
        """Make an uncompressed attribute of a compressed one."""
        if not self.resident:
            size, old, compressed = self.data_size, self.runs, self.flags
            valid = self.initialized_size if keep else 0
            self.flags &= ~COMPRESSED
            new: list[Run] = self.volume.clusters.allocate(-(-valid // self.cluster_bytes)) if valid else []
            where = [(lcn * self.cluster_bytes, length * self.cluster_bytes) for lcn, length in new]
            offset = 0
            for place, length in where:
                for start in range(0, length, ZEROS_AT_ONCE):
                    self.flags = compressed
                    piece = self.read(offset, min(ZEROS_AT_ONCE, length - start))
                    self.flags &= ~COMPRESSED
                    self.volume.cache.write(place + start, piece)
                    offset += len(piece)
            self.volume.clusters.release(old)
            self.unit_clusters = 0
            self.set_runs(new)
            missing = -(-size // self.cluster_bytes) - self.clusters
            if missing > 0:
                self.append(NO_CLUSTER, missing)
            self.initialized_size = valid
            self.store()
        self.flags &= ~COMPRESSED

    def _cover(self, first: int, last: int, offset: int, end: int) -> None:
        """Have clusters from ``first`` to ``last``, as bytes ``offset`` to ``end`` are going to be written."""
        if self.holes and first < self.clusters:
            self._fill_holes(first, min(last, self.clusters), offset, end)
        if last > self.clusters:
            if first > self.clusters:
                self.append(NO_CLUSTER, first - self.clusters)
            ahead = self._worth_taking(last - self.clusters) if first <= self.clusters else 0
            for lcn, length in self.volume.clusters.allocate(last + ahead - self.clusters, self._goal(self.clusters)):
                self.append(lcn, length)
            self._ahead += ahead

    def _worth_taking(self, missing: int) -> int:
        """How many clusters more to take for a file that grows at its end, so that it stays in few runs."""
        clusters = self.volume.clusters
        ahead = min(self.clusters, AHEAD_BYTES_MOST // self.cluster_bytes)
        if self.kind != AttributeType.DATA or (missing + ahead) * AHEAD_FREE_SHARE > clusters.free:
            return 0
        if ahead:
            clusters.some_ahead = True
        return ahead

    def trim(self) -> None:
        """Give back what was taken ahead and not needed."""
        excess = min(self._ahead, self.clusters - -(-self.data_size // self.cluster_bytes))
        self._ahead = 0
        if excess > 0:
            self.volume.transaction.on_failure(self.entry.forget)
            self.volume.clusters.release(self.cut(self.clusters - excess))
            self.store()

    def _fill_holes(self, first: int, last: int, offset: int, end: int) -> None:
        middle = self.part(first, last)
        if all(lcn != NO_CLUSTER for lcn, _ in middle):
            return
        filled: list[Run] = []
        new: list[tuple[int, int]] = []
        vcn = first
        for lcn, length in middle:
            if lcn == NO_CLUSTER:
                previous = (filled or self.part(vcn - 1, vcn) or [(NO_CLUSTER, 0)])[-1]
                goal = previous[0] + previous[1] if previous[0] >= 0 else -1
                filled += self.volume.clusters.allocate(length, goal)
                new.append((vcn * self.cluster_bytes, (vcn + length) * self.cluster_bytes))
            else:
                filled.append((lcn, length))
            vcn += length
        self.replace(first, last, filled)
        for start, stop in new:
            stop = min(stop, self.initialized_size)
            self._zero(start, min(offset, stop))
            self._zero(max(end, start), stop)

    def _zero(self, start: int, end: int) -> None:
        """Zeros into the clusters of a range; holes stay."""
        end = min(end, self.clusters * self.cluster_bytes)
        if start >= end:
            return
        for place, length in self.locate(start, end - start):
            if place >= 0:
                for done in range(0, length, ZEROS_AT_ONCE):
                    self.volume.cache.write(place + done, bytes(min(ZEROS_AT_ONCE, length - done)))

    def _goal(self, vcn: int) -> int:
        """The cluster behind the one before ``vcn``."""
        for lcn, length in reversed(self.runs):
            if lcn != NO_CLUSTER:
                return lcn + length
        return -1

    # -- in the record or in clusters --

    def _fits(self, size: int) -> bool:
        """Whether a resident attribute may have this size: growth is compared with the room of its record."""
        return not self.entry.listed and ((size + 7) & ~7) - ((self.data_size + 7) & ~7) <= self.entry.room

    def _write_resident(self, offset: int, data: bytes) -> bool:
        size = max(self.data_size, offset + len(data))
        if size > self.data_size and not self._fits(size):
            return False
        attribute = self.entry.find(self.kind, self.name)
        assert attribute is not None
        value = attribute.value
        self._store_value(attribute, value[:offset].ljust(offset, b"\0") + data + value[offset + len(data) :])
        return True

    def _store_value(self, attribute: Attribute, value: bytes) -> None:
        self.entry.replace(attribute, make_resident(self.kind, value, self.name, flags=self.flags & ~COMPRESSED))
        self.data_size = self.initialized_size = len(value)

    def make_non_resident(self, *, settle: bool = True) -> None:
        """Move the value into clusters."""
        self.volume.transaction.on_failure(self.entry.forget)
        attribute = self.entry.find(self.kind, self.name)
        assert attribute is not None
        value = attribute.value
        runs = self.volume.clusters.allocate(-(-len(value) // self.cluster_bytes)) if value else []
        self.resident = False
        self.flags &= ~COMPRESSED
        self.set_runs(runs)
        if value:
            self.overwrite(0, value)
        self.store(settle=settle)

    def _make_resident(self, size: int) -> bool:
        """Move the first ``size`` bytes into the record, if there is room."""
        extents = self.entry.extents(self.kind, self.name)
        if self.entry.listed or self.kind != AttributeType.DATA:
            return False
        new = make_resident(self.kind, self.read(0, size), self.name)
        if len(new.raw) - len(extents[0].raw) > self.entry.room:
            return False
        self.volume.clusters.release(self.runs)
        self.entry.replace(extents[0], new)
        self._load([new])
        return True

    def store(self, *, settle: bool = True) -> None:
        """Bring runs and sizes to the record, in as many extents as it takes."""
        flags = self.flags & ~SPARSE
        if self.holes:
            flags |= SPARSE
        self.flags = flags
        existing = self.entry.extents(self.kind, self.name)
        record_bytes = self.volume.geometry.record_bytes
        most = record_bytes - attributes_offset(record_bytes) - NON_RESIDENT_PAIRS_OFFSET - 32 - 2 * len(self.name)
        chunks = self._packer.pack(self, most)
        for index, (lowest, highest, pairs) in enumerate(chunks):
            first = not index
            new = make_non_resident(
                self.kind, self.name, pairs=pairs, lowest_vcn=lowest, highest_vcn=highest, flags=flags,
                allocated_size=self.clusters * self.cluster_bytes if first else 0,
                data_size=self.data_size if first else 0,
                initialized_size=self.initialized_size if first else 0,
                compressed_size=self.allocated_bytes if first and self.holes else None,
                compression_unit=COMPRESSION_UNIT if first and self.holes else 0,
            )
            if index < len(existing):
                old = existing[index]
                if old.raw != new.with_instance(old.instance).raw:
                    self.entry.replace(old, new)
            else:
                self.entry.add(new)
        for attribute in existing[len(chunks) :]:
            self.entry.remove(attribute)
        if settle:
            self.entry.settle()

    def __str__(self) -> str:
        return f"MFT record {self.entry.number}: {type_name(self.kind)}{':' + self.name if self.name else ''}"
