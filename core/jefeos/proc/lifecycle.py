"""The life of processes: spawn, clone, execve, exit, kill, wait.

Death is immediate: the kernel runs on one host thread, so killing a task means closing its suspended call (its
``finally`` blocks run), taking it off every queue and giving its memory and files back, there and then. Only the
task that is on the CPU right now cannot vanish under its own feet: it gets ``Work.EXIT`` and is finished by the
executor as soon as it has left the engine.

    kill, exit_group --> every other thread: finish() at once        the current one: Work.EXIT, finish() later
    finish(last thread) --> zombie: children to the reaper, SIGCHLD, wait queues woken
    wait --> reaped: the id is free again
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from jefeos.cpu.registers import Reg
from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import Credentials, RLimit, Usage
from jefeos.proc.files import FdTable, FsState
from jefeos.proc.process import Process, ProcessState
from jefeos.proc.program import Program, find_program, is_readable
from jefeos.proc.signals import (
    SIG_IGN,
    ActionFlags,
    Signal,
    SignalCode,
    SignalHandlers,
    SignalInfo,
    signal_name,
)
from jefeos.proc.task import Task, TaskState, Work
from jefeos.sched.executor import ProgramReplaced
from jefeos.sched.wait import OUTSIDE, MaybeAwait, WaitQueue

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.path import Path

FAULT_SIGNALS: Final = frozenset({Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGILL, Signal.SIGFPE, Signal.SIGTRAP})


@frozen
class CloneRequest:
    """What clone(2) is asked to share and set. Pointers are user addresses, 0 for none."""

    thread: bool = False
    share_memory: bool = False
    share_files: bool = False
    share_fs: bool = False
    share_handlers: bool = False
    clear_handlers: bool = False
    vfork: bool = False
    same_parent: bool = False
    exit_signal: int = Signal.SIGCHLD
    stack: int = 0
    """New stack pointer; 0 keeps the caller's."""
    tls: int | None = None
    parent_tid_ptr: int = 0
    child_tid_ptr: int = 0
    clear_tid_ptr: int = 0


@frozen
class WaitReport:
    """What a wait found: whose status, the status word of wait(2), siginfo's code and status."""

    pid: int
    uid: int
    status_word: int
    code: int
    status: int
    usage: Usage


class Lifecycle:
    """Makes and ends processes; ``kernel.lifecycle``."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    # -- making --------------------------------------------------------------------------------------------

    def spawn(
        self,
        path: bytes,
        argv: list[bytes],
        environ: list[bytes],
        *,
        files: FdTable,
        parent: Process,
        fs: FsState | None = None,
        new_session: bool = False,
        pgid: int | None = None,
        pid: int | None = None,
    ) -> Process:
        """Start a program in a new process, without a fork. Takes over the references of ``files``.

        ``pgid``: None stays in the parent's group, 0 makes a group of its own. Raises what execve would.
        """
        kernel = self.kernel
        process = task = None
        try:
            self._check_process_limit(parent)
            process = self._new_process(parent, pid)
            task = Task(kernel, process.pid, process, fs or self._root_state(), files)
            process.tasks.append(task)
            kernel.processes.tasks[task.tid] = task
            if new_session:
                process.sid = process.pgid = process.pid
                process.tty = None
            elif pgid is not None:
                process.pgid = pgid or process.pid
            program = find_program(kernel, task, path, argv, environ)
            self._install(task, program)
        except BaseException:
            files.leave()
            if process is not None:
                self._forget(process)
                process.tasks.clear()
            if task is not None:
                kernel.processes.tasks.pop(task.tid, None)
            raise
        kernel.announce_start(process)
        kernel.executor.make_runnable(task)
        return process

    async def clone(self, task: Task, request: CloneRequest) -> int:
        """fork, vfork and clone: the caller and the child both return from here. Gives the child's id."""
        kernel = self.kernel
        parent = task.process
        self._check_process_limit(parent)
        await OUTSIDE
        engine = kernel.executor.load(task)
        if request.thread:
            process = parent
            tid = kernel.processes.allocate_id()
        else:
            process = self._new_process((parent.parent or parent) if request.same_parent else parent, None)
            tid = process.pid
            try:
                self._inherit(process, parent, request)
                mm = task.mm.ref() if request.share_memory else task.mm.fork()
            except BaseException:
                self._forget(process)
                raise
        child = Task(
            kernel,
            tid,
            process,
            task.fs if request.share_fs else task.fs.copy(),
            task.files.share() if request.share_files else task.files.copy(),
            task.mm.ref() if request.thread else mm,
        )
        child.blocked = task.blocked
        child.name = task.name
        if not request.share_memory or request.vfork:
            child.alternate_stack = task.alternate_stack
        child.clear_child_tid = request.clear_tid_ptr
        process.tasks.append(child)
        kernel.processes.tasks[tid] = child

        # The child's CPU state is the caller's, with another stack, thread pointer and result.
        if task.context is None:
            task.context = engine.new_context()
        engine.save(task.context)
        engine.set(Reg.RAX, 0)
        if request.stack:
            engine.set(Reg.RSP, request.stack)
        if request.tls is not None:
            engine.set(Reg.FS_BASE, request.tls)
        if child.mm is not task.mm:
            engine.set_cr3(child.mm.cr3)
        child.context = engine.new_context()
        engine.save(child.context)
        engine.load(task.context)

        if request.parent_tid_ptr:
            _write_tid(task, request.parent_tid_ptr, tid)
        if request.child_tid_ptr:
            _write_tid(child, request.child_tid_ptr, tid)
        if not request.thread:
            kernel.announce_start(process)
        if kernel.tracer is not None:
            kernel.tracer.child(task, child)
        kernel.executor.make_runnable(child)
        if request.vfork and not request.thread:
            queue = process.vfork_queue = WaitQueue()
            while process.vfork_queue is not None:
                await queue.wait(interruptible=False)
        return tid

    async def execute(
        self,
        task: Task,
        path: bytes,
        argv: list[bytes],
        environ: list[bytes],
        *,
        at: Path | None = None,
        follow: bool = True,
        location: Path | None = None,
    ) -> int:
        """execve: replace the calling process's program. Returns only by raising."""
        await OUTSIDE
        program = find_program(
            self.kernel, task, path, argv, environ, at=at, follow=follow, location=location
        )
        if self.kernel.tracer is not None:
            self.kernel.tracer.exit(task, 0)
        self._end_other_threads(task)
        task.files = self._unshare_files(task)
        task.files.close_on_exec()
        task.process.handlers.reset_for_exec()
        task.alternate_stack = (0, 0, 2)
        self._install(task, program)
        raise ProgramReplaced

    def _install(self, task: Task, program: Program) -> None:
        """The point of no return: ``task`` becomes ``program``."""
        kernel, process = self.kernel, task.process
        old_mm = task.mm
        if old_mm is not None and process.personality is not None:
            process.personality.task_exit(task)
        task.coroutine = None
        task.result = task.restart = None
        task.robust_list, task.clear_child_tid = (0, 0), 0
        process.personality = program.personality
        process.exe = program.location
        process.name = task.name = program.name
        process.argv, process.environ = program.argv, program.environ
        process.dumpable = is_readable(program.location, task)
        self._take_ids(process, program)
        executor = kernel.executor
        if program.image is not None:
            image = program.image
            process.auxv = image.auxv
            executor.load(task)
            task.mm = image.space
            executor.unload(task)  # so that load() picks up the new personality
            engine = executor.load(task)
            engine.reset(rip=image.entry, rsp=image.stack_pointer, cr3=image.space.cr3)
        else:
            assert program.applet is not None
            from jefeos.proc.applet import run_applet

            executor.unload(task)
            task.context = None
            task.mm = None  # type: ignore[assignment]
            process.auxv = b""
            task.coroutine = run_applet(program.applet, task, program.argv)
        if old_mm is not None:
            old_mm.release()
        process.has_execed = True
        self._release_vfork(process)

    def _take_ids(self, process: Process, program: Program) -> None:
        creds = process.creds
        if not process.no_new_privileges:
            if program.set_uid is not None:
                creds.euid = program.set_uid
                process.dumpable = False
            if program.set_gid is not None:
                creds.egid = program.set_gid
                process.dumpable = False
        creds.suid = creds.fsuid = creds.euid
        creds.sgid = creds.fsgid = creds.egid

    def _new_process(self, parent: Process, pid: int | None) -> Process:
        kernel = self.kernel
        process = Process(kernel, pid if pid is not None else kernel.processes.allocate_id(), parent)
        process.pgid, process.sid, process.tty = parent.pgid, parent.sid, parent.tty
        process.creds = parent.creds.copy()
        process.rlimits = dict(parent.rlimits)
        process.start_time_ns = kernel.clock.monotonic_ns()
        process.nice = parent.nice
        parent.children.append(process)
        kernel.processes.processes[process.pid] = process
        kernel.processes.created += 1
        return process

    @staticmethod
    def _inherit(process: Process, parent: Process, request: CloneRequest) -> None:
        """What a forked process has of its parent beyond `_new_process`."""
        process.name, process.exe = parent.name, parent.exe
        process.argv, process.environ, process.auxv = parent.argv, parent.environ, parent.auxv
        process.personality = parent.personality
        process.dumpable, process.no_new_privileges = parent.dumpable, parent.no_new_privileges
        process.exit_signal = request.exit_signal
        if request.share_handlers:
            process.handlers = parent.handlers
        elif request.clear_handlers:
            process.handlers = SignalHandlers(
                {s: a for s, a in parent.handlers.actions.items() if a.handler == SIG_IGN}
            )
        else:
            process.handlers = parent.handlers.copy()

    def _check_process_limit(self, parent: Process) -> None:
        kernel = self.kernel
        if len(kernel.processes.tasks) >= kernel.config.max_processes:
            raise KernelError(Errno.EAGAIN, "the kernel's limit of processes is reached")
        limit = parent.limit(RLimit.NPROC)
        creds = parent.creds
        if creds.uid != 0 and kernel.processes.count_user(creds.uid) >= limit:
            raise KernelError(Errno.EAGAIN, "RLIMIT_NPROC")

    def _root_state(self) -> FsState:
        root = self.kernel.vfs.root
        return FsState(root, root)

    @staticmethod
    def _unshare_files(task: Task) -> FdTable:
        if task.files.users == 1:
            return task.files
        own = task.files.copy()
        task.files.leave()
        return own

    # -- ending --------------------------------------------------------------------------------------------

    def exit_thread(self, task: Task, code: int) -> int:
        """exit(2): end the calling thread; the last one takes its process along."""
        if len(task.process.tasks) == 1:
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
            self.kernel.log.debug(
                "pid %d (%s): %s at address 0x%x, error code %d",
                process.pid,
                process.name.decode("utf-8", "replace"),
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
        """No frame is left for a fault of ``task``: kill it, and say so."""
        process = task.process
        self.kernel.log.warning(
            "out of memory: killed process %d (%s), which held %d KiB",
            process.pid,
            process.name.decode("utf-8", "replace"),
            task.mm.resident_pages * 4,
        )
        process.set_killed(Signal.SIGKILL)
        self._end(process)

    def finish(self, task: Task) -> None:
        """Take a thread apart. Called by the executor for the current task, directly for any other."""
        if task.dead:
            return
        kernel, process = self.kernel, task.process
        task.leave_queues()
        kernel.executor.scheduler.remove(task)
        task.state = TaskState.DEAD
        coroutine, task.coroutine = task.coroutine, None
        if coroutine is not None:
            try:
                coroutine.close()
            except Exception:
                kernel.log.exception("bug in the kernel: a call of pid %d could not be closed", process.pid)
        if task.mm is not None:
            if process.personality is not None:
                process.personality.task_exit(task)
            kernel.executor.unload(task)
            process.usage.max_resident_kib = max(
                process.usage.max_resident_kib, task.mm.resident_pages * 4
            )
            task.mm.release()
        else:
            kernel.executor.unload(task)
        task.context = None
        task.files.leave()
        if task in process.tasks:
            process.tasks.remove(task)
        kernel.processes.tasks.pop(task.tid, None)
        if not process.tasks:
            self._become_zombie(process)

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
        if process.tty is not None and process.sid == process.pid:
            process.tty.jobs.give_up(process.tty, process)
        if kernel.tracer is not None:
            kernel.tracer.exited(process)
        kernel.announce_exit(process)
        process.exit_queue.wake_all()
        kernel.process_ended(process)
        parent = process.parent
        if parent is None:
            return
        self._hang_up_orphans(process)
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
        code, status = _code_and_status(process)
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
        for child in process.children:
            child.parent = reaper
            if reaper is None:
                continue
            reaper.children.append(child)
            if child.parent_death_signal and not child.is_dead:
                self.kernel.signals.send_process(child, child.parent_death_signal)
            if child.state is ProcessState.ZOMBIE:
                child.exit_signal = Signal.SIGCHLD
                if reaper.auto_reap:
                    self.reap(child)
                else:
                    self.kernel.signals.send_process(reaper, Signal.SIGCHLD, self._child_info(child))
                    reaper.child_queue.wake_all()
        process.children.clear()

    def _reaper_of(self, process: Process) -> Process | None:
        ancestor = process.parent
        while ancestor is not None:
            if ancestor.is_subreaper and not ancestor.is_dead:
                return ancestor
            ancestor = ancestor.parent
        init = self.kernel.processes.processes.get(1)
        return init if init is not process and init is not None and not init.is_dead else None

    def _hang_up_orphans(self, process: Process) -> None:
        """POSIX exit: stopped members of groups that this exit orphans get SIGHUP and SIGCONT."""
        table, signals = self.kernel.processes, self.kernel.signals
        parent = process.parent
        if parent is None or parent.sid != process.sid or parent.pgid == process.pgid:
            return
        members = table.group(process.pgid)
        if any(p.state is ProcessState.STOPPED for p in members) and table.is_orphaned(process.pgid):
            signals.send_group(members, Signal.SIGHUP)
            signals.send_group(members, Signal.SIGCONT)

    # -- waiting -------------------------------------------------------------------------------------------

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
            await parent.child_queue.wait()
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

    def reap(self, process: Process) -> None:
        """The zombie's id becomes free."""
        process.state = ProcessState.REAPED
        self._forget(process)

    def _forget(self, process: Process) -> None:
        self.kernel.processes.processes.pop(process.pid, None)
        if process.parent is not None and process in process.parent.children:
            process.parent.children.remove(process)


def initial_process(kernel: Kernel) -> Process:
    """The kernel's own pid 1 where no init program runs: it adopts orphans and reaps them."""
    process = Process(kernel, kernel.processes.allocate_id(), None)
    process.pgid = process.sid = process.pid
    process.name = b"jefeos"
    process.auto_reap = True
    process.creds = Credentials()
    process.start_time_ns = kernel.clock.monotonic_ns()
    kernel.processes.processes[process.pid] = process
    return process


def _matches(child: Process, pid: int, group: int) -> bool:
    if pid == -1:
        return True
    if pid > 0:
        return child.pid == pid
    return child.pgid == (group if pid == 0 else -pid)


def _code_and_status(process: Process) -> tuple[int, int]:
    if process.state is ProcessState.STOPPED:
        return SignalCode.CLD_STOPPED, process.stop_signal
    if process.killed_by:
        return SignalCode.CLD_DUMPED if process.dumped_core else SignalCode.CLD_KILLED, process.killed_by
    return SignalCode.CLD_EXITED, process.exit_code


def _report(process: Process) -> WaitReport:
    code, status = _code_and_status(process)
    return WaitReport(process.pid, process.creds.uid, process.wait_status(), code, status, process.usage)


def _write_tid(task: Task, address: int, tid: int) -> None:
    try:
        task.mm.write_u32(address, tid)
    except KernelError:
        pass  # as Linux: a bad pointer is the program's own problem
