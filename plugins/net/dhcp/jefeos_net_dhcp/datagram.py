"""IPv4 and UDP by hand, for those who have no address yet (RFC 791, RFC 768).

    pack(source, destination, source_port, destination_port, payload) -> packet
    unpack(packet) -> (source, destination, source_port, destination_port, payload), None for what is no whole UDP
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.net.checksum import checksum

_IP: Final = struct.Struct(">BBHHHBBH4s4s")
_UDP: Final = struct.Struct(">HHHH")
_PSEUDO: Final = struct.Struct(">4s4sBBH")
UDP: Final = 17
HOP_LIMIT: Final = 64
_FRAGMENT_BITS: Final = 0x3FFF


def pack(source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """A packet with both checksums."""
    length = _UDP.size + len(payload)
    udp = _UDP.pack(source_port, destination_port, length, 0) + payload
    total = checksum(_PSEUDO.pack(source, destination, 0, UDP, length) + udp) or 0xFFFF
    udp = udp[:6] + total.to_bytes(2, "big") + udp[8:]
    head = _IP.pack(0x45, 0x10, _IP.size + length, 0, 0, HOP_LIMIT, UDP, 0, source, destination)
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + udp


def unpack(packet: bytes) -> tuple[bytes, bytes, int, int, bytes] | None:
    """What a packet holds, if it is a whole UDP datagram with right checksums."""
    if len(packet) < _IP.size:
        return None
    first, _, total, _, fragment, _, protocol, _, source, destination = _IP.unpack_from(packet)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < _IP.size or not header + _UDP.size <= total <= len(packet):
        return None
    if protocol != UDP or fragment & _FRAGMENT_BITS or checksum(packet[:header]):
        return None
    source_port, destination_port, length, given = _UDP.unpack_from(packet, header)
    if not _UDP.size <= length <= total - header:
        return None
    udp = packet[header : header + length]
    if given and checksum(_PSEUDO.pack(source, destination, 0, UDP, length) + udp):
        return None
    return source, destination, source_port, destination_port, udp[_UDP.size :]
