"""File names: bytes of the system call interface, UTF-16 units of the medium, and their order.

Inside of this package a name is a `str` with one character for each UTF-16 unit (surrogates stay apart), so that
comparing and counting are what NTFS means by them. Bytes that are no UTF-8 are kept as lone low surrogates
(U+DC80 to U+DCFF), so that any name a program may use is stored and comes back.

Order in a directory (COLLATION_FILE_NAME): first without regard to case, by the volume's $UpCase; names that differ
in nothing else, by their units. `Collator.key` gives a tuple that sorts that way.
"""

from __future__ import annotations

from codecs import utf_16_le_decode, utf_16_le_encode  # by name they would be looked up each time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from jefeos.errors import Errno, KernelError

from jefeos_fs_ntfs.layout import NAME_UNITS_MAX

NameKey: TypeAlias = tuple[str, str]
"""The name in capitals, and as it is."""

UPCASE_UNITS: Final = 65536


def split_units(text: str) -> str:
    """One character for each UTF-16 unit."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    raw = text.encode("utf-16-le", "surrogatepass")
    return "".join([chr(unit) for unit in memoryview(raw).cast("H")])


def decode_units(raw: bytes) -> str:
    """A name as it stands on the medium."""
    text = utf_16_le_decode(raw, "surrogatepass", True)[0]
    return text if text.isascii() else split_units(text)


def encode_units(name: str) -> bytes:
    """A name as it is to stand on the medium."""
    return utf_16_le_encode(name, "surrogatepass")[0]


def from_bytes(name: bytes) -> str:
    """A name from the system call interface. Raises ENAMETOOLONG beyond 255 units."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        try:
            text = name.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = name.decode("utf-8", "surrogateescape")
    units = split_units(text)
    if len(units) > NAME_UNITS_MAX:
        raise KernelError(Errno.ENAMETOOLONG)
    return units


def to_bytes(name: str) -> bytes:
    """A name for the system call interface."""
    if name.isascii():
        return name.encode("ascii")
    text = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=2)
def _case_table(upcase: bytes) -> Mapping[int, int]:
    """The units that have a capital. Nearly all volumes have the same table."""
    units = memoryview(upcase).cast("H")
    return {unit: capital for unit, capital in enumerate(units) if unit != capital}


class Collator:
    """The order of names on one volume."""

    def __init__(self, upcase: bytes) -> None:
        """``upcase`` is the contents of $UpCase; units beyond its end have no other case."""
        self.table = _case_table(upcase[: 2 * UPCASE_UNITS])
        lower = {unit: unit - 32 for unit in range(ord("a"), ord("z") + 1)}
        self._plain_ascii = {unit: self.table[unit] for unit in self.table if unit < 128} == lower

    def upper(self, name: str) -> str:
        """The name in capitals."""
        return name.upper() if self._plain_ascii and name.isascii() else name.translate(self.table)

    def key(self, name: str) -> NameKey:
        """What to sort by."""
        return name.upper() if self._plain_ascii and name.isascii() else name.translate(self.table), name
