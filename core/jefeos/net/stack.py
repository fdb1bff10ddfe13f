"""What a network stack is to the rest of the kernel: interfaces, routes, sockets.

    programs (abi), kernel services (asyncio), dhcp, dns, applets, the gateway behind a `user` wire
                               |
                         NetworkStack                    (plugins/net/inet, by the hook jefeos_network_stack)
                    NetDevice  NetDevice  lo

A kernel has one stack, `kernel.net.stack`, made when somebody first asks for it; a gateway makes one of its own. Rules:

  * Everything is called from the event loop of the stack. Nothing here waits: an operation is done, or says
    "not now" (``None``, 0), and `Socket.changed` is called once something may have become possible. `changed` is never
    called from inside a method of the same socket.
  * Addresses are packed bytes (net/address.py), times nanoseconds of the monotonic clock, lengths bytes.
  * Errors are KernelError with the errno that Linux gives. An error that arrived from the network (a refused
    connection, an ICMP error) waits in `Socket.pending_error` until it is taken by `take_error` or by the next call.
  * A closed or aborted socket is gone from the stack's tables at once, TIME-WAIT apart, which is small and bounded.

Sockets here know nothing of descriptors and blocking; `jefeos.net.files` makes files of them and
`jefeos.net.transports` asyncio transports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from jefeos.net.address import Address, SocketAddress
from jefeos.net.flags import InterfaceFlags
from jefeos.net.socket import Data, DatagramSocket, PacketSocket, StreamSocket

if TYPE_CHECKING:
    from jefeos.net.device import NetDevice, Statistics

# --- interfaces, routes, neighbours ----------------------------------------------------------------------------


@frozen
class InterfaceAddress:
    """An address of an interface."""

    address: Address
    prefix_length: int
    scope: int = 0
    """RT_SCOPE_*: 0 global, 253 link, 254 host."""
    tentative: bool = False
    """Duplicate address detection goes on (RFC 4862)."""
    valid_until_ns: int | None = None
    preferred_until_ns: int | None = None
    """None: for ever."""
    label: str = ""


class Interface(ABC):
    """A network interface of a stack. Read its attributes; change it through its methods."""

    index: int
    """From 1 (lo)."""
    name: str
    mac: bytes
    """Six bytes; zeros for lo."""
    mtu: int
    statistics: Statistics
    device: NetDevice | None
    groups: Mapping[Address, int]
    """Multicast groups that are taken, with how many want each."""

    @property
    @abstractmethod
    def flags(self) -> InterfaceFlags:
        """What is true of it now."""

    @property
    @abstractmethod
    def addresses(self) -> Sequence[InterfaceAddress]:
        """In the order in which they were added."""

    @abstractmethod
    def set_up(self, up: bool) -> None:
        """Bring it up or down. Down drops its routes and neighbours; IPv6 link-local addresses come with up."""

    @abstractmethod
    def set_mtu(self, mtu: int) -> None:
        """EINVAL for what the device cannot carry."""

    @abstractmethod
    def set_promiscuous(self, on: bool) -> None:
        """Take every frame on the wire."""

    @abstractmethod
    def add_address(
        self, address: Address, prefix_length: int, *, valid_ns: int | None = None, preferred_ns: int | None = None
    ) -> None:
        """Add it with the route to its network. EEXIST, EINVAL. Lifetimes from now; None is for ever."""

    @abstractmethod
    def remove_address(self, address: Address) -> None:
        """EADDRNOTAVAIL."""

    @abstractmethod
    def probe(
        self, address: Address, done: Callable[[bytes | None], None], *, patience_ns: int | None = None
    ) -> None:
        """Ask the link whether somebody has an IPv4 address; ``done`` gets the owner's MAC or None.

        ``patience_ns``: how long the three questions may take; None is RFC 5227's, three to six seconds.
        """


@frozen
class Route:
    """A line of the routing table."""

    destination: Address
    """With its host bits zero; of the family of the route."""
    prefix_length: int
    interface: int
    gateway: Address = b""
    metric: int = 0
    source: Address = b""
    """Preferred source address."""
    protocol: int = 3
    """RTPROT_*: 2 kernel, 3 boot, 4 static, 9 router advertisement, 16 dhcp."""
    scope: int = 0
    mtu: int = 0
    """0: the interface's."""


@frozen
class RouterAdvertisement:
    """What a router of a link tells its hosts (RFC 4861, section 4.2)."""

    prefix: Address
    """A network whose addresses the hosts may give themselves."""
    prefix_length: int = 64
    router_lifetime_s: int = 1800
    """How long it is a default router; 0: it is none."""
    valid_s: int = 86_400
    preferred_s: int = 14_400
    """Of the addresses."""
    name_servers: tuple[Address, ...] = ()
    """For as long as the addresses are preferred (RFC 8106)."""


class NeighbourState(IntEnum):
    """Linux's NUD_* (RFC 4861, section 7.3.2, and the same for ARP)."""

    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    PERMANENT = 0x80


@frozen
class Neighbour:
    """A line of the ARP or ND cache."""

    address: Address
    interface: int
    mac: bytes
    """Empty while it is not known."""
    state: NeighbourState


class Change(Enum):
    """What `NetworkStack.watch` tells of."""

    INTERFACE = "interface"
    ADDRESS = "address"
    ROUTE = "route"
    NEIGHBOUR = "neighbour"
    NAME_SERVER = "name server"


@frozen
class Event:
    """A change: what it was about (Interface, InterfaceAddress, Route, Neighbour; SocketAddress of a name server), and
    whether it came or went."""

    change: Change
    interface: int
    subject: Any
    gone: bool = False


@frozen
class SocketInfo:
    """A line of ``ss``, /proc/net/tcp and so on."""

    kind: str
    """``tcp``, ``udp``, ``raw``, ``ping``, ``packet``."""
    family: int
    local: SocketAddress
    remote: SocketAddress | None
    state: str
    send_queue: int
    receive_queue: int
    owner: Any = None
    timer: str = ""
    """What runs: ``on`` (retransmission), ``keepalive``, ``timewait``, ``persist``; empty for none."""
    expires_ns: int = 0
    """From now, for the timer."""
    retransmits: int = 0
    details: Mapping[str, Any] = field(factory=dict)
    """Of every kind: ``rcvbuf``, ``sndbuf``, ``drops``, ``device`` (index it is bound to), ``shutdown`` (1 receiving, 2
    sending), ``tos``, ``tclass``, ``v6only``, ``protocol``; ``congestion`` (a name) and struct tcp_info's for TCP;
    ``interface`` and ``cooked`` of a packet socket. What is missing is 0."""


# --- standing between two networks (the gateway behind a `user` wire) --------------------------------------------


class PendingStream(ABC):
    """A SYN to an address that is not ours: the interceptor decides. One that is never answered times out."""

    local: SocketAddress
    """Where the peer wants to go."""
    remote: SocketAddress
    """Who it is."""

    @abstractmethod
    def accept(self) -> StreamSocket:
        """Complete the handshake in the name of `local`."""

    @abstractmethod
    def refuse(self, errno: int) -> None:
        """ECONNREFUSED: RST. ENETUNREACH, EHOSTUNREACH: the ICMP error. ETIMEDOUT: silence."""


class Interceptor(ABC):
    """Takes what arrives on an interface for addresses that are not the stack's own, instead of forwarding it."""

    proxied: frozenset[Address] = frozenset()
    """Addresses on the link that it stands in for: ARP is answered for them."""

    @abstractmethod
    def stream(self, pending: PendingStream) -> None:
        """A new connection. It may be answered later."""

    @abstractmethod
    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        """A UDP message; answer with `NetworkStack.send_as`."""

    @abstractmethod
    def echo(self, source: Address, destination: Address, identifier: int, sequence: int, data: bytes) -> None:
        """An ICMP echo request; answer with `NetworkStack.send_echo_reply_as`."""


# --- the stack -------------------------------------------------------------------------------------------------


class NetworkStack(ABC):
    """See the module's text."""

    @abstractmethod
    def interfaces(self) -> Sequence[Interface]:
        """All, by index; lo is the first and always there."""

    @abstractmethod
    def interface(self, which: int | str) -> Interface:
        """By index or name. ENODEV."""

    def settle(self) -> None:
        """HOT: deliver now what the system has sent to itself, and what comes of that. System calls do so before they
        return, as Linux does; others need not."""

    @abstractmethod
    def add_device(self, device: NetDevice, name: str | None = None) -> Interface:
        """A new interface, down; ``eth0`` and so on unless a name is given."""

    @abstractmethod
    def remove_device(self, device: NetDevice) -> None:
        """The hardware is gone: so are the interface, its addresses and routes. Unknown ones are ignored."""

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Both families, IPv4 first, longest prefix first."""

    @abstractmethod
    def add_route(self, route: Route) -> None:
        """EEXIST, ENETUNREACH for a gateway that no route leads to, ENODEV."""

    @abstractmethod
    def remove_route(self, route: Route) -> None:
        """The first that has this destination and prefix, and what else is given. ESRCH."""

    @abstractmethod
    def route_to(self, destination: Address, source: Address = b"", interface: int = 0) -> Route:
        """The route that would be taken, with `Route.source` filled in. ENETUNREACH."""

    @abstractmethod
    def neighbours(self) -> Sequence[Neighbour]:
        """The ARP and ND caches."""

    @abstractmethod
    def add_neighbour(self, neighbour: Neighbour) -> None:
        """Set an entry by hand, usually PERMANENT."""

    @abstractmethod
    def remove_neighbour(self, address: Address, interface: int) -> None:
        """ENOENT."""

    @abstractmethod
    def open_stream(self, family: int) -> StreamSocket:
        """A new TCP socket. ENOBUFS at the limit."""

    @abstractmethod
    def open_datagram(self, family: int, protocol: int = 17) -> DatagramSocket:
        """A new UDP socket, or of another protocol like it (136: UDP-Lite). EPROTONOSUPPORT."""

    @abstractmethod
    def open_raw(self, family: int, protocol: int) -> DatagramSocket:
        """A raw IP socket (raw(7)): IPv4 messages arrive with their header, IPv6 without."""

    @abstractmethod
    def open_ping(self, family: int) -> DatagramSocket:
        """An ICMP echo socket (SOCK_DGRAM with IPPROTO_ICMP): the stack fills in the identifier, which is the port."""

    @abstractmethod
    def open_packet(self, *, cooked: bool) -> PacketSocket:
        """A packet socket, not bound to any type."""

    @abstractmethod
    def sockets(self) -> Iterable[SocketInfo]:
        """Every socket, TIME-WAIT included."""

    @abstractmethod
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """MIB counters by group and name as /proc/net/snmp has them: ``{"Tcp": {"InSegs": 7}}``."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, int | str | tuple[int, ...]]:
        """What sysctl calls net.*, by its dotted name (``net.ipv4.ip_forward``); write to change."""

    @property
    @abstractmethod
    def name_servers(self) -> Sequence[SocketAddress]:
        """Those that routers advertise now (RFC 8106), with the interface of one of a link as its scope."""

    @property
    @abstractmethod
    def labels(self) -> Sequence[tuple[Address, int, int]]:
        """The table by which IPv6 sources are chosen (RFC 6724, section 2.1): prefix, its length, and the label of what
        is in it; the longest first."""

    @abstractmethod
    def watch(self, observer: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of changes from now on; call what is returned to hear no more."""

    @abstractmethod
    def intercept(self, interface: int, interceptor: Interceptor | None) -> None:
        """Give what arrives there for foreign addresses to ``interceptor``; None ends it."""

    @abstractmethod
    def advertise(self, interface: int, make: Callable[[], RouterAdvertisement | None] | None) -> None:
        """Be an IPv6 router to the hosts of a link: tell them what ``make`` gives whenever it is time, and when they
        ask. None from it: nothing now. ``make`` None ends it."""

    @abstractmethod
    def send_as(self, source: SocketAddress, destination: SocketAddress, data: Data) -> None:
        """A UDP message in the name of a foreign address (for an interceptor)."""

    @abstractmethod
    def send_error_as(self, source: SocketAddress, destination: SocketAddress, data: Data, errno: int) -> None:
        """Tell ``source`` that its UDP message to a foreign ``destination`` did not get there, as a router would: the
        ICMP error of ECONNREFUSED, EHOSTUNREACH or ENETUNREACH."""

    @abstractmethod
    def send_echo_reply_as(
        self, source: Address, destination: Address, identifier: int, sequence: int, data: Data
    ) -> None:
        """An ICMP echo reply in the name of a foreign address."""

    @abstractmethod
    def close(self) -> None:
        """Abort every connection and let go of every device and timer."""
