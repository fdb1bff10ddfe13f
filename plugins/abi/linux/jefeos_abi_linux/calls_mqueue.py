"""POSIX message queues: mq_open, mq_unlink, mq_timedsend, mq_timedreceive, mq_notify, mq_getsetattr."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.signals import SIGNAL_COUNT
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.structs import Struct, pad, s64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Int, Mode, Path, Size, UInt, UserPtr
from jefeos.vfs.flags import (
    NAME_MAX,
    O_ACCMODE,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    O_RDWR,
    O_WRONLY,
    R_OK,
    S_IFREG,
    W_OK,
    X_OK,
)
from jefeos.vfs.namespace import evict_if_unused
from jefeos.vfs.permissions import may_access, ownership_of_new, require_access

from jefeos_abi_linux.calls_files import install
from jefeos_abi_linux.message_queues import (
    PRIORITIES,
    MessageQueue,
    MessageQueueFile,
    MessageQueueFilesystem,
    Registration,
    message_queues,
)
from jefeos_abi_linux.structs_common import read_timespec

HARD_MESSAGES: Final = 65536
HARD_MESSAGE_BYTES: Final = 16 << 20
SIGEV_SIGNAL: Final = 0
SIGEV_NONE: Final = 1
SIGEV_THREAD: Final = 2
SIGEVENT_BYTES: Final = 64
_SIGEVENT: Final = struct.Struct("<Qii")
_ACCESS: Final = {0: R_OK, O_WRONLY: W_OK, O_RDWR: R_OK | W_OK}


class MqAttr(Struct):
    """struct mq_attr (linux/mqueue.h)."""

    mq_flags: int = s64()
    mq_maxmsg: int = s64()
    mq_msgsize: int = s64()
    mq_curmsgs: int = s64()
    _reserved = pad(32)


# --- names ----------------------------------------------------------------------------------------------------


def _checked_name(name: bytes) -> bytes:
    """A name as it stands in the filesystem: the C library has taken the leading slash away."""
    if not name:
        raise KernelError(Errno.ENOENT)
    if b"/" in name or name in (b".", b".."):
        raise KernelError(Errno.EACCES)
    if len(name) > NAME_MAX:
        raise KernelError(Errno.ENAMETOOLONG)
    return name


@syscall("mq_open")
def mq_open(task: Task, name: Path, flags: Int, mode: Mode, attributes: UserPtr) -> int:
    """mq_open(3)."""
    wanted = MqAttr.parse(task.mm.read(attributes, MqAttr.size)) if attributes else None
    fs = message_queues(task.kernel)
    _checked_name(name)
    found = fs.root.entries.get(name)
    access = _ACCESS.get(flags & O_ACCMODE)
    if found is not None:
        if flags & O_CREAT and flags & O_EXCL:
            raise KernelError(Errno.EEXIST)
        if access is None:
            raise KernelError(Errno.EINVAL)
        require_access(found, access, task.creds)
    elif not flags & O_CREAT:
        raise KernelError(Errno.ENOENT)
    else:
        found = _create(task, fs, name, mode, wanted)
    assert isinstance(found, MessageQueue)
    file = MessageQueueFile(found, flags & (O_ACCMODE | O_NONBLOCK), fs.place(found, name))
    return install(task, file, cloexec=True)  # whatever the flags say


def _create(
    task: Task, fs: MessageQueueFilesystem, name: bytes, mode: int, wanted: MqAttr | None
) -> MessageQueue:
    number, creds = task.kernel.settings.number, task.creds
    if fs.inodes_used - 1 >= number("fs/mqueue/queues_max") and not creds.privileged:
        raise KernelError(Errno.ENOSPC)
    if wanted is not None:
        most, most_bytes = number("fs/mqueue/msg_max"), number("fs/mqueue/msgsize_max")
        if creds.privileged:
            most, most_bytes = HARD_MESSAGES, HARD_MESSAGE_BYTES
        if not 0 < wanted.mq_maxmsg <= most or not 0 < wanted.mq_msgsize <= most_bytes:
            raise KernelError(Errno.EINVAL)
    require_access(fs.root, W_OK | X_OK, creds)
    mode, uid, gid = ownership_of_new(fs.root, S_IFREG | mode & 0o7777, task)
    queue = fs.new_queue(
        mode, uid, gid,
        wanted.mq_maxmsg if wanted is not None else None,
        wanted.mq_msgsize if wanted is not None else None,
        task.process.limit(RLimit.MSGQUEUE),
    )  # fmt: skip
    fs.root.entries[name] = queue
    return queue


@syscall("mq_unlink")
def mq_unlink(task: Task, name: Path) -> int:
    """mq_unlink(3): the name goes at once, the queue with its last descriptor."""
    fs = message_queues(task.kernel)
    queue = fs.root.entries.get(_checked_name(name))
    if queue is None:
        raise KernelError(Errno.ENOENT)
    if not may_access(fs.root, W_OK | X_OK, task.creds):
        raise KernelError(Errno.EACCES)
    if task.creds.fsuid not in (0, queue.uid, fs.root.uid):  # the directory is sticky
        raise KernelError(Errno.EPERM)
    fs.root.unlink(name)
    evict_if_unused(queue)
    return 0


# --- messages -------------------------------------------------------------------------------------------------


def _queue_file(task: Task, fd: int) -> MessageQueueFile:
    file = task.files.get(fd)
    if not isinstance(file, MessageQueueFile):
        raise KernelError(Errno.EBADF)
    return file


@syscall("mq_timedsend")
def mq_timedsend(
    task: Task, fd: Fd, message: UserPtr, length: Size, priority: UInt, timeout: UserPtr
) -> MaybeAwait[int]:
    """mq_timedsend(3)."""
    deadline_ns = read_timespec(task.mm, timeout) if timeout else None
    if priority >= PRIORITIES:
        raise KernelError(Errno.EINVAL)
    file = _queue_file(task, fd)
    if not file.writable:
        raise KernelError(Errno.EBADF)
    queue = file.inode
    if length > queue.message_bytes:
        raise KernelError(Errno.EMSGSIZE)
    data = task.mm.read(message, length) if length else b""
    if not queue.is_full:
        queue.put(data, priority, task.process)
        return 0
    if file.nonblocking:
        raise KernelError(Errno.EAGAIN)
    return _send_later(task, file, data, priority, deadline_ns)


async def _send_later(
    task: Task, file: MessageQueueFile, data: bytes, priority: int, deadline_ns: int | None
) -> int:
    queue = file.inode
    file.ref()
    try:
        while queue.is_full:
            await _until(task, queue.senders, deadline_ns)
        queue.put(data, priority, task.process)
    finally:
        file.unref()
    return 0


@syscall("mq_timedreceive")
def mq_timedreceive(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, priority: UserPtr, timeout: UserPtr
) -> MaybeAwait[int]:
    """mq_timedreceive(3)."""
    deadline_ns = read_timespec(task.mm, timeout) if timeout else None
    file = _queue_file(task, fd)
    if not file.readable:
        raise KernelError(Errno.EBADF)
    queue = file.inode
    if length < queue.message_bytes:
        raise KernelError(Errno.EMSGSIZE)
    if queue.messages:
        return _give(task, queue, buffer, priority)
    if file.nonblocking:
        raise KernelError(Errno.EAGAIN)
    return _receive_later(task, file, buffer, priority, deadline_ns)


async def _receive_later(
    task: Task, file: MessageQueueFile, buffer: int, priority: int, deadline_ns: int | None
) -> int:
    queue = file.inode
    file.ref()
    try:
        while not queue.messages:
            await _until(task, queue.receivers, deadline_ns)
        return _give(task, queue, buffer, priority)
    finally:
        file.unref()


def _give(task: Task, queue: MessageQueue, buffer: int, priority_address: int) -> int:
    data, priority = queue.take()
    if priority_address:
        task.mm.write_u32(priority_address, priority)
    if data:
        task.mm.write(buffer, data)
    return len(data)


async def _until(task: Task, queue: WaitQueue, deadline_ns: int | None) -> None:
    """Wait for a change. ETIMEDOUT once the date ``deadline_ns`` has come."""
    left_ns = None if deadline_ns is None else deadline_ns - task.kernel.clock.realtime_ns()
    if left_ns is not None and left_ns <= 0 or not await queue.wait(left_ns):
        raise KernelError(Errno.ETIMEDOUT)


# --- state ----------------------------------------------------------------------------------------------------


@syscall("mq_getsetattr")
def mq_getsetattr(task: Task, fd: Fd, new: UserPtr, old: UserPtr) -> int:
    """mq_getattr(3) and mq_setattr(3): only O_NONBLOCK can be changed."""
    wanted = MqAttr.parse(task.mm.read(new, MqAttr.size)) if new else None
    if wanted is not None and wanted.mq_flags & ~O_NONBLOCK:
        raise KernelError(Errno.EINVAL)
    file = _queue_file(task, fd)
    queue = file.inode
    before = MqAttr(
        mq_flags=file.flags & O_NONBLOCK,
        mq_maxmsg=queue.max_messages,
        mq_msgsize=queue.message_bytes,
        mq_curmsgs=len(queue.messages),
    )
    if wanted is not None:
        file.set_flags(file.flags & ~O_NONBLOCK | wanted.mq_flags)
    if old:
        task.mm.write(old, before.pack())
    return 0


@syscall("mq_notify")
def mq_notify(task: Task, fd: Fd, event: UserPtr) -> int:
    """mq_notify(3): by a signal, or not at all."""
    signo = value = notify = 0
    if event:
        value, signo, notify = _SIGEVENT.unpack_from(task.mm.read(event, SIGEVENT_BYTES))
        if notify not in (SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD):
            raise KernelError(Errno.EINVAL)
        if notify == SIGEV_SIGNAL and not 0 <= signo <= SIGNAL_COUNT:
            raise KernelError(Errno.EINVAL)
        if notify == SIGEV_THREAD:  # ``signo`` is a netlink socket, and there are none
            task.files.get(signo)
            raise KernelError(Errno.ENOTSOCK)
        if notify == SIGEV_NONE:
            signo = 0
    queue = _queue_file(task, fd).inode
    if not event:
        forget_registration(task, queue)
        return 0
    if queue.registration is not None and not queue.registration.process.is_dead:
        raise KernelError(Errno.EBUSY)
    queue.registration = Registration(task.process, notify, signo, value)
    return 0


def forget_registration(task: Task, queue: MessageQueue) -> None:
    """The process of ``task`` wants no news any more."""
    if queue.registration is not None and queue.registration.process is task.process:
        queue.registration = None
