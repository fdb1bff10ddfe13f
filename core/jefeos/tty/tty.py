"""A terminal: the line discipline with queues, waiting, job control and a driver under it.

::

    program --TtyFile--> Tty --process_output--> driver.write ----> device (host terminal, master of a pty)
                          ^--read-- line <--receive-- backlog <---- input() called by the driver

Rules

* The driver calls `input` with what was typed. What the line discipline has no room for stays in the backlog;
  `input_room` tells a driver that can wait (the pty master) how much more is welcome.
* Output goes to the driver at once while `driver.output_room` is positive and output is not stopped (^S); else the
  writer waits on ``write_queue``. The driver calls `output_drained` when it has room again.
* A waiting read leaves the bytes in the line discipline until it can return, so that it may be abandoned (by a
  signal) at any time without losing input.
* After a hang-up the files that were open stay hung up (reads give end of file, writes EIO) while the terminal can be
  opened anew. Files that were opened as /dev/console go on through it, as on Linux: init's are such ones.

Follows Linux's n_tty_read, n_tty_write, tty_poll and tty_ioctl in what programs can see. Does not do: other line
disciplines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define, evolve, field

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import Signal
from jefeos.sched.wait import Interrupted, MaybeAwait, WaitQueue
from jefeos.tty.jobs import JobControl
from jefeos.tty.line import LineDiscipline, LineSignal
from jefeos.tty.packet import PacketStatus, settings_events
from jefeos.tty.termios import ControlChar, Flow, FlushQueue, LocalFlag, Termios, When, WindowSize
from jefeos.vfs.flags import (
    POLL_READABLE,
    POLL_WRITABLE,
    POLLERR,
    POLLHUP,
)

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.tty.files import TtyFile

BACKLOG_BYTES = 8192
ECHO_ALLOWANCE_BYTES = 4096  # echo may exceed the driver's room by this much before it is dropped
_TENTH_SECOND_NS = 100_000_000
_SECOND_NS = 1_000_000_000
_COARSE_SECONDS = ~7  # the node's times tell nobody how fast a password was typed

_SIGNALS = {
    LineSignal.INTERRUPT: Signal.SIGINT,
    LineSignal.QUIT: Signal.SIGQUIT,
    LineSignal.SUSPEND: Signal.SIGTSTP,
}


class TtyDriver(Protocol):
    """What is under a terminal."""

    def write(self, data: bytes) -> None:
        """Send bytes to the device. Never fails: a device that went away hangs the terminal up."""
        ...

    @property
    def output_room(self) -> int:
        """How many bytes are welcome now; the last write may exceed it a little."""
        ...

    @property
    def output_pending(self) -> int:
        """Bytes written that the device has not taken yet (TIOCOUTQ)."""
        ...

    def flush_output(self) -> None:
        """Drop what the device has not taken yet."""
        ...

    def announce(self, event: PacketStatus) -> None:
        """Something happened that the master of a pty may want to hear of. Others have nobody to tell."""
        ...

    def input_taken(self) -> None:
        """The backlog became shorter."""
        ...

    def opened(self) -> None:
        """The first file was opened."""
        ...

    def closed(self) -> None:
        """The last file was closed."""
        ...


@define(eq=False)
class Tty:
    """One terminal (the slave side, for a pty). ``name`` is as in /dev, ``device`` a dev_t."""

    kernel: Kernel
    name: bytes
    device: int
    driver: TtyDriver
    initial_termios: Termios = field(factory=Termios)
    window_size: WindowSize = field(factory=WindowSize)
    exclusive: bool = False
    read_queue: WaitQueue = field(factory=WaitQueue)
    write_queue: WaitQueue = field(factory=WaitQueue)
    files: list[TtyFile] = field(factory=list)
    line: LineDiscipline = field(init=False)
    jobs: JobControl = field(init=False)
    _backlog: bytearray = field(factory=bytearray)
    _open_count: int = 0
    _flow_off: bool = False  # stopped by tcflow, not by ^S
    _was_stopped: bool = False  # as announced

    def __attrs_post_init__(self) -> None:
        self.line = LineDiscipline(self.initial_termios)
        self.jobs = JobControl(self.kernel)

    # -- from the driver ----------------------------------------------------------------------------

    @property
    def input_room(self) -> int:
        """How many bytes of input are welcome now."""
        return BACKLOG_BYTES - len(self._backlog)

    def input(self, data: bytes) -> None:
        """Bytes were typed."""
        self._backlog += data
        self._receive()

    def _receive(self) -> None:
        if not self._backlog:
            return
        taken = self.line.receive(bytes(self._backlog))
        del self._backlog[:taken]
        self._apply_effects()
        if self.line.readable(self.line.poll_minimum()) or self.line.readable():
            self.read_queue.wake_all()

    def _apply_effects(self) -> None:
        was_blocked = bool(self.write_queue)
        effects = self.line.take_effects()
        for signal in effects.signals:
            self.jobs.signal_foreground(_SIGNALS[signal])
        if effects.flushed:
            self.driver.flush_output()
            self.driver.announce(PacketStatus.FLUSH_READ)
        if effects.output and self.driver.output_room > -ECHO_ALLOWANCE_BYTES:
            self.driver.write(effects.output)
        self._announce_flow()
        if was_blocked and not self.output_stopped:
            self.write_queue.wake_all()

    def _announce_flow(self) -> None:
        stopped = self.output_stopped
        if stopped != self._was_stopped:
            self._was_stopped = stopped
            self.driver.announce(PacketStatus.STOP if stopped else PacketStatus.START)

    def output_drained(self) -> None:
        """The device took output: writers may go on."""
        self.write_queue.wake_all()

    def resize(self, size: WindowSize) -> None:
        """The window changed: tell the foreground group (SIGWINCH)."""
        if size != self.window_size:
            self.window_size = size
            self.jobs.signal_foreground(Signal.SIGWINCH)

    def hang_up(self, *, gone: bool = False) -> None:
        """vhangup, or a leader's end: files see the end, the session is told. ``gone``: so did the device."""
        files, self.files = self.files, []
        for file in files:
            if file.is_console and not gone:
                self.files.append(file)
            else:
                file.hung_up = True
        self.line.set_termios(self.initial_termios)
        self.line.flush_input()
        self.line.stopped = False
        self.line.take_effects()
        self._backlog.clear()
        self._flow_off = False
        self.exclusive = False
        self.jobs.hang_up(self)
        self.read_queue.wake_all()
        self.write_queue.wake_all()

    # -- files --------------------------------------------------------------------------------------

    def attach(self, file: TtyFile) -> None:
        """A file was opened. Raises EBUSY under TIOCEXCL."""
        current = self.kernel.executor.current
        if self.exclusive and (current is None or current.process.creds.euid != 0):
            raise KernelError(Errno.EBUSY)
        self.files.append(file)
        self._open_count += 1
        if self._open_count == 1:
            self.driver.opened()

    def detach(self, file: TtyFile) -> None:
        """A file was closed. One that was hung up counts as open for the device until then."""
        if file in self.files:
            self.files.remove(file)
        self._open_count -= 1
        if not self._open_count:
            self.driver.closed()

    # -- reading ------------------------------------------------------------------------------------

    def read(self, file: TtyFile, count: int) -> MaybeAwait[bytes]:
        """One line, or what VMIN and VTIME ask for (POSIX.1, 11.1.7). b"" after a hang-up."""
        if file.hung_up:
            return b""
        self.jobs.check_background(self, Signal.SIGTTIN)
        data = self._read_ready(count)
        if data is not None:
            return data
        if file.nonblocking:
            if self.line.readable():
                return self._take(count)
            raise KernelError(Errno.EAGAIN)
        return self._read_wait(file, count)

    def _read_ready(self, count: int) -> bytes | None:
        """What a read can return at once; None if it has to wait."""
        line = self.line
        if count == 0:
            return b""
        if line.canonical:
            return self._take(count) if line.readable() else None
        available = line.readable_bytes()
        minimum = line.termios.control_chars[ControlChar.VMIN]
        if available and available >= min(minimum, count):
            return self._take(count)
        if not minimum and not line.termios.control_chars[ControlChar.VTIME]:
            return b""
        return None

    async def _read_wait(self, file: TtyFile, count: int) -> bytes:
        line = self.line
        while True:
            characters = line.termios.control_chars
            available = line.readable_bytes()
            timeout_ns: int | None = None
            if not line.canonical and characters[ControlChar.VTIME]:
                # With VMIN the timer runs between bytes, without it for the whole read.
                if available or not characters[ControlChar.VMIN]:
                    timeout_ns = characters[ControlChar.VTIME] * _TENTH_SECOND_NS
            woken = await self.read_queue.wait(timeout_ns)
            if file.hung_up:
                return b""
            data = self._read_ready(count)
            if data is not None:
                return data
            if not woken and line.readable_bytes() == available:
                return self._take(count)

    def _take(self, count: int) -> bytes:
        data = self.line.read(count)
        now_s = self.kernel.clock.realtime_ns() // _SECOND_NS
        for file in self.files:  # w and finger look there for how long nobody has typed
            if (now_s ^ file.inode.atime_ns // _SECOND_NS) & _COARSE_SECONDS:
                file.inode.atime_ns = now_s * _SECOND_NS
        if self._backlog:
            self._receive()
            self.driver.input_taken()
        return data

    # -- writing ------------------------------------------------------------------------------------

    @property
    def output_stopped(self) -> bool:
        """Whether ^S or tcflow holds output back."""
        return self.line.stopped or self._flow_off

    def write(self, file: TtyFile, data: bytes) -> MaybeAwait[int]:
        """Post-process and send; waits while output is stopped or the device is full. EIO after a hang-up."""
        if file.hung_up:
            raise KernelError(Errno.EIO)
        if self.line.termios.lflag & LocalFlag.TOSTOP:
            self.jobs.check_background(self, Signal.SIGTTOU)
        written = self._write_some(data)
        if written == len(data):
            return written
        if file.nonblocking:
            if written or not data:
                return written
            raise KernelError(Errno.EAGAIN)
        return self._write_wait(file, data, written)

    def _write_some(self, data: bytes) -> int:
        written = 0
        now_s = self.kernel.clock.realtime_ns() // _SECOND_NS
        for file in self.files:
            if (now_s ^ file.inode.mtime_ns // _SECOND_NS) & _COARSE_SECONDS:
                file.inode.mtime_ns = now_s * _SECOND_NS
        while written < len(data) and not self.output_stopped:
            room = self.driver.output_room
            if room <= 0:
                break
            chunk = data[written : written + room]
            self.driver.write(self.line.process_output(chunk))
            written += len(chunk)
        return written

    async def _write_wait(self, file: TtyFile, data: bytes, written: int) -> int:
        while written < len(data):
            try:
                await self.write_queue.wait()
            except Interrupted:
                if written:
                    return written
                raise
            if file.hung_up:
                if written:
                    return written
                raise KernelError(Errno.EIO)
            written += self._write_some(data[written:])
        return written

    # -- readiness ----------------------------------------------------------------------------------

    def poll(self, file: TtyFile) -> int:
        """The POLL* events that hold now."""
        if file.hung_up:
            return POLL_READABLE | POLL_WRITABLE | POLLERR | POLLHUP
        mask = POLL_READABLE if self.line.readable(self.line.poll_minimum()) else 0
        if not self.output_stopped and self.driver.output_room > 0:
            mask |= POLL_WRITABLE
        return mask

    # -- settings -----------------------------------------------------------------------------------

    @property
    def termios(self) -> Termios:
        """The current settings."""
        return self.line.termios

    def set_termios(self, termios: Termios, when: When = When.NOW) -> MaybeAwait[None]:
        """tcsetattr, without the job-control check (which files make)."""
        if when is When.NOW or not self.driver.output_pending:
            self._apply_termios(termios, when)
            return None
        return self._set_termios_later(termios, when)

    async def _set_termios_later(self, termios: Termios, when: When) -> None:
        await self._drain_wait()
        self._apply_termios(termios, when)

    def _apply_termios(self, termios: Termios, when: When) -> None:
        if when is When.FLUSH:
            self.flush(FlushQueue.INPUT)
        for event in settings_events(self.line.termios, termios):
            self.driver.announce(event)
        self.line.set_termios(evolve(termios, line=0))
        self._apply_effects()
        self._receive()
        self.read_queue.wake_all()
        if not self.output_stopped:
            self.write_queue.wake_all()

    def drain(self) -> MaybeAwait[None]:
        """tcdrain: wait until the device has taken all output."""
        return self._drain_wait() if self.driver.output_pending else None

    async def _drain_wait(self) -> None:
        while self.driver.output_pending:
            await self.write_queue.wait()

    def flush(self, which: FlushQueue) -> None:
        """tcflush: drop unread input, unsent output, or both."""
        if which in (FlushQueue.INPUT, FlushQueue.BOTH):
            self.line.flush_input()
            self._backlog.clear()
            self.driver.input_taken()
            self.driver.announce(PacketStatus.FLUSH_READ)
        if which in (FlushQueue.OUTPUT, FlushQueue.BOTH):
            self.driver.flush_output()
            self.write_queue.wake_all()

    def flow(self, action: Flow) -> None:
        """tcflow: stop or start output, or send the STOP or START character."""
        characters = self.termios.control_chars
        if action is Flow.OUTPUT_OFF:
            self._flow_off = True
            self._announce_flow()
        elif action is Flow.OUTPUT_ON:
            self._flow_off = False
            self.line.start()
            self._apply_effects()
            self.write_queue.wake_all()
        else:
            which = ControlChar.VSTOP if action is Flow.INPUT_OFF else ControlChar.VSTART
            if characters[which]:
                self.driver.write(bytes((characters[which],)))
