"""Sequence numbers: 32 bits on the wire (RFC 9293, section 3.4), integers without a limit inside.

A connection counts its octets from the initial number on and never wraps; what arrives is placed where it lies
nearest to a number that is known (`near`). So every comparison in this package is one of plain integers.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFF_FFFF
HALF: Final = 0x8000_0000
NEVER: Final = 1 << 62
"""A time that does not come."""


def near(reference: int, number: int) -> int:
    """The number without a limit whose low 32 bits are ``number`` and that lies nearest to ``reference``."""
    return reference + ((number - reference + HALF) & MASK) - HALF
