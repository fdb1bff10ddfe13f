"""UDP-Lite (RFC 3828): UDP, but the checksum covers only the first bytes of a message.

    source port | destination port | coverage, 8 or more; 0: everything | checksum, never 0 | data
"""

from __future__ import annotations

from typing import Final

from jefeos.errors import CorruptError
from jefeos.net.address import Address
from jefeos.net.checksum import checksum, ones_sum

from jefeos_net_inet.wire.udp import HEADER, HEADER_BYTES, UdpHeader, pseudo_sum

PROTOCOL: Final = 136


def coverage_of(data: memoryview) -> int:
    """How many bytes of a message its checksum covers."""
    return int.from_bytes(data[4:6], "big") or len(data)


def parse(data: memoryview) -> UdpHeader:
    """The header of a message; its length is that of the packet. Raises CorruptError."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"a UDP-Lite message of {len(data)} bytes")
    source_port, destination_port, _coverage, total = HEADER.unpack_from(data)
    if not HEADER_BYTES <= coverage_of(data) <= len(data):
        raise CorruptError(f"a UDP-Lite message that covers {coverage_of(data)} of {len(data)} bytes")
    return UdpHeader(source_port, destination_port, len(data), total)


def verify(data: memoryview, header: UdpHeader, source: Address, destination: Address) -> bool:
    """Whether the checksum is right."""
    initial = pseudo_sum(source, destination, PROTOCOL, header.length_bytes)
    return header.checksum != 0 and ones_sum(data[: coverage_of(data)], initial) == 0xFFFF


def emit(
    source: Address, destination: Address, source_port: int, destination_port: int, data: bytes, coverage: int
) -> bytes:
    """The header of a message; ``coverage`` 0 is everything."""
    length = HEADER_BYTES + len(data)
    told = 0 if not coverage or coverage > length else coverage
    covered = data[: (told or length) - HEADER_BYTES]
    initial = pseudo_sum(source, destination, PROTOCOL, length) + source_port + destination_port + told
    return HEADER.pack(source_port, destination_port, told, checksum(covered, initial) or 0xFFFF)
