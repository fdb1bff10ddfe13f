"""Job control of one terminal: its session, its foreground group, and who may do what to it.

::

    session (sid) --controls--> terminal --foreground group--> gets ^C, ^Z, window changes, and may read
                                   other groups of the session: reading stops them (SIGTTIN), changing settings
                                   and, under TOSTOP, writing too (SIGTTOU)

The rules are POSIX.1's (General Terminal Interface, 11.1) as Linux applies them (drivers/tty/tty_jobctrl.c). The
caller of a terminal operation is the task on the CPU; kernel threads have none and are never held up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import SIG_IGN, Signal, bit
from jefeos.sched.wait import Interrupted

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task
    from jefeos.tty.tty import Tty


@define(eq=False)
class JobControl:
    """Session and foreground group of one terminal; 0 stands for none."""

    kernel: Kernel
    session: int = 0
    foreground: int = 0

    # -- signals ------------------------------------------------------------------------------------

    def signal_foreground(self, signo: int) -> None:
        """Send a signal to the foreground group."""
        if self.foreground:
            self.kernel.signals.send_group(self.kernel.processes.group(self.foreground), signo)

    def check_background(self, tty: Tty, signo: Signal) -> None:
        """Hold up a caller of a background group: SIGTTIN before a read, SIGTTOU before a change.

        Raises EIO where the caller cannot be stopped (it ignores or blocks SIGTTIN, or its group is orphaned),
        else `Interrupted` after the signal was sent: the call is issued again when the job comes to the front.
        """
        task = self.kernel.executor.current
        if task is None:
            return
        process = task.process
        if not self.foreground or process.pgid == self.foreground or process.tty is not tty:
            return
        if task.blocked & bit(signo) or process.handlers.get(signo).handler == SIG_IGN:
            if signo == Signal.SIGTTIN:
                raise KernelError(Errno.EIO)
            return
        if self.kernel.processes.is_orphaned(process.pgid):
            raise KernelError(Errno.EIO)
        self.kernel.signals.send_group(self.kernel.processes.group(process.pgid), signo)
        raise Interrupted

    # -- the controlling terminal -------------------------------------------------------------------

    def offer(self, tty: Tty, process: Process) -> None:
        """A terminal was opened without O_NOCTTY: it becomes the controlling one of a session leader without."""
        if process.pid == process.sid and process.tty is None and not self.session:
            self._take(tty, process)

    def set_controlling(self, tty: Tty, process: Process, *, steal: bool = False) -> None:
        """TIOCSCTTY. Raises EPERM for a process that leads no session, has a terminal, or may not take this one."""
        if process.pid == process.sid and self.session == process.sid and process.tty is tty:
            return
        if process.pid != process.sid or process.tty is not None:
            raise KernelError(Errno.EPERM)
        if self.session:
            if not steal or process.creds.euid != 0:
                raise KernelError(Errno.EPERM)
            self._release_session(tty)
        self._take(tty, process)

    def give_up(self, tty: Tty, process: Process) -> None:
        """TIOCNOTTY, setsid, and the end of a session leader: the session loses its terminal, or one process does.

        When a leader gives it up, the foreground group is told with SIGHUP and SIGCONT.
        """
        if process.tty is not tty:
            raise KernelError(Errno.ENOTTY)
        if process.pid != process.sid:
            process.tty = None
            return
        self.signal_foreground(Signal.SIGHUP)
        self.signal_foreground(Signal.SIGCONT)
        self._release_session(tty)

    def hang_up(self, tty: Tty) -> None:
        """The terminal went away: SIGHUP and SIGCONT to the session's leader and the foreground group."""
        processes = self.kernel.processes
        leader = processes.processes.get(self.session) if self.session else None
        told = {p.pid: p for p in processes.group(self.foreground)} if self.foreground else {}
        if leader is not None and not leader.is_dead:
            told[leader.pid] = leader
        self._release_session(tty)
        for process in told.values():
            self.kernel.signals.send_process(process, Signal.SIGHUP)
            self.kernel.signals.send_process(process, Signal.SIGCONT)

    def _take(self, tty: Tty, leader: Process) -> None:
        self.session = leader.sid
        self.foreground = leader.pgid
        leader.tty = tty

    def _release_session(self, tty: Tty) -> None:
        for process in self.kernel.processes:
            if process.tty is tty:
                process.tty = None
        self.session = self.foreground = 0

    # -- the foreground group -----------------------------------------------------------------------

    def get_foreground(self, tty: Tty, task: Task | None, *, through_master: bool) -> int:
        """tcgetpgrp. Raises ENOTTY if this is not the caller's controlling terminal; the master may always ask."""
        if not through_master and (task is None or task.process.tty is not tty):
            raise KernelError(Errno.ENOTTY)
        return self.foreground

    def set_foreground(self, tty: Tty, task: Task, pgid: int) -> None:
        """tcsetpgrp. Raises ENOTTY, EINVAL (negative), ESRCH (no such group), EPERM (of another session).

        From the background it is a change like any other: SIGTTOU, unless ignored or blocked.
        """
        process = task.process
        self.check_background(tty, Signal.SIGTTOU)
        if process.tty is not tty or self.session != process.sid:
            raise KernelError(Errno.ENOTTY)
        if pgid < 0:
            raise KernelError(Errno.EINVAL)
        members = [p for p in self.kernel.processes if p.pgid == pgid]
        if not members:
            raise KernelError(Errno.ESRCH)
        if all(p.sid != process.sid for p in members):
            raise KernelError(Errno.EPERM)
        self.foreground = pgid

    def get_session(self, tty: Tty, task: Task | None, *, through_master: bool) -> int:
        """tcgetsid. Raises ENOTTY if this is not the caller's controlling terminal or nobody's."""
        if not through_master and (task is None or task.process.tty is not tty):
            raise KernelError(Errno.ENOTTY)
        if not self.session:
            raise KernelError(Errno.ENOTTY)
        return self.session
