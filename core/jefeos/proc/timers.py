"""Timers that belong to a process: interval timers, alarms, POSIX timers, and the CPU time limit.

    ProcessTimer   a deadline on one clock, perhaps a period; tells its subclass how often it has expired
      IntervalTimer   setitimer and alarm: SIGALRM, SIGVTALRM, SIGPROF
      PosixTimer      timer_create: any signal with a value, to the process or one thread; counts overruns
      CpuLimit        RLIMIT_CPU: SIGXCPU each second past the soft limit, SIGKILL at the hard one

Timers of real time are one timer of the event loop each. CPU time has no event of its own: CPU time cannot run faster
than real time, so a CPU timer looks again after as much real time as it still has CPU time to go (never more often
than every 10 ms), and an idle process costs nothing more than that.

They live in ``process.timers`` by key, and end with it (`cancel`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.signals import Signal, SignalCode, SignalInfo

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task

CPU_CHECK_NS: Final = 10_000_000
NS_PER_SECOND: Final = 1_000_000_000
OVERRUN_LIMIT: Final = 0x7FFF_FFFF
CPU_LIMIT_KEY: Final = "cpu-limit"


class TimerClock(Enum):
    """What a timer counts."""

    REALTIME = "realtime"
    MONOTONIC = "monotonic"
    CPU = "cpu"
    CPU_USER = "cpu-user"


class ProcessTimer:
    """A timer. All times in nanoseconds; a deadline is a point on the timer's own clock."""

    def __init__(self, process: Process, clock: TimerClock) -> None:
        self.process = process
        self.clock = clock
        self.deadline_ns: int | None = None
        self.interval_ns = 0
        self._handle: Any = None

    def now_ns(self) -> int:
        """The time on this timer's clock."""
        if self.clock is TimerClock.MONOTONIC:
            return self.process.kernel.clock.monotonic_ns()
        if self.clock is TimerClock.REALTIME:
            return self.process.kernel.clock.realtime_ns()
        usage = self.process.usage
        return usage.time_ns if self.clock is TimerClock.CPU else usage.user_ns

    def arm(self, deadline_ns: int, interval_ns: int = 0) -> None:
        """Expire at ``deadline_ns`` and then each ``interval_ns`` (0: once)."""
        self.cancel()
        self.deadline_ns = deadline_ns
        self.interval_ns = interval_ns
        if self.clock in (TimerClock.MONOTONIC, TimerClock.REALTIME) and self.now_ns() >= deadline_ns:
            self._look()  # a time that is past: before the call that sets it returns
        else:
            self._schedule()

    def cancel(self) -> None:
        """Disarm."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.deadline_ns = None

    def remaining_ns(self) -> int:
        """Time to the next expiry, at least 1 while armed, 0 if not."""
        return 0 if self.deadline_ns is None else max(self.deadline_ns - self.now_ns(), 1)

    def expired(self, count: int) -> None:
        """The timer has expired ``count`` times (more than once when the period is shorter than a look)."""
        raise NotImplementedError

    def _schedule(self) -> None:
        assert self.deadline_ns is not None
        delay_ns = self.deadline_ns - self.now_ns()
        if self.clock in (TimerClock.CPU, TimerClock.CPU_USER):
            delay_ns = max(delay_ns, CPU_CHECK_NS)
        self._handle = self.process.kernel.loop.call_later_ns(max(delay_ns, 0), self._look)

    def _look(self) -> None:
        self._handle = None
        deadline_ns = self.deadline_ns
        if deadline_ns is None or self.process.is_dead:
            return
        late_ns = self.now_ns() - deadline_ns
        if late_ns < 0:
            self._schedule()
            return
        if self.interval_ns:
            count = 1 + late_ns // self.interval_ns
            self.deadline_ns = deadline_ns + count * self.interval_ns
            self._schedule()
        else:
            count = 1
            self.deadline_ns = None
        self.expired(count)


class IntervalTimer(ProcessTimer):
    """setitimer(2)."""

    def __init__(self, process: Process, clock: TimerClock, signo: int) -> None:
        super().__init__(process, clock)
        self.signo = signo

    def expired(self, count: int) -> None:
        self.process.kernel.signals.send_process(self.process, self.signo, SignalInfo(self.signo))


class PosixTimer(ProcessTimer):
    """timer_create(2). ``signo`` 0 is SIGEV_NONE; ``target`` a thread for SIGEV_THREAD_ID."""

    def __init__(
        self, process: Process, clock: TimerClock, timer_id: int, signo: int, value: int, target: Task | None
    ) -> None:
        super().__init__(process, clock)
        self.timer_id = timer_id
        self.signo = signo
        self.value = value
        self.target = target
        self.overrun = 0

    def expired(self, count: int) -> None:
        if not self.signo:
            return
        target = self.target
        pending = self.process.pending if target is None else target.pending
        for position, info in enumerate(pending.queue):
            if info.code == SignalCode.SI_TIMER and info.timer_id == self.timer_id:
                self.overrun = min(info.overrun + count, OVERRUN_LIMIT)
                pending.queue[position] = evolve(info, overrun=self.overrun)
                return
        self.overrun = min(count - 1, OVERRUN_LIMIT)
        info = SignalInfo(
            self.signo, SignalCode.SI_TIMER, value=self.value, timer_id=self.timer_id, overrun=self.overrun
        )
        if target is None:
            self.process.kernel.signals.send_process(self.process, self.signo, info)
        else:
            self.process.kernel.signals.send_task(target, self.signo, info)


class CpuLimit(ProcessTimer):
    """RLIMIT_CPU."""

    def expired(self, count: int) -> None:
        process = self.process
        soft, hard = process.rlimits[RLimit.CPU]
        used_ns = self.now_ns()
        if hard != UNLIMITED and used_ns >= hard * NS_PER_SECOND:
            process.kernel.signals.send_process(process, Signal.SIGKILL)
            return
        if soft != UNLIMITED:
            process.kernel.signals.send_process(process, Signal.SIGXCPU)
            self.arm(used_ns + NS_PER_SECOND)
        else:
            watch_cpu_limit(process)


def watch_cpu_limit(process: Process) -> None:
    """RLIMIT_CPU was set or inherited: watch it from now on."""
    old = process.timers.pop(CPU_LIMIT_KEY, None)
    if old is not None:
        old.cancel()
    limit = min(process.rlimits[RLimit.CPU])
    if limit != UNLIMITED:
        timer = process.timers[CPU_LIMIT_KEY] = CpuLimit(process, TimerClock.CPU)
        timer.arm(max(limit, 1) * NS_PER_SECOND)
