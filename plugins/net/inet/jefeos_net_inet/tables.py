"""The tables of a stack: interfaces, addresses, routes, neighbours, and who hears of changes to them.

What one change means for the others is said here: an interface that goes up gets the routes of its addresses, tells the
link of them, joins its groups and looks for routers; one that goes down loses all that.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address, SocketAddress
from jefeos.net.device import NetDevice
from jefeos.net.stack import (
    Change,
    Event,
    Interface,
    InterfaceAddress,
    Neighbour,
    NeighbourState,
    NetworkStack,
    Route,
)

from jefeos_net_inet.addresses import SCOPE_LINK, AddressBook, is_link_local, network_of
from jefeos_net_inet.interfaces import InetInterface
from jefeos_net_inet.ipv4 import Ipv4
from jefeos_net_inet.ipv6 import Ipv6
from jefeos_net_inet.neighbours import NeighbourCache
from jefeos_net_inet.routes import RoutingTable
from jefeos_net_inet.settings import Settings
from jefeos_net_inet.vlan import FIRST, LAST, VlanDevice, Vlans

if TYPE_CHECKING:
    from jefeos_net_inet.advertising import Advertising
    from jefeos_net_inet.arp import Arp
    from jefeos_net_inet.groups import Groups
    from jefeos_net_inet.interception import Interception
    from jefeos_net_inet.ndisc import Discovery
    from jefeos_net_inet.packet import InetPacketSocket
    from jefeos_net_inet.slaac import Slaac

PROTOCOL_KERNEL: Final = 2


class Tables(NetworkStack):
    """The part of `InetStack` that the module's text tells of."""

    addresses: AddressBook
    arp: Arp
    ipv4: Ipv4
    ipv6: Ipv6
    discovery: Discovery
    slaac: Slaac
    groups: Groups
    interception: Interception
    advertising: Advertising
    taps: list[InetPacketSocket]

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._observers: list[Callable[[Event], None]] = []
        self._next_index = 1
        self.interface_list: list[InetInterface] = []
        self.routes4 = RoutingTable(4, self._route_changed)
        self.routes6 = RoutingTable(16, self._route_changed)
        self.vlans = Vlans()

    @abstractmethod
    def ip(self, address: Address) -> Ipv4 | Ipv6:
        """The protocol that an address is of."""

    @abstractmethod
    def _add(self, device: NetDevice, name: str, *, is_loopback: bool) -> InetInterface:
        """A new interface."""

    @property
    def settings(self) -> Settings:
        return self._settings

    # --- watchers --------------------------------------------------------------------------------------------

    def watch(self, observer: Callable[[Event], None]) -> Callable[[], None]:
        self._observers.append(observer)

        def stop() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return stop

    def _tell(self, change: Change, interface: int, subject: object, *, gone: bool = False) -> None:
        if self._observers:
            event = Event(change, interface, subject, gone)
            for observer in list(self._observers):
                observer(event)

    # --- interfaces ------------------------------------------------------------------------------------------

    def interfaces(self) -> Sequence[InetInterface]:
        return tuple(self.interface_list)

    def interface(self, which: int | str) -> InetInterface:
        for interface in self.interface_list:
            if which in (interface.index, interface.name):
                return interface
        raise KernelError(Errno.ENODEV)

    def add_device(self, device: NetDevice, name: str | None = None) -> Interface:
        if name is None:
            taken = {interface.name for interface in self.interface_list}
            name = next(free for number in range(len(taken) + 1) if (free := f"eth{number}") not in taken)
        elif any(interface.name == name for interface in self.interface_list):
            raise KernelError(Errno.EEXIST)
        return self._add(device, name, is_loopback=False)

    def remove_device(self, device: NetDevice) -> None:
        for interface in self.interface_list:
            if interface.device is device:
                break
        else:
            return
        for vlan in [vlan for vlan in self.vlans.devices.values() if vlan.parent is interface]:
            self.remove_device(vlan)
        if isinstance(device, VlanDevice):
            device.parent.set_vlan_filter(device.number, set())
            del self.vlans.devices[device.parent.index, device.number]
        interface.set_up(False)
        for entry in list(interface.addresses):
            self.remove_address(interface, entry.address)
        interface.detach()
        self.interface_list.remove(interface)
        self.interception.set(interface, None)
        self.advertising.forget(interface)
        self.forget_paths()
        self._tell(Change.INTERFACE, interface.index, interface, gone=True)

    def add_vlan(self, parent: int, number: int, name: str | None = None) -> Interface:
        """An interface for the frames of ``parent`` with a tag of IEEE 802.1Q. EINVAL, EEXIST, ENODEV."""
        below = self.interface(parent)
        if not FIRST <= number <= LAST or below.is_loopback or isinstance(below.device, VlanDevice):
            raise KernelError(Errno.EINVAL)
        if (below.index, number) in self.vlans.devices:
            raise KernelError(Errno.EEXIST)
        device = VlanDevice(below, number)
        interface = self.add_device(device, name or f"{below.name}.{number}")
        self.vlans.devices[below.index, number] = device
        return interface

    def interface_switched(self, interface: InetInterface) -> None:
        """It went up or down."""
        if interface.is_up:
            for entry in interface.addresses:
                self._add_network(interface, entry)
                self._announce(interface, entry)
            self.groups.start(interface)
            self.discovery.start(interface)
        else:
            for table in (self.routes4, self.routes6):
                table.remove_if(lambda route: route.interface == interface.index)
            for part in (self.arp, self.discovery, self.slaac, self.groups):
                part.forget(interface)
            for entry in list(interface.addresses):
                if entry.valid_until_ns is not None or is_link_local(entry.address):
                    if len(entry.address) == 16:  # they come back by themselves
                        self.remove_address(interface, entry.address)
            for tap in self.taps:
                tap.interface_down(interface.index)
            for vlan in self.vlans.devices.values():
                if vlan.parent is interface:
                    self.interface(vlan.name).set_up(False)
        self.interface_changed(interface)

    def interface_changed(self, interface: InetInterface) -> None:
        """Something about it is different: tell watchers, and look ways up anew."""
        self.forget_paths()
        self._tell(Change.INTERFACE, interface.index, interface)

    def link_changed(self, interface: InetInterface, up: bool) -> None:
        """The cable was pulled out or plugged in."""
        if up and interface.is_up:
            for entry in interface.addresses:
                self._announce(interface, entry)
            if any(is_link_local(entry.address) for entry in interface.addresses):
                self.slaac.start(interface)
        for vlan in self.vlans.devices.values():
            if vlan.parent is interface:
                vlan.link_up = up
                vlan.link_changed(up)
        self.interface_changed(interface)

    def count_promiscuous(self, index: int, change: int) -> None:
        """One more, or less, who wants every frame of an interface, if there still is one."""
        for interface in self.interface_list:
            if interface.index == index:
                interface.count_promiscuous(change)

    # --- addresses -------------------------------------------------------------------------------------------

    def add_address(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        """See `Interface.add_address`."""
        is_v6 = len(entry.address) == 16
        if is_v6 and interface.is_up and not entry.tentative and self.discovery.is_needed(interface):
            entry = evolve(entry, tentative=True)
        self.addresses.add(interface, entry)
        if is_v6 and not interface.is_loopback:
            self.discovery.listen(interface, entry.address)
            self.discovery.detect(interface, entry)
        if interface.is_up:
            self._add_network(interface, entry)
            self._announce(interface, entry)

    def address_usable(self, interface: InetInterface, address: Address) -> None:
        """Nobody else has a new IPv6 address."""
        self._tell(Change.INTERFACE, interface.index, interface)
        if is_link_local(address):
            self.slaac.start(interface)

    def _announce(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        if len(entry.address) == 4 and not interface.is_loopback and self._settings["net.ipv4.conf.all.arp_notify"]:
            self.arp.announce(interface, entry.address)

    def _add_network(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        """The route to the network of an address."""
        address, length = entry.address, entry.prefix_length
        if interface.is_loopback or length == len(address) * 8:
            return
        is_v4 = len(address) == 4
        route = Route(
            destination=network_of(address, length), prefix_length=length, interface=interface.index,
            source=address if is_v4 else b"", protocol=PROTOCOL_KERNEL, scope=SCOPE_LINK if is_v4 else 0,
            metric=0 if is_v4 else 256,
        )
        try:
            self._table(address).add(route)
        except KernelError:  # another address of that network, or another interface on it
            return

    def remove_address(self, interface: InetInterface, address: Address) -> None:
        """See `Interface.remove_address`."""
        entry = self.addresses.remove(interface, address)
        if len(address) == 16 and not interface.is_loopback:
            self.discovery.stop(interface, address)
        network = network_of(address, entry.prefix_length)

        def is_its(route: Route) -> bool:
            return route.interface == interface.index and (
                route.source == address
                or (route.protocol == PROTOCOL_KERNEL and not route.gateway
                    and (route.destination, route.prefix_length) == (network, entry.prefix_length))
            )

        self._table(address).remove_if(is_its)
        if interface.is_up:
            for other in interface.addresses:  # one that shares the network brings its route back
                self._add_network(interface, other)

    def address_changed(self, interface: InetInterface, entry: InterfaceAddress, gone: bool) -> None:
        """An address came, went, or has other lifetimes."""
        self.forget_paths()
        self._tell(Change.ADDRESS, interface.index, entry, gone=gone)

    # --- routes ----------------------------------------------------------------------------------------------

    def _table(self, address: Address) -> RoutingTable:
        return self.routes4 if len(address) == 4 else self.routes6

    def routes(self) -> Sequence[Route]:
        return (*self.routes4, *self.routes6)

    def add_route(self, route: Route) -> None:
        table = self._table(route.destination)
        if not route.interface and route.gateway:
            way = table.look_up(route.gateway)
            if way is None or way.gateway:
                raise KernelError(Errno.ENETUNREACH)
            route = evolve(route, interface=way.interface)
        interface = self.interface(route.interface)
        if not interface.is_up:
            raise KernelError(Errno.ENETDOWN)
        if route.gateway:
            way = table.look_up(route.gateway, interface.index)
            if len(route.gateway) != len(route.destination):
                raise KernelError(Errno.EINVAL)
            if len(route.gateway) == 4 and (way is None or way.gateway):
                raise KernelError(Errno.ENETUNREACH)
        if route.source and not self.addresses.is_ours(route.source):
            raise KernelError(Errno.EINVAL)
        table.add(route)

    def remove_route(self, route: Route) -> None:
        self._table(route.destination).remove(route)

    def route_to(self, destination: Address, source: Address = b"", interface: int = 0) -> Route:
        path = self.ip(destination).path(destination, source, interface)
        route = None if path.is_local else self._table(destination).look_up(destination, interface)
        if route is None:
            route = Route(destination, len(destination) * 8, path.interface.index, scope=SCOPE_LINK)
        gateway = path.next_hop if path.next_hop != path.destination else b""  # a redirect may know a nearer one
        return evolve(route, source=path.source, gateway=gateway)

    def _route_changed(self, route: Route, gone: bool) -> None:
        self.ip(route.destination).redirects.by_destination.clear()
        self.forget_paths()
        self._tell(Change.ROUTE, route.interface, route, gone=gone)

    def forget_paths(self) -> None:
        """Ways are looked up anew."""
        self.ipv4.forget()
        self.ipv6.forget()

    # --- name servers ----------------------------------------------------------------------------------------

    @property
    def name_servers(self) -> Sequence[SocketAddress]:
        return self.slaac.name_servers.known()

    def name_server_changed(self, interface: int, server: SocketAddress, *, gone: bool) -> None:
        """A router named one for the first time, or it is over."""
        self._tell(Change.NAME_SERVER, interface, server, gone=gone)

    # --- neighbours ------------------------------------------------------------------------------------------

    def neighbours(self) -> Sequence[Neighbour]:
        return (*self.arp.cache, *self.discovery.cache)

    def _cache(self, address: Address) -> NeighbourCache:
        return self.arp.cache if len(address) == 4 else self.discovery.cache

    def add_neighbour(self, neighbour: Neighbour) -> None:
        if len(neighbour.mac) != 6:
            raise KernelError(Errno.EINVAL)
        self._cache(neighbour.address).set(
            neighbour.address, self.interface(neighbour.interface), neighbour.mac, neighbour.state
        )

    def remove_neighbour(self, address: Address, interface: int) -> None:
        if not self._cache(address).remove(address, interface):
            raise KernelError(Errno.ENOENT)

    def neighbour_changed(self, neighbour: Neighbour, *, gone: bool) -> None:
        """A cache has news."""
        unusable = gone or neighbour.state is NeighbourState.FAILED
        if unusable and self.ip(neighbour.address).redirects.forget_gateway(neighbour.address) or gone:
            self.forget_paths()
        self._tell(Change.NEIGHBOUR, neighbour.interface, neighbour, gone=gone)
