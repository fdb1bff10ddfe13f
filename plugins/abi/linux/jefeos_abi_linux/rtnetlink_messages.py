"""Messages of rtnetlink(7): structures, attributes, and links, addresses, routes and neighbours as they are told.

Structures and numbers: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h.
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address, family_of
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Change, Event, Interface, InterfaceAddress, Neighbour, NetworkStack, Route
from jefeos.structs import Struct, pad, s32, u8, u16, u32

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_GETRULE = 32, 34
IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_QDISC, IFLA_STATS = 1, 2, 3, 4, 6, 7
IFLA_TXQLEN, IFLA_OPERSTATE, IFLA_LINKMODE, IFLA_STATS64, IFLA_GROUP, IFLA_CARRIER = 13, 16, 17, 23, 27, 33
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 3, 4, 6, 8
IFA_F_TENTATIVE, IFA_F_PERMANENT = 0x40, 0x80
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_TABLE = 1, 4, 5, 6, 7, 8, 15
RTA_CACHEINFO, RTA_UID, CACHEINFO_BYTES = 12, 25, 32
RTM_F_CLONED, RTCF_LOCAL = 0x200, 0x8000_0000
RTAX_MTU: Final = 2
NDA_DST, NDA_LLADDR, NDA_CACHEINFO = 1, 2, 3
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTN_UNICAST, RTN_LOCAL = 1, 2
RT_SCOPE_LINK: Final = 253
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
OPERSTATE_UNKNOWN, OPERSTATE_DOWN, OPERSTATE_UP = 0, 2, 6
FOREVER: Final = 0xFFFF_FFFF
GROUP_LINK, GROUP_NEIGH, GROUP_ADDR4, GROUP_ROUTE4, GROUP_ADDR6, GROUP_ROUTE6 = 1, 3, 5, 7, 9, 11
DEFAULT_QUEUE_LENGTH: Final = 1000

Part = tuple[int, bytes]


class LinkMessage(Struct):
    """struct ifinfomsg."""

    family: int = u8()
    _pad = pad(1)
    type: int = u16()
    index: int = s32()
    flags: int = u32()
    change: int = u32()


class AddressMessage(Struct):
    """struct ifaddrmsg."""

    family: int = u8()
    prefix_length: int = u8()
    flags: int = u8()
    scope: int = u8()
    index: int = u32()


class RouteMessage(Struct):
    """struct rtmsg."""

    family: int = u8()
    dst_len: int = u8()
    src_len: int = u8()
    tos: int = u8()
    table: int = u8()
    protocol: int = u8()
    scope: int = u8()
    type: int = u8()
    flags: int = u32()


class NeighbourMessage(Struct):
    """struct ndmsg."""

    family: int = u8()
    _pad = pad(3)
    index: int = s32()
    state: int = u16()
    flags: int = u8()
    type: int = u8()


# --- attributes -----------------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """struct rtattr with its value, padded."""
    return struct.pack("<HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, (value & 0xFFFF_FFFF).to_bytes(4, "little"))


def read_attributes(data: bytes) -> dict[int, bytes]:
    """The attributes by type. EINVAL for a length that does not fit."""
    found: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, position)
        if length < 4 or position + length > len(data):
            raise KernelError(Errno.EINVAL)
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


def int_of(attributes: dict[int, bytes], kind: int, default: int = 0) -> int:
    """An attribute of 32 bits, by type."""
    value = attributes.get(kind)
    return default if value is None else int.from_bytes(value[:4], "little")


# --- what is told ---------------------------------------------------------------------------------------------


def hardware_type(interface: Interface) -> int:
    """ARPHRD_* of an interface."""
    return ARPHRD_LOOPBACK if interface.flags & InterfaceFlags.LOOPBACK else ARPHRD_ETHER


def link_body(interface: Interface) -> bytes:
    """RTM_NEWLINK."""
    loopback = bool(interface.flags & InterfaceFlags.LOOPBACK)
    head = LinkMessage(
        type=hardware_type(interface), index=interface.index, flags=int(interface.flags)
    )
    running = bool(interface.flags & InterfaceFlags.RUNNING)
    state = OPERSTATE_UNKNOWN if loopback else OPERSTATE_UP if running else OPERSTATE_DOWN
    s = interface.statistics
    counts = (
        s.rx_packets, s.tx_packets, s.rx_bytes, s.tx_bytes, s.rx_errors, s.tx_errors, s.rx_dropped, s.tx_dropped,
        s.multicast, 0, 0, 0, 0, s.rx_frame_errors, s.rx_fifo_errors, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return head.pack() + b"".join((
        attribute(IFLA_IFNAME, interface.name.encode() + b"\0"),
        number(IFLA_TXQLEN, DEFAULT_QUEUE_LENGTH),
        attribute(IFLA_OPERSTATE, bytes([state])),
        attribute(IFLA_LINKMODE, b"\0"),
        number(IFLA_MTU, interface.mtu),
        number(IFLA_GROUP, 0),
        attribute(IFLA_CARRIER, bytes([running])),
        attribute(IFLA_QDISC, b"noqueue\0" if loopback else b"pfifo_fast\0"),
        attribute(IFLA_ADDRESS, interface.mac),
        attribute(IFLA_BROADCAST, bytes(6) if loopback else b"\xff" * 6),
        attribute(IFLA_STATS64, struct.pack("<23Q", *counts)),
        attribute(IFLA_STATS, struct.pack("<23I", *(count & 0xFFFF_FFFF for count in counts))),
    ))  # fmt: skip


def address_body(interface: Interface, own: InterfaceAddress, now_ns: int) -> bytes:
    """RTM_NEWADDR."""
    flags = (IFA_F_TENTATIVE if own.tentative else 0) | (IFA_F_PERMANENT if own.valid_until_ns is None else 0)
    head = AddressMessage(
        family=family_of(own.address), prefix_length=own.prefix_length, flags=flags, scope=own.scope,
        index=interface.index,
    )
    parts = [attribute(IFA_ADDRESS, own.address)]
    if len(own.address) == 4:
        parts.append(attribute(IFA_LOCAL, own.address))
        if interface.flags & InterfaceFlags.BROADCAST and own.prefix_length < 31:
            parts.append(attribute(IFA_BROADCAST, broadcast_of(own.address, own.prefix_length)))
        parts.append(attribute(IFA_LABEL, (own.label or interface.name).encode() + b"\0"))
    seconds = [
        FOREVER if until_ns is None else max(until_ns - now_ns, 0) // 1_000_000_000
        for until_ns in (own.preferred_until_ns, own.valid_until_ns)
    ]
    parts.append(attribute(IFA_CACHEINFO, struct.pack("<4I", *seconds, 0, 0)))
    parts.append(number(IFA_FLAGS, flags))
    return head.pack() + b"".join(parts)


def broadcast_of(address: Address, prefix_length: int) -> bytes:
    """The broadcast address of an IPv4 network."""
    host = (1 << 32 - prefix_length) - 1
    return (int.from_bytes(address, "big") | host).to_bytes(4, "big")


def route_body(route: Route, *, kind: int = RTN_UNICAST, table: int = RT_TABLE_MAIN, flags: int = 0) -> bytes:
    """RTM_NEWROUTE."""
    head = RouteMessage(
        family=family_of(route.destination), dst_len=route.prefix_length, table=table, protocol=route.protocol,
        scope=route.scope, type=kind, flags=flags,
    )
    parts = [number(RTA_TABLE, table)]
    if route.prefix_length:
        parts.append(attribute(RTA_DST, route.destination))
    if route.metric:
        parts.append(number(RTA_PRIORITY, route.metric))
    if route.source:
        parts.append(attribute(RTA_PREFSRC, route.source))
    if route.gateway:
        parts.append(attribute(RTA_GATEWAY, route.gateway))
    if route.mtu:
        parts.append(attribute(RTA_METRICS, number(RTAX_MTU, route.mtu)))
    parts.append(number(RTA_OIF, route.interface))
    return head.pack() + b"".join(parts)


def neighbour_body(neighbour: Neighbour) -> bytes:
    """RTM_NEWNEIGH."""
    head = NeighbourMessage(
        family=family_of(neighbour.address), index=neighbour.interface, state=int(neighbour.state), type=RTN_UNICAST
    )
    mac = attribute(NDA_LLADDR, neighbour.mac) if neighbour.mac else b""
    return head.pack() + attribute(NDA_DST, neighbour.address) + mac + attribute(NDA_CACHEINFO, bytes(16))


def event_message(stack: NetworkStack, event: Event) -> tuple[int, int, bytes] | None:
    """What a change of the stack is to those who listen: group, type, body. None if there is no message for it."""
    subject, gone = event.subject, int(event.gone)
    if event.change is Change.INTERFACE:
        return GROUP_LINK, RTM_NEWLINK + gone, link_body(subject)
    if event.change is Change.NEIGHBOUR:
        return GROUP_NEIGH, RTM_NEWNEIGH + gone, neighbour_body(subject)
    if event.change is Change.ROUTE:
        six = len(subject.destination) == 16
        return GROUP_ROUTE6 if six else GROUP_ROUTE4, RTM_NEWROUTE + gone, route_body(subject)
    if event.change is not Change.ADDRESS:
        return None
    try:
        interface = stack.interface(event.interface)
    except KernelError:  # it went together with its addresses
        return None
    group = GROUP_ADDR6 if len(subject.address) == 16 else GROUP_ADDR4
    return group, RTM_NEWADDR + gone, address_body(interface, subject, 0)
