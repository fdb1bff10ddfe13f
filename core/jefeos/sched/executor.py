"""The executor: takes tasks from the scheduler and runs them, on the CPU engine or as coroutines.

It is one callback of the kernel's event loop. A turn switches from task to task until its budget is spent or
nothing is runnable, so that two programs on a pipe never pay for a turn of the host's selector.

One task's turn:

    resume its suspended system call, if it has one         --parks again--> next task
    look at `task.work`: death, stop, signals               --dies, stops--> next task
    put its state on the CPU, write the call's result
    engine.run() --SYSCALL--> on_syscall: the handler runs inside the engine's callback; the program goes on
                 |               unless the call left work: then run() ends. If it suspended, the next task may
                 |               go on inside of the same run (`jefeos.sched.switching`)
                 --#PF-----> on_page_fault: mapped and re-executed, or SIGSEGV/SIGBUS
                 --tick----> next task

The CPU state of the last task stays on the engine until another CPU task needs it (``loaded``), so that a call
that blocks and wakes with nobody else running costs no context switch.

Rules: nothing a program or handler does may raise out of here. A `KernelError` is a failed call; any other
exception in a handler is a bug in the kernel: it is logged with its trace and the process dies of SIGSYS.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from jefeos.errors import KernelError
from jefeos.proc.credentials import Usage
from jefeos.proc.process import ProcessState
from jefeos.proc.signals import (
    SIG_DFL,
    ActionFlags,
    Signal,
    SignalAction,
    SignalInfo,
    bit,
)
from jefeos.proc.task import Task, TaskState, Work
from jefeos.sched.clock import VirtualClock
from jefeos.sched.switching import Switching
from jefeos.sched.systime import EVERY, SystemTime
from jefeos.sched.traps import CallCounts
from jefeos.sched.wait import OUTSIDE, Interrupted, Park, Restart

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine
    from jefeos.kernel import Kernel
    from jefeos.syscall.declare import Entry
    from jefeos.syscall.table import Screen

BUDGET_NS: Final = 8_000_000
"""How long one turn of the event loop may be spent on tasks."""
VIRTUAL_SLICE: Final = 200_000
"""Instructions in a time slice of virtual time, one nanosecond each."""
VIRTUAL_SWITCH_NS: Final = 1_000
"""What a task's turn costs in virtual time besides its instructions: without it applets would take no time at all."""

APPLET_HANDLER: Final = 2
"""Handler "address" of an applet that catches a signal: it is noted in ``task.extra['caught']``."""

class ProgramReplaced(BaseException):
    """Raised through a task's coroutine by execve: the program it belonged to is gone."""


class Executor(Switching):
    """Runs tasks. ``current`` is the task being run, ``loaded`` the one whose state is on the CPU."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.engine: Engine = kernel.engine
        self.scheduler = kernel.scheduler
        self.current: Task | None = None
        self.loaded: Task | None = None
        self.switches = 0
        self.calls = CallCounts()
        self._total = Usage()
        self._slice_since_ns = 0
        """Until when the running time slice is accounted for, at first when it began; 0 between slices."""
        self._deadline_ns = 0
        self._inside = self._unbegun = False
        self._entries: Sequence[Entry] | Screen = []
        self._queued = False
        self._in_turn = False
        self._clock = kernel.clock if isinstance(kernel.clock, VirtualClock) else None
        self._limited = self._clock is not None or not self.engine.ticks_are_precise
        """Time slices are counted in instructions: exact, and slower than a tick."""
        self.observed = kernel.tracer is not None or kernel.config.stats
        self._may_switch = self.engine.switches_inside and not (self._limited or self.observed)
        syscall = self._observed_syscall if self.observed else self._syscall
        self._times = SystemTime(self.engine, syscall, kernel.clock.monotonic_ns)
        self._slices_to_sample = self.sample_every = sys.maxsize if self._limited else EVERY
        self._sampling = False
        self.engine.attach(
            syscall=syscall,
            page_fault=self._page_fault,
            exception=self._exception,
            interrupt=self._interrupt,
        )

    # -- what the rest of the kernel calls -------------------------------------------------------------------

    @property
    def busy_ns(self) -> int:
        """How long programs have had the processor since boot, the running time slice included: never less than
        before, whoever has ended and been forgotten since."""
        running_ns = self.kernel.clock.monotonic_ns() - self._slice_since_ns if self._slice_since_ns else 0
        return self._total.time_ns + running_ns

    @property
    def system_ns(self) -> int:
        """How much of `busy_ns` was spent in system calls, as far as is known."""
        return self._total.system_ns

    def make_runnable(self, task: Task) -> None:
        """Queue a task: woken, new, continued. A stopped process's tasks are held instead."""
        if task.dead:
            return
        if task.process.state is ProcessState.STOPPED and not task.killed:
            task.state = TaskState.HELD
            return
        task.state = TaskState.RUNNABLE
        self.scheduler.add(task)
        if not (self._queued or self._in_turn):
            self._queued = True
            self.kernel.loop.call_soon(self._turn)

    def account(self) -> None:
        """Bring the usage of the running process up to now: what reads CPU time calls this first."""
        if self._slice_since_ns and self.current is not None:
            now_ns = self.kernel.clock.monotonic_ns()
            self._end_slice(self.current, now_ns)
            self._slice_since_ns = now_ns

    def hold(self, task: Task) -> None:
        """Take a queued task of a stopped process off the run queue."""
        self.scheduler.remove(task)
        task.state = TaskState.HELD

    def load(self, task: Task) -> Engine:
        """Put ``task``'s state on the CPU and give the engine. Only outside of the engine's callbacks."""
        loaded = self.loaded
        if loaded is not task:
            engine = self.engine
            if loaded is not None and loaded.context is not None:
                engine.save(loaded.context)
            if task.context is None:
                task.context = engine.new_context()
            else:
                engine.load(task.context)
            self.loaded = task
            self.switches += 1
            personality = task.process.personality
            self._entries = task.screen or (personality.table.entries if personality is not None else [])
        return self.engine

    def set_screen(self, task: Task, screen: Screen) -> None:
        """Let the system calls of ``task`` pass ``screen`` first, from the next one on."""
        task.screen = screen
        if self.loaded is task:
            self._entries = screen

    def unload(self, task: Task) -> None:
        """Forget the CPU state of a task that ended or was replaced."""
        if self.loaded is task:
            self.loaded = None

    # -- a turn of the event loop ----------------------------------------------------------------------------

    def _turn(self) -> None:
        self._queued = False
        self._in_turn = True
        pick = self.scheduler.pick
        clock = self._clock
        # In virtual time the end of a turn must not depend on how fast the host is: timers fire between turns.
        now_ns = self.kernel.clock.monotonic_ns
        self._deadline_ns = deadline_ns = now_ns() + (BUDGET_NS if clock is None else VIRTUAL_SLICE)
        try:
            if not self._limited:
                self.engine.start_ticker(self.scheduler.tick_ms)
            while (task := pick()) is not None:
                try:
                    self._run(task)
                except Exception as bug:
                    self._lost(self.current or task, bug)
                except BaseException:  # the host's ^C: the task goes on if the system does
                    task = self.current or task
                    if task.state is TaskState.RUNNABLE and task.coroutine is None:
                        self.scheduler.remove(task)  # it may have come just after its slice had ended
                        self.scheduler.add(task)
                    raise
                if clock is not None:
                    clock.advance(VIRTUAL_SWITCH_NS)
                if now_ns() >= deadline_ns:
                    break
            if not len(self.scheduler):
                self.engine.stop_ticker()
        finally:
            self.current = None
            self._in_turn = False
            if len(self.scheduler):
                self._queued = True
                self.kernel.loop.call_soon(self._turn)

    def _run(self, task: Task) -> None:
        """Run one task until it blocks, dies, stops or is preempted."""
        self.current = task
        engine = self.engine
        clock = self.kernel.clock
        while True:
            if task.coroutine is not None and not self._resume(task):
                return
            if task.work and not self._before_user_mode(task):
                return
            if task.coroutine is not None:
                continue  # execve put an applet in place, or a signal was noted for one
            if self.loaded is not task:
                self.load(task)
            result = task.result
            if result is not None:
                task.result = None
                task.process.personality.set_result(engine, result)  # type: ignore[union-attr]
            task.syscall_number = -1
            self._slice_since_ns = now_ns = clock.monotonic_ns()
            self._slices_to_sample -= 1
            if not self._slices_to_sample:
                self._slices_to_sample = self.sample_every
                self._sampling = True
                self._times.begin(now_ns)
            if not self._limited:
                engine.run()
            else:
                engine.run(VIRTUAL_SLICE)
                if self._clock is not None:
                    self._clock.advance(engine.instructions_retired)
            # Another task may have been switched to meanwhile: see `jefeos.sched.switching`.
            now_on = self.current
            if self._unbegun:
                self._unbegun = False
                if now_on is None:
                    return
                task = now_on
                continue
            task = now_on
            if self._slice_since_ns:
                self._end_slice(task, clock.monotonic_ns())
            if task.coroutine is None and not task.work:  # its time slice is over
                engine.flush_tlb()  # renews the engine's translation cache at its grown size
                task.process.usage.involuntary_switches += 1
                self.scheduler.add(task)
                return
            if task.coroutine is not None and not self._suspended(task):
                return

    def _lost(self, task: Task, error: Exception) -> None:
        """Something outside of any handler broke: take the task apart, whatever state it is in, and go on."""
        self._bug(task, error)
        self.current = None
        self._unbegun = False
        try:
            self.kernel.lifecycle.finish(task)
        except Exception:
            self.kernel.log.exception("bug in the kernel: task %d could not be taken apart", task.tid)

    def _suspended(self, task: Task) -> bool:
        """A call has just yielded ``task.token``. True if it goes on at once, False if the task is parked.

        False too, with the token left, if the call wants to be outside of the callback and is not.
        """
        token = task.token
        if token is OUTSIDE:
            if self._inside:
                return False
            task.token = None
            return True
        task.token = None
        task.process.usage.voluntary_switches += 1
        if isinstance(token, Park):
            task.park(token)
            return False
        if isinstance(token, asyncio.Future):
            self._park_on_future(task, token)
            return False
        task.resume_error = TypeError(f"a kernel coroutine awaited {token!r}, which is no wait of the kernel")
        return True

    @staticmethod
    def _park_on_future(task: Task, future: asyncio.Future[Any]) -> None:
        future._asyncio_future_blocking = False  # the documented hand-shake of awaitables with their driver
        task.token = future
        task.state = TaskState.PARKED

        def done(finished: asyncio.Future[Any]) -> None:
            if task.token is finished:
                task.wake_with(None)

        future.add_done_callback(done)
        if task.work & Work.SIGNAL:
            task.interrupt()

    def _resume(self, task: Task) -> bool:
        """Step a suspended call or applet until it parks (False) or is over (True)."""
        while True:
            coroutine = task.coroutine
            if coroutine is None:
                return True
            value, error = task.resume_value, task.resume_error
            task.resume_value = task.resume_error = None
            if task.context is None and task.work and not self._before_user_mode(task):
                # An applet takes its signals here, before it hears of the interruption: it may be dead now, or
                # stopped, and then goes on later with what it was to get.
                task.resume_value, task.resume_error = value, error
                return False
            try:
                token = coroutine.throw(error) if error is not None else coroutine.send(value)
            except StopIteration as stop:
                return self._finished(task, coroutine, stop.value)
            except ProgramReplaced:
                if self.observed:
                    self.calls.ended(task.syscall_number, None)
                continue
            except KernelError as failure:
                return self._finished(task, coroutine, self._failed(task, failure))
            except Exception as bug:
                task.coroutine = None
                self._bug(task, bug)
                return self._before_user_mode(task)
            finally:
                error = None  # its traceback holds this frame: a cycle would keep all that the call referred to
            task.token = token
            if task.dead:
                return False
            if task.work & Work.EXIT:
                return self._before_user_mode(task)
            if not self._suspended(task):
                return False

    def _finished(self, task: Task, coroutine: Coroutine[Any, Any, Any], value: Any) -> bool:
        if task.coroutine is coroutine:
            task.coroutine = None
        tracer = self.kernel.tracer
        if task.context is None:  # an applet's program is over
            if not task.work & Work.EXIT:
                self.kernel.lifecycle.exit_group(task, int(value or 0))
            return self._before_user_mode(task)
        if value is not None:
            task.result = int(value)
        if self.observed:
            self.calls.ended(task.syscall_number, task.result)
            if tracer is not None:
                tracer.exit(task, task.result)
        return True

    # -- before user mode: death, stop, signals ----------------------------------------------------------------

    def _before_user_mode(self, task: Task) -> bool:
        """Deal with ``task.work``. False if the task may not go on."""
        kernel = self.kernel
        while task.work:
            if task.work & Work.EXIT:
                kernel.lifecycle.finish(task)
                return False
            if task.work & Work.STOP and task.process.state is ProcessState.STOPPED and not task.killed:
                task.state = TaskState.HELD
                return False
            task.work &= ~Work.STOP
            if task.work & Work.SIGNAL:
                self._take_signal(task)
                continue
            if task.work & Work.MASK:
                task.work &= ~Work.MASK
                task.set_blocked(task.saved_mask)
        if task.restart is not None:
            self._restart(task)
        return True

    def _take_signal(self, task: Task) -> None:
        taken = self.kernel.signals.next(task)
        if taken is None:
            if task.process.state is not ProcessState.STOPPED:
                task.work &= ~Work.SIGNAL
            return
        info, action = taken
        if self.kernel.tracer is not None:
            self.kernel.tracer.signal(task, info)
        if action.handler == SIG_DFL:
            self.kernel.lifecycle.kill(task, info)
        elif task.context is None:
            task.extra.setdefault("caught", []).append(info.signo)
            task.resume_error = task.resume_error or Interrupted()
        else:
            self._deliver(task, info, action)

    def _deliver(self, task: Task, info: SignalInfo, action: SignalAction) -> None:
        personality = task.process.personality
        assert personality is not None
        engine = self.load(task)
        if task.restart is Restart.BY_HANDLER and action.flags & ActionFlags.RESTART:
            self._restart(task)
        task.restart = None
        if task.result is not None:
            personality.set_result(engine, task.result)
            task.result = None
        if action.flags & ActionFlags.RESETHAND:
            task.process.handlers.actions[info.signo] = evolve(action, handler=SIG_DFL)
        try:
            personality.deliver_signal(task, engine, info, action)
        except KernelError:  # no stack for the frame: as the kernel does, a SIGSEGV that cannot be handled
            if info.signo == Signal.SIGSEGV:
                task.process.handlers.actions.pop(Signal.SIGSEGV, None)
                self.kernel.lifecycle.kill(task, SignalInfo(Signal.SIGSEGV))
            else:
                self.kernel.signals.force(task, SignalInfo(Signal.SIGSEGV))
            return
        task.work &= ~Work.MASK
        mask = action.mask | (0 if action.flags & ActionFlags.NODEFER else bit(info.signo))
        task.set_blocked(task.blocked | mask)
        task.syscall_number = -1

    def _restart(self, task: Task) -> None:
        """Issue the interrupted call again: nothing that it was interrupted for ran a handler."""
        task.restart = None
        if task.context is None or task.process.personality is None:
            return
        task.result = None
        task.process.personality.restart_syscall(task, self.load(task))
