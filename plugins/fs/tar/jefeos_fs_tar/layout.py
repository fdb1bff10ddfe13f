"""The tar header block, as declared by POSIX.1-2017 (pax, "ustar Interchange Format") and the GNU manual.

Declarations and field decoding only; the walk over an archive is in `index`.

A header is one block of 512 bytes. Numbers are octal text, or, a GNU extension, big-endian binary when the
first byte has its top bit set. The checksum is the sum of all header bytes with its own field as spaces.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from attrs import frozen
from jefeos.errors import CorruptError

BLOCK_BYTES = 512
ZERO_BLOCK = bytes(BLOCK_BYTES)

# name[100] mode[8] uid[8] gid[8] size[12] mtime[12] chksum[8] typeflag linkname[100] magic+version[8]
# uname[32] gname[32] devmajor[8] devminor[8] prefix[155] pad[12]
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_CHECKSUM_START, _CHECKSUM_END = 148, 156
POSIX_MAGIC = b"ustar\x0000"
GNU_MAGIC = b"ustar  \x00"

# GNU's old sparse format keeps its map where POSIX has the prefix.
GNU_SPARSE_OFFSET = 386
GNU_SPARSE_ENTRY_BYTES = 24
GNU_SPARSE_ENTRIES = 4
GNU_SPARSE_EXTENDED_OFFSET = 482
GNU_REAL_SIZE_OFFSET = 483
GNU_REAL_SIZE_END = 495
EXTENSION_ENTRIES = 21
EXTENSION_CONTINUED_OFFSET = 504


class MemberType(IntEnum):
    """The typeflag byte."""

    FILE_OLD = 0
    FILE = ord("0")
    HARD_LINK = ord("1")
    SYMLINK = ord("2")
    CHARACTER_DEVICE = ord("3")
    BLOCK_DEVICE = ord("4")
    DIRECTORY = ord("5")
    FIFO = ord("6")
    CONTIGUOUS = ord("7")
    GNU_LONG_LINK = ord("K")
    GNU_LONG_NAME = ord("L")
    GNU_DUMP_DIRECTORY = ord("D")
    GNU_SPARSE = ord("S")
    GNU_MULTI_VOLUME = ord("M")
    GNU_VOLUME_LABEL = ord("V")
    PAX_EXTENDED = ord("x")
    PAX_EXTENDED_SOLARIS = ord("X")
    PAX_GLOBAL = ord("g")


@frozen
class Header:
    """The fields of one header block; ``name`` has the ustar prefix joined in."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: int
    link_name: bytes
    device_major: int
    device_minor: int


def parse_number(field: bytes, what: str) -> int:
    """A numeric field: octal text padded with spaces or NULs, or GNU's base-256."""
    first = field[0]
    if first & 0x80:  # base-256: two's complement below the marker bit
        value = int.from_bytes(field, "big")
        bits = 8 * len(field) - 1
        value &= (1 << bits) - 1
        return value - (1 << bits) if first & 0x40 else value
    text = field.split(b"\x00", 1)[0].strip(b" ")
    if not text:
        return 0
    if not text.isdigit():  # int() alone would also take "+7", "-7" and "1_0"
        raise CorruptError(f"the {what} field {bytes(field)!r} is not an octal number")
    try:
        return int(text, 8)
    except ValueError:
        raise CorruptError(f"the {what} field {bytes(field)!r} is not an octal number") from None


def checksum_matches(block: bytes) -> bool:
    """Whether the header's checksum is right (as unsigned sum, or as the signed one of some old tars)."""
    stored = parse_number(block[_CHECKSUM_START:_CHECKSUM_END], "checksum")
    total = sum(block) - sum(block[_CHECKSUM_START:_CHECKSUM_END]) + 8 * ord(" ")
    if stored == total:
        return True
    high = sum(byte > 127 for byte in block) - sum(
        byte > 127 for byte in block[_CHECKSUM_START:_CHECKSUM_END]
    )
    return stored == total - 256 * high


def parse_header(block: bytes) -> Header:
    """Decode one header block. Errors: `CorruptError` for a bad checksum or number."""
    if not checksum_matches(block):
        raise CorruptError("the header's checksum is wrong")
    (name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix, _) = _HEADER.unpack(
        block
    )
    name = name.split(b"\x00", 1)[0]
    if magic == POSIX_MAGIC or (magic[:6] == POSIX_MAGIC[:6] and magic != GNU_MAGIC):
        prefix = prefix.split(b"\x00", 1)[0]
        if prefix:
            name = prefix + b"/" + name
    type_number = kind[0]
    is_device = type_number in (MemberType.CHARACTER_DEVICE, MemberType.BLOCK_DEVICE)
    return Header(
        name=name,
        mode=parse_number(mode, "mode"),
        uid=parse_number(uid, "uid"),
        gid=parse_number(gid, "gid"),
        size=parse_number(size, "size"),
        mtime=parse_number(mtime, "mtime"),
        type=type_number,
        link_name=link.split(b"\x00", 1)[0],
        device_major=parse_number(major, "devmajor") if is_device else 0,
        device_minor=parse_number(minor, "devminor") if is_device else 0,
    )


def parse_sparse_entries(area: bytes, count: int) -> list[tuple[int, int]]:
    """The (offset, length) pairs of a GNU sparse map; the first all-zero entry ends it."""
    entries = []
    for index in range(count):
        entry = area[index * GNU_SPARSE_ENTRY_BYTES : (index + 1) * GNU_SPARSE_ENTRY_BYTES]
        if entry[0] == 0:
            break
        entries.append((parse_number(entry[:12], "sparse offset"), parse_number(entry[12:], "sparse length")))
    return entries
