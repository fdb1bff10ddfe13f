"""rtnetlink(7): requests about links, addresses, routes and neighbours, answered from the network stack.

    answer(task, type, flags, body)    the parts of the answer as (type, body); None where only an ACK is due
    event_message(stack, event)        what a change of the stack is to those who listen: (group, type, body)

Structures and numbers: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h. Attributes that a
request holds and this page does not know are left alone, as Linux's older ones did. Changes need privilege (EPERM).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, Address, family_of
from jefeos.net.stack import (
    Change,
    Event,
    Interface,
    InterfaceAddress,
    InterfaceFlags,
    Neighbour,
    NeighbourState,
    NetworkStack,
    Route,
)
from jefeos.structs import Struct, pad, s32, u8, u16, u32

from jefeos_abi_linux.netlink import NLM_F_DUMP

if TYPE_CHECKING:
    from jefeos.proc.task import Task

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


def _number(kind: int, value: int) -> bytes:
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


def _int_of(attributes: dict[int, bytes], kind: int, default: int = 0) -> int:
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
        _number(IFLA_TXQLEN, DEFAULT_QUEUE_LENGTH),
        attribute(IFLA_OPERSTATE, bytes([state])),
        attribute(IFLA_LINKMODE, b"\0"),
        _number(IFLA_MTU, interface.mtu),
        _number(IFLA_GROUP, 0),
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
    parts.append(_number(IFA_FLAGS, flags))
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
    parts = [_number(RTA_TABLE, table)]
    if route.prefix_length:
        parts.append(attribute(RTA_DST, route.destination))
    if route.metric:
        parts.append(_number(RTA_PRIORITY, route.metric))
    if route.source:
        parts.append(attribute(RTA_PREFSRC, route.source))
    if route.gateway:
        parts.append(attribute(RTA_GATEWAY, route.gateway))
    if route.mtu:
        parts.append(attribute(RTA_METRICS, _number(RTAX_MTU, route.mtu)))
    parts.append(_number(RTA_OIF, route.interface))
    return head.pack() + b"".join(parts)


def neighbour_body(neighbour: Neighbour) -> bytes:
    """RTM_NEWNEIGH."""
    head = NeighbourMessage(
        family=family_of(neighbour.address), index=neighbour.interface, state=int(neighbour.state), type=RTN_UNICAST
    )
    mac = attribute(NDA_LLADDR, neighbour.mac) if neighbour.mac else b""
    return head.pack() + attribute(NDA_DST, neighbour.address) + mac + attribute(NDA_CACHEINFO, bytes(16))


def event_message(stack: NetworkStack, event: Event) -> tuple[int, int, bytes] | None:
    """A change for those who listen; None for what rtnetlink has no message for."""
    subject, gone = event.subject, int(event.gone)
    if event.change is Change.INTERFACE:
        return GROUP_LINK, RTM_NEWLINK + gone, link_body(subject)
    if event.change is Change.NEIGHBOUR:
        return GROUP_NEIGH, RTM_NEWNEIGH + gone, neighbour_body(subject)
    if event.change is Change.ROUTE:
        six = len(subject.destination) == 16
        return GROUP_ROUTE6 if six else GROUP_ROUTE4, RTM_NEWROUTE + gone, route_body(subject)
    try:
        interface = stack.interface(event.interface)
    except KernelError:  # it went together with its addresses
        return None
    group = GROUP_ADDR6 if len(subject.address) == 16 else GROUP_ADDR4
    return group, RTM_NEWADDR + gone, address_body(interface, subject, 0)


# --- requests -------------------------------------------------------------------------------------------------


def answer(task: Task, kind: int, flags: int, body: bytes) -> list[Part] | None:
    """See the module's text. EOPNOTSUPP for a type that is not known here."""
    handler = _HANDLERS.get(kind)
    if handler is None:
        raise KernelError(Errno.EOPNOTSUPP)
    if kind not in _GETTERS and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    return handler(task, flags, body)


def _named(stack: NetworkStack, index: int, attributes: dict[int, bytes]) -> Interface:
    name = attributes.get(IFLA_IFNAME, b"").partition(b"\0")[0]
    if index > 0:
        return stack.interface(index)
    if name:
        return stack.interface(name.decode("latin-1"))
    raise KernelError(Errno.EINVAL)


def _get_links(task: Task, flags: int, body: bytes) -> list[Part]:
    stack = task.kernel.net.stack
    if flags & NLM_F_DUMP == NLM_F_DUMP:
        return [(RTM_NEWLINK, link_body(interface)) for interface in stack.interfaces()]
    head = LinkMessage.parse(body)
    return [(RTM_NEWLINK, link_body(_named(stack, head.index, read_attributes(body[LinkMessage.size :]))))]


def _set_link(task: Task, flags: int, body: bytes) -> None:
    """Up, down, MTU. New kinds of link are not made here (EOPNOTSUPP)."""
    head = LinkMessage.parse(body)
    attributes = read_attributes(body[LinkMessage.size :])
    try:
        interface = _named(task.kernel.net.stack, head.index, attributes)
    except KernelError:
        if flags & NLM_F_CREATE:
            raise KernelError(Errno.EOPNOTSUPP) from None
        raise
    if IFLA_MTU in attributes:
        interface.set_mtu(_int_of(attributes, IFLA_MTU))
    changed = head.change or (InterfaceFlags.UP if head.flags & InterfaceFlags.UP else 0)
    if changed & InterfaceFlags.PROMISC:
        interface.set_promiscuous(bool(head.flags & InterfaceFlags.PROMISC))
    if changed & InterfaceFlags.UP:
        interface.set_up(bool(head.flags & InterfaceFlags.UP))


def _get_addresses(task: Task, flags: int, body: bytes) -> list[Part]:
    family = body[0] if body else 0
    wanted = AddressMessage.parse(body).index if len(body) >= AddressMessage.size else 0
    now_ns = task.kernel.clock.monotonic_ns()
    return [
        (RTM_NEWADDR, address_body(interface, own, now_ns))
        for interface in task.kernel.net.stack.interfaces()
        if wanted in (0, interface.index)
        for own in interface.addresses
        if family in (0, family_of(own.address))
    ]


def _address_of(body: bytes) -> tuple[AddressMessage, dict[int, bytes], Address]:
    head = AddressMessage.parse(body)
    attributes = read_attributes(body[AddressMessage.size :])
    address = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS) or b""
    if len(address) != {AF_INET: 4, AF_INET6: 16}.get(head.family):
        raise KernelError(Errno.EINVAL)
    return head, attributes, address


def _new_address(task: Task, flags: int, body: bytes) -> None:
    head, attributes, address = _address_of(body)
    interface = task.kernel.net.stack.interface(head.index)
    there = any(own.address == address for own in interface.addresses)
    if there and not flags & NLM_F_REPLACE:
        raise KernelError(Errno.EEXIST)
    if there:
        interface.remove_address(address)
    lifetimes: list[int | None] = [None, None]
    if len(attributes.get(IFA_CACHEINFO, b"")) >= 8:
        lifetimes = [
            None if seconds == FOREVER else seconds * 1_000_000_000
            for seconds in struct.unpack_from("<2I", attributes[IFA_CACHEINFO])
        ]
    interface.add_address(address, head.prefix_length, preferred_ns=lifetimes[0], valid_ns=lifetimes[1])


def _del_address(task: Task, flags: int, body: bytes) -> None:
    head, _, address = _address_of(body)
    task.kernel.net.stack.interface(head.index).remove_address(address)


def _get_routes(task: Task, flags: int, body: bytes) -> list[Part]:
    stack = task.kernel.net.stack
    head = RouteMessage.parse(body) if len(body) >= RouteMessage.size else RouteMessage(family=body[0] if body else 0)
    if flags & NLM_F_DUMP == NLM_F_DUMP:
        if head.table == RT_TABLE_LOCAL:
            return [(RTM_NEWROUTE, part) for part in _local_routes(stack, head.family)]
        return [
            (RTM_NEWROUTE, route_body(route))
            for route in stack.routes()
            if head.family in (0, family_of(route.destination))
        ]
    attributes = read_attributes(body[RouteMessage.size :])
    destination = attributes.get(RTA_DST, b"")
    if len(destination) not in (4, 16):
        raise KernelError(Errno.EINVAL)
    source, interface = attributes.get(RTA_PREFSRC, b""), _int_of(attributes, RTA_OIF)
    route = stack.route_to(destination, source, interface)
    local = bool(stack.interface(route.interface).flags & InterfaceFlags.LOOPBACK)
    kind, flags = (RTN_LOCAL, RTM_F_CLONED | RTCF_LOCAL) if local else (RTN_UNICAST, RTM_F_CLONED)
    # What is found is a way for this address, not the line of the table that led to it.
    way = evolve(route, destination=destination, prefix_length=8 * len(destination), protocol=0, scope=0, metric=0)
    about = _number(RTA_UID, task.creds.uid) + attribute(RTA_CACHEINFO, bytes(CACHEINFO_BYTES))
    return [(RTM_NEWROUTE, route_body(way, kind=kind, flags=flags) + about)]


def _local_routes(stack: NetworkStack, family: int) -> Iterator[bytes]:
    """The table of the system's own addresses, which nobody keeps: it follows from the interfaces."""
    for interface in stack.interfaces():
        for own in interface.addresses:
            if family in (0, family_of(own.address)):
                bits = 8 * len(own.address)
                route = Route(own.address, bits, interface.index, source=own.address, protocol=2, scope=254)
                yield route_body(route, kind=RTN_LOCAL, table=RT_TABLE_LOCAL)


def _route_of(body: bytes) -> Route:
    head = RouteMessage.parse(body)
    size = {AF_INET: 4, AF_INET6: 16}.get(head.family)
    if size is None:
        raise KernelError(Errno.EAFNOSUPPORT)
    attributes = read_attributes(body[RouteMessage.size :])
    if _int_of(attributes, RTA_TABLE, head.table) not in (0, RT_TABLE_MAIN):
        raise KernelError(Errno.EOPNOTSUPP)
    destination, gateway = attributes.get(RTA_DST, bytes(size)), attributes.get(RTA_GATEWAY, b"")
    source = attributes.get(RTA_PREFSRC, b"")
    if any(len(address) not in (0, size) for address in (destination, gateway, source)) or head.dst_len > 8 * size:
        raise KernelError(Errno.EINVAL)
    metrics = read_attributes(attributes.get(RTA_METRICS, b""))
    return Route(
        destination, head.dst_len, _int_of(attributes, RTA_OIF), gateway, _int_of(attributes, RTA_PRIORITY), source,
        head.protocol or 3, head.scope, _int_of(metrics, RTAX_MTU),
    )


def _new_route(task: Task, flags: int, body: bytes) -> None:
    stack, route = task.kernel.net.stack, _route_of(body)
    if not route.interface:
        if not route.gateway:
            raise KernelError(Errno.EINVAL)
        route = evolve(route, interface=stack.route_to(route.gateway).interface)
    same = [r for r in stack.routes() if (r.destination, r.prefix_length) == (route.destination, route.prefix_length)]
    if same and flags & NLM_F_REPLACE:
        stack.remove_route(same[0])
    elif flags & NLM_F_EXCL and any(r.metric == route.metric for r in same):
        raise KernelError(Errno.EEXIST)
    elif not same and not flags & NLM_F_CREATE:
        raise KernelError(Errno.ENOENT)
    stack.add_route(route)


def _del_route(task: Task, flags: int, body: bytes) -> None:
    task.kernel.net.stack.remove_route(_route_of(body))


def _get_neighbours(task: Task, flags: int, body: bytes) -> list[Part]:
    family = body[0] if body else 0
    wanted = NeighbourMessage.parse(body).index if len(body) >= NeighbourMessage.size else 0
    return [
        (RTM_NEWNEIGH, neighbour_body(neighbour))
        for neighbour in task.kernel.net.stack.neighbours()
        if family in (0, family_of(neighbour.address)) and wanted in (0, neighbour.interface)
    ]


def _neighbour_of(body: bytes) -> tuple[NeighbourMessage, Address, bytes]:
    head = NeighbourMessage.parse(body)
    attributes = read_attributes(body[NeighbourMessage.size :])
    address, mac = attributes.get(NDA_DST, b""), attributes.get(NDA_LLADDR, b"")
    if len(address) not in (4, 16) or len(mac) not in (0, 6):
        raise KernelError(Errno.EINVAL)
    return head, address, mac


def _new_neighbour(task: Task, flags: int, body: bytes) -> None:
    head, address, mac = _neighbour_of(body)
    if not mac:
        raise KernelError(Errno.EINVAL)
    state = NeighbourState.PERMANENT if head.state & NeighbourState.PERMANENT else NeighbourState.REACHABLE
    task.kernel.net.stack.add_neighbour(Neighbour(address, head.index, mac, state))


def _del_neighbour(task: Task, flags: int, body: bytes) -> None:
    head, address, _ = _neighbour_of(body)
    task.kernel.net.stack.remove_neighbour(address, head.index)


def _no_rules(task: Task, flags: int, body: bytes) -> list[Part]:
    """Policy routing: the one rule that everything follows, the main table."""
    rules = []
    for family in (AF_INET, AF_INET6):
        if not body or body[0] in (0, family):
            head = RouteMessage(family=family, table=RT_TABLE_MAIN, protocol=2, type=RTN_UNICAST)
            rules.append((RTM_NEWRULE, head.pack() + _number(6, 32766) + _number(RTA_TABLE, RT_TABLE_MAIN)))
    return rules


_HANDLERS: Final[dict[int, Callable[[Task, int, bytes], list[Part] | None]]] = {
    RTM_GETLINK: _get_links, RTM_NEWLINK: _set_link, RTM_SETLINK: _set_link,
    RTM_GETADDR: _get_addresses, RTM_NEWADDR: _new_address, RTM_DELADDR: _del_address,
    RTM_GETROUTE: _get_routes, RTM_NEWROUTE: _new_route, RTM_DELROUTE: _del_route,
    RTM_GETNEIGH: _get_neighbours, RTM_NEWNEIGH: _new_neighbour, RTM_DELNEIGH: _del_neighbour,
    RTM_GETRULE: _no_rules,
}  # fmt: skip
_GETTERS: Final = frozenset((RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE))
