"""The network stack: its parts, and how they hang together.

    InetStack          what core asks for; the tables of interfaces and routes; tells watchers of changes
      interfaces       frames, queues, taps           addresses       which are ours
      arp, ndisc       who has which MAC              paths           routes, sources, MTUs
      ipv4, ipv6       packets, fragments             icmp4, icmp6    echoes, errors
      udp, raw, ping, packet sockets                  tcp             a package of its own

Nothing here knows of an event loop: `timers` is the only door (timers.py). All of it is called from one loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address, SocketAddress
from jefeos.net.device import NetDevice
from jefeos.net.socket import Data, DatagramSocket, PacketSocket, StreamSocket
from jefeos.net.stack import (
    Change,
    Event,
    Interceptor,
    Interface,
    InterfaceAddress,
    Neighbour,
    NetworkStack,
    Route,
    SocketInfo,
)

from jefeos_net_inet import icmp4
from jefeos_net_inet.addresses import SCOPE_LINK, AddressBook, network_of
from jefeos_net_inet.arp import Arp
from jefeos_net_inet.counters import new_counters
from jefeos_net_inet.icmp4 import Icmp4
from jefeos_net_inet.interception import Interception
from jefeos_net_inet.interfaces import InetInterface
from jefeos_net_inet.ipv4 import Ipv4
from jefeos_net_inet.loopback import LoopbackDevice
from jefeos_net_inet.packets import Packet, Problem
from jefeos_net_inet.routes import RoutingTable
from jefeos_net_inet.settings import DEFAULTS, Settings
from jefeos_net_inet.tcp import wire as tcp
from jefeos_net_inet.tcp.below import TcpOverIp
from jefeos_net_inet.timers import Timers
from jefeos_net_inet.wire.ethernet import EtherType

if TYPE_CHECKING:
    from logging import Logger

    from jefeos.sched.clock import Entropy

FrameHandler = Callable[[InetInterface, bytes, bytes], None]
PROTOCOL_KERNEL: Final = 2


class InetStack(NetworkStack):
    """See the module's text."""

    def __init__(self, timers: Timers, entropy: Entropy, log: Logger) -> None:
        self.timers = timers
        self.entropy = entropy
        self.log = log
        self.counted = new_counters()
        self._settings: Settings = dict(DEFAULTS)
        self._observers: list[Callable[[Event], None]] = []
        self._next_index = 1
        self.interface_list: list[InetInterface] = []
        self.taps: list[object] = []
        self.raw_sockets: list[object] = []
        self.routes4 = RoutingTable(4, self._route_changed)
        self.routes6 = RoutingTable(16, self._route_changed)
        self.addresses = AddressBook(self)
        self.interception = Interception(self)
        self.arp = Arp(self)
        self.ipv4 = Ipv4(self)
        self.icmp4 = Icmp4(self)
        self.ipv4.protocols[icmp4.PROTOCOL] = self.icmp4.receive
        self.tcp = TcpOverIp(self)
        self.ipv4.protocols[tcp.PROTOCOL] = self.tcp.receive
        self.icmp4.errors[tcp.PROTOCOL] = self.tcp.problem
        self.ether_types: dict[int, FrameHandler] = {
            EtherType.IPV4: self.ipv4.receive,
            EtherType.ARP: self.arp.receive,
        }
        self.lo = self._add(LoopbackDevice(timers), "lo", is_loopback=True)
        self.lo.add_address(b"\x7f\0\0\1", 8)
        self.lo.set_up(True)

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

    def _add(self, device: NetDevice, name: str, *, is_loopback: bool) -> InetInterface:
        interface = InetInterface(self, self._next_index, name, device, is_loopback=is_loopback)
        self._next_index += 1
        self.interface_list.append(interface)
        self._tell(Change.INTERFACE, interface.index, interface)
        return interface

    def remove_device(self, device: NetDevice) -> None:
        for interface in self.interface_list:
            if interface.device is device:
                break
        else:
            return
        interface.set_up(False)
        for entry in list(interface.addresses):
            self.remove_address(interface, entry.address)
        interface.detach()
        self.interface_list.remove(interface)
        self.interception.set(interface.index, None)
        self.forget_paths()
        self._tell(Change.INTERFACE, interface.index, interface, gone=True)

    def interface_switched(self, interface: InetInterface) -> None:
        """It went up or down."""
        if interface.is_up:
            for entry in interface.addresses:
                self._add_network(interface, entry)
                self._announce(interface, entry)
        else:
            for table in (self.routes4, self.routes6):
                table.remove_if(lambda route: route.interface == interface.index)
            self.arp.forget(interface)
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
        self.interface_changed(interface)

    def device_writable(self, interface: InetInterface) -> None:
        """A device that was full has room again."""
        self.tcp.writable()

    # --- addresses -------------------------------------------------------------------------------------------

    def add_address(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        """See `Interface.add_address`."""
        self.addresses.add(interface, entry)
        if interface.is_up:
            self._add_network(interface, entry)
            self._announce(interface, entry)

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
        path = self.ipv4.path(destination, source, interface)
        route = None if path.is_local else self._table(destination).look_up(destination, interface)
        if route is None:
            route = Route(destination, len(destination) * 8, path.interface.index, scope=SCOPE_LINK)
        return evolve(route, source=path.source)

    def _route_changed(self, route: Route, gone: bool) -> None:
        self.forget_paths()
        self._tell(Change.ROUTE, route.interface, route, gone=gone)

    def forget_paths(self) -> None:
        """Ways are looked up anew."""
        self.ipv4.forget()

    # --- neighbours ------------------------------------------------------------------------------------------

    def neighbours(self) -> Sequence[Neighbour]:
        return (*self.arp.cache,)

    def add_neighbour(self, neighbour: Neighbour) -> None:
        if len(neighbour.mac) != 6:
            raise KernelError(Errno.EINVAL)
        self.arp.cache.set(
            neighbour.address, self.interface(neighbour.interface), neighbour.mac, neighbour.state
        )

    def remove_neighbour(self, address: Address, interface: int) -> None:
        if not self.arp.cache.remove(address, interface):
            raise KernelError(Errno.ENOENT)

    def neighbour_changed(self, neighbour: Neighbour, *, gone: bool) -> None:
        """A cache has news."""
        if gone:
            self.forget_paths()
        self._tell(Change.NEIGHBOUR, neighbour.interface, neighbour, gone=gone)

    # --- sockets ---------------------------------------------------------------------------------------------

    def open_stream(self, family: int) -> StreamSocket:
        return self.tcp.layer.open(family)

    def open_datagram(self, family: int) -> DatagramSocket:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def open_raw(self, family: int, protocol: int) -> DatagramSocket:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def open_ping(self, family: int) -> DatagramSocket:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def open_packet(self, *, cooked: bool) -> PacketSocket:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def sockets(self) -> Iterable[SocketInfo]:
        yield from self.tcp.layer.infos()

    def tap(self, interface: InetInterface, frame: bytes, *, outgoing: bool) -> None:
        """Show a frame to packet sockets. HOT while there are any."""

    def raw_receive(self, packet: Packet) -> bool:
        """Show a packet to raw sockets; whether one took it."""
        return False

    def raw_problem(self, protocol: int, problem: Problem) -> None:
        """Show an error to raw sockets."""

    # --- the rest --------------------------------------------------------------------------------------------

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        return {**self.counted, **self.tcp.layer.statistics()}

    @property
    def settings(self) -> Settings:
        return self._settings

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

    def intercept(self, interface: int, interceptor: Interceptor | None) -> None:
        self.interception.set(self.interface(interface).index, interceptor)

    def send_as(self, source: SocketAddress, destination: SocketAddress, data: Data) -> None:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def send_echo_reply_as(
        self, source: Address, destination: Address, identifier: int, sequence: int, data: Data
    ) -> None:
        raise KernelError(Errno.EPROTONOSUPPORT)

    def close(self) -> None:
        self.tcp.close()
        self.ipv4.close()
        self.arp.close()
        self.addresses.close()
        for interface in self.interface_list:
            interface.detach()
        self._observers.clear()
