"""Applets: programs written in Python, as processes like any other.

    async def main(proc: Proc, argv: list[bytes]) -> int:
        async for line in proc.lines(0):
            await proc.write(1, line.upper())
        return 0

An applet's process has a pid, descriptors, credentials, signals and an exit status, and it makes the system calls
that an ELF program would make, through `Proc`; it only has no user memory. Paths and data are bytes, failures are
`KernelError` with Linux's errno. An uncaught KernelError ends the applet with a line on its standard error and
status 1; SIGPIPE and other signals work as for any process.

Signals: the default action applies unless `Proc.ignore` or `Proc.catch` was called. A caught signal interrupts the
current wait with `Interrupted` and is then in `Proc.caught`.

A plugin names its applets with ``applet_in("package.module:function")``: the module is imported when one of them first
runs, so that no boot waits for commands that nobody gives.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jefeos.errors import Errno, KernelError, errno_name
from jefeos.late import object_at
from jefeos.proc.files import FdTable
from jefeos.proc.signals import SIG_DFL, SIG_IGN, Signal, SignalAction, SignalInfo
from jefeos.proc.task import Task
from jefeos.proc.waiting import WaitReport
from jefeos.sched.executor import APPLET_HANDLER
from jefeos.sched.wait import OUTSIDE, MaybeAwait, WaitQueue, sleep_ns
from jefeos.vfs.flags import O_APPEND, O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY
from jefeos.vfs.path import path_string

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.tty.files import TerminalFile
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import DirEntry, Stat

T = TypeVar("T")
CHUNK_BYTES: Final = 65536


class LateApplet:
    """The applet ``package.module:function``, whose module is imported when it first runs."""

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def load(self) -> Applet:
        """The function itself. Raises KernelError(ENOEXEC) if something that its module needs is not installed."""
        function: Applet = object_at(self.place, Errno.ENOEXEC)
        return function

    async def __call__(self, proc: Proc, argv: list[bytes]) -> int:
        return await self.load()(proc, argv)


def applet_in(place: str) -> Applet:
    """The applet ``package.module:function``, for the dict that a plugin's ``jefeos_applets`` returns."""
    return LateApplet(place)


def run_applet(applet: Applet, task: Task, argv: list[bytes]) -> Coroutine[Any, Any, int]:
    """The coroutine that is an applet's whole program."""
    return _run(applet, Proc(task), argv)


async def _run(applet: Applet, proc: Proc, argv: list[bytes]) -> int:
    try:
        return int(await applet(proc, argv) or 0)
    except KernelError as error:
        if error.errno == Errno.EPIPE:
            proc.kill(proc.pid, Signal.SIGPIPE)
            await OUTSIDE  # where signals are taken: by default this is the end
        name = argv[0].decode("utf-8", "replace") if argv else "applet"
        try:
            await proc.write(2, f"{name}: {describe(error)}\n".encode())
        except KernelError:
            pass
        return 1


def describe(error: KernelError) -> str:
    """An error as a user reads it: its own message, or the name of its number."""
    return str(error.args[0]) if error.args and error.args[0] else errno_name(error.errno)


async def settle(value: MaybeAwait[T]) -> T:
    """Wait for a `MaybeAwait` if there is something to wait for."""
    return await value if inspect.iscoroutine(value) else value  # type: ignore[return-value]


class Proc:
    """The system calls of one applet process."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.kernel: Kernel = task.kernel

    # -- identity and surroundings -----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """getpid(2)."""
        return self.task.process.pid

    @property
    def process(self) -> Process:
        """The process itself, for what has no call here."""
        return self.task.process

    @property
    def environ(self) -> dict[bytes, bytes]:
        """The environment as the process was given it; change a copy and pass it to `spawn`."""
        pairs = (entry.partition(b"=") for entry in self.process.environ)
        return {name: value for name, _, value in pairs}

    def getcwd(self) -> bytes:
        """getcwd(2)."""
        return path_string(self.task.fs.cwd, self.task.fs.root)

    def chdir(self, path: bytes) -> None:
        """chdir(2)."""
        self.task.fs.cwd = self.kernel.vfs.directory(self.task, path)

    def umask(self, mask: int) -> int:
        """umask(2): gives the old one."""
        old, self.task.fs.umask = self.task.fs.umask, mask & 0o777
        return old

    # -- descriptors -------------------------------------------------------------------------------------------

    async def open(self, path: bytes, flags: int = O_RDONLY, mode: int = 0o666) -> int:
        """open(2)."""
        file = await settle(self.kernel.vfs.open(self.task, path, flags, mode))
        return self.install(file)

    async def create(self, path: bytes, *, append: bool = False) -> int:
        """Open for writing, making or emptying (or extending) the file."""
        return await self.open(path, O_WRONLY | O_CREAT | (O_APPEND if append else O_TRUNC))

    def install(self, file: File, minimum: int = 0) -> int:
        """Give an open file a descriptor; takes over its reference."""
        try:
            return self.task.files.install(file, minimum)
        except KernelError:
            file.unref()
            raise

    def file(self, fd: int) -> File:
        """The open file behind a descriptor. EBADF."""
        return self.task.files.get(fd)

    def close(self, fd: int) -> None:
        """close(2)."""
        self.task.files.close(fd)

    def dup(self, fd: int, minimum: int = 0) -> int:
        """fcntl(F_DUPFD)."""
        return self.install(self.file(fd).ref(), minimum)

    def dup2(self, old: int, new: int) -> int:
        """dup2(2)."""
        file = self.file(old)
        if old != new:
            self.task.files.install_at(new, file.ref())
        return new

    def pipe(self) -> tuple[int, int]:
        """pipe(2): descriptors of the reading and the writing end."""
        reader, writer = self.kernel.vfs.pipe(self.task)
        return self.install(reader), self.install(writer)

    async def read(self, fd: int, count: int = CHUNK_BYTES) -> bytes:
        """read(2): b"" at the end of the file."""
        return await settle(self.file(fd).read(count))

    async def read_all(self, fd: int) -> bytes:
        """Everything up to the end of the file."""
        parts = []
        while part := await self.read(fd):
            parts.append(part)
        return b"".join(parts)

    async def lines(self, fd: int) -> AsyncIterator[bytes]:
        """Lines, each with its newline; the last one may lack it."""
        rest = b""
        while part := await self.read(fd):
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest

    async def write(self, fd: int, data: bytes) -> int:
        """Write all of ``data``. EPIPE sends SIGPIPE as write(2) does."""
        file = self.file(fd)
        done = 0
        while done < len(data):
            try:
                done += await settle(file.write(data[done:] if done else data))
            except KernelError as error:
                if error.errno == Errno.EPIPE:
                    self.kill(self.pid, Signal.SIGPIPE)
                raise
        return done

    def seek(self, fd: int, offset: int, whence: int = 0) -> int:
        """lseek(2)."""
        return self.file(fd).seek(offset, whence)

    def fstat(self, fd: int) -> Stat:
        """fstat(2)."""
        return self.file(fd).stat()

    def terminal(self, fd: int) -> TerminalFile | None:
        """The terminal behind a descriptor, None if it is none (isatty)."""
        from jefeos.tty.files import TerminalFile

        file = self.task.files.get(fd) if fd in self.task.files else None
        return file if isinstance(file, TerminalFile) else None

    def isatty(self, fd: int) -> bool:
        """isatty(3)."""
        return self.terminal(fd) is not None

    # -- paths -------------------------------------------------------------------------------------------------

    def stat(self, path: bytes, *, follow: bool = True) -> Stat:
        """stat(2), lstat(2)."""
        return self.kernel.vfs.stat(self.task, path, follow=follow)

    async def readdir(self, path: bytes) -> list[DirEntry]:
        """The entries of a directory without ``.`` and ``..``."""
        fd = await self.open(path, O_RDONLY | O_DIRECTORY)
        try:
            entries: list[DirEntry] = []
            position = 0
            file = self.file(fd)
            while part := file.readdir_at(position):
                entries += [entry for entry, _ in part]
                position = part[-1][1]
            return [entry for entry in entries if entry.name not in (b".", b"..")]
        finally:
            self.close(fd)

    def readlink(self, path: bytes) -> bytes:
        """readlink(2)."""
        return self.kernel.vfs.readlink(self.task, path)

    def mkdir(self, path: bytes, mode: int = 0o777) -> None:
        """mkdir(2)."""
        self.kernel.vfs.mkdir(self.task, path, mode)

    def rmdir(self, path: bytes) -> None:
        """rmdir(2)."""
        self.kernel.vfs.rmdir(self.task, path)

    def unlink(self, path: bytes) -> None:
        """unlink(2)."""
        self.kernel.vfs.unlink(self.task, path)

    def rename(self, old: bytes, new: bytes) -> None:
        """rename(2)."""
        self.kernel.vfs.rename(self.task, old, new)

    def link(self, old: bytes, new: bytes) -> None:
        """link(2)."""
        self.kernel.vfs.link(self.task, old, new)

    def symlink(self, target: bytes, path: bytes) -> None:
        """symlink(2)."""
        self.kernel.vfs.symlink(self.task, target, path)

    def chmod(self, path: bytes, mode: int) -> None:
        """chmod(2)."""
        self.kernel.vfs.chmod(self.task, path, mode)

    # -- processes ---------------------------------------------------------------------------------------------

    def spawn(
        self,
        path: bytes,
        argv: Sequence[bytes],
        *,
        environ: Mapping[bytes, bytes] | None = None,
        files: Mapping[int, int] | None = None,
        pgid: int | None = None,
    ) -> int:
        """Start a program in a child process; gives its pid.

        ``files`` maps the child's descriptors to this process's (default 0, 1 and 2 as they are); others are not
        inherited. ``pgid``: None stays in this group, 0 makes a new one, else the group to join.
        """
        variables = self.environ if environ is None else environ
        child = self.kernel.lifecycle.spawn(
            path,
            list(argv),
            [name + b"=" + value for name, value in variables.items()],
            files=self._files(files),
            parent=self.process,
            fs=self.task.fs.copy(),
            pgid=pgid,
        )
        return child.pid

    def spawn_applet(
        self,
        applet: Callable[[Proc, list[bytes]], Any],
        argv: Sequence[bytes],
        *,
        files: Mapping[int, int] | None = None,
        pgid: int | None = None,
    ) -> int:
        """Run a coroutine function in a child process (a subshell); gives its pid."""
        child = self.kernel.lifecycle.spawn_applet(
            applet, list(argv), self.task, files=self._files(files), fs=self.task.fs.copy(), pgid=pgid
        )
        return child.pid

    async def wait(
        self, pid: int = -1, *, no_hang: bool = False, stopped: bool = False
    ) -> WaitReport | None:
        """waitpid(2). None with ``no_hang`` when nothing has happened. ECHILD."""
        return await settle(
            self.kernel.lifecycle.wait(self.task, pid=pid, no_hang=no_hang, stopped=stopped)
        )

    def kill(self, pid: int, signo: int) -> None:
        """kill(2), with its meaning of 0, -1 and negative ids. ESRCH, EPERM, EINVAL."""
        if not 0 <= signo <= 64:
            raise KernelError(Errno.EINVAL)
        processes = self.kernel.processes
        if pid > 0:
            targets = [processes.get(pid)]
        elif pid == -1:
            targets = [p for p in processes if p.pid not in (1, self.pid)]
        else:
            targets = processes.group(-pid or self.process.pgid)
        if not targets:
            raise KernelError(Errno.ESRCH)
        creds = self.task.creds
        allowed = [p for p in targets if creds.privileged or creds.euid in (p.creds.uid, p.creds.suid)]
        if not allowed:
            raise KernelError(Errno.EPERM)
        if signo:
            self.kernel.signals.send_group(allowed, signo, SignalInfo(signo, 0, self.pid, creds.uid))

    def ignore(self, *signals: int) -> None:
        """sigaction(SIG_IGN)."""
        self._set_action(signals, SIG_IGN)

    def default(self, *signals: int) -> None:
        """sigaction(SIG_DFL)."""
        self._set_action(signals, SIG_DFL)

    def catch(self, *signals: int) -> None:
        """Have the signals interrupt waits and be noted in `caught`."""
        self._set_action(signals, APPLET_HANDLER)

    @property
    def caught(self) -> list[int]:
        """Caught signals since the list was last emptied (clear it yourself)."""
        caught: list[int] = self.task.extra.setdefault("caught", [])
        return caught

    async def sleep(self, seconds: float) -> None:
        """nanosleep(2)."""
        await sleep_ns(int(seconds * 1e9))

    async def on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let a service of the kernel (asyncio code, as a resolver) run, and wait for its result.

        A signal that ends the wait cancels it.
        """
        queue = WaitQueue()
        task = self.kernel.loop.create_task(coroutine)
        task.add_done_callback(lambda _: queue.wake_all())
        try:
            while not task.done():
                await queue.wait()
        except BaseException:
            task.cancel()
            raise
        return task.result()

    def _set_action(self, signals: Sequence[int], handler: int) -> None:
        for signo in signals:
            self.process.handlers.actions[signo] = SignalAction(handler)

    def _files(self, files: Mapping[int, int] | None) -> FdTable:
        mapping = {fd: fd for fd in range(3) if fd in self.task.files} if files is None else files
        table = FdTable(self.task.files.limit)
        try:
            for new, old in mapping.items():
                table.install_at(new, self.file(old).ref())
        except KernelError:
            table.leave()
            raise
        return table
