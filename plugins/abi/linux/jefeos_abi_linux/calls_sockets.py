"""Socket calls: the AF_UNIX family. Every other family is EAFNOSUPPORT.

A network stack adds its families by replacing `socket` and, for its own files, the others through
``jefeos_register_syscalls``. What is no socket is ENOTSOCK.
"""

from __future__ import annotations

from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, UserPtr
from jefeos.vfs.flags import O_CLOEXEC, O_NONBLOCK, S_IFMT, S_IFSOCK, W_OK
from jefeos.vfs.permissions import require_access

from jefeos_abi_linux.calls_descriptors import install_pair
from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.socket_messages import (
    AF_UNIX,
    AF_UNSPEC,
    SOL_SOCKET,
    give_name,
    read_name,
    ucred_bytes,
)
from jefeos_abi_linux.structs_common import read_timeval, timeval_bytes
from jefeos_abi_linux.unix_sockets import (
    BUFFER_BYTES,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    Identity,
    UnixSocket,
    unix_names,
)

SOCK_TYPE_MASK: Final = 0xF
SOCK_RAW: Final = 3
SOCK_FLAGS: Final = O_CLOEXEC | O_NONBLOCK
FAMILY_LIMIT: Final = 46
TYPE_LIMIT: Final = 11
SHUT_RD, SHUT_WR, SHUT_RDWR = range(3)
_AUTOBIND_LIMIT: Final = 1 << 20


def identity_of(task: Task) -> Identity:
    """Who a task is, as SO_PEERCRED tells it."""
    return task.process.pid, task.creds.euid, task.creds.egid


def socket_of(task: Task, fd: int) -> UnixSocket:
    """The socket behind ``fd``. EBADF, ENOTSOCK."""
    file = file_of(task, fd)
    if not isinstance(file, UnixSocket):
        raise KernelError(Errno.ENOTSOCK)
    return file


def _make(task: Task, family: int, kind: int, protocol: int) -> UnixSocket:
    if kind & ~(SOCK_TYPE_MASK | SOCK_FLAGS):
        raise KernelError(Errno.EINVAL)
    base = kind & SOCK_TYPE_MASK
    if 0 <= family < FAMILY_LIMIT and not 0 <= base < TYPE_LIMIT:
        raise KernelError(Errno.EINVAL)
    if family != AF_UNIX:
        raise KernelError(Errno.EAFNOSUPPORT)
    if protocol not in (0, AF_UNIX):
        raise KernelError(Errno.EPROTONOSUPPORT)
    if base == SOCK_RAW:
        base = SOCK_DGRAM
    if base not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
        raise KernelError(Errno.ESOCKTNOSUPPORT)
    return UnixSocket(task.kernel, base, kind & O_NONBLOCK, identity_of(task))


def _install(task: Task, made: UnixSocket, cloexec: int) -> int:
    try:
        return task.files.install(made, cloexec=bool(cloexec))
    except KernelError:
        made.unref()
        raise


@syscall("socket")
def socket(task: Task, family: Int, kind: Int, protocol: Int) -> int:
    """socket(2)."""
    return _install(task, _make(task, family, kind, protocol), kind & O_CLOEXEC)


@syscall("socketpair")
def socketpair(task: Task, family: Int, kind: Int, protocol: Int, descriptors: UserPtr) -> int:
    """socketpair(2)."""
    one = _make(task, family, kind, protocol)
    two = _make(task, family, kind, protocol)
    one.pair_with(two)
    return install_pair(task, (one, two), descriptors, cloexec=bool(kind & O_CLOEXEC))


# --- names ----------------------------------------------------------------------------------------------------


@syscall("bind")
def bind(task: Task, fd: Fd, address: UserPtr, length: Int) -> int:
    """bind(2): makes the node of a path, enters an abstract name, or finds a free one."""
    found = socket_of(task, fd)
    name = read_name(task, address, length)
    names = unix_names(task.kernel)
    vfs = task.kernel.vfs
    if found.name:
        if name[:1] not in (b"", b"\0"):
            try:
                vfs.resolve(task, name, follow=False)
            except KernelError:
                raise KernelError(Errno.EINVAL) from None
            raise KernelError(Errno.EADDRINUSE)
        raise KernelError(Errno.EINVAL)
    if not name:
        name = _free_name(names, found.kind)
    if name[:1] == b"\0":
        if (name, found.kind) in names:
            raise KernelError(Errno.EADDRINUSE)
        names[name, found.kind] = found
    else:
        try:
            place = vfs.mknod(task, name, S_IFSOCK | 0o777)
        except KernelError as error:
            raise KernelError(Errno.EADDRINUSE if error.errno == Errno.EEXIST else error.errno) from None
        found.node = place.inode
        place.inode.socket = found  # type: ignore[attr-defined]
    found.name = name
    return 0


def _free_name(names: dict[tuple[bytes, int], UnixSocket], kind: int) -> bytes:
    """Autobind: five hexadecimal digits."""
    for number in range(_AUTOBIND_LIMIT):
        name = b"\0%05x" % number
        if (name, kind) not in names:
            return name
    raise KernelError(Errno.ENOSPC)


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


@syscall("connect")
def connect(task: Task, fd: Fd, address: UserPtr, length: Int) -> MaybeAwait[int]:
    """connect(2). AF_UNSPEC takes a datagram socket's peer away."""
    found = socket_of(task, fd)
    if length >= 2 and found.kind == SOCK_DGRAM:
        family = int.from_bytes(task.mm.read(address, 2), "little")
        if family == AF_UNSPEC:
            found.peer, found.connected, found.peer_name = None, False, b""
            return 0
    name = read_name(task, address, length)
    if not name:
        raise KernelError(Errno.EINVAL)
    server = find_socket(task, name, found.kind)
    return found.connect_to(server, identity_of(task), nonblock=found.nonblocking)


@syscall("listen")
def listen(task: Task, fd: Fd, backlog: Int) -> int:
    """listen(2)."""
    found = socket_of(task, fd)
    found.listen(backlog)
    found.identity = identity_of(task)
    return 0


@syscall("accept")
def accept(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> MaybeAwait[int]:
    """accept(2)."""
    return _accept(task, fd, address, length, 0)


@syscall("accept4")
def accept4(task: Task, fd: Fd, address: UserPtr, length: UserPtr, flags: Flags) -> MaybeAwait[int]:
    """accept4(2)."""
    if flags & ~SOCK_FLAGS:
        raise KernelError(Errno.EINVAL)
    return _accept(task, fd, address, length, flags)


def _accept(task: Task, fd: int, address: int, length: int, flags: int) -> MaybeAwait[int]:
    found = socket_of(task, fd)
    task.files.require_free()  # before a connection is taken, that would be lost with the error
    connection = found.accept(nonblock=found.nonblocking)
    if isinstance(connection, UnixSocket):
        return _accepted(task, connection, address, length, flags)
    return _accept_later(task, connection, address, length, flags)


async def _accept_later(task: Task, pending: Any, address: int, length: int, flags: int) -> int:
    return _accepted(task, await pending, address, length, flags)


def _accepted(task: Task, connection: UnixSocket, address: int, length: int, flags: int) -> int:
    connection.set_flags(flags & O_NONBLOCK)
    try:
        if address:
            give_name(task, connection.peer_name, address, length)
    except KernelError:
        connection.unref()
        raise
    return _install(task, connection, flags & O_CLOEXEC)


@syscall("getsockname")
def getsockname(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getsockname(2)."""
    give_name(task, socket_of(task, fd).name, address, length)
    return 0


@syscall("getpeername")
def getpeername(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getpeername(2)."""
    found = socket_of(task, fd)
    if not found.connected:
        raise KernelError(Errno.ENOTCONN)
    peer = found.peer
    give_name(task, peer.name if peer is not None and peer.name else found.peer_name, address, length)
    return 0


@syscall("shutdown")
def shutdown(task: Task, fd: Fd, how: Int) -> int:
    """shutdown(2)."""
    found = socket_of(task, fd)
    if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
        raise KernelError(Errno.EINVAL)
    found.shut_down(how != SHUT_WR, how != SHUT_RD)
    return 0


# --- options --------------------------------------------------------------------------------------------------

SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_LINGER: Final = 13
SO_PASSCRED: Final = 16
SO_PEERCRED: Final = 17
SO_RCVTIMEO: Final = 20
SO_SNDTIMEO: Final = 21
SO_ACCEPTCONN: Final = 30
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39
IGNORED_OPTIONS: Final = frozenset((1, 2, 5, 6, 9, 12, 15, 18, 29, 32, 33))
"""Switches that mean nothing here: SO_DEBUG, SO_REUSEADDR, SO_KEEPALIVE, SO_PRIORITY …; they read as 0."""


@syscall("setsockopt")
def setsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: Int) -> int:
    """setsockopt(2) at SOL_SOCKET. Buffer sizes are accepted and stay as they are."""
    found = socket_of(task, fd)
    if level != SOL_SOCKET:
        raise KernelError(Errno.EOPNOTSUPP)
    if option in (SO_RCVTIMEO, SO_SNDTIMEO):
        if length < 16:
            raise KernelError(Errno.EINVAL)
        timeout_ns = read_timeval(task.mm, value) or None
        if option == SO_RCVTIMEO:
            found.receive_timeout_ns = timeout_ns
        else:
            found.send_timeout_ns = timeout_ns
        return 0
    if length < 4:
        raise KernelError(Errno.EINVAL)
    number = task.mm.read_u32(value)
    if option == SO_PASSCRED:
        found.pass_credentials = bool(number)
    elif option not in IGNORED_OPTIONS and option not in (SO_SNDBUF, SO_RCVBUF, SO_LINGER):
        raise KernelError(Errno.ENOPROTOOPT)
    return 0


@syscall("getsockopt")
def getsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: UserPtr) -> int:
    """getsockopt(2) at SOL_SOCKET."""
    found = socket_of(task, fd)
    if level != SOL_SOCKET:
        raise KernelError(Errno.EOPNOTSUPP)
    room = (task.mm.read_u32(length) ^ 0x8000_0000) - 0x8000_0000
    if room < 0:
        raise KernelError(Errno.EINVAL)
    data = _option(found, option)[:room]
    task.mm.write(value, data)
    task.mm.write_u32(length, len(data))
    return 0


def _option(found: UnixSocket, option: int) -> bytes:
    if option == SO_PEERCRED:
        return ucred_bytes(found.peer_identity if found.connected else (0, 0xFFFF_FFFF, 0xFFFF_FFFF))
    if option in (SO_RCVTIMEO, SO_SNDTIMEO):
        timeout_ns = found.receive_timeout_ns if option == SO_RCVTIMEO else found.send_timeout_ns
        return timeval_bytes(timeout_ns or 0)
    if option == SO_LINGER:
        return bytes(8)
    if option == SO_ERROR:
        number, found.pending_error = int(found.pending_error), 0
    elif option in IGNORED_OPTIONS:
        number = 0
    else:
        numbers = {
            SO_TYPE: found.kind,
            SO_SNDBUF: BUFFER_BYTES,
            SO_RCVBUF: BUFFER_BYTES,
            SO_PASSCRED: int(found.pass_credentials),
            SO_ACCEPTCONN: int(found.listening),
            SO_PROTOCOL: 0,
            SO_DOMAIN: AF_UNIX,
        }
        if option not in numbers:
            raise KernelError(Errno.ENOPROTOOPT)
        number = numbers[option]
    return number.to_bytes(4, "little")


