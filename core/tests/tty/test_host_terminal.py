"""The console on a host terminal: raw while attached, restored after, typed bytes and window sizes passed on."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jefeos.tty.console import Console, HostTerminal
from jefeos.tty.termios import WindowSize
from jefeos.vfs.flags import O_RDWR, S_IFCHR
from jefeos.vfs.inode import Filesystem, Inode

if sys.platform == "win32":
    pytest.skip("needs a pty of the host", allow_module_level=True)

import fcntl
import struct
import termios


class Nodes(Filesystem):
    """A filesystem for one node."""

    @property
    def root(self) -> Inode:
        raise NotImplementedError


class Node(Inode):
    """/dev/console."""


class HostPty:
    def __init__(self) -> None:
        self.master, self.slave = os.openpty()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        for descriptor in (self.master, self.slave):
            try:
                os.close(descriptor)
            except OSError:
                pass


@pytest.fixture
def pty() -> Iterator[HostPty]:
    pty = HostPty()
    pty.resize(30, 100)
    yield pty
    pty.close()


def wait_until(kernel: Any, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        kernel.turn()
        time.sleep(0.005)


def local_flags(descriptor: int) -> int:
    return int(termios.tcgetattr(descriptor)[3])


def test_raw_while_attached(kernel: Any, pty: HostPty) -> None:
    before = termios.tcgetattr(pty.slave)
    console = Console(kernel)
    with HostTerminal(console, kernel.loop, pty.slave, pty.slave):
        assert not local_flags(pty.slave) & (termios.ICANON | termios.ECHO | termios.ISIG)
        assert console.tty.window_size == WindowSize(30, 100)
    assert termios.tcgetattr(pty.slave) == before


def test_restored_after_an_error(kernel: Any, pty: HostPty) -> None:
    before = termios.tcgetattr(pty.slave)
    with pytest.raises(ZeroDivisionError), HostTerminal(Console(kernel), kernel.loop, pty.slave, pty.slave):
        raise ZeroDivisionError
    assert termios.tcgetattr(pty.slave) == before


def test_typing_and_printing(kernel: Any, pty: HostPty) -> None:
    console = Console(kernel)
    file = console.open_file(Node(Nodes(kernel.clock), 1, S_IFCHR | 0o600), O_RDWR)
    with HostTerminal(console, kernel.loop, pty.slave, pty.slave):
        os.write(pty.master, b"hi\r")
        wait_until(kernel, lambda: console.tty.line.readable())
        assert file.read(100) == b"hi\n"
        file.write(b"out\n")
        printed = b""
        while len(printed) < len(b"hi\r\nout\r\n"):
            printed += os.read(pty.master, 100)
        assert printed == b"hi\r\nout\r\n"
    file.write(b"nobody watches")


def test_window_change_reaches_the_guest(kernel: Any, pty: HostPty) -> None:
    console = Console(kernel)
    with HostTerminal(console, kernel.loop, pty.slave, pty.slave):
        pty.resize(50, 132)
        os.kill(os.getpid(), signal.SIGWINCH)
        wait_until(kernel, lambda: console.tty.window_size == WindowSize(50, 132))
    assert signal.getsignal(signal.SIGWINCH) in (signal.SIG_DFL, signal.SIG_IGN, None)


def test_host_going_away_hangs_up(kernel: Any, pty: HostPty) -> None:
    console = Console(kernel)
    file = console.open_file(Node(Nodes(kernel.clock), 1, S_IFCHR | 0o600), O_RDWR)
    with HostTerminal(console, kernel.loop, pty.slave, pty.slave):
        os.close(pty.master)
        wait_until(kernel, lambda: file.hung_up)
        assert file.read(10) == b""
        console.attach_output(HostTerminal(console, kernel.loop, None, pty.slave).write)


def test_write_to_a_host_that_is_gone_is_dropped(kernel: Any, pty: HostPty) -> None:
    console = Console(kernel)
    terminal = HostTerminal(console, kernel.loop, None, pty.slave)
    os.close(pty.master)
    terminal.write(b"lost")
    terminal.write(b"lost again")
    kernel.turn()
