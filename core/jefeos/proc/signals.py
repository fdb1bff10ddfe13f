"""Signals: numbers, default actions, pending sets, and who gets them (signal(7), POSIX.1-2024 section 2.4).

The model has three steps:

    send      decides at once what can be decided: ignored signals are dropped, a default stop stops, SIGCONT
              continues; anything else becomes pending on a thread or on the whole process
    notify    a thread that does not block it gets work: it is woken from an interruptible wait if the signal will
              run a handler or kill (a wait goes on undisturbed through stop and continue)
    dequeue   on its way back to user mode the thread takes the lowest pending signal; the process's personality
              builds the handler's frame, or the default action ends the process

Standard signals are pending at most once; real-time ones (32 … 64) queue, in order, up to RLIMIT_SIGPENDING.
Masks are ints in which bit ``signo - 1`` stands for ``signo``, as in the kernel's sigset_t.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from jefeos.proc.credentials import RLimit

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task

SIG_DFL: Final = 0
SIG_IGN: Final = 1
SIGNAL_COUNT: Final = 64
FIRST_REALTIME: Final = 32


class Signal(IntEnum):
    """Linux x86-64 signal numbers."""

    SIGHUP = 1
    SIGINT = 2
    SIGQUIT = 3
    SIGILL = 4
    SIGTRAP = 5
    SIGABRT = 6
    SIGBUS = 7
    SIGFPE = 8
    SIGKILL = 9
    SIGUSR1 = 10
    SIGSEGV = 11
    SIGUSR2 = 12
    SIGPIPE = 13
    SIGALRM = 14
    SIGTERM = 15
    SIGSTKFLT = 16
    SIGCHLD = 17
    SIGCONT = 18
    SIGSTOP = 19
    SIGTSTP = 20
    SIGTTIN = 21
    SIGTTOU = 22
    SIGURG = 23
    SIGXCPU = 24
    SIGXFSZ = 25
    SIGVTALRM = 26
    SIGPROF = 27
    SIGWINCH = 28
    SIGIO = 29
    SIGPWR = 30
    SIGSYS = 31


class SignalCode:
    """Values of si_code (sigaction(2)). Not an enum: codes of different signals share numbers."""

    SI_USER: Final = 0
    SI_KERNEL: Final = 0x80
    SI_QUEUE: Final = -1
    SI_TIMER: Final = -2
    SI_TKILL: Final = -6
    ILL_ILLOPN: Final = 2
    FPE_INTDIV: Final = 1
    SEGV_MAPERR: Final = 1
    SEGV_ACCERR: Final = 2
    BUS_ADRALN: Final = 1
    BUS_ADRERR: Final = 2
    TRAP_BRKPT: Final = 1
    TRAP_TRACE: Final = 2
    CLD_EXITED: Final = 1
    CLD_KILLED: Final = 2
    CLD_DUMPED: Final = 3
    CLD_STOPPED: Final = 5
    CLD_CONTINUED: Final = 6


class ActionFlags(IntFlag):
    """sa_flags of sigaction(2)."""

    NOCLDSTOP = 0x00000001
    NOCLDWAIT = 0x00000002
    SIGINFO = 0x00000004
    RESTORER = 0x04000000
    ONSTACK = 0x08000000
    RESTART = 0x10000000
    NODEFER = 0x40000000
    RESETHAND = 0x80000000


class Default(Enum):
    """What a signal does when nobody handles it."""

    TERMINATE = "terminate"
    CORE = "core"
    IGNORE = "ignore"
    STOP = "stop"
    CONTINUE = "continue"


_DEFAULTS: Final[dict[int, Default]] = {
    **dict.fromkeys(range(1, SIGNAL_COUNT + 1), Default.TERMINATE),
    **dict.fromkeys(
        (
            Signal.SIGQUIT,
            Signal.SIGILL,
            Signal.SIGTRAP,
            Signal.SIGABRT,
            Signal.SIGBUS,
            Signal.SIGFPE,
            Signal.SIGSEGV,
            Signal.SIGXCPU,
            Signal.SIGXFSZ,
            Signal.SIGSYS,
        ),
        Default.CORE,
    ),
    **dict.fromkeys((Signal.SIGCHLD, Signal.SIGURG, Signal.SIGWINCH), Default.IGNORE),
    **dict.fromkeys((Signal.SIGSTOP, Signal.SIGTSTP, Signal.SIGTTIN, Signal.SIGTTOU), Default.STOP),
    Signal.SIGCONT: Default.CONTINUE,
}


def default_action(signo: int) -> Default:
    """The default action of a signal number 1 … 64 (signal(7), "Standard signals")."""
    return _DEFAULTS[signo]


def bit(signo: int) -> int:
    """The mask bit of a signal number."""
    return 1 << (signo - 1)


def signal_name(signo: int) -> str:
    """``SIGINT`` for 2, ``SIGRT_3`` for 35; ``signal N`` for an unknown number."""
    try:
        return Signal(signo).name
    except ValueError:
        return f"SIGRT_{signo - FIRST_REALTIME}" if FIRST_REALTIME <= signo <= SIGNAL_COUNT else f"signal {signo}"


STOP_MASK: Final = sum(bit(s) for s, action in _DEFAULTS.items() if action is Default.STOP)
UNBLOCKABLE: Final = bit(Signal.SIGKILL) | bit(Signal.SIGSTOP)
SYNCHRONOUS: Final = sum(
    bit(s) for s in (Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGILL, Signal.SIGTRAP, Signal.SIGFPE, Signal.SIGSYS)
)


@frozen
class SignalInfo:
    """What siginfo_t tells: who sent it, or which address or child it is about."""

    signo: int
    code: int = SignalCode.SI_KERNEL
    pid: int = 0
    uid: int = 0
    status: int = 0
    value: int = 0
    """sigval of sigqueue, or the timer's, as 64 raw bits."""
    address: int = 0
    user_ns: int = 0
    system_ns: int = 0
    timer_id: int = 0
    overrun: int = 0
    vector: int = 0
    """CPU exception vector behind a synchronous signal (mcontext trapno)."""
    error_code: int = 0


@frozen
class SignalAction:
    """A sigaction: handler address (or SIG_DFL, SIG_IGN), flags, restorer address, mask while it runs."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


DEFAULT_ACTION: Final = SignalAction()


@define(eq=False)
class SignalHandlers:
    """The action table; shared by threads (CLONE_SIGHAND)."""

    actions: dict[int, SignalAction] = field(factory=dict)

    def get(self, signo: int) -> SignalAction:
        """The action for ``signo``."""
        return self.actions.get(signo, DEFAULT_ACTION)

    def ignores(self, signo: int) -> bool:
        """Whether a delivery would do nothing."""
        handler = self.get(signo).handler
        return handler == SIG_IGN or (handler == SIG_DFL and default_action(signo) is Default.IGNORE)

    def copy(self) -> SignalHandlers:
        """The table of a forked process."""
        return SignalHandlers(dict(self.actions))

    def reset_for_exec(self) -> None:
        """execve: handlers go back to default, ignored signals stay ignored."""
        self.actions = {s: SignalAction(SIG_IGN) for s, a in self.actions.items() if a.handler == SIG_IGN}


@define(eq=False)
class PendingSignals:
    """Signals that wait for delivery to one thread, or to any thread of a process."""

    mask: int = 0
    queue: list[SignalInfo] = field(factory=list)

    def add(self, info: SignalInfo, limit: int = 4096) -> bool:
        """Queue a signal. False when a real-time queue is full; a pending standard signal is merged.

        What kill sends comes through a full queue too, without its information (as on Linux).
        """
        if info.signo < FIRST_REALTIME:
            if self.mask & bit(info.signo):
                return True
        elif len(self.queue) >= limit:
            if info.code != SignalCode.SI_USER:
                return False
            self.mask |= bit(info.signo)
            return True
        self.mask |= bit(info.signo)
        self.queue.append(info)
        return True

    def take(self, allowed: int) -> SignalInfo | None:
        """Remove and give the next signal in ``allowed``: synchronous ones first, then by number."""
        ready = self.mask & allowed
        if not ready:
            return None
        chosen = ready & SYNCHRONOUS or ready
        signo = (chosen & -chosen).bit_length()
        index = next((i for i, info in enumerate(self.queue) if info.signo == signo), None)
        if index is None:
            self.mask &= ~bit(signo)
            return SignalInfo(signo, SignalCode.SI_USER)
        info = self.queue.pop(index)
        if not any(other.signo == signo for other in self.queue):
            self.mask &= ~bit(signo)
        return info

    def discard(self, mask: int) -> None:
        """Forget the signals in ``mask``."""
        if self.mask & mask:
            self.mask &= ~mask
            self.queue = [info for info in self.queue if not bit(info.signo) & mask]


class Signals:
    """Sending and taking signals; ``kernel.signals``. Personalities and the tty call this."""

    def send_process(self, process: Process, signo: int, info: SignalInfo | None = None) -> bool:
        """Make a signal pending on a process (kill). False when a real-time queue is full (EAGAIN)."""
        if process.is_dead or signo == 0:
            return True
        return self._send(process, None, info or SignalInfo(signo))

    def send_task(self, task: Task, signo: int, info: SignalInfo | None = None) -> bool:
        """Make a signal pending on one thread (tgkill)."""
        if task.dead or signo == 0:
            return True
        return self._send(task.process, task, info or SignalInfo(signo))

    def send_group(self, members: list[Process], signo: int, info: SignalInfo | None = None) -> None:
        """Send to every process of a list (a process group, a session)."""
        for process in members:
            self.send_process(process, signo, info)

    def force(self, task: Task, info: SignalInfo) -> None:
        """A fault of the thread itself: cannot be blocked or ignored (it kills then)."""
        process = task.process
        if task.blocked & bit(info.signo) or process.handlers.get(info.signo).handler == SIG_IGN:
            process.handlers.actions.pop(info.signo, None)
            task.blocked &= ~bit(info.signo)
        task.pending.add(info)
        task.notify_signal()

    def next(self, task: Task) -> tuple[SignalInfo, SignalAction] | None:
        """Take the next deliverable signal that runs a handler or a fatal default; others are dealt with here."""
        process = task.process
        while True:
            allowed = ~task.blocked
            info = task.pending.take(allowed) or process.pending.take(allowed)
            if info is None:
                return None
            action = process.handlers.get(info.signo)
            if action.handler == SIG_IGN:
                continue
            if action.handler == SIG_DFL:
                default = default_action(info.signo)
                if default in (Default.IGNORE, Default.CONTINUE) or process.shielded(info):
                    continue
                if default is Default.STOP:
                    if not process.may_stop(info.signo):
                        continue
                    process.stop(info.signo)
                    return None
            return info, action

    def _send(self, process: Process, task: Task | None, info: SignalInfo) -> bool:
        signo = info.signo
        if signo == Signal.SIGCONT or signo == Signal.SIGKILL:
            self._discard_pending(process, STOP_MASK)
            process.resume(notify=signo == Signal.SIGCONT)
        elif bit(signo) & STOP_MASK:
            self._discard_pending(process, bit(Signal.SIGCONT))
        candidates = [task] if task is not None else process.tasks
        blocked_by_all = all(t.blocked & bit(signo) for t in candidates)
        waited_for = any(t.awaited_signals & bit(signo) for t in candidates)
        if not blocked_by_all and not waited_for:
            if process.handlers.ignores(signo):
                return True
            if process.handlers.get(signo).handler == SIG_DFL:
                default = default_action(signo)
                if default is Default.CONTINUE or process.shielded(info):
                    return True
                if default is Default.STOP:
                    if process.may_stop(signo):
                        process.stop(signo)
                    return True
        pending = process.pending if task is None else task.pending
        if not pending.add(info, process.limit(RLimit.SIGPENDING)):
            return False
        process.signal_queue.wake_all()
        self._notify(candidates, signo)
        return True

    def _notify(self, candidates: list[Task], signo: int) -> None:
        """Give the signal to the first thread that can take it, the one on the CPU by preference."""
        ready = [task for task in candidates if not task.blocked & bit(signo) and not task.dead]
        if not ready:
            return
        if signo == Signal.SIGKILL:
            for task in ready:
                task.notify_signal()
            return
        chosen = next((task for task in ready if task.is_current), ready[0])
        chosen.notify_signal()

    @staticmethod
    def _discard_pending(process: Process, mask: int) -> None:
        process.pending.discard(mask)
        for task in process.tasks:
            task.pending.discard(mask)
