"""Time: clocks, sleeping, alarms and interval timers, POSIX timers, and the time a process has used.

There is no vdso, so each clock_gettime comes here. All clocks that count since boot are one (`kernel.clock`);
CPU clocks count in steps of a time slice.
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.credentials import Usage
from jefeos.proc.process import Process
from jefeos.proc.signals import SIGNAL_COUNT, Signal
from jefeos.proc.task import Task
from jefeos.proc.timers import IntervalTimer, PosixTimer, ProcessTimer, TimerClock
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart, sleep_ns
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, UInt, UserPtr

from jefeos_abi_linux.structs_common import (
    NS_PER_SECOND,
    NS_PER_US,
    itimerspec_bytes,
    read_itimerspec,
    read_timespec,
    read_timeval,
    timespec_bytes,
    timeval_bytes,
)
from jefeos_abi_linux.usage import NS_PER_TICK, rusage_bytes, tms_bytes

CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
CLOCK_PROCESS_CPUTIME_ID: Final = 2
CLOCK_THREAD_CPUTIME_ID: Final = 3
CLOCK_MONOTONIC_RAW: Final = 4
CLOCK_REALTIME_COARSE: Final = 5
CLOCK_MONOTONIC_COARSE: Final = 6
CLOCK_BOOTTIME: Final = 7
CLOCK_REALTIME_ALARM: Final = 8
CLOCK_BOOTTIME_ALARM: Final = 9
CLOCK_TAI: Final = 11
WALL_CLOCKS: Final = frozenset((CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM, CLOCK_TAI))
BOOT_CLOCKS: Final = frozenset(
    (CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM)
)
SLEEPLESS_CLOCKS: Final = frozenset((CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE))
COARSE_RESOLUTION_NS: Final = 4_000_000
TIMER_ABSTIME: Final = 1
MAX_CLOCK_ID: Final = 16
CPU_CLOCK_SHIFT: Final = 3

RUSAGE_SELF: Final = 0
RUSAGE_CHILDREN: Final = -1
RUSAGE_THREAD: Final = 1

ITIMERS: Final = (
    ("real", TimerClock.MONOTONIC, Signal.SIGALRM),
    ("virtual", TimerClock.CPU_USER, Signal.SIGVTALRM),
    ("prof", TimerClock.CPU, Signal.SIGPROF),
)
SIGEV_SIGNAL: Final = 0
SIGEV_NONE: Final = 1
SIGEV_THREAD: Final = 2
SIGEV_THREAD_ID: Final = 4
SIGEVENT_BYTES: Final = 64
POSIX_KEY: Final = "posix:%d"
POSIX_TIMERS_LIMIT: Final = 4096

TIMEX_BYTES: Final = 208
TIMEX_STATUS_OFFSET: Final = 40
TIMEX_TICK_OFFSET: Final = 88
STA_UNSYNC: Final = 64
TIME_ERROR: Final = 5
TICK_US: Final = 10000

_PAIR: Final = struct.Struct("<qq")
_SIGEVENT: Final = struct.Struct("<Qiii")


# --- clocks ----------------------------------------------------------------------------------------------------


def _cpu_process(task: Task, clock: int) -> Process:
    """The process whose CPU time a negative clock id means. EINVAL."""
    pid = ~(clock >> CPU_CLOCK_SHIFT)
    if clock & 3 == 3:
        raise KernelError(Errno.EINVAL)
    if pid == 0:
        return task.process
    processes = task.kernel.processes
    process = processes.processes.get(pid)
    if clock & 4 and pid in processes.tasks:
        process = processes.tasks[pid].process
    if process is None or process.is_dead:
        raise KernelError(Errno.EINVAL)
    return process


def clock_ns(task: Task, clock: int) -> int:
    """Now on a clock, in nanoseconds. Raises EINVAL."""
    if clock in BOOT_CLOCKS:
        return task.kernel.clock.monotonic_ns()
    if clock in WALL_CLOCKS:
        return task.kernel.clock.realtime_ns()
    if clock == CLOCK_PROCESS_CPUTIME_ID or clock == CLOCK_THREAD_CPUTIME_ID:
        task.kernel.executor.account()
        usage = task.process.usage
        return usage.time_ns
    if clock < 0:
        task.kernel.executor.account()
        usage = _cpu_process(task, clock).usage
        return usage.time_ns
    raise KernelError(Errno.EINVAL)


@syscall("clock_gettime")
def clock_gettime(task: Task, clock: Int, time: UserPtr) -> int:
    """clock_gettime(2)."""
    now_ns = clock_ns(task, clock)
    task.mm.write(time, _PAIR.pack(now_ns // NS_PER_SECOND, now_ns % NS_PER_SECOND))
    return 0


@syscall("clock_getres")
def clock_getres(task: Task, clock: Int, resolution: UserPtr) -> int:
    """clock_getres(2)."""
    clock_ns(task, clock)
    coarse = clock in (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE)
    if resolution:
        task.mm.write(resolution, timespec_bytes(COARSE_RESOLUTION_NS if coarse else 1))
    return 0


@syscall("clock_settime")
def clock_settime(task: Task, clock: Int, time: UserPtr) -> int:
    """clock_settime(2)."""
    clock_ns(task, clock)
    if clock != CLOCK_REALTIME:
        raise KernelError(Errno.EPERM if clock < 0 or clock in (2, 3) else Errno.EINVAL)
    now_ns = read_timespec(task.mm, time)
    _set_clock(task, now_ns)
    return 0


def _set_clock(task: Task, now_ns: int) -> None:
    if not task.creds.capable(Capability.SYS_TIME):
        raise KernelError(Errno.EPERM)
    task.kernel.clock.set_realtime_ns(now_ns)


@syscall("gettimeofday")
def gettimeofday(task: Task, time: UserPtr, zone: UserPtr) -> int:
    """gettimeofday(2)."""
    if time:
        task.mm.write(time, timeval_bytes(task.kernel.clock.realtime_ns()))
    if zone:
        task.mm.write(zone, bytes(8))
    return 0


@syscall("settimeofday")
def settimeofday(task: Task, time: UserPtr, zone: UserPtr) -> int:
    """settimeofday(2)."""
    now_ns = read_timeval(task.mm, time) if time else None
    if zone:
        task.mm.read(zone, 8)
    if not task.creds.capable(Capability.SYS_TIME):
        raise KernelError(Errno.EPERM)
    if now_ns is not None:
        _set_clock(task, now_ns)
    return 0


@syscall("time")
def time(task: Task, result: UserPtr) -> int:
    """time(2)."""
    now = task.kernel.clock.realtime_ns() // NS_PER_SECOND
    if result:
        task.mm.write_u64(result, now)
    return now


def _adjust(task: Task, timex: int) -> int:
    modes = task.mm.read_u32(timex)
    if modes and not task.creds.capable(Capability.SYS_TIME):
        raise KernelError(Errno.EPERM)
    data = bytearray(TIMEX_BYTES)
    struct.pack_into("<i", data, TIMEX_STATUS_OFFSET, STA_UNSYNC)
    struct.pack_into("<q", data, TIMEX_TICK_OFFSET, TICK_US)
    data[72:88] = timeval_bytes(task.kernel.clock.realtime_ns())
    task.mm.write(timex, data)
    return TIME_ERROR


@syscall("adjtimex")
def adjtimex(task: Task, timex: UserPtr) -> int:
    """adjtimex(2): reports a clock that nothing disciplines."""
    return _adjust(task, timex)


@syscall("clock_adjtime")
def clock_adjtime(task: Task, clock: Int, timex: UserPtr) -> int:
    """clock_adjtime(2)."""
    if clock != CLOCK_REALTIME:
        clock_ns(task, clock)
        raise KernelError(Errno.EOPNOTSUPP)
    return _adjust(task, timex)


# --- sleeping --------------------------------------------------------------------------------------------------


async def _sleep(task: Task, clock: int, deadline_ns: int, remainder: int) -> int:
    """Until a point on a clock; what is left goes to ``remainder`` (0: an absolute sleep, nothing is written)."""
    try:
        while (left_ns := deadline_ns - clock_ns(task, clock)) > 0:
            await sleep_ns(left_ns)
    except Interrupted:
        if remainder:
            left_ns = max(deadline_ns - clock_ns(task, clock), 0)
            task.mm.write(remainder, timespec_bytes(left_ns))
        raise Interrupted(Restart.NEVER) from None
    return 0


@syscall("nanosleep")
def nanosleep(task: Task, duration: UserPtr, remainder: UserPtr) -> MaybeAwait[int]:
    """nanosleep(2)."""
    duration_ns = read_timespec(task.mm, duration)
    return _sleep(task, CLOCK_MONOTONIC, task.kernel.clock.monotonic_ns() + duration_ns, remainder)


@syscall("clock_nanosleep")
def clock_nanosleep(
    task: Task, clock: Int, flags: Int, time: UserPtr, remainder: UserPtr
) -> MaybeAwait[int]:
    """clock_nanosleep(2)."""
    now_ns = clock_ns(task, clock)
    if clock in SLEEPLESS_CLOCKS or clock == CLOCK_THREAD_CPUTIME_ID:
        raise KernelError(Errno.EOPNOTSUPP)
    time_ns = read_timespec(task.mm, time)
    if flags & TIMER_ABSTIME:
        return _sleep(task, clock, time_ns, 0)
    if clock in WALL_CLOCKS:  # setting the date does not change how long a relative sleep takes
        clock, now_ns = CLOCK_MONOTONIC, clock_ns(task, CLOCK_MONOTONIC)
    return _sleep(task, clock, now_ns + time_ns, remainder)


# --- interval timers -------------------------------------------------------------------------------------------


def _itimer(task: Task, which: int) -> IntervalTimer:
    if not 0 <= which < len(ITIMERS):
        raise KernelError(Errno.EINVAL)
    key, clock, signo = ITIMERS[which]
    timers = task.process.timers
    timer = timers.get(key)
    if timer is None:
        timer = timers[key] = IntervalTimer(task.process, clock, signo)
    assert isinstance(timer, IntervalTimer)
    return timer


def _itimer_bytes(timer: ProcessTimer) -> bytes:
    left_ns = timer.remaining_ns()  # an armed timer never shows as zero, which would mean disarmed
    return timeval_bytes(timer.interval_ns) + timeval_bytes(max(left_ns, NS_PER_US) if left_ns else 0)


@syscall("getitimer")
def getitimer(task: Task, which: Int, value: UserPtr) -> int:
    """getitimer(2)."""
    task.mm.write(value, _itimer_bytes(_itimer(task, which)))
    return 0


@syscall("setitimer")
def setitimer(task: Task, which: Int, new: UserPtr, old: UserPtr) -> int:
    """setitimer(2)."""
    interval_ns = value_ns = 0
    if new:
        interval_ns, value_ns = read_timeval(task.mm, new), read_timeval(task.mm, new + 16)
    timer = _itimer(task, which)
    before = _itimer_bytes(timer)
    if value_ns:
        timer.arm(timer.now_ns() + value_ns, interval_ns)
    else:
        timer.cancel()
        timer.interval_ns = interval_ns
    if old:
        task.mm.write(old, before)
    return 0


@syscall("alarm")
def alarm(task: Task, seconds: UInt) -> int:
    """alarm(2)."""
    timer = _itimer(task, 0)
    left_ns = timer.remaining_ns()
    left = (left_ns + NS_PER_SECOND // 2) // NS_PER_SECOND
    if left_ns and not left:
        left = 1
    timer.cancel()
    timer.interval_ns = 0
    if seconds:
        timer.arm(timer.now_ns() + seconds * NS_PER_SECOND)
    return left


# --- POSIX timers ----------------------------------------------------------------------------------------------


def _timer_clock(task: Task, clock: int) -> tuple[TimerClock, Process]:
    if clock in (CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI):
        return TimerClock.REALTIME, task.process
    if clock in (CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM):
        return TimerClock.MONOTONIC, task.process
    if clock in (CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID):
        return TimerClock.CPU, task.process
    if clock < 0:
        return TimerClock.CPU, _cpu_process(task, clock)
    if clock in SLEEPLESS_CLOCKS:
        raise KernelError(Errno.EOPNOTSUPP)
    raise KernelError(Errno.EINVAL)


@syscall("timer_create")
def timer_create(task: Task, clock: Int, event: UserPtr, timer_id: UserPtr) -> int:
    """timer_create(2)."""
    kind, process = _timer_clock(task, clock)
    timers = task.process.timers
    number = next((n for n in range(POSIX_TIMERS_LIMIT) if POSIX_KEY % n not in timers), None)
    if number is None:
        raise KernelError(Errno.EAGAIN)
    signo, value, target = int(Signal.SIGALRM), number, None
    if event:
        value, signo, notify, tid = _SIGEVENT.unpack_from(task.mm.read(event, SIGEVENT_BYTES))
        if notify == SIGEV_NONE:
            signo = 0
        elif notify not in (SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID) or not 1 <= signo <= SIGNAL_COUNT:
            raise KernelError(Errno.EINVAL)
        if notify == SIGEV_THREAD_ID:
            target = task.kernel.processes.tasks.get(tid)
            if target is None or target.process is not task.process:
                raise KernelError(Errno.EINVAL)
    task.mm.write_u32(timer_id, number)
    timer = PosixTimer(task.process, kind, number, signo, value, target)
    if process is not task.process:
        raise KernelError(Errno.EINVAL)
    timers[POSIX_KEY % number] = timer
    return 0


def _posix_timer(task: Task, number: int) -> PosixTimer:
    timer = task.process.timers.get(POSIX_KEY % number)
    if not isinstance(timer, PosixTimer):
        raise KernelError(Errno.EINVAL)
    return timer


@syscall("timer_settime")
def timer_settime(task: Task, timer_id: Int, flags: Int, new: UserPtr, old: UserPtr) -> int:
    """timer_settime(2)."""
    if not new:
        raise KernelError(Errno.EINVAL)
    interval_ns, value_ns = read_itimerspec(task.mm, new)
    timer = _posix_timer(task, timer_id)
    before = itimerspec_bytes(timer.interval_ns, timer.remaining_ns())
    timer.cancel()
    timer.overrun = 0
    timer.interval_ns = interval_ns
    if value_ns:
        timer.arm(value_ns if flags & TIMER_ABSTIME else timer.now_ns() + value_ns, interval_ns)
    if old:
        task.mm.write(old, before)
    return 0


@syscall("timer_gettime")
def timer_gettime(task: Task, timer_id: Int, value: UserPtr) -> int:
    """timer_gettime(2)."""
    timer = _posix_timer(task, timer_id)
    task.mm.write(value, itimerspec_bytes(timer.interval_ns, timer.remaining_ns()))
    return 0


@syscall("timer_getoverrun")
def timer_getoverrun(task: Task, timer_id: Int) -> int:
    """timer_getoverrun(2)."""
    return _posix_timer(task, timer_id).overrun


@syscall("timer_delete")
def timer_delete(task: Task, timer_id: Int) -> int:
    """timer_delete(2)."""
    _posix_timer(task, timer_id).cancel()
    del task.process.timers[POSIX_KEY % timer_id]
    return 0


def drop_posix_timers(process: Process) -> None:
    """execve deletes POSIX timers, and keeps interval timers."""
    for key, timer in list(process.timers.items()):
        if isinstance(timer, PosixTimer):
            timer.cancel()
            del process.timers[key]


# --- time used -------------------------------------------------------------------------------------------------


@syscall("times")
def times(task: Task, buffer: UserPtr) -> int:
    """times(2)."""
    process = task.process
    task.kernel.executor.account()
    if buffer:
        task.mm.write(buffer, tms_bytes(process.usage, process.children_usage))
    return task.kernel.clock.monotonic_ns() // NS_PER_TICK


@syscall("getrusage")
def getrusage(task: Task, who: Int, buffer: UserPtr) -> int:
    """getrusage(2)."""
    process = task.process
    task.kernel.executor.account()
    usage: Usage
    if who == RUSAGE_SELF or who == RUSAGE_THREAD:
        usage = process.usage
        usage.max_resident_kib = max(usage.max_resident_kib, task.mm.resident_pages * 4)
    elif who == RUSAGE_CHILDREN:
        usage = process.children_usage
    else:
        raise KernelError(Errno.EINVAL)
    task.mm.write(buffer, rusage_bytes(usage))
    return 0
