"""$LogFile: whether another system left work in it, and our own journal in its place.

NTFS logs its metadata in $LogFile, in a format that nobody but Windows writes. A log that is not finished belongs to
Windows: the volume is not written to. A finished or empty one is of no more use to anybody, so while a volume is
mounted for writing the room serves for a journal of our own, and is filled with 0xFF again, the sign of an empty log,
when it is unmounted. If it never was, other systems see neither an empty log nor one of theirs, and leave it alone.

    half 0   header | orphans | table of blocks | blocks …          half 1   the same

A commit is written into the two halves by turns:

    1. file contents (anywhere), the table and the blocks         2. order   3. the header: from here on it is done
                                                                  4. order   5. the blocks to their places

so at any moment the newest header whose checksums are right says what has to be written again after a crash, and all
commits before that one are in their places. Orphans are the files that lived on without a name because they were open:
after a crash they go. A commit that is too large for a half, or a volume without a usable
$LogFile, is written in place without a journal; then a crash may leave what fsck has to put right.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from attrs import frozen
from jefeos.errors import CorruptError, KernelError
from jefeos.structs import Struct, raw, u32, u64

from jefeos_fs_ntfs.layout import (
    CHKD_MAGIC,
    NO_CLUSTER,
    NO_LOG_CLIENT,
    RESTART_VOLUME_IS_CLEAN,
    RSTR_MAGIC,
    AttributeType,
    MetaFile,
    RestartArea,
    RestartPage,
)
from jefeos_fs_ntfs.record import MftRecord, apply_fixups
from jefeos_fs_ntfs.runs import decode_runs
from jefeos_fs_ntfs.transaction import Block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jefeos.block.cache import BufferCache

    from jefeos_fs_ntfs.boot import Geometry

MAGIC: Final = b"JefeOS\0J"
HEADER_BYTES: Final = 4096
LEAST_BYTES: Final = 64 << 10
MOST_BYTES: Final = 32 << 20
"""Of one half: more is only memory."""
EMPTY: Final = b"\xff"
FILL_AT_ONCE: Final = 1 << 20


class JournalHeader(Struct):
    """At the beginning of a half."""

    magic: bytes = raw(8)
    sequence: int = u64()
    blocks: int = u32()
    orphans: int = u32()
    """How many record numbers stand ahead of the table."""
    body_length: int = u32()
    body_crc: int = u32()
    crc: int = u32()
    """Of the bytes before it."""


class Orphan(Struct):
    """The record of a file without a name."""

    number: int = u64()


TABLE_LINE: Final = struct.Struct("<QI")
"""Where a block goes: offset and length."""


@frozen
class Unfinished:
    """What a crash left in the journal."""

    sequence: int = 0
    """0: nothing."""
    blocks: tuple[Block, ...] = ()
    orphans: tuple[int, ...] = ()


@frozen
class LogState:
    """What is in $LogFile."""

    ours: bool = False
    empty: bool = False
    live: str = ""
    """Why the volume must not be written to; empty if it may."""


class Journal:
    """The place of $LogFile on one volume."""

    def __init__(self, cache: BufferCache, geometry: Geometry) -> None:
        """Needs the boot sector and record 2, which never change. Raises CorruptError."""
        self.cache = cache
        self.sequence = 0
        self._used = [0, 0]
        self.pieces = _find_log(cache, geometry)
        """Offset on the volume and length in bytes of each run."""
        size = sum([length for _, length in self.pieces])
        self.half_bytes = min(size // 2, MOST_BYTES) // HEADER_BYTES * HEADER_BYTES if size >= LEAST_BYTES else 0
        self._fresh = False

    @property
    def capacity(self) -> int:
        """Bytes of blocks that one commit can have, tables not counted."""
        return max(self.half_bytes - HEADER_BYTES, 0)

    # -- after a crash --

    def state(self) -> LogState:
        """Whose log it is."""
        if not self.pieces:
            return LogState(live="$LogFile cannot be found")
        head, other = self._read(0, HEADER_BYTES), self._read(self.half_bytes, HEADER_BYTES)
        if self._newest()[0] or head.startswith(MAGIC):
            return LogState(ours=True)
        if head == EMPTY * len(head):
            return LogState(empty=head == other)
        if head[:4] in (RSTR_MAGIC, CHKD_MAGIC):
            return LogState(live=self._restart_state(head))
        return LogState(live="$LogFile holds neither a finished log nor an empty one")

    def _restart_state(self, head: bytes) -> str:
        """Of the newer of the two restart pages."""
        newest: RestartArea | None = None
        page_bytes = RestartPage.parse(head).system_page_size
        if page_bytes not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536):
            return "$LogFile: its restart page is damaged"
        for number in range(2):
            try:
                page = self._read(number * page_bytes, page_bytes)
                page = apply_fixups(page, page[:4] if page[:4] in (RSTR_MAGIC, CHKD_MAGIC) else RSTR_MAGIC, "$LogFile")
                area = RestartArea.parse(page, RestartPage.parse(page).restart_area_offset)
            except CorruptError:
                continue
            if newest is None or area.current_lsn > newest.current_lsn:
                newest = area
        if newest is None:
            return "$LogFile: its restart pages are damaged"
        if newest.flags & RESTART_VOLUME_IS_CLEAN or newest.client_in_use_list == NO_LOG_CLIENT:
            return ""
        return "$LogFile holds changes that Windows has not finished"

    def unfinished(self) -> Unfinished:
        """What has to be done again; nothing if the journal is not live. Raises CorruptError."""
        sequence, body = self._newest()
        if not sequence:
            return Unfinished()
        header = self._header(sequence % 2)
        assert header is not None
        orphans = [Orphan.parse(body, number * Orphan.size).number for number in range(header.orphans)]
        blocks: list[Block] = []
        table = header.orphans * Orphan.size
        position = table + header.blocks * TABLE_LINE.size
        for number in range(header.blocks):
            if table + (number + 1) * TABLE_LINE.size > len(body):
                raise CorruptError("$LogFile: the table of the journal is cut off")
            offset, length = TABLE_LINE.unpack_from(body, table + number * TABLE_LINE.size)
            blocks.append((offset, body[position : position + length]))
            position += length
        return Unfinished(sequence, tuple(blocks), tuple(orphans))

    def finish(self, unfinished: Unfinished) -> None:
        """Do it. The log stays as it is until `close`."""
        for offset, data in unfinished.blocks:
            self.cache.write(offset, data)
        self.cache.flush()

    def go_on(self, sequence: int) -> None:
        """Use the log from here on, as it is after a crash."""
        self.sequence = sequence
        self._used = [self.half_bytes, self.half_bytes]
        self._fresh = True

    def _header(self, half: int) -> JournalHeader | None:
        if not self.half_bytes:
            return None
        data = self._read(half * self.half_bytes, JournalHeader.size)
        header = JournalHeader.parse(data)
        if header.magic != MAGIC or header.crc != crc32(data[:-4]) or header.sequence % 2 != half:
            return None
        return header if header.body_length <= self.capacity else None

    def _newest(self) -> tuple[int, bytes]:
        """Sequence number (0: none) and body of the newest commit."""
        best = (0, b"")
        for half in range(2):
            header = self._header(half)
            if header is not None and header.sequence > best[0]:
                body = self._read(half * self.half_bytes + HEADER_BYTES, header.body_length)
                if crc32(body) == header.body_crc:
                    best = (header.sequence, body)
        return best

    # -- while mounted --

    def write(self, blocks: list[Block], orphans: Iterable[int] = ()) -> None:
        """A commit, as the text of this module says. Nothing is on the medium before the next flush."""
        unnamed = [Orphan(number=number).pack() for number in sorted(orphans)]
        table = b"".join([*unnamed, *[TABLE_LINE.pack(offset, len(data)) for offset, data in blocks]])
        body = table + b"".join([data for _, data in blocks])
        if not self._fresh:
            self._fill(0, sum([length for _, length in self.pieces]))
            self.cache.order()
            self._fresh = True
        if len(body) <= self.capacity:
            self.sequence += 1
            half = self.sequence % 2
            start = half * self.half_bytes
            self._used[half] = max(self._used[half], HEADER_BYTES + len(body))
            self._write(start + HEADER_BYTES, body)
            self.cache.order()
            header = JournalHeader(magic=MAGIC, sequence=self.sequence, blocks=len(blocks), orphans=len(unnamed),
                                   body_length=len(body), body_crc=crc32(body))
            header.crc = crc32(header.pack()[:-4])
            self._write(start, header.pack())
        else:
            self._forget()
        self.cache.order()
        for offset, pieces in _neighbours(blocks):
            self.cache.write(offset, b"".join(pieces))

    def begin(self, *, empty: bool) -> None:
        """The volume is going to be written to. ``empty``: the log is, as `state` said."""
        self._fresh = empty

    def close(self) -> None:
        """Everything is flushed to its place: the log is an empty one again."""
        if self.sequence:
            self._forget()
            for half in range(2):
                self._fill(half * self.half_bytes, self._used[half])
            self._used = [0, 0]
        self.cache.flush()

    def _forget(self) -> None:
        """Neither header counts any more; the newer one last, as the older one is out of date."""
        for half in ((self.sequence + 1) % 2, self.sequence % 2):
            self.cache.order()
            if self.half_bytes:
                self._fill(half * self.half_bytes, JournalHeader.size)
        self.cache.order()

    def _locate(self, offset: int, length: int) -> list[tuple[int, int]]:
        pieces = []
        for start, size in self.pieces:
            if offset < size and length > 0:
                count = min(size - offset, length)
                pieces.append((start + offset, count))
                offset, length = 0, length - count
            else:
                offset -= min(size, offset)
        return pieces

    def _read(self, offset: int, length: int) -> bytes:
        return b"".join([self.cache.read(place, count) for place, count in self._locate(offset, length)])

    def _write(self, offset: int, data: bytes) -> None:
        done = 0
        for place, count in self._locate(offset, len(data)):
            self.cache.write(place, data[done : done + count])
            done += count

    def _fill(self, offset: int, length: int) -> None:
        for start in range(0, length, FILL_AT_ONCE):
            self._write(offset + start, EMPTY * min(FILL_AT_ONCE, length - start))


def _neighbours(blocks: list[Block]) -> list[tuple[int, list[bytes]]]:
    """What follows each other in the list and on the volume in one: records that were made or removed in a row."""
    found: list[tuple[int, list[bytes]]] = []
    end = -1
    for offset, data in blocks:
        if offset == end:
            found[-1][1].append(data)
        else:
            found.append((offset, [data]))
        end = offset + len(data)
    return found


def _find_log(cache: BufferCache, geometry: Geometry) -> list[tuple[int, int]]:
    """The runs of $LogFile; nothing if they are not to be had."""
    offset = geometry.mft_lcn * geometry.cluster_bytes + MetaFile.LOG_FILE * geometry.record_bytes
    try:
        record = MftRecord.parse(MetaFile.LOG_FILE, cache.read(offset, geometry.record_bytes))
        data = [attribute for attribute in record.attributes
                if attribute.type == AttributeType.DATA and not attribute.name]
        if not record.in_use or len(data) != 1 or data[0].resident:
            return []
        extent = data[0].extent
        runs = decode_runs(extent.pairs, geometry.clusters, extent.clusters)
    except KernelError:
        return []
    if extent.lowest_vcn or any(lcn == NO_CLUSTER for lcn, _ in runs):
        return []
    return [(lcn * geometry.cluster_bytes, length * geometry.cluster_bytes) for lcn, length in runs]
