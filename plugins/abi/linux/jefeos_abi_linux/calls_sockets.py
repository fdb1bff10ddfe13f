"""Socket calls: making sockets, their names and options. Each family does its own part (`sockets.Socket`).

AF_UNIX is here; AF_INET, AF_INET6, AF_PACKET and AF_NETLINK stand on the kernel's network stack, and are EAFNOSUPPORT
without one, as is every other family. What is no socket is ENOTSOCK.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, UserPtr
from jefeos.vfs.flags import O_CLOEXEC, O_NONBLOCK

from jefeos_abi_linux.calls_descriptors import install_pair
from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.socket_messages import MAX_NAME_BYTES, give_name
from jefeos_abi_linux.sockets import AF_UNIX, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, Maker, Socket
from jefeos_abi_linux.structs_common import read_timeval
from jefeos_abi_linux.unix_family import UnixFamilySocket, make_unix

SOCK_TYPE_MASK: Final = 0xF
SOCK_FLAGS: Final = O_CLOEXEC | O_NONBLOCK
FAMILY_LIMIT: Final = 46
TYPE_LIMIT: Final = 11
SHUT_RD, SHUT_WR, SHUT_RDWR = range(3)
MAX_OPTION_BYTES: Final = 65536
_MAKERS: Final = {
    2: ("jefeos_abi_linux.inet_sockets", "make_inet"),
    10: ("jefeos_abi_linux.inet_sockets", "make_inet"),
    16: ("jefeos_abi_linux.netlink", "make_netlink"),
    17: ("jefeos_abi_linux.packet_sockets", "make_packet"),
}
"""Families whose modules are imported only by the first program that asks for one."""


def socket_of(task: Task, fd: int) -> Socket:
    """The socket behind ``fd``. EBADF, ENOTSOCK."""
    file = file_of(task, fd)
    if not isinstance(file, Socket):
        raise KernelError(Errno.ENOTSOCK)
    return file


def _make(task: Task, family: int, kind: int, protocol: int) -> Socket:
    if kind & ~(SOCK_TYPE_MASK | SOCK_FLAGS):
        raise KernelError(Errno.EINVAL)
    base = kind & SOCK_TYPE_MASK
    if 0 <= family < FAMILY_LIMIT and not 0 <= base < TYPE_LIMIT:
        raise KernelError(Errno.EINVAL)
    if family == AF_UNIX:
        return make_unix(task, family, base, protocol, kind)
    if family not in _MAKERS:
        raise KernelError(Errno.EAFNOSUPPORT)
    module, name = _MAKERS[family]
    make: Maker = getattr(import_module(module), name)
    return make(task, family, base, protocol, kind & O_NONBLOCK)


def _install(task: Task, made: Socket, cloexec: int) -> int:
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
    """socketpair(2): only AF_UNIX has pairs."""
    one = _make(task, family, kind, protocol)
    if not isinstance(one, UnixFamilySocket):
        one.unref()
        raise KernelError(Errno.EOPNOTSUPP)
    two = _make(task, family, kind, protocol)
    assert isinstance(two, UnixFamilySocket)
    one.pair_with(two)
    return install_pair(task, (one, two), descriptors, cloexec=bool(kind & O_CLOEXEC))


# --- names ----------------------------------------------------------------------------------------------------


def name_argument(task: Task, address: int, length: int) -> bytes:
    """A sockaddr from the program. EINVAL for a length that none has, EFAULT."""
    if not 0 <= length <= MAX_NAME_BYTES:
        raise KernelError(Errno.EINVAL)
    return task.mm.read(address, length) if length else b""


@syscall("bind")
def bind(task: Task, fd: Fd, address: UserPtr, length: Int) -> int:
    """bind(2)."""
    return socket_of(task, fd).bind_name(task, name_argument(task, address, length))


@syscall("connect")
def connect(task: Task, fd: Fd, address: UserPtr, length: Int) -> MaybeAwait[int]:
    """connect(2)."""
    return socket_of(task, fd).connect_name(task, name_argument(task, address, length))


@syscall("listen")
def listen(task: Task, fd: Fd, backlog: Int) -> int:
    """listen(2)."""
    socket_of(task, fd).listen_for(task, backlog)
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
    connection = found.take_connection(nonblock=found.nonblocking)
    if isinstance(connection, Socket):
        return _accepted(task, connection, address, length, flags)
    return _accept_later(task, connection, address, length, flags)


async def _accept_later(task: Task, pending: Any, address: int, length: int, flags: int) -> int:
    return _accepted(task, await pending, address, length, flags)


def _accepted(task: Task, connection: Socket, address: int, length: int, flags: int) -> int:
    connection.set_flags(flags & O_NONBLOCK)
    try:
        if address:
            give_name(task, connection.peer_name_bytes(), address, length)
    except KernelError:
        connection.unref()
        raise
    return _install(task, connection, flags & O_CLOEXEC)


@syscall("getsockname")
def getsockname(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getsockname(2)."""
    give_name(task, socket_of(task, fd).local_name(), address, length)
    return 0


@syscall("getpeername")
def getpeername(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getpeername(2)."""
    give_name(task, socket_of(task, fd).peer_name_bytes(), address, length)
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


@syscall("setsockopt")
def setsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: Int) -> int:
    """setsockopt(2)."""
    found = socket_of(task, fd)
    if not 0 <= length <= MAX_OPTION_BYTES:
        raise KernelError(Errno.EINVAL)
    if level == SOL_SOCKET and option in (SO_RCVTIMEO, SO_SNDTIMEO):
        if length < 16:
            raise KernelError(Errno.EINVAL)
        timeout_ns = read_timeval(task.mm, value) or None
        if option == SO_RCVTIMEO:
            found.receive_timeout_ns = timeout_ns
        else:
            found.send_timeout_ns = timeout_ns
        return 0
    found.set_option(task, level, option, task.mm.read(value, length) if length else b"")
    return 0


@syscall("getsockopt")
def getsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: UserPtr) -> int:
    """getsockopt(2)."""
    found = socket_of(task, fd)
    room = (task.mm.read_u32(length) ^ 0x8000_0000) - 0x8000_0000
    if room < 0:
        raise KernelError(Errno.EINVAL)
    data = found.answer_option(level, option, lambda: task.mm.read(value, min(room, 4)))
    if data is None:
        data = found.get_option(task, level, option, room)[:room]
    task.mm.write(value, data)
    task.mm.write_u32(length, len(data))
    return 0
