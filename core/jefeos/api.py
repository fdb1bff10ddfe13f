"""JefeOS from Python: boot a system, run programs in it, look inside.

    import jefeos

    with jefeos.boot(root="alpine.tar.gz") as os:
        done = os.run(["/bin/ls", "/"], input=b"", timeout=5)
        print(done.status, done.stdout.decode())

Options of `boot` are those of the command line, by name (``ram="64M"``, ``scheduler="fair"``, ``virtual_time=True``,
``mount=["data:/mnt"]`` …; config.py lists them). A `System` belongs to the thread that booted it, which must not be
running an asyncio loop of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import frozen

from jefeos.config import BootConfig
from jefeos.errors import Errno, JefeError, KernelError, UsageError
from jefeos.host import BytesInput, CaptureOutput
from jefeos.kernel import Kernel, boot_kernel
from jefeos.proc.process import Process
from jefeos.rootfs import write_file

if TYPE_CHECKING:
    from jefeos.inject.injector import Injector


class ProgramTimeout(JefeError, TimeoutError):  # type: ignore[misc]  # both bases name an errno
    """A program did not end in time; it was killed. ``stdout`` and ``stderr`` hold what it wrote until then."""

    def __init__(self, argv: Sequence[str], timeout_s: float, stdout: bytes, stderr: bytes) -> None:
        super().__init__(f"{argv[0]} did not end within {timeout_s:g} s", Errno.ETIMEDOUT)
        self.stdout = stdout
        self.stderr = stderr


class ProgramFailed(JefeError):
    """A program ended with a status other than 0 and ``check=True`` was given."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(f"{completed.argv[0]} ended with status {completed.status}")
        self.completed = completed


@frozen
class Completed:
    """A program that has ended. ``status`` is as a shell reports it: 128+n for signal n (also in ``signal``)."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    signal: int | None = None


class System:
    """A booted system. Use it in a ``with`` statement, or call `shutdown`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        check: bool = False,
        output_limit: int | None = None,
    ) -> Completed:
        """Run a program to its end with its output captured.

        ``argv[0]`` is a path of the guest, or a name looked for in PATH. ``input`` is all of standard input,
        ``timeout`` in seconds of the kernel's clock, ``env`` is added to a small default environment,
        ``output_limit`` ends captured output after that many bytes (the program sees no error). What the program
        leaves running in its session is killed.

        Raises KernelError if it cannot be started (ENOENT, EACCES, ENOEXEC …), ProgramTimeout, and with ``check``
        ProgramFailed.
        """
        kernel = self._running_kernel()
        words = [_encode(word) for word in argv]
        if not words:
            raise KernelError(Errno.EINVAL, "argv is empty")
        stdout, stderr = CaptureOutput(output_limit), CaptureOutput(output_limit)
        kernel.net.wait_until_configured()
        streams = kernel.host_streams
        files = [streams.open_source(BytesInput(input)), streams.open_sink(stdout), streams.open_sink(stderr)]
        process = kernel.start(words, files=files, environ=env, cwd=_encode(cwd))
        try:
            status = kernel.run_until_exit(process, timeout)
        finally:
            self._end_session(process)
        text = tuple(word.decode("utf-8", "surrogateescape") for word in words)
        if status is None:
            raise ProgramTimeout(text, timeout or 0, bytes(stdout.data), bytes(stderr.data))
        done = Completed(text, status, bytes(stdout.data), bytes(stderr.data), process.killed_by or None)
        if check and status:
            raise ProgramFailed(done)
        return done

    def inject(self, *faults: str) -> Injector:
        """Make system calls, or parts of them, fail from now on (`jefeos.inject.spec` has the syntax).

            with os.inject("@frame:when=7") as injected:
                os.run(["/bin/ls"])
            injected.hits                                    # how often it happened

        Raises ConfigError.
        """
        from jefeos.inject.spec import parse_faults

        return self._running_kernel().inject(parse_faults(faults))

    def read_file(self, path: str) -> bytes:
        """The content of a file of the guest."""
        vfs = self._running_kernel().vfs
        file = vfs.open_file(vfs.as_kernel(), _encode(path))
        try:
            parts = []
            while part := file.read(1 << 20):
                if not isinstance(part, bytes):
                    part.close()
                    raise KernelError(Errno.EAGAIN, f"{path} has nothing to read now")
                parts.append(part)
            return b"".join(parts)
        finally:
            file.unref()

    def write_file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Make or replace a file of the guest (as root); ``mode`` counts for a new one."""
        write_file(self._running_kernel(), _encode(path), content, mode)

    def statistics(self) -> dict[str, Any]:
        """Counts since boot; system calls are counted only with ``stats=True``."""
        return self.kernel.statistics()

    def shutdown(self) -> None:
        """End every process and release everything. Idempotent."""
        self.kernel.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def _running_kernel(self) -> Kernel:
        if self.kernel.closed:
            raise UsageError("this system is shut down; boot another one")
        return self.kernel

    def _end_session(self, leader: Process) -> None:
        kernel = self.kernel
        for process in kernel.processes.session(leader.pid):
            kernel.lifecycle.kill_process(process)
        if not leader.is_dead:
            kernel.lifecycle.kill_process(leader)


def boot(*, trace_output: Callable[[str], None] | None = None, **options: Any) -> System:
    """Boot a system. Options as on the command line; ``trace_output`` takes the lines of the system-call trace.

    Raises ConfigError for a bad option, BootError or PluginError if the system cannot come up.
    """
    config = BootConfig.make(**options)
    if trace_output is None and config.trace is True:
        trace_output = _to_stderr
    return System(boot_kernel(config, trace_output=trace_output))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _encode(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
