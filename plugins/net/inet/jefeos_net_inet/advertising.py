"""Router advertisements: what a router tells the hosts of a link (RFC 4861, section 6.2; RFC 8106).

    advertise(interface, make) --> three soon, then one every 200 to 600 s, to everybody
    a host's solicitation      --> one to that host, at a random time within half a second
    advertise(interface, None) --> a last one, by which the router is none any more

``make`` is asked each time, so that what is told is what is true. Nothing is told while it gives None. Advertising
makes no router of the stack: whether it forwards is up to ``forwarding``, or to an interceptor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, evolve, field
from jefeos.net.address import ANY6, Address
from jefeos.net.stack import RouterAdvertisement

from jefeos_net_inet.ndisc import ALL_NODES
from jefeos_net_inet.neighbours import MILLISECOND_NS, SECOND_NS
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.slaac import ALL_ROUTERS
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import ndp
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

Make: TypeAlias = Callable[[], RouterAdvertisement | None]
FIRST_ONES: Final = 3
FIRST_INTERVAL_S: Final = 16
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 200, 600
ANSWER_DELAY_MS: Final = 500
NOT_YET_S: Final = 1
MOST_ANSWERS: Final = 64


@define(eq=False)
class _Link:
    interface: InetInterface
    make: Make
    sent: int = 0
    timer: Timer | None = None
    answers: dict[Address, Timer] = field(factory=dict)
    """Who will be answered."""


class Advertising:
    """What a stack advertises, by interface."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._links: dict[int, _Link] = {}
        stack.icmp6.handlers[Type.ROUTER_SOLICITATION] = self._solicited

    def is_router(self, interface: InetInterface) -> bool:
        """Whether the hosts of a link may take us for a router."""
        return interface.index in self._links

    def set(self, interface: InetInterface, make: Make | None) -> None:
        """See `NetworkStack.advertise`."""
        self.forget(interface)
        if make is not None:
            link = self._links[interface.index] = _Link(interface, make)
            self._stack.join(interface, ALL_ROUTERS)
            self._tell_everybody(link)

    def forget(self, interface: InetInterface) -> None:
        """Be a router there no more, and say so."""
        link = self._links.pop(interface.index, None)
        if link is not None:
            self._cancel(link)
            self._send(link, ALL_NODES, is_last=True)
            self._stack.leave(interface, ALL_ROUTERS)

    def _tell_everybody(self, link: _Link) -> None:
        pause_s = NOT_YET_S
        if self._send(link, ALL_NODES):
            link.sent += 1
            pause_s = FIRST_INTERVAL_S
            if link.sent >= FIRST_ONES:
                pause_s = SHORTEST_INTERVAL_S + self._stack.entropy.below(LONGEST_INTERVAL_S - SHORTEST_INTERVAL_S)
        link.timer = self._stack.timers.later(pause_s * SECOND_NS, self._tell_everybody, link)

    def _solicited(self, packet: Packet, message: IcmpMessage) -> None:
        """RFC 4861, sections 6.1.1 and 6.2.6."""
        mac = ndp.parse_router_solicitation(message, packet.source)
        link = self._links.get(packet.interface.index)
        if link is None or len(link.answers) >= MOST_ANSWERS:
            return
        if mac:
            self._stack.discovery.cache.heard(packet.source, packet.interface, mac, create=True)
        receiver = packet.source if packet.source != ANY6 else ALL_NODES
        if receiver not in link.answers:
            delay_ns = self._stack.entropy.below(ANSWER_DELAY_MS) * MILLISECOND_NS
            link.answers[receiver] = self._stack.timers.later(delay_ns, self._answer, link, receiver)

    def _answer(self, link: _Link, receiver: Address) -> None:
        del link.answers[receiver]
        self._send(link, receiver)

    def _send(self, link: _Link, receiver: Address, *, is_last: bool = False) -> bool:
        """False if it cannot be said now: there is nothing, or no address to say it from yet."""
        advertisement = link.make()
        if advertisement is None:
            return False
        if is_last:
            advertisement = evolve(advertisement, router_lifetime_s=0)
        source = self._stack.ipv6.source_for(ALL_NODES, link.interface)
        if source == ANY6:
            return False
        self._stack.icmp6.send(
            ndp.router_advertisement(advertisement, link.interface.mac), receiver, source,
            interface=link.interface.index, hop_limit=ndp.HOP_LIMIT,
        )
        return True

    @staticmethod
    def _cancel(link: _Link) -> None:
        for timer in (link.timer, *link.answers.values()):
            if timer is not None:
                timer.cancel()
        link.answers.clear()

    def close(self) -> None:
        """Let go of every timer."""
        for link in self._links.values():
            self._cancel(link)
        self._links.clear()
