"""Waiting for children: wait4 and waitid."""

from __future__ import annotations

from enum import Enum
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


class ChildKind(Enum):
    """Which children a wait means: Linux tells apart those that end with SIGCHLD and the others ("clones")."""

    USUAL = "usual"
    CLONE = "clone"
    ALL = "all"


@frozen
class _Wanted:
    """What a wait looks for."""

    pid: int
    exited: bool
    stopped: bool
    continued: bool
    keep: bool
    kind: ChildKind
    maker: Task | None
    """Only children that this thread has made (__WNOTHREAD)."""

    def matches(self, child: Process, group: int) -> bool:
        """Whether the wait is about ``child`` at all."""
        pid = self.pid
        if pid > 0:
            if child.pid != pid:
                return False
        elif pid != -1 and child.pgid != (group if pid == 0 else -pid):
            return False
        if self.kind is not ChildKind.ALL and (child.exit_signal == Signal.SIGCHLD) == (self.kind is ChildKind.CLONE):
            return False
        maker = self.maker
        if maker is None or child.maker_tid == maker.tid:
            return True
        return not any(thread.tid == child.maker_tid for thread in maker.process.tasks)


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
        kind: ChildKind = ChildKind.USUAL,
        own_only: bool = False,
    ) -> MaybeAwait[WaitReport | None]:
        """wait4 and waitid. ``pid`` as for wait4: > 0, 0 (own group), -1 (any), < -1 (group -pid).

        Gives None when ``no_hang`` and nothing has happened. ``keep`` is WNOWAIT, ``own_only`` __WNOTHREAD. ECHILD.
        """
        wanted = _Wanted(pid, exited, stopped, continued, keep, kind, task if own_only else None)
        report = self._scan(task.process, wanted)
        if report is not None or no_hang:
            return report
        return self._wait(task.process, wanted)

    async def _wait(self, parent: Process, wanted: _Wanted) -> WaitReport | None:
        while (report := self._scan(parent, wanted)) is None:
            try:
                await parent.child_queue.wait()
            except Interrupted:  # by SIGCHLD, most often: Linux looks once more before it gives up
                report = self._scan(parent, wanted)
                if report is None:
                    raise
                break
        return report

    def _scan(self, parent: Process, wanted: _Wanted) -> WaitReport | None:
        found = False
        keep = wanted.keep
        for child in parent.children:
            if not wanted.matches(child, parent.pgid):
                continue
            if child.state is ProcessState.ZOMBIE and not (wanted.exited or wanted.continued):
                continue  # it will never stop: for this wait it does not exist
            found = True
            if wanted.exited and child.state is ProcessState.ZOMBIE:
                report = _report(child)
                if not keep:
                    parent.children_usage.add(child.usage)
                    parent.children_usage.add(child.children_usage)
                    self.reap(child)
                return report
            if wanted.stopped and child.state is ProcessState.STOPPED and not child.stop_reported:
                child.stop_reported = child.stop_reported or not keep
                return _report(child)
            if wanted.continued and child.continued:
                child.continued = child.continued and keep
                status = Signal.SIGCONT
                return WaitReport(
                    child.pid, child.creds.uid, 0xFFFF, SignalCode.CLD_CONTINUED, status, child.usage
                )
        if not found:
            raise KernelError(Errno.ECHILD)
        return None


def _report(process: Process) -> WaitReport:
    code, status = code_and_status(process)
    return WaitReport(process.pid, process.creds.uid, process.wait_status(), code, status, process.usage)
