"""AF_UNIX for the socket calls: names in the filesystem and the abstract ones, options, control data (unix(7)).

`UnixSocket` (unix_sockets.py) moves the messages; this is its side towards programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import O_NONBLOCK, S_IFMT, S_IFSOCK, W_OK
from jefeos.vfs.permissions import require_access

from jefeos_abi_linux.socket_messages import name_bytes, read_control, read_name, ucred_bytes
from jefeos_abi_linux.sockets import (
    AF_UNIX,
    AF_UNSPEC,
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    Received,
    Socket,
    identity_of,
    option_number,
    release_files,
)
from jefeos_abi_linux.unix_sockets import BUFFER_BYTES, Message, UnixSocket, unix_names

if TYPE_CHECKING:
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

SO_ERROR: Final = 4
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_LINGER: Final = 13
SO_PASSCRED: Final = 16
SO_PEERCRED: Final = 17
SO_ACCEPTCONN: Final = 30
IGNORED_OPTIONS: Final = frozenset((1, 2, 5, 6, 9, 12, 15, 18, 29, 32, 33))
"""Switches that mean nothing here: SO_DEBUG, SO_REUSEADDR, SO_KEEPALIVE, SO_PRIORITY …; they read as 0."""
_AUTOBIND_LIMIT: Final = 1 << 20


def make_unix(task: Task, family: int, kind: int, protocol: int, flags: int) -> UnixFamilySocket:
    """socket(AF_UNIX, …)."""
    if protocol not in (0, AF_UNIX):
        raise KernelError(Errno.EPROTONOSUPPORT)
    if kind == SOCK_RAW:
        kind = SOCK_DGRAM
    if kind not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
        raise KernelError(Errno.ESOCKTNOSUPPORT)
    return UnixFamilySocket(task.kernel, kind, flags & O_NONBLOCK, identity_of(task))


def find_socket(task: Task, name: bytes, kind: int) -> UnixSocket:
    """The socket that is bound to a name. ECONNREFUSED if nobody is there; for paths the Vfs's errors, EACCES."""
    if name[:1] == b"\0":
        found = unix_names(task.kernel).get((name, kind))
    else:
        place = task.kernel.vfs.resolve(task, name)
        require_access(place.inode, W_OK, task.creds)
        if place.inode.mode & S_IFMT != S_IFSOCK:
            raise KernelError(Errno.ECONNREFUSED)
        found = getattr(place.inode, "socket", None)
    if found is None or found.closed:
        raise KernelError(Errno.ECONNREFUSED)
    return found


class UnixFamilySocket(UnixSocket, Socket):
    """An AF_UNIX socket of a program."""

    family = AF_UNIX

    # --- names ---------------------------------------------------------------------------------------------

    def bind_name(self, task: Task, name: bytes) -> int:
        """Makes the node of a path, enters an abstract name, or finds a free one."""
        name = read_name(name)
        names = unix_names(self.kernel)
        vfs = self.kernel.vfs
        if self.name:
            if name[:1] not in (b"", b"\0"):
                try:
                    vfs.resolve(task, name, follow=False)
                except KernelError:
                    raise KernelError(Errno.EINVAL) from None
                raise KernelError(Errno.EADDRINUSE)
            raise KernelError(Errno.EINVAL)
        if not name:
            name = _free_name(names, self.kind)
        if name[:1] == b"\0":
            if (name, self.kind) in names:
                raise KernelError(Errno.EADDRINUSE)
            names[name, self.kind] = self
        else:
            try:
                place = vfs.mknod(task, name, S_IFSOCK | 0o777)
            except KernelError as error:
                raise KernelError(Errno.EADDRINUSE if error.errno == Errno.EEXIST else error.errno) from None
            self.node = place.inode
            place.inode.socket = self  # type: ignore[attr-defined]
        self.name = name
        return 0

    def connect_name(self, task: Task, name: bytes) -> MaybeAwait[int]:
        if len(name) >= 2 and self.kind == SOCK_DGRAM and int.from_bytes(name[:2], "little") == AF_UNSPEC:
            self.peer, self.connected, self.peer_name = None, False, b""
            return 0
        path = read_name(name)
        if not path:
            raise KernelError(Errno.EINVAL)
        server = find_socket(task, path, self.kind)
        return self.connect_to(server, identity_of(task), nonblock=self.nonblocking)

    def listen_for(self, task: Task, backlog: int) -> None:
        self.listen(backlog)
        self.identity = identity_of(task)

    def take_connection(self, *, nonblock: bool) -> MaybeAwait[Socket]:
        return self.accept(nonblock=nonblock)  # type: ignore[return-value]

    def local_name(self) -> bytes:
        return name_bytes(self.name)

    def peer_name_bytes(self) -> bytes:
        if not self.connected:
            raise KernelError(Errno.ENOTCONN)
        peer = self.peer
        return name_bytes(peer.name if peer is not None and peer.name else self.peer_name)

    # --- options -------------------------------------------------------------------------------------------

    def set_option(self, task: Task, level: int, option: int, value: bytes) -> None:
        """Buffer sizes are accepted and stay as they are."""
        if level != SOL_SOCKET:
            raise KernelError(Errno.EOPNOTSUPP)
        number = option_number(value)
        if option == SO_PASSCRED:
            self.pass_credentials = bool(number)
        elif option not in IGNORED_OPTIONS and option not in (SO_SNDBUF, SO_RCVBUF, SO_LINGER):
            raise KernelError(Errno.ENOPROTOOPT)

    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        if level != SOL_SOCKET:
            raise KernelError(Errno.EOPNOTSUPP)
        common = self.common_option(option)
        if common is not None:
            return common
        if option == SO_PEERCRED:
            return ucred_bytes(self.peer_identity if self.connected else (0, 0xFFFF_FFFF, 0xFFFF_FFFF))
        if option == SO_LINGER:
            return bytes(8)
        if option == SO_ERROR:
            number, self.pending_error = int(self.pending_error), 0
        elif option in IGNORED_OPTIONS:
            number = 0
        else:
            numbers = {
                SO_SNDBUF: BUFFER_BYTES,
                SO_RCVBUF: BUFFER_BYTES,
                SO_PASSCRED: int(self.pass_credentials),
                SO_ACCEPTCONN: int(self.listening),
            }
            if option not in numbers:
                raise KernelError(Errno.ENOPROTOOPT)
            number = numbers[option]
        return number.to_bytes(4, "little")

    # --- messages ------------------------------------------------------------------------------------------

    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        target = self._target(task, name) if name else None
        files, identity = read_control(task, control) if control else ([], None)
        message = Message(data, files, identity or identity_of(task), self.name)
        try:
            if flags & MSG_OOB:
                raise KernelError(Errno.EOPNOTSUPP)
            if not data and self.kind == SOCK_STREAM and self.connected:
                release_files(files)
                return 0
            sent = self.send(message, target, nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT))
        except KernelError:
            release_files(message.files)
            raise
        return sent if isinstance(sent, int) else _send_later(message, sent)

    def _target(self, task: Task, name: bytes) -> UnixSocket:
        if self.kind != SOCK_DGRAM:
            raise KernelError(Errno.EISCONN if self.connected else Errno.EOPNOTSUPP)
        target = find_socket(task, read_name(name), self.kind)
        if target.kind != self.kind:
            raise KernelError(Errno.EPROTOTYPE)
        return target

    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        peek = bool(flags & MSG_PEEK)
        taken = self.receive(
            count, peek=peek, whole=bool(flags & MSG_WAITALL), nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT)
        )
        return self._received(taken, peek) if isinstance(taken, Message) else self._received_later(taken, peek)

    async def _received_later(self, pending: Any, peek: bool) -> Received:
        return self._received(await pending, peek)

    def _received(self, message: Message, peek: bool) -> Received:
        identity = message.sender if self.pass_credentials else None
        if identity is not None and message.sender[0] == -1:  # the end of a stream comes from nobody
            identity = (0, 0, 0) if self.kind == SOCK_STREAM else None
        name = name_bytes(message.name) if message.name and self.kind != SOCK_STREAM else b""
        files = [file.ref() for file in message.files] if peek else message.files
        return Received(message.data, name, files=files, identity=identity)


async def _send_later(message: Message, pending: Any) -> int:
    try:
        return int(await pending)
    except BaseException:  # an error, or the sender is gone
        release_files(message.files)
        raise


def _free_name(names: dict[tuple[bytes, int], UnixSocket], kind: int) -> bytes:
    """Autobind: five hexadecimal digits."""
    for number in range(_AUTOBIND_LIMIT):
        name = b"\0%05x" % number
        if (name, kind) not in names:
            return name
    raise KernelError(Errno.ENOSPC)
