"""The network stack: its parts, and how they hang together.

    InetStack          what core asks for; the tables of interfaces and routes; tells watchers of changes
      tables           what one change means for the others
      interfaces       frames, queues, taps           addresses       which are ours
      arp, ndisc       who has which MAC              paths           routes, sources, MTUs
      ipv4, ipv6       packets, fragments             icmp4, icmp6    echoes, errors
      udp, raw, ping, packet sockets                  tcp             a package of its own

Nothing here knows of an event loop: `timers` is the only door (timers.py). All of it is called from one loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, LOOPBACK4, LOOPBACK6, Address, SocketAddress
from jefeos.net.device import NetDevice
from jefeos.net.socket import Data, DatagramSocket, PacketSocket, StreamSocket
from jefeos.net.stack import (
    Change,
    Interceptor,
    RouterAdvertisement,
    SocketInfo,
)

from jefeos_net_inet import icmp4
from jefeos_net_inet.addresses import AddressBook
from jefeos_net_inet.advertising import Advertising
from jefeos_net_inet.arp import Arp
from jefeos_net_inet.counters import new_counters
from jefeos_net_inet.groups import Groups
from jefeos_net_inet.icmp4 import Icmp4
from jefeos_net_inet.icmp6 import Icmp6
from jefeos_net_inet.interception import Interception
from jefeos_net_inet.interfaces import InetInterface
from jefeos_net_inet.ipv4 import Ipv4
from jefeos_net_inet.ipv6 import LABELS, Ipv6
from jefeos_net_inet.listing import is_listed, listed
from jefeos_net_inet.loopback import LoopbackDevice
from jefeos_net_inet.messages import MessageSocket
from jefeos_net_inet.ndisc import Discovery
from jefeos_net_inet.options import Membership
from jefeos_net_inet.packet import InetPacketSocket
from jefeos_net_inet.packets import Packet, Problem
from jefeos_net_inet.ping import Pings, PingSocket
from jefeos_net_inet.raw import RawSocket
from jefeos_net_inet.settings import DEFAULTS, number
from jefeos_net_inet.slaac import Slaac
from jefeos_net_inet.tables import Tables
from jefeos_net_inet.tcp.below import TcpOverIp
from jefeos_net_inet.timers import Timers
from jefeos_net_inet.udp import Udp, UdpSocket
from jefeos_net_inet.udplite import UdpLite, UdpLiteSocket
from jefeos_net_inet.wire import icmp, icmpv6, udp, udplite
from jefeos_net_inet.wire.ethernet import EtherType
from jefeos_net_inet.wire.icmp import IcmpMessage

if TYPE_CHECKING:
    from logging import Logger

    from jefeos.sched.clock import Entropy

FrameHandler = Callable[[InetInterface, bytes, bytes], None]
PROTOCOL_TCP: Final = 6


class InetStack(Tables):
    """See the module's text."""

    def __init__(self, timers: Timers, entropy: Entropy, log: Logger) -> None:
        self.timers = timers
        self.entropy = entropy
        self.log = log
        self.counted = new_counters()
        super().__init__(dict(DEFAULTS))
        self.taps: list[InetPacketSocket] = []
        self.raw_sockets: list[RawSocket] = []
        self._open: dict[MessageSocket | InetPacketSocket, None] = {}
        self._waiting: dict[MessageSocket | InetPacketSocket, None] = {}
        self.addresses = AddressBook(self)
        self.interception = Interception(self)
        self.arp = Arp(self)
        self.ipv4 = Ipv4(self)
        self.icmp4 = Icmp4(self)
        self.icmp6 = Icmp6(self)
        self.discovery = Discovery(self)
        self.ipv6 = Ipv6(self, self.discovery.cache)
        self.slaac = Slaac(self)
        self.advertising = Advertising(self)
        self.groups = Groups(self)
        self.udp = Udp(self)
        self.udplite = UdpLite(self)
        self.pings = Pings(self)
        self.tcp = TcpOverIp(self)
        self._connect_protocols()
        self.ether_types: dict[int, FrameHandler] = {
            EtherType.IPV4: self.ipv4.receive,
            EtherType.ARP: self.arp.receive,
            EtherType.IPV6: self.ipv6.receive,
            EtherType.VLAN: self.vlans.receive,
        }
        self._loopback = LoopbackDevice(timers)
        self.lo = self._add(self._loopback, "lo", is_loopback=True)
        self.lo.add_address(LOOPBACK4, 8)
        self.lo.add_address(LOOPBACK6, 128)
        self.lo.set_up(True)

    def _connect_protocols(self) -> None:
        """Who takes which packets, and errors about them."""
        for ip in (self.ipv4, self.ipv6):
            ip.protocols[udp.PROTOCOL] = self.udp.receive
            ip.protocols[udplite.PROTOCOL] = self.udplite.receive
            ip.protocols[PROTOCOL_TCP] = self.tcp.receive
        for control in (self.icmp4, self.icmp6):
            control.errors[udp.PROTOCOL] = self.udp.problem
            control.errors[udplite.PROTOCOL] = self.udplite.problem
            control.errors[PROTOCOL_TCP] = self.tcp.problem
        self.ipv4.protocols[icmp4.PROTOCOL] = self.icmp4.receive
        self.ipv6.protocols[icmpv6.PROTOCOL] = self.icmp6.receive
        self.icmp4.echo_replied = self.icmp6.handlers[icmpv6.Type.ECHO_REPLY] = self.pings.replied
        self.icmp4.errors[icmp4.PROTOCOL] = self.icmp6.errors[icmpv6.PROTOCOL] = self.pings.problem

    def ip(self, address: Address) -> Ipv4 | Ipv6:
        """The protocol that an address is of."""
        return self.ipv4 if len(address) == 4 else self.ipv6

    # --- devices ---------------------------------------------------------------------------------------------

    def _add(self, device: NetDevice, name: str, *, is_loopback: bool) -> InetInterface:
        interface = InetInterface(self, self._next_index, name, device, is_loopback=is_loopback)
        self._next_index += 1
        self.interface_list.append(interface)
        self._tell(Change.INTERFACE, interface.index, interface)
        return interface

    def settle(self) -> None:
        self._loopback.settle()

    def device_writable(self, interface: InetInterface) -> None:
        """A device that was full has room again."""
        waiting, self._waiting = self._waiting, {}
        for socket in waiting:
            socket.writable()
        self.tcp.writable()

    def wait_for_room(self, socket: MessageSocket | InetPacketSocket) -> None:
        """Tell a socket (`writable`) once a device has room."""
        self._waiting[socket] = None

    # --- sockets ---------------------------------------------------------------------------------------------

    def open_stream(self, family: int) -> StreamSocket:
        if family not in (AF_INET, AF_INET6):
            raise KernelError(Errno.EAFNOSUPPORT)
        return self.tcp.layer.open(family)

    def open_datagram(self, family: int, protocol: int = udp.PROTOCOL) -> DatagramSocket:
        if protocol == udplite.PROTOCOL:
            return self._opened(UdpLiteSocket(self, family, self.udplite))
        if protocol != udp.PROTOCOL:
            raise KernelError(Errno.EPROTONOSUPPORT)
        return self._opened(UdpSocket(self, family, self.udp))

    def open_raw(self, family: int, protocol: int) -> DatagramSocket:
        return self._opened(RawSocket(self, family, protocol))

    def open_ping(self, family: int) -> DatagramSocket:
        return self._opened(PingSocket(self, family))

    def open_packet(self, *, cooked: bool) -> PacketSocket:
        socket = InetPacketSocket(self, cooked=cooked)
        self._open[socket] = None
        return socket

    def _opened(self, socket: MessageSocket) -> MessageSocket:
        self._open[socket] = None
        return socket

    def forget_socket(self, socket: MessageSocket | InetPacketSocket) -> None:
        """It is closed."""
        self._open.pop(socket, None)
        self._waiting.pop(socket, None)

    def sockets(self) -> Iterable[SocketInfo]:
        yield from self.tcp.layer.infos()
        for socket in list(self._open):
            if is_listed(socket):
                yield listed(socket)

    def tap(self, interface: InetInterface, frame: bytes, *, outgoing: bool) -> None:
        """Show a frame to packet sockets. HOT while there are any."""
        kind = interface.kind_of(frame)
        for tap in self.taps:
            tap.show(interface, frame, kind, outgoing=outgoing)

    def raw_receive(self, packet: Packet) -> bool:
        """Show a packet to raw sockets; whether one took it."""
        takers = [socket for socket in list(self.raw_sockets) if socket.receive(packet)]
        return bool(takers)

    def raw_problem(self, protocol: int, problem: Problem) -> None:
        """Show an error to raw sockets."""
        for socket in list(self.raw_sockets):
            socket.heard(protocol, problem)

    def port_unreachable(self, packet: Packet) -> None:
        """Nobody listens there."""
        if len(packet.source) == 4:
            self.icmp4.unreachable(packet, icmp.Unreachable.PORT)
        else:
            self.icmp6.unreachable(packet, icmpv6.Unreachable.PORT)

    # --- groups ----------------------------------------------------------------------------------------------

    def join(self, interface: InetInterface, group: Address) -> None:
        """Take packets for a group."""
        self.groups.join(interface, group)

    def leave(self, interface: InetInterface, group: Address) -> None:
        """Take them no more."""
        self.groups.leave(interface, group)

    def group_interface(self, group: Address, address: Address, index: int) -> int:
        """The interface on which a program means to join a group: by index, address, or route. ENODEV."""
        if index:
            return self.interface(index).index
        if any(address):
            owner = self.addresses.owner(address)
            if owner is None:
                raise KernelError(Errno.ENODEV)
            return owner.index
        try:
            return self.ip(group).path(group).interface.index
        except KernelError:
            raise KernelError(Errno.ENODEV) from None

    def join_group(self, membership: Membership) -> None:
        """For a socket."""
        self.groups.join(self.interface(membership.interface), membership.group)

    def leave_group(self, membership: Membership) -> None:
        """The interface may be gone."""
        for interface in self.interface_list:
            if interface.index == membership.interface:
                self.groups.leave(interface, membership.group)

    # --- the rest --------------------------------------------------------------------------------------------

    @property
    def labels(self) -> Sequence[tuple[Address, int, int]]:
        return LABELS

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        counted = self.counted
        settings = self._settings
        counted["Ip"]["Forwarding"] = 1 if number(settings, "net.ipv4.ip_forward") else 2
        counted["Ip"]["DefaultTTL"] = number(settings, "net.ipv4.ip_default_ttl")
        for group, ip in (("Ip", self.ipv4), ("Ip6", self.ipv6)):
            found = ip.reassembler.counters
            counted[group] |= {
                "ReasmReqds": found.required, "ReasmOKs": found.completed, "ReasmFails": found.failed,
                "ReasmTimeout": found.timed_out,
            }
        return {**counted, **self.tcp.layer.statistics()}

    def intercept(self, interface: int, interceptor: Interceptor | None) -> None:
        self.interception.set(self.interface(interface), interceptor)
        self.forget_paths()  # who takes foreign packets is another matter now

    def advertise(self, interface: int, make: Callable[[], RouterAdvertisement | None] | None) -> None:
        self.advertising.set(self.interface(interface), make)

    def send_as(self, source: SocketAddress, destination: SocketAddress, data: Data) -> None:
        ip = self.ip(destination.address)
        path = ip.path(destination.address, source.address)
        header = udp.emit(source.address, destination.address, source.port, destination.port, data)
        ip.send(path, udp.PROTOCOL, (header, bytes(data)))

    def send_error_as(self, source: SocketAddress, destination: SocketAddress, data: Data, errno: int) -> None:
        header = udp.emit(source.address, destination.address, source.port, destination.port, data)
        interface = self.ip(source.address).path(source.address).interface
        self.interception.unreachable(
            udp.PROTOCOL, header + bytes(data), source.address, destination.address, errno, interface
        )

    def send_echo_reply_as(
        self, source: Address, destination: Address, identifier: int, sequence: int, data: Data
    ) -> None:
        rest = identifier << 16 | sequence
        if len(source) == 4:
            message = IcmpMessage(icmp.Type.ECHO_REPLY, 0, rest, bytes(data))
            self.icmp4.send(message, destination, source, counter="OutEchoReps")
        else:
            self.icmp6.send(IcmpMessage(icmpv6.Type.ECHO_REPLY, 0, rest, bytes(data)), destination, source)

    def close(self) -> None:
        for socket in list(self._open):
            socket.close()
        for part in (
            self.tcp, self.groups, self.advertising, self.slaac, self.discovery, self.ipv4, self.ipv6, self.arp,
            self.addresses,
        ):
            part.close()
        for interface in self.interface_list:
            interface.detach()
        self._observers.clear()
