"""A tee: what passes a port is written to a file that Wireshark and tcpdump read (pcap, Ethernet, nanoseconds).

    port = PcapTee(port, open("wire.pcap", "wb"), clock.realtime_ns)

The file is complete after each frame (no index, no trailer), so it can be read while it grows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO, Final

from jefeos.net.device import Offload
from jefeos.net.wire import Port

MAGIC_NANOSECONDS: Final = 0xA1B23C4D
LINKTYPE_ETHERNET: Final = 1
SNAPSHOT_BYTES: Final = 262_144
_FILE_HEADER: Final = struct.Struct("<IHHiIII")
_PACKET_HEADER: Final = struct.Struct("<IIII")
_SECOND_NS: Final = 1_000_000_000


class PcapTee(Port):
    """A port in front of another one."""

    def __init__(self, port: Port, file: BinaryIO, now_ns: Callable[[], int]) -> None:
        super().__init__()
        self._port = port
        self._file = file
        self._now_ns = now_ns
        self.link_up = port.link_up
        port.receiver = self._received
        port.link_changed = self.set_link
        file.write(_FILE_HEADER.pack(MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAPSHOT_BYTES, LINKTYPE_ETHERNET))

    @property
    def takes_segments(self) -> bool:  # type: ignore[override]
        """As the wire behind does."""
        return self._port.takes_segments

    @property
    def accepts_segments(self) -> bool:
        """What the card takes, the wire behind has to know."""
        return self._port.accepts_segments

    @accepts_segments.setter
    def accepts_segments(self, accepts: bool) -> None:
        self._port.accepts_segments = accepts

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        self._record(frame)
        self._port.send(frame, offload)

    def close(self) -> None:
        self._file.close()
        self._port.close()

    def _received(self, frame: bytes) -> None:
        self._record(frame)
        self.receiver(frame)

    def _record(self, frame: bytes) -> None:
        seconds, nanoseconds = divmod(self._now_ns(), _SECOND_NS)
        kept = frame[:SNAPSHOT_BYTES]
        self._file.write(_PACKET_HEADER.pack(seconds & 0xFFFF_FFFF, nanoseconds, len(kept), len(frame)) + kept)
        self._file.flush()
