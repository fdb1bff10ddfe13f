"""Neighbour Discovery messages behind the ICMPv6 header (RFC 4861, section 4), and their options.

    solicitation, advertisement   flags or zero 4 | target 16 | options
    router solicitation           zero 4 | options
    router advertisement          hop limit, flags, lifetime | reachable time 4 | retransmission time 4 | options
    option                        type | length in units of 8 bytes, itself included | data
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import ANY6, Address
from jefeos.net.stack import RouterAdvertisement

from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type

HOP_LIMIT: Final = 255
"""Of every message: it cannot have come through a router."""
PREFIX: Final = struct.Struct("!BBBBIII16s")
"""Type, length, prefix length, flags, valid lifetime, preferred lifetime, reserved, prefix."""
DNS_SERVERS: Final = struct.Struct("!BBxxI")
"""Type, length, lifetime; then the addresses (RFC 8106, section 5.1)."""
MOST_OPTIONS: Final = 64
INFINITE_S: Final = 0xFFFF_FFFF


class Option(IntEnum):
    """Option types."""

    SOURCE_MAC = 1
    TARGET_MAC = 2
    PREFIX = 3
    REDIRECTED = 4
    MTU = 5
    DNS_SERVERS = 25


class AdvertisementFlag(IntFlag):
    """Of a neighbour advertisement's first word."""

    ROUTER = 1 << 31
    SOLICITED = 1 << 30
    OVERRIDE = 1 << 29


class PrefixFlag(IntFlag):
    """Of a prefix option."""

    ON_LINK = 0x80
    AUTONOMOUS = 0x40


class Prefix(NamedTuple):
    """A prefix option."""

    length: int
    flags: int
    valid_s: int
    preferred_s: int
    prefix: Address


class NameServer(NamedTuple):
    """One of a name server option (RFC 8106, section 5.1)."""

    address: Address
    lifetime_s: int


class Neighbour(NamedTuple):
    """A neighbour solicitation or advertisement."""

    flags: int
    target: Address
    mac: bytes
    """From the option that fits the message; empty if there is none."""


class Redirect(NamedTuple):
    """A redirect: ``target`` is nearer to ``destination``, or that itself."""

    target: Address
    destination: Address
    mac: bytes
    """The target's; empty if it is not said."""


class Router(NamedTuple):
    """A router advertisement."""

    hop_limit: int
    flags: int
    lifetime_s: int
    reachable_ms: int
    retransmission_ms: int
    mac: bytes
    mtu: int
    prefixes: tuple[Prefix, ...]
    name_servers: tuple[NameServer, ...]


def parse_options(data: bytes | memoryview) -> list[tuple[int, bytes]]:
    """Type and whole bytes of each option. Raises CorruptError: an option of length 0 spoils the message (4.6)."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while position < len(data):
        size = data[position + 1] * 8 if position + 1 < len(data) else 0
        if not size or position + size > len(data) or len(found) >= MOST_OPTIONS:
            raise CorruptError("a Neighbour Discovery option with a wrong length")
        found.append((data[position], bytes(data[position : position + size])))
        position += size
    return found


def _mac(options: list[tuple[int, bytes]], wanted: int) -> bytes:
    for kind, data in options:
        if kind == wanted and len(data) == 8:
            return data[2:]
    return b""


def parse_neighbour(message: IcmpMessage) -> Neighbour:
    """Raises CorruptError."""
    data = message.data
    if message.code or len(data) < 16:
        raise CorruptError("a neighbour message that is cut off")
    options = parse_options(data[16:])
    wanted = Option.SOURCE_MAC if message.kind == Type.NEIGHBOUR_SOLICITATION else Option.TARGET_MAC
    return Neighbour(message.rest, bytes(data[:16]), _mac(options, wanted))


def parse_redirect(message: IcmpMessage) -> Redirect:
    """Raises CorruptError."""
    data = message.data
    if message.code or len(data) < 32:
        raise CorruptError("a redirect that is cut off")
    return Redirect(bytes(data[:16]), bytes(data[16:32]), _mac(parse_options(data[32:]), Option.TARGET_MAC))


def parse_router(message: IcmpMessage) -> Router:
    """Raises CorruptError."""
    data = message.data
    if message.code or len(data) < 8:
        raise CorruptError("a router advertisement that is cut off")
    options = parse_options(data[8:])
    mtu = 0
    prefixes = []
    servers = []
    for kind, option in options:
        if kind == Option.MTU and len(option) == 8:
            mtu = int.from_bytes(option[4:], "big")
        elif kind == Option.PREFIX and len(option) == PREFIX.size:
            _, _, length, flags, valid_s, preferred_s, _, prefix = PREFIX.unpack(option)
            if length <= 128:
                prefixes.append(Prefix(length, flags, valid_s, preferred_s, prefix))
        elif kind == Option.DNS_SERVERS and len(option) > DNS_SERVERS.size and len(option) % 16 == DNS_SERVERS.size:
            lifetime_s = DNS_SERVERS.unpack_from(option)[2]
            servers += [NameServer(option[at : at + 16], lifetime_s) for at in range(8, len(option), 16)]
    return Router(
        message.rest >> 24, message.rest >> 16 & 0xFF, message.rest & 0xFFFF, int.from_bytes(data[:4], "big"),
        int.from_bytes(data[4:8], "big"), _mac(options, Option.SOURCE_MAC), mtu, tuple(prefixes),
        tuple(servers),
    )


def solicitation(target: Address, mac: bytes) -> IcmpMessage:
    """Who has ``target``? ``mac`` is ours; empty while the asking address is not."""
    option = bytes((Option.SOURCE_MAC, 1)) + mac if mac else b""
    return IcmpMessage(Type.NEIGHBOUR_SOLICITATION, 0, 0, target + option)


def advertisement(target: Address, mac: bytes, flags: int) -> IcmpMessage:
    """``target`` is at ``mac``."""
    option = bytes((Option.TARGET_MAC, 1)) + mac
    return IcmpMessage(Type.NEIGHBOUR_ADVERTISEMENT, 0, flags, target + option)


def router_solicitation(mac: bytes) -> IcmpMessage:
    """Is there a router?"""
    option = bytes((Option.SOURCE_MAC, 1)) + mac if mac else b""
    return IcmpMessage(Type.ROUTER_SOLICITATION, 0, 0, option)


def parse_router_solicitation(message: IcmpMessage, source: Address) -> bytes:
    """The sender's MAC, empty if it does not say. Raises CorruptError."""
    if message.code:
        raise CorruptError("a router solicitation that is none")
    mac = _mac(parse_options(message.data), Option.SOURCE_MAC)
    if mac and source == ANY6:
        raise CorruptError("a MAC without an address")
    return mac


def router_advertisement(told: RouterAdvertisement, mac: bytes) -> IcmpMessage:
    """``mac`` is the router's. Hop limit, MTU and times of the neighbour cache are left to the hosts."""
    flags = PrefixFlag.ON_LINK | PrefixFlag.AUTONOMOUS
    prefix = PREFIX.pack(
        Option.PREFIX, PREFIX.size // 8, told.prefix_length, flags, told.valid_s, told.preferred_s, 0, told.prefix
    )
    options = bytes((Option.SOURCE_MAC, 1)) + mac + prefix
    if told.name_servers:
        length = 1 + 2 * len(told.name_servers)
        options += DNS_SERVERS.pack(Option.DNS_SERVERS, length, told.preferred_s) + b"".join(told.name_servers)
    return IcmpMessage(Type.ROUTER_ADVERTISEMENT, 0, told.router_lifetime_s, bytes(8) + options)


def solicited_group(address: Address) -> Address:
    """The multicast group of all who might have an address (RFC 4291, section 2.7.1)."""
    return bytes.fromhex("ff0200000000000000000001ff") + address[13:]
