"""Calls that Linux may be built or set up without, and that answer as such a Linux does."""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Path, ULong, UserPtr

from jefeos_abi_linux.files_common import directory_of


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


@syscall("modify_ldt")
def modify_ldt(task: Task, function: Int, data: UserPtr, count: ULong) -> int:
    """modify_ldt(2): the table is empty, and 64-bit programs have no use for entries."""
    if function in (0, 2):
        return 0
    return 0x1_0000_0000 - Errno.ENOSYS  # Linux gives its result as an unsigned int: to a 64-bit program no error
