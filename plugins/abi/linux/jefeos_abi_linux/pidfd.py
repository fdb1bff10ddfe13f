"""Process descriptors (pidfd_open(2)): a file that stands for a process and becomes readable when it ends."""

from __future__ import annotations

from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.process import Process
from jefeos.proc.task import Task
from jefeos.sched.wait import WaitQueue
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_RDWR
from jefeos.vfs.procfs.processes import TaskDirectory

POLLIN: Final = 0x001
POLLRDNORM: Final = 0x040


class PidFile(File):
    """The open file of a pidfd. It outlives the process, and then means nobody."""

    def __init__(self, task: Task, process: Process, flags: int) -> None:
        vfs = task.kernel.vfs
        inode = vfs.anonymous_inode(0o600)
        super().__init__(inode, flags | O_RDWR, vfs.anonymous_path(inode, b"anon_inode:[pidfd]"))
        self.process = process

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.process.is_dead else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.process.exit_queue,)


def give_pidfd(task: Task, process: Process, flags: int) -> int:
    """A new descriptor, closed on exec, that stands for ``process``. Raises EMFILE."""
    file = PidFile(task, process, flags)
    try:
        return task.files.install(file, cloexec=True)
    except KernelError:
        file.unref()
        raise


def process_of(task: Task, fd: int) -> tuple[Process, PidFile]:
    """The process behind a pidfd. Raises EBADF."""
    file = task.files.get(fd)
    if not isinstance(file, PidFile):
        raise KernelError(Errno.EBADF)
    return file.process, file


def signal_target(task: Task, fd: int) -> Process:
    """Whom pidfd_send_signal means: the process of a pidfd, or of an open /proc/PID. Raises EBADF."""
    file = task.files.get(fd)
    if isinstance(file.inode, TaskDirectory) and file.inode.task is None:
        return file.inode.process
    return process_of(task, fd)[0]
