"""TCP's place in the stack: its `Network` is IP, its timer the stack's, and what IP and ICMP have for it goes to
the layer.

    Ipv4, Ipv6 --Packet, Problem--> TcpOverIp --> TcpLayer --> TcpOverIp --path, transmit--> Ipv4, Ipv6
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from jefeos.errors import Errno, KernelError
from jefeos.net.device import ETHERNET_HEADER_BYTES, Features, NetDevice, Offload

from jefeos_net_inet.addresses import Kind
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.tcp.ecn import CODEPOINTS, CONGESTED
from jefeos_net_inet.tcp.express import Express, Lane
from jefeos_net_inet.tcp.layer import TcpLayer
from jefeos_net_inet.tcp.network import Path
from jefeos_net_inet.tcp.options import STAMPS_BYTES
from jefeos_net_inet.tcp.wire import (
    CHECKSUM_OFFSET,
    HEADER_BYTES,
    PROTOCOL,
    cut,
    partial_checksum,
    quoted_ports_and_sequence,
    seal,
)

if TYPE_CHECKING:
    from jefeos.net.address import Address
    from jefeos.net.stack import Interceptor

    from jefeos_net_inet.packets import Problem
    from jefeos_net_inet.stack import InetStack
    from jefeos_net_inet.tcp.connection import Connection

LARGEST_PACKET: Final = 65_535
IP_HEADER_BYTES: Final = {4: 20, 16: 40}


class TcpOverIp:
    """See the module's text."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._families: dict[int, Any] = {4: stack.ipv4, 16: getattr(stack, "ipv6", None)}
        self._fills_in: WeakKeyDictionary[NetDevice, bool] = WeakKeyDictionary()
        """Whether a device fills in checksums."""
        self._timer: Any = None
        self._offloads: dict[tuple[int, int, int], Offload] = {}
        self.now_ns = stack.timers.now_ns
        self.layer = TcpLayer(self, stack.settings)
        self.express = Express(stack, self.layer)

    # --- Network ----------------------------------------------------------------------------------------------

    def path(self, destination: Address, source: Address, interface: int) -> Path:
        family = self._families[len(destination)]
        if family is None:
            raise KernelError(Errno.ENETUNREACH)
        path = family.path(destination, source, interface)
        if path.kind is not Kind.HOST:
            raise KernelError(Errno.ENETUNREACH)
        whole = path.interface.device.features & Features.TSO
        largest = LARGEST_PACKET if whole and path.mtu == path.interface.mtu else 0
        return Path(path.source, path.mtu, path.interface.index, largest)

    def send(
        self,
        source: Address,
        destination: Address,
        header: bytes,
        payload: bytes | memoryview,
        segment_bytes: int,
        hop_limit: int,
        traffic_class: int,
        interface: int,
    ) -> bool:
        """HOT."""
        try:
            path = self._families[len(source)].path(destination, source, interface)
        except KernelError:
            return True  # no way there: it got lost, as on a wire
        device = path.interface.device
        fills_in = self._does_sums(device)
        if segment_bytes and not device.features & Features.TSO:
            pieces = cut(header, payload, segment_bytes)  # the wire was another one when the connection began
            return all(self._send(path, *piece, 0, hop_limit, traffic_class, fills_in) for piece in pieces)
        return self._send(path, header, payload, segment_bytes, hop_limit, traffic_class, fills_in)

    def _send(
        self,
        path: Any,
        header: bytes,
        payload: bytes | memoryview,
        segment_bytes: int,
        hop_limit: int,
        traffic_class: int,
        fills_in: bool,
    ) -> bool:
        source, destination = path.source, path.destination
        offload = None
        if fills_in or segment_bytes:  # whoever cuts a large segment sums its pieces, and nobody else looks
            header = partial_checksum(source, destination, header, len(payload), segment_bytes)
        else:
            header = seal(source, destination, header, payload)
        if fills_in or segment_bytes:
            key = (len(source), len(header), segment_bytes)
            offload = self._offloads.get(key) or self._offload(*key)
        try:
            return bool(self._families[len(source)].send(
                path, PROTOCOL, (header, payload), hop_limit=hop_limit, traffic_class=traffic_class,
                dont_fragment=True, offload=offload,
            ))  # fmt: skip
        except KernelError:
            return True  # longer than a path that just became narrower; ICMP or a timeout tells

    def _does_sums(self, device: NetDevice) -> bool:
        """HOT."""
        fills_in = self._fills_in.get(device)
        if fills_in is None:
            fills_in = self._fills_in[device] = bool(device.features & Features.TX_CHECKSUM)
        return fills_in

    def lane(self, connection: Connection) -> Lane | None:
        return self.express.lane(connection, self._does_sums, self._offload(4, HEADER_BYTES + STAMPS_BYTES, 0))

    def _offload(self, address_bytes: int, header_bytes: int, segment_bytes: int) -> Offload:
        start = ETHERNET_HEADER_BYTES + IP_HEADER_BYTES[address_bytes]
        offload = Offload(start, CHECKSUM_OFFSET, segment_bytes, start + header_bytes if segment_bytes else 0)
        if len(self._offloads) > 256:
            self._offloads.clear()
        self._offloads[address_bytes, header_bytes, segment_bytes] = offload
        return offload

    def is_local(self, address: Address) -> bool:
        return self._stack.addresses.is_ours(address)

    def interface_index(self, name: str) -> int:
        return self._stack.interface(name).index

    def unreachable(
        self, segment: bytes, source: Address, destination: Address, errno: int, interface: int
    ) -> None:
        stack = self._stack
        stack.interception.unreachable(PROTOCOL, segment, source, destination, errno, stack.interface(interface))

    def random(self, count: int) -> bytes:
        return self._stack.entropy.bytes(count)

    def schedule(self, at_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._stack.timers.later(max(at_ns - self.now_ns(), 0), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.layer.run_timers(self.now_ns())

    # --- from IP ----------------------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """A packet for one of our addresses. HOT.

        One that is longer than frames may be has not left this process (`Port.takes_segments`): no sum was filled in.
        """
        if packet.to_group or packet.kind is not Kind.HOST:
            return
        self.layer.segment_arrived(
            packet.source, packet.destination, packet.payload, packet.received_ns,
            packet.checksum_good or len(packet.whole) > packet.interface.mtu, packet.interface.index,
            congested=packet.traffic_class & CODEPOINTS == CONGESTED,
        )  # fmt: skip

    def intercepted(self, packet: Packet, interceptor: Interceptor) -> None:
        """A packet for a foreign address. HOT in a gateway."""
        self.layer.segment_arrived(
            packet.source, packet.destination, packet.payload, packet.received_ns,
            packet.checksum_good or len(packet.whole) > packet.interface.mtu, packet.interface.index, interceptor,
            packet.traffic_class & CODEPOINTS == CONGESTED,
        )  # fmt: skip

    def problem(self, problem: Problem) -> None:
        """An ICMP error about a segment of ours."""
        quoted = quoted_ports_and_sequence(problem.payload)
        if quoted is not None:
            local_port, remote_port, sequence = quoted
            self.layer.icmp_error(
                problem.source, problem.destination, local_port, remote_port, sequence, problem.errno,
                problem.is_hard, self.now_ns(), problem.info if problem.errno == Errno.EMSGSIZE else 0,
            )  # fmt: skip

    def writable(self) -> None:
        """A device that was full has room."""
        if self.layer.blocked:
            self.layer.writable(self.now_ns())

    def close(self) -> None:
        """Abort everything and let go of the timer."""
        self.layer.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
