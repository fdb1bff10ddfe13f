"""Wires to other programs over sockets of the host, in the framings that QEMU and passt speak.

    stream   a connection; each frame is its length as a big-endian 32-bit number, then the frame
             (QEMU `-netdev stream`, passt's socket)
    dgram    a pair of datagram sockets; each frame is one datagram (QEMU `-netdev dgram`)

A stream carries IPv4 without the padding that a card adds up to Ethernet's 60 bytes: this wire has no collisions to
detect, so no frame is too short for it, and QEMU sends what its virtio cards send as short as it is. Debian
12's passt even needs it: it drops each frame that is longer than its IPv4 datagram, bare acknowledgments first of all.

A few frames come in each turn of the loop, and the next ones when the kernel had a turn too: else one burst would
overrun a card's ring, where the peer could have been made to wait.

What the peer cannot take at once waits, up to MOST_WAITING_BYTES; beyond that frames are lost and counted, as a card's
would be on a wire that is too slow. A peer that goes away is a wire that is pulled out: `link_changed(False)`. A length
that no frame has ends a stream, as nothing after it can be trusted.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import Final

from jefeos.errors import ConfigError
from jefeos.net.device import ETHERNET_HEADER_BYTES, MINIMUM_FRAME_BYTES, Offload
from jefeos.net.wire import Port

LENGTH_BYTES: Final = 4
MAXIMUM_FRAME_BYTES: Final = 65_550  # a TSO frame with its header, which passt may send
MOST_WAITING_BYTES: Final = 4 << 20
_RECEIVE_BYTES: Final = 256 << 10
_FRAMES_A_TURN: Final = 32
"""Half of what a card's driver takes at a time, so that it keeps up."""
_IPV4: Final = b"\x08\x00"
_IPV4_HEADER_BYTES: Final = 20
_ETHERTYPE: Final = slice(12, 14)
_IPV4_TOTAL_LENGTH: Final = slice(16, 18)


class SocketPort(Port):
    """A port whose other end is a socket. ``sock`` is the port's from now on."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, peer: str | None = None) -> None:
        super().__init__()
        sock.setblocking(False)
        self.lost_frames = 0
        self._socket: socket.socket | None = sock
        self._loop = loop
        self._peer = peer
        self._waiting: deque[bytes | memoryview] = deque()
        self._waiting_bytes = 0
        loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()
            self._waiting.clear()

    def _queue(self, data: bytes | memoryview) -> None:
        if not self._waiting:
            assert self._socket is not None
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def _readable(self) -> None:
        raise NotImplementedError

    def _writable(self) -> None:
        raise NotImplementedError

    def _stop_writing(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())

    def _hang_up(self) -> None:
        """The peer is gone."""
        self.close()
        self.set_link(False)


class StreamPort(SocketPort):
    """Frames over a connection."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sock, loop)
        self._received = bytearray()

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        sock = self._socket
        if sock is None or not self.link_up:
            self.lost_frames += 1
            return
        if len(frame) <= MINIMUM_FRAME_BYTES:
            frame = _without_padding(frame)
        data = len(frame).to_bytes(LENGTH_BYTES, "big") + frame
        if self._waiting:
            if self._waiting_bytes + len(data) > MOST_WAITING_BYTES:
                self.lost_frames += 1
            else:
                self._queue(data)
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._hang_up()
            return
        if sent < len(data):
            self._queue(memoryview(data)[sent:])

    def _writable(self) -> None:
        assert self._socket is not None
        while self._waiting:
            data = self._waiting.popleft()
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._hang_up()
                return
            self._waiting_bytes -= sent
            if sent < len(data):
                self._waiting.appendleft(memoryview(data)[sent:])
                return
        self._stop_writing()

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        self._received += data
        if self._deliver():
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_soon(self._deliver_more)

    def _deliver_more(self) -> None:
        if self._socket is None:
            return
        if self._deliver():
            self._loop.call_soon(self._deliver_more)
        elif self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _deliver(self) -> bool:
        """A turn's frames. True if there are more, and the port is still open."""
        received = self._received
        at = frames = 0
        while len(received) - at >= LENGTH_BYTES:
            length = int.from_bytes(received[at : at + LENGTH_BYTES], "big")
            if not 0 < length <= MAXIMUM_FRAME_BYTES:
                self._hang_up()
                return False
            end = at + LENGTH_BYTES + length
            if end > len(received) or frames == _FRAMES_A_TURN:
                break
            frame = bytes(received[at + LENGTH_BYTES : end])
            at = end
            frames += 1
            if self.link_up:
                self.receiver(frame)
        del received[:at]
        return frames == _FRAMES_A_TURN and self._socket is not None


class DatagramPort(SocketPort):
    """Frames as datagrams to ``peer``, the path of a socket; to whoever is connected if it is None."""

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        if self._socket is None or not self.link_up:
            self.lost_frames += 1
        elif self._waiting:
            if self._waiting_bytes + len(frame) > MOST_WAITING_BYTES:
                self.lost_frames += 1
            else:
                self._queue(frame)
        elif not self._send_now(frame):
            self._queue(frame)

    def _send_now(self, frame: bytes | memoryview) -> bool:
        """False if the peer has no room for it now. A peer that is not there loses it."""
        assert self._socket is not None
        try:
            if self._peer is None:
                self._socket.send(frame)
            else:
                self._socket.sendto(frame, self._peer)
        except BlockingIOError:
            return False
        except OSError:
            self.lost_frames += 1
        return True

    def _writable(self) -> None:
        while self._waiting:
            if not self._send_now(self._waiting[0]):
                return
            self._waiting_bytes -= len(self._waiting.popleft())
        self._stop_writing()

    def _readable(self) -> None:
        assert self._socket is not None
        for _ in range(_FRAMES_A_TURN):
            try:
                frame = self._socket.recv(MAXIMUM_FRAME_BYTES)
            except OSError:
                return
            if frame and self.link_up:
                self.receiver(frame)
            if self._socket is None:
                return


def _without_padding(frame: bytes) -> bytes:
    """``frame`` up to the end of its IPv4 datagram; whole if it has none or says a length that cannot be."""
    if frame[_ETHERTYPE] != _IPV4:
        return frame
    length = int.from_bytes(frame[_IPV4_TOTAL_LENGTH], "big")
    return frame[: ETHERNET_HEADER_BYTES + length] if length >= _IPV4_HEADER_BYTES else frame


def connect_stream(path: str, loop: asyncio.AbstractEventLoop) -> StreamPort:
    """A port to whoever listens on a Unix socket. Raises ConfigError."""
    sock = unix_socket(socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise ConfigError(f"stream:{path}: {error.strerror or error}; is anybody listening there?") from None
    return StreamPort(sock, loop)


def open_datagram(local: str, peer: str, loop: asyncio.AbstractEventLoop) -> DatagramPort:
    """A port that receives at ``local`` and sends to ``peer``, both paths of Unix sockets. Raises ConfigError."""
    sock = unix_socket(socket.SOCK_DGRAM)
    try:
        sock.bind(local)
    except OSError as error:
        sock.close()
        raise ConfigError(f"dgram:{local}: {error.strerror or error}") from None
    return _Bound(sock, loop, peer, local)


def open_datagram_pair(spec: str, loop: asyncio.AbstractEventLoop) -> DatagramPort:
    """The same from ``LOCAL:PEER``."""
    local, separator, peer = spec.partition(":")
    if not separator or not local or not peer:
        raise ConfigError(f"dgram:{spec} is not dgram:LOCAL:PEER, the paths of two sockets")
    return open_datagram(local, peer, loop)


class _Bound(DatagramPort):
    """A datagram port that removes its name when it is closed."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, peer: str, local: str) -> None:
        super().__init__(sock, loop, peer)
        self._local = local

    def close(self) -> None:
        if self._socket is not None:
            super().close()
            os.unlink(self._local)


def unix_socket(kind: int) -> socket.socket:
    """A socket of the host's. Raises ConfigError where there are none."""
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise ConfigError("this host has no Unix sockets for a stream, dgram or lan wire")
    return socket.socket(family, kind)
