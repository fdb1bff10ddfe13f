"""ioctl(2): requests that every file knows, terminal requests, pipes, and the rest to the file itself.

Each request is a line in a table. Terminal requests are for a `TerminalFile`, whose methods take and give values;
this module moves structures to and from user memory. Whatever nobody knows is ENOTTY.
Numbers: asm-generic/ioctls.h. asm-generic/ioctl.h says how the newer ones carry direction and size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.structs import Struct
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, UInt, ULong
from jefeos.tty.files import TerminalFile
from jefeos.tty.pty import MasterFile
from jefeos.tty.termios import Flow, FlushQueue, Termios, When
from jefeos.vfs.file import File, RegularFile
from jefeos.vfs.flags import O_ASYNC, O_CLOEXEC, O_NONBLOCK, O_PATH, S_IFBLK, S_IFMT
from jefeos.vfs.pipe import PipeFile
from jefeos.vfs.rtc import RtcFile

from jefeos_abi_linux.rtc import rtc_control
from jefeos_abi_linux.sockets import Socket
from jefeos_abi_linux.structs import (
    LinuxTermio,
    LinuxTermios,
    LinuxTermios2,
    LinuxWinsize,
    termios2_struct,
    termios_struct,
    termios_value,
    window_size,
    winsize_bytes,
)

TCGETS: Final = 0x5401
TCSETS: Final = 0x5402
TCSETSW: Final = 0x5403
TCSETSF: Final = 0x5404
TCGETA: Final = 0x5405
TCSETA: Final = 0x5406
TCSETAW: Final = 0x5407
TCSETAF: Final = 0x5408
TCSBRK: Final = 0x5409
TCXONC: Final = 0x540A
TCFLSH: Final = 0x540B
TIOCEXCL: Final = 0x540C
TIOCNXCL: Final = 0x540D
TIOCSCTTY: Final = 0x540E
TIOCGPGRP: Final = 0x540F
TIOCSPGRP: Final = 0x5410
TIOCOUTQ: Final = 0x5411
TIOCSTI: Final = 0x5412
TIOCGWINSZ: Final = 0x5413
TIOCSWINSZ: Final = 0x5414
TIOCGSOFTCAR: Final = 0x5419
FIONREAD: Final = 0x541B
FIONBIO: Final = 0x5421
TIOCNOTTY: Final = 0x5422
TIOCSETD: Final = 0x5423
TIOCGETD: Final = 0x5424
TCSBRKP: Final = 0x5425
TIOCGSID: Final = 0x5429
TCGETS2: Final = 0x802C542A
TCSETS2: Final = 0x402C542B
TCSETSW2: Final = 0x402C542C
TCSETSF2: Final = 0x402C542D
TIOCPKT: Final = 0x5420
TIOCGPKT: Final = 0x80045438
TIOCGPTN: Final = 0x80045430
TIOCSPTLCK: Final = 0x40045431
TIOCGPTLCK: Final = 0x80045439
TIOCGPTPEER: Final = 0x5441
TIOCVHANGUP: Final = 0x5437
TIOCGEXCL: Final = 0x80045440
FIONCLEX: Final = 0x5450
FIOCLEX: Final = 0x5451
FIOASYNC: Final = 0x5452
FIOQSIZE: Final = 0x5460
FIGETBSZ: Final = 2

SOCKET_REQUESTS: Final = 0x89
"""The first byte of SIOC* requests."""

_INT_BYTES: Final = 4


@syscall("ioctl")
def ioctl(task: Task, fd: Fd, request: UInt, argument: ULong) -> MaybeAwait[int]:
    """ioctl(2)."""
    file = task.files.get(fd)
    if file.flags & O_PATH:
        raise KernelError(Errno.EBADF)
    common = _COMMON.get(request)
    if common is not None:
        return common(task, fd, file, argument)
    if isinstance(file, TerminalFile):
        action = _TERMINAL.get(request)
        if action is not None:
            return action(task, file, argument)
    elif request == FIONREAD:
        return _readable(task, file, argument)
    elif isinstance(file, Socket) and (request >> 8 == SOCKET_REQUESTS or request == TIOCOUTQ):
        from jefeos_abi_linux.net_requests import socket_request  # few programs ask

        return socket_request(task, file, request, argument)
    elif isinstance(file, RtcFile):
        return rtc_control(task, file, request, argument)
    elif file.inode.mode & S_IFMT == S_IFBLK:
        from jefeos_abi_linux.block_requests import BLOCK_REQUESTS  # few systems have disks

        if request in BLOCK_REQUESTS:
            BLOCK_REQUESTS[request](task, file, argument)  # type: ignore[arg-type]
            return 0
    return file.ioctl(request, argument)


def _int_at(task: Task, address: int) -> int:
    return int.from_bytes(task.mm.read(address, _INT_BYTES), "little", signed=True)


def _give_int(task: Task, address: int, value: int) -> int:
    task.mm.write_u32(address, value)
    return 0


# --- every file -----------------------------------------------------------------------------------------------


def _close_on_exec(task: Task, fd: int, file: File, argument: int) -> int:
    task.files.set_cloexec(fd, True)
    return 0


def _keep_on_exec(task: Task, fd: int, file: File, argument: int) -> int:
    task.files.set_cloexec(fd, False)
    return 0


def _nonblocking(task: Task, fd: int, file: File, argument: int) -> int:
    return _switch_flag(file, O_NONBLOCK, _int_at(task, argument))


def _asynchronous(task: Task, fd: int, file: File, argument: int) -> int:
    return _switch_flag(file, O_ASYNC, _int_at(task, argument))


def _switch_flag(file: File, flag: int, on: int) -> int:
    file.set_flags(file.flags | flag if on else file.flags & ~flag)
    return 0


def _allocated(task: Task, fd: int, file: File, argument: int) -> int:
    if not file.inode.is_regular and not file.inode.is_directory and not file.inode.is_symlink:
        raise KernelError(Errno.ENOTTY)
    task.mm.write_u64(argument, file.stat().blocks * 512)  # what it takes up, not its length
    return 0


def _block_size(task: Task, fd: int, file: File, argument: int) -> int:
    return _give_int(task, argument, file.stat().block_size)


_COMMON: Final[dict[int, Callable[[Task, int, File, int], int]]] = {
    FIOCLEX: _close_on_exec,
    FIONCLEX: _keep_on_exec,
    FIONBIO: _nonblocking,
    FIOASYNC: _asynchronous,
    FIOQSIZE: _allocated,
    FIGETBSZ: _block_size,
}


def _readable(task: Task, file: File, argument: int) -> int:
    """FIONREAD of what is no terminal: the rest of a regular file, the contents of a pipe."""
    if isinstance(file, PipeFile):
        return _give_int(task, argument, file.available)
    if isinstance(file, RegularFile):
        return _give_int(task, argument, file.stat().size - file.position)
    available = getattr(file, "available", None)
    if not isinstance(available, int):
        raise KernelError(Errno.ENOTTY)
    return _give_int(task, argument, available)


# --- terminals: settings --------------------------------------------------------------------------------------


def _get(task: Task, file: TerminalFile, argument: int, convert: Callable[[Termios], Struct]) -> int:
    task.mm.write(argument, convert(file.get_termios()).pack())
    return 0


def _termio_struct(termios: Termios) -> LinuxTermio:
    full = termios_struct(termios)
    low = 0xFFFF
    return LinuxTermio(
        c_iflag=full.c_iflag & low,
        c_oflag=full.c_oflag & low,
        c_cflag=full.c_cflag & low,
        c_lflag=full.c_lflag & low,
        c_line=full.c_line,
        c_cc=full.c_cc[:8],
    )


def _set(
    task: Task, file: TerminalFile, argument: int, kind: type[LinuxTermios] | type[LinuxTermios2], when: When
) -> MaybeAwait[int]:
    data = kind.parse(task.mm.read(argument, kind.size))
    return _done(file.set_termios(termios_value(data, file.get_termios()), when))


def _set_termio(task: Task, file: TerminalFile, argument: int, when: When) -> MaybeAwait[int]:
    """The low halves of the flags and the first eight characters change, the others stay."""
    data = LinuxTermio.parse(task.mm.read(argument, LinuxTermio.size))
    full = termios_struct(file.get_termios())
    for name in ("c_iflag", "c_oflag", "c_cflag", "c_lflag"):
        setattr(full, name, getattr(full, name) & ~0xFFFF | getattr(data, name))
    full.c_line = data.c_line
    full.c_cc = data.c_cc + full.c_cc[8:]
    return _done(file.set_termios(termios_value(full, file.get_termios()), when))


def _done(pending: MaybeAwait[None]) -> MaybeAwait[int]:
    """0, once a call that gives nothing has ended."""
    return 0 if pending is None else _done_later(pending)


async def _done_later(pending: Any) -> int:
    await pending
    return 0


def _set_size(task: Task, file: TerminalFile, argument: int) -> int:
    file.set_window_size(window_size(task.mm.read(argument, LinuxWinsize.size)))
    return 0


def _get_size(task: Task, file: TerminalFile, argument: int) -> int:
    task.mm.write(argument, winsize_bytes(file.get_window_size()))
    return 0


# --- terminals: queues and line -------------------------------------------------------------------------------


def _drain(task: Task, file: TerminalFile, argument: int) -> MaybeAwait[int]:
    return _done(file.drain())


def _flow(task: Task, file: TerminalFile, argument: int) -> int:
    if argument > max(Flow):
        raise KernelError(Errno.EINVAL)
    file.flow(Flow(argument))
    return 0


def _flush(task: Task, file: TerminalFile, argument: int) -> int:
    if argument > max(FlushQueue):
        raise KernelError(Errno.EINVAL)
    file.flush(FlushQueue(argument))
    return 0


def _insert(task: Task, file: TerminalFile, argument: int) -> int:
    """TIOCSTI: as if typed. As since Linux 6.2 by default, only for the privileged user."""
    if not task.creds.privileged:
        raise KernelError(Errno.EIO)
    file.tty.input(task.mm.read(argument, 1))
    return 0


def _set_discipline(task: Task, file: TerminalFile, argument: int) -> int:
    if _int_at(task, argument) != 0:  # N_TTY is all there is
        raise KernelError(Errno.EINVAL)
    return 0


def _exclusive(task: Task, file: TerminalFile, argument: int) -> int:
    file.set_exclusive(True)
    return 0


def _not_exclusive(task: Task, file: TerminalFile, argument: int) -> int:
    file.set_exclusive(False)
    return 0


# --- terminals: job control -----------------------------------------------------------------------------------


def _set_controlling(task: Task, file: TerminalFile, argument: int) -> int:
    steal = argument == 1 and task.creds.privileged
    if file.is_master:  # means its slave
        file.tty.jobs.set_controlling(file.tty, task.process, steal=steal)
    else:
        file.set_controlling(steal=steal)
    return 0


def _give_up(task: Task, file: TerminalFile, argument: int) -> int:
    file.give_up_controlling()
    return 0


def _set_foreground(task: Task, file: TerminalFile, argument: int) -> int:
    file.set_foreground(_int_at(task, argument))
    return 0


def _hang_up(task: Task, file: TerminalFile, argument: int) -> int:
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    file.tty.hang_up()
    return 0


# --- pty masters ----------------------------------------------------------------------------------------------


def _master(file: TerminalFile) -> MasterFile:
    if not isinstance(file, MasterFile):
        raise KernelError(Errno.ENOTTY)
    return file


def _lock_slave(task: Task, file: TerminalFile, argument: int) -> int:
    _master(file).locked = bool(_int_at(task, argument))
    return 0


def _set_packet_mode(task: Task, file: TerminalFile, argument: int) -> int:
    _master(file).packet_mode = bool(_int_at(task, argument))
    return 0


def _open_peer(task: Task, file: TerminalFile, argument: int) -> int:
    peer = _master(file).open_peer(argument & 0xFFFF_FFFF & ~O_CLOEXEC)
    try:
        return task.files.install(peer, cloexec=bool(argument & O_CLOEXEC))
    except KernelError:
        peer.unref()
        raise


_CLOCAL: Final = 0x800
_TerminalAction = Callable[[Task, TerminalFile, int], MaybeAwait[int]]
_TERMINAL: Final[dict[int, _TerminalAction]] = {
    TCGETS: lambda task, file, argument: _get(task, file, argument, termios_struct),
    TCGETS2: lambda task, file, argument: _get(task, file, argument, termios2_struct),
    TCGETA: lambda task, file, argument: _get(task, file, argument, _termio_struct),
    TCSETS: lambda task, file, argument: _set(task, file, argument, LinuxTermios, When.NOW),
    TCSETSW: lambda task, file, argument: _set(task, file, argument, LinuxTermios, When.DRAIN),
    TCSETSF: lambda task, file, argument: _set(task, file, argument, LinuxTermios, When.FLUSH),
    TCSETS2: lambda task, file, argument: _set(task, file, argument, LinuxTermios2, When.NOW),
    TCSETSW2: lambda task, file, argument: _set(task, file, argument, LinuxTermios2, When.DRAIN),
    TCSETSF2: lambda task, file, argument: _set(task, file, argument, LinuxTermios2, When.FLUSH),
    TCSETA: lambda task, file, argument: _set_termio(task, file, argument, When.NOW),
    TCSETAW: lambda task, file, argument: _set_termio(task, file, argument, When.DRAIN),
    TCSETAF: lambda task, file, argument: _set_termio(task, file, argument, When.FLUSH),
    TCSBRK: _drain,
    TCSBRKP: _drain,
    TCXONC: _flow,
    TCFLSH: _flush,
    TIOCEXCL: _exclusive,
    TIOCNXCL: _not_exclusive,
    TIOCGEXCL: lambda task, file, argument: _give_int(task, argument, int(file.tty.exclusive)),
    TIOCSCTTY: _set_controlling,
    TIOCNOTTY: _give_up,
    TIOCGPGRP: lambda task, file, argument: _give_int(task, argument, file.get_foreground()),
    TIOCSPGRP: _set_foreground,
    TIOCGSID: lambda task, file, argument: _give_int(task, argument, file.get_session()),
    TIOCOUTQ: lambda task, file, argument: _give_int(task, argument, file.pending_output()),
    FIONREAD: lambda task, file, argument: _give_int(task, argument, file.pending_input()),
    TIOCSTI: _insert,
    TIOCGWINSZ: _get_size,
    TIOCSWINSZ: _set_size,
    TIOCGETD: lambda task, file, argument: _give_int(task, argument, 0),
    TIOCSETD: _set_discipline,
    TIOCGSOFTCAR: lambda task, file, argument: _give_int(
        task, argument, int(bool(file.get_termios().cflag & _CLOCAL))
    ),
    TIOCVHANGUP: _hang_up,
    TIOCGPTN: lambda task, file, argument: _give_int(task, argument, _master(file).number),
    TIOCSPTLCK: _lock_slave,
    TIOCGPTLCK: lambda task, file, argument: _give_int(task, argument, int(_master(file).locked)),
    TIOCPKT: _set_packet_mode,
    TIOCGPKT: lambda task, file, argument: _give_int(task, argument, int(_master(file).packet_mode)),
    TIOCGPTPEER: _open_peer,
}
