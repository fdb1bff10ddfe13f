"""Checksums: XXH3, 64 bits, of structures and of the *units* of a file's contents.

    blocks of the file   | 0 1 2 3 | 4 5 6 7 | 8 9 ...       units of four blocks
    an extent                 [2 3 | 4 5 6 7 | 8]            three checksums: of 2-3, of 4-7, of 8

A unit is an aligned piece of the *file*: one block, or four in what was written in large pieces. Each has one checksum,
and where an extent begins or ends inside of a unit, it is that of the part which the extent has. So the places of an
extent's checksums follow from where it begins and ends.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import pairwise
from typing import Final

from xxhash import xxh3_64_intdigest

SUM: Final = struct.Struct("<Q")
SUM_BYTES: Final = SUM.size
LOST: Final = b"\xff" * SUM_BYTES
"""The checksum of a part of a unit that had rotted when the rest of it changed: reading it stays an error."""

checksum_of = xxh3_64_intdigest
"""Of a structure."""


def count_units(start: int, end: int, unit: int) -> int:
    """In how many units of ``unit`` blocks the blocks of a file from ``start`` up to ``end`` lie."""
    return (end - 1) // unit - start // unit + 1


def unit_sum(data: bytes | memoryview) -> bytes:
    """The checksum of a unit, or of the part of it that an extent has."""
    return SUM.pack(xxh3_64_intdigest(data))


def unit_sums(data: bytes | memoryview, first: int, unit: int, block_bytes: int) -> bytes:
    """Those of the units of ``data``, which are the blocks from ``first`` on of a file."""
    length, unit_bytes = len(data), unit * block_bytes
    head = -first % unit * block_bytes
    if length <= (head or unit_bytes):
        return SUM.pack(xxh3_64_intdigest(data))
    view = memoryview(data)
    cuts = _cuts(length, head, unit_bytes)
    return struct.pack(f"<{len(cuts)}Q", *[xxh3_64_intdigest(view[cut]) for cut in cuts])


@lru_cache(maxsize=16)
def _cuts(length: int, head: int, unit_bytes: int) -> tuple[slice, ...]:
    """Where the units are. Most transfers are of one length."""
    starts = [0, *range(head, length, unit_bytes)] if head else [*range(0, length, unit_bytes)]
    return tuple(slice(*ends) for ends in pairwise([*starts, length]))
