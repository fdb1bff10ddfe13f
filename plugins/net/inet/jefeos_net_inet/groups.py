"""Multicast groups: which are taken on which interface, and telling routers and switches of it (IGMP, MLD).

    join    a report at once, and once more within a second          leave   the same
    query   an answer at a random moment within the time it gives

Reports are of IGMP 3 and MLD 2 unless a router has asked in an older version in the last 400 seconds. Groups are taken
from every source; lists of sources are not here. Nobody is told of 224.0.0.1, ff02::1 and groups of narrower scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, KernelError
from jefeos.net.address import Address

from jefeos_net_inet.ndisc import ALL_NODES
from jefeos_net_inet.neighbours import SECOND_NS
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.settings import number
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import igmp, ipv4, ipv6
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type
from jefeos_net_inet.wire.igmp import IgmpType, Query, Record

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

ALL_HOSTS: Final = b"\xe0\0\0\1"
NODES_HERE: Final = bytes.fromhex("ff01") + bytes(13) + b"\1"
ALWAYS: Final = (ALL_HOSTS, NODES_HERE, ALL_NODES)
"""Groups that every interface takes."""
IGMP_ROUTERS: Final = b"\xe0\0\0\x16"
MLD_ROUTERS: Final = bytes.fromhex("ff02") + bytes(13) + b"\x16"
ALL_ROUTERS4: Final = b"\xe0\0\0\2"
ALL_ROUTERS6: Final = bytes.fromhex("ff02") + bytes(13) + b"\2"
OLD_ROUTER_NS: Final = 400 * SECOND_NS
AGAIN_MS: Final = 1000
MOST_RECORDS: Final = 64
"""Of one report: it fits into the smallest MTU."""


class Groups:
    """Groups of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._old_until_ns: dict[tuple[int, int], int] = {}
        """By interface and length of addresses."""
        self._timers: dict[tuple[int, Address], Timer] = {}
        """Reports to come, by interface and group (empty, of the family's length in bytes: all groups)."""
        stack.ipv4.protocols[igmp.PROTOCOL] = self._receive
        stack.icmp6.handlers[Type.LISTENER_QUERY] = self._receive6

    def join(self, interface: InetInterface, group: Address) -> None:
        """One more who wants a group."""
        if interface.join(group):
            self._tell(interface, group, Record.TO_EXCLUDE)

    def leave(self, interface: InetInterface, group: Address) -> None:
        """One less."""
        if group in interface.groups and interface.leave(group):
            self._tell(interface, group, Record.TO_INCLUDE)

    def start(self, interface: InetInterface) -> None:
        """The interface came up: what it takes is news."""
        without_6 = number(self._stack.settings, "net.ipv6.conf.all.disable_ipv6")
        for group in ALWAYS:
            if group not in interface.groups and not (len(group) == 16 and without_6):
                interface.join(group)
        for group in list(interface.groups):
            self._tell(interface, group, Record.TO_EXCLUDE)

    def forget(self, interface: InetInterface) -> None:
        """The interface went down."""
        if ALL_HOSTS in interface.groups:
            interface.leave(ALL_HOSTS)
        for key in [key for key in self._timers if key[0] == interface.index]:
            self._timers.pop(key).cancel()

    def close(self) -> None:
        """Let go of every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- telling ---------------------------------------------------------------------------------------------

    @staticmethod
    def _is_told(interface: InetInterface, group: Address) -> bool:
        if interface.is_loopback or not interface.is_up or group in ALWAYS:
            return False
        return len(group) == 4 or group[1] & 0xF >= 2

    def _is_old(self, interface: InetInterface, address_bytes: int) -> bool:
        until_ns = self._old_until_ns.get((interface.index, address_bytes), 0)
        return until_ns > self._stack.timers.now_ns()

    def _tell(self, interface: InetInterface, group: Address, record: Record) -> None:
        if self._is_told(interface, group):
            self._report(interface, [(record, group)])
            self._later(interface, group, self._stack.entropy.below(AGAIN_MS) * 1_000_000, record)

    def _later(self, interface: InetInterface, group: Address, delay_ns: int, record: Record) -> None:
        key = (interface.index, group)
        if key in self._timers:
            self._timers.pop(key).cancel()

        def report() -> None:
            self._timers.pop(key, None)
            if any(group):
                self._report(interface, [(record, group)])
            else:
                groups = [one for one in interface.groups if len(one) == len(group) and self._is_told(interface, one)]
                for start in range(0, len(groups), MOST_RECORDS):
                    self._report(interface, [(record, one) for one in groups[start : start + MOST_RECORDS]])

        self._timers[key] = self._stack.timers.later(delay_ns, report)

    def _report(self, interface: InetInterface, records: list[tuple[Record, Address]]) -> None:
        is_v4 = len(records[0][1]) == 4
        if not self._is_old(interface, len(records[0][1])):
            if is_v4:
                self._send(interface, IGMP_ROUTERS, igmp.emit_report(records))
            else:
                self._send6(interface, MLD_ROUTERS, igmp.report6(records))
            return
        for record, group in records:
            gone = record is Record.TO_INCLUDE
            if is_v4:
                kind = IgmpType.LEAVE if gone else IgmpType.REPORT_2
                self._send(interface, ALL_ROUTERS4 if gone else group, igmp.emit_old(kind, group))
            else:
                kind6 = Type.LISTENER_DONE if gone else Type.LISTENER_REPORT
                self._send6(interface, ALL_ROUTERS6 if gone else group, igmp.old6(kind6, group))

    def _send(self, interface: InetInterface, destination: Address, message: bytes) -> None:
        try:
            path = self._stack.ipv4.path(destination, interface=interface.index)
            self._stack.ipv4.send(
                path, igmp.PROTOCOL, (message,), hop_limit=1, traffic_class=0xC0, options=ipv4.ROUTER_ALERT, loop=False
            )
        except KernelError:  # the interface is on its way down
            return

    def _send6(self, interface: InetInterface, destination: Address, message: IcmpMessage) -> None:
        source = self._stack.ipv6.source_for(destination, interface)
        self._stack.icmp6.send(
            message, destination, source, interface=interface.index, hop_limit=1, options=ipv6.ROUTER_ALERT
        )

    # --- hearing ---------------------------------------------------------------------------------------------

    def _receive(self, packet: Packet) -> None:
        try:
            query = igmp.parse_query(packet.payload)
        except CorruptError:
            return
        if query is not None and packet.hop_limit == 1:
            self._answer(packet.interface, query, 4)

    def _receive6(self, packet: Packet, message: IcmpMessage) -> None:
        query = igmp.parse_query6(message)
        if packet.hop_limit == 1 and packet.source[:2] == b"\xfe\x80":
            self._answer(packet.interface, query, 16)

    def _answer(self, interface: InetInterface, query: Query, address_bytes: int) -> None:
        if query.is_old:
            self._old_until_ns[interface.index, address_bytes] = self._stack.timers.now_ns() + OLD_ROUTER_NS
        if query.group and query.group not in interface.groups:
            return
        delay_ms = self._stack.entropy.below(max(query.response_ns // 1_000_000, 1))
        self._later(interface, query.group or bytes(address_bytes), delay_ms * 1_000_000, Record.IS_EXCLUDE)
