"""rtnetlink(7): requests about links, addresses, routes and neighbours, answered from the network stack.

    answer(task, type, flags, body)    the parts of the answer as (type, body); None where only an ACK is due

Attributes that a request holds and this page does not know are left alone, as Linux's older ones did. Changes need
privilege (EPERM). What there is only to be read, apart from that, is in rtnetlink_settings.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, Address, family_of
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Interface, Neighbour, NeighbourState, NetworkStack, Route

from jefeos_abi_linux.netlink import NLM_F_DUMP
from jefeos_abi_linux.rtnetlink_messages import (
    CACHEINFO_BYTES,
    FOREVER,
    IFA_ADDRESS,
    IFA_CACHEINFO,
    IFA_LOCAL,
    IFLA_IFNAME,
    IFLA_MTU,
    NDA_DST,
    NDA_LLADDR,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTA_CACHEINFO,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_UID,
    RTAX_MTU,
    RTCF_LOCAL,
    RTM_DELADDR,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_F_CLONED,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTM_SETLINK,
    RTN_LOCAL,
    RTN_UNICAST,
    AddressMessage,
    LinkMessage,
    NeighbourMessage,
    Part,
    RouteMessage,
    address_body,
    attribute,
    int_of,
    link_body,
    neighbour_body,
    number,
    read_attributes,
    route_body,
)
from jefeos_abi_linux.rtnetlink_settings import (
    RTM_GETADDRLABEL,
    RTM_GETMULTICAST,
    RTM_GETNETCONF,
    get_groups,
    get_labels,
    get_settings,
)

if TYPE_CHECKING:
    from jefeos.proc.task import Task


def answer(task: Task, kind: int, flags: int, body: bytes) -> Iterable[Part] | None:
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
        interface.set_mtu(int_of(attributes, IFLA_MTU))
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
    source, interface = attributes.get(RTA_PREFSRC, b""), int_of(attributes, RTA_OIF)
    route = stack.route_to(destination, source, interface)
    local = bool(stack.interface(route.interface).flags & InterfaceFlags.LOOPBACK)
    kind, flags = (RTN_LOCAL, RTM_F_CLONED | RTCF_LOCAL) if local else (RTN_UNICAST, RTM_F_CLONED)
    # What is found is a way for this address, not the line of the table that led to it.
    way = evolve(route, destination=destination, prefix_length=8 * len(destination), protocol=0, scope=0, metric=0)
    about = number(RTA_UID, task.creds.uid) + attribute(RTA_CACHEINFO, bytes(CACHEINFO_BYTES))
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
    if int_of(attributes, RTA_TABLE, head.table) not in (0, RT_TABLE_MAIN):
        raise KernelError(Errno.EOPNOTSUPP)
    destination, gateway = attributes.get(RTA_DST, bytes(size)), attributes.get(RTA_GATEWAY, b"")
    source = attributes.get(RTA_PREFSRC, b"")
    if any(len(address) not in (0, size) for address in (destination, gateway, source)) or head.dst_len > 8 * size:
        raise KernelError(Errno.EINVAL)
    metrics = read_attributes(attributes.get(RTA_METRICS, b""))
    return Route(
        destination, head.dst_len, int_of(attributes, RTA_OIF), gateway, int_of(attributes, RTA_PRIORITY), source,
        head.protocol or 3, head.scope, int_of(metrics, RTAX_MTU),
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
            rules.append((RTM_NEWRULE, head.pack() + number(6, 32766) + number(RTA_TABLE, RT_TABLE_MAIN)))
    return rules


_HANDLERS: Final[dict[int, Callable[[Task, int, bytes], Iterable[Part] | None]]] = {
    RTM_GETLINK: _get_links, RTM_NEWLINK: _set_link, RTM_SETLINK: _set_link,
    RTM_GETADDR: _get_addresses, RTM_NEWADDR: _new_address, RTM_DELADDR: _del_address,
    RTM_GETROUTE: _get_routes, RTM_NEWROUTE: _new_route, RTM_DELROUTE: _del_route,
    RTM_GETNEIGH: _get_neighbours, RTM_NEWNEIGH: _new_neighbour, RTM_DELNEIGH: _del_neighbour,
    RTM_GETRULE: _no_rules,
    RTM_GETNETCONF: get_settings, RTM_GETMULTICAST: get_groups, RTM_GETADDRLABEL: get_labels,
}  # fmt: skip
_GETTERS: Final = frozenset((
    RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE,
    RTM_GETNETCONF, RTM_GETMULTICAST, RTM_GETADDRLABEL,
))  # fmt: skip
