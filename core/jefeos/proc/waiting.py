"""Waiting for children: wait4 and waitid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import Usage
from jefeos.proc.process import Process, ProcessState, code_and_status
from jefeos.proc.signals import Signal, SignalCode
from jefeos.sched.wait import Interrupted, MaybeAwait

if TYPE_CHECKING:
    from jefeos.proc.task import Task


@frozen
class WaitReport:
    """What a wait found: whose status, the status word of wait(2), siginfo's code and status."""

    pid: int
    uid: int
    status_word: int
    code: int
    status: int
    usage: Usage


class Waiting:
    """Part of `Lifecycle`."""

    def reap(self, process: Process) -> None:
        """See `Endings`."""
        raise NotImplementedError

    def wait(
        self,
        task: Task,
        *,
        pid: int,
        exited: bool = True,
        stopped: bool = False,
        continued: bool = False,
        no_hang: bool = False,
        keep: bool = False,
    ) -> MaybeAwait[WaitReport | None]:
        """wait4 and waitid. ``pid`` as for wait4: > 0, 0 (own group), -1 (any), < -1 (group -pid).

        Gives None when ``no_hang`` and nothing has happened. ``keep`` is WNOWAIT. Raises ECHILD.
        """
        wanted = (exited, stopped, continued)
        report = self._scan(task.process, pid, wanted, keep)
        if report is not None or no_hang:
            return report
        return self._wait(task.process, pid, wanted, keep)

    async def _wait(
        self, parent: Process, pid: int, wanted: tuple[bool, bool, bool], keep: bool
    ) -> WaitReport | None:
        while (report := self._scan(parent, pid, wanted, keep)) is None:
            try:
                await parent.child_queue.wait()
            except Interrupted:  # by SIGCHLD, most often: Linux looks once more before it gives up
                report = self._scan(parent, pid, wanted, keep)
                if report is None:
                    raise
                break
        return report

    def _scan(
        self, parent: Process, pid: int, wanted: tuple[bool, bool, bool], keep: bool
    ) -> WaitReport | None:
        exited, stopped, continued = wanted
        found = False
        for child in parent.children:
            if not _matches(child, pid, parent.pgid):
                continue
            found = True
            if exited and child.state is ProcessState.ZOMBIE:
                report = _report(child)
                if not keep:
                    parent.children_usage.add(child.usage)
                    parent.children_usage.add(child.children_usage)
                    self.reap(child)
                return report
            if stopped and child.state is ProcessState.STOPPED and not child.stop_reported:
                child.stop_reported = child.stop_reported or not keep
                return _report(child)
            if continued and child.continued:
                child.continued = child.continued and keep
                status = Signal.SIGCONT
                return WaitReport(
                    child.pid, child.creds.uid, 0xFFFF, SignalCode.CLD_CONTINUED, status, child.usage
                )
        if not found:
            raise KernelError(Errno.ECHILD)
        return None


def _matches(child: Process, pid: int, group: int) -> bool:
    if pid == -1:
        return True
    if pid > 0:
        return child.pid == pid
    return child.pgid == (group if pid == 0 else -pid)


def _report(process: Process) -> WaitReport:
    code, status = code_and_status(process)
    return WaitReport(process.pid, process.creds.uid, process.wait_status(), code, status, process.usage)
