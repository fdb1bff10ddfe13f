"""Pseudo terminals: pairs whose master is a program, and the filesystem that lists them.

::

    terminal emulator, sshd, script ...                             shell, editor ...
       MasterFile --write--> input --> Tty (line discipline) --read--> TtyFile on /dev/pts/N
       MasterFile <--read--- output queue <--write------ Tty <--write-- TtyFile

* Opening /dev/ptmx makes a pair and its node in devpts, owned by the opener; the slave cannot be opened until it
  is unlocked (TIOCSPTLCK, unlockpt).
* Closing the master hangs the slave up: its readers get end of file, its session SIGHUP. The node disappears.
* In packet mode (TIOCPKT, packet.py) a read of the master gives a byte of status before the data or alone.
* When the last file of the slave is closed, the master reads what is left and then EIO, until it is opened again.

Follows Linux's drivers/tty/pty.c and fs/devpts. Does not do: BSD ptys, several instances.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import Interrupted, MaybeAwait, WaitQueue
from jefeos.tty.files import TerminalFile, TtyFile
from jefeos.tty.packet import PacketStatus, combined
from jefeos.tty.tty import Tty
from jefeos.vfs.flags import (
    O_ACCMODE,
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLHUP,
    POLLPRI,
    S_IFCHR,
    S_IFDIR,
    FilesystemMagic,
    make_device,
)
from jefeos.vfs.inode import Clock, DirEntry, Filesystem, FilesystemStat, Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.file import File
    from jefeos.vfs.path import Path

PTMX_DEVICE = make_device(5, 2)
PTS_MAJOR = 136
PTY_LIMIT = 4096  # /proc/sys/kernel/pty/max
OUTPUT_BYTES = 8192
OUTPUT_KEPT_AT_FLUSH = 4096  # what Linux's master would already have received
_ROOT_INODE = 1
_PTMX_INODE = 2
_FIRST_INODE = 3  # of pts/0
_SLAVE_MODE = S_IFCHR | 0o620
_TTY_GID = 5


@define(eq=False)
class PtyDriver:
    """The device under a slave terminal: the queue towards the master."""

    output: bytearray = field(factory=bytearray)
    master_queue: WaitQueue = field(factory=WaitQueue)
    slave_open: bool = False
    slave_was_open: bool = False
    packet_mode: bool = False
    status: PacketStatus = PacketStatus.DATA
    """What the next packet says; stays DATA out of packet mode."""

    def write(self, data: bytes) -> None:
        self.output += data
        self.master_queue.wake_all()

    @property
    def output_room(self) -> int:
        return OUTPUT_BYTES - len(self.output)

    @property
    def output_pending(self) -> int:
        return 0  # what is queued counts as delivered: tcdrain on a pty returns at once, as on Linux

    def flush_output(self) -> None:
        del self.output[OUTPUT_KEPT_AT_FLUSH:]
        self.announce(PacketStatus.FLUSH_WRITE)

    def announce(self, event: PacketStatus) -> None:
        if self.packet_mode:
            self.status = combined(self.status, event)
            self.master_queue.wake_all()

    def input_taken(self) -> None:
        self.master_queue.wake_all()

    def opened(self) -> None:
        self.slave_open = self.slave_was_open = True

    def closed(self) -> None:
        self.slave_open = False
        self.master_queue.wake_all()


class MasterFile(TerminalFile):
    """The master's end."""

    is_master = True

    def __init__(self, devpts: Devpts, node: SlaveInode, inode: Inode, flags: int, path: Path | None) -> None:
        super().__init__(inode, flags, path)
        self.tty = node.tty
        self.node = node
        self._devpts = devpts
        self._driver = node.driver

    @property
    def number(self) -> int:
        """TIOCGPTN: the N of /dev/pts/N."""
        return self.node.number

    @property
    def locked(self) -> bool:
        """TIOCGPTLCK and TIOCSPTLCK: whether the slave cannot be opened."""
        return self.node.locked

    @locked.setter
    def locked(self, locked: bool) -> None:
        self.node.locked = locked

    def open_peer(self, flags: int) -> TtyFile:
        """TIOCGPTPEER: the slave, without going through a path, locked or not."""
        usable = flags & (O_ACCMODE | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        return TtyFile(self.tty, self.node, usable, self._devpts.path_of(self.node))

    def pending_input(self) -> int:
        return len(self._driver.output)

    @property
    def packet_mode(self) -> bool:
        """TIOCGPKT and TIOCPKT: whether reads give packets."""
        return self._driver.packet_mode

    @packet_mode.setter
    def packet_mode(self, on: bool) -> None:
        if on and not self._driver.packet_mode:
            self._driver.status = PacketStatus.DATA
        self._driver.packet_mode = on

    def read(self, count: int) -> MaybeAwait[bytes]:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        if self._ready or not count:
            return self._take(count)
        self._check_slave()
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._read_wait(count)

    async def _read_wait(self, count: int) -> bytes:
        while not self._ready:
            self._check_slave()
            await self._driver.master_queue.wait()
        return self._take(count)

    @property
    def _ready(self) -> bool:
        return bool(self._driver.output or self._packet_status)

    @property
    def _packet_status(self) -> int:
        return self._driver.status if self._driver.packet_mode else 0

    def _check_slave(self) -> None:
        """Nobody is left who could write: EIO. A slave that was never opened is waited for."""
        if self._driver.slave_was_open and not self._driver.slave_open:
            raise KernelError(Errno.EIO)

    def _take(self, count: int) -> bytes:
        driver = self._driver
        header = b""
        if driver.packet_mode and count:
            header, driver.status = bytes((driver.status,)), PacketStatus.DATA
            count = 0 if header[0] else count - 1
        data = bytes(driver.output[:count])
        del driver.output[:count]
        if data:
            self.tty.output_drained()
        return header + data

    def write(self, data: bytes) -> MaybeAwait[int]:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        written = self._write_some(data)
        if written == len(data):
            return written
        if self.nonblocking:
            if written:
                return written
            raise KernelError(Errno.EAGAIN)
        return self._write_wait(data, written)

    def _write_some(self, data: bytes) -> int:
        written = 0
        while written < len(data) and (room := self.tty.input_room) > 0:
            self.tty.input(data[written : written + room])
            written += min(room, len(data) - written)
        return written

    async def _write_wait(self, data: bytes, written: int) -> int:
        while written < len(data):
            try:
                await self._driver.master_queue.wait()
            except Interrupted:
                if written:
                    return written
                raise
            written += self._write_some(data[written:])
        return written

    def poll(self) -> int:
        driver = self._driver
        mask = POLL_READABLE if driver.output else 0
        if self._packet_status:
            mask |= POLL_READABLE | POLLPRI
        if self.tty.input_room > 0:
            mask |= POLL_WRITABLE
        if driver.slave_was_open and not driver.slave_open:
            mask |= POLLHUP
        return mask

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self._driver.master_queue,)

    def release(self) -> None:
        self._devpts.remove(self.node)
        self.tty.hang_up()
        super().release()

    @property
    def label(self) -> bytes:
        return b"/dev/ptmx"


class SlaveInode(Inode):
    """/dev/pts/N."""

    def __init__(self, fs: Devpts, number: int, uid: int, gid: int) -> None:
        device = make_device(PTS_MAJOR + (number >> 8), number & 0xFF)
        super().__init__(fs, number + _FIRST_INODE, _SLAVE_MODE, uid, gid, rdev=device)
        self.number = number
        self.driver = PtyDriver()
        self.tty = Tty(fs.kernel, b"pts/%d" % number, device, self.driver)
        self.locked = True

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        """EIO while the slave is locked or after the master was closed."""
        if self.locked or not self.nlink:
            raise KernelError(Errno.EIO)
        return TtyFile(self.tty, self, flags, context.path)


class PtmxInode(Inode):
    """/dev/pts/ptmx, which does what /dev/ptmx does."""

    fs: Devpts

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        return self.fs.open_ptmx(self, flags, context)


class DevptsRoot(Inode):
    """The directory of slaves."""

    fs: Devpts

    def lookup(self, name: bytes) -> Inode:
        if name == b"ptmx":
            return self.fs.ptmx
        if name.isdigit() and name == b"%d" % int(name) and int(name) in self.fs.slaves:
            return self.fs.slaves[int(name)]
        raise KernelError(Errno.ENOENT)

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        raise KernelError(Errno.EACCES)

    def readdir(self) -> Iterable[DirEntry]:
        yield DirEntry(b"ptmx", _PTMX_INODE, S_IFCHR)
        for number, node in sorted(self.fs.slaves.items()):
            yield DirEntry(b"%d" % number, node.ino, S_IFCHR)


class Devpts(Filesystem):
    """The filesystem at /dev/pts; one for each kernel."""

    name = "devpts"
    cacheable_dentries = False
    no_access_times = True

    def __init__(self, kernel: Kernel, clock: Clock) -> None:
        super().__init__(clock)
        self.kernel = kernel
        self.slaves: dict[int, SlaveInode] = {}
        self.ptmx = PtmxInode(self, _PTMX_INODE, S_IFCHR | 0o666, rdev=PTMX_DEVICE)
        self._root = DevptsRoot(self, _ROOT_INODE, S_IFDIR | 0o755, nlink=2)

    @property
    def root(self) -> Inode:
        return self._root

    def statfs(self) -> FilesystemStat:
        return FilesystemStat(type=FilesystemMagic.DEVPTS, fsid=self.device)

    def open_ptmx(self, inode: Inode, flags: int, context: OpenContext) -> MasterFile:
        """Open /dev/ptmx: a new pair. ENOSPC when there are too many. Also the opener of device 5:2."""
        number = next((n for n in range(PTY_LIMIT) if n not in self.slaves), None)
        if number is None:
            raise KernelError(Errno.ENOSPC)
        creds: Any = context.task.creds
        node = SlaveInode(self, number, creds.fsuid, _TTY_GID)
        self.slaves[number] = node
        return MasterFile(self, node, inode, flags, context.path)

    def remove(self, node: SlaveInode) -> None:
        """The master was closed: the node goes, files on it stay hung up."""
        node.nlink = 0
        self.slaves.pop(node.number, None)

    def path_of(self, node: SlaveInode) -> Path | None:
        """Where the slave is to be seen, for a file that was opened without its path; None if nowhere."""
        try:
            vfs = self.kernel.vfs
            return vfs.resolve(vfs.as_kernel(), b"/dev/pts/%d" % node.number)
        except KernelError:
            return None
