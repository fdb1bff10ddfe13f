"""VHD images, fixed and dynamic (Virtual Hard Disk Image Format Specification 1.0, Microsoft 2006).

    fixed      | data …                                                     | footer |
    dynamic    | footer copy | header | table | block | block | …           | footer |

A dynamic disk is cut into blocks, 2 MiB by default. The block allocation table has one entry for each: the sector of
the file where the block begins with its bitmap, one bit a sector, or all ones for a block that was never written and
reads as zeros. Numbers are big-endian.

A new block goes where the footer was. The order of writes keeps the image whole if the host stops in between: block
and new footer first, then the table's entry; the footer's copy at the front covers the moment without one at the end.

Not here: differencing disks (refused by name), and the older format with 511-byte footers.
"""

from __future__ import annotations

import uuid
from typing import IO, Final

from jefeos.block.image import SECTOR_BYTES, DiskImage, ImageFile
from jefeos.errors import ConfigError, CorruptError
from jefeos.structs import Struct, pad, raw, u8, u16, u32, u64

FOOTER_COOKIE: Final = b"conectix"
HEADER_COOKIE: Final = b"cxsparse"
FORMAT_VERSION: Final = 0x0001_0000
RESERVED_FEATURE: Final = 2
NO_OFFSET: Final = (1 << 64) - 1
UNUSED_BLOCK: Final = (1 << 32) - 1
TYPE_FIXED, TYPE_DYNAMIC, TYPE_DIFFERENCING = 2, 3, 4
DEFAULT_BLOCK_BYTES: Final = 2 << 20
MAXIMUM_VHD_BYTES: Final = 2040 << 30
CREATOR: Final = b"win "
"""Readers take the disk's size from the footer for this creator, and for others from the rounded geometry."""
_TABLE_ENTRY_BYTES: Final = 4


class Footer(Struct, endian=">"):
    """Hard disk footer."""

    cookie: bytes = raw(8)
    features: int = u32(RESERVED_FEATURE)
    file_format_version: int = u32(FORMAT_VERSION)
    data_offset: int = u64(NO_OFFSET)
    time_stamp: int = u32()
    creator_application: bytes = raw(4)
    creator_version: int = u32(FORMAT_VERSION)
    creator_host_os: bytes = raw(4)
    original_size: int = u64()
    current_size: int = u64()
    cylinders: int = u16()
    heads: int = u8()
    sectors_per_track: int = u8()
    disk_type: int = u32()
    checksum: int = u32()
    unique_id: bytes = raw(16)
    saved_state: int = u8()
    reserved: None = pad(427)


class DynamicHeader(Struct, endian=">"):
    """Dynamic disk header. The parent's fields are for differencing disks."""

    cookie: bytes = raw(8)
    data_offset: int = u64(NO_OFFSET)
    table_offset: int = u64()
    header_version: int = u32(FORMAT_VERSION)
    max_table_entries: int = u32()
    block_size: int = u32(DEFAULT_BLOCK_BYTES)
    checksum: int = u32()
    parent: None = pad(984)


def has_vhd_footer(file: ImageFile) -> bool:
    """Whether the file ends (or, after a crash, only begins) as a VHD does."""
    size = file.size()
    if size < SECTOR_BYTES:
        return False
    ends = file.read(size - SECTOR_BYTES, len(FOOTER_COOKIE)) == FOOTER_COOKIE
    return ends or (file.read(0, len(FOOTER_COOKIE)) == FOOTER_COOKIE and _is_whole(file.read(0, SECTOR_BYTES)))


class VhdImage(DiskImage):
    """An open VHD. Raises ConfigError when it is not one that can be used."""

    def __init__(self, file: ImageFile) -> None:
        self._file = file
        self.path, self.read_only = file.path, file.read_only
        self._end = 0
        """Where the next new block goes: the place of the footer."""
        self._whole: set[int] = set()
        """Blocks that are known to have all of their sectors."""
        self._footer_bytes = self._find_footer()
        footer = Footer.parse(self._footer_bytes)
        self.size_bytes = footer.current_size
        if not self.size_bytes or self.size_bytes % SECTOR_BYTES:
            raise self._bad(f"a size of {self.size_bytes} bytes")
        if footer.disk_type == TYPE_FIXED:
            if self.size_bytes + SECTOR_BYTES > file.size():
                raise self._bad(f"{self.size_bytes} bytes of data do not fit into the file")
            self._table: list[int] | None = None
        elif footer.disk_type == TYPE_DYNAMIC:
            self._table = self._read_table(footer.data_offset)
        elif footer.disk_type == TYPE_DIFFERENCING:
            raise self._bad("it is a differencing disk, which cannot be used; merge it into its parent first")
        else:
            raise self._bad(f"disk type {footer.disk_type} is unknown")

    # -- DiskImage --

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.check_range(offset, len(buffer))
        if self._table is None:
            self._file.read_into(offset, buffer)
            return
        done = 0
        while done < len(buffer):
            index, inside = divmod(offset + done, self._block_bytes)
            count = min(self._block_bytes - inside, len(buffer) - done)
            self._read_block(index, inside, buffer[done : done + count])
            done += count

    def read(self, offset: int, length: int) -> bytes:
        if self._table is not None:
            return super().read(offset, length)
        self.check_range(offset, length)
        return self._file.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.check_range(offset, len(data))
        if self._table is None:
            self._file.write(offset, data)
            return
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            index, inside = divmod(offset + done, self._block_bytes)
            count = min(self._block_bytes - inside, len(view) - done)
            self._write_block(index, inside, view[done : done + count])
            done += count

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    # -- blocks --

    def _read_block(self, index: int, inside: int, buffer: memoryview) -> None:
        assert self._table is not None
        entry = self._table[index]
        if entry == UNUSED_BLOCK:
            buffer[:] = bytes(len(buffer))
            return
        start = entry * SECTOR_BYTES
        self._file.read_into(start + self._bitmap_bytes + inside, buffer)
        bitmap = self._bitmap(index)
        if bitmap is None:
            return
        for sector in range(inside // SECTOR_BYTES, (inside + len(buffer) - 1) // SECTOR_BYTES + 1):
            if not bitmap[sector >> 3] & (0x80 >> (sector & 7)):
                first = max(sector * SECTOR_BYTES - inside, 0)
                last = min((sector + 1) * SECTOR_BYTES - inside, len(buffer))
                buffer[first:last] = bytes(last - first)

    def _write_block(self, index: int, inside: int, data: memoryview) -> None:
        assert self._table is not None
        if self._table[index] == UNUSED_BLOCK:
            self._add_block(index, inside, data)
            return
        start = self._table[index] * SECTOR_BYTES
        bitmap = self._bitmap(index)
        if bitmap is not None:
            self._fill_sectors(index, inside, len(data), bitmap)
        self._file.write(start + self._bitmap_bytes + inside, data)

    def _add_block(self, index: int, inside: int, data: memoryview) -> None:
        """A block of zeros with ``data`` in it, all of its sectors marked as present."""
        assert self._table is not None
        start = self._end
        end = start + self._bitmap_bytes + self._block_bytes
        self._file.write(start + self._bitmap_bytes + inside, data)
        self._file.write(end, self._footer_bytes)  # the file's new end: what lies between reads as zeros
        self._file.write(start, (b"\xff" * (self._block_bytes // SECTOR_BYTES // 8)).ljust(self._bitmap_bytes, b"\0"))
        entry = start // SECTOR_BYTES
        self._file.write(self._table_offset + index * _TABLE_ENTRY_BYTES, entry.to_bytes(_TABLE_ENTRY_BYTES, "big"))
        self._table[index] = entry
        self._end = end
        self._whole.add(index)

    def _bitmap(self, index: int) -> bytes | None:
        """A block's bitmap, or None once it is known that all of its sectors are there."""
        assert self._table is not None
        if index in self._whole:
            return None
        count = self._block_bytes // SECTOR_BYTES // 8
        bitmap = self._file.read(self._table[index] * SECTOR_BYTES, count)
        if bitmap == b"\xff" * count:
            self._whole.add(index)
            return None
        return bitmap

    @property
    def dynamic(self) -> bool:
        """Whether it grows as it is written."""
        return self._table is not None

    def _fill_sectors(self, index: int, inside: int, length: int, bitmap: bytes) -> None:
        """Before a write to a block that has holes: whole sectors of zeros where it will touch, then mark them."""
        assert self._table is not None
        start = self._table[index] * SECTOR_BYTES
        marked = bytearray(bitmap)
        for sector in range(inside // SECTOR_BYTES, (inside + length - 1) // SECTOR_BYTES + 1):
            bit = 0x80 >> (sector & 7)
            if not marked[sector >> 3] & bit:
                self._file.write(start + self._bitmap_bytes + sector * SECTOR_BYTES, bytes(SECTOR_BYTES))
                marked[sector >> 3] |= bit
        if marked != bitmap:
            self._file.write(start, marked)

    # -- opening --

    def _find_footer(self) -> bytes:
        size = self._file.size()
        last = self._file.read(size - SECTOR_BYTES, SECTOR_BYTES)
        if _is_whole(last):
            return last
        copy = self._file.read(0, SECTOR_BYTES)  # dynamic disks keep one for the case of a crash
        if _is_whole(copy):
            return copy
        raise self._bad("the footer's checksum is wrong")

    def _read_table(self, header_offset: int) -> list[int]:
        size = self._file.size()
        if header_offset + DynamicHeader.size > size:
            raise self._bad(f"its header would be at {header_offset}, past the end")
        header_bytes = self._file.read(header_offset, DynamicHeader.size)
        header = DynamicHeader.parse(header_bytes)
        if header.cookie != HEADER_COOKIE or header.checksum != _checksum(header_bytes, 36):
            raise self._bad("the dynamic disk header is damaged")
        block = header.block_size
        if block < 8 * SECTOR_BYTES or block & (block - 1) or block > 1 << 28:
            raise self._bad(f"a block size of {block} bytes")
        self._block_bytes = block
        self._bitmap_bytes = -(-(block // SECTOR_BYTES // 8) // SECTOR_BYTES) * SECTOR_BYTES
        needed = -(-self.size_bytes // block)
        table_end = header.table_offset + needed * _TABLE_ENTRY_BYTES
        if needed > header.max_table_entries or table_end > size:
            raise self._bad("the block allocation table is too short for the disk")
        self._table_offset = header.table_offset
        words = self._file.read(header.table_offset, needed * _TABLE_ENTRY_BYTES)
        table = [int.from_bytes(words[at : at + 4], "big") for at in range(0, len(words), 4)]
        self._end = -(-max(table_end, header_offset + DynamicHeader.size) // SECTOR_BYTES) * SECTOR_BYTES
        used = [entry for entry in table if entry != UNUSED_BLOCK]
        for entry in used:
            end = entry * SECTOR_BYTES + self._bitmap_bytes + block
            if entry * SECTOR_BYTES < table_end or end > size:
                raise self._bad(f"a block at sector {entry} is not inside of the file")
            self._end = max(self._end, end)
        if len(set(used)) != len(used):
            raise self._bad("two blocks of the disk are at one place of the file")
        return table

    def _bad(self, what: str) -> ConfigError:
        return ConfigError(f"VHD image {self.path}: {what}")


def write_new_vhd(file: IO[bytes], size: int, *, dynamic: bool) -> None:
    """Write an empty VHD to an empty file. Raises ConfigError for a disk larger than the format allows."""
    if size > MAXIMUM_VHD_BYTES:
        raise ConfigError(f"a VHD holds at most {MAXIMUM_VHD_BYTES >> 30} GiB")
    cylinders, heads, sectors = geometry(size // SECTOR_BYTES)
    footer = Footer(
        cookie=FOOTER_COOKIE,
        data_offset=Footer.size if dynamic else NO_OFFSET,
        creator_application=CREATOR,
        creator_host_os=b"Wi2k",
        original_size=size,
        current_size=size,
        cylinders=cylinders,
        heads=heads,
        sectors_per_track=sectors,
        disk_type=TYPE_DYNAMIC if dynamic else TYPE_FIXED,
        unique_id=uuid.uuid4().bytes,
    )
    footer.checksum = _checksum(footer.pack(), 64)
    if not dynamic:
        file.truncate(size)
        file.seek(size)
        file.write(footer.pack())
        return
    blocks = -(-size // DEFAULT_BLOCK_BYTES)
    header = DynamicHeader(
        cookie=HEADER_COOKIE, table_offset=Footer.size + DynamicHeader.size, max_table_entries=blocks
    )
    header.checksum = _checksum(header.pack(), 36)
    table_bytes = -(-blocks * _TABLE_ENTRY_BYTES // SECTOR_BYTES) * SECTOR_BYTES
    file.write(footer.pack() + header.pack() + b"\xff" * table_bytes + footer.pack())


def geometry(total_sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors per track for a number of sectors (the specification's appendix)."""
    total = min(total_sectors, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    sectors = 17
    cylinders_times_heads = total // sectors
    heads = max((cylinders_times_heads + 1023) // 1024, 4)
    if cylinders_times_heads >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        cylinders_times_heads = total // sectors
    if cylinders_times_heads >= heads * 1024:
        sectors, heads = 63, 16
        cylinders_times_heads = total // sectors
    return cylinders_times_heads // heads, heads, sectors


def _is_whole(footer: bytes) -> bool:
    try:
        parsed = Footer.parse(footer)
    except CorruptError:
        return False
    return parsed.cookie == FOOTER_COOKIE and parsed.checksum == _checksum(footer, 64)


def _checksum(structure: bytes, checksum_at: int) -> int:
    """The ones' complement of the sum of all bytes but the checksum's own four."""
    return ~(sum(structure) - sum(structure[checksum_at : checksum_at + 4])) & 0xFFFF_FFFF
