"""Large TCP segments cut in software, for a router: what came whole over a wire has to leave over one that cannot.

Wires and cards that take segments whole (`Port.takes_segments`, TSO) deliver packets longer than any MTU. To whoever
they are for that is only faster; a router cuts them as the sender's card would have done: headers repeated, sequence
numbers counted on, FIN and PSH at the last piece, CWR at the first (RFC 3168).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jefeos.net.address import Address

from jefeos_net_inet.tcp import wire as tcp

PROTOCOL: Final = tcp.PROTOCOL
_SEQUENCE: Final = slice(4, 8)
_FLAGS_AT: Final = 13
_CHECKSUM: Final = slice(16, 18)
_AT_LAST: Final = 0x09
"""FIN and PSH."""
_AT_FIRST: Final = 0x80
"""CWR."""


def pieces(segment: memoryview, source: Address, destination: Address, most_bytes: int) -> Iterator[bytes]:
    """A TCP segment as segments of at most ``most_bytes``, header included. Nothing for one that is malformed."""
    header_bytes = (segment[12] >> 4) * 4 if len(segment) >= tcp.HEADER_BYTES else 0
    step = most_bytes - header_bytes
    if not tcp.HEADER_BYTES <= header_bytes <= len(segment) or step <= 0:
        return
    first = int.from_bytes(segment[_SEQUENCE], "big")
    flags = segment[_FLAGS_AT]
    data = segment[header_bytes:]
    for start in range(0, len(data), step):
        header = bytearray(segment[:header_bytes])
        header[_SEQUENCE] = (first + start & 0xFFFF_FFFF).to_bytes(4, "big")
        header[_FLAGS_AT] = flags & ~(0 if start + step >= len(data) else _AT_LAST) & ~(_AT_FIRST if start else 0)
        header[_CHECKSUM] = b"\0\0"
        piece = data[start : start + step]
        yield tcp.seal(source, destination, bytes(header), piece) + piece
