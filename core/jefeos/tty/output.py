"""The output half of the line discipline: post-processing, columns, and the echo of what is typed.

::

    program ---- process() ----------------------------.
                                                        +--> bytes for the device
    typed byte -- echo_*() --> echo queue -- flush() --'

Model and rules follow Linux's N_TTY (drivers/tty/n_tty.c: do_output_char, the echo buffer), because programs and
people depend on its fine points:

* The column is tracked so that a typed tab can be erased: the echo of an erased tab goes back as many columns as
  the tab had taken, which depends on where the input line began (``canon_column``).
* Echo is queued as operations, not bytes: a control character is printed as ``^X`` and a tab erased in the column
  the cursor has when the queue is flushed, not when the key was typed.
* The queue is flushed at the end of each batch of input, and before program output. While output is stopped
  (^S) it stays queued; when the terminal sends a signal and flushes, it is dropped.

Does not do: fill characters and delays (OFILL, NLDLY ...), which Linux does not do either.
"""

from __future__ import annotations

from attrs import define, field

from jefeos.tty.termios import InputFlag, LocalFlag, OutputFlag, Termios

# Escape byte of the echo queue, and the operations that may follow it (any other byte: print it as ^X).
_ESCAPE = 0xFF
_MOVE_BACK = 0x80
_SET_CANON_COLUMN = 0x81
_ERASE_TAB = 0x82
_AFTER_TAB = 0x80  # flag in the operand of _ERASE_TAB: columns were counted from the tab before, not the line start

_TAB_STOP = 8
_DELETE = 0x7F
_CARET_BIT = 0x40  # ^X is the control character with this bit turned over
_ECHO_WATERMARK = 256  # a batch of input flushes its echo early past this many queued bytes, as Linux does


def is_control(byte: int) -> bool:
    """Whether `byte` is a control character to the terminal (bytes from 128 on are not)."""
    return byte < 0x20 or byte == _DELETE


@define
class OutputProcessor:
    """Output post-processing and the echo queue of one terminal."""

    column: int = 0
    canon_column: int = 0
    _echoes: bytearray = field(factory=bytearray)
    _flags: int = 0
    _echo_control: bool = False
    _utf8: bool = False

    def configure(self, termios: Termios) -> None:
        """Take new settings."""
        self._flags = int(termios.oflag)
        self._echo_control = bool(termios.lflag & LocalFlag.ECHOCTL)
        self._utf8 = bool(termios.iflag & InputFlag.IUTF8)

    # -- what programs write ------------------------------------------------------------------------

    def process(self, data: bytes) -> bytes:
        """Post-process program output (OPOST); returns what the device gets."""
        flags = self._flags
        if not flags & OutputFlag.OPOST:
            return data
        if flags & ~(OutputFlag.OPOST | OutputFlag.ONLCR) == 0:
            return self._process_plain(data, bool(flags & OutputFlag.ONLCR))
        out = bytearray()
        for byte in data:
            self._emit(byte, out)
        return bytes(out)

    def _process_plain(self, data: bytes, newline_to_crlf: bool) -> bytes:
        """The usual case at the speed of `bytes.replace`: at most ONLCR, columns from the last line only."""
        start = data.rfind(b"\r") + 1
        if newline_to_crlf:
            start = max(start, data.rfind(b"\n") + 1)
        if start:
            self.column = self.canon_column = 0
        rest = data[start:]
        if _is_printable(rest):
            self.column += len(rest)
        else:
            sink = bytearray()
            for byte in rest:
                self._emit(byte, sink)
        return data.replace(b"\n", b"\r\n") if newline_to_crlf else data

    def _emit(self, byte: int, out: bytearray) -> None:
        """One byte through OPOST, into `out`."""
        flags = self._flags
        if byte == 0x0A:
            if flags & OutputFlag.ONLRET:
                self.column = 0
            if flags & OutputFlag.ONLCR:
                self.canon_column = self.column = 0
                out += b"\r\n"
                return
            self.canon_column = self.column
        elif byte == 0x0D:
            if flags & OutputFlag.ONOCR and self.column == 0:
                return
            if flags & OutputFlag.OCRNL:
                byte = 0x0A
                if flags & OutputFlag.ONLRET:
                    self.canon_column = self.column = 0
            else:
                self.canon_column = self.column = 0
        elif byte == 0x09:
            width = _TAB_STOP - self.column % _TAB_STOP
            self.column += width
            if flags & OutputFlag.XTABS == OutputFlag.XTABS:
                out += b" " * width
                return
        elif byte == 0x08:
            if self.column > 0:
                self.column -= 1
        elif not is_control(byte):
            if flags & OutputFlag.OLCUC:
                byte = _to_upper(byte)
            if not (self._utf8 and byte & 0xC0 == 0x80):
                self.column += 1
        out.append(byte)

    # -- what is typed ------------------------------------------------------------------------------

    def echo_raw(self, byte: int) -> None:
        """Echo `byte` itself, even a control character (it still passes OPOST)."""
        if byte == _ESCAPE:
            self._echoes.append(_ESCAPE)
        self._echoes.append(byte)

    def echo_char(self, byte: int) -> None:
        """Echo `byte` as a person should see it: control characters other than tab as ``^X`` under ECHOCTL."""
        if byte == _ESCAPE or (self._echo_control and byte != 0x09 and is_control(byte)):
            self._echoes.append(_ESCAPE)
        self._echoes.append(byte)

    def echo_set_canon_column(self) -> None:
        """The input line begins at the column the cursor will have here."""
        self._echoes += bytes((_ESCAPE, _SET_CANON_COLUMN))

    def echo_move_back(self) -> None:
        """The byte just echoed took no column (the rest of a multi-byte character)."""
        self._echoes += bytes((_ESCAPE, _MOVE_BACK))

    def echo_erase_tab(self, columns_before: int, after_tab: bool) -> None:
        """Go back over a tab that had `columns_before` columns of text between it and the tab or line start before."""
        operand = columns_before % _TAB_STOP | (_AFTER_TAB if after_tab else 0)
        self._echoes += bytes((_ESCAPE, _ERASE_TAB, operand))

    def drop_echoes(self) -> None:
        """Forget what has not been flushed."""
        self._echoes.clear()

    @property
    def over_watermark(self) -> bool:
        """Whether so much echo is queued that it should go out within the batch of input."""
        return len(self._echoes) >= _ECHO_WATERMARK

    def flush_echoes(self) -> bytes:
        """Carry out the queued echo; returns what the device gets."""
        if not self._echoes:
            return b""
        out = bytearray()
        queue = iter(bytes(self._echoes))
        self._echoes.clear()
        opost = bool(self._flags & OutputFlag.OPOST)
        for byte in queue:
            if byte != _ESCAPE:
                if opost:
                    self._emit(byte, out)
                else:
                    out.append(byte)
                continue
            operation = next(queue)
            if operation == _ERASE_TAB:
                operand = next(queue)
                columns = operand if operand & _AFTER_TAB else operand + self.canon_column
                width = _TAB_STOP - columns % _TAB_STOP
                out += b"\b" * width
                self.column = max(0, self.column - width)
            elif operation == _SET_CANON_COLUMN:
                self.canon_column = self.column
            elif operation == _MOVE_BACK:
                self.column = max(0, self.column - 1)
            elif operation == _ESCAPE:
                out.append(_ESCAPE)
                self.column += 1
            else:
                out += bytes((0x5E, operation ^ _CARET_BIT))
                self.column += 2
        return bytes(out)


def _is_printable(data: bytes) -> bool:
    """Whether every byte is a printable ASCII character: each takes one column."""
    return data.isascii() and data.decode("ascii").isprintable()


def _to_upper(byte: int) -> int:
    """Upper case in Latin-1 as the kernel's table has it, sharp s and y with diaeresis included."""
    if 0x61 <= byte <= 0x7A or (byte >= 0xDF and byte != 0xF7):
        return byte - 0x20
    return byte
