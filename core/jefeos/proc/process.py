"""A process: the threads that share an address space and a pid, and the tree, groups and sessions of them.

    Process -- tasks: its threads          ProcessTable -- by pid; allocates ids (shared with thread ids)
            -- children, parent
            -- pgid, sid, tty: job control

A process that has ended is a zombie until its parent waits for it; its memory, files and threads are gone by then.
Exit codes are kept apart (code, signal, core) and put into wait(2)'s form by `wait_status`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import Credentials, Limits, RLimit, Usage, default_rlimits
from jefeos.proc.namespaces import SystemNames
from jefeos.proc.signals import (
    SYNCHRONOUS,
    ActionFlags,
    Default,
    PendingSignals,
    Signal,
    SignalCode,
    SignalHandlers,
    SignalInfo,
    bit,
    default_action,
)
from jefeos.proc.task import Task, TaskState, Work
from jefeos.sched.wait import WaitQueue

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.personality import Personality
    from jefeos.vfs.path import Path


NO_LOGIN_UID: Final = 0xFFFF_FFFF


class ProcessState(Enum):
    """Life of a process as wait(2) sees it."""

    ALIVE = "alive"
    STOPPED = "stopped"
    ZOMBIE = "zombie"
    REAPED = "reaped"


@define(eq=False, repr=False)
class Process:
    """A process (thread group). Times are in nanoseconds of the kernel's monotonic clock."""

    kernel: Kernel
    pid: int
    parent: Process | None = None
    children: list[Process] = field(factory=list)
    tasks: list[Task] = field(factory=list)
    pgid: int = 0
    sid: int = 0
    tty: Any = None
    """Controlling terminal (``tty.tty.Tty``) or None."""
    creds: Credentials = field(factory=Credentials)
    rlimits: Limits = field(factory=default_rlimits)
    names: SystemNames = field(factory=lambda: SystemNames(b"jefeos"))
    """Host and domain name as this process sees them."""
    name: bytes = b""
    """comm: the first 15 bytes of the program's name."""
    exe: Path | None = None
    argv: list[bytes] = field(factory=list)
    environ: list[bytes] = field(factory=list)
    auxv: bytes = b""
    personality: Personality | None = None
    dumpable: bool = True
    domain: int = 0
    """The execution domain that personality(2) sets; the children's too, and the next program's."""
    no_new_privileges: bool = False
    nice: int = 0
    login_uid: int = NO_LOGIN_UID
    """As whom somebody logged in (/proc/PID/loginuid); nothing here depends on it."""
    oom_score_adjustment: int = 0
    """From -1000 to 1000; what it does is in `proc.oom`."""
    is_subreaper: bool = False
    auto_reap: bool = False
    """Children are reaped as they end: the kernel's own init, which has no program that would wait."""
    start_time_ns: int = 0
    usage: Usage = field(factory=Usage)
    children_usage: Usage = field(factory=Usage)

    handlers: SignalHandlers = field(factory=SignalHandlers)
    pending: PendingSignals = field(factory=PendingSignals)
    signal_queue: WaitQueue = field(factory=WaitQueue)
    """Woken at every new pending signal (sigtimedwait, signalfd)."""
    exit_signal: int = Signal.SIGCHLD
    """What the parent is sent at the end (the low byte of clone's flags)."""
    parent_death_signal: int = 0
    maker_tid: int = 0
    """The thread of the parent that made it, 0 for none."""

    state: ProcessState = ProcessState.ALIVE
    exit_code: int = 0
    killed_by: int = 0
    fault_address: int | None = None
    """Where it touched what it may not, if that is what killed it."""
    dumped_core: bool = False
    stop_signal: int = 0
    stop_reported: bool = True
    continued: bool = False
    """SIGCONT has resumed it and no WCONTINUED wait has seen that yet."""
    child_queue: WaitQueue = field(factory=WaitQueue)
    """Woken when a child ends, stops or continues."""
    exit_queue: WaitQueue = field(factory=WaitQueue)
    """Woken when this process ends."""
    vfork_queue: WaitQueue | None = None
    """A vfork parent waits on it until exec or exit."""
    has_execed: bool = False
    timers: dict[str, Any] = field(factory=dict)
    """Interval timers and alarms of the process, by kind; cancelled at exit."""
    extra: dict[str, Any] = field(factory=dict)
    """For personalities and plugins: state of their own, by plugin name. Empty after a fork."""

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended (waited for or not)."""
        return self.state in (ProcessState.ZOMBIE, ProcessState.REAPED)

    @property
    def leader(self) -> Task:
        """The first thread still there. Raises ESRCH after the end."""
        if not self.tasks:
            raise KernelError(Errno.ESRCH)
        return self.tasks[0]

    def limit(self, which: RLimit) -> int:
        """The soft limit."""
        return self.rlimits[which][0]

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.name.decode('utf-8', 'replace')} {self.state.name}>"

    # -- stop and continue ---------------------------------------------------------------------------------

    def shielded(self, info: SignalInfo) -> bool:
        """Whether a default action must not touch the process: pid 1 has none (kill(2), NOTES) but for own faults."""
        is_fault = info.code > SignalCode.SI_USER and bit(info.signo) & SYNCHRONOUS
        return self.pid == 1 and not is_fault

    def may_stop(self, signo: int) -> bool:
        """POSIX: terminal stop signals do nothing to an orphaned process group."""
        return signo == Signal.SIGSTOP or not self.kernel.processes.is_orphaned(self.pgid)

    def stop(self, signo: int) -> None:
        """Stop every thread and tell the parent."""
        if self.is_dead or self.state is ProcessState.STOPPED:
            return
        self.state = ProcessState.STOPPED
        self.stop_signal = signo
        self.stop_reported = False
        self.continued = False
        for task in self.tasks:
            task.work |= Work.STOP
            if task.state is TaskState.RUNNABLE and not task.is_current:
                self.kernel.executor.hold(task)
        self._tell_parent(SignalCode.CLD_STOPPED, signo)

    def resume(self, *, notify: bool) -> None:
        """Undo a stop (SIGCONT, SIGKILL)."""
        if self.state is not ProcessState.STOPPED:
            return
        self.state = ProcessState.ALIVE
        self.stop_reported = True
        for task in self.tasks:
            task.work &= ~Work.STOP
            if task.state is TaskState.HELD:
                self.kernel.executor.make_runnable(task)
        if notify:
            self.continued = True
            self._tell_parent(SignalCode.CLD_CONTINUED, Signal.SIGCONT)

    def _tell_parent(self, code: int, status: int) -> None:
        parent = self.parent
        if parent is None:
            return
        if not parent.handlers.get(Signal.SIGCHLD).flags & ActionFlags.NOCLDSTOP:
            info = SignalInfo(Signal.SIGCHLD, code, self.pid, self.creds.uid, status)
            self.kernel.signals.send_process(parent, Signal.SIGCHLD, info)
        parent.child_queue.wake_all()

    # -- the end -------------------------------------------------------------------------------------------

    def wait_status(self) -> int:
        """The status word of wait(2): stopped, killed by a signal, or exited."""
        if self.state is ProcessState.STOPPED:
            return (self.stop_signal << 8) | 0x7F
        if self.killed_by:
            return self.killed_by | (0x80 if self.dumped_core else 0)
        return (self.exit_code & 0xFF) << 8

    def set_killed(self, signo: int) -> None:
        """Record that ``signo`` ended the process."""
        self.killed_by = signo
        core_limit = self.limit(RLimit.CORE)
        self.dumped_core = default_action(signo) is Default.CORE and core_limit > 0 and self.dumpable

    @property
    def shell_status(self) -> int:
        """Exit status as a shell reports it: 128+n for a signal."""
        return 128 + self.killed_by if self.killed_by else self.exit_code & 0xFF


def code_and_status(process: Process) -> tuple[int, int]:
    """si_code and si_status of SIGCHLD and waitid for the state a process is in."""
    if process.state is ProcessState.STOPPED:
        return SignalCode.CLD_STOPPED, process.stop_signal
    if process.killed_by:
        return SignalCode.CLD_DUMPED if process.dumped_core else SignalCode.CLD_KILLED, process.killed_by
    return SignalCode.CLD_EXITED, process.exit_code


class ProcessTable:
    """Every process and thread id of a kernel."""

    def __init__(self, pid_max: int = 32768) -> None:
        self.pid_max = pid_max
        self.processes: dict[int, Process] = {}
        self.tasks: dict[int, Task] = {}
        self.created = 0
        """Processes made since boot (the ``processes`` line of /proc/stat)."""
        self._last = 0
        self._wrapped = False

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self.processes.values()))

    def get(self, pid: int) -> Process:
        """The process with this id. Raises ESRCH."""
        try:
            return self.processes[pid]
        except KeyError:
            raise KernelError(Errno.ESRCH) from None

    def allocate_id(self) -> int:
        """A free pid, ascending with wrap-around. Raises EAGAIN when all are taken."""
        for _ in range(self.pid_max):
            self._last += 1
            if self._last >= self.pid_max:
                self._last, self._wrapped = 2, True
            if self._last not in self.processes and self._last not in self.tasks and not self._in_use(self._last):
                return self._last
        raise KernelError(Errno.EAGAIN, "no process id is free")

    def group(self, pgid: int) -> list[Process]:
        """Living members of a process group."""
        return [p for p in self.processes.values() if p.pgid == pgid and not p.is_dead]

    def session(self, sid: int) -> list[Process]:
        """Living members of a session."""
        return [p for p in self.processes.values() if p.sid == sid and not p.is_dead]

    def is_orphaned(self, pgid: int) -> bool:
        """POSIX: no member has a parent in another group of the same session."""
        for process in self.group(pgid):
            parent = process.parent
            if parent is not None and parent.pgid != pgid and parent.sid == process.sid:
                return False
        return True

    def count_user(self, uid: int) -> int:
        """Threads of a user (RLIMIT_NPROC)."""
        return sum(len(p.tasks) for p in self.processes.values() if p.creds.uid == uid)

    def _in_use(self, number: int) -> bool:
        """Group and session ids keep their number from being a pid again; looked at only after a wrap."""
        if not self._wrapped:
            return False
        return any(number in (p.pgid, p.sid) for p in self.processes.values())
