"""Frames between a card of QEMU's and the `Port` that it is plugged into.

    card --QEMU: netdev dgram--> one datagram a frame, over a pair of sockets --> port.send
         <---------------------------------------------------------------------- port.receiver

Datagrams and not a stream: of a stream QEMU reads dozens of frames at once, and drops those for which the card's ring
has no room. A datagram it leaves in the socket until there is room. What does not fit there waits here, up to
BACKLOG_FRAMES; what comes then is lost, and counted.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from jefeos.net.device import Offload
from jefeos.net.wire import Port

from jefeos_machine_qemu.watch import Watcher

LONGEST_FRAME: Final = 64 * 1024
FRAMES_A_TURN: Final = 64
"""Read before others get their turn."""
BACKLOG_FRAMES: Final = 16384
SOCKET_BYTES: Final = 1 << 20


class QemuUserPort(Port):
    """Stands for QEMU's own user-mode network, with its DHCP and DNS servers: no frame of it passes through here.

    ``restricted``: nothing leads from it to the host and beyond.
    """

    def __init__(self, restricted: bool = False) -> None:
        super().__init__()
        self._has_warned = False
        self.qemu_netdev = f"user,restrict={'on' if restricted else 'off'}"
        """QEMU's own end for the wire, as its ``-netdev`` names it. Any port that has this attribute is such a one."""

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        """A card that is not QEMU's, or a tee between: the frame is lost, and the first one says so."""
        if not self._has_warned:
            self._has_warned = True
            logging.getLogger("jefeos").warning(
                "QEMU's own network gets no frames: it is for --machine qemu only, without --pcap and --net-faults"
            )


def datagram_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a wire, with room for a few hundred frames in each direction."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        end.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
    return pair


class DatagramBridge:
    """One card's socket and its port."""

    def __init__(
        self, connection: socket.socket, port: Port, watcher: Watcher, settle: Callable[[], None]
    ) -> None:
        self.lost_frames = 0
        """Frames for the card that it did not take in time."""
        self._connection = connection
        self._port = port
        self._watcher = watcher
        self._settle = settle
        self._buffer = memoryview(bytearray(LONGEST_FRAME))
        self._backlog: deque[bytes] = deque()
        watcher.add(connection, self._readable)
        port.receiver = self._deliver

    def close(self) -> None:
        """Unplug."""
        if self._connection.fileno() >= 0:
            self._watcher.remove(self._connection)
            self._connection.close()
            self._backlog.clear()

    def _readable(self) -> None:
        """Frames from the card. HOT."""
        receive, buffer, send = self._connection.recv_into, self._buffer, self._port.send
        try:
            for _ in range(FRAMES_A_TURN):
                send(bytes(buffer[: receive(buffer)]))
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # QEMU has ended; its other sockets tell

    def _deliver(self, frame: bytes) -> None:
        """A frame for the card, which meets the registers as the driver has left them. HOT."""
        self._settle()
        if self._connection.fileno() < 0:
            return
        if self._backlog:
            if len(self._backlog) >= BACKLOG_FRAMES:
                self.lost_frames += 1
            else:
                self._backlog.append(frame)
        elif not self._try(frame):
            self._backlog.append(frame)
            self._watcher.want_writable(self._connection, self._writable)

    def _writable(self) -> None:
        backlog = self._backlog
        while backlog and self._try(backlog[0]):
            backlog.popleft()
        if not backlog:
            self._watcher.want_writable(self._connection, None)

    def _try(self, frame: bytes) -> bool:
        try:
            self._connection.send(frame)
        except BlockingIOError:
            return False
        except OSError:
            pass  # QEMU has ended: nobody misses the frame
        return True
