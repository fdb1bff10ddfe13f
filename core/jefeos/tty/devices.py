"""The terminal devices of a kernel: /dev/console, /dev/tty, /dev/tty0 to tty6 and /dev/ptmx, and the devpts filesystem.

tty1 is the console, since that is the virtual terminal which a machine shows after its boot; tty0 stands for the one in
front, which never changes. tty2 to tty6 are there for the logins that a distribution's inittab starts on them: nobody
sees or types anything there. The virtual terminals' own ioctls (VT_*, KD*) are not there.

`TerminalDevices` is made once at boot; `register` puts the nodes into devfs, and its ``devpts`` is mounted at
/dev/pts. An object rather than closures, so that the registry can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.tty.console import Console, ConsoleDriver
from jefeos.tty.files import CONSOLE_DEVICE, TtyFile
from jefeos.tty.pty import PTMX_DEVICE, Devpts
from jefeos.tty.tty import Tty
from jefeos.vfs.flags import O_NOCTTY, make_device

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.devices import DeviceRegistry
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import Clock, Inode, OpenContext

TTY_DEVICE = make_device(5, 0)
_TTY_GID = 5
_VIRTUAL_MAJOR = 4
_LAST_VIRTUAL = 6


class TerminalDevices:
    """Console, controlling-terminal device and ptys of one kernel."""

    def __init__(self, kernel: Kernel, clock: Clock) -> None:
        self.console = Console(kernel)
        self.devpts = Devpts(kernel, clock)
        self.virtual = {make_device(_VIRTUAL_MAJOR, number): self.console.tty for number in (0, 1)}
        for number in range(2, _LAST_VIRTUAL + 1):
            device = make_device(_VIRTUAL_MAJOR, number)
            self.virtual[device] = Tty(kernel, b"tty%d" % number, device, ConsoleDriver())

    def register(self, devices: DeviceRegistry) -> None:
        """Registers the devices under Linux's numbers (Documentation/admin-guide/devices.txt)."""
        devices.register(b"console", CONSOLE_DEVICE, self.open_console, mode=0o600)
        devices.register(b"tty", TTY_DEVICE, self.open_tty, gid=_TTY_GID)
        devices.register(b"ptmx", PTMX_DEVICE, self.devpts.open_ptmx, gid=_TTY_GID)
        for number, device in enumerate(sorted(self.virtual)):
            devices.register(b"tty%d" % number, device, self.open_virtual, mode=0o620, gid=_TTY_GID)

    def open_console(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """The system console. Opening it never makes it a controlling terminal (as Linux)."""
        return self.console.open_file(inode, flags | O_NOCTTY, context.path)

    def open_virtual(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """A virtual terminal, tty0 to tty6."""
        return TtyFile(self.virtual[inode.rdev], inode, flags, context.path)

    def open_tty(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """The caller's controlling terminal. ENXIO without one."""
        tty = context.task.process.tty
        if tty is None:
            raise KernelError(Errno.ENXIO)
        return TtyFile(tty, inode, flags | O_NOCTTY, context.path)
