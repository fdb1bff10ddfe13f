"""Terminal settings: the flags, control characters and structures of Linux, declarations only.

The values are those of Linux on x86-64 (asm-generic/termbits.h, asm-generic/termbits-common.h): programs carry
them compiled in. `Termios` is a value; the ABI layer packs it as ``struct termios`` or ``termios2``.
Speeds are kept and given back, and nothing else is done with them.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from attrs import evolve, field, frozen


class InputFlag(IntFlag):
    """``c_iflag``: how bytes from the device are changed before line editing."""

    IGNBRK = 0x0001
    BRKINT = 0x0002
    IGNPAR = 0x0004
    PARMRK = 0x0008
    INPCK = 0x0010
    ISTRIP = 0x0020
    INLCR = 0x0040
    IGNCR = 0x0080
    ICRNL = 0x0100
    IUCLC = 0x0200
    IXON = 0x0400
    IXANY = 0x0800
    IXOFF = 0x1000
    IMAXBEL = 0x2000
    IUTF8 = 0x4000


class OutputFlag(IntFlag):
    """``c_oflag``: how bytes of programs are changed on their way to the device."""

    OPOST = 0x0001
    OLCUC = 0x0002
    ONLCR = 0x0004
    OCRNL = 0x0008
    ONOCR = 0x0010
    ONLRET = 0x0020
    OFILL = 0x0040
    OFDEL = 0x0080
    XTABS = 0x1800  # both bits of TABDLY: expand tabs to spaces


class ControlFlag(IntFlag):
    """``c_cflag``: of the serial line; kept, and of no effect here."""

    B38400 = 0x000F
    CS8 = 0x0030
    CREAD = 0x0080
    HUPCL = 0x0400


class LocalFlag(IntFlag):
    """``c_lflag``: line editing, echo and signals."""

    ISIG = 0x0001
    ICANON = 0x0002
    XCASE = 0x0004
    ECHO = 0x0008
    ECHOE = 0x0010
    ECHOK = 0x0020
    ECHONL = 0x0040
    NOFLSH = 0x0080
    TOSTOP = 0x0100
    ECHOCTL = 0x0200
    ECHOPRT = 0x0400
    ECHOKE = 0x0800
    FLUSHO = 0x1000
    PENDIN = 0x4000
    IEXTEN = 0x8000
    EXTPROC = 0x10000


class ControlChar(IntEnum):
    """Indices into ``c_cc``. A character of value 0 is switched off (_POSIX_VDISABLE)."""

    VINTR = 0
    VQUIT = 1
    VERASE = 2
    VKILL = 3
    VEOF = 4
    VTIME = 5
    VMIN = 6
    VSWTC = 7
    VSTART = 8
    VSTOP = 9
    VSUSP = 10
    VEOL = 11
    VREPRINT = 12
    VDISCARD = 13
    VWERASE = 14
    VLNEXT = 15
    VEOL2 = 16


CONTROL_CHARS = 19  # NCCS of the kernel's structure; C libraries have 32 and convert
DISABLED_CHAR = 0
SPEED_38400 = 38400

# INTR ^C, QUIT ^\, ERASE DEL, KILL ^U, EOF ^D, TIME 0, MIN 1, SWTC off, START ^Q, STOP ^S, SUSP ^Z, EOL off,
# REPRINT ^R, DISCARD ^O, WERASE ^W, LNEXT ^V, EOL2 off (INIT_C_CC of asm-generic/termios.h).
INITIAL_CONTROL_CHARS = bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0))


class When(IntEnum):
    """When new settings apply: at once, after output has drained, or that and with unread input dropped."""

    NOW = 0
    DRAIN = 1
    FLUSH = 2


class FlushQueue(IntEnum):
    """What ``tcflush`` drops (TCIFLUSH, TCOFLUSH, TCIOFLUSH)."""

    INPUT = 0
    OUTPUT = 1
    BOTH = 2


class Flow(IntEnum):
    """What ``tcflow`` does (TCOOFF, TCOON, TCIOFF, TCION)."""

    OUTPUT_OFF = 0
    OUTPUT_ON = 1
    INPUT_OFF = 2
    INPUT_ON = 3


@frozen
class WindowSize:
    """``struct winsize``: character cells, and pixels where known."""

    rows: int = 0
    columns: int = 0
    x_pixels: int = 0
    y_pixels: int = 0


@frozen
class Termios:
    """The settings of one terminal. Change them with `attrs.evolve` or `with_chars`."""

    iflag: int = InputFlag.ICRNL | InputFlag.IXON
    oflag: int = OutputFlag.OPOST | OutputFlag.ONLCR
    cflag: int = ControlFlag.B38400 | ControlFlag.CS8 | ControlFlag.CREAD
    lflag: int = (
        LocalFlag.ISIG
        | LocalFlag.ICANON
        | LocalFlag.ECHO
        | LocalFlag.ECHOE
        | LocalFlag.ECHOK
        | LocalFlag.ECHOCTL
        | LocalFlag.ECHOKE
        | LocalFlag.IEXTEN
    )
    line: int = 0
    control_chars: bytes = field(default=INITIAL_CONTROL_CHARS)
    input_speed: int = SPEED_38400
    output_speed: int = SPEED_38400

    def with_chars(self, **characters: int) -> Termios:
        """A copy with control characters replaced, by name: ``with_chars(VMIN=0, VTIME=5)``."""
        table = bytearray(self.control_chars.ljust(CONTROL_CHARS, b"\0"))
        for name, value in characters.items():
            table[ControlChar[name]] = value
        return evolve(self, control_chars=bytes(table))

    def raw(self) -> Termios:
        """The settings of ``cfmakeraw``: every byte passes unchanged, both ways."""
        dropped_input = (
            InputFlag.IGNBRK | InputFlag.BRKINT | InputFlag.PARMRK | InputFlag.ISTRIP
            | InputFlag.INLCR | InputFlag.IGNCR | InputFlag.ICRNL | InputFlag.IXON
        )  # fmt: skip
        dropped_local = (
            LocalFlag.ECHO | LocalFlag.ECHONL | LocalFlag.ICANON | LocalFlag.ISIG | LocalFlag.IEXTEN
        )
        return evolve(
            self,
            iflag=int(self.iflag) & ~int(dropped_input),
            oflag=int(self.oflag) & ~int(OutputFlag.OPOST),
            lflag=int(self.lflag) & ~int(dropped_local),
        )
