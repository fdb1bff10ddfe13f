"""What a network device is: frames out and in, and what the hardware does to them on the way.

    protocol stack --transmit(frame, offload)--> NetDevice --driver, hardware--> wire
                   <--receiver(frame)----------

Frames are Ethernet II without preamble and frame check sequence, 14 bytes of header first. Devices pad short frames.
Everything is called from the kernel's event loop; `transmit` never waits: a full ring is False, and `writable` is
called once there is room again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import IntFlag
from typing import Final

from attrs import define, frozen

ETHERNET_HEADER_BYTES: Final = 14
MINIMUM_FRAME_BYTES: Final = 60
MAXIMUM_FRAME_BYTES: Final = 1514
VLAN_TAG_BYTES: Final = 4


class Features(IntFlag):
    """What a device can do to frames."""

    TX_CHECKSUM = 1 << 0
    """Fills in a TCP or UDP checksum (`Offload.checksum_start`, `checksum_offset`)."""
    TSO = 1 << 1
    """Cuts one large TCP segment into frames (`Offload.segment_bytes`)."""
    RX_CHECKSUM = 1 << 2
    """Has checked IP, TCP and UDP checksums of what it delivers, and drops what is wrong."""


@frozen
class Offload:
    """Work left to the device. Offsets are from the start of the frame, in bytes."""

    checksum_start: int = 0
    """Where the summed part begins (the TCP or UDP header)."""
    checksum_offset: int = 0
    """Where in it the sum goes; it holds the pseudo-header's sum already. 0 with start 0: nothing to do."""
    segment_bytes: int = 0
    """Most payload bytes of each frame that a large segment is cut into (the MSS); 0 for a frame that fits."""
    header_bytes: int = 0
    """Length of all headers, which every cut frame repeats."""


@define
class Statistics:
    """Counts since the device came up, under Linux's names (/proc/net/dev)."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    """Had no buffer: the stack was too slow."""
    rx_fifo_errors: int = 0
    """Overruns: the hardware had no descriptor."""
    rx_frame_errors: int = 0
    multicast: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0
    """The ring was full."""


Receiver = Callable[[bytes], None]


class NetDevice(ABC):
    """A network interface's hardware. Drivers implement it and publish it."""

    name: str = ""
    """Given by whoever uses it: ``eth0``."""
    mac: bytes
    """Six bytes."""
    mtu: int = 1500
    features: Features = Features(0)
    link_up: bool = False
    driver: str = ""
    """Name of the driver; empty for what has no hardware."""
    location: str = ""
    """Where the hardware is, as its bus says it: ``0000:00:03.0``."""
    speed_mbps: int = 0
    """Of the link, in Mbit/s; 0 if it is not known."""
    full_duplex: bool | None = None
    """Of the link; None if it is not known."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.receiver: Receiver = _nobody
        """Called with each frame that came in."""
        self.writable: Callable[[], None] = _nothing
        """Called when `transmit` may succeed again after it said False."""
        self.link_changed: Callable[[bool], None] = _no_change

    @abstractmethod
    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        """Send a frame; False if there is no room for it now. KernelError(EMSGSIZE) if it can never be sent."""

    @abstractmethod
    def set_promiscuous(self, on: bool) -> None:
        """Take every frame on the wire."""

    @abstractmethod
    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        """The multicast groups to take frames of (the hardware may let more through)."""


def _nobody(frame: bytes) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody waits."""


def _no_change(up: bool) -> None:
    """Nobody cares."""
