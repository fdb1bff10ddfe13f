"""Names: what may stand in one, how it is spelled on disk, and which names are the same.

    "Read me.txt"  -->  slots "..t", "Read me.tx" in UTF-16 (last part first), each with the checksum of the short name
                        slot  "README~1TXT"

A name that is a short one as it stands (eight and three, upper case) has only its slot. Every other has a long name and
a short one made up for it. Names compare without regard to case, character by character, by Unicode's upper case where
that is one character, and no ASCII for what is none. To the Vfs names are UTF-8; unpaired surrogates on disk are passed
through (`surrogatepass`).

Short names are in code page 437. One that we make up has "_" for what is not ASCII.
"""

from __future__ import annotations

import zlib
from collections.abc import Container
from typing import Final

from jefeos.errors import Errno, KernelError

from jefeos_fs_fat32.layout import (
    KANJI_E5,
    LAST_LONG_SLOT,
    LONG_PARTS,
    NAME_UNITS,
    UNITS_A_SLOT,
    Attribute,
    NameCase,
)

CODE_PAGE: Final = "cp437"
ENCODING: Final = "utf-16-le"
FORBIDDEN: Final = frozenset('*?<>|":/\\') | {chr(code) for code in range(32)}
"""In no name at all (the limits of Windows, and of Linux's vfat)."""
_SHORT_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
PLAIN_TAILS: Final = 4
"""After ~1 to ~4 the name's own sum goes into the short name, so that a folder of like names stays quick."""


def decode(name: bytes) -> str:
    """A name as the Vfs gives it, without trailing dots, which FAT does not keep.

    Raises KernelError: ENOENT if nothing is left, EINVAL for what is no UTF-8.
    """
    try:
        text = name.decode("utf-8", "surrogatepass").rstrip(".")
    except UnicodeDecodeError:
        raise KernelError(Errno.EINVAL, f"{name!r} is not UTF-8") from None
    if not text:
        raise KernelError(Errno.ENOENT)
    return text


def require_valid(text: str) -> None:
    """Raise KernelError for what cannot be a long name: EINVAL, ENAMETOOLONG."""
    if not FORBIDDEN.isdisjoint(text):
        raise KernelError(Errno.EINVAL, f"{text!r} has characters that FAT does not allow")
    if len(text.encode(ENCODING, "surrogatepass")) > 2 * NAME_UNITS:
        raise KernelError(Errno.ENAMETOOLONG)


def encode(text: str) -> bytes:
    """A name for the Vfs."""
    return text.encode("utf-8", "surrogatepass")


def fold(text: str) -> str:
    """What names are compared by."""
    if text.isascii():
        return text.upper()
    return "".join([_upper(character) for character in text])


def _upper(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 and upper.isascii() == character.isascii() else character


# --- short names ---------------------------------------------------------------------------------------------------


def short_text(short: bytes, name_case: int = 0) -> str:
    """How a short name of 11 bytes is shown."""
    if short[0] == KANJI_E5:
        short = b"\xe5" + short[1:]
    base, extension = short[:8].rstrip(b" ").decode(CODE_PAGE), short[8:].rstrip(b" ").decode(CODE_PAGE)
    if name_case:
        if name_case & NameCase.LOWER_BASE:
            base = base.lower()
        if name_case & NameCase.LOWER_EXTENSION:
            extension = extension.lower()
    return f"{base}.{extension}" if extension else base


def is_valid_short(short: bytes) -> bool:
    """Whether the bytes can be a short name that any system accepts."""
    if short[0] == 0x20 or any(byte < 0x20 for byte in short[1:]) or short[0] < 0x20 and short[0] != KANJI_E5:
        return False
    return b"." not in short and not any(byte in b'"*+,/:;<=>?[\\]|' for byte in short)


def exact_short(text: str) -> bytes | None:
    """The short name that says the same as ``text``, upper case and all; None if it takes a long name."""
    base, dot, extension = text.rpartition(".") if "." in text else (text, "", "")
    if not 1 <= len(base) <= 8 or len(extension) > 3 or dot and not extension:
        return None
    if not _SHORT_CHARACTERS.issuperset(base) or not _SHORT_CHARACTERS.issuperset(extension):
        return None
    return base.encode("ascii").ljust(8) + extension.encode("ascii").ljust(3)


class _Squeezing(dict[int, str | None]):
    """For `str.translate`: what a short name has of each character."""

    def __missing__(self, code: int) -> str:
        return "_"


_SQUEEZE: Final = _Squeezing({ord(character): character for character in _SHORT_CHARACTERS} | {0x20: None, 0x2E: None})


def _squeezed(part: str, length: int) -> tuple[str, bool]:
    """The characters of ``part`` that a short name may have, and whether that says less than ``part``."""
    upper = part.upper()
    kept = upper.translate(_SQUEEZE)
    return kept[:length], len(kept) > length or kept != upper


def make_short(text: str, taken: Container[bytes]) -> bytes:
    """A short name for the long name ``text`` that is not among those ``taken``. Raises KernelError(EEXIST)."""
    stripped = text.lstrip(". ")
    base, dot, extension = stripped.rpartition(".")
    if not dot:
        base, extension = stripped, ""
    base_part, base_lossy = _squeezed(base, 8)
    extension_part, extension_lossy = _squeezed(extension, 3)
    tail = extension_part.encode("ascii").ljust(3)
    if not (base_lossy or extension_lossy or stripped != text or not base_part):
        short = base_part.encode("ascii").ljust(8) + tail
        if short not in taken:
            return short
    base_part = base_part or "_"
    if f"{base_part[:6]}~{PLAIN_TAILS}".encode("ascii").ljust(8) + tail not in taken:
        for number in range(1, PLAIN_TAILS + 1):
            short = f"{base_part[:6]}~{number}".encode("ascii").ljust(8) + tail
            if short not in taken:
                return short
    mixed = zlib.crc32(encode(text))
    for attempt in range(1 << 16):
        mark = f"{(mixed + attempt) & 0xFFFF:04X}~{1 + attempt % 9}"
        short = f"{base_part[:2]}{mark}".encode("ascii").ljust(8) + tail
        if short not in taken:
            return short
    raise KernelError(Errno.EEXIST, "no short name is left for this long name")


def checksum(short: bytes) -> int:
    """The sum of a short name that its long slots carry."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total


# --- long names ----------------------------------------------------------------------------------------------------


def long_slots(text: str, short: bytes) -> bytes:
    """The slots that hold the long name, as they stand on disk ahead of the short name's slot."""
    units = text.encode(ENCODING, "surrogatepass")
    count = -(-len(units) // (2 * UNITS_A_SLOT))
    if len(units) < count * 2 * UNITS_A_SLOT:
        units = (units + b"\0\0").ljust(count * 2 * UNITS_A_SLOT, b"\xff")
    total = checksum(short)
    slots = []
    for order in range(count, 0, -1):
        part = units[(order - 1) * 26 : order * 26]
        mark = order | LAST_LONG_SLOT if order == count else order
        head = bytes([mark]) + part[:10] + bytes([Attribute.LONG_NAME, 0, total])
        slots.append(head + part[10:22] + b"\0\0" + part[22:])
    return b"".join(slots)


def units_of(slot: bytes) -> bytes:
    """The part of a name that a long slot holds."""
    one, two, three = LONG_PARTS
    return slot[one] + slot[two] + slot[three]


def join_units(units: bytes) -> str:
    """The name from all of its parts in order: it ends at a zero unit."""
    for index in range(0, len(units), 2):
        if not units[index] and not units[index + 1]:
            units = units[:index]
            break
    return units.decode(ENCODING, "surrogatepass")


def slots_needed(text: str) -> int:
    """How many slots a long name takes, the short name's included."""
    return -(-len(text.encode(ENCODING, "surrogatepass")) // (2 * UNITS_A_SLOT)) + 1


