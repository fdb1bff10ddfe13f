"""UDP (RFC 768), and the pseudo-header that UDP, TCP and ICMPv6 sum up with their packets (RFC 8200, section 8.1).

    source port | destination port | length, this header included | checksum (0: none, IPv4 only) | data
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import Address
from jefeos.net.checksum import checksum, ones_sum

HEADER: Final = struct.Struct("!HHHH")
HEADER_BYTES: Final = HEADER.size
PROTOCOL: Final = 17


class UdpHeader(NamedTuple):
    """The four fields."""

    source_port: int
    destination_port: int
    length_bytes: int
    checksum: int


def pseudo_sum(source: Address, destination: Address, protocol: int, length: int) -> int:
    """What the pseudo-header adds to a checksum, not folded."""
    return int.from_bytes(source, "big") + int.from_bytes(destination, "big") + protocol + length


def parse(data: memoryview) -> UdpHeader:
    """The header of a message, whose length is checked. Raises CorruptError."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"a UDP message of {len(data)} bytes")
    header = UdpHeader(*HEADER.unpack_from(data))
    if not HEADER_BYTES <= header.length_bytes <= len(data):
        raise CorruptError(f"a UDP message that claims {header.length_bytes} of {len(data)} bytes")
    return header


def verify(data: memoryview, header: UdpHeader, source: Address, destination: Address) -> bool:
    """Whether the checksum is right, or legally absent."""
    if not header.checksum:
        return len(source) == 4
    initial = pseudo_sum(source, destination, PROTOCOL, header.length_bytes)
    return ones_sum(data[: header.length_bytes], initial) == 0xFFFF


def emit(
    source: Address, destination: Address, source_port: int, destination_port: int, data: bytes | bytearray | memoryview
) -> bytes:
    """The header of a message, with its checksum. HOT."""
    length = HEADER_BYTES + len(data)
    initial = pseudo_sum(source, destination, PROTOCOL, length) + source_port + destination_port + length
    return HEADER.pack(source_port, destination_port, length, checksum(data, initial) or 0xFFFF)


def emit_unchecked(source_port: int, destination_port: int, size: int) -> bytes:
    """A header without a checksum, for what does not leave the machine. HOT."""
    return HEADER.pack(source_port, destination_port, HEADER_BYTES + size, 0)
