"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

The sum of big-endian words is the whole read as one number, modulo 2^16 - 1, since 2^16 is 1 there. That is one
operation on a long integer instead of one for each word. The only difference: a sum of all ones comes out as 0. Both
mean zero in ones' complement, but only a sum of nothing but zeros may stay 0: `ones_sum` keeps the two apart.
"""

from __future__ import annotations


def ones_sum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """The folded 16-bit sum of ``data`` (padded with a zero byte to even length) and ``initial``."""
    total = int.from_bytes(data, "big")
    if len(data) & 1:
        total <<= 8
    total += initial
    return (total - 1) % 0xFFFF + 1 if total else 0


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """What goes into a header's checksum field: the complement of the sum."""
    return ~ones_sum(data, initial) & 0xFFFF
