"""Open terminals: what `read`, `write`, `poll` and the terminal ioctls of a descriptor do.

`TerminalFile` is what the ABI layer looks for when a program issues a terminal ioctl; its methods are the ioctls
with values instead of user memory, and make the checks that come before (hang-up: EIO; background: SIGTTOU). Both
ends of a pty are terminals to these calls: most act on the slave's settings from either end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import Signal
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.tty.termios import Flow, FlushQueue, Termios, When, WindowSize
from jefeos.tty.tty import Tty
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_NOCTTY, make_device

if TYPE_CHECKING:
    from jefeos.proc.task import Task
    from jefeos.vfs.inode import Inode
    from jefeos.vfs.path import Path


CONSOLE_DEVICE = make_device(5, 1)


class TerminalFile(File):
    """An open terminal. ``tty`` is the terminal itself, on the master of a pty its slave."""

    tty: Tty
    is_master = False
    hung_up = False

    def _check(self) -> None:
        if self.hung_up:
            raise KernelError(Errno.EIO)

    def _check_change(self) -> None:
        self._check()
        if not self.is_master:
            self.tty.jobs.check_background(self.tty, Signal.SIGTTOU)

    def _caller(self) -> Task:
        task = self.tty.kernel.executor.current
        if task is None:
            raise KernelError(Errno.ENOTTY)
        return task

    # -- settings: TCGETS*, TCSETS*, TIOC[GS]WINSZ --------------------------------------------------

    def get_termios(self) -> Termios:
        """tcgetattr."""
        self._check()
        return self.tty.termios

    def set_termios(self, termios: Termios, when: When = When.NOW) -> MaybeAwait[None]:
        """tcsetattr."""
        self._check_change()
        return self.tty.set_termios(termios, when)

    def get_window_size(self) -> WindowSize:
        """TIOCGWINSZ."""
        self._check()
        return self.tty.window_size

    def set_window_size(self, size: WindowSize) -> None:
        """TIOCSWINSZ; a change is announced with SIGWINCH."""
        self._check()
        self.tty.resize(size)

    # -- queues: FIONREAD, TIOCOUTQ, TCFLSH, TCXONC, TCSBRK -----------------------------------------

    def pending_input(self) -> int:
        """FIONREAD: bytes that a read would give."""
        self._check()
        return self.tty.line.readable_bytes()

    def pending_output(self) -> int:
        """TIOCOUTQ: bytes the device has not taken."""
        self._check()
        return self.tty.driver.output_pending

    def flush(self, which: FlushQueue) -> None:
        """tcflush."""
        self._check_change()
        self.tty.flush(which)

    def flow(self, action: Flow) -> None:
        """tcflow."""
        self._check_change()
        self.tty.flow(action)

    def drain(self) -> MaybeAwait[None]:
        """tcdrain, tcsendbreak."""
        self._check_change()
        return self.tty.drain()

    # -- job control: TIOC[GS]PGRP, TIOCGSID, TIOCSCTTY, TIOCNOTTY, TIOCEXCL ------------------------

    def get_foreground(self) -> int:
        """tcgetpgrp; 0 if there is no foreground group."""
        self._check()
        return self.tty.jobs.get_foreground(
            self.tty, self.tty.kernel.executor.current, through_master=self.is_master
        )

    def set_foreground(self, pgid: int) -> None:
        """tcsetpgrp."""
        self._check()
        self.tty.jobs.set_foreground(self.tty, self._caller(), pgid)

    def get_session(self) -> int:
        """tcgetsid."""
        self._check()
        return self.tty.jobs.get_session(
            self.tty, self.tty.kernel.executor.current, through_master=self.is_master
        )

    def set_controlling(self, *, steal: bool = False) -> None:
        """TIOCSCTTY: make it the controlling terminal of the caller's session. `steal` is the argument 1."""
        self._check()
        if self.is_master:
            raise KernelError(Errno.EINVAL)
        self.tty.jobs.set_controlling(self.tty, self._caller().process, steal=steal)

    def give_up_controlling(self) -> None:
        """TIOCNOTTY."""
        self._check()
        self.tty.jobs.give_up(self.tty, self._caller().process)

    def set_exclusive(self, exclusive: bool) -> None:
        """TIOCEXCL, TIOCNXCL."""
        self._check()
        self.tty.exclusive = exclusive


class TtyFile(TerminalFile):
    """An open terminal, not the master of a pty. ``is_console``: opened as /dev/console, whatever that stands for."""

    is_console: bool

    def __init__(self, tty: Tty, inode: Inode, flags: int, path: Path | None = None) -> None:
        self.tty = tty
        self.is_console = inode.rdev == CONSOLE_DEVICE
        tty.attach(self)  # may refuse: before anything counts this file
        super().__init__(inode, flags, path)
        task = tty.kernel.executor.current
        if task is not None and not flags & O_NOCTTY and self.readable:
            tty.jobs.offer(tty, task.process)

    def read(self, count: int) -> MaybeAwait[bytes]:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        return self.tty.read(self, count)

    def write(self, data: bytes) -> MaybeAwait[int]:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        return self.tty.write(self, data)

    def poll(self) -> int:
        return self.tty.poll(self)

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.tty.read_queue, self.tty.write_queue)

    def release(self) -> None:
        self.tty.detach(self)
        super().release()

    @property
    def label(self) -> bytes:
        return b"/dev/" + self.tty.name
