"""Ethernet II frames, with and without IEEE 802.1Q tags.

    destination 6 | source 6 | EtherType 2 | payload                    (IEEE 802.3, clause 3.2.6)
    destination 6 | source 6 | 0x8100 | tag 2 | EtherType 2 | payload   (IEEE 802.1Q, clause 9.6)

Without preamble and frame check sequence. Frames with a length instead of a type (802.3 LLC) are not of this stack.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

HEADER: Final = struct.Struct("!6s6sH")
HEADER_BYTES: Final = HEADER.size
TAG: Final = struct.Struct("!HH")
"""Tag control information and the EtherType after it."""
BROADCAST_MAC: Final = b"\xff" * 6
NO_MAC: Final = bytes(6)
SMALLEST_TYPE: Final = 0x0600
VLAN_MASK: Final = 0x0FFF


class EtherType(IntEnum):
    """What a frame carries (IEEE 802 numbers)."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100
    IPV6 = 0x86DD


def emit(destination: bytes, source: bytes, ether_type: int) -> bytes:
    """The 14 bytes in front of a payload."""
    return HEADER.pack(destination, source, ether_type)


def is_group(mac: bytes) -> bool:
    """Whether a frame to ``mac`` is for several stations."""
    return bool(mac[0] & 1)
