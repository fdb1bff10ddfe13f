"""The line discipline: typed bytes in; lines, echo and signals out. No I/O, no tasks, no clock.

::

    device --> receive() --> [ read buffer: complete lines | line being edited ] --> read() --> program
                   |              ^tail                     ^canon_head        ^head
                   +--> output (echo for the device), signals (for the foreground group)

The behaviour is that of Linux's N_TTY (drivers/tty/n_tty.c; POSIX.1 chapter 11 is the frame), byte for byte,
which the tests check against the host's own pty. Points that are easy to get wrong and that programs see:

* In canonical mode only complete lines can be read, one a call. The end-of-file character ends a line without
  being part of it, so that typed on an empty line it is a read of no bytes. It is kept in the buffer as a
  disabled character (NUL) whose position is marked in `_line_ends`; an unmarked NUL is a typed NUL.
* The buffer has 4096 bytes. A line that is longer keeps its first 4095: the last byte is overwritten until the
  newline comes. When complete lines fill it, nothing more is accepted (`receive` returns how much was).
* A signal character drops unread input, and echo not yet sent, unless NOFLSH.
* Switching canonical mode off makes what was typed readable at once; switching it on makes it a line.

The owner calls `receive` with bytes from the device, then takes `output` (send it to the device), `signals` and
`flushed` with `take_effects`. `stopped` is set by ^S and cleared by ^Q; while it is set the owner must not send
program output, and echo stays queued here.

Does not do: breaks, parity and framing errors (no device here has them), EXTPROC editing by the far end.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, field, frozen

from jefeos.tty.output import OutputProcessor, is_control
from jefeos.tty.termios import DISABLED_CHAR, ControlChar, InputFlag, LocalFlag, Termios

BUFFER_BYTES = 4096
_NEWLINE = 0x0A
_RETURN = 0x0D
_TAB = 0x09
_BACKSPACE = 0x08
_SPACE = 0x20
_PARITY_MARK = 0xFF


class LineSignal(Enum):
    """What a signal character asks for."""

    INTERRUPT = "VINTR"
    QUIT = "VQUIT"
    SUSPEND = "VSUSP"


@frozen
class Effects:
    """What a batch of input did besides filling the buffer."""

    output: bytes
    signals: tuple[LineSignal, ...]
    flushed: bool  # a signal character dropped pending output too


@define
class LineDiscipline:
    """One terminal's line discipline. Construct it, then `set_termios`."""

    termios: Termios = field(factory=Termios)
    processor: OutputProcessor = field(factory=OutputProcessor)
    stopped: bool = False
    _buffer: bytearray = field(factory=bytearray)
    _tail: int = 0  # positions count bytes since the beginning; the buffer starts at the tail
    _canon_head: int = 0
    _line_ends: set[int] = field(factory=set)
    _erasing: bool = False
    _literal_next: bool = False
    _special: frozenset[int] = frozenset()
    _raw: bool = False
    _output: bytearray = field(factory=bytearray)
    _signals: list[LineSignal] = field(factory=list)
    _flushed: bool = False

    def __attrs_post_init__(self) -> None:
        self._configure(self.termios)

    # -- settings -----------------------------------------------------------------------------------

    @property
    def canonical(self) -> bool:
        """Whether reads return lines."""
        lflag = self.termios.lflag
        return bool(lflag & LocalFlag.ICANON) and not lflag & LocalFlag.EXTPROC

    def set_termios(self, termios: Termios) -> None:
        """Apply new settings, turning the unread bytes into a line or lines into bytes if the mode changed."""
        old = self.termios
        mode = LocalFlag.ICANON | LocalFlag.EXTPROC
        if (old.lflag ^ termios.lflag) & mode:
            self._line_ends.clear()
            if not termios.lflag & LocalFlag.ICANON or not self._buffer:
                self._canon_head = self._tail
            else:
                self._line_ends.add(self._head - 1)
                self._canon_head = self._head
            self._erasing = False
            self._literal_next = False
        self._configure(termios)
        if old.iflag & InputFlag.IXON and not termios.iflag & InputFlag.IXON:
            self.start()

    def _configure(self, termios: Termios) -> None:
        self.termios = termios
        self.processor.configure(termios)
        iflag, lflag = int(termios.iflag), int(termios.lflag)
        cooked = (
            InputFlag.ISTRIP | InputFlag.IUCLC | InputFlag.IGNCR | InputFlag.ICRNL
            | InputFlag.INLCR | InputFlag.IXON | InputFlag.PARMRK
        )  # fmt: skip
        self._raw = not iflag & cooked and not lflag & (LocalFlag.ICANON | LocalFlag.ISIG | LocalFlag.ECHO)
        special: set[int] = set()
        char = termios.control_chars
        if iflag & (InputFlag.IGNCR | InputFlag.ICRNL):
            special.add(_RETURN)
        if iflag & InputFlag.INLCR:
            special.add(_NEWLINE)
        if lflag & LocalFlag.ICANON:
            names = [ControlChar.VERASE, ControlChar.VKILL, ControlChar.VEOF, ControlChar.VEOL]
            if lflag & LocalFlag.IEXTEN:
                names += [ControlChar.VWERASE, ControlChar.VLNEXT, ControlChar.VEOL2]
                if lflag & LocalFlag.ECHO:
                    names.append(ControlChar.VREPRINT)
            special.update(char[name] for name in names)
            special.add(_NEWLINE)
        if iflag & InputFlag.IXON:
            special.update((char[ControlChar.VSTART], char[ControlChar.VSTOP]))
        if lflag & LocalFlag.ISIG:
            special.update(char[name] for name in (ControlChar.VINTR, ControlChar.VQUIT, ControlChar.VSUSP))
        special.discard(DISABLED_CHAR)
        self._special = frozenset(special)

    # -- input from the device ----------------------------------------------------------------------

    @property
    def _head(self) -> int:
        return self._tail + len(self._buffer)

    def receive(self, data: bytes) -> int:
        """Take bytes from the device; returns how many were accepted (fewer when the buffer is full)."""
        accepted = 0
        while accepted < len(data):
            room = BUFFER_BYTES - len(self._buffer)
            if self.termios.iflag & InputFlag.PARMRK:
                room = -(-room // 3)  # a byte may take three places in the buffer
            room -= 1
            if room <= 0:
                if not (self.canonical and self._canon_head == self._tail):
                    break
                if room < 0:
                    self._buffer.pop()
                room = 1
            batch = data[accepted : accepted + room]
            self._receive_batch(batch)
            accepted += len(batch)
        return accepted

    def _receive_batch(self, batch: bytes) -> None:
        termios = self.termios
        if self._raw:
            self._buffer += batch
            return
        strip = bool(termios.iflag & InputFlag.ISTRIP)
        lower = bool(termios.iflag & InputFlag.IUCLC) and bool(termios.lflag & LocalFlag.IEXTEN)
        external = bool(termios.lflag & LocalFlag.EXTPROC)
        special = self._special
        for byte in batch:
            if strip:
                byte &= 0x7F
            if lower:
                byte = _to_lower(byte)
            if external:
                self._buffer.append(byte)
            elif self._literal_next:
                self._literal_next = False
                self._receive_ordinary(byte)
            elif byte in special:
                self._receive_special(byte)
            else:
                self._receive_ordinary(byte)
            if self.processor.over_watermark:
                self._send_echoes()
        if termios.lflag & (LocalFlag.ECHO | LocalFlag.ECHONL):
            self._send_echoes()

    def _receive_ordinary(self, byte: int) -> None:
        self._restart_on_any()
        if self.termios.lflag & LocalFlag.ECHO:
            self._finish_erasing()
            self._mark_line_start()
            self.processor.echo_char(byte)
        self._put(byte)

    def _receive_special(self, byte: int) -> None:
        termios, char = self.termios, self.termios.control_chars
        if termios.iflag & InputFlag.IXON and byte in (char[ControlChar.VSTART], char[ControlChar.VSTOP]):
            if byte == char[ControlChar.VSTART]:
                self.start()
            else:
                self.stopped = True
            return
        if termios.lflag & LocalFlag.ISIG:
            for signal in LineSignal:
                if byte == char[ControlChar[signal.value]]:
                    self._receive_signal(signal, byte)
                    return
        self._restart_on_any()
        if byte == _RETURN:
            if termios.iflag & InputFlag.IGNCR:
                return
            if termios.iflag & InputFlag.ICRNL:
                byte = _NEWLINE
        elif byte == _NEWLINE and termios.iflag & InputFlag.INLCR:
            byte = _RETURN
        if termios.lflag & LocalFlag.ICANON and self._receive_editing(byte):
            return
        if termios.lflag & LocalFlag.ECHO:
            self._finish_erasing()
            if byte == _NEWLINE:
                self.processor.echo_raw(_NEWLINE)
            else:
                self._mark_line_start()
                self.processor.echo_char(byte)
        self._put(byte)

    def _receive_signal(self, signal: LineSignal, byte: int) -> None:
        self._signals.append(signal)
        if not self.termios.lflag & LocalFlag.NOFLSH:
            self.processor.drop_echoes()
            self._output.clear()
            self._flushed = True
            self.flush_input()
        if self.termios.iflag & InputFlag.IXON:
            self.stopped = False  # what was held back goes out with the batch
        if self.termios.lflag & LocalFlag.ECHO:
            self.processor.echo_char(byte)
        else:
            self._send_echoes()

    def _receive_editing(self, byte: int) -> bool:
        """The editing characters of canonical mode; False if `byte` is none of them."""
        termios, char, echo = self.termios, self.termios.control_chars, self.processor
        extended = bool(termios.lflag & LocalFlag.IEXTEN)
        echoing = bool(termios.lflag & LocalFlag.ECHO)
        if (
            byte in (char[ControlChar.VERASE], char[ControlChar.VKILL])
            or (extended and byte == char[ControlChar.VWERASE])
        ):  # fmt: skip
            self._erase(byte)
            return True
        if extended and byte == char[ControlChar.VLNEXT]:
            self._literal_next = True
            if echoing:
                self._finish_erasing()
                if termios.lflag & LocalFlag.ECHOCTL:
                    echo.echo_raw(ord("^"))
                    echo.echo_raw(_BACKSPACE)
            return True
        if extended and echoing and byte == char[ControlChar.VREPRINT]:
            self._finish_erasing()
            echo.echo_char(byte)
            echo.echo_raw(_NEWLINE)
            for typed in self._buffer[self._canon_head - self._tail :]:
                echo.echo_char(typed)
            return True
        if byte == _NEWLINE:
            if termios.lflag & (LocalFlag.ECHO | LocalFlag.ECHONL):
                echo.echo_raw(_NEWLINE)
            self._end_line(byte)
            return True
        if byte == char[ControlChar.VEOF]:
            self._end_line(DISABLED_CHAR)
            return True
        if byte == char[ControlChar.VEOL] or (extended and byte == char[ControlChar.VEOL2]):
            if echoing:
                self._mark_line_start()
                echo.echo_char(byte)
            if byte == _PARITY_MARK and termios.iflag & InputFlag.PARMRK:
                self._buffer.append(byte)
            self._end_line(byte)
            return True
        return False

    def _erase(self, command: int) -> None:
        """ERASE one character, WERASE one word or KILL the line, and echo what makes that visible."""
        lflag, char, echo = int(self.termios.lflag), self.termios.control_chars, self.processor
        if self._head == self._canon_head:
            return
        one = command == char[ControlChar.VERASE]
        word = not one and command == char[ControlChar.VWERASE]
        echoing = bool(lflag & LocalFlag.ECHO)
        if not one and not word:
            visible = LocalFlag.ECHOK | LocalFlag.ECHOKE | LocalFlag.ECHOE
            if not echoing or lflag & visible != visible:
                del self._buffer[self._canon_head - self._tail :]
                if echoing:
                    self._finish_erasing()
                    echo.echo_char(char[ControlChar.VKILL])
                    if lflag & LocalFlag.ECHOK:
                        echo.echo_raw(_NEWLINE)
                return
        first = self._canon_head - self._tail
        seen_word = False
        while len(self._buffer) > first:
            start = len(self._buffer) - 1
            while self._is_continuation(self._buffer[start]) and start > first:
                start -= 1
            byte = self._buffer[start]
            if self._is_continuation(byte):
                break  # the rest of the character is in an earlier line: do not erase a part
            if word:
                if _is_word(byte):
                    seen_word = True
                elif seen_word:
                    break
            erased = bytes(self._buffer[start:])
            del self._buffer[start:]
            if echoing:
                self._echo_erased(erased, one)
            if one:
                break
        if len(self._buffer) == first and echoing:
            self._finish_erasing()

    def _echo_erased(self, erased: bytes, one: bool) -> None:
        lflag, echo = int(self.termios.lflag), self.processor
        byte = erased[0]
        if lflag & LocalFlag.ECHOPRT:
            # A printing terminal cannot rub out: show what is erased, between \ and /.
            if not self._erasing:
                echo.echo_raw(ord("\\"))
                self._erasing = True
            echo.echo_char(byte)
            for rest in erased[1:]:
                echo.echo_raw(rest)
                echo.echo_move_back()
        elif one and not lflag & LocalFlag.ECHOE:
            echo.echo_char(self.termios.control_chars[ControlChar.VERASE])
        elif byte == _TAB:
            self._echo_erased_tab()
        else:
            rub_out = (_BACKSPACE, _SPACE, _BACKSPACE)
            control = is_control(byte)
            caret = bool(lflag & LocalFlag.ECHOCTL)
            for code in rub_out * ((control and caret) + (not control or caret)):
                echo.echo_raw(code)

    def _echo_erased_tab(self) -> None:
        """Count the columns before the erased tab, back to the line's start or an earlier tab."""
        columns = 0
        after_tab = False
        for byte in reversed(self._buffer[self._canon_head - self._tail :]):
            if byte == _TAB:
                after_tab = True
                break
            if is_control(byte):
                if self.termios.lflag & LocalFlag.ECHOCTL:
                    columns += 2
            elif not self._is_continuation(byte):
                columns += 1
        self.processor.echo_erase_tab(columns, after_tab)

    def _end_line(self, byte: int) -> None:
        self._line_ends.add(self._head)
        self._buffer.append(byte)
        self._canon_head = self._head

    def _put(self, byte: int) -> None:
        if byte == _PARITY_MARK and self.termios.iflag & InputFlag.PARMRK:
            self._buffer.append(byte)
        self._buffer.append(byte)

    def _mark_line_start(self) -> None:
        if self._canon_head == self._head:
            self.processor.echo_set_canon_column()

    def _finish_erasing(self) -> None:
        if self._erasing:
            self.processor.echo_raw(ord("/"))
            self._erasing = False

    def _is_continuation(self, byte: int) -> bool:
        return bool(self.termios.iflag & InputFlag.IUTF8) and byte & 0xC0 == 0x80

    # -- flow control and effects -------------------------------------------------------------------

    def start(self) -> None:
        """Let output go on (^Q, TCOON), beginning with the echo held back."""
        self.stopped = False
        self._send_echoes()

    def _restart_on_any(self) -> None:
        if self.stopped and self.termios.iflag & InputFlag.IXON and self.termios.iflag & InputFlag.IXANY:
            self.start()

    def _send_echoes(self) -> None:
        if not self.stopped:
            self._output += self.processor.flush_echoes()

    def take_effects(self) -> Effects:
        """What happened since the last call: echo for the device, signals, and whether output was flushed."""
        effects = Effects(bytes(self._output), tuple(self._signals), self._flushed)
        self._output.clear()
        self._signals.clear()
        self._flushed = False
        return effects

    def process_output(self, data: bytes) -> bytes:
        """Program output as the device gets it, any held-back echo first."""
        if self.stopped:
            return self.processor.process(data)
        return self.processor.flush_echoes() + self.processor.process(data)

    # -- reading ------------------------------------------------------------------------------------

    def readable_bytes(self) -> int:
        """What FIONREAD answers: bytes that can be read now, end-of-file marks not counted."""
        if not self.canonical:
            return len(self._buffer)
        lines = self._canon_head - self._tail
        marks = sum(
            1
            for position in self._line_ends
            if position < self._canon_head and self._buffer[position - self._tail] == DISABLED_CHAR
        )
        return lines - marks

    def readable(self, minimum: int = 1) -> bool:
        """Whether a read has something to return: a line, or `minimum` bytes outside canonical mode."""
        if self.canonical:
            return self._canon_head != self._tail
        return len(self._buffer) >= max(minimum, 1)

    def poll_minimum(self) -> int:
        """How many bytes make the terminal readable to poll: VMIN, unless VTIME would end the wait."""
        char = self.termios.control_chars
        minimum = char[ControlChar.VMIN]
        return minimum if minimum and not char[ControlChar.VTIME] else 1

    def read(self, count: int) -> bytes:
        """Up to `count` bytes: of one line in canonical mode (b"" is end of file), else of all that is there."""
        if not self.canonical:
            return self._take(count)
        available = self._canon_head - self._tail
        limit = min(count, available)
        end = min((position for position in self._line_ends if position < self._tail + limit), default=None)
        if end is None:
            data = self._take(limit)
            if limit < available and self._tail in self._line_ends and self._buffer[0] == DISABLED_CHAR:
                # The caller's buffer was full just before the mark: it ended this line, not the next read.
                self._line_ends.discard(self._tail)
                self._take(1)
            return data
        self._line_ends.discard(end)
        data = self._take(end - self._tail + 1)
        return data[:-1] if data[-1] == DISABLED_CHAR else data

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[: len(data)]
        self._tail += len(data)
        if self._canon_head < self._tail:
            self._canon_head = self._tail
        return data

    def flush_input(self) -> None:
        """Drop everything unread, complete lines and the line being edited."""
        self._tail = self._canon_head = self._head
        self._buffer.clear()
        self._line_ends.clear()
        self._erasing = False


def _is_word(byte: int) -> bool:
    """Letters, digits, underscore, and Latin-1 letters as the kernel's table has them."""
    if byte < 0x80:
        return chr(byte).isalnum() or byte == ord("_")
    return byte >= 0xC0 and byte not in (0xD7, 0xF7)


def _to_lower(byte: int) -> int:
    if 0x41 <= byte <= 0x5A or (0xC0 <= byte <= 0xDE and byte != 0xD7):
        return byte + 0x20
    return byte
