"""inotify: its four calls. What they do is in inotify.py."""

from __future__ import annotations

from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, UInt, UserPtr
from jefeos.vfs.flags import O_CLOEXEC, O_NONBLOCK, R_OK
from jefeos.vfs.permissions import require_access

from jefeos_abi_linux.calls_files import install
from jefeos_abi_linux.inotify import (
    IN_ALL_EVENTS,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONESHOT,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    InotifyFile,
)

_KNOWN: Final = (
    IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
    | IN_MASK_ADD | IN_MASK_CREATE | IN_ISDIR | IN_ONESHOT
)  # fmt: skip


@syscall("inotify_init")
def inotify_init(task: Task) -> int:
    """inotify_init(2)."""
    return _init(task, 0)


@syscall("inotify_init1")
def inotify_init1(task: Task, flags: Flags) -> int:
    """inotify_init1(2)."""
    return _init(task, flags)


def _init(task: Task, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise KernelError(Errno.EINVAL)
    file = InotifyFile(task.kernel, flags & O_NONBLOCK, task.creds.uid)
    return install(task, file, cloexec=bool(flags & O_CLOEXEC))


def _instance(task: Task, fd: int) -> InotifyFile:
    file = task.files.get(fd)
    if not isinstance(file, InotifyFile):
        raise KernelError(Errno.EINVAL)
    return file


@syscall("inotify_add_watch")
def inotify_add_watch(task: Task, fd: Fd, path: UserPtr, mask: UInt) -> int:
    """inotify_add_watch(2): what is watched must be readable."""
    if not mask & _KNOWN:
        raise KernelError(Errno.EINVAL)
    task.files.get(fd)
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        raise KernelError(Errno.EINVAL)
    instance = _instance(task, fd)
    place = task.kernel.vfs.resolve(
        task, task.mm.read_cstr(path, 4096), follow=not mask & IN_DONT_FOLLOW,
        want_directory=bool(mask & IN_ONLYDIR),
    )  # fmt: skip
    require_access(place.inode, R_OK, task.creds)
    return instance.watch(place, mask)


@syscall("inotify_rm_watch")
def inotify_rm_watch(task: Task, fd: Fd, watch: Int) -> int:
    """inotify_rm_watch(2)."""
    _instance(task, fd).remove(watch)
    return 0
