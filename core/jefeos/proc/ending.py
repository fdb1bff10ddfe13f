"""The end of threads and processes: exit, kill, out of memory; zombies and what becomes of their children.

Death is immediate: the kernel runs on one host thread, so killing a task means closing its suspended call (its
``finally`` blocks run), taking it off every queue and giving its memory and files back, there and then. Only the
task that is on the CPU right now cannot vanish under its own feet: it gets ``Work.EXIT`` and is finished by the
executor as soon as it has left the engine.

    kill, exit_group --> every other thread: finish() at once        the current one: Work.EXIT, finish() later
    finish(last thread) --> zombie: children to the reaper, SIGCHLD, wait queues woken
    wait --> reaped: the id is free again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import KernelError
from jefeos.proc.oom import choose_victim, memory_of, sharing
from jefeos.proc.process import Process, ProcessState, code_and_status
from jefeos.proc.signals import (
    SIG_IGN,
    ActionFlags,
    Signal,
    SignalCode,
    SignalInfo,
    signal_name,
)
from jefeos.proc.task import Task, TaskState, Work

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

FAULT_SIGNALS: Final = frozenset({Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGILL, Signal.SIGFPE, Signal.SIGTRAP})


class Endings:
    """Part of `Lifecycle`."""

    kernel: Kernel

    def exit_thread(self, task: Task, code: int) -> int:
        """exit(2): end the calling thread; the last one takes its process along."""
        if task.tid == task.process.pid:  # as Linux: the first thread's code counts, whoever is the last
            task.process.exit_code = code & 0xFF
        task.work |= Work.EXIT
        return 0

    def exit_group(self, task: Task, code: int) -> int:
        """exit_group(2): end the process."""
        task.process.exit_code = code & 0xFF
        self._end(task.process)
        return 0

    def kill(self, task: Task, info: SignalInfo) -> None:
        """A signal's default action ends the process of ``task``."""
        process = task.process
        process.set_killed(info.signo)
        if info.signo in FAULT_SIGNALS and info.code != SignalCode.SI_USER:
            process.fault_address = info.address
            self.kernel.log.info(
                "%s[%d]: %s at address 0x%x, error code %d",
                process.name.decode("utf-8", "replace"),
                process.pid,
                signal_name(info.signo),
                info.address,
                info.error_code,
            )
        self._end(process)

    def kill_process(self, process: Process, signo: int = Signal.SIGKILL) -> None:
        """End a process from outside, at once and whatever it does."""
        if not process.is_dead:
            process.set_killed(signo)
            self._end(process)

    def out_of_memory(self, task: Task) -> None:
        """No frame is left for a fault of ``task``: end whoever holds the most, and say so.

        If that is another one, its frames are free at once, and the fault can be tried again.
        """
        kernel = self.kernel
        victim = choose_victim(kernel) or task.process
        mm = memory_of(victim)
        kernel.out_of_memory_kills += 1
        kernel.log.warning(
            "out of memory: killed process %d (%s), which held %d KiB",
            victim.pid,
            victim.name.decode("utf-8", "replace"),
            mm.resident_pages * 4 if mm is not None else 0,
        )
        for process in sharing(kernel, victim) or [victim]:
            self.kill_process(process)

    def finish(self, task: Task) -> None:
        """Take a thread apart. Called by the executor for the current task, directly for any other.

        A step that breaks is logged and left out: whatever happens, the thread is gone and its parent hears of it.
        """
        if task.dead:
            return
        kernel, process = self.kernel, task.process
        task.leave_queues()
        task.state = TaskState.DEAD
        kernel.executor.scheduler.remove(task)
        coroutine, task.coroutine = task.coroutine, None
        if coroutine is not None:
            self._guarded(process, coroutine.close)
        mm = task.mm
        if mm is not None:
            if process.personality is not None:
                self._guarded(process, process.personality.task_exit, task)
            usage = process.usage
            usage.max_resident_kib = max(usage.max_resident_kib, mm.resident_pages * 4)
        kernel.executor.unload(task)
        task.context = None
        if mm is not None:
            self._guarded(process, mm.release)
        self._guarded(process, task.files.leave)
        if task in process.tasks:
            process.tasks.remove(task)
        kernel.processes.tasks.pop(task.tid, None)
        if not process.tasks:
            self._become_zombie(process)

    def _guarded(self, process: Process, step: Callable[..., Any], *arguments: Any) -> None:
        try:
            step(*arguments)
        except KernelError as error:  # a file whose last data could not be written: nobody is left to be told
            self.kernel.log.debug("end of pid %d: %s", process.pid, str(error))
        except Exception:
            self.kernel.bugs += 1
            self.kernel.log.exception("bug in the kernel: a part of pid %d could not be taken down", process.pid)

    def _end(self, process: Process) -> None:
        """End every thread of a process."""
        for task in list(process.tasks):
            if task.is_current:
                task.work |= Work.EXIT
            else:
                self.finish(task)

    def _end_other_threads(self, survivor: Task) -> None:
        process = survivor.process
        for task in list(process.tasks):
            if task is not survivor:
                self.finish(task)
        if survivor.tid != process.pid:  # the thread that executes takes over the leader's id
            self.kernel.processes.tasks.pop(survivor.tid, None)
            survivor.tid = process.pid
            self.kernel.processes.tasks[survivor.tid] = survivor

    def _release_vfork(self, process: Process) -> None:
        queue, process.vfork_queue = process.vfork_queue, None
        if queue is not None:
            queue.wake_all()

    def _become_zombie(self, process: Process) -> None:
        kernel = self.kernel
        process.state = ProcessState.ZOMBIE
        for timer in process.timers.values():
            timer.cancel()
        process.timers.clear()
        self._release_vfork(process)
        self._reparent_children(process)
        tty = process.tty
        if tty is not None and process.sid == process.pid == tty.jobs.session:
            self._guarded(process, tty.hang_up)  # Linux's disassociate_ctty: the session leader is gone
        if kernel.tracer is not None:
            kernel.tracer.exited(process)
        if kernel.vfs.other_tops:
            kernel.vfs.drop_unused_trees(task.fs.root for task in kernel.processes.tasks.values())
        kernel.announce_exit(process)
        process.exit_queue.wake_all()
        kernel.process_ended(process)
        parent = process.parent
        if parent is None:
            return
        self._hang_up_orphans(process)
        self._tell_parent(process, parent)

    def _tell_parent(self, process: Process, parent: Process) -> None:
        """The parent hears of a zombie, which is gone at once if nobody will wait for it."""
        kernel = self.kernel
        action = parent.handlers.get(Signal.SIGCHLD)
        if process.exit_signal:
            kernel.signals.send_process(parent, process.exit_signal, self._child_info(process))
        unwanted = process.exit_signal == Signal.SIGCHLD and (
            action.handler == SIG_IGN or action.flags & ActionFlags.NOCLDWAIT
        )
        if unwanted or parent.auto_reap:
            self.reap(process)
        parent.child_queue.wake_all()

    def _child_info(self, process: Process) -> SignalInfo:
        code, status = code_and_status(process)
        usage = process.usage
        return SignalInfo(
            process.exit_signal or Signal.SIGCHLD,
            code,
            process.pid,
            process.creds.uid,
            status,
            user_ns=usage.user_ns,
            system_ns=usage.system_ns,
        )

    def _reparent_children(self, process: Process) -> None:
        if not process.children:
            return
        reaper = self._reaper_of(process)
        children = list(process.children)
        process.children.clear()
        groups = {child.pgid for child in children if child.sid == process.sid and child.pgid != process.pgid}
        for child in children:
            child.parent = reaper
            if reaper is None:
                continue
            reaper.children.append(child)
            if child.parent_death_signal and not child.is_dead:
                self.kernel.signals.send_process(child, child.parent_death_signal)
            if child.state is ProcessState.ZOMBIE:
                child.exit_signal = Signal.SIGCHLD
                self._tell_parent(child, reaper)
        for pgid in groups:  # they had their link to the rest of the session in this process
            self._hang_up_if_orphaned(pgid)

    def _reaper_of(self, process: Process) -> Process | None:
        ancestor = process.parent
        while ancestor is not None:
            if ancestor.is_subreaper and not ancestor.is_dead:
                return ancestor
            ancestor = ancestor.parent
        init = self.kernel.processes.processes.get(1)
        return init if init is not process and init is not None and not init.is_dead else None

    def _hang_up_orphans(self, process: Process) -> None:
        """POSIX exit: stopped members of a group that this exit orphans get SIGHUP and SIGCONT; here its own group."""
        parent = process.parent
        if parent is None or parent.sid != process.sid or parent.pgid == process.pgid:
            return
        self._hang_up_if_orphaned(process.pgid)

    def _hang_up_if_orphaned(self, pgid: int) -> None:
        table, signals = self.kernel.processes, self.kernel.signals
        members = table.group(pgid)
        if any(p.state is ProcessState.STOPPED for p in members) and table.is_orphaned(pgid):
            signals.send_group(members, Signal.SIGHUP)
            signals.send_group(members, Signal.SIGCONT)

    def reap(self, process: Process) -> None:
        """The zombie's id becomes free."""
        process.state = ProcessState.REAPED
        self._forget(process)

    def _forget(self, process: Process) -> None:
        self.kernel.processes.processes.pop(process.pid, None)
        if process.parent is not None and process in process.parent.children:
            process.parent.children.remove(process)
