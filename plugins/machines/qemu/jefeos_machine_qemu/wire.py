"""Frames between a card of QEMU's and the `Port` that it is plugged into.

    card --QEMU: netdev stream--> u32 length, big-endian; frame; u32 length; … --> port.send
         <------------------------------------------------------------------------ port.receiver

A socket of bytes and not of datagrams: one read takes hundreds of frames, and nothing is lost in it. QEMU takes frames
only while the card has descriptors for them, so a card that nobody empties holds frames back here, up to BACKLOG_BYTES;
what comes then is lost, and counted.
"""

from __future__ import annotations

import logging
import socket
import struct
from typing import Final

from jefeos.net.device import Offload
from jefeos.net.wire import Port

from jefeos_machine_qemu.watch import Watcher

LENGTH: Final = struct.Struct(">I")
LONGEST_FRAME: Final = 64 * 1024
RECEIVE_BYTES: Final = 256 * 1024
BACKLOG_BYTES: Final = 32 << 20
SOCKET_BYTES: Final = 1 << 20


class QemuUserPort(Port):
    """Stands for QEMU's own user-mode network, with its DHCP and DNS servers: no frame of it passes through here.

    ``restricted``: nothing leads from it to the host and beyond.
    """

    def __init__(self, restricted: bool = False) -> None:
        super().__init__()
        self.restricted = restricted

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        """Nobody has a frame for it but QEMU's card, which does not come here."""


class StreamBridge:
    """One card's socket and its port."""

    def __init__(self, connection: socket.socket, port: Port, watcher: Watcher, log: logging.Logger) -> None:
        connection.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        self.lost_frames = 0
        """Frames for the card that it did not take in time."""
        self._connection = connection
        self._port = port
        self._watcher = watcher
        self._log = log
        self._rest = b""
        self._backlog = bytearray()
        watcher.add(connection, self._readable)
        port.receiver = self._deliver

    def close(self) -> None:
        """Unplug."""
        self._watcher.remove(self._connection)
        self._connection.close()
        self._backlog.clear()

    def _readable(self) -> None:
        """Frames from the card. HOT."""
        try:
            data = self._connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()  # QEMU has ended; its other sockets tell
            return
        if self._rest:
            data = self._rest + data
        place, end = 0, len(data)
        send = self._port.send
        while end - place >= LENGTH.size:
            (length,) = LENGTH.unpack_from(data, place)
            if length > LONGEST_FRAME:
                self._log.error("machine qemu: a frame of %d bytes from a card: it is unplugged", length)
                self.close()
                return
            start = place + LENGTH.size
            if start + length > end:
                break
            place = start + length
            send(data[start:place])
        self._rest = data[place:]

    def _deliver(self, frame: bytes) -> None:
        """A frame for the card. HOT."""
        if self._connection.fileno() < 0:
            return
        data = LENGTH.pack(len(frame)) + frame
        if self._backlog:
            if len(self._backlog) > BACKLOG_BYTES:
                self.lost_frames += 1
            else:
                self._backlog += data
            return
        sent = self._try(data)
        if sent < len(data):
            self._backlog += data[sent:]
            self._watcher.want_writable(self._connection, self._writable)

    def _writable(self) -> None:
        sent = self._try(memoryview(self._backlog)[:RECEIVE_BYTES])
        del self._backlog[:sent]
        if not self._backlog:
            self._watcher.want_writable(self._connection, None)

    def _try(self, data: bytes | memoryview) -> int:
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # QEMU has ended: nobody misses it
