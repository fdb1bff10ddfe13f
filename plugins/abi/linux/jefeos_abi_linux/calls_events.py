"""epoll, eventfd, timerfd and signalfd calls."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import UNBLOCKABLE
from jefeos.proc.task import Task
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Size, UInt, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_CLOEXEC, O_NONBLOCK

from jefeos_abi_linux.calls_poll import NS_PER_MS, read_mask, restore_mask
from jefeos_abi_linux.epoll import EPOLLET, EPOLLEXCLUSIVE, EPOLLWAKEUP, EpollFile
from jefeos_abi_linux.events import EventFile, SignalFile, TimerFile
from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.structs_common import (
    itimerspec_bytes,
    read_itimerspec,
    read_timespec,
)

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
EPOLL_CTL_MOD: Final = 3
EFD_SEMAPHORE: Final = 1
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2
CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
CLOCK_BOOTTIME: Final = 7
CLOCK_REALTIME_ALARM: Final = 8
CLOCK_BOOTTIME_ALARM: Final = 9
_OPEN_FLAGS: Final = O_CLOEXEC | O_NONBLOCK
_EXCLUSIVE_OK: Final = 0x201D | EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLET
_EVENT: Final = struct.Struct("<IQ")
_MAX_EVENTS: Final = 0x7FFF_FFFF // _EVENT.size


def _install(task: Task, file: File, cloexec: int) -> int:
    try:
        return task.files.install(file, cloexec=bool(cloexec))
    except KernelError:
        file.unref()
        raise


# --- epoll ----------------------------------------------------------------------------------------------------


@syscall("epoll_create")
def epoll_create(task: Task, size: Int) -> int:
    """epoll_create(2)."""
    if size <= 0:
        raise KernelError(Errno.EINVAL)
    return _install(task, EpollFile(task.kernel), 0)


@syscall("epoll_create1")
def epoll_create1(task: Task, flags: Flags) -> int:
    """epoll_create1(2)."""
    if flags & ~O_CLOEXEC:
        raise KernelError(Errno.EINVAL)
    return _install(task, EpollFile(task.kernel), flags)


@syscall("epoll_ctl")
def epoll_ctl(task: Task, epfd: Fd, operation: Int, fd: Fd, event: UserPtr) -> int:
    """epoll_ctl(2)."""
    events = data = 0
    if operation != EPOLL_CTL_DEL:
        events, data = _EVENT.unpack(task.mm.read(event, _EVENT.size))
    epoll = task.files.get(epfd)
    file = file_of(task, fd)
    if not isinstance(epoll, EpollFile) or epoll is file:
        raise KernelError(Errno.EINVAL)
    if operation == EPOLL_CTL_ADD:
        if events & EPOLLEXCLUSIVE and (events & ~_EXCLUSIVE_OK or isinstance(file, EpollFile)):
            raise KernelError(Errno.EINVAL)
        epoll.add(fd, file, events, data)
    elif operation == EPOLL_CTL_MOD:
        epoll.modify(fd, file, events, data)
    elif operation == EPOLL_CTL_DEL:
        epoll.remove(fd, file)
    else:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("epoll_wait")
def epoll_wait(task: Task, epfd: Fd, events: UserPtr, limit: Int, timeout_ms: Int) -> MaybeAwait[int]:
    """epoll_wait(2)."""
    return _epoll_wait(task, epfd, events, limit, _milliseconds(timeout_ms), None)


@syscall("epoll_pwait")
def epoll_pwait(
    task: Task, epfd: Fd, events: UserPtr, limit: Int, timeout_ms: Int, mask: UserPtr, mask_size: Size
) -> MaybeAwait[int]:
    """epoll_pwait(2)."""
    signals = read_mask(task, mask, mask_size)
    return _epoll_wait(task, epfd, events, limit, _milliseconds(timeout_ms), signals)


@syscall("epoll_pwait2")
def epoll_pwait2(
    task: Task, epfd: Fd, events: UserPtr, limit: Int, timeout: UserPtr, mask: UserPtr, mask_size: Size
) -> MaybeAwait[int]:
    """epoll_pwait2(2)."""
    timeout_ns = read_timespec(task.mm, timeout) if timeout else None
    return _epoll_wait(task, epfd, events, limit, timeout_ns, read_mask(task, mask, mask_size))


def _milliseconds(timeout_ms: int) -> int | None:
    return None if timeout_ms < 0 else timeout_ms * NS_PER_MS


def _epoll_wait(
    task: Task, epfd: int, address: int, limit: int, timeout_ns: int | None, mask: int | None
) -> MaybeAwait[int]:
    if not 0 < limit <= _MAX_EVENTS:
        raise KernelError(Errno.EINVAL)
    epoll = task.files.get(epfd)
    if not isinstance(epoll, EpollFile):
        raise KernelError(Errno.EINVAL)
    if mask is not None:
        task.set_temporary_mask(mask)
    found = epoll.collect(limit)
    if found or timeout_ns == 0:
        if mask is not None:
            restore_mask(task)
        return _give_events(task, address, found)
    return _epoll_wait_later(task, epoll, address, limit, timeout_ns, mask is not None)


async def _epoll_wait_later(
    task: Task, epoll: EpollFile, address: int, limit: int, timeout_ns: int | None, masked: bool
) -> int:
    clock = task.kernel.clock
    deadline_ns = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    epoll.ref()
    try:
        while True:
            left_ns = None if deadline_ns is None else max(deadline_ns - clock.monotonic_ns(), 0)
            woken = await epoll.queue.wait(left_ns)
            found = epoll.collect(limit)
            if found or not woken:
                break
    except Interrupted:
        raise Interrupted(Restart.NEVER) from None
    finally:
        epoll.unref()
    if masked:
        restore_mask(task)
    return _give_events(task, address, found)


def _give_events(task: Task, address: int, found: list[tuple[int, int]]) -> int:
    if found:
        task.mm.write(address, b"".join(_EVENT.pack(events, data) for events, data in found))
    return len(found)


# --- eventfd --------------------------------------------------------------------------------------------------


@syscall("eventfd")
def eventfd(task: Task, count: UInt) -> int:
    """eventfd(2) without flags."""
    return _install(task, EventFile(task.kernel, 0, count, semaphore=False), 0)


@syscall("eventfd2")
def eventfd2(task: Task, count: UInt, flags: Flags) -> int:
    """eventfd(2)."""
    if flags & ~(_OPEN_FLAGS | EFD_SEMAPHORE):
        raise KernelError(Errno.EINVAL)
    semaphore = bool(flags & EFD_SEMAPHORE)
    return _install(
        task, EventFile(task.kernel, flags & O_NONBLOCK, count, semaphore=semaphore), flags & O_CLOEXEC
    )


# --- timerfd --------------------------------------------------------------------------------------------------


@syscall("timerfd_create")
def timerfd_create(task: Task, clock: Int, flags: Flags) -> int:
    """timerfd_create(2). The ALARM clocks are for the privileged user, and never wake a machine."""
    if flags & ~_OPEN_FLAGS or clock not in (
        CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM
    ):  # fmt: skip
        raise KernelError(Errno.EINVAL)
    if clock >= CLOCK_REALTIME_ALARM and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    realtime = clock in (CLOCK_REALTIME, CLOCK_REALTIME_ALARM)
    return _install(task, TimerFile(task.kernel, flags & O_NONBLOCK, realtime=realtime), flags & O_CLOEXEC)


def _timer(task: Task, fd: int) -> TimerFile:
    file = task.files.get(fd)
    if not isinstance(file, TimerFile):
        raise KernelError(Errno.EINVAL)
    return file


@syscall("timerfd_settime")
def timerfd_settime(task: Task, fd: Fd, flags: Flags, new: UserPtr, old: UserPtr) -> int:
    """timerfd_settime(2)."""
    interval_ns, value_ns = read_itimerspec(task.mm, new)
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise KernelError(Errno.EINVAL)
    timer = _timer(task, fd)
    before = timer.settings()
    timer.arm(value_ns, interval_ns, absolute=bool(flags & TFD_TIMER_ABSTIME))
    if old:
        task.mm.write(old, itimerspec_bytes(*before))
    return 0


@syscall("timerfd_gettime")
def timerfd_gettime(task: Task, fd: Fd, current: UserPtr) -> int:
    """timerfd_gettime(2)."""
    task.mm.write(current, itimerspec_bytes(*_timer(task, fd).settings()))
    return 0


# --- signalfd -------------------------------------------------------------------------------------------------


@syscall("signalfd")
def signalfd(task: Task, fd: Fd, mask: UserPtr, size: Size) -> int:
    """signalfd(2) without flags."""
    return _signalfd(task, fd, mask, size, 0)


@syscall("signalfd4")
def signalfd4(task: Task, fd: Fd, mask: UserPtr, size: Size, flags: Flags) -> int:
    """signalfd(2): a new one, or another mask for the one that ``fd`` is."""
    return _signalfd(task, fd, mask, size, flags)


def _signalfd(task: Task, fd: int, mask: int, size: int, flags: int) -> int:
    if flags & ~_OPEN_FLAGS or size != 8:
        raise KernelError(Errno.EINVAL)
    signals = task.mm.read_u64(mask) & ~UNBLOCKABLE
    if fd == -1:
        return _install(task, SignalFile(task.kernel, flags & O_NONBLOCK, signals), flags & O_CLOEXEC)
    file = task.files.get(fd)
    if not isinstance(file, SignalFile):
        raise KernelError(Errno.EINVAL)
    file.mask = signals
    task.process.signal_queue.wake_all()
    return fd
