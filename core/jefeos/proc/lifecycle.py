"""The life of processes: spawn, clone and execve here; exit and kill in `ending`, wait in `waiting`.

    spawn     a new process with a program, without a fork: the first one, and the children of applets
    clone     fork, vfork and threads; the child's CPU state is the caller's
    execute   find and load first, and only then, past the point of no return, replace the old program
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import frozen

from jefeos.cpu.registers import Reg
from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.ending import Endings
from jefeos.proc.files import FdTable, FsState
from jefeos.proc.process import Process
from jefeos.proc.program import Program, find_program, is_readable
from jefeos.proc.signals import (
    SIG_IGN,
    Signal,
    SignalHandlers,
)
from jefeos.proc.task import Task
from jefeos.proc.timers import watch_cpu_limit
from jefeos.proc.waiting import Waiting
from jefeos.sched.executor import ProgramReplaced
from jefeos.sched.wait import OUTSIDE, WaitQueue
from jefeos.vfs.mount_trees import translated

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.vfs.path import Path


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
    new_names: bool = False
    new_mounts: bool = False
    exit_signal: int = Signal.SIGCHLD
    stack: int = 0
    """New stack pointer; 0 keeps the caller's."""
    tls: int | None = None
    parent_tid_ptr: int = 0
    child_tid_ptr: int = 0
    clear_tid_ptr: int = 0


class Lifecycle(Endings, Waiting):
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
        return self._start(
            parent,
            files,
            fs or self._root_state(),
            lambda task: find_program(self.kernel, task, path, argv, environ),
            pid=pid,
            new_session=new_session,
            pgid=pgid,
        )

    def spawn_applet(
        self, applet: Applet, argv: list[bytes], task: Task, *, files: FdTable, fs: FsState, pgid: int | None
    ) -> Process:
        """Run a coroutine function as a child of ``task``'s process: a subshell of a shell applet."""
        parent = task.process
        if parent.exe is None:
            raise KernelError(Errno.ESRCH)
        program = Program(parent.name, parent.exe, argv, list(parent.environ), applet=applet)
        return self._start(parent, files, fs, lambda child: program, pgid=pgid)

    def _start(
        self,
        parent: Process,
        files: FdTable,
        fs: FsState,
        find: Callable[[Task], Program],
        *,
        pid: int | None = None,
        new_session: bool = False,
        pgid: int | None = None,
    ) -> Process:
        kernel = self.kernel
        process = task = None
        try:
            self._check_process_limit(parent)
            process = self._new_process(parent, pid)
            task = Task(kernel, process.pid, process, fs, files)
            process.tasks.append(task)
            kernel.processes.tasks[task.tid] = task
            if new_session:
                process.sid = process.pgid = process.pid
                process.tty = None
            elif pgid is not None:
                process.pgid = pgid or process.pid
            self._install(task, find(task))
        except BaseException:
            files.leave()
            if process is not None:
                self._forget(process)
                process.tasks.clear()
            if task is not None:
                kernel.processes.tasks.pop(task.tid, None)
            raise
        watch_cpu_limit(process)
        kernel.announce_start(process)
        kernel.executor.make_runnable(task)
        return process

    async def clone(
        self, task: Task, request: CloneRequest, prepare: Callable[[Process], None] | None = None
    ) -> int:
        """fork, vfork and clone: the caller and the child both return from here. Gives the child's id.

        ``prepare`` is told of the new process while it can still be undone: what it raises is the call's error.
        """
        kernel = self.kernel
        parent = task.process
        self._check_process_limit(parent)
        await OUTSIDE
        engine = kernel.executor.load(task)
        if request.thread:
            process = parent
            tid = kernel.processes.allocate_id()
            mm = task.mm.ref()
            files = task.files.share() if request.share_files else task.files.copy()
        else:
            process = self._new_process((parent.parent or parent) if request.same_parent else parent, None)
            tid = process.pid
            with ExitStack() as undo:
                undo.callback(self._forget, process)
                self._inherit(process, parent, request)
                process.maker_tid = 0 if request.same_parent else task.tid
                mm = task.mm.ref() if request.share_memory else task.mm.fork()
                undo.callback(mm.release)
                files = task.files.share() if request.share_files else task.files.copy()
                undo.callback(files.leave)
                if prepare is not None:
                    prepare(process)
                undo.pop_all()
        child = Task(
            kernel,
            tid,
            process,
            task.fs if request.share_fs else task.fs.copy(),
            files,
            mm,
        )
        child.blocked = task.blocked
        if task.screen is not None:
            child.screen = task.screen.for_child(child)
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

        if request.new_mounts:
            copies = kernel.vfs.copy_tree(child.fs)
            if process.exe is not None:
                process.exe = translated(process.exe, copies)
        if request.parent_tid_ptr:
            _write_tid(task, request.parent_tid_ptr, tid)
        if request.child_tid_ptr:
            _write_tid(child, request.child_tid_ptr, tid)
        if not request.thread:
            watch_cpu_limit(process)
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
        before = creds.euid, creds.egid
        if not process.no_new_privileges:
            if program.set_uid is not None:
                creds.euid = program.set_uid
                process.dumpable = False
            if program.set_gid is not None:
                creds.egid = program.set_gid
                process.dumpable = False
        creds.suid = creds.fsuid = creds.euid
        creds.sgid = creds.fsgid = creds.egid
        changed = (creds.euid, creds.egid) != before
        creds.capabilities = creds.capabilities.after_exec(creds.uid, creds.euid, ids_changed=changed)

    def _new_process(self, parent: Process, pid: int | None) -> Process:
        kernel = self.kernel
        process = Process(kernel, pid if pid is not None else kernel.processes.allocate_id(), parent)
        process.pgid, process.sid, process.tty = parent.pgid, parent.sid, parent.tty
        process.creds = parent.creds.copy()
        process.rlimits = dict(parent.rlimits)
        process.start_time_ns = kernel.clock.monotonic_ns()
        process.nice, process.names, process.login_uid = parent.nice, parent.names, parent.login_uid
        process.oom_score_adjustment = parent.oom_score_adjustment
        process.no_new_privileges, process.domain = parent.no_new_privileges, parent.domain
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
        process.dumpable = parent.dumpable
        process.usage.expect_as(parent.usage)
        process.exit_signal = request.exit_signal
        if request.new_names:
            process.names = parent.names.copy()
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


def initial_process(kernel: Kernel, pid: int) -> Process:
    """The kernel's own first process, which has no program: it adopts orphans and reaps them.

    ``pid`` 0 keeps it out of the table, where an init program is to be pid 1.
    """
    process = Process(kernel, pid, None)
    process.pgid = process.sid = pid
    process.name = b"jefeos"
    process.auto_reap = True
    process.names = kernel.names
    process.start_time_ns = kernel.clock.monotonic_ns()
    if pid:
        kernel.processes.processes[pid] = process
    return process


def _write_tid(task: Task, address: int, tid: int) -> None:
    try:
        task.mm.write_u32(address, tid)
    except KernelError:
        pass  # as Linux: a bad pointer is the program's own problem
