"""IEEE 802.1Q: interfaces that share another one's wire, each by a number in a tag of its frames.

    eth0.5 --frame--> tag 5 --> eth0            eth0 --frame with tag 5--> eth0.5

A frame with tag 0 (priority only) belongs to the parent itself; a number that nobody has is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from jefeos.net.device import ETHERNET_HEADER_BYTES, NetDevice, Offload

from jefeos_net_inet.wire import ethernet
from jefeos_net_inet.wire.ethernet import EtherType

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface

FIRST, LAST = 1, 4094
_TAG_AT: Final = 12


class VlanDevice(NetDevice):
    """The device of an interface that is a VLAN of another."""

    def __init__(self, parent: InetInterface, number: int) -> None:
        super().__init__()
        self.parent = parent
        self.number = number
        self.mac = parent.mac
        self.mtu = parent.mtu
        self.link_up = parent.device.link_up
        self._tag = EtherType.VLAN.to_bytes(2, "big") + number.to_bytes(2, "big")

    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        """There are no offloads: frames come finished."""
        tagged = b"".join((frame[:_TAG_AT], self._tag, frame[_TAG_AT:]))
        self.statistics.tx_packets += 1
        self.statistics.tx_bytes += len(frame)
        return self.parent.emit_frame(tagged)

    def arrived(self, frame: bytes) -> None:
        """A frame with our tag, which was taken off."""
        self.statistics.rx_packets += 1
        self.statistics.rx_bytes += len(frame)
        self.receiver(frame)

    def set_promiscuous(self, on: bool) -> None:
        self.parent.count_promiscuous(1 if on else -1)

    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        """The parent's filter has to let our groups through."""
        self.parent.set_vlan_filter(self.number, set(addresses))


class Vlans:
    """The VLANs of a stack, by index of the parent and number."""

    def __init__(self) -> None:
        self.devices: dict[tuple[int, int], VlanDevice] = {}

    def receive(self, interface: InetInterface, frame: bytes, _source: bytes) -> None:
        """A frame with a tag."""
        if len(frame) < ETHERNET_HEADER_BYTES + ethernet.TAG.size:
            interface.dropped += 1
            return
        information, _type = ethernet.TAG.unpack_from(frame, ETHERNET_HEADER_BYTES)
        untagged = frame[:_TAG_AT] + frame[_TAG_AT + ethernet.TAG.size :]
        number = information & ethernet.VLAN_MASK
        if not number:
            if untagged[_TAG_AT : _TAG_AT + 2] == self._nested:  # one tag is enough
                interface.dropped += 1
                return
            interface.receive(untagged)
            return
        device = self.devices.get((interface.index, number))
        if device is None:
            interface.dropped += 1
            return
        device.arrived(untagged)

    _nested: Final = EtherType.VLAN.to_bytes(2, "big")
