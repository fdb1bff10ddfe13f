"""The IPv6 header and its extensions (RFC 8200, sections 3 and 4).

    version 4 bits, traffic class 8, flow label 20
    payload length        | next header | hop limit
    source
    destination
    extension headers, in a chain by their first byte
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import Address

HEADER: Final = struct.Struct("!IHBB16s16s")
HEADER_BYTES: Final = HEADER.size
MOST_PAYLOAD_BYTES: Final = 65_535
SMALLEST_MTU: Final = 1280
FRAGMENT: Final = struct.Struct("!BBHI")
"""Next header, reserved, offset and flag, identification."""
FRAGMENT_BYTES: Final = FRAGMENT.size
ROUTER_ALERT: Final = bytes((5, 2, 0, 0))
"""An option for Hop-by-Hop Options (RFC 2711): MLD."""
MOST_EXTENSIONS: Final = 8
"""A chain that is longer than this is nothing but an attack."""
_PAD1: Final = 0
_TYPE_OFFSET: Final = 42
"""Of the second byte of the first extension header: where errors point to."""


class Extension(IntEnum):
    """Next Header values of extension headers."""

    HOP_BY_HOP = 0
    ROUTING = 43
    FRAGMENT = 44
    NO_NEXT = 59
    DESTINATION = 60


class ParameterProblem(CorruptError):
    """What a packet's sender is told by ICMPv6: a code of Parameter Problem and where in the packet."""

    def __init__(self, code: int, pointer: int) -> None:
        super().__init__(f"IPv6 parameter problem, code {code} at byte {pointer}")
        self.code = code
        self.pointer = pointer


class Ipv6Header(NamedTuple):
    """The fixed header."""

    traffic_class: int
    flow: int
    payload_bytes: int
    next_header: int
    hop_limit: int
    source: Address
    destination: Address


class Chain(NamedTuple):
    """Where a chain of extension headers ends."""

    protocol: int
    offset: int
    """Of what follows the chain, from the start of the packet."""
    fragment: tuple[int, bool, int] | None
    """Offset in bytes, whether more follow, identification; None for a whole packet."""
    fragment_header: int
    """Where the fragment header is."""


def parse(data: bytes | memoryview, *, whole: bool = True) -> Ipv6Header:
    """Raises CorruptError. Without ``whole`` the payload may be missing."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"an IPv6 packet of {len(data)} bytes")
    first, length, next_header, hop_limit, source, destination = HEADER.unpack_from(data)
    if first >> 28 != 6:
        raise CorruptError(f"an IPv6 packet of version {first >> 28}")
    if whole and HEADER_BYTES + length > len(data):
        raise CorruptError(f"an IPv6 packet that claims {length} of {len(data) - HEADER_BYTES} bytes")
    return Ipv6Header((first >> 20) & 0xFF, first & 0xFFFFF, length, next_header, hop_limit, source, destination)


def emit(
    payload_bytes: int, traffic_class: int, flow: int, hop_limit: int, next_header: int, source: Address,
    destination: Address,
) -> bytes:
    """The fixed header. HOT."""
    first = 0x6000_0000 | traffic_class << 20 | flow
    return HEADER.pack(first, payload_bytes, next_header, hop_limit, source, destination)


def walk(packet: bytes | memoryview, next_header: int) -> Chain:
    """Follow the extension headers of a packet. Raises ParameterProblem or CorruptError.

    The chain ends at a fragment header whose packet has more fragments or an offset: what is behind it is a piece.
    """
    offset, length = HEADER_BYTES, len(packet)
    type_offset = 6
    fragment: tuple[int, bool, int] | None = None
    fragment_header = 0
    for _ in range(MOST_EXTENSIONS):
        if next_header == Extension.FRAGMENT:
            if offset + FRAGMENT_BYTES > length:
                raise CorruptError("an IPv6 fragment header that is cut off")
            following, _reserved, where, identification = FRAGMENT.unpack_from(packet, offset)
            fragment, fragment_header = (where & 0xFFF8, bool(where & 1), identification), offset
            type_offset, next_header, offset = offset, following, offset + FRAGMENT_BYTES
            return Chain(next_header, offset, fragment, fragment_header)
        if next_header not in (Extension.HOP_BY_HOP, Extension.ROUTING, Extension.DESTINATION):
            return Chain(next_header, offset, fragment, fragment_header)
        if next_header == Extension.HOP_BY_HOP and offset != HEADER_BYTES:
            raise ParameterProblem(1, type_offset)
        if offset + 8 > length or offset + (size := 8 + packet[offset + 1] * 8) > length:
            raise CorruptError("an IPv6 extension header that is cut off")
        if next_header == Extension.ROUTING:
            if packet[offset + 3]:  # segments left: we are no router of source routes (RFC 5095)
                raise ParameterProblem(0, offset + 2)
        else:
            _check_options(packet, offset + 2, offset + size)
        type_offset, next_header, offset = offset, packet[offset], offset + size
    raise CorruptError("an IPv6 packet with too many extension headers")


def _check_options(packet: bytes | memoryview, position: int, end: int) -> None:
    """Unknown options say by their highest bits what to do (RFC 8200, section 4.2)."""
    while position < end:
        kind = packet[position]
        if kind == _PAD1:
            position += 1
            continue
        if position + 2 > end or position + 2 + packet[position + 1] > end:
            raise CorruptError("an IPv6 option that is cut off")
        if kind > 0x3F:  # 01: discard; 10 and 11: and tell the sender
            if kind < 0x80:
                raise CorruptError(f"unknown IPv6 option {kind:#x}")
            raise ParameterProblem(2, position)
        position += 2 + packet[position + 1]
