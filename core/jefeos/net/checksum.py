"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

The sum of big-endian words is the whole read as one number, modulo 2^16 - 1, since 2^16 is 1 there. That is one
operation on a long integer instead of one for each word. The only difference: a sum of all ones comes out as 0. Both
mean zero in ones' complement, but only a sum of nothing but zeros may stay 0: `ones_sum` keeps the two apart.

Division is the slow part of it, so a long number is first folded: its upper half is added to its lower half, as often
as there is more than a short one left.
"""

from __future__ import annotations

from typing import Final

_FOLDS: Final = tuple((bits, (1 << bits) - 1) for bits in (1 << power for power in range(18, 10, -1)))
"""Where to fold, and the mask of what stays; each a multiple of 16 bits."""


def ones_sum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """The folded 16-bit sum of ``data`` (padded with a zero byte to even length) and ``initial``. HOT."""
    total = int.from_bytes(data, "big")
    length = len(data)
    if length & 1:
        total <<= 8
    if length > 256:
        for bits, mask in _FOLDS:
            if total > mask:
                total = (total >> bits) + (total & mask)
    total += initial
    return (total - 1) % 0xFFFF + 1 if total else 0


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """What goes into a header's checksum field: the complement of the sum."""
    return ~ones_sum(data, initial) & 0xFFFF
