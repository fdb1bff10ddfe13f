"""Routers and addresses from their advertisements (RFC 4861, section 6.3; RFC 4862, section 5.5).

    up --solicit, 3 times--> advertisement --> default route for the router's lifetime
                                           --> prefixes: routes on the link, addresses with lifetimes
                                           --> name servers (nameservers.py)
                                           --> hop limit, MTU, times of the neighbour cache are taken as they are

Only a router that we are none of listens (``forwarding`` off). What one link can make us keep is bounded: routers,
prefixes, and addresses by ``max_addresses``. Privacy addresses (RFC 8981) are not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define
from jefeos.errors import CorruptError, KernelError
from jefeos.net.address import ANY6, Address, interface_identifier
from jefeos.net.stack import InterfaceAddress, Route

from jefeos_net_inet.addresses import is_link_local, is_multicast, network_of
from jefeos_net_inet.nameservers import NameServers
from jefeos_net_inet.neighbours import MILLISECOND_NS, SECOND_NS
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.settings import number
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import ipv6, ndp
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type
from jefeos_net_inet.wire.ndp import Prefix, PrefixFlag

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

ALL_ROUTERS: Final = bytes.fromhex("ff02") + bytes(13) + b"\2"
PROTOCOL_RA: Final = 9
METRIC: Final = 1024
MOST_ROUTERS: Final = 8
MOST_PREFIXES: Final = 32
TWO_HOURS_NS: Final = 7200 * SECOND_NS
FIRST_DELAY_MS: Final = 1000
_CONF: Final = "net.ipv6.conf.all."


@define(eq=False)
class Search:
    """Solicitations of an interface that go on."""

    interface: InetInterface
    left: int
    timer: Timer | None = None


class Slaac:
    """Autoconfiguration of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._searches: dict[int, Search] = {}
        self._expiries: dict[Route, int] = {}
        """Routes from advertisements, and until when they hold."""
        self._timer: Timer | None = None
        self.name_servers = NameServers(stack)
        stack.icmp6.handlers[Type.ROUTER_ADVERTISEMENT] = self._advertised

    def _setting(self, name: str) -> int:
        return number(self._stack.settings, _CONF + name)

    # --- asking ----------------------------------------------------------------------------------------------

    def start(self, interface: InetInterface) -> None:
        """Look for routers: the interface has its link-local address."""
        if interface.is_loopback or not self._setting("accept_ra") or self._setting("forwarding"):
            return
        self.stop(interface)
        search = self._searches[interface.index] = Search(interface, self._setting("router_solicitations"))
        delay_ns = self._stack.entropy.below(FIRST_DELAY_MS) * MILLISECOND_NS
        search.timer = self._stack.timers.later(delay_ns, self._ask, search)

    def _ask(self, search: Search) -> None:
        if not search.left:
            self._searches.pop(search.interface.index, None)
            return
        search.left -= 1
        wait_ns = self._setting("router_solicitation_interval") * SECOND_NS
        search.timer = self._stack.timers.later(wait_ns, self._ask, search)
        interface = search.interface
        source = self._stack.ipv6.source_for(ALL_ROUTERS, interface)
        self._stack.icmp6.send(
            ndp.router_solicitation(interface.mac if source != ANY6 else b""), ALL_ROUTERS, source,
            interface=interface.index, hop_limit=ndp.HOP_LIMIT,
        )

    def stop(self, interface: InetInterface) -> None:
        """No more questions."""
        search = self._searches.pop(interface.index, None)
        if search is not None and search.timer is not None:
            search.timer.cancel()

    def forget(self, interface: InetInterface) -> None:
        """The interface went down, and its routes with it."""
        self.stop(interface)
        self.name_servers.forget(interface)
        self._expiries = {
            route: end for route, end in self._expiries.items() if route.interface != interface.index
        }

    # --- hearing ---------------------------------------------------------------------------------------------

    def _advertised(self, packet: Packet, message: IcmpMessage) -> None:
        if not is_link_local(packet.source):
            raise CorruptError("a router advertisement from afar")
        advertised = ndp.parse_router(message)
        interface = packet.interface
        if not self._setting("accept_ra") or self._setting("forwarding") or interface.is_loopback:
            return
        self.stop(interface)
        if advertised.mac:
            self._stack.discovery.cache.heard(packet.source, interface, advertised.mac, create=True)
        default = Route(ANY6, 0, interface.index, packet.source, METRIC, protocol=PROTOCOL_RA)
        self._keep_route(default, advertised.lifetime_s, MOST_ROUTERS)
        if advertised.hop_limit:
            self._stack.settings[_CONF + "hop_limit"] = advertised.hop_limit
        if ipv6.SMALLEST_MTU <= advertised.mtu < interface.mtu:
            interface.set_mtu(advertised.mtu)
        for prefix in advertised.prefixes:
            if is_link_local(prefix.prefix) or is_multicast(prefix.prefix):
                continue
            if prefix.flags & PrefixFlag.ON_LINK:
                network = network_of(prefix.prefix, prefix.length)
                on_link = Route(network, prefix.length, interface.index, metric=256, protocol=PROTOCOL_RA)
                self._keep_route(on_link, prefix.valid_s, MOST_PREFIXES)
            if prefix.flags & PrefixFlag.AUTONOMOUS and self._setting("autoconf"):
                self._configure(interface, prefix)
        for server in advertised.name_servers:
            self.name_servers.heard(interface, server)

    def _keep_route(self, route: Route, lifetime_s: int, most: int) -> None:
        known = route in self._expiries
        if not lifetime_s:
            if known:
                self._drop(route)
        else:
            same = [other for other in self._expiries if other.prefix_length == 0] if route.prefix_length == 0 else [
                other for other in self._expiries if other.prefix_length
            ]
            if not known:
                if len(same) >= most:
                    return
                try:
                    self._stack.routes6.add(route)
                except KernelError:  # set by hand
                    return
            forever = lifetime_s == ndp.INFINITE_S
            self._expiries[route] = 0 if forever else self._stack.timers.now_ns() + lifetime_s * SECOND_NS
        self._schedule()

    def _drop(self, route: Route) -> None:
        self._expiries.pop(route, None)
        try:
            self._stack.routes6.remove(route)
        except KernelError:  # somebody was faster
            return

    def is_no_router(self, address: Address, interface: InetInterface) -> None:
        """A router says that it is none any more (RFC 4861, section 7.2.5)."""
        for route in [route for route in self._expiries if route.gateway == address]:
            if route.interface == interface.index:
                self._drop(route)

    def _configure(self, interface: InetInterface, prefix: Prefix) -> None:
        """An address of our own in an advertised prefix (RFC 4862, section 5.5.3)."""
        if prefix.preferred_s > prefix.valid_s or prefix.length != 64:
            return
        address = prefix.prefix[:8] + interface_identifier(interface.mac)
        now_ns = self._stack.timers.now_ns()
        valid = None if prefix.valid_s == ndp.INFINITE_S else now_ns + prefix.valid_s * SECOND_NS
        preferred = None if prefix.preferred_s == ndp.INFINITE_S else now_ns + prefix.preferred_s * SECOND_NS
        known = next((entry for entry in interface.addresses if entry.address == address), None)
        if known is not None:
            if known.valid_until_ns is None:
                return  # set by hand
            left_ns = known.valid_until_ns - now_ns
            if valid is not None and valid - now_ns <= TWO_HOURS_NS and valid < known.valid_until_ns:
                # 5.5.3 e: nobody may end an address quickly by a forged advertisement
                valid = known.valid_until_ns if left_ns <= TWO_HOURS_NS else now_ns + TWO_HOURS_NS
            self._stack.addresses.replace(
                interface, known, valid_until_ns=valid, preferred_until_ns=preferred
            )
            return
        count = sum(len(entry.address) == 16 for entry in interface.addresses)
        if not prefix.valid_s or count >= self._setting("max_addresses"):
            return
        self._stack.add_address(interface, InterfaceAddress(
            address, 64, tentative=self._stack.discovery.is_needed(interface), valid_until_ns=valid,
            preferred_until_ns=preferred,
        ))

    # --- lifetimes -------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [end for end in self._expiries.values() if end]
        if ends:
            self._timer = self._stack.timers.later(max(min(ends) - self._stack.timers.now_ns(), 0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_ns = self._stack.timers.now_ns()
        for route in [route for route, end in self._expiries.items() if end and end <= now_ns]:
            self._drop(route)
        self._schedule()

    def close(self) -> None:
        """Let go of every timer."""
        self.name_servers.close()
        for search in self._searches.values():
            if search.timer is not None:
                search.timer.cancel()
        self._searches.clear()
        self._expiries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
