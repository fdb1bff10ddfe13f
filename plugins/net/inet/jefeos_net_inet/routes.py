"""The routing table of one family: longest prefix first, then lowest metric, then first added (RFC 1812, 5.2.4.3).

Networks are kept by prefix length in dicts, so a look-up costs one dict access for each length in use. The layers
above keep what was found (`paths`), and forget it when `changed` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address
from jefeos.net.stack import Route


class RoutingTable:
    """Routes to IPv4 or to IPv6 destinations."""

    def __init__(self, address_bytes: int, changed: Callable[[Route, bool], None]) -> None:
        self.address_bits = address_bytes * 8
        self._changed = changed
        self._lengths: list[int] = []
        self._networks: dict[int, dict[int, list[Route]]] = {}

    def __iter__(self) -> Iterator[Route]:
        for length in self._lengths:
            for _network, routes in sorted(self._networks[length].items()):
                yield from routes

    def add(self, route: Route) -> None:
        """Raises KernelError: EEXIST for the same destination and metric, EINVAL for host bits that are not zero."""
        network = self._network(route.destination, route.prefix_length)
        if network != int.from_bytes(route.destination, "big"):
            raise KernelError(Errno.EINVAL, "the destination has bits set behind its prefix")
        routes = self._networks.setdefault(route.prefix_length, {}).setdefault(network, [])
        if any(other.metric == route.metric and self._clashes(other, route) for other in routes):
            raise KernelError(Errno.EEXIST)
        routes.append(route)
        routes.sort(key=lambda one: one.metric)  # stable
        self._lengths = sorted(self._networks, reverse=True)
        self._changed(route, False)

    def _clashes(self, one: Route, other: Route) -> bool:
        """IPv6 has several routes with one metric, by interface and gateway; IPv4 one."""
        return self.address_bits == 32 or (one.interface, one.gateway) == (other.interface, other.gateway)

    def remove(self, wanted: Route) -> None:
        """The first that has this destination and prefix and whatever else is given. Raises KernelError(ESRCH)."""
        network = self._network(wanted.destination, wanted.prefix_length)
        for route in self._networks.get(wanted.prefix_length, {}).get(network, ()):
            if (
                wanted.interface in (0, route.interface)
                and wanted.gateway in (b"", route.gateway)
                and wanted.metric in (0, route.metric)
            ):
                self._drop(route)
                return
        raise KernelError(Errno.ESRCH)

    def remove_if(self, unwanted: Callable[[Route], bool]) -> None:
        """All that ``unwanted`` says yes to."""
        for route in [route for route in self if unwanted(route)]:
            self._drop(route)

    def _drop(self, route: Route) -> None:
        networks = self._networks[route.prefix_length]
        network = int.from_bytes(route.destination, "big")
        networks[network].remove(route)
        if not networks[network]:
            del networks[network]
            if not networks:
                del self._networks[route.prefix_length]
                self._lengths.remove(route.prefix_length)
        self._changed(route, True)

    def look_up(self, destination: Address, interface: int = 0) -> Route | None:
        """The best route, or None; with ``interface`` the best through it."""
        number = int.from_bytes(destination, "big")
        bits = self.address_bits
        for length in self._lengths:
            shift = bits - length
            for route in self._networks[length].get(number >> shift << shift, ()):
                if interface in (0, route.interface):
                    return route
        return None

    def _network(self, destination: Address, prefix_length: int) -> int:
        if len(destination) * 8 != self.address_bits or not 0 <= prefix_length <= self.address_bits:
            raise KernelError(Errno.EINVAL)
        shift = self.address_bits - prefix_length
        return int.from_bytes(destination, "big") >> shift << shift
