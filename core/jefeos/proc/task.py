"""A task: one thread of execution, the thing that the scheduler runs.

Two kinds share the class. A *CPU task* has an address space and a saved CPU context and runs x86-64 code in
ring 3; a system call of it that must wait is a coroutine kept in ``coroutine``. An *applet task* has neither: its
whole program is the coroutine.

    RUNNABLE --picked--> on the CPU --Park token--> PARKED --wake/timeout/interrupt--> RUNNABLE
                              \\--exit--> DEAD            (HELD: runnable, but its process is stopped)

Rules: whatever must be looked at before the task may return to user mode sets a bit in ``work``; the system-call
callback tests that one int. Nothing here touches the CPU; `sched.executor` does.
"""

from __future__ import annotations

from collections.abc import Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from jefeos.proc.signals import UNBLOCKABLE, PendingSignals, Signal, bit
from jefeos.sched.wait import Interrupted, Park, Restart, WaitQueue

if TYPE_CHECKING:
    from jefeos.cpu.engine import CpuContext
    from jefeos.kernel import Kernel
    from jefeos.mm.space import AddressSpace
    from jefeos.proc.credentials import Credentials
    from jefeos.proc.files import FdTable, FsState
    from jefeos.proc.process import Process
    from jefeos.syscall.table import Screen


class TaskState(Enum):
    """Where a task is in its life."""

    RUNNABLE = "R"
    PARKED = "S"
    HELD = "T"
    DEAD = "Z"


class Work:
    """Reasons to look at a task before it returns to user mode. HOT: plain bits, as every switch tests them, and
    an operator of an enumeration takes 25 times as long as one of ints."""

    SIGNAL: Final = 1
    """A signal may be deliverable."""
    EXIT: Final = 2
    """The task has been killed while on the CPU."""
    STOP: Final = 4
    """The process has been stopped."""
    MASK: Final = 8
    """`saved_mask` is to be put back (sigsuspend, ppoll, pselect) if no handler runs."""


@define(eq=False, repr=False)
class Task:
    """A thread. ``tid`` of the first thread of a process is the process's pid."""

    kernel: Kernel
    tid: int
    process: Process
    fs: FsState
    files: FdTable
    mm: AddressSpace = None  # type: ignore[assignment]  # None only for applets, which never reach user memory
    context: CpuContext | None = None
    coroutine: Coroutine[Any, Any, Any] | None = None
    state: TaskState = TaskState.RUNNABLE
    work: int = 0

    # The suspended call: what it waits for, and how it is resumed.
    token: Any = None
    resume_value: Any = None
    resume_error: BaseException | None = None
    timer: Any = None
    result: int | None = None
    """Value for the result register once the task is on the CPU; None when there is nothing to write."""
    syscall_number: int = -1
    """The system call being executed or restarted; -1 outside of one (after rt_sigreturn, a fault …)."""
    restart: Restart | None = None
    """Set when the call just ended was interrupted: says whether it may be issued again."""

    # Signals of this thread.
    blocked: int = 0
    saved_mask: int = 0
    awaited_signals: int = 0
    """Signals that sigtimedwait or a signalfd waits for although they are blocked."""
    pending: PendingSignals = field(factory=PendingSignals)
    alternate_stack: tuple[int, int, int] = (0, 0, 2)
    """sigaltstack: address, size in bytes, flags (2 is SS_DISABLE)."""

    # Thread library support (set_tid_address, set_robust_list, rseq).
    clear_child_tid: int = 0
    robust_list: tuple[int, int] = (0, 0)
    name: bytes = b""
    screen: Screen | None = None
    """What its system calls have to pass first. Set by `Executor.set_screen`."""
    extra: dict[str, Any] = field(factory=dict)
    """For personalities and plugins: state of their own, by plugin name."""

    @property
    def creds(self) -> Credentials:
        """Identity, which all threads of a process share here."""
        return self.process.creds

    @property
    def dead(self) -> bool:
        """Whether the task has ended."""
        return self.state is TaskState.DEAD

    @property
    def is_current(self) -> bool:
        """Whether the task is the one being run right now."""
        return self.kernel.executor.current is self

    def __repr__(self) -> str:
        return f"<Task {self.tid} {self.state.name} of {self.process!r}>"

    # -- waiting: called by the executor and by wait queues ------------------------------------------------

    def park(self, token: Park) -> None:
        """Take the task off the run queue until a queue of ``token`` is woken, its time is over, or a signal."""
        self.token = token
        self.state = TaskState.PARKED
        for queue in token.queues:
            queue.add(self)
        if token.timeout_ns is not None:
            self.timer = self.kernel.loop.call_later_ns(token.timeout_ns, self._timed_out)
        if self.work & Work.SIGNAL and token.interruptible:
            self.interrupt()

    def wake(self) -> bool:
        """A queue was woken: the await gives True."""
        if self.state is not TaskState.PARKED:
            return False
        self._unpark(True, None)
        return True

    def wake_with(self, value: Any, error: BaseException | None = None) -> None:
        """Something else than a queue was awaited (a future): resume with its outcome."""
        if self.state is TaskState.PARKED:
            self._unpark(value, error)

    def interrupt(self) -> None:
        """A signal that will run a handler or kill arrived: abandon an interruptible wait."""
        if self.state is TaskState.PARKED and (getattr(self.token, "interruptible", True) or self.killed):
            self._unpark(None, Interrupted())

    def leave_queues(self) -> None:
        """Forget whatever the task was parked on."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        token, self.token = self.token, None
        if isinstance(token, Park):
            for queue in token.queues:
                queue.discard(self)

    def moved(self, source: WaitQueue, target: WaitQueue) -> None:
        """`WaitQueue.move_to` put this task on another queue."""
        if isinstance(self.token, Park):
            queues = tuple(target if queue is source else queue for queue in self.token.queues)
            self.token = Park(queues, None, self.token.interruptible)

    def _timed_out(self) -> None:
        self.timer = None
        if self.state is TaskState.PARKED:
            self._unpark(False, None)

    def _unpark(self, value: Any, error: BaseException | None) -> None:
        self.leave_queues()
        self.resume_value = value
        self.resume_error = error
        self.kernel.executor.make_runnable(self)

    # -- signals ---------------------------------------------------------------------------------------------

    def notify_signal(self) -> None:
        """A signal for this task has become pending: look at it before user mode, and wake a waiting call."""
        self.work |= Work.SIGNAL
        if self.state is TaskState.PARKED:
            self.interrupt()

    def set_blocked(self, mask: int) -> None:
        """Replace the signal mask; what it uncovers is delivered on the way back to user mode."""
        self.blocked = mask & ~UNBLOCKABLE
        if (self.pending.mask | self.process.pending.mask) & ~self.blocked:
            self.work |= Work.SIGNAL

    def set_temporary_mask(self, mask: int) -> None:
        """sigsuspend, ppoll, pselect: a mask until the call returns (and its handler, if any, has started)."""
        if not self.work & Work.MASK:
            self.saved_mask = self.blocked
            self.work |= Work.MASK
        self.set_blocked(mask)

    @property
    def killed(self) -> bool:
        """Whether SIGKILL is on its way."""
        return bool((self.pending.mask | self.process.pending.mask) & bit(Signal.SIGKILL))
