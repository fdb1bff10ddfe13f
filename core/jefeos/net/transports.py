"""Asyncio transports over the kernel's own TCP and UDP sockets: libraries run inside the system unchanged.

    protocol (asyncssh, aiohttp …) <--> StreamTransport <--> StreamSocket of the network stack

`KernelLoop` makes them (net/endpoints.py). Rules: a socket's `changed` only schedules one turn of the event loop, so
protocols are never called from inside of the stack; at most READ_BUDGET_BYTES are delivered a turn, so that
one busy connection leaves room for the others; writes go to the socket at once and wait here only when it is full.

Errors of the stack become the OSErrors that asyncio programs expect (`os_error`).
"""

from __future__ import annotations

import asyncio
import errno as host_errno
import os
import socket as host_socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError, errno_name
from jefeos.net.address import AF_INET, SocketAddress, address_text
from jefeos.net.socket import Data, DatagramSocket, Readiness, Socket, StreamSocket

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES: Final = 256 << 10
READ_BUDGET_BYTES: Final = 1 << 20
HIGH_WATER_BYTES: Final = 256 << 10
_OPTION_NAMES: Final = {
    (host_socket.SOL_SOCKET, host_socket.SO_KEEPALIVE): "so_keepalive",
    (host_socket.SOL_SOCKET, host_socket.SO_REUSEADDR): "so_reuseaddr",
    (host_socket.SOL_SOCKET, host_socket.SO_RCVBUF): "so_rcvbuf",
    (host_socket.SOL_SOCKET, host_socket.SO_SNDBUF): "so_sndbuf",
    (host_socket.SOL_SOCKET, host_socket.SO_BROADCAST): "so_broadcast",
    (host_socket.IPPROTO_TCP, host_socket.TCP_NODELAY): "tcp_nodelay",
}


def os_error(error: KernelError) -> OSError:
    """The OSError (ConnectionRefusedError and so on) that says the same."""
    name = errno_name(error.errno)
    number = getattr(host_errno, name, host_errno.EIO)
    return OSError(number, str(error) if error.args and error.args[0] else os.strerror(number))


def socket_name(address: SocketAddress | None) -> Any:
    """The tuple in which Python writes an address: two parts for IPv4, four for IPv6."""
    if address is None:
        return None
    if len(address.address) == 16:
        return address_text(address.address), address.port, address.flow, address.scope
    return address_text(address.address or bytes(4)), address.port


def feed(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    """Give received data to a protocol of either kind."""
    if not isinstance(protocol, asyncio.BufferedProtocol):
        protocol.data_received(data)  # type: ignore[attr-defined]
        return
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        count = min(len(buffer), len(data))
        if not count:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


class SocketView:
    """What libraries may ask of a transport's ``socket``: names and the common options. It has no descriptor."""

    def __init__(self, socket: Socket, kind: int) -> None:
        self._socket = socket
        self.family = host_socket.AF_INET if socket.family == AF_INET else host_socket.AF_INET6
        self.type = kind
        self.proto = socket.protocol

    def fileno(self) -> int:
        """-1: the host knows nothing of it."""
        return -1

    def getsockname(self) -> Any:
        """Our end."""
        return socket_name(self._socket.local)

    def getpeername(self) -> Any:
        """The other end. Raises OSError(ENOTCONN)."""
        if self._socket.remote is None:
            raise os_error(KernelError(Errno.ENOTCONN))
        return socket_name(self._socket.remote)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Raises OSError(ENOPROTOOPT) for an option that is not of the common ones."""
        self._option(level, option, lambda name: self._socket.set_option(name, value))

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        """An option's value. Raises OSError(ENOPROTOOPT)."""
        return int(self._option(level, option, self._socket.get_option))

    @staticmethod
    def _option(level: int, option: int, do: Callable[[str], Any]) -> Any:
        try:
            if (level, option) not in _OPTION_NAMES:
                raise KernelError(Errno.ENOPROTOOPT)
            return do(_OPTION_NAMES[level, option])
        except KernelError as error:
            raise os_error(error) from None


class StreamTransport(asyncio.Transport):
    """One TCP connection."""

    _start_tls_compatible = True  # the word that asyncio's start_tls asks for

    def __init__(
        self, loop: asyncio.AbstractEventLoop, socket: StreamSocket, protocol: asyncio.BaseProtocol,
        on_close: Callable[[StreamTransport], None] | None = None,
    ) -> None:
        super().__init__({
            "socket": SocketView(socket, host_socket.SOCK_STREAM),
            "sockname": socket_name(socket.local),
            "peername": socket_name(socket.remote),
        })
        self._loop = loop
        self._socket = socket
        self._protocol = protocol
        self._on_close = on_close
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._low, self._high = HIGH_WATER_BYTES // 4, HIGH_WATER_BYTES
        self._writing_paused = self._reading_paused = False
        self._end_seen = self._end_wanted = self._closing = self._lost = self._scheduled = False
        socket.changed = self._changed
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._guarded(self._protocol.connection_made, self)
        self._changed()

    def _changed(self) -> None:
        if not self._scheduled and not self._lost:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._lost:
            return
        try:
            ready = self._socket.ready
            if self._waiting or self._end_wanted:
                self._flush()
            if not self._lost and not self._reading_paused and not self._end_seen and ready & Readiness.READABLE:
                self._read()
            if not self._lost and ready & Readiness.ERROR and self._socket.pending_error:
                raise KernelError(self._socket.take_error())
        except KernelError as error:
            self._lose(os_error(error))

    # --- reading -------------------------------------------------------------------------------------------

    def _read(self) -> None:
        budget = READ_BUDGET_BYTES
        while not self._reading_paused and not self._closing and not self._lost:
            if budget <= 0:
                self._changed()
                return
            data = self._socket.receive(READ_BYTES)
            if data is None:
                return
            if not data:
                self._end_seen = True
                if not self._guarded(self._eof_received):
                    self.close()
                return
            budget -= len(data)
            self._guarded(feed, self._protocol, data)

    def _eof_received(self) -> bool:
        return bool(self._protocol.eof_received())  # type: ignore[attr-defined]

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call the protocol; what it raises ends this connection and nothing else."""
        try:
            return call(*arguments)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a protocol failed", "exception": error, "transport": self, "protocol": self._protocol}
            )
            self._lose(error)
            return True

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing and not self._end_seen

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._changed()

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, data: Data) -> None:
        if self._end_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or self._closing or not data:
            return
        view = memoryview(data)
        if not self._waiting:
            try:
                view = view[self._socket.send(view) :]
            except KernelError as error:
                self._lose_soon(os_error(error))
                return
        if view:
            self._waiting.append(memoryview(bytes(view)))
            self._waiting_bytes += len(view)
            if self._waiting_bytes > self._high and not self._writing_paused:
                self._writing_paused = True
                self._guarded(self._protocol.pause_writing)

    def _flush(self) -> None:
        waiting = self._waiting
        while waiting:
            view = waiting[0]
            count = self._socket.send(view)
            self._waiting_bytes -= count
            if count < len(view):
                waiting[0] = view[count:]
                break
            waiting.popleft()
        if self._writing_paused and self._waiting_bytes <= self._low:
            self._writing_paused = False
            self._guarded(self._protocol.resume_writing)
        if waiting:
            return
        if self._closing:
            self._lose(None)
        elif self._end_wanted:
            self._end_wanted = False
            self._socket.shut_down(False, True)

    def write_eof(self) -> None:
        if self._closing or self._end_wanted:
            return
        self._end_wanted = True
        if not self._waiting:
            self._changed()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._waiting_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._low, self._high = low, high

    # --- the end -------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def close(self) -> None:
        """Send what waits, then end the connection in order."""
        if self._closing or self._lost:
            return
        self._closing = True
        if not self._waiting:
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, error: BaseException | None) -> None:  # asyncio's TLS layer calls it
        if not self._lost:
            self._closing = True
            self._socket.abort()
            self._lose_soon(error)

    def _lose_soon(self, error: BaseException | None) -> None:
        self._closing = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: BaseException | None) -> None:
        """The connection is over."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._waiting.clear()
        self._waiting_bytes = 0
        if error is None:
            self._socket.close()
        else:
            self._socket.abort()
        self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(error)  # type: ignore[arg-type]
        finally:
            if self._on_close is not None:
                self._on_close(self)


class DatagramTransport(asyncio.DatagramTransport):
    """One UDP socket. A message that finds the socket full is dropped, as UDP may."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, socket: DatagramSocket, protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({
            "socket": SocketView(socket, host_socket.SOCK_DGRAM),
            "sockname": socket_name(socket.local),
            "peername": socket_name(socket.remote),
        })
        self._loop = loop
        self._socket = socket
        self._protocol = protocol
        self._closing = self._scheduled = False
        socket.changed = self._changed
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(self._changed)

    def _changed(self) -> None:
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        budget = READ_BUDGET_BYTES
        while not self._closing:
            if budget <= 0:
                self._changed()
                return
            try:
                message = self._socket.receive_from()
            except KernelError as error:
                self._protocol.error_received(os_error(error))
                continue
            if message is None:
                return
            budget -= len(message.data) + 1
            self._protocol.datagram_received(message.data, socket_name(message.source))

    def sendto(self, data: Data, addr: Any = None) -> None:
        from jefeos.net.address import parse_address

        if self._closing:
            return
        try:
            where = SocketAddress(parse_address(addr[0]), addr[1], addr[3] if len(addr) > 3 else 0) if addr else None
            self._socket.send_to(data, where)
        except KernelError as error:
            self._protocol.error_received(os_error(error))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._socket.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()
