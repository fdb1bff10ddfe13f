"""``jefeos boot`` and ``jefeos run``: from options to a running system and back to an exit status.

::

    options --> BootConfig --> boot_kernel --> first program on the host's streams --> its status, shutdown

Where the host has a terminal, files 0 to 2 are the system's console on it; redirected streams are passed through.
What the first program of `boot` is: ``--init``; else the root's ``/init`` (as in an initramfs) or ``/bin/sh``; without
a root, what the shell plugins say. A distribution's ``/sbin/init`` wants to manage a machine and starts only if
``--init`` names it.

How it ends: with the first program's status; an init program (``--init``, which runs as pid 1) is missed, so that
takes a line about a kernel panic. After reboot(2) the status is 0, and "restart" boots again from the start (what was
written to memory is gone, as after any power cycle) unless ``--no-reboot``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from jefeos.config import BootConfig
from jefeos.errors import BootError, Errno, KernelError, errno_name

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.plugins import PluginHealth
    from jefeos.proc.process import Process

#: What the root may start by itself, in this order.
INIT_PROGRAMS = (b"/init", b"/bin/sh")
#: What ``boot`` has and ``run`` has not unless it is asked for.
BOOT_DEFAULTS = {"net": "auto"}
#: Variables of the host that say something about the terminal and the user, not about the host's files.
PASSED_VARIABLES = ("TERM", "COLORTERM", "LANG", "LC_ALL", "TZ")
#: What reboot(2) asked for, as `Kernel.shutdown_reason` has it, and what is said about it.
SHUTDOWNS = {"halt": "system halted", "poweroff": "power down", "restart": "restart asked for, not done"}
TERMINATED_STATUS = 143
IMPATIENT_INTERRUPTS = 3

_PHRASES = {
    Errno.ENOENT: "not found",
    Errno.ENOTDIR: "not found",
    Errno.EACCES: "permission denied",
    Errno.ENOEXEC: "not a program that this system can run",
    Errno.ELOOP: "too many levels of symbolic links",
    Errno.ENOMEM: "not enough memory (see --ram)",
    Errno.E2BIG: "argument list too long",
}


def boot_command(options: dict[str, Any]) -> int:
    """Boot to the console and run until the first program ends; its exit status."""
    while True:
        with Session(dict(options), BOOT_DEFAULTS) as session:
            kernel = session.kernel
            status = session.run(_first_program(kernel, interactive=_is_terminal(0)), cwd=b"/")
            restart = kernel.shutdown_reason == "restart" and not kernel.config.no_reboot
            session.tell_shutdown(restart=restart)
        if not restart:
            return _status_of(kernel, status)


def run_command(options: dict[str, Any], command: Sequence[str]) -> int:
    """Run one program with the host's standard streams; its exit status, 128+n if signal n ended it."""
    with Session(options) as session:
        kernel = session.kernel
        argv = [os.fsencode(word) for word in command]
        if kernel.config.root is None and "/" in command[0] and os.path.isfile(command[0]):
            argv[0] = _bring_in(kernel, command[0])
        status = session.run(argv, cwd=_working_folder(kernel.config))
        session.tell_shutdown(restart=False)
        return _status_of(kernel, status)


def _status_of(kernel: Kernel, status: int) -> int:
    """The first program's status, unless that was killed by a shutdown that somebody asked for."""
    return 0 if kernel.shutdown_reason in SHUTDOWNS else status


class Session:
    """A kernel on this process's standard streams, from boot to shutdown; use it in a ``with`` statement."""

    kernel: Kernel

    def __init__(self, options: dict[str, Any], defaults: dict[str, Any] | None = None) -> None:
        config_file = options.pop("config", None)
        self.config = BootConfig.load(options, config_file=config_file, defaults=defaults)
        self._cleanup = ExitStack()
        self._line_end = "\n"

    def __enter__(self) -> Session:
        import gc

        from jefeos.kernel import boot_kernel

        self._log_to_stderr()
        _exit_on_termination()
        with self._cleanup:
            trace_output = self._open_trace()
            self.kernel = boot_kernel(self.config, report=self._report, trace_output=trace_output)
            self._cleanup.callback(self.kernel.shutdown)
            self._cleanup = self._cleanup.pop_all()
        # What a boot makes stays. Frozen, it is not searched for garbage again, nor at the interpreter's exit:
        # the run of a static hello takes a sixth less.
        gc.freeze()
        return self

    def __exit__(self, *details: object) -> None:
        self._cleanup.close()

    def run(self, argv: list[bytes], *, cwd: bytes) -> int:
        """Start a program on the standard streams, run the system until it has ended; its status."""
        from jefeos.tty.console import find_host_terminal

        kernel = self.kernel
        if not _is_terminal(0):  # who types is slower than any lease, a script is not
            kernel.net.wait_until_configured()
        with ExitStack() as borrowed:
            terminal = find_host_terminal(kernel.console, kernel.loop)
            if terminal is not None:
                kernel.console.attach_output(terminal.write)
                borrowed.enter_context(terminal)
                if _is_terminal(0):
                    self._line_end = "\r\n"  # raw mode: a line feed alone would not go back to column 1
            process = self._start(argv, cwd)
            borrowed.enter_context(_signals_go_to(kernel, process))
            status = kernel.run_until_exit(process)
        self._line_end = "\n"
        if cause := _cause_of_death(process):
            self.print_line(f"jefeos: {os.fsdecode(argv[0])}: {cause}")
        if self.config.stats:
            self._print_statistics()
        assert status is not None  # None is a time-out, and none was given
        return status

    def _start(self, argv: list[bytes], cwd: bytes) -> Process:
        from jefeos.tty.console import open_standard_streams

        kernel = self.kernel
        variables = {name: os.environ[name] for name in PASSED_VARIABLES if os.environ.get(name)}
        variables.update(self.config.environment or ())
        try:
            place = kernel.vfs.resolve(kernel.vfs.as_kernel(), b"/dev/console")
        except KernelError as error:
            raise BootError(f"the system has no /dev/console: {error}") from None
        files = open_standard_streams(kernel.console, kernel.host_streams, place.inode, place)
        try:
            return kernel.start(argv, files=files, environ=variables, cwd=cwd, controlling_tty=_is_terminal(0))
        except KernelError as error:
            raise KernelError(error.errno, _why_not_started(kernel, argv[0], cwd, error)) from None

    # -- what is printed --

    def print_line(self, text: str) -> None:
        """One line on the host's standard error, also while the terminal is raw."""
        print(text, end=self._line_end, file=sys.stderr, flush=True)

    def tell_shutdown(self, *, restart: bool) -> None:
        """Say how the system ended, if that was by reboot(2)."""
        reason = self.kernel.shutdown_reason
        if reason in SHUTDOWNS:
            self.print_line("jefeos: restarting" if restart else f"jefeos: {SHUTDOWNS[reason]}")

    def _report(self, health: PluginHealth) -> None:
        self.print_line(f"jefeos: {health.line()}")

    def _open_trace(self) -> Callable[[str], None] | None:
        if not isinstance(self.config.trace, str):
            return self.print_line if self.config.trace else None
        path = self.config.trace
        file = self._cleanup.enter_context(open(path, "w", encoding="utf-8", errors="replace"))  # noqa: SIM115
        return lambda line: print(line, file=file)

    def _log_to_stderr(self) -> None:
        import logging

        session = self

        class OneLine(logging.Handler):
            """A log record as one line; its traceback only for those who debug JefeOS itself."""

            def emit(self, record: logging.LogRecord) -> None:
                text = " ".join(record.getMessage().split())
                if record.exc_info and record.exc_info[0] is not None:
                    text += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
                    if os.environ.get("JEFEOS_DEBUG"):
                        text += "\n" + logging.Formatter().formatException(record.exc_info)
                session.print_line(f"jefeos: {text}")

        logger = logging.getLogger("jefeos")
        logger.handlers = [OneLine(level=logging.WARNING)]
        logger.propagate = False

    def _print_statistics(self) -> None:
        numbers = self.kernel.statistics()
        calls: dict[str, int] = numbers["system_calls"]
        unknown: dict[str, int] = numbers["unknown_calls"]
        self.print_line(
            f"jefeos: {sum(calls.values())} system calls, {numbers['processes_created']} processes,"
            f" {numbers['context_switches']} switches, {numbers['uptime_ns'] / 1e9:.3f} s"
        )
        failed: dict[str, int] = numbers["failed_calls"]
        for name, count in calls.items():
            self.print_line(f"{count:>12}  {name}" + (f": {failed[name]} failed" if name in failed else ""))
        for name, count in sorted(unknown.items()):
            self.print_line(f"{count:>12}  {name}: not implemented (ENOSYS)")
        for text, (hits, reached) in numbers["injected"].items():
            self.print_line(f"{hits:>12}  faults injected of {reached} that could be: {text}")


def _first_program(kernel: Kernel, *, interactive: bool) -> list[bytes]:
    config = kernel.config
    if config.init is not None:
        return [os.fsencode(config.init)]
    if config.root is None:
        shell: str | None = kernel.plugins.first("jefeos_shell")
        if shell is None:
            raise BootError("there is no shell to start: install jefeos-shell-jsh, or say --root or --init")
        return [os.fsencode(shell)]
    for path in INIT_PROGRAMS:
        if _exists(kernel, path):
            # A login shell reads /etc/profile, which sets the prompt and the search path.
            return [path, b"-l"] if interactive and path == b"/bin/sh" else [path]
    raise BootError(f"the root {config.root} has neither /init nor /bin/sh: say --init PROG")


def _bring_in(kernel: Kernel, program: str) -> bytes:
    """Without a root, a program of the host is put alone into the built-in one, at its own path."""
    from jefeos.rootfs import make_directories, write_file

    path = os.fsencode(os.path.abspath(program)) if os.sep == "/" else b"/bin/" + os.path.basename(program).encode()
    make_directories(kernel, os.path.dirname(path))
    with open(program, "rb") as file:
        write_file(kernel, path, file.read(), 0o755 if os.access(program, os.X_OK) else 0o644)
    return path


def _working_folder(config: BootConfig) -> bytes:
    """The host's working folder, where the root is a host folder that holds it; else ``/``."""
    if config.root is None or not os.path.isdir(config.root):
        return b"/"
    root, here = os.path.realpath(config.root), os.path.realpath(os.getcwd())
    if os.path.commonpath([root, here]) != root:
        return b"/"
    return os.fsencode("/" + os.path.relpath(here, root).replace(os.sep, "/")) if here != root else b"/"


def _why_not_started(kernel: Kernel, program: bytes, cwd: bytes, error: KernelError) -> str:
    name = os.fsdecode(program)
    phrase = _PHRASES.get(Errno(error.errno), errno_name(error.errno))
    path = program if program.startswith(b"/") else cwd.rstrip(b"/") + b"/" + program
    if error.errno == Errno.ENOENT and b"/" in program and _exists(kernel, path):
        phrase = "its interpreter is not there"
        if kernel.config.root is None:
            phrase += " (say --root / to let it see the host's files)"
    elif error.errno == Errno.ENOENT and kernel.config.root is None:
        phrase += " (no --root was given, so there is only the built-in system)"
    return f"{name}: {phrase}"


def _cause_of_death(process: Process) -> str | None:
    """What to say of a first program that a signal of the dumping kind ended: the user has no shell that would."""
    from jefeos.proc.signals import Default, default_action, signal_name

    if not process.killed_by or default_action(process.killed_by) is not Default.CORE:
        return None
    place = "" if process.fault_address is None else f" at address 0x{process.fault_address:x}"
    return f"killed by {signal_name(process.killed_by)}{place}"


def _exists(kernel: Kernel, path: bytes) -> bool:
    try:
        kernel.vfs.resolve(kernel.vfs.as_kernel(), path)
    except KernelError:
        return False
    return True


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


@contextmanager
def _signals_go_to(kernel: Kernel, process: Process) -> Iterator[None]:
    """The host's ^C becomes the guest's: where no terminal is attached, it arrives as a signal to us. SIGTERM ends
    the run.

    Both are handed over through the loop, between two slices of the guest: what a handler raises inside a callback
    of the engine may be lost. Three ^C in a row stop JefeOS itself.
    """
    import signal

    from jefeos.proc.signals import Signal

    count = 0

    def deliver() -> None:
        kernel.signals.send_group(kernel.processes.group(process.pgid), Signal.SIGINT)

    def interrupted(_number: int, _frame: object) -> None:
        nonlocal count
        count += 1
        if count >= IMPATIENT_INTERRUPTS:
            raise KeyboardInterrupt
        kernel.loop.call_soon_threadsafe(deliver)

    def end() -> None:
        raise SystemExit(TERMINATED_STATUS)

    def terminated(_number: int, _frame: object) -> None:
        kernel.loop.call_soon_threadsafe(end)

    handlers = {signal.SIGTERM: terminated}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # else whoever started us wants it so
        handlers[signal.SIGINT] = interrupted
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _exit_on_termination() -> None:
    """SIGTERM unwinds like any exit, so that the terminal and the host's files are left in order."""
    import signal

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(TERMINATED_STATUS)

    signal.signal(signal.SIGTERM, leave)
