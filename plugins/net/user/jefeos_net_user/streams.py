"""TCP through the gateway: a connection of the guest, one of the host, and bytes in between.

    guest's SYN --> PendingStream --> the host connects (never waits) --> accept, or the error that the host got
    StreamSocket <--- Splice ---> host socket        each end's close, half-close and reset become the other's

A `Splice` holds at most one piece for each way: when one side is full, the other is not read.
"""

from __future__ import annotations

import errno as host_errno
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.socket import Readiness, StreamSocket

from jefeos_net_user.policy import family_of_text

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

    from jefeos.net.stack import PendingStream

PIECE_BYTES: Final = 256 << 10
TURNS: Final = 8
"""Pieces moved before others have their turn."""
GUEST_BUFFER_BYTES: Final = 256 << 10
"""On the way to a guest at once: what its card's receive ring holds. More would only be lost there and sent again."""
CONNECT_PATIENCE_S: Final = 30.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_REFUSALS: Final = {
    host_errno.ECONNREFUSED: Errno.ECONNREFUSED,
    host_errno.ENETUNREACH: Errno.ENETUNREACH,
    host_errno.EADDRNOTAVAIL: Errno.ENETUNREACH,  # the host has no address of the family
    host_errno.EHOSTUNREACH: Errno.EHOSTUNREACH,
    host_errno.ETIMEDOUT: Errno.ETIMEDOUT,
}


def host_stream(family: int) -> socket.socket:
    """A new TCP socket of the host that never waits. Raises OSError."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset(made: socket.socket) -> None:
    """Close a host socket by RST."""
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    finally:
        made.close()


class Outgoing:
    """A guest's connection on its way to the host's network."""

    def __init__(
        self, pending: PendingStream, target: tuple[str, int], loop: AbstractEventLoop,
        connected: Callable[[StreamSocket, socket.socket], None], ended: Callable[[Outgoing], None],
    ) -> None:
        self._pending = pending
        self._loop = loop
        self._connected = connected
        self._ended = ended
        self._host: socket.socket | None = host_stream(family_of_text(target[0]))
        self._timer: TimerHandle = loop.call_later(CONNECT_PATIENCE_S, self.fail, host_errno.ETIMEDOUT)
        try:
            self._host.connect(target)
        except BlockingIOError:
            pass
        except OSError as error:
            loop.call_soon(self.fail, error.errno)
            return
        loop.add_writer(self._host, self._ready)

    def _ready(self) -> None:
        host = self._take()
        if host is None:
            return
        error = host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refuse(host, error)
            return
        try:
            guest = self._pending.accept()
        except KernelError:  # the guest has lost interest
            host.close()
            return
        self._connected(guest, host)

    def fail(self, error: int | None) -> None:
        """Give up."""
        host = self._take()
        if host is not None:
            self._refuse(host, error)

    def _refuse(self, host: socket.socket, error: int | None) -> None:
        host.close()
        try:
            self._pending.refuse(_REFUSALS.get(error or 0, Errno.ECONNREFUSED))
        except KernelError:  # nobody waits for the answer any more
            return

    def _take(self) -> socket.socket | None:
        host, self._host = self._host, None
        if host is not None:
            self._timer.cancel()
            self._loop.remove_writer(host)
            self._ended(self)
        return host


class Splice:
    """Two connected sockets, one of the stack and one of the host."""

    def __init__(
        self, guest: StreamSocket, host: socket.socket, loop: AbstractEventLoop, ended: Callable[[Splice], None]
    ) -> None:
        self._guest = guest
        self._host = host
        self._loop = loop
        self._ended = ended
        self._to_guest = memoryview(b"")
        self._to_host = memoryview(b"")
        self._guest_over = self._host_over = self._closed = False
        """Whether that side has sent its end, and it was passed on."""
        self._reading = self._writing = self._scheduled = False
        guest.changed = self._guest_changed
        guest.set_option("so_sndbuf", GUEST_BUFFER_BYTES)
        self._wait_for_host()
        self._guest_changed()

    def _guest_changed(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._guest_turn)

    def _guest_turn(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        try:
            if self._to_guest:
                self._flush_to_guest()
            self._read_guest()
            ready = self._guest.ready
            if ready & Readiness.ERROR and self._guest.pending_error:
                raise KernelError(self._guest.take_error())
        except KernelError:
            self._reset()
            return
        except OSError:
            self._reset()
            return
        self._settle()

    def _read_guest(self) -> None:
        """From the guest to the host."""
        for _ in range(TURNS):
            if self._to_host or self._guest_over:
                return
            data = self._guest.receive(PIECE_BYTES)
            if data is None:
                return
            if not data:
                self._guest_over = True
                self._host.shutdown(socket.SHUT_WR)
                return
            self._to_host = memoryview(data)
            self._flush_to_host()
        self._guest_changed()

    def _flush_to_host(self) -> None:
        while self._to_host:
            try:
                self._to_host = self._to_host[self._host.send(self._to_host) :]
            except BlockingIOError:
                return

    def _host_readable(self) -> None:
        """From the host to the guest."""
        try:
            for _ in range(TURNS):
                if self._to_guest or self._host_over:
                    break
                try:
                    data = self._host.recv(PIECE_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    self._host_over = True
                    self._guest.shut_down(False, True)
                    break
                self._to_guest = memoryview(data)
                self._flush_to_guest()
        except (OSError, KernelError):
            self._reset()
            return
        self._settle()

    def _flush_to_guest(self) -> None:
        while self._to_guest:
            count = self._guest.send(self._to_guest)
            if not count:
                return
            self._to_guest = self._to_guest[count:]

    def _host_writable(self) -> None:
        try:
            self._flush_to_host()
            if not self._to_host:
                self._read_guest()
        except (OSError, KernelError):
            self._reset()
            return
        self._settle()

    def _settle(self) -> None:
        """After each turn: end, or wait for what is needed next."""
        if self._closed:
            return
        if self._guest_over and self._host_over and not self._to_guest and not self._to_host:
            self._forget()
            self._guest.close()
            self._host.close()
            return
        self._wait_for_host()

    def _wait_for_host(self) -> None:
        reading = not self._to_guest and not self._host_over
        writing = bool(self._to_host)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self._host, self._host_readable)
            else:
                self._loop.remove_reader(self._host)
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._host, self._host_writable)
            else:
                self._loop.remove_writer(self._host)

    def _reset(self) -> None:
        """One side broke off: so does the other."""
        if self._closed:
            return
        self._forget()
        self._guest.abort()
        reset(self._host)

    close = _reset

    def _forget(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._host)
        self._loop.remove_writer(self._host)
        self._guest.changed = _nothing
        self._ended(self)


def _nothing() -> None:
    """Nobody listens any more."""
