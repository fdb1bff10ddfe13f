"""Where packets go that have come, the same for both families: to their protocol, or on to others.

    for us      raw sockets, and the handler of the protocol; nobody: an error
    for others  what a router does (RFC 1812, section 5.2; RFC 8200, section 3):
                may it? --> hop limit --> way --> as it is | cut by software, if it came as one large segment | too long

The families say what their headers, counters and errors are.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jefeos.errors import KernelError

from jefeos_net_inet import segments
from jefeos_net_inet.addresses import Kind
from jefeos_net_inet.packets import Packet, Path
from jefeos_net_inet.paths import Paths

if TYPE_CHECKING:
    from jefeos_net_inet.icmp4 import Icmp4
    from jefeos_net_inet.icmp6 import Icmp6
    from jefeos_net_inet.stack import InetStack


class Forwarding(Paths):
    """The part of `Ipv4` and `Ipv6` that the module's text tells of. A header is the family's, parsed."""

    count: dict[str, int]
    header_bytes: int
    """Of a header without options."""
    no_route: tuple[str, int]
    """Counter, and code of Destination Unreachable."""
    no_neighbour: int
    """Code of Destination Unreachable for a next station that does not answer."""
    forwarded: str
    """Counter."""

    def __init__(self, stack: InetStack) -> None:
        super().__init__(stack)
        self.protocols: dict[int, Callable[[Packet], None]] = {}
        """Handlers of what is for us, by number."""

    @property
    @abstractmethod
    def control(self) -> Icmp4 | Icmp6:
        """Who sends errors."""

    @abstractmethod
    def may_forward(self, packet: Packet) -> bool:
        """Whether we are a router, and this one is for routers."""

    @abstractmethod
    def piece_header(self, header: Any, number: int, size: int) -> bytes:
        """The header of piece ``number`` of a segment that was cut, with ``size`` bytes behind it."""

    @abstractmethod
    def onward(self, packet: Packet, header: Any) -> tuple[bytes | memoryview, ...]:
        """The packet with one hop less."""

    @abstractmethod
    def too_long(self, packet: Packet, header: Any, path: Path) -> None:
        """It does not fit into the next link: an error, or fragments."""

    @abstractmethod
    def refuse(self, packet: Packet) -> None:
        """Nobody speaks its protocol: an error."""

    def deliver(self, packet: Packet) -> None:
        """A whole packet for us. HOT."""
        taken = self._stack.raw_sockets and self._stack.raw_receive(packet)
        handler = self.protocols.get(packet.protocol)
        if handler is not None:
            self.count["InDelivers"] += 1
            handler(packet)
        elif taken:
            self.count["InDelivers"] += 1
        else:
            self.count["InUnknownProtos"] += 1
            self.refuse(packet)

    def forward(self, packet: Packet, header: Any) -> None:
        """Hand a foreign packet on."""
        count = self.count
        if not self.may_forward(packet) or packet.to_group:
            count["InAddrErrors"] += 1
            return
        if header.hop_limit <= 1:
            count["InHdrErrors"] += 1
            self.control.time_exceeded(packet, 0)
            return
        try:
            path = self.path(header.destination)
        except KernelError:
            counter, code = self.no_route
            count[counter] += 1
            self.control.unreachable(packet, code)
            return
        if path.kind is not Kind.HOST:
            count["InAddrErrors"] += 1
            return
        if path.is_local and path.interface is packet.interface:
            return
        if len(packet.whole) > packet.interface.mtu and packet.protocol == segments.PROTOCOL:
            count[self.forwarded] += 1
            cut = segments.pieces(packet.payload, packet.source, packet.destination, path.mtu - self.header_bytes)
            for number, piece in enumerate(cut):
                self.transmit(path, (self.piece_header(header, number, len(piece)), piece), None)
        elif len(packet.whole) > path.mtu:
            self.too_long(packet, header, path)
        else:
            count[self.forwarded] += 1
            self.transmit(path, self.onward(packet, header), None, self._unanswered_for(packet))

    def _unanswered_for(self, packet: Packet) -> Callable[[], None]:
        return lambda: self.control.unreachable(packet, self.no_neighbour)
