"""A network interface: a device, its addresses and groups, frames out and in.

    emit(mac, type, parts) --> taps --> queue, while the device is full --> device
    device --receive(frame)--> taps --> by EtherType: IPv4, ARP, IPv6, VLAN

The queue is short: what it cannot take is refused, and the layers above hear when there is room again
(`InetStack.device_writable`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address, multicast_mac
from jefeos.net.device import Features, NetDevice, Offload
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Interface, InterfaceAddress

from jefeos_net_inet.addresses import Kind, scope_of
from jefeos_net_inet.wire import ethernet

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack

MOST_WAITING: Final = 1000
MOST_WAITING_BYTES: Final = 1 << 20
SMALLEST_MTU: Final = 68
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
_PACK: Final = ethernet.HEADER.pack
_UNPACK: Final = ethernet.HEADER.unpack_from


class InetInterface(Interface):
    """See the module's text. Made by `InetStack.add_device`."""

    device: NetDevice

    def __init__(self, stack: InetStack, index: int, name: str, device: NetDevice, *, is_loopback: bool) -> None:
        self._stack = stack
        self.index = index
        self.name = name
        self.device = device
        self.mac = device.mac
        self.mtu = device.mtu
        self.statistics = device.statistics
        self.is_loopback = is_loopback
        self.hardware_type = ARPHRD_LOOPBACK if is_loopback else ARPHRD_ETHER
        self.is_up = False
        self.verifies = Features.RX_CHECKSUM in device.features
        """Whether the device has checked what it delivers."""
        self.groups: dict[Address, int] = {}
        self._vlan_filters: dict[int, set[bytes]] = {}
        self.dropped = 0
        """Frames that were malformed, of no known type, or found the queue full."""
        self._addresses: list[InterfaceAddress] = []
        self._promiscuous = 0
        self._wanted_promiscuous = False
        self._queue: deque[tuple[bytes, Offload | None]] = deque()
        self._queue_bytes = 0
        self._express = stack.tcp.express.receive
        """Takes what can go the short way."""
        device.name = name
        device.receiver = self.receive
        device.writable = self._writable
        device.link_changed = self._link_changed

    def __repr__(self) -> str:
        return f"<interface {self.index} {self.name}>"

    # --- the interface that core declares ------------------------------------------------------------------------

    @property
    def flags(self) -> InterfaceFlags:
        flags = InterfaceFlags.MULTICAST | InterfaceFlags.BROADCAST
        if self.is_loopback:
            flags = InterfaceFlags.LOOPBACK
        if self.is_up:
            flags |= InterfaceFlags.UP
            if self.device.link_up:
                flags |= InterfaceFlags.RUNNING | InterfaceFlags.LOWER_UP
        if self._wanted_promiscuous:
            flags |= InterfaceFlags.PROMISC
        return flags

    @property
    def addresses(self) -> list[InterfaceAddress]:
        return self._addresses

    def set_up(self, up: bool) -> None:
        if up == self.is_up:
            return
        self.is_up = up
        if not up:
            self._queue.clear()
            self._queue_bytes = 0
        self._stack.interface_switched(self)

    def set_mtu(self, mtu: int) -> None:
        if not SMALLEST_MTU <= mtu <= self.device.mtu:
            raise KernelError(Errno.EINVAL)
        self.mtu = mtu
        self._stack.interface_changed(self)

    def set_promiscuous(self, on: bool) -> None:
        if on != self._wanted_promiscuous:
            self._wanted_promiscuous = on
            self.count_promiscuous(1 if on else -1)
            self._stack.interface_changed(self)

    def count_promiscuous(self, change: int) -> None:
        """One more, or one less, who wants every frame."""
        before, self._promiscuous = self._promiscuous, self._promiscuous + change
        if bool(before) != bool(self._promiscuous):
            self.device.set_promiscuous(bool(self._promiscuous))

    def add_address(
        self, address: Address, prefix_length: int, *, valid_ns: int | None = None, preferred_ns: int | None = None
    ) -> None:
        now_ns = self._stack.timers.now_ns()
        self._stack.add_address(
            self,
            InterfaceAddress(
                address=address,
                prefix_length=prefix_length,
                scope=scope_of(address) if len(address) in (4, 16) else 0,
                valid_until_ns=None if valid_ns is None else now_ns + valid_ns,
                preferred_until_ns=None if preferred_ns is None else now_ns + preferred_ns,
                label=self.name if len(address) == 4 else "",
            ),
        )

    def remove_address(self, address: Address) -> None:
        self._stack.remove_address(self, address)

    def probe(
        self, address: Address, done: Callable[[bytes | None], None], *, patience_ns: int | None = None
    ) -> None:
        self._stack.arp.probe(self, address, done, patience_ns)

    # --- groups ----------------------------------------------------------------------------------------------

    def join(self, group: Address) -> bool:
        """Take packets for a multicast group; True if nobody did before."""
        self.groups[group] = self.groups.get(group, 0) + 1
        if self.groups[group] > 1:
            return False
        self._set_filter()
        return True

    def leave(self, group: Address) -> bool:
        """True if nobody wants the group any more."""
        left = self.groups.get(group, 0) - 1
        if left > 0:
            self.groups[group] = left
            return False
        self.groups.pop(group, None)
        self._set_filter()
        return True

    def set_vlan_filter(self, number: int, macs: set[bytes]) -> None:
        """Groups that a VLAN on this interface takes."""
        self._vlan_filters[number] = macs
        self._set_filter()

    def _set_filter(self) -> None:
        own = {multicast_mac(group) for group in self.groups}
        self.device.set_multicast(own.union(*self._vlan_filters.values()))

    # --- frames ----------------------------------------------------------------------------------------------

    def emit(
        self, mac: bytes, ether_type: int, parts: Sequence[bytes | memoryview], offload: Offload | None = None
    ) -> bool:
        """Send a frame. False: it was not sent, there is no room. HOT."""
        frame = b"".join((_PACK(mac, self.mac, ether_type), *parts))
        return self.emit_frame(frame, offload)

    def emit_frame(self, frame: bytes, offload: Offload | None = None) -> bool:
        """A frame that has its link header."""
        if not self.is_up:
            self.dropped += 1
            return False
        if self._stack.taps:
            self._stack.tap(self, frame, outgoing=True)
        if not self._queue:
            try:
                if self.device.transmit(frame, offload):
                    return True
            except KernelError:  # longer than the device can take
                self.dropped += 1
                return True
        if len(self._queue) >= MOST_WAITING or self._queue_bytes > MOST_WAITING_BYTES:
            self.dropped += 1
            return False
        self._queue.append((frame, offload))
        self._queue_bytes += len(frame)
        return True

    def _writable(self) -> None:
        queue = self._queue
        while queue:
            frame, offload = queue[0]
            if not self.device.transmit(frame, offload):
                return
            queue.popleft()
            self._queue_bytes -= len(frame)
        self._stack.device_writable(self)

    def receive(self, frame: bytes) -> None:
        """A frame from the device. HOT."""
        if len(frame) < 14 or not self.is_up:
            self.dropped += 1
            return
        if not self._stack.taps and self._express(self, frame):
            return
        mac, source, ether_type = _UNPACK(frame)
        if self._stack.taps:
            self._stack.tap(self, frame, outgoing=False)
        if mac != self.mac and not mac[0] & 1:
            return  # for another station: somebody made the card promiscuous
        handler = self._stack.ether_types.get(ether_type)
        if handler is None:
            self.dropped += 1
            return
        handler(self, frame, source)

    def kind_of(self, frame: bytes) -> Kind:
        """Whom a frame is for."""
        mac = frame[:6]
        if mac == self.mac:
            return Kind.HOST
        if mac == ethernet.BROADCAST_MAC:
            return Kind.BROADCAST
        return Kind.MULTICAST if mac[0] & 1 else Kind.OTHER

    def _link_changed(self, up: bool) -> None:
        self._stack.link_changed(self, up)

    def detach(self) -> None:
        """The device is somebody else's from now on."""
        self.is_up = False
        self._queue.clear()
        self.device.receiver = _ignore
        self.device.writable = _nothing
        self.device.link_changed = _ignore


def _ignore(_what: Any) -> None:
    """Nobody listens any more."""


def _nothing() -> None:
    """Nobody waits any more."""
