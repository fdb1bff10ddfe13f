"""The IPv4 header (RFC 791, section 3.1).

    version, header words | type of service | total length
    identification                          | flags, fragment offset
    time to live          | protocol        | header checksum
    source
    destination
    options, padded to 32 bits
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import Address

HEADER: Final = struct.Struct("!BBHHHBBH4s4s")
HEADER_BYTES: Final = HEADER.size
MOST_HEADER_BYTES: Final = 60
MOST_BYTES: Final = 65_535
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF
ROUTER_ALERT: Final = bytes((148, 4, 0, 0))
"""RFC 2113."""
_END, _NO_OPERATION = 0, 1
_LOOSE_ROUTE, _STRICT_ROUTE = 131, 137


class Ipv4Header(NamedTuple):
    """What is in front of a payload."""

    header_bytes: int
    traffic_class: int
    total_bytes: int
    identification: int
    fragment: int
    """Flags and offset as they are on the wire."""
    hop_limit: int
    protocol: int
    source: Address
    destination: Address


def parse(data: bytes | memoryview, *, whole: bool = True) -> Ipv4Header:
    """The header, its checksum verified. Without ``whole`` (a packet that an ICMP error quotes) the checksum and the
    rest of the packet may be missing. Raises CorruptError."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"an IPv4 packet of {len(data)} bytes")
    first, tos, total, identification, fragment, ttl, protocol, _sum, source, destination = HEADER.unpack_from(data)
    header_bytes = (first & 0xF) * 4
    if first >> 4 != 4 or header_bytes < HEADER_BYTES or header_bytes > len(data):
        raise CorruptError(f"an IPv4 header that begins with {first:#x} in {len(data)} bytes")
    if whole:
        if total < header_bytes or total > len(data):
            raise CorruptError(f"an IPv4 packet that claims {total} of {len(data)} bytes")
        if int.from_bytes(data[:header_bytes], "big") % 0xFFFF:  # a good one sums up to zero
            raise CorruptError("an IPv4 header with a wrong checksum")
    return Ipv4Header(header_bytes, tos, total, identification, fragment, ttl, protocol, source, destination)


def emit(
    payload_bytes: int, traffic_class: int, identification: int, fragment: int, hop_limit: int, protocol: int,
    source: Address, destination: Address, options: bytes = b"",
) -> bytes:
    """A header with its checksum. HOT. ``options`` is padded to 32 bits by the caller."""
    words = 5 + len(options) // 4
    total_bytes = words * 4 + payload_bytes
    first, place = 0x4000 | words << 8 | traffic_class, hop_limit << 8 | protocol
    # The sum of the 16-bit words, not folded: for longer fields the fields themselves will do (see net/checksum.py).
    total = first + total_bytes + identification + fragment + place + int.from_bytes(source + destination, "big")
    if options:
        total += int.from_bytes(options, "big")
    return HEADER.pack(
        first >> 8, traffic_class, total_bytes, identification, fragment, hop_limit, protocol,
        0xFFFE - (total - 1) % 0xFFFF, source, destination,
    ) + options


def is_source_routed(options: bytes | memoryview) -> bool:
    """Whether options hold a source route. Raises CorruptError for options that run out of the header."""
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == _END:
            return False
        if kind == _NO_OPERATION:
            position += 1
            continue
        length = options[position + 1] if position + 1 < len(options) else 0
        if length < 2 or position + length > len(options):
            raise CorruptError(f"IPv4 option {kind} of {length} bytes")
        if kind in (_LOOSE_ROUTE, _STRICT_ROUTE):
            return True
        position += length
    return False
