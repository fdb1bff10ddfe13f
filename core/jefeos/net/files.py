"""Sockets of the network stack as open files: blocking, time-outs, poll.

    descriptor --> NetFile (File: waits, wakes) --> Socket of the stack (never waits)

Personalities subclass these for their structures, and pass `NetworkStack.settle`, so that what one program has done
to a connection inside of the system, others see when its call returns. A method that can be done at once returns its
result, otherwise a coroutine (`MaybeAwait`). A wait that a signal interrupts gives what was done so far, as Linux does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.socket import DatagramSocket, PacketSocket, Readiness, Socket, StreamSocket
from jefeos.sched.wait import Interrupted, Restart, WaitQueue
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    O_RDWR,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLERR,
    POLLHUP,
    POLLPRI,
    POLLRDHUP,
    S_IFSOCK,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.vfs import Vfs

T = TypeVar("T")
_EVENTS = (
    (Readiness.READABLE, POLL_READABLE),
    (Readiness.WRITABLE, POLL_WRITABLE),
    (Readiness.URGENT, POLLPRI),
    (Readiness.PEER_CLOSED, POLLRDHUP),
    (Readiness.HANGUP, POLLHUP),
    (Readiness.ERROR, POLLERR),
)


class NetFile(File):
    """What files of all kinds of socket have in common."""

    receive_timeout_ns: int | None = None
    send_timeout_ns: int | None = None

    def __init__(self, vfs: Vfs, socket: Socket, flags: int, settle: Callable[[], None] | None = None) -> None:
        inode = vfs.anonymous_inode(S_IFSOCK | 0o777)
        super().__init__(inode, flags | O_RDWR, vfs.anonymous_path(inode, b"socket:[%d]" % inode.ino))
        self.vfs = vfs
        self.socket = socket
        self.queue = WaitQueue()
        self._settle = settle or _nothing
        socket.changed = self._changed

    def _changed(self) -> None:
        self.queue.wake_all()

    def poll(self) -> int:
        ready = self.socket.ready
        events = 0
        for bit, event in _EVENTS:
            if ready & bit:
                events |= event
        return events

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    @property
    def label(self) -> bytes:
        return b"socket:[%d]" % self.inode.ino

    def release(self) -> None:
        self.socket.changed = _nothing
        self.socket.close()
        self._settle()
        self.queue.wake_all()
        super().release()

    def shut_down(self, reading: bool, writing: bool) -> None:
        """shutdown(2). ENOTCONN."""
        self.socket.shut_down(reading, writing)
        self._settle()
        self.queue.wake_all()

    def connect(self, address: SocketAddress) -> MaybeAwait[int]:
        """connect(2). EINPROGRESS if it goes on without the caller."""
        if self.socket.connect(address):
            return 0
        self._settle()
        if self.nonblocking:
            raise KernelError(Errno.EINPROGRESS)
        return self._connect_later()

    async def _connect_later(self) -> int:
        socket = self.socket
        while not socket.ready & (Readiness.WRITABLE | Readiness.ERROR | Readiness.HANGUP):
            if not await self.queue.wait(self.send_timeout_ns):
                raise KernelError(Errno.EINPROGRESS)
        error = socket.take_error()
        if error:
            socket.disconnect()  # as if it had never been tried
            raise KernelError(error)
        return 0

    def _take(self, take: Callable[[], T | None], *, nonblock: bool) -> MaybeAwait[T]:
        """Something from the socket: now, or when it comes. EAGAIN."""
        taken = take()
        if taken is not None:
            return taken
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        return self._take_later(take)

    async def _take_later(self, take: Callable[[], T | None]) -> T:
        while True:
            await self._wait(self.receive_timeout_ns)
            taken = take()
            if taken is not None:
                return taken

    async def _wait(self, timeout_ns: int | None) -> None:
        """Wait for news, at most as long as SO_RCVTIMEO or SO_SNDTIMEO says. EAGAIN.

        With a time-out, a signal's handler never restarts the call (signal(7)).
        """
        try:
            woken = await self.queue.wait(timeout_ns)
        except Interrupted as error:
            if timeout_ns is not None:
                error.restart = Restart.NEVER
            raise
        if not woken:
            raise KernelError(Errno.EAGAIN)


class StreamFile(NetFile):
    """A TCP socket."""

    socket: StreamSocket

    def accept_socket(self, *, nonblock: bool) -> MaybeAwait[StreamSocket]:
        """The next connection of a listener. EINVAL if it does not listen."""
        return self._take(self.socket.accept, nonblock=nonblock)

    def send(self, data: bytes, *, nonblock: bool, more: bool = False, urgent: bool = False) -> MaybeAwait[int]:
        """All of ``data``, or with ``nonblock`` what there is room for."""
        done = self.socket.send(data, more=more, urgent=urgent)
        self._settle()
        if done == len(data):
            return done
        if nonblock:
            if not done:
                raise KernelError(Errno.EAGAIN)
            return done
        return self._send_later(data, done, more, urgent)

    async def _send_later(self, data: bytes, done: int, more: bool, urgent: bool) -> int:
        view = memoryview(data)
        try:
            while done < len(data):
                sent = self.socket.send(view[done:], more=more, urgent=urgent)
                done += sent
                self._settle()
                if not sent:
                    await self._wait(self.send_timeout_ns)
        except KernelError:
            if not done:
                raise
        return done

    def receive(
        self, count: int, *, nonblock: bool, peek: bool = False, whole: bool = False, urgent: bool = False
    ) -> MaybeAwait[bytes]:
        """Up to ``count`` bytes; b"" at the end. ``whole``: wait for all of them (MSG_WAITALL)."""
        if not whole or nonblock:
            return self._take(lambda: self.socket.receive(count, peek=peek, urgent=urgent), nonblock=nonblock)
        return self._receive_whole(count, peek)

    async def _receive_whole(self, count: int, peek: bool) -> bytes:
        pieces: list[bytes] = []
        left = count
        try:
            while left:
                data = self.socket.receive(left, peek=peek)
                if data is None or peek and data and len(data) < left:
                    await self._wait(self.receive_timeout_ns)
                    continue
                pieces.append(data)
                left -= len(data)
                if not data or peek:
                    break
        except KernelError:
            if not pieces:
                raise
        return b"".join(pieces)

    def read(self, count: int) -> MaybeAwait[bytes]:
        return self._take(lambda: self.socket.receive(count), nonblock=self.nonblocking)

    def write(self, data: bytes) -> MaybeAwait[int]:
        return self.send(data, nonblock=self.nonblocking)

    @property
    def available(self) -> int:
        """FIONREAD."""
        return self.socket.received_bytes


class MessageFile(NetFile):
    """A socket of messages: each send is one, and may have to wait for room."""

    def _send_message(self, send: Callable[[], int], length: int, *, nonblock: bool) -> MaybeAwait[int]:
        sent = send()
        self._settle()
        if sent or not length:
            return sent
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        return self._send_message_later(send)

    async def _send_message_later(self, send: Callable[[], int]) -> int:
        while True:
            await self._wait(self.send_timeout_ns)
            sent = send()
            self._settle()
            if sent:
                return sent


class DatagramFile(MessageFile):
    """A UDP, raw or ping socket."""

    socket: DatagramSocket

    def send_to(
        self, data: bytes, destination: SocketAddress | None, ancillary: dict[str, Any] | None, *, nonblock: bool
    ) -> MaybeAwait[int]:
        """One message; None is the peer's."""
        return self._send_message(
            lambda: self.socket.send_to(data, destination, ancillary), len(data), nonblock=nonblock
        )

    def read(self, count: int) -> MaybeAwait[bytes]:
        def take() -> bytes | None:
            message = self.socket.receive_from()
            return None if message is None else message.data[:count]

        return self._take(take, nonblock=self.nonblocking)

    def write(self, data: bytes) -> MaybeAwait[int]:
        return self.send_to(data, None, None, nonblock=self.nonblocking)

    @property
    def available(self) -> int:
        """FIONREAD: length of the next message."""
        return self.socket.next_bytes


class PacketFile(MessageFile):
    """A packet socket."""

    socket: PacketSocket

    def read(self, count: int) -> MaybeAwait[bytes]:
        def take() -> bytes | None:
            frame = self.socket.receive_frame()
            return None if frame is None else frame.data[:count]

        return self._take(take, nonblock=self.nonblocking)


def _nothing() -> None:
    """Nobody waits any more."""
