"""Job control: process groups, the terminal, and waiting for what was started.

A job is a pipeline. In an interactive shell each has a process group of its own, and the terminal belongs to the
group in the foreground; a job that is stopped (^Z) or was started with ``&`` is kept in `State.jobs` until it has
ended and that has been said. Without a terminal there is only one group, and jobs are kept for ``wait``, ``jobs`` and
``kill %n``.
"""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.proc.signals import Signal, SignalCode
from jefeos.proc.waiting import WaitReport
from jefeos.sched.wait import Interrupted

from .messages import SIGNAL_TEXTS, shown
from .state import Job, State

STATUS_SIGNAL = 128


def status_of(report: WaitReport) -> int:
    """The exit status that a shell gives a child's end."""
    return report.status if report.code == SignalCode.CLD_EXITED else STATUS_SIGNAL + report.status


class JobControl:
    """The part of a shell that waits and speaks; `Shell` is built on it."""

    def __init__(self, proc: Proc, state: State, *, interactive: bool = False) -> None:
        self.proc = proc
        self.state = state
        self.interactive = interactive
        self.error_descriptor = 2  # the running command's own, while one is being started or is a builtin

    async def say(self, descriptor: int, data: bytes) -> None:
        """Write, when it is of no consequence whether that works."""
        try:
            await self.proc.write(descriptor, data)
        except Interrupted:
            pass
        except KernelError as error:
            if error.errno == Errno.EPIPE:
                raise

    async def complain(self, message: str) -> None:
        """One line on the standard error of the shell, or of the command it is about."""
        await self.say(self.error_descriptor, f"{shown(self.state.name)}: {message}\n".encode())

    # --- waiting -----------------------------------------------------------------------------------------------

    async def wait_foreground(self, group: int, pids: list[int], source: bytes) -> int:
        """Wait for a job that has the terminal; its last command's status."""
        terminal = self.proc.terminal(0) if self.interactive else None
        if terminal is not None:
            self.give_terminal(group)
        status = 0
        left = list(pids)
        try:
            while left:
                report = await self._wait(left[0])
                if report is None:
                    left.pop(0)
                    continue
                if report.code == SignalCode.CLD_STOPPED:
                    job = self.state.new_job(group, left, source)
                    job.last_pid = pids[-1]
                    job.stopped = True
                    await self.say(2, b"\n[%d] Stopped  %s\n" % (job.number, source))
                    return STATUS_SIGNAL + report.status
                left.pop(0)
                if report.pid == pids[-1]:
                    status = status_of(report)
                    await self.tell_signal(report)
        finally:
            if terminal is not None:
                self.give_terminal(self.proc.process.pgid)
        return status

    async def _wait(self, pid: int) -> WaitReport | None:
        """Wait for one child, whatever signals come; None if it is gone already."""
        while True:
            try:
                return await self.proc.wait(pid, stopped=self.interactive)
            except Interrupted:
                self.proc.caught.clear()
            except KernelError as error:
                if error.errno != Errno.ECHILD:
                    raise
                return None

    def give_terminal(self, group: int) -> None:
        terminal = self.proc.terminal(0)
        if terminal is not None:
            try:
                terminal.set_foreground(group)
            except KernelError:
                pass  # the job is over already, or the terminal is not ours

    async def tell_signal(self, report: WaitReport) -> None:
        """What ended a command unexpectedly; ^C and a closed pipe are not worth a line."""
        if report.code in (SignalCode.CLD_KILLED, SignalCode.CLD_DUMPED):
            if report.status == Signal.SIGINT and self.interactive:
                await self.say(2, b"\n")
            text = SIGNAL_TEXTS.get(report.status)
            if text is not None:
                await self.say(2, text.encode() + b"\n")

    async def poll_job(self, job: Job) -> bool:
        """Look for ended members of a job without waiting; True if all have ended."""
        for pid in list(job.pids):
            try:
                report = await self.proc.wait(pid, no_hang=True, stopped=True)
            except KernelError:
                job.pids.remove(pid)
                continue
            if report is None:
                continue
            if report.code == SignalCode.CLD_STOPPED:
                job.stopped = True
                continue
            job.pids.remove(pid)
            if pid == job.last_pid:
                job.status = status_of(report)
        return not job.pids

    async def report_jobs(self) -> None:
        """Before a prompt: say which background jobs have ended."""
        for job in list(self.state.jobs.values()):
            if await self.poll_job(job):
                del self.state.jobs[job.number]
                outcome = b"Done" if job.status == 0 else b"Exit %d" % job.status
                await self.say(2, b"[%d] %s  %s\n" % (job.number, outcome, job.text))
