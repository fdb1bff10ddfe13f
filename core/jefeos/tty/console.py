"""The system console: a terminal on the host's terminal, or on functions of whoever embeds the kernel.

::

    Tty "console" <-- ConsoleDriver --> HostTerminal (raw mode, SIGWINCH, reader thread)
                                    --> a function (tests, the Python API); input through `Console.type`

Rules

* While attached, the host terminal is in raw mode: the guest's line discipline does echo, editing and signals. It
  is put back when the kernel stops, whatever happened: `HostTerminal` is a context manager, registers with
  `atexit`, and does it before SIGTERM and SIGHUP take their course. With standard input redirected nothing is
  changed: ^C must still reach whoever started us.
* Host terminal code (`termios`, `signal`) is imported only here and only when a terminal is attached. Where there is
  none (Windows), the console works on plain streams and the window has 80 by 24 cells.
* A host that went away is a hang-up of the terminal, never an error of the kernel.
"""

from __future__ import annotations

import os
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from jefeos.errors import KernelError
from jefeos.host import BytesInput, CaptureOutput, HostReader, write_all
from jefeos.tty.files import CONSOLE_DEVICE, TtyFile
from jefeos.tty.packet import PacketStatus
from jefeos.tty.termios import InputFlag, Termios, WindowSize
from jefeos.tty.tty import Tty
from jefeos.vfs.flags import O_NOCTTY, O_RDONLY, O_RDWR, O_WRONLY

if TYPE_CHECKING:
    from jefeos.hostfiles import HostStreams
    from jefeos.kernel import Kernel
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import Inode
    from jefeos.vfs.path import Path

DEFAULT_SIZE = WindowSize(rows=24, columns=80)
_UNLIMITED_ROOM = 1 << 20


def discard(data: bytes) -> None:
    """Output of a console that nobody watches."""


@define(eq=False)
class ConsoleDriver:
    """Sends output straight on; the host waits, not the guest."""

    output: Callable[[bytes], None] = discard

    def write(self, data: bytes) -> None:
        self.output(data)

    @property
    def output_room(self) -> int:
        return _UNLIMITED_ROOM

    @property
    def output_pending(self) -> int:
        return 0

    def flush_output(self) -> None:
        """Nothing is kept back."""

    def announce(self, event: PacketStatus) -> None:
        """Nobody is on the other side in packet mode."""

    def input_taken(self) -> None:
        """The host keeps what was not read."""

    def opened(self) -> None:
        """The console is always there."""

    def closed(self) -> None:
        """The console is always there."""


@define(eq=False)
class Console:
    """The console terminal of one kernel and what it is attached to."""

    kernel: Kernel
    driver: ConsoleDriver = field(factory=ConsoleDriver)
    tty: Tty = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = Termios()
        self.tty = Tty(
            self.kernel,
            b"console",
            CONSOLE_DEVICE,
            self.driver,
            evolve(settings, iflag=int(settings.iflag) | int(InputFlag.IUTF8)),
            DEFAULT_SIZE,
        )

    def attach_output(self, output: Callable[[bytes], None]) -> None:
        """Send what programs write to `output`."""
        self.driver.output = output

    def type(self, data: bytes) -> None:
        """Give input as if it was typed. Call it on the kernel's thread."""
        self.tty.input(data)

    def open_file(self, inode: Inode, flags: int, path: Path | None = None) -> TtyFile:
        """A file on the console; `inode` is that of /dev/console, or any other that should be reported."""
        return TtyFile(self.tty, inode, flags, path)


def find_host_terminal(console: Console, loop: AbstractEventLoop) -> HostTerminal | None:
    """The terminal among the host's standard streams, not yet entered; None if all are redirected."""
    terminals = [descriptor for descriptor in (1, 2, 0) if _is_terminal(descriptor)]
    if not terminals:
        return None
    return HostTerminal(console, loop, 0 if 0 in terminals else None, terminals[0])


def open_standard_streams(
    console: Console, streams: HostStreams, inode: Inode, path: Path | None = None
) -> list[File]:
    """Files 0, 1 and 2 for a program: the console where the host has a terminal, else the host's stream.

    `inode` and `path` are those of /dev/console. A stream the host has closed is end of file, or discards.
    """
    files: list[File] = []
    for descriptor in range(3):
        if _is_terminal(descriptor):
            files.append(console.open_file(inode, O_RDWR | O_NOCTTY, path))
            continue
        try:
            files.append(streams.open_descriptor(descriptor, O_RDONLY if descriptor == 0 else O_WRONLY))
        except KernelError:
            empty = streams.open_source(BytesInput()) if descriptor == 0 else None
            files.append(empty or streams.open_sink(CaptureOutput(limit=0)))
    return files


def _is_terminal(descriptor: int) -> bool:
    """Whether it is a terminal that can be put into raw mode; where that is not possible it is a plain stream."""
    try:
        return os.name == "posix" and os.isatty(descriptor)
    except OSError:
        return False


class HostTerminal:
    """The host's terminal, borrowed: raw while entered, given back as it was.

    ::

        terminal = find_host_terminal(console, loop)
        with terminal or contextlib.nullcontext():
            ...

    `input_descriptor` None: output only (standard input is redirected, standard output is a terminal).
    """

    def __init__(
        self,
        console: Console,
        loop: AbstractEventLoop,
        input_descriptor: int | None = 0,
        output_descriptor: int = 1,
    ) -> None:
        self._console = console
        self._tty = console.tty
        self._loop = loop
        self._input = input_descriptor
        self._output = output_descriptor
        self._gone = False
        self._saved: list[Any] | None = None
        self._saved_handlers: dict[int, Any] = {}
        self._reader: HostReader | None = None

    def __enter__(self) -> HostTerminal:
        self._console.attach_output(self.write)
        self._tty.window_size = self._window_size()
        if os.name == "posix":
            if self._input is not None:
                self._enter_raw_mode(self._input)
            self._watch_signals()
        if self._input is not None:
            self._reader = HostReader(self._input, self._loop, self._typed)
            self._reader.request()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def write(self, data: bytes) -> None:
        """Send output; after the host went away it is dropped."""
        if self._gone:
            return
        try:
            write_all(self._output, data)
        except OSError:
            self._gone = True
            self._loop.call_soon(self._went_away)

    def restore(self) -> None:
        """Give the terminal back. Safe to call more than once."""
        self._console.attach_output(discard)
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if os.name != "posix":
            return
        import atexit
        import signal
        import termios

        while self._saved_handlers:
            number, handler = self._saved_handlers.popitem()
            signal.signal(number, handler)
        if self._saved is not None and self._input is not None:
            saved, self._saved = self._saved, None
            try:
                termios.tcsetattr(self._input, termios.TCSADRAIN, saved)
            except (OSError, termios.error):  # the terminal is gone: nothing to give back
                self._gone = True
            atexit.unregister(self.restore)

    def _enter_raw_mode(self, terminal: int) -> None:
        import atexit
        import termios
        import tty

        try:
            self._saved = termios.tcgetattr(terminal)
            tty.setraw(terminal, termios.TCSADRAIN)
        except (OSError, termios.error):  # no terminal after all: plain streams
            self._saved = None
            return
        atexit.register(self.restore)

    def _watch_signals(self) -> None:
        import signal

        if threading.current_thread() is not threading.main_thread():
            return  # Python handles signals on the main thread only: the size then stays as it was

        def changed(_number: int, _frame: object) -> None:
            self._loop.call_soon_threadsafe(self._resized)

        def ended(number: int, _frame: object) -> None:
            self._loop.call_soon_threadsafe(self._ended, number)

        for number, handler in ((signal.SIGWINCH, changed), (signal.SIGTERM, ended), (signal.SIGHUP, ended)):
            self._saved_handlers[number] = signal.signal(number, handler)

    def _ended(self, number: int) -> None:
        """In the loop, never in the handler itself: what that raises is lost inside a callback of the engine."""
        self.restore()
        os.kill(os.getpid(), number)

    def _went_away(self) -> None:
        self._tty.hang_up(gone=True)

    def _resized(self) -> None:
        self._tty.resize(self._window_size())

    def _window_size(self) -> WindowSize:
        for descriptor in (self._output, self._input):
            if descriptor is None:
                continue
            try:
                size = os.get_terminal_size(descriptor)
            except OSError:
                continue
            if size.columns and size.lines:
                return WindowSize(rows=size.lines, columns=size.columns)
        return DEFAULT_SIZE

    def _typed(self, data: bytes) -> None:
        if not data:
            self._gone = True
            self._went_away()
            return
        self._tty.input(data)
        if self._reader is not None:
            self._reader.request()
