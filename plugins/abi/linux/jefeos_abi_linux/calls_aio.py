"""Asynchronous I/O (io_submit(2) and its family), done in the act: each request is complete when io_submit returns.

    io_setup --> context: its number is the address of a page in the program's memory, as libaio wants it
    io_submit --> the request's bytes move --> a struct io_event in the context --> io_getevents, an eventfd

Linux does the same for files that are in its cache. A request on a pipe or socket that has to wait keeps io_submit
waiting. Contexts belong to the address space: a forked child and a new program have none.
IOCB_CMD_POLL answers EINVAL, as a Linux before 4.18.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field
from jefeos.cpu.paging import PAGE_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.vma import PROT_READ, PROT_WRITE
from jefeos.proc.task import Task
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart, WaitQueue
from jefeos.structs import Struct, s16, s64, u16, u32, u64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Long, UInt, ULong, UserPtr
from jefeos.vfs.file import File

from jefeos_abi_linux.calls_files import fdatasync, fsync
from jefeos_abi_linux.calls_poll import read_mask, restore_mask
from jefeos_abi_linux.calls_transfer import (
    pread64,
    preadv,
    pwrite64,
    pwritev,
    read,
    readv,
    write,
    writev,
)
from jefeos_abi_linux.events import EventFile
from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.structs_common import NS_PER_SECOND, Timespec, read_iovecs

IOCB_CMD_PREAD: Final = 0
IOCB_CMD_PWRITE: Final = 1
IOCB_CMD_FSYNC: Final = 2
IOCB_CMD_FDSYNC: Final = 3
IOCB_CMD_PREADV: Final = 7
IOCB_CMD_PWRITEV: Final = 8
IOCB_FLAG_RESFD: Final = 1
MOST_EVENTS: Final = 0x1000_0000 // 32
AIO_STATE: Final = "linux.aio"
_SIGNED_MAX: Final = (1 << 63) - 1
_POINTER_BYTES: Final = 8


class Iocb(Struct):
    """struct iocb (linux/aio_abi.h)."""

    aio_data: int = u64()
    aio_key: int = u32()
    aio_rw_flags: int = u32()
    aio_lio_opcode: int = u16()
    aio_reqprio: int = s16()
    aio_fildes: int = u32()
    aio_buf: int = u64()
    aio_nbytes: int = u64()
    aio_offset: int = s64()
    aio_reserved2: int = u64()
    aio_flags: int = u32()
    aio_resfd: int = u32()


_KEY_OFFSET: Final = 8


class IoEvent(Struct):
    """struct io_event."""

    data: int = u64()
    obj: int = u64()
    res: int = s64()
    res2: int = s64()


@define(eq=False)
class Context:
    """An asynchronous I/O context: what has been completed and not yet asked for."""

    capacity: int
    events: deque[IoEvent] = field(factory=deque)
    queue: WaitQueue = field(factory=WaitQueue)
    destroyed: bool = False


def _contexts(task: Task) -> dict[tuple[int, int], Context]:
    """Of the process, by address space and number."""
    contexts: dict[tuple[int, int], Context] = task.process.extra.setdefault(AIO_STATE, {})
    return contexts


def _context(task: Task, number: int) -> Context:
    context = _contexts(task).get((task.mm.serial, number))
    if context is None:
        raise KernelError(Errno.EINVAL)
    return context


# --- contexts -------------------------------------------------------------------------------------------------


@syscall("io_setup")
def io_setup(task: Task, count: UInt, context: UserPtr) -> int:
    """io_setup(2)."""
    if task.mm.read_u64(context) or not count or count > MOST_EVENTS:
        raise KernelError(Errno.EINVAL)
    contexts = _contexts(task)
    used = sum(known.capacity for known in contexts.values())
    if used + count > task.kernel.settings.number("fs/aio-max-nr"):
        raise KernelError(Errno.EAGAIN)
    number = task.mm.map(0, PAGE_SIZE, PROT_READ | PROT_WRITE)
    try:
        task.mm.write_u64(context, number)
    except KernelError:
        task.mm.unmap(number, PAGE_SIZE)
        raise
    contexts[task.mm.serial, number] = Context(count)
    return 0


@syscall("io_destroy")
def io_destroy(task: Task, context: ULong) -> int:
    """io_destroy(2)."""
    found = _context(task, context)
    del _contexts(task)[task.mm.serial, context]
    found.destroyed = True
    found.queue.wake_all()
    task.mm.unmap(context, PAGE_SIZE)
    return 0


@syscall("io_cancel")
def io_cancel(task: Task, context: ULong, request: UserPtr, result: UserPtr) -> int:
    """io_cancel(2): there is nothing under way that could be cancelled."""
    task.mm.read_u32(request + _KEY_OFFSET)
    _context(task, context)
    raise KernelError(Errno.EINVAL)


# --- requests -------------------------------------------------------------------------------------------------


@syscall("io_submit")
def io_submit(task: Task, context: ULong, count: Long, requests: UserPtr) -> MaybeAwait[int]:
    """io_submit(2): how many of the requests were taken; the error of the first one if none was."""
    if count < 0:
        raise KernelError(Errno.EINVAL)
    return _submit(task, _context(task, context), min(count, _context(task, context).capacity), requests)


async def _submit(task: Task, context: Context, count: int, requests: int) -> int:
    for done in range(count):
        try:
            if len(context.events) >= context.capacity:
                raise KernelError(Errno.EAGAIN)
            await _do_one(task, context, task.mm.read_u64(requests + done * _POINTER_BYTES))
        except KernelError:
            if done:
                return done
            raise
    return count


async def _do_one(task: Task, context: Context, address: int) -> None:
    request = Iocb.parse(task.mm.read(address, Iocb.size))
    if request.aio_reserved2 or request.aio_nbytes > _SIGNED_MAX:
        raise KernelError(Errno.EINVAL)
    file = file_of(task, request.aio_fildes)
    signal = None
    if request.aio_flags & IOCB_FLAG_RESFD:
        signal = task.files.get(request.aio_resfd)
        if not isinstance(signal, EventFile):
            raise KernelError(Errno.EINVAL)
    task.mm.write_u32(address + _KEY_OFFSET, 0)
    _check(request, file)
    if request.aio_lio_opcode in (IOCB_CMD_PREADV, IOCB_CMD_PWRITEV):
        read_iovecs(task.mm, request.aio_buf, request.aio_nbytes)
    file.ref()
    try:
        pending = _start(task, file, request)
        result = pending if isinstance(pending, int) else await pending
    except KernelError as error:
        result = -error.errno
    finally:
        file.unref()
    context.events.append(IoEvent(data=request.aio_data, obj=address, res=result))
    context.queue.wake_all()
    if signal is not None:
        signal.write((1).to_bytes(8, "little"))


def _check(request: Iocb, file: File) -> None:
    """What io_submit itself refuses; all else is the event's result."""
    operation = request.aio_lio_opcode
    if operation in (IOCB_CMD_PREAD, IOCB_CMD_PREADV):
        if not file.readable:
            raise KernelError(Errno.EBADF)
    elif operation in (IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV):
        if not file.writable:
            raise KernelError(Errno.EBADF)
    elif operation in (IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC):
        if request.aio_buf or request.aio_nbytes or request.aio_offset or request.aio_rw_flags:
            raise KernelError(Errno.EINVAL)
        if type(file).fsync is File.fsync:
            raise KernelError(Errno.EINVAL)
        return
    else:
        raise KernelError(Errno.EINVAL)
    if file.inode.is_directory:
        raise KernelError(Errno.EINVAL)
    if request.aio_offset < 0 and not _is_stream(file):
        raise KernelError(Errno.EINVAL)


def _is_stream(file: File) -> bool:
    return type(file).pread is File.pread


def _start(task: Task, file: File, request: Iocb) -> MaybeAwait[int]:
    fd, address, count, offset = request.aio_fildes, request.aio_buf, request.aio_nbytes, request.aio_offset
    operation = request.aio_lio_opcode
    if operation == IOCB_CMD_FSYNC:
        return fsync(task, fd)
    if operation == IOCB_CMD_FDSYNC:
        return fdatasync(task, fd)
    if _is_stream(file):
        return _STREAM[operation](task, fd, address, count)
    if operation == IOCB_CMD_PREAD:
        return pread64(task, fd, address, count, offset)
    if operation == IOCB_CMD_PWRITE:
        return pwrite64(task, fd, address, count, offset)
    call = preadv if operation == IOCB_CMD_PREADV else pwritev
    return call(task, fd, address, count, offset, 0)


_STREAM: Final = {
    IOCB_CMD_PREAD: read,
    IOCB_CMD_PWRITE: write,
    IOCB_CMD_PREADV: readv,
    IOCB_CMD_PWRITEV: writev,
}


# --- results --------------------------------------------------------------------------------------------------


@syscall("io_getevents")
def io_getevents(
    task: Task, context: ULong, least: Long, most: Long, events: UserPtr, timeout: UserPtr
) -> MaybeAwait[int]:
    """io_getevents(2)."""
    timeout_ns = _timeout_ns(task, timeout)
    return _get_events(task, _context(task, context), least, most, events, timeout_ns, masked=False)


@syscall("io_pgetevents")
def io_pgetevents(
    task: Task, context: ULong, least: Long, most: Long, events: UserPtr, timeout: UserPtr, signals: UserPtr
) -> MaybeAwait[int]:
    """io_pgetevents(2): with another signal mask while it waits."""
    timeout_ns = _timeout_ns(task, timeout)
    mask = None
    if signals:
        mask = read_mask(task, task.mm.read_u64(signals), task.mm.read_u64(signals + _POINTER_BYTES))
    found = _context(task, context)
    if mask is not None:
        task.set_temporary_mask(mask)
    return _get_events(task, found, least, most, events, timeout_ns, masked=mask is not None)


def _timeout_ns(task: Task, address: int) -> int | None:
    """A duration, which Linux does not check here. EFAULT."""
    if not address:
        return None
    time = Timespec.parse(task.mm.read(address, Timespec.size))
    return max(time.tv_sec * NS_PER_SECOND + time.tv_nsec, 0)


def _get_events(
    task: Task, context: Context, least: int, most: int, events: int, timeout_ns: int | None, *, masked: bool
) -> MaybeAwait[int]:
    if least < 0 or least > most:
        raise KernelError(Errno.EINVAL)
    if len(context.events) >= least or timeout_ns == 0:
        if masked:
            restore_mask(task)
        return _give(task, context, most, events)
    return _wait_and_give(task, context, least, most, events, timeout_ns, masked)


async def _wait_and_give(
    task: Task, context: Context, least: int, most: int, events: int, timeout_ns: int | None, masked: bool
) -> int:
    clock = task.kernel.clock
    deadline_ns = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    try:
        while len(context.events) < least and not context.destroyed:
            left_ns = None if deadline_ns is None else max(deadline_ns - clock.monotonic_ns(), 0)
            if not await context.queue.wait(left_ns):
                break
    except Interrupted:
        if not context.events:
            raise Interrupted(Restart.NEVER) from None
    if masked:
        restore_mask(task)
    return _give(task, context, most, events)


def _give(task: Task, context: Context, most: int, address: int) -> int:
    count = min(most, len(context.events))
    if count:
        task.mm.write(address, b"".join(context.events[index].pack() for index in range(count)))
        for _ in range(count):
            context.events.popleft()
    return count
