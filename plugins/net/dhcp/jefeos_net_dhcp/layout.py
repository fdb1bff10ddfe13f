"""The DHCP message: its fixed part, option codes and message types (RFC 2131, section 2; RFC 2132; RFC 3442)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from jefeos.structs import Struct, raw, u8, u16, u32

CLIENT_PORT: Final = 68
SERVER_PORT: Final = 67
MAGIC: Final = b"\x63\x82\x53\x63"
BOOTREQUEST, BOOTREPLY = 1, 2
ETHERNET: Final = 1
BROADCAST_FLAG: Final = 0x8000
MINIMUM_BYTES: Final = 300
"""Some servers and relays drop what is shorter (RFC 1542, section 2.1)."""
MAXIMUM_BYTES: Final = 1472
FOREVER_S: Final = 0xFFFF_FFFF


class Header(Struct, endian=">"):
    """RFC 2131, figure 1, up to the options."""

    op: int = u8()
    htype: int = u8()
    hlen: int = u8()
    hops: int = u8()
    xid: int = u32()
    secs: int = u16()
    flags: int = u16()
    ciaddr: bytes = raw(4)
    yiaddr: bytes = raw(4)
    siaddr: bytes = raw(4)
    giaddr: bytes = raw(4)
    chaddr: bytes = raw(16)
    sname: bytes = raw(64)
    file: bytes = raw(128)


class MessageType(IntEnum):
    """Option 53 (RFC 2132, section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Code(IntEnum):
    """Options that are read or written here."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    NAME_SERVERS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    INTERFACE_MTU = 26
    BROADCAST = 28
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_IDENTIFIER = 54
    PARAMETERS = 55
    MESSAGE = 56
    MAXIMUM_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    CLIENT_IDENTIFIER = 61
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121
    END = 255
