"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import Address

PACKET: Final = struct.Struct("!HHBBH6s4s6s4s")
"""Hardware type, protocol type, their address lengths, operation; sender's MAC and address, target's."""
_ETHERNET: Final = 1
_IPV4: Final = 0x0800


class Operation(IntEnum):
    """ar$op."""

    REQUEST = 1
    REPLY = 2


class ArpPacket(NamedTuple):
    """A request or an answer."""

    operation: int
    sender_mac: bytes
    sender: Address
    target_mac: bytes
    target: Address


def parse(data: bytes | memoryview) -> ArpPacket:
    """Raises CorruptError, also for other hardware or protocols."""
    if len(data) < PACKET.size:
        raise CorruptError(f"an ARP packet of {len(data)} bytes")
    hardware, protocol, mac_bytes, address_bytes, *rest = PACKET.unpack_from(data)
    if (hardware, protocol, mac_bytes, address_bytes) != (_ETHERNET, _IPV4, 6, 4):
        raise CorruptError("ARP for something other than IPv4 on Ethernet")
    return ArpPacket(*rest)


def emit(packet: ArpPacket) -> bytes:
    """The 28 bytes."""
    return PACKET.pack(_ETHERNET, _IPV4, 6, 4, *packet)
