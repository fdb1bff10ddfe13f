"""Task switches inside the system-call callback: the quick way from a call that must wait to the next program.

To end a run of the engine and begin another costs several times what a task switch needs, and two programs that talk
over a pipe switch at every call. Where the engine allows it (`Engine.switches_inside`), a call that has just suspended
is therefore followed by the next task at once, and the engine goes on with that one when the callback returns:

    A: read() suspends --park A--> pick B --resume B's call--> B's state on the CPU, its result returned: B runs
                                        \\--parks again--> pick the next

Only what is common is done here. Everything else ends the run and is the executor's: a task with work (death, stop,
signals), an applet, a call that wants to be outside of the callback (`OUTSIDE`), the end of a turn's budget, an empty
run queue. It then finds `current` in one of two states:

    begun     as if the task had run since `Engine.run` was called, and its call had just suspended
    unbegun   (``_unbegun``) taken from the run queue, not yet looked at; None if the queue was empty

Not in virtual time and not while calls are observed: there each run is one task's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.cpu.registers import Reg
from jefeos.sched.systime import SystemTime
from jefeos.sched.traps import Traps
from jefeos.sched.wait import OUTSIDE, Park

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine
    from jefeos.proc.credentials import Usage
    from jefeos.proc.task import Task
    from jefeos.sched.scheduler import Scheduler


class Switching(Traps):
    """Part of `Executor`."""

    engine: Engine
    scheduler: Scheduler
    loaded: Task | None
    _inside: bool
    """Whether a call is being resumed inside the callback."""
    _unbegun: bool
    _may_switch: bool
    _times: SystemTime
    _sampling: bool
    _deadline_ns: int
    _total: Usage
    """Of all programs since boot, and of those that have ended and been forgotten since."""
    _slice_since_ns: int

    def _switch(self, task: Task) -> int | None:
        """HOT: the call of ``task`` has suspended. Go on with another task: the value for its result register."""
        token = task.token
        if not self._may_switch or type(token) is not Park or task.work:
            return None
        now_ns = self.kernel.clock.monotonic_ns()
        if now_ns >= self._deadline_ns:
            return None
        self._end_slice(task, now_ns)
        task.token = None
        task.process.usage.voluntary_switches += 1
        task.park(token)
        pick = self.scheduler.pick
        while True:
            following = self.current = pick()
            if following is None or following.work or following.context is None:
                self._unbegun = True
                return None
            if following.coroutine is None:
                break
            self._inside = True
            try:
                over = self._resume(following)
            finally:
                self._inside = False
            if over:
                break
            if following.token is OUTSIDE and not following.dead:
                return None
        if following.work or following.coroutine is not None or following.context is None:
            self._unbegun = True
            return None
        engine = self.load(following)
        following.syscall_number = -1
        self._slice_since_ns = now_ns
        result = following.result
        if result is None:
            return engine.get(Reg.RAX)
        following.result = None
        return result

    def _end_slice(self, task: Task, now_ns: int) -> None:
        """HOT: ``task`` has had the processor until now."""
        length_ns = now_ns - self._slice_since_ns
        self._slice_since_ns = 0
        usage = task.process.usage
        usage.time_ns += length_ns
        self._total.time_ns += length_ns
        if self._sampling:
            self._sampling = False
            self._times.end(now_ns, usage, self._total)
        self.scheduler.charge(task, length_ns)

    def load(self, task: Task) -> Engine:
        """`Executor.load`."""
        raise NotImplementedError

    def _resume(self, task: Task) -> bool:
        """`Executor._resume`."""
        raise NotImplementedError
