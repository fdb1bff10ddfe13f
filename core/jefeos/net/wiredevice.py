"""A network device without hardware: a stack's own end of a wire, as a gateway has it, or a test.

A wire that takes large TCP segments whole (`Port.takes_segments`) is given them whole, with the sum of the pseudo
header in place of their checksum: whoever cuts them sums the pieces, and who takes them whole has no need to.
Checksums of all other frames are the sender's affair, since a wire does not say to its other end what was left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from jefeos.errors import Errno, KernelError
from jefeos.net.device import ETHERNET_HEADER_BYTES, VLAN_TAG_BYTES, Features, NetDevice, Offload
from jefeos.net.wire import Port


class WireDevice(NetDevice):
    """See the module's text. Frames for other stations are delivered too: the stack passes them over."""

    def __init__(self, port: Port, mac: bytes, *, mtu: int = 1500) -> None:
        super().__init__()
        self.port = port
        self.mac = mac
        self.mtu = mtu
        self.link_up = port.link_up
        port.accepts_segments = True
        port.receiver = self._arrived
        port.link_changed = self._link_changed

    @property
    def features(self) -> Features:  # type: ignore[override]
        """Wires change with who is plugged into them: ask anew for each connection."""
        return Features.TSO if self.port.takes_segments else Features(0)

    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        length = len(frame)
        segment_bytes = offload.segment_bytes if offload is not None else 0
        if length > self.mtu + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES and not segment_bytes:
            raise KernelError(Errno.EMSGSIZE, f"a frame of {length} bytes")
        self.port.send(frame if isinstance(frame, bytes) else bytes(frame), offload)
        self.statistics.tx_packets += 1
        self.statistics.tx_bytes += length
        return True

    def _arrived(self, frame: bytes) -> None:
        self.statistics.rx_packets += 1
        self.statistics.rx_bytes += len(frame)
        if frame[0] & 1:
            self.statistics.multicast += 1
        self.receiver(frame)

    def _link_changed(self, up: bool) -> None:
        self.link_up = up
        self.link_changed(up)

    def set_promiscuous(self, on: bool) -> None:
        """It always is."""

    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        """It takes every group."""
