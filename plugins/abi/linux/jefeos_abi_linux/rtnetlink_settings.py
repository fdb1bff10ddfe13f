"""Requests of rtnetlink(7) for what is only told here: settings of interfaces, their groups, labels of addresses.

    RTM_GETNETCONF (linux/netconf.h)         `ip netconf`     of each interface, and ``all`` and ``default``
    RTM_GETMULTICAST                                          groups of each interface
    RTM_GETADDRLABEL (linux/if_addrlabel.h)  `ip addrlabel`   the table by which IPv6 sources are chosen

Settings hold for all interfaces alike in this kernel, so that all have the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, family_of
from jefeos.net.stack import NetworkStack
from jefeos.structs import Struct, pad, u8, u32

from jefeos_abi_linux.netlink import NLM_F_DUMP
from jefeos_abi_linux.rtnetlink_messages import (
    FOREVER,
    IFA_CACHEINFO,
    IFA_F_PERMANENT,
    AddressMessage,
    Part,
    attribute,
    number,
    read_attributes,
)

if TYPE_CHECKING:
    from jefeos.proc.task import Task

RTM_GETMULTICAST, RTM_NEWADDRLABEL, RTM_GETADDRLABEL, RTM_NEWNETCONF, RTM_GETNETCONF = 58, 72, 74, 80, 82
NETCONFA_IFINDEX, NETCONFA_FORWARDING, NETCONFA_RP_FILTER, NETCONFA_MC_FORWARDING = 1, 2, 3, 4
NETCONFA_PROXY_NEIGH, NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN, NETCONFA_BC_FORWARDING = 5, 6, 8
NETCONFA_IFINDEX_ALL, NETCONFA_IFINDEX_DEFAULT = -1, -2
IFA_MULTICAST: Final = 7
IFAL_ADDRESS, IFAL_LABEL = 1, 2
_NETCONF_HEAD: Final = 4
"""struct netconfmsg, padded: the family."""
_SETTINGS: Final = {AF_INET: "net.ipv4.ip_forward", AF_INET6: "net.ipv6.conf.all.forwarding"}
_NEVER: Final = {
    AF_INET: (
        NETCONFA_RP_FILTER, NETCONFA_MC_FORWARDING, NETCONFA_BC_FORWARDING, NETCONFA_PROXY_NEIGH,
        NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN,
    ),
    AF_INET6: (NETCONFA_MC_FORWARDING, NETCONFA_PROXY_NEIGH, NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN),
}  # fmt: skip
"""What this kernel does not do, in Linux's order."""


class LabelMessage(Struct):
    """struct ifaddrlblmsg."""

    family: int = u8()
    _pad = pad(1)
    prefix_length: int = u8()
    flags: int = u8()
    index: int = u32()
    sequence: int = u32()


def get_settings(task: Task, flags: int, body: bytes) -> Iterable[Part]:
    """RTM_GETNETCONF: all, or one: EOPNOTSUPP for another family, EINVAL without an index, ENODEV (IPv6: EINVAL)."""
    stack = task.kernel.net.stack
    family = body[0] if body and body[0] in _SETTINGS else 0
    there = [*(interface.index for interface in stack.interfaces()), NETCONFA_IFINDEX_ALL, NETCONFA_IFINDEX_DEFAULT]
    if flags & NLM_F_DUMP == NLM_F_DUMP:
        return [_settings_of(stack, one, index) for one in _SETTINGS if family in (0, one) for index in there]
    if not family:
        raise KernelError(Errno.EOPNOTSUPP)
    wanted = read_attributes(body[_NETCONF_HEAD:]).get(NETCONFA_IFINDEX, b"")
    if len(wanted) != 4:
        raise KernelError(Errno.EINVAL)
    index = int.from_bytes(wanted, "little", signed=True)
    if index not in there:
        raise KernelError(Errno.ENODEV if family == AF_INET else Errno.EINVAL)
    return [_settings_of(stack, family, index)]


def _settings_of(stack: NetworkStack, family: int, index: int) -> Part:
    forwards = stack.settings.get(_SETTINGS[family], 0)
    parts = [number(NETCONFA_IFINDEX, index), number(NETCONFA_FORWARDING, int(forwards == 1))]
    parts += [number(kind, 0) for kind in _NEVER[family]]
    return RTM_NEWNETCONF, bytes([family]).ljust(_NETCONF_HEAD, b"\0") + b"".join(parts)


def get_groups(task: Task, flags: int, body: bytes) -> Iterable[Part]:
    """RTM_GETMULTICAST: all of a family, the newest first, as Linux keeps them. EOPNOTSUPP for one, and of another."""
    family = body[0] if body else 0
    if flags & NLM_F_DUMP != NLM_F_DUMP or family not in (AF_INET, AF_INET6):
        raise KernelError(Errno.EOPNOTSUPP)
    cache_info = attribute(IFA_CACHEINFO, struct.pack("<4I", FOREVER, FOREVER, 0, 0))
    return [
        (
            RTM_GETMULTICAST,
            AddressMessage(
                family=family, prefix_length=8 * len(group), flags=IFA_F_PERMANENT, index=interface.index
            ).pack() + attribute(IFA_MULTICAST, group) + cache_info,
        )
        for interface in task.kernel.net.stack.interfaces()
        for group in reversed(interface.groups)
        if family_of(group) == family
    ]


def get_labels(task: Task, flags: int, body: bytes) -> Iterable[Part]:
    """RTM_GETADDRLABEL: the table, or the line of it that holds for an address. EOPNOTSUPP but for IPv6."""
    table = task.kernel.net.stack.labels
    sequence = len(table)
    head = LabelMessage.parse(body)
    if head.family != AF_INET6:
        raise KernelError(Errno.EOPNOTSUPP)
    if flags & NLM_F_DUMP != NLM_F_DUMP:
        address = read_attributes(body[LabelMessage.size :]).get(IFAL_ADDRESS, b"")
        if len(address) != 16 or head.prefix_length != 128:
            raise KernelError(Errno.EINVAL)
        bits = int.from_bytes(address, "big")
        table = [
            line for line in table if not (bits ^ int.from_bytes(line[0], "big")) >> 128 - line[1]
        ][:1]
    return [
        (
            RTM_NEWADDRLABEL,
            LabelMessage(family=AF_INET6, prefix_length=length, sequence=sequence).pack()
            + attribute(IFAL_ADDRESS, prefix) + number(IFAL_LABEL, label),
        )
        for prefix, length, label in table
    ]
