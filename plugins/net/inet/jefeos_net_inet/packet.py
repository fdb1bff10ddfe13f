"""Packet sockets (packet(7)): frames as they cross an interface, in both directions.

A raw one sees the link header, a cooked one (SOCK_DGRAM) what is behind it. Frames of 802.1Q are shown with their tag.
The queue is bounded by SO_RCVBUF. Options: so_rcvbuf, so_sndbuf, so_attach_filter, so_priority, so_timestamp(ns);
packet_statistics (read: received and dropped since it was last read); packet_add_membership and packet_drop_membership
with (interface, type) where 1 is promiscuous and 0, 2, a multicast address or all of them, need nothing more here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.socket import Data, Frame, PacketFilter, PacketSocket, PacketView, Readiness

from jefeos_net_inet.addresses import Kind
from jefeos_net_inet.messages import OVERHEAD_BYTES, nothing
from jefeos_net_inet.options import LEAST_RECEIVE_BYTES, LEAST_SEND_BYTES, MOST_BUFFER_BYTES
from jefeos_net_inet.settings import number
from jefeos_net_inet.wire import ethernet

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

AF_PACKET: Final = 17
EVERY_TYPE: Final = 0x0003
OUTGOING: Final = 4
PROMISCUOUS: Final = 1
_KEPT: Final = ("so_priority", "so_timestamp", "so_timestampns", "so_broadcast", "so_reuseaddr", "so_mark")


class InetPacketSocket(PacketSocket):
    """See the module's text."""

    kind = "packet"

    def __init__(self, stack: InetStack, *, cooked: bool) -> None:
        self._stack = stack
        self.family = AF_PACKET
        self.protocol = 0
        self.cooked = cooked
        self.interface = 0
        self.local = SocketAddress(b"", 0)
        self.remote = None
        self.pending_error = 0
        self.changed: Callable[[], None] = nothing
        self.owner: Any = None
        self._limit = number(stack.settings, "net.core.rmem_default")
        self._send_limit = number(stack.settings, "net.core.wmem_default")
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._received = self.dropped = 0
        self._blocked = False
        self._values = dict.fromkeys(_KEPT, 0)
        self._promiscuous: list[int] = []
        self._filter: PacketFilter | None = None
        self.is_closed = False

    def bind_to(self, ether_type: int, interface: int) -> None:
        if interface and not self._stack.interface(interface).is_up:
            raise KernelError(Errno.ENETDOWN)
        self.protocol, self.interface = ether_type, interface
        self._stack.taps = [tap for tap in self._stack.taps if tap is not self]
        if ether_type:
            self._stack.taps.append(self)

    def show(self, interface: InetInterface, frame: bytes, kind: Kind, *, outgoing: bool) -> None:
        """A frame passes by. HOT."""
        ether_type = int.from_bytes(frame[12:14], "big")
        if self.protocol != EVERY_TYPE and (outgoing or self.protocol != ether_type):
            return
        if self.interface not in (0, interface.index):
            return
        kind_number = OUTGOING if outgoing else int(kind)
        start = ethernet.HEADER_BYTES if self.cooked else 0
        whole_bytes = len(frame) - start
        data = frame[start:]
        if self._filter is not None:
            kept_bytes = self._filter(PacketView(
                frame, start, ethernet.HEADER_BYTES, 0, ether_type, kind_number, interface.index,
                interface.hardware_type,
            ))
            if not kept_bytes:
                return
            data = data[:kept_bytes]
        cost = len(data) + OVERHEAD_BYTES
        if self._queued_bytes + cost > self._limit:
            self.dropped += 1
            return
        self._received += 1
        self._queued_bytes += cost
        now_ns = self._stack.timers.now_ns()
        self._queue.append(Frame(data, interface.index, ether_type, frame[6:12], kind_number, now_ns, whole_bytes))
        self._stack.timers.soon(self._tell) if outgoing else self._tell()

    def _tell(self) -> None:
        if not self.is_closed:
            self.changed()

    def receive_frame(self, *, peek: bool = False) -> Frame | None:
        if not self._queue:
            if self.pending_error:
                raise KernelError(Errno(self.take_error()))
            return None
        if peek:
            return self._queue[0]
        frame = self._queue.popleft()
        self._queued_bytes -= len(frame.data) + OVERHEAD_BYTES
        return frame

    def send_frame(self, data: Data, interface: int, ether_type: int = 0, destination: bytes = b"") -> int:
        index = interface or self.interface
        if not index:
            raise KernelError(Errno.ENXIO)
        try:
            out = self._stack.interface(index)
        except KernelError:
            raise KernelError(Errno.ENXIO) from None
        if not out.is_up:
            raise KernelError(Errno.ENETDOWN)
        frame = bytes(data)
        if self.cooked:
            mac = destination[:6].ljust(6, b"\0")
            frame = ethernet.emit(mac, out.mac, ether_type or self.protocol) + frame
        elif len(frame) < ethernet.HEADER_BYTES:
            raise KernelError(Errno.EINVAL)
        if len(frame) > out.mtu + ethernet.HEADER_BYTES + 4:
            raise KernelError(Errno.EMSGSIZE)
        if not out.emit_frame(frame):
            self._blocked = True
            self._stack.wait_for_room(self)
            return 0
        return len(data)

    def writable(self) -> None:
        """A device has room again."""
        if self._blocked:
            self._blocked = False
            self.changed()

    @property
    def ready(self) -> Readiness:
        ready = Readiness(0) if self._blocked else Readiness.WRITABLE
        if self._queue or self.pending_error:
            ready |= Readiness.READABLE
        return ready | Readiness.ERROR if self.pending_error else ready

    @property
    def received_bytes(self) -> int:
        """In the receive queue."""
        return sum(len(frame.data) for frame in self._queue)

    def bind(self, address: SocketAddress) -> None:
        """By `bind_to` alone."""
        raise KernelError(Errno.EINVAL)

    def connect(self, address: SocketAddress) -> bool:
        raise KernelError(Errno.EOPNOTSUPP)

    def disconnect(self) -> None:
        raise KernelError(Errno.EOPNOTSUPP)

    def shut_down(self, reading: bool, writing: bool) -> None:
        raise KernelError(Errno.EOPNOTSUPP)

    def interface_down(self, index: int) -> None:
        """The interface that it is bound to went down."""
        if self.interface == index and self.protocol:
            self.pending_error = Errno.ENETDOWN
            self._tell()

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._stack.taps = [tap for tap in self._stack.taps if tap is not self]
        for index in self._promiscuous:
            self._stack.count_promiscuous(index, -1)
        self._queue.clear()
        self.changed = nothing
        self._stack.forget_socket(self)

    def set_option(self, name: str, value: Any) -> None:
        if name == "so_rcvbuf":
            self._limit = min(max(value, LEAST_RECEIVE_BYTES), MOST_BUFFER_BYTES)
        elif name == "so_sndbuf":
            self._send_limit = min(max(value, LEAST_SEND_BYTES), MOST_BUFFER_BYTES)
        elif name == "so_attach_filter":
            self._filter = value
        elif name in self._values:
            self._values[name] = int(value)
        elif name in ("packet_add_membership", "packet_drop_membership"):
            index, kind = value
            index = self._stack.interface(index).index
            if kind != PROMISCUOUS:
                return
            if name == "packet_add_membership":
                self._promiscuous.append(index)
                self._stack.count_promiscuous(index, 1)
            elif index in self._promiscuous:
                self._promiscuous.remove(index)
                self._stack.count_promiscuous(index, -1)
            else:
                raise KernelError(Errno.EADDRNOTAVAIL)
        else:
            raise KernelError(Errno.ENOPROTOOPT)

    def get_option(self, name: str) -> Any:
        if name == "so_rcvbuf":
            return self._limit
        if name == "so_sndbuf":
            return self._send_limit
        if name == "so_error":
            return self.take_error()
        if name == "so_attach_filter":
            return self._filter
        if name == "packet_statistics":
            counted, self._received, self.dropped = (self._received + self.dropped, self.dropped), 0, 0
            return counted
        if name in self._values:
            return self._values[name]
        raise KernelError(Errno.ENOPROTOOPT)
