"""POSIX message queues (mq_overview(7)): the queues, and the filesystem "mqueue" in which they have their names.

    MessageQueueFilesystem ── name ── MessageQueue (inode) ── MessageQueueFile (what mq_open gives)
                                           messages by priority, then age
                                           one registration for notification

There is one such filesystem for each kernel. Calls find names in it whether it is mounted or not; mounted, it shows
the queues as files whose text tells their state. Limits are those of /proc/sys/fs/mqueue and RLIMIT_MSGQUEUE, which
counts the bytes that a user's queues may come to hold.

Not here: IPC namespaces, and notification by SIGEV_THREAD, for which the C libraries need a netlink socket.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import frozen
from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.signals import SignalInfo
from jefeos.sched.wait import WaitQueue
from jefeos.vfs.file import SeekableFile
from jefeos.vfs.flags import POLL_READABLE, POLL_WRITABLE, S_IFDIR, S_IFMT, S_IFREG, S_ISVTX
from jefeos.vfs.inode import Inode, OpenContext
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.vfs.file import File
    from jefeos.vfs.path import Path

SI_MESGQ: Final = -3
STATUS_BYTES: Final = 80
"""The size that a queue shows as a file."""
OVERHEAD_BYTES: Final = 48
"""What Linux counts for each message, and once more for each priority in use, besides the contents."""
PRIORITIES: Final = 32768
MQUEUE_MAGIC: Final = 0x19800202


class Message(NamedTuple):
    """A message; ordered as they are taken: highest priority first, then oldest."""

    inverse_priority: int
    serial: int
    data: bytes


@frozen
class Registration:
    """Who is to be told that a message came to the empty queue, and how (SIGEV_*). Without a signal nobody is, but
    the place is taken."""

    process: Process
    notify: int
    signo: int
    value: int


class MessageQueue(TmpfsInode):
    """A queue of at most ``max_messages`` messages of at most ``message_bytes`` each."""

    fs: MessageQueueFilesystem

    def __init__(self, fs: MessageQueueFilesystem, mode: int, uid: int, gid: int, *, max_messages: int,
                 message_bytes: int) -> None:
        super().__init__(fs, fs.next_ino(), mode, uid, gid, size=STATUS_BYTES)
        self.max_messages = max_messages
        self.message_bytes = message_bytes
        self.messages: list[Message] = []
        self.registration: Registration | None = None
        self.senders = WaitQueue()
        self.receivers = WaitQueue()
        self._serial = 0

    @property
    def most_bytes(self) -> int:
        """What RLIMIT_MSGQUEUE counts."""
        return bytes_of(self.max_messages, self.message_bytes)

    @property
    def is_full(self) -> bool:
        """Whether a sender has to wait."""
        return len(self.messages) >= self.max_messages

    def put(self, data: bytes, priority: int, sender: Process) -> None:
        """Queue a message; if the queue was empty and nobody waits for one, tell who registered."""
        was_empty, awaited = not self.messages, bool(self.receivers)
        self._serial += 1
        insort(self.messages, Message(-priority, self._serial, data))
        self.ctime_ns = self.mtime_ns = self.atime_ns = self.fs.clock.realtime_ns()
        self.receivers.wake_all()
        registration = self.registration
        if registration is not None and was_empty and not awaited:
            self.registration = None
            if registration.signo:
                info = SignalInfo(
                    registration.signo, SI_MESGQ, sender.pid, sender.creds.uid, value=registration.value
                )
                sender.kernel.signals.send_process(registration.process, registration.signo, info)

    def take(self) -> tuple[bytes, int]:
        """The next message and its priority."""
        message = self.messages.pop(0)
        self.ctime_ns = self.atime_ns = self.fs.clock.realtime_ns()
        self.senders.wake_all()
        return message.data, -message.inverse_priority

    def status(self) -> bytes:
        """What reading it as a file gives."""
        registration = self.registration
        return b"QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n" % (
            sum(len(message.data) for message in self.messages),
            registration.notify if registration is not None else 0,
            registration.signo if registration is not None else 0,
            registration.process.pid if registration is not None else 0,
        )

    def open(self, flags: int, context: OpenContext) -> File:
        return MessageQueueFile(self, flags, context.path)

    def read(self, offset: int, count: int) -> bytes:
        return self.status()[offset : offset + count]

    def write(self, offset: int, data: bytes) -> int:
        raise KernelError(Errno.EINVAL)

    def truncate(self, size: int) -> None:
        """A new size means nothing to a queue."""

    def evict(self) -> None:
        self.fs.charge(self.uid, -self.most_bytes)
        super().evict()


class MessageQueueFile(SeekableFile):
    """An open queue: a descriptor that mq_send and mq_receive take, and that can be polled."""

    inode: MessageQueue

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        return self.inode.read(offset, count)

    def pwrite(self, data: bytes, offset: int) -> int:
        raise KernelError(Errno.EINVAL if self.writable else Errno.EBADF)

    def poll(self) -> int:
        queue = self.inode
        return (POLL_READABLE if queue.messages else 0) | (0 if queue.is_full else POLL_WRITABLE)

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.inode.receivers, self.inode.senders)

    def release(self) -> None:
        """mq_close(3) ends the registration of whoever closes. (Linux: at any of its descriptors, here at the last.)"""
        queue = self.inode
        registration, task = queue.registration, queue.fs.kernel.executor.current
        if registration is not None and (task is None or task.process is registration.process):
            queue.registration = None
        super().release()


class _Root(TmpfsInode):
    """The directory of all queues: names can be made and removed in it, not moved."""

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        raise KernelError(Errno.EPERM)

    def link(self, name: bytes, inode: Inode) -> None:
        raise KernelError(Errno.EPERM)


class MessageQueueFilesystem(Tmpfs):
    """The names of the queues."""

    name = "mqueue"
    magic = MQUEUE_MAGIC
    cacheable_dentries = False  # names come and go by mq_open and mq_unlink

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.charged: dict[int, int] = {}
        """Bytes of each user's queues."""
        super().__init__(None, kernel.clock, root_mode=0o777 | S_ISVTX)

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        if mode & S_IFMT == S_IFDIR and self.inodes_used == 0:
            return _Root(self, self.next_ino(), mode, uid, gid)
        if mode & S_IFMT != S_IFREG:
            raise KernelError(Errno.EPERM)
        task = self.kernel.executor.current
        limit_bytes = task.process.limit(RLimit.MSGQUEUE) if task is not None else UNLIMITED
        return self.new_queue(mode, uid, gid, None, None, limit_bytes)

    def new_queue(self, mode: int, uid: int, gid: int, max_messages: int | None, message_bytes: int | None,
                  limit_bytes: int) -> MessageQueue:
        """A queue without a name; None for the system's default sizes. EMFILE past the user's limit of bytes."""
        number = self.kernel.settings.number
        if max_messages is None:
            max_messages = min(number("fs/mqueue/msg_max"), number("fs/mqueue/msg_default"))
        if message_bytes is None:
            message_bytes = min(number("fs/mqueue/msgsize_max"), number("fs/mqueue/msgsize_default"))
        needed = bytes_of(max_messages, message_bytes)
        if self.charged.get(uid, 0) + needed > limit_bytes:
            raise KernelError(Errno.EMFILE)
        self.charge(uid, needed)
        return MessageQueue(self, mode, uid, gid, max_messages=max_messages, message_bytes=message_bytes)

    def charge(self, uid: int, change_bytes: int) -> None:
        """A user's queues hold more, or less."""
        self.charged[uid] = self.charged.get(uid, 0) + change_bytes

    def place(self, queue: MessageQueue, name: bytes) -> Path:
        """What /proc/PID/fd shows of an open queue."""
        return self.kernel.vfs.anonymous_path(queue, b"/" + name)


def bytes_of(max_messages: int, message_bytes: int) -> int:
    """What a queue of this size counts for."""
    return max_messages * (message_bytes + OVERHEAD_BYTES) + min(max_messages, PRIORITIES) * OVERHEAD_BYTES


def message_queues(kernel: Any) -> MessageQueueFilesystem:
    """The one of a kernel, made at first use."""
    found: MessageQueueFilesystem | None = getattr(kernel, "message_queues", None)
    if found is None:
        found = kernel.message_queues = MessageQueueFilesystem(kernel)
    return found


