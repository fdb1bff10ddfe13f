"""The line discipline against the host's own: the same settings and bytes, the same reads and the same echo.

A pty of the host runs Linux's N_TTY. Polling its slave processes what was written to the master at once, unless
there already was something to read: then the test gives the host's worker a moment. Skipped where the host is
not Linux.
"""

from __future__ import annotations

import os
import random
import select
import struct
import sys
import time
from collections.abc import Callable

import pytest
from jefeos.tty.line import LineDiscipline
from jefeos.tty.termios import ControlChar, InputFlag, LocalFlag, OutputFlag, Termios

if sys.platform != "linux":
    pytest.skip("needs the pty of a Linux host as oracle", allow_module_level=True)

import fcntl
import termios as host_termios

pytestmark = pytest.mark.realtime

SETTLE_SECONDS = (0.002, 0.02, 0.2, 1)  # a busy host needs longer: a comparison that fails is repeated with more time
WRITE_SECONDS = 10

def write_all(descriptor: int, data: bytes) -> None:
    """Write to a non-blocking side of a pty, whose worker may not have seen a ^Q yet, or holds it to echo."""
    deadline = time.monotonic() + WRITE_SECONDS
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            assert time.monotonic() < deadline, "the host's terminal takes no output"
            time.sleep(0.001)


class HostTerminal:
    """The oracle: a pty pair whose slave has the settings under test."""

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        os.set_blocking(self.slave, False)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)

    def configure(self, settings: Termios) -> None:
        characters = [bytes((code,)) for code in settings.control_chars.ljust(32, b"\0")]
        current = host_termios.tcgetattr(self.slave)
        if not settings.lflag & LocalFlag.ICANON:
            for index in (ControlChar.VMIN, ControlChar.VTIME):
                characters[index] = settings.control_chars[index]  # type: ignore[call-overload]
        values = [
            int(settings.iflag), int(settings.oflag), current[2], int(settings.lflag), current[4], current[5],
            characters,
        ]  # fmt: skip
        host_termios.tcsetattr(self.slave, host_termios.TCSANOW, values)

    def type(self, data: bytes) -> None:
        unread = self.readable()
        write_all(self.master, data)
        if unread or self.readable():
            time.sleep(self.settle_seconds)  # polling hurries the host's worker only when there is nothing to read

    def output(self) -> bytes:
        select.select([self.master], [], [], 0)
        try:
            return os.read(self.master, 65536)
        except BlockingIOError:
            return b""

    def read(self, count: int) -> bytes | None:
        try:
            return os.read(self.slave, count)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> None:
        write_all(self.slave, data)

    def readable(self) -> bool:
        return bool(select.select([self.slave], [], [], 0)[0])

    def pending(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self.slave, host_termios.FIONREAD, b"\0" * 4))[0])


class OurTerminal:
    """The line discipline with the least owner possible."""

    def __init__(self) -> None:
        self.line = LineDiscipline()
        self._output = bytearray()

    def configure(self, settings: Termios) -> None:
        self.line.set_termios(settings)
        self._collect()

    def _collect(self) -> None:
        self._output += self.line.take_effects().output

    def type(self, data: bytes) -> None:
        assert self.line.receive(data) == len(data)
        self._collect()

    def output(self) -> bytes:
        taken = bytes(self._output)
        self._output.clear()
        return taken

    def read(self, count: int) -> bytes | None:
        if not self.line.readable():
            characters = self.line.termios.control_chars
            immediate = not characters[ControlChar.VMIN] and not characters[ControlChar.VTIME]
            return b"" if immediate and not self.line.canonical else None
        return self.line.read(count)

    def write(self, data: bytes) -> None:
        self._output += self.line.process_output(data)

    def readable(self) -> bool:
        return self.line.readable(self.line.poll_minimum())

    def pending(self) -> int:
        return self.line.readable_bytes()


Pair = tuple[HostTerminal, OurTerminal]


def against_host(check: Callable[[Pair], None]) -> None:
    """Run a comparison on a fresh pair of terminals."""
    for settle_seconds in SETTLE_SECONDS:
        host = HostTerminal(settle_seconds)
        try:
            check((host, OurTerminal()))
        except AssertionError:
            if settle_seconds == SETTLE_SECONDS[-1]:
                raise
        else:
            return
        finally:
            host.close()


def configure(pair: Pair, settings: Termios) -> None:
    for terminal in pair:
        terminal.configure(settings)


def compare(pair: Pair, what: object) -> None:
    host, ours = pair
    assert ours.output() == host.output(), what
    assert ours.readable() == host.readable(), what
    assert ours.pending() == host.pending(), what


def play(pair: Pair, typed: bytes, settings: Termios) -> None:
    """Type, then read lines until nothing is left, comparing at each step."""
    configure(pair, settings)
    host, ours = pair
    for terminal in pair:
        terminal.type(typed)
    compare(pair, typed)
    for _ in range(20):
        expected = host.read(1000)
        assert ours.read(1000) == expected
        compare(pair, typed)
        if not expected and not host.readable():
            break


L, I, O = LocalFlag, InputFlag, OutputFlag  # noqa: E741
BASE = Termios()


def lflag(add: int = 0, remove: int = 0) -> Termios:
    return Termios(lflag=int(BASE.lflag) & ~remove | add)


SETTINGS = {
    "default": BASE,
    "utf8": Termios(iflag=int(BASE.iflag) | I.IUTF8),
    "no echo": lflag(remove=L.ECHO),
    "newline echo only": lflag(add=L.ECHONL, remove=L.ECHO),
    "no erase echo": lflag(remove=L.ECHOE),
    "no kill erase": lflag(remove=L.ECHOKE),
    "kill without newline": lflag(remove=L.ECHOKE | L.ECHOK),
    "no caret": lflag(remove=L.ECHOCTL),
    "printing terminal": lflag(add=L.ECHOPRT),
    "no extended": lflag(remove=L.IEXTEN),
    "no signals": lflag(remove=L.ISIG),
    "no flush": lflag(add=L.NOFLSH),
    "no carriage return": Termios(iflag=I.IGNCR | I.IXON),
    "newline to return": Termios(iflag=I.INLCR),
    "any key restarts": Termios(iflag=int(BASE.iflag) | I.IXANY),
    "no flow control": Termios(iflag=I.ICRNL),
    "strip and lower": Termios(iflag=int(BASE.iflag) | I.ISTRIP | I.IUCLC),
    "parity marks": Termios(iflag=int(BASE.iflag) | I.PARMRK),
    "upper output": Termios(oflag=int(BASE.oflag) | O.OLCUC),
    "tabs expanded": Termios(oflag=int(BASE.oflag) | O.XTABS),
    "no output processing": Termios(oflag=O.ONLCR),
    "plain newline": Termios(oflag=O.OPOST),
    "newline returns": Termios(oflag=O.OPOST | O.ONLRET),
    "return to newline": Termios(oflag=O.OPOST | O.OCRNL | O.ONOCR),
    "raw": BASE.raw(),
    "cbreak": lflag(remove=L.ICANON),
    "cbreak no echo": lflag(remove=L.ICANON | L.ECHO),
    "min 5": lflag(remove=L.ICANON | L.ECHO).with_chars(VMIN=5),
    "poll": lflag(remove=L.ICANON | L.ECHO).with_chars(VMIN=0),
    "line ends": BASE.with_chars(VEOL=ord(";"), VEOL2=0xFF),
    "old erase": BASE.with_chars(VERASE=8, VKILL=ord("@"), VINTR=ord("!")),
}

TYPED = {
    "line": b"hello\n",
    "two lines": b"one\ntwo\rthree",
    "erase": b"abc\x7f\x7fd\n",
    "erase past start": b"a\x7f\x7f\x7fb\n",
    "word": b"echo foo-bar  baz \x17\x17\x17x\n",
    "kill": b"ab\tc\x15done\n",
    "tab": b"\tx\ty\t\x7f\x7f\x7f\x7fz\n",
    "tab after text": b"abc\tdef\x01\t\x7f\x7f\x7f\x7f\x7f\x7fg\n",
    "control": b"a\x01b\x1b\x7f\x7f\x7fc\n",
    "literal": b"a\x16\x03b\x16\x04\x16\n\x16\x16\n",
    "literal last": b"abc\x16",
    "reprint": b"abc\x01\x12def\n",
    "eof": b"\x04",
    "eof after text": b"abc\x04def\x04\x04\n",
    "nul": b"a\0b\n\0\n",
    "interrupt": b"first\nsecond\x03third\n",
    "quit": b"abc\x1cdef\n",
    "suspend": b"abc\x1adef\n",
    "stop": b"a\x13bc\n\x11d\n",
    "stopped": b"ab\x13cd",
    "utf8": "aé€😀\x7f\x7f\x7fz\n".encode(),
    "utf8 word": "año über\x17é\x17x\n".encode(),
    "stray continuation": b"\n\x80\x80\x7fa\x7f\x7f\n",
    "high": b"\xff\xfe\x80\xff\x7f\n",
    "line ends": b"a;b;c\xffd\n",
    "upper": b"HELLO \xc0\xd7 World\n",
    "bell and backspace": b"a\x07\x08b\x7f\x7f\x7f\n",
    "at and bang": b"abc@def!ghi\n",
}


@pytest.mark.parametrize("typed", TYPED.values(), ids=TYPED.keys())
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_same_as_host(typed: bytes, settings: Termios) -> None:
    against_host(lambda pair: play(pair, typed, settings))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize(
    "written",
    [b"a\nb\r\nc\td\x08e\x1b[1mf", b"ab\t\tc\r\tx\n\n", "\rñ\té".encode(), b"prompt> ", b"\r\r\nx\ty"],
)
def test_output(settings: Termios, written: bytes) -> None:
    against_host(lambda pair: check_output(pair, settings, written))


def check_output(pair: Pair, settings: Termios, written: bytes) -> None:
    configure(pair, settings)
    for terminal in pair:
        terminal.write(written)
    compare(pair, written)
    for terminal in pair:
        terminal.type(b"\tx\t\x7f\x7f")  # shows the column that output left
    compare(pair, written)


def test_full_buffer_when_a_line_fits_exactly() -> None:
    against_host(check_full_buffer_when_a_line_fits_exactly)


def check_full_buffer_when_a_line_fits_exactly(pair: Pair) -> None:
    configure(pair, BASE)
    for terminal in pair:
        terminal.type(b"hello\x04next\n")
    host, ours = pair
    for count in (5, 3, 100):
        assert ours.read(count) == host.read(count)
        compare(pair, count)


def test_overlong_line_keeps_its_beginning() -> None:
    against_host(check_overlong_line_keeps_its_beginning)


def check_overlong_line_keeps_its_beginning(pair: Pair) -> None:
    configure(pair, lflag(remove=L.ECHO))
    host, ours = pair
    for number in range(30):
        for terminal in pair:
            terminal.type(bytes((65 + number % 26,)) * 200)
    for terminal in pair:
        terminal.type(b"\n")
    compare(pair, "overlong")
    assert ours.read(8192) == host.read(8192)
    compare(pair, "read")


def test_modes_change_with_bytes_pending() -> None:
    against_host(check_modes_change_with_bytes_pending)


def check_modes_change_with_bytes_pending(pair: Pair) -> None:
    host, ours = pair
    cbreak = lflag(remove=L.ICANON)
    for before, after in ((BASE, cbreak), (cbreak, BASE)):
        for typed in (b"abc", b"abc\nde", b"abc\x04d\x16", b"\n\n\x04"):
            configure(pair, before)
            for terminal in pair:
                terminal.type(typed)
            configure(pair, after)
            compare(pair, typed)
            for terminal in pair:
                terminal.type(b"x\n")
            for _ in range(6):
                assert ours.read(100) == host.read(100), (typed, after)
                compare(pair, typed)


@pytest.mark.parametrize("seed", range(150))
def test_random_sessions(seed: int) -> None:
    against_host(lambda pair: check_random_session(pair, seed))


def check_random_session(pair: Pair, seed: int) -> None:
    """Random settings, typing, reading, writing and changes of mode."""
    rng = random.Random(seed)
    host, ours = pair
    base = rng.choice(list(SETTINGS.values()))
    special = sorted(set(base.control_chars) | {8, 9, 10, 13, 0x7F, 0x80, 0xC3, 0xA9, 0xFF})
    trace: list[object] = []

    def random_settings() -> Termios:
        def some(mask: int, keep: float) -> int:
            return sum(1 << bit for bit in range(17) if mask >> bit & 1 and rng.random() < keep)

        return Termios(
            iflag=some(int(BASE.iflag) | I.IUTF8, 0.85) | some(0x7FF & ~0x1F, 0.1),
            oflag=some(int(BASE.oflag), 0.9) | some(O.OCRNL | O.ONOCR | O.ONLRET | O.OLCUC, 0.1),
            lflag=some(int(BASE.lflag), 0.9) | some(L.NOFLSH | L.ECHOPRT | L.ECHONL, 0.15),
            control_chars=base.control_chars,
        )

    def random_bytes() -> bytes:
        def random_byte() -> int:
            return rng.choice(special) if rng.random() < 0.35 else rng.choice(b"abcxyz AZ_09\t-")

        return bytes(random_byte() for _ in range(rng.randrange(1, 25)))

    configure(pair, base)
    for _ in range(60):
        action = rng.random()
        if action < 0.5:
            data = random_bytes()
            trace.append(("type", data))
            for terminal in pair:
                terminal.type(data)
        elif action < 0.75:
            count = rng.choice((1, 2, 5, 100))
            expected = host.read(count)
            trace.append(("read", count, expected))
            assert ours.read(count) == expected, trace
        elif action < 0.9:
            if not ours.line.stopped:
                data = random_bytes()
                trace.append(("write", data))
                for terminal in pair:
                    terminal.write(data)
        else:
            settings = random_settings()
            trace.append(settings)
            configure(pair, settings)
        compare(pair, trace)
