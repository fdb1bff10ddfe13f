"""ARP: questions and answers of a stack (RFC 826), probes and announcements (RFC 5227).

    who-has ours?          -> answer, and remember who asked
    is-at                  -> the cache, if it asked
    sender has ours, too   -> defend: announce it, at most once in ten seconds (RFC 5227, section 2.4)

A probe asks three times, one to two seconds apart, from the address 0.0.0.0; any packet whose sender has the address,
and any other station's probe for it, is a conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define
from jefeos.errors import CorruptError
from jefeos.net.address import ANY4, Address

from jefeos_net_inet.addresses import Kind
from jefeos_net_inet.neighbours import SECOND_NS, Entry, NeighbourCache
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import arp, ethernet
from jefeos_net_inet.wire.arp import ArpPacket, Operation

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

PROBE_COUNT: Final = 3
PROBE_LEAST_NS: Final = SECOND_NS
PROBE_SPREAD_MS: Final = 1000
ANNOUNCE_COUNT: Final = 2
ANNOUNCE_INTERVAL_NS: Final = 2 * SECOND_NS
DEFEND_INTERVAL_NS: Final = 10 * SECOND_NS
MOST_PROBES: Final = 64


@define(eq=False)
class Probe:
    """An address that is being asked for."""

    interface: InetInterface
    address: Address
    done: Callable[[bytes | None], None]
    patience_ns: int | None = None
    sent: int = 0
    timer: Timer | None = None


class Arp:
    """ARP on every interface of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._timers = stack.timers
        self.cache = NeighbourCache(stack, "ipv4", self._solicit)
        self._probes: list[Probe] = []
        self._announcements: set[Timer] = set()
        self._defended_ns: dict[Address, int] = {}
        self.malformed = 0
        self.conflicts = 0

    def receive(self, interface: InetInterface, frame: bytes, source: bytes) -> None:
        """A frame of EtherType ARP."""
        try:
            packet = arp.parse(memoryview(frame)[ethernet.HEADER_BYTES :])
        except CorruptError:
            self.malformed += 1
            return
        if packet.sender_mac == interface.mac or ethernet.is_group(packet.sender_mac):
            return
        if self._probes:
            self._compare(interface, packet)
        book = self._stack.addresses
        if packet.sender != ANY4:
            kind = book.kind4(packet.sender, interface)
            if kind is Kind.HOST:
                self._defend(interface, packet.sender)
                return
            if kind is not Kind.OTHER:
                self.malformed += 1
                return
        ours = book.kind4(packet.target, interface) is Kind.HOST or self._stack.interception.proxies(
            interface, packet.target
        )
        if packet.operation == Operation.REPLY:
            self.cache.answered(packet.sender, interface, packet.sender_mac)
        elif packet.operation == Operation.REQUEST:
            if packet.sender != ANY4:  # an announcement is no reason for a new entry
                self.cache.heard(packet.sender, interface, packet.sender_mac, create=ours)
            if ours:
                self._send(interface, packet.sender_mac, ArpPacket(
                    Operation.REPLY, interface.mac, packet.target, packet.sender_mac, packet.sender
                ))

    def _send(self, interface: InetInterface, mac: bytes, packet: ArpPacket) -> None:
        if not interface.is_loopback:
            interface.emit(mac, ethernet.EtherType.ARP, (arp.emit(packet),))

    def _solicit(self, entry: Entry, unicast: bool) -> None:
        interface = entry.interface
        source = self._stack.ipv4.source_for(entry.address, interface)
        mac = entry.mac if unicast else ethernet.BROADCAST_MAC
        self._send(interface, mac, ArpPacket(Operation.REQUEST, interface.mac, source, ethernet.NO_MAC, entry.address))

    # --- announcements and conflicts -----------------------------------------------------------------------------

    def announce(self, interface: InetInterface, address: Address, count: int = ANNOUNCE_COUNT) -> None:
        """Tell the link that the address is ours (a gratuitous request, RFC 5227, section 2.3)."""
        if not interface.is_up or not self._stack.addresses.is_ours(address):
            return
        self._send(interface, ethernet.BROADCAST_MAC, ArpPacket(
            Operation.REQUEST, interface.mac, address, ethernet.NO_MAC, address
        ))
        if count > 1:
            self._announce_later(interface, address, count - 1)

    def _announce_later(self, interface: InetInterface, address: Address, count: int) -> None:
        def again() -> None:
            self._announcements.discard(timer)
            self.announce(interface, address, count)

        timer = self._timers.later(ANNOUNCE_INTERVAL_NS, again)
        self._announcements.add(timer)

    def _defend(self, interface: InetInterface, address: Address) -> None:
        now_ns = self._timers.now_ns()
        self.conflicts += 1
        if now_ns - self._defended_ns.get(address, -DEFEND_INTERVAL_NS) >= DEFEND_INTERVAL_NS:
            self._defended_ns = {address: now_ns, **{
                other: at for other, at in self._defended_ns.items() if now_ns - at < DEFEND_INTERVAL_NS
            }}
            self.announce(interface, address, 1)

    # --- probing ---------------------------------------------------------------------------------------------

    def probe(
        self, interface: InetInterface, address: Address, done: Callable[[bytes | None], None],
        patience_ns: int | None = None,
    ) -> None:
        """Ask whether somebody has an address; see `Interface.probe`."""
        probe = Probe(interface, address, done, patience_ns)
        if len(self._probes) >= MOST_PROBES or interface.is_loopback or not interface.is_up:
            self._timers.soon(done, None)
            return
        self._probes.append(probe)
        self._ask(probe)

    def _ask(self, probe: Probe) -> None:
        if probe.sent == PROBE_COUNT:
            self._finish(probe, None)
            return
        probe.sent += 1
        wait_ns = PROBE_LEAST_NS + self._stack.entropy.below(PROBE_SPREAD_MS) * 1_000_000
        if probe.patience_ns is not None:
            wait_ns = probe.patience_ns // PROBE_COUNT
        probe.timer = self._timers.later(wait_ns, self._ask, probe)
        self._send(probe.interface, ethernet.BROADCAST_MAC, ArpPacket(
            Operation.REQUEST, probe.interface.mac, ANY4, ethernet.NO_MAC, probe.address
        ))

    def _compare(self, interface: InetInterface, packet: ArpPacket) -> None:
        for probe in list(self._probes):
            if probe.interface is interface and probe.address in (
                packet.sender, packet.target if packet.sender == ANY4 else None
            ):
                self._finish(probe, packet.sender_mac)

    def _finish(self, probe: Probe, mac: bytes | None) -> None:
        self._probes.remove(probe)
        if probe.timer is not None:
            probe.timer.cancel()
        probe.done(mac)

    def forget(self, interface: InetInterface) -> None:
        """The interface went down."""
        self.cache.flush(interface)
        for probe in [probe for probe in self._probes if probe.interface is interface]:
            self._finish(probe, None)

    def close(self) -> None:
        """Let go of every timer."""
        self.cache.flush()
        for probe in self._probes:
            if probe.timer is not None:
                probe.timer.cancel()
        self._probes.clear()
        for timer in self._announcements:
            timer.cancel()
        self._announcements.clear()
