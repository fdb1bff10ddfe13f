"""ICMPv6 (RFC 4443). As ICMP, with a checksum over the pseudo-header as well.

    type | code | checksum | four bytes by type | data, options, or the quoted packet
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from jefeos.errors import CorruptError
from jefeos.net.address import Address
from jefeos.net.checksum import checksum, ones_sum

from jefeos_net_inet.wire.icmp import HEADER, HEADER_BYTES, IcmpMessage
from jefeos_net_inet.wire.udp import pseudo_sum

PROTOCOL: Final = 58
MOST_ERROR_BYTES: Final = 1280
"""An error, with its IPv6 header, fits into the smallest MTU (section 2.4 c)."""


class Type(IntEnum):
    """Message types. Those below 128 are errors."""

    UNREACHABLE = 1
    TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO = 128
    ECHO_REPLY = 129
    LISTENER_QUERY = 130
    LISTENER_REPORT = 131
    LISTENER_DONE = 132
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOUR_SOLICITATION = 135
    NEIGHBOUR_ADVERTISEMENT = 136
    REDIRECT = 137
    LISTENER_REPORT_2 = 143


class Unreachable(IntEnum):
    """Codes of Destination Unreachable."""

    NO_ROUTE = 0
    ADMINISTRATIVELY = 1
    BEYOND_SCOPE = 2
    ADDRESS = 3
    PORT = 4


def parse(data: memoryview, source: Address, destination: Address) -> IcmpMessage:
    """Raises CorruptError for a short message or a wrong checksum."""
    if len(data) < HEADER_BYTES:
        raise CorruptError(f"an ICMPv6 message of {len(data)} bytes")
    if ones_sum(data, pseudo_sum(source, destination, PROTOCOL, len(data))) != 0xFFFF:
        raise CorruptError("an ICMPv6 message with a wrong checksum")
    kind, code, _checksum, rest = HEADER.unpack_from(data)
    return IcmpMessage(kind, code, rest, data[HEADER_BYTES:])


def emit(message: IcmpMessage, source: Address, destination: Address) -> bytes:
    """The message with its checksum."""
    kind, code, rest, data = message
    plain = HEADER.pack(kind, code, 0, rest) + data
    total = checksum(plain, pseudo_sum(source, destination, PROTOCOL, len(plain)))
    return plain[:2] + total.to_bytes(2, "big") + plain[4:]
