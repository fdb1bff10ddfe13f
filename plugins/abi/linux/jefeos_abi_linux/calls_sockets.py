"""Socket calls, as a kernel without any address family answers them: EAFNOSUPPORT, and ENOTSOCK for a descriptor.

The network stack replaces these through ``jefeos_register_syscalls``. Also here: calls that Linux may be built without
and that answer as such a Linux does.
"""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Path, Size, UInt, UserPtr

from jefeos_abi_linux.files_common import directory_of, file_of

SOCK_TYPE_MASK = 0xF
SOCK_FLAGS = 0o2004000
FAMILY_LIMIT = 46
TYPE_LIMIT = 11


@syscall("socket")
def socket(task: Task, family: Int, kind: Int, protocol: Int) -> int:
    """socket(2)."""
    return _no_family(family, kind)


@syscall("socketpair")
def socketpair(task: Task, family: Int, kind: Int, protocol: Int, descriptors: UserPtr) -> int:
    """socketpair(2)."""
    return _no_family(family, kind)


def _no_family(family: int, kind: int) -> int:
    if kind & ~(SOCK_TYPE_MASK | SOCK_FLAGS):
        raise KernelError(Errno.EINVAL)
    if 0 <= family < FAMILY_LIMIT and not 0 <= kind & SOCK_TYPE_MASK < TYPE_LIMIT:
        raise KernelError(Errno.EINVAL)
    raise KernelError(Errno.EAFNOSUPPORT)


def _no_socket(task: Task, fd: int) -> int:
    file_of(task, fd)
    raise KernelError(Errno.ENOTSOCK)


@syscall("bind")
def bind(task: Task, fd: Fd, address: UserPtr, length: Int) -> int:
    """bind(2)."""
    return _no_socket(task, fd)


@syscall("connect")
def connect(task: Task, fd: Fd, address: UserPtr, length: Int) -> int:
    """connect(2)."""
    return _no_socket(task, fd)


@syscall("listen")
def listen(task: Task, fd: Fd, backlog: Int) -> int:
    """listen(2)."""
    return _no_socket(task, fd)


@syscall("accept")
def accept(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """accept(2)."""
    return _no_socket(task, fd)


@syscall("accept4")
def accept4(task: Task, fd: Fd, address: UserPtr, length: UserPtr, flags: Flags) -> int:
    """accept4(2)."""
    if flags & ~SOCK_FLAGS:
        raise KernelError(Errno.EINVAL)
    return _no_socket(task, fd)


@syscall("getsockname")
def getsockname(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getsockname(2)."""
    return _no_socket(task, fd)


@syscall("getpeername")
def getpeername(task: Task, fd: Fd, address: UserPtr, length: UserPtr) -> int:
    """getpeername(2)."""
    return _no_socket(task, fd)


@syscall("sendto")
def sendto(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, flags: Flags, address: UserPtr, address_length: Int
) -> int:
    """sendto(2)."""
    return _no_socket(task, fd)


@syscall("recvfrom")
def recvfrom(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, flags: Flags, address: UserPtr, address_length: UserPtr
) -> int:
    """recvfrom(2)."""
    return _no_socket(task, fd)


@syscall("sendmsg")
def sendmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> int:
    """sendmsg(2)."""
    return _no_socket(task, fd)


@syscall("recvmsg")
def recvmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> int:
    """recvmsg(2)."""
    return _no_socket(task, fd)


@syscall("sendmmsg")
def sendmmsg(task: Task, fd: Fd, messages: UserPtr, count: UInt, flags: Flags) -> int:
    """sendmmsg(2)."""
    return _no_socket(task, fd)


@syscall("recvmmsg")
def recvmmsg(task: Task, fd: Fd, messages: UserPtr, count: UInt, flags: Flags, timeout: UserPtr) -> int:
    """recvmmsg(2)."""
    return _no_socket(task, fd)


@syscall("shutdown")
def shutdown(task: Task, fd: Fd, how: Int) -> int:
    """shutdown(2)."""
    return _no_socket(task, fd)


@syscall("setsockopt")
def setsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: Int) -> int:
    """setsockopt(2)."""
    return _no_socket(task, fd)


@syscall("getsockopt")
def getsockopt(task: Task, fd: Fd, level: Int, option: Int, value: UserPtr, length: UserPtr) -> int:
    """getsockopt(2)."""
    return _no_socket(task, fd)


# --- file calls that are refused ------------------------------------------------------------------------------


@syscall("name_to_handle_at")
def name_to_handle_at(
    task: Task, dirfd: Fd, path: Path, handle: UserPtr, mount_id: UserPtr, flags: Flags
) -> int:
    """name_to_handle_at(2): no filesystem here has handles."""
    if path:
        task.kernel.vfs.resolve(task, path, at=directory_of(task, dirfd, path))
    raise KernelError(Errno.EOPNOTSUPP)


@syscall("open_by_handle_at")
def open_by_handle_at(task: Task, mount_fd: Fd, handle: UserPtr, flags: Flags) -> int:
    """open_by_handle_at(2)."""
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    raise KernelError(Errno.ESTALE)


@syscall("swapon")
def swapon(task: Task, path: UserPtr, flags: Flags) -> int:
    """swapon(2): there is no swap."""
    raise KernelError(Errno.EPERM if not task.creds.privileged else Errno.EINVAL)


@syscall("swapoff")
def swapoff(task: Task, path: UserPtr) -> int:
    """swapoff(2)."""
    raise KernelError(Errno.EPERM if not task.creds.privileged else Errno.EINVAL)
