"""AF_UNIX sockets: streams, datagrams and sequenced packets inside one kernel (unix(7)).

    socket A  --send-->  B.messages      each socket owns what it has received; a sender waits on the receiver's
    socket A  <--        A.messages      `room_queue` while its buffer is full

A `Message` is what one send gave: bytes, passed files, the sender's identity and name. Streams take bytes from as
many messages as fit, up to and including the first that carries files; the other two kinds take a message whole.

Names: a path is a node of type S_IFSOCK, and the inode remembers its socket; an abstract name is an entry in the
kernel's table. Passed files hold a reference from send to receive; what is never received is let go with its socket
(`unix_flights` knows of sockets inside of sockets).

Not here: MSG_OOB, SO_PEEK_OFF.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import Interrupted, MaybeAwait, WaitQueue
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    O_RDWR,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLERR,
    POLLHUP,
    POLLRDHUP,
    S_IFSOCK,
)

from jefeos_abi_linux.sockets import SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, Identity, release_files
from jefeos_abi_linux.unix_flights import Carrier, flights_of

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

BUFFER_BYTES: Final = 212992
MESSAGE_BYTES: Final = 768
"""What a message takes besides its data, as on Linux: many small ones fill a buffer, too."""
DATAGRAM_BACKLOG: Final = 11
"""Datagrams that wait at a receiver before senders wait (net.unix.max_dgram_qlen)."""


@define(eq=False)
class Message:
    """What one send call left at the receiver."""

    data: bytes
    files: list[File] = field(factory=list)
    sender: Identity = (0, 0, 0)
    name: bytes = b""
    """The sender's bound name, b"" for none."""


class UnixSocket(Carrier):
    """An AF_UNIX socket."""

    def __init__(self, kernel: Kernel, kind: int, flags: int, identity: Identity) -> None:
        vfs = kernel.vfs
        inode = vfs.anonymous_inode(S_IFSOCK | 0o777)
        super().__init__(inode, flags | O_RDWR, vfs.anonymous_path(inode, b"socket:[%d]" % inode.ino))
        self.kernel = kernel
        self.flights = flights_of(kernel)
        self.kind = kind
        self.identity = identity
        self.name = b""
        """Bound name: a path, or an abstract name with its leading NUL."""
        self.node: Any = None
        """The inode that a path name is bound to."""
        self.peer: UnixSocket | None = None
        self.peer_identity: Identity = (0, 0xFFFF_FFFF, 0xFFFF_FFFF)
        self.peer_name = b""
        self.connected = False
        self.messages: deque[Message] = deque()
        self.count = 0
        self.backlog: deque[UnixSocket] = deque()
        self.backlog_limit = -1
        """Connections that may wait for accept; negative while the socket does not listen."""
        self.reading_over = False
        self.writing_over = False
        self.closed = False
        self.queue = WaitQueue()
        self.room_queue = WaitQueue()
        self.pass_credentials = False
        self.receive_timeout_ns: int | None = None
        self.send_timeout_ns: int | None = None
        self.pending_error = 0
        open_unix_sockets(kernel)[self] = None

    # --- connecting ----------------------------------------------------------------------------------------

    def pair_with(self, other: UnixSocket) -> None:
        """Connect two sockets with each other."""
        for one, two in ((self, other), (other, self)):
            one.peer, one.connected = two, True
            one.peer_identity, one.peer_name = two.identity, two.name

    def listen(self, limit: int) -> None:
        """listen(2)."""
        if self.kind == SOCK_DGRAM:
            raise KernelError(Errno.EOPNOTSUPP)
        if not self.name or self.connected:
            raise KernelError(Errno.EINVAL)
        self.backlog_limit = max(min(limit, 4096), 0)
        self.room_queue.wake_all()

    @property
    def listening(self) -> bool:
        """Whether connections can be made to it."""
        return self.backlog_limit >= 0 and not self.closed

    def connect_to(self, server: UnixSocket, identity: Identity, *, nonblock: bool) -> MaybeAwait[int]:
        """connect(2), once the server has been found by its name."""
        if server.kind != self.kind:
            raise KernelError(Errno.EPROTOTYPE)
        if self.kind == SOCK_DGRAM:
            self.peer, self.connected, self.peer_name = server, True, server.name
            return 0
        if self.connected:
            raise KernelError(Errno.EISCONN)
        if self.listening:
            raise KernelError(Errno.EINVAL)
        if not server.listening or server.reading_over:
            raise KernelError(Errno.ECONNREFUSED)
        if len(server.backlog) <= server.backlog_limit:
            return self._join(server, identity)
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        return self._join_later(server, identity)

    async def _join_later(self, server: UnixSocket, identity: Identity) -> int:
        while len(server.backlog) > server.backlog_limit:
            await server.room_queue.wait()
            if not server.listening or server.reading_over:
                raise KernelError(Errno.ECONNREFUSED)
        return self._join(server, identity)

    def _join(self, server: UnixSocket, identity: Identity) -> int:
        self.identity = identity
        accepted = type(self)(self.kernel, self.kind, 0, server.identity)
        accepted.name = server.name
        accepted.pair_with(self)
        server.backlog.append(accepted)
        server.queue.wake_all()
        return 0

    def accept(self, *, nonblock: bool) -> MaybeAwait[UnixSocket]:
        """accept(2): the server's end of the longest waiting connection."""
        if self.kind == SOCK_DGRAM:
            raise KernelError(Errno.EOPNOTSUPP)
        if not self.listening:
            raise KernelError(Errno.EINVAL)
        if self.backlog:
            return self._next_connection()
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        return self._accept_later()

    async def _accept_later(self) -> UnixSocket:
        while not self.backlog:
            if self.reading_over:
                raise KernelError(Errno.EINVAL)
            await _wait(self.queue, self.receive_timeout_ns)
        return self._next_connection()

    def _next_connection(self) -> UnixSocket:
        connection = self.backlog.popleft()
        self.room_queue.wake_all()
        return connection

    # --- sending -------------------------------------------------------------------------------------------

    def send(self, message: Message, target: UnixSocket | None, *, nonblock: bool) -> MaybeAwait[int]:
        """Give ``message`` to ``target`` (None: the peer)."""
        receiver = target or self.peer
        if self.kind == SOCK_DGRAM:
            if receiver is None:
                raise KernelError(Errno.ENOTCONN)
            if len(message.data) > BUFFER_BYTES:
                raise KernelError(Errno.EMSGSIZE)
        elif not self.connected:
            raise KernelError(Errno.ENOTCONN)
        elif self.kind == SOCK_SEQPACKET and len(message.data) > BUFFER_BYTES:
            raise KernelError(Errno.EMSGSIZE)
        self._require_open(receiver)
        assert receiver is not None
        if self.kind == SOCK_STREAM and len(message.data) > receiver.room:
            if nonblock:
                if receiver.room <= 0:
                    raise KernelError(Errno.EAGAIN)
                return receiver._take_in(Message(message.data[: receiver.room], message.files, *_rest(message)))
            return self._send_later(message, receiver)
        if receiver.has_room_for(message):
            return receiver._take_in(message)
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        return self._send_later(message, receiver)

    def _require_open(self, receiver: UnixSocket | None) -> None:
        if self.writing_over:
            raise KernelError(Errno.EPIPE)
        if receiver is None or receiver.closed:
            raise KernelError(Errno.ECONNREFUSED if self.kind == SOCK_DGRAM else Errno.EPIPE)
        if receiver.reading_over:
            raise KernelError(Errno.EPIPE)

    async def _send_later(self, message: Message, receiver: UnixSocket) -> int:
        done = 0
        data = message.data
        try:
            while True:
                self._require_open(receiver)
                if self.kind == SOCK_STREAM:
                    room = receiver.room
                    if room > 0:
                        piece = Message(data[done : done + room], message.files, *_rest(message))
                        done += receiver._take_in(piece)
                        message.files = []  # they are the receiver's now, whatever becomes of the rest
                        if done >= len(data):
                            return done
                        continue
                elif receiver.has_room_for(message):
                    return receiver._take_in(message)
                await _wait(receiver.room_queue, self.send_timeout_ns)
        except (Interrupted, KernelError):
            if done:
                return done
            raise

    @property
    def room(self) -> int:
        """Bytes that fit into the receive buffer."""
        return BUFFER_BYTES - self.held_bytes

    @property
    def held_bytes(self) -> int:
        """What waits in the receive buffer, with what each message takes besides its data."""
        return self.count + MESSAGE_BYTES * len(self.messages)

    def has_room_for(self, message: Message) -> bool:
        """Whether a whole message fits; an empty buffer takes any."""
        if not self.messages:
            return True
        if self.kind == SOCK_DGRAM and len(self.messages) >= DATAGRAM_BACKLOG:
            return False
        return len(message.data) <= self.room

    def _take_in(self, message: Message) -> int:
        self.kernel.vfs.buffers.claim(len(message.data) + MESSAGE_BYTES)
        self.messages.append(message)
        self.flights.depart(message.files)
        self.count += len(message.data)
        self.queue.wake_all()
        return len(message.data)

    # --- receiving -----------------------------------------------------------------------------------------

    def receive(self, count: int, *, peek: bool = False, whole: bool = False, nonblock: bool) -> MaybeAwait[Message]:
        """Take up to ``count`` bytes. A message of no bytes and ``sender`` pid -1 is the end of a stream.

        ``whole``: MSG_WAITALL, wait until a stream has given all of ``count``.
        """
        if self.listening or not self.connected and self.kind != SOCK_DGRAM:
            raise KernelError(Errno.EINVAL if self.kind == SOCK_STREAM else Errno.ENOTCONN)
        if self.messages and not (whole and self.kind == SOCK_STREAM and self.count < count):
            return self._take_out(count, peek)
        if self.pending_error and not self.messages:
            error, self.pending_error = self.pending_error, 0
            raise KernelError(error)
        if self._at_end():
            return self._take_out(count, peek) if self.messages else Message(b"", sender=(-1, 0, 0))
        if nonblock:
            if self.messages:
                return self._take_out(count, peek)
            raise KernelError(Errno.EAGAIN)
        return self._receive_later(count, peek, whole and self.kind == SOCK_STREAM)

    async def _receive_later(self, count: int, peek: bool, whole: bool) -> Message:
        try:
            while not self._at_end() and (self.count < count if whole else not self.messages):
                await _wait(self.queue, self.receive_timeout_ns)
        except KernelError:
            if not self.messages:
                raise
        if self.messages:
            return self._take_out(count, peek)
        return Message(b"", sender=(-1, 0, 0))

    def _at_end(self) -> bool:
        if self.reading_over:
            return True
        peer = self.peer
        return self.kind != SOCK_DGRAM and self.connected and (peer is None or peer.closed or peer.writing_over)

    def _take_out(self, count: int, peek: bool) -> Message:
        first = self.messages[0]
        if self.kind != SOCK_STREAM:
            if not peek:
                self.messages.popleft()
                self.flights.arrive(first.files)
                self._made_room(len(first.data), 1)
            return first
        pieces: list[bytes] = []
        left = count
        taken = Message(b"", [], first.sender, first.name)
        index = ended = 0
        while left >= 0 and index < len(self.messages):
            message = self.messages[index]
            if taken.files or self.pass_credentials and message.sender != first.sender:
                break
            piece = message.data[:left]
            pieces.append(piece)
            left -= len(piece)
            taken.files = taken.files or message.files
            if not peek:
                if len(piece) == len(message.data):
                    self.messages.popleft()
                    index -= 1
                    ended += 1
                else:
                    rest = message.data[len(piece) :]
                    self.messages[0] = Message(rest, [], message.sender, message.name)
            index += 1
            if not left:
                break
        taken.data = b"".join(pieces)
        if not peek:
            self.flights.arrive(taken.files)
            self._made_room(len(taken.data), ended)
        return taken

    def _made_room(self, count: int, messages: int) -> None:
        self.kernel.vfs.buffers.give_back(count + messages * MESSAGE_BYTES)
        self.count -= count
        self.room_queue.wake_all()

    # --- as a file -----------------------------------------------------------------------------------------

    def read(self, count: int) -> MaybeAwait[bytes]:
        taken = self.receive(count, nonblock=self.nonblocking)
        if isinstance(taken, Message):
            return self._data_of(taken, count)
        return self._read_later(taken, count)

    async def _read_later(self, pending: Any, count: int) -> bytes:
        return self._data_of(await pending, count)

    @staticmethod
    def _data_of(message: Message, count: int) -> bytes:
        release_files(message.files)
        return message.data[:count]

    def write(self, data: bytes) -> MaybeAwait[int]:
        return self.send(Message(data, [], self.identity, self.name), None, nonblock=self.nonblocking)

    def poll(self) -> int:
        events = 0
        if self.listening:
            return POLL_READABLE if self.backlog else 0
        if self.messages or self._at_end():
            events |= POLL_READABLE
        if self.pending_error:
            events |= POLLERR
        peer = self.peer
        if self.kind == SOCK_DGRAM:
            full = peer is not None and len(peer.messages) >= DATAGRAM_BACKLOG
            return events if full else events | POLL_WRITABLE
        if not self.connected:
            return events | POLL_WRITABLE | POLLHUP
        if peer is None or peer.closed:
            return events | POLLRDHUP | POLLHUP | POLL_WRITABLE
        no_more_in = self.reading_over or peer.writing_over
        if no_more_in:
            events |= POLLRDHUP
        if no_more_in and (self.writing_over or peer.reading_over):
            events |= POLLHUP
        if peer.room > BUFFER_BYTES // 4:
            events |= POLL_WRITABLE
        return events

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        peer = self.peer
        return (self.queue,) if peer is None else (self.queue, peer.room_queue)

    @property
    def available(self) -> int:
        """FIONREAD: bytes to be read; of a datagram socket those of the first message."""
        if self.kind == SOCK_STREAM:
            return self.count
        return len(self.messages[0].data) if self.messages else 0

    @property
    def label(self) -> bytes:
        return b"socket:[%d]" % self.inode.ino

    # --- the end -------------------------------------------------------------------------------------------

    def shut_down(self, reading: bool, writing: bool) -> None:
        """shutdown(2). Here Linux asks for no connection."""
        self.reading_over |= reading
        self.writing_over |= writing
        if self.kind != SOCK_DGRAM and self.peer is not None:
            self.peer.queue.wake_all()
        self.room_queue.wake_all()
        self._announce()

    def release(self) -> None:
        self.closed = True
        open_unix_sockets(self.kernel).pop(self, None)
        unread = bool(self.messages)
        held = [file for message in self.messages for file in message.files]
        self.kernel.vfs.buffers.give_back(self.held_bytes)
        self.messages.clear()
        self.count = 0
        for connection in list(self.backlog):
            connection.unref()
        self.backlog.clear()
        if self.node is not None and getattr(self.node, "socket", None) is self:
            del self.node.socket
        names = unix_names(self.kernel)
        if names.get((self.name, self.kind)) is self:
            del names[self.name, self.kind]
        peer = self.peer
        if peer is not None and self.kind != SOCK_DGRAM:
            if unread:
                peer.pending_error = Errno.ECONNRESET
            peer.queue.wake_all()
            peer.room_queue.wake_all()
        self._announce()
        self.peer = None
        super().release()
        self.flights.drop(held)

    def held_files(self) -> list[File]:
        sockets = (self, *self.backlog)
        return [file for socket in sockets for message in socket.messages for file in message.files]

    def drop_held(self) -> None:
        for socket in (self, *self.backlog):
            for message in list(socket.messages):
                self.flights.drop(message.files)

    def _announce(self) -> None:
        self.queue.wake_all()
        self.room_queue.wake_all()


def _rest(message: Message) -> tuple[Identity, bytes]:
    return message.sender, message.name


async def _wait(queue: WaitQueue, timeout_ns: int | None) -> None:
    """Wait for a queue, at most as long as SO_RCVTIMEO or SO_SNDTIMEO says. EAGAIN."""
    if not await queue.wait(timeout_ns):
        raise KernelError(Errno.EAGAIN)


def unix_names(kernel: Kernel) -> dict[tuple[bytes, int], UnixSocket]:
    """The abstract names of a kernel; each kind of socket has its own."""
    names: dict[tuple[bytes, int], UnixSocket] | None = getattr(kernel, "unix_names", None)
    if names is None:
        names = {}
        kernel.unix_names = names  # type: ignore[attr-defined]
    return names


def open_unix_sockets(kernel: Kernel) -> dict[UnixSocket, None]:
    """Every socket of a kernel, for listings."""
    sockets: dict[UnixSocket, None] | None = getattr(kernel, "open_unix_sockets", None)
    if sockets is None:
        sockets = {}
        kernel.open_unix_sockets = sockets  # type: ignore[attr-defined]
        kernel.net.local_sockets = partial(_lines, kernel)
    return sockets


def _lines(kernel: Kernel) -> bytes:
    """/proc/net/unix."""
    from jefeos_abi_linux.sock_diag_local import unix_lines  # few programs ask

    return unix_lines(kernel)
