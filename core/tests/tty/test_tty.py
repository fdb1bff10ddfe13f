"""Terminals: reading, writing and waiting, job control, sessions, hang-up; and pseudo terminals."""

from __future__ import annotations

from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import SIG_IGN, Signal, SignalAction
from jefeos.tty.console import Console
from jefeos.tty.files import TtyFile
from jefeos.tty.pty import Devpts, MasterFile
from jefeos.tty.termios import Flow, FlushQueue, LocalFlag, Termios, When, WindowSize
from jefeos.vfs.flags import O_NOCTTY, O_NONBLOCK, O_RDWR, POLLHUP, POLLIN, POLLOUT, S_IFCHR
from jefeos.vfs.inode import Filesystem, Inode
from tty_kernels import CAUGHT, Interrupted, context, pending

CBREAK = Termios(lflag=int(Termios().lflag) & ~LocalFlag.ICANON & ~LocalFlag.ECHO)


class Nodes(Filesystem):
    """A filesystem for one node."""

    @property
    def root(self) -> Inode:
        raise KernelError(Errno.ENOENT)


class Node(Inode):
    """/dev/console."""


class Screen:
    """A console with a session leader (pid 1, group 1) and what it printed."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.console = Console(kernel)
        self.tty = self.console.tty
        self.printed = bytearray()
        self.console.attach_output(self.printed.extend)
        self.leader = kernel.spawn(100, sid=100)
        self.tty.jobs.set_controlling(self.tty, self.leader)

    def open(self, flags: int = O_RDWR | O_NOCTTY) -> TtyFile:
        return self.console.open_file(Node(Nodes(self.kernel.clock), 1, S_IFCHR | 0o600), flags)


@pytest.fixture
def screen(kernel: Any) -> Screen:
    return Screen(kernel)


@pytest.fixture
def file(screen: Screen) -> TtyFile:
    return screen.open()


def errno_of(call: Any, *arguments: Any) -> int:
    with pytest.raises(KernelError) as caught:
        call(*arguments)
    return int(caught.value.errno)


# --- reading and writing ---------------------------------------------------------------------------------------


def test_a_read_waits_for_a_line(kernel: Any, screen: Screen, file: TtyFile) -> None:
    reading = kernel.start(file.read(100))
    screen.console.type(b"hel")
    kernel.turn()
    assert not reading.done()
    screen.console.type(b"lo\r")
    kernel.turn()
    assert reading.result() == b"hello\n"
    assert bytes(screen.printed) == b"hello\r\n"


def test_written_newlines_return(screen: Screen, file: TtyFile) -> None:
    assert file.write(b"a\nb") == 3
    assert bytes(screen.printed) == b"a\r\nb"


def test_nonblocking(screen: Screen) -> None:
    file = screen.open(O_RDWR | O_NONBLOCK)
    assert errno_of(file.read, 10) == Errno.EAGAIN
    assert not file.poll() & POLLIN
    screen.console.type(b"x\n")
    assert file.poll() & POLLIN
    assert file.read(10) == b"x\n"


def test_minimum_and_time(kernel: Any, screen: Screen, file: TtyFile) -> None:
    file.set_termios(CBREAK.with_chars(VMIN=3))
    reading = kernel.start(file.read(10))
    screen.console.type(b"ab")
    kernel.turn()
    assert not reading.done()
    assert not file.poll() & POLLIN
    screen.console.type(b"c")
    kernel.turn()
    assert reading.result() == b"abc"

    file.set_termios(CBREAK.with_chars(VMIN=0, VTIME=1))
    assert kernel.finish(file.read(10)) == b""  # the whole read is timed
    file.set_termios(CBREAK.with_chars(VMIN=5, VTIME=1))
    screen.console.type(b"ab")
    assert kernel.finish(file.read(10)) == b"ab"  # the time between bytes is
    file.set_termios(CBREAK.with_chars(VMIN=0, VTIME=0))
    assert file.read(10) == b""


def test_interrupted_read_loses_nothing(kernel: Any, screen: Screen, file: TtyFile) -> None:
    file.set_termios(CBREAK.with_chars(VMIN=5))
    waiting = file.read(10)
    assert not isinstance(waiting, bytes)
    waiting.send(None)
    screen.console.type(b"abc")
    with pytest.raises(Interrupted):
        waiting.throw(Interrupted())
    screen.console.type(b"de")
    assert file.read(10) == b"abcde"


def test_stopped_output_waits(kernel: Any, screen: Screen, file: TtyFile) -> None:
    screen.console.type(b"\x13")
    assert not file.poll() & POLLOUT
    writing = kernel.start(file.write(b"later"))
    assert bytes(screen.printed) == b""
    screen.console.type(b"\x11")
    kernel.turn()
    assert writing.result() == 5
    assert bytes(screen.printed) == b"later"
    file.flow(Flow.OUTPUT_OFF)
    writing = kernel.start(file.write(b"!"))
    file.flow(Flow.OUTPUT_ON)
    kernel.turn()
    assert writing.result() == 1


def test_mode_change_wakes_a_reader(kernel: Any, screen: Screen, file: TtyFile) -> None:
    reading = kernel.start(file.read(10))
    screen.console.type(b"abc")
    file.set_termios(CBREAK)
    kernel.turn()
    assert reading.result() == b"abc"


def test_flush_drops_unread_input(screen: Screen, file: TtyFile) -> None:
    screen.console.type(b"old\n")
    assert file.pending_input() == 4
    file.flush(FlushQueue.INPUT)
    assert file.pending_input() == 0
    screen.console.type(b"old\nold")
    file.set_termios(CBREAK, When.FLUSH)
    assert file.pending_input() == 0


def test_more_input_than_the_buffer_holds(screen: Screen, file: TtyFile) -> None:
    lines = b"".join(b"line %05d\n" % number for number in range(900))
    screen.console.type(lines)
    got = b""
    while len(got) < len(lines):
        data = file.read(4096)
        assert isinstance(data, bytes)
        got += data
    assert got == lines


# --- job control -----------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(kernel: Any, screen: Screen) -> tuple[Any, Any]:
    """A foreground and a background process of the session, children of the leader."""
    front = kernel.spawn(101, sid=100, parent=screen.leader)
    back = kernel.spawn(102, sid=100, parent=screen.leader)
    for process in (screen.leader, front, back):
        process.tty = screen.tty
        for signal in Signal:
            process.handlers.actions[signal] = CAUGHT
    kernel.run_as(screen.leader)
    for process in (screen.leader,):
        process.handlers.actions[Signal.SIGTTOU] = SignalAction(SIG_IGN)  # as shells do
    screen.open().set_foreground(101)
    return front, back


@pytest.mark.parametrize(
    ("typed", "signal"), [(b"\x03", Signal.SIGINT), (b"\x1c", Signal.SIGQUIT), (b"\x1a", Signal.SIGTSTP)]
)
def test_keys_signal_the_foreground_group(
    kernel: Any, screen: Screen, jobs: tuple[Any, Any], typed: bytes, signal: Signal
) -> None:
    front, back = jobs
    screen.console.type(b"lost" + typed)
    assert pending(front) == {signal}
    assert pending(back) == set()
    assert pending(screen.leader) == set()
    assert bytes(screen.printed) == b"^" + bytes((typed[0] ^ 0x40,))


def test_window_change(screen: Screen, file: TtyFile, jobs: tuple[Any, Any]) -> None:
    file.set_window_size(WindowSize(50, 132))
    assert pending(jobs[0]) == {Signal.SIGWINCH}
    assert file.get_window_size().columns == 132


def test_background_read(kernel: Any, file: TtyFile, jobs: tuple[Any, Any]) -> None:
    _, back = jobs
    kernel.run_as(back)
    with pytest.raises(Interrupted):
        file.read(10)
    assert pending(back) == {Signal.SIGTTIN}
    back.handlers.actions[Signal.SIGTTIN] = SignalAction(SIG_IGN)
    assert errno_of(file.read, 10) == Errno.EIO


def test_background_write_and_settings(kernel: Any, file: TtyFile, jobs: tuple[Any, Any]) -> None:
    _, back = jobs
    kernel.run_as(back)
    assert file.write(b"allowed") == 7
    with pytest.raises(Interrupted):
        file.set_termios(Termios())
    assert pending(back) == {Signal.SIGTTOU}
    kernel.run_as(jobs[0])
    file.set_termios(Termios(lflag=int(Termios().lflag) | LocalFlag.TOSTOP))
    kernel.run_as(back)
    with pytest.raises(Interrupted):
        file.write(b"held up")
    back.handlers.actions[Signal.SIGTTOU] = SignalAction(SIG_IGN)
    assert file.write(b"ignored") == 7


def test_background_orphan_gets_eio(kernel: Any, file: TtyFile, jobs: tuple[Any, Any]) -> None:
    _, back = jobs
    back.parent = None
    kernel.run_as(back)
    assert errno_of(file.read, 10) == Errno.EIO


def test_foreground_group_rules(kernel: Any, file: TtyFile, screen: Screen, jobs: tuple[Any, Any]) -> None:
    kernel.run_as(screen.leader)
    assert file.get_foreground() == 101
    assert file.get_session() == 100
    assert errno_of(file.set_foreground, -1) == Errno.EINVAL
    assert errno_of(file.set_foreground, 4711) == Errno.ESRCH
    kernel.spawn(300, sid=300)
    assert errno_of(file.set_foreground, 300) == Errno.EPERM
    kernel.run_as(kernel.spawn(400, sid=400))
    assert errno_of(file.get_foreground) == Errno.ENOTTY
    assert errno_of(file.set_foreground, 101) == Errno.ENOTTY


def test_controlling_terminal(kernel: Any, file: TtyFile, screen: Screen) -> None:
    other = kernel.spawn(500, sid=500)
    other.creds.euid = 1000
    kernel.run_as(other)
    assert errno_of(file.set_controlling) == Errno.EPERM  # another session has it
    kernel.run_as(screen.leader)
    file.set_controlling()  # already has it
    file.give_up_controlling()
    assert screen.leader.tty is None
    kernel.run_as(other)
    file.set_controlling()
    assert other.tty is screen.tty
    assert file.get_foreground() == 500


def test_giving_up_hangs_up_the_foreground(kernel: Any, file: TtyFile, screen: Screen, jobs: tuple[Any, Any]) -> None:
    front, back = jobs
    kernel.run_as(back)
    file.give_up_controlling()  # only this one
    assert back.tty is None
    assert front.tty is screen.tty
    kernel.run_as(screen.leader)
    file.give_up_controlling()
    assert front.tty is None
    assert pending(front) >= {Signal.SIGHUP}


def test_hang_up(kernel: Any, screen: Screen, file: TtyFile, jobs: tuple[Any, Any]) -> None:
    kernel.run_as(jobs[0])
    reading = kernel.start(file.read(10))
    screen.tty.hang_up()
    kernel.turn()
    assert reading.result() == b""
    assert file.read(10) == b""
    assert errno_of(file.write, b"x") == Errno.EIO
    assert errno_of(file.get_termios) == Errno.EIO
    assert file.poll() & POLLHUP
    assert Signal.SIGHUP in pending(screen.leader)
    assert Signal.SIGHUP in pending(jobs[0])
    again = screen.open()
    assert again.write(b"x") == 1


def test_exclusive(kernel: Any, screen: Screen, file: TtyFile) -> None:
    other = kernel.spawn(500, sid=500)
    other.creds.euid = 1000
    kernel.run_as(other)
    file.set_exclusive(True)
    assert errno_of(screen.open) == Errno.EBUSY
    file.set_exclusive(False)
    screen.open()


# --- pseudo terminals ------------------------------------------------------------------------------------------


class Pair:
    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.devpts = Devpts(kernel, kernel.clock)
        self.user = kernel.spawn(200, sid=200)
        kernel.run_as(self.user)
        self.master: MasterFile = self.devpts.open_ptmx(self.devpts.ptmx, O_RDWR, context(self.user))

    def open_slave(self, flags: int = O_RDWR) -> TtyFile:
        node = self.devpts.root.lookup(b"%d" % self.master.number)
        file = node.open(flags, context(self.user))
        assert isinstance(file, TtyFile)
        return file


@pytest.fixture
def pair(kernel: Any) -> Pair:
    return Pair(kernel)


def test_locked_until_unlocked(pair: Pair) -> None:
    assert pair.master.locked
    assert errno_of(pair.open_slave) == Errno.EIO
    pair.master.locked = False
    slave = pair.open_slave()
    assert pair.user.tty is slave.tty  # it leads a session and had none
    assert [entry.name for entry in pair.devpts.root.readdir()] == [b"ptmx", b"0"]


def test_both_ways(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    assert slave.write(b"$ ") == 2
    assert pair.master.read(100) == b"$ "
    reading = kernel.start(slave.read(100))
    assert pair.master.write(b"ls\r") == 3
    kernel.turn()
    assert reading.result() == b"ls\n"
    assert pair.master.read(100) == b"ls\r\n"
    assert pair.master.get_termios() == slave.get_termios()


def test_master_closed(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    reading = kernel.start(slave.read(100))
    pair.master.unref()
    kernel.turn()
    assert reading.result() == b""
    assert errno_of(slave.write, b"x") == Errno.EIO
    assert pair.user.killed_by == 0
    assert Signal.SIGHUP in pending(pair.user)
    assert errno_of(pair.devpts.root.lookup, b"0") == Errno.ENOENT


def test_slave_closed(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    slave.write(b"bye")
    slave.unref()
    assert pair.master.poll() & POLLHUP
    assert pair.master.read(100) == b"bye"
    assert errno_of(pair.master.read, 100) == Errno.EIO
    slave = pair.open_slave()
    reading = kernel.start(pair.master.read(100))
    slave.write(b"again")
    kernel.turn()
    assert reading.result() == b"again"


def test_master_hears_of_a_hang_up_when_the_slave_is_closed(pair: Pair) -> None:
    """As on Linux: script(1) holds the slave open while its session ends, and waits for the last output."""
    pair.master.locked = False
    slave = pair.open_slave()
    slave.write(b"last words")
    slave.tty.hang_up()
    assert pair.master.read(100) == b"last words"
    assert not pair.master.poll() & POLLHUP
    slave.unref()
    assert pair.master.poll() & POLLHUP
    pair.open_slave()
    assert not pair.master.poll() & POLLHUP


def test_full_queue_holds_the_writer_up(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    writing = kernel.start(slave.write(b"x" * 100_000))
    got = b""
    while len(got) < 100_000:
        data = pair.master.read(5000)
        assert isinstance(data, bytes)
        got += data
        kernel.turn()
    assert writing.result() == 100_000


def test_input_backpressure(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    slave.set_termios(Termios().raw())
    writing = kernel.start(pair.master.write(b"y" * 50_000))
    assert not pair.master.poll() & POLLOUT
    got = b""
    while len(got) < 50_000:
        data = slave.read(3000)
        assert isinstance(data, bytes)
        got += data
        kernel.turn()
    assert writing.result() == 50_000


def test_numbers_are_reused(pair: Pair) -> None:
    second = pair.devpts.open_ptmx(pair.devpts.ptmx, O_RDWR, context(pair.user))
    assert (pair.master.number, second.number) == (0, 1)
    pair.master.unref()
    third = pair.devpts.open_ptmx(pair.devpts.ptmx, O_RDWR, context(pair.user))
    assert third.number == 0


def test_pending_signal_flushes_the_queue_of_output(kernel: Any, pair: Pair) -> None:
    pair.master.locked = False
    slave = pair.open_slave()
    slave.write(b"x" * 8192)
    pair.master.write(b"\x03")
    assert pair.master.pending_input() == 4096 + 2
