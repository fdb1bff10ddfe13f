"""ICMP for IPv4 (RFC 792, RFC 1191).

    type | code | checksum | four bytes by type (identifier and sequence; MTU; pointer) | data or the quoted packet
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.checksum import checksum, ones_sum

HEADER: Final = struct.Struct("!BBHI")
HEADER_BYTES: Final = HEADER.size
MOST_ERROR_BYTES: Final = 576
"""An error is at most this long, IP header included (RFC 1812, section 4.3.2.3)."""


class Type(IntEnum):
    """Message types."""

    ECHO_REPLY = 0
    UNREACHABLE = 3
    SOURCE_QUENCH = 4
    REDIRECT = 5
    ECHO = 8
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12
    TIMESTAMP = 13
    TIMESTAMP_REPLY = 14
    MASK = 17
    MASK_REPLY = 18


class Unreachable(IntEnum):
    """Codes of Destination Unreachable."""

    NETWORK = 0
    HOST = 1
    PROTOCOL = 2
    PORT = 3
    FRAGMENTATION_NEEDED = 4
    ADMINISTRATIVELY = 13


ERRORS: Final = frozenset({
    Type.UNREACHABLE, Type.SOURCE_QUENCH, Type.REDIRECT, Type.TIME_EXCEEDED, Type.PARAMETER_PROBLEM
})
"""Types that no error is ever sent about (RFC 1122, section 3.2.2)."""


class IcmpMessage(NamedTuple):
    """A message without its checksum. ``rest`` is the second 32-bit word."""

    kind: int
    code: int
    rest: int
    data: bytes | memoryview


def parse(data: memoryview) -> IcmpMessage:
    """Raises CorruptError for a short message or a wrong checksum."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"an ICMP message of {len(data)} bytes")
    if ones_sum(data) != 0xFFFF:
        raise CorruptError("an ICMP message with a wrong checksum")
    kind, code, _checksum, rest = HEADER.unpack_from(data)
    return IcmpMessage(kind, code, rest, data[HEADER_BYTES:])


def emit(message: IcmpMessage) -> bytes:
    """The message with its checksum."""
    kind, code, rest, data = message
    plain = HEADER.pack(kind, code, 0, rest) + data
    return plain[:2] + checksum(plain).to_bytes(2, "big") + plain[4:]
