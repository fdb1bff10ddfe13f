"""The descriptors a command gets: those of the shell, changed by its redirections.

Nothing of the shell itself is moved: a `Streams` is a table from the command's numbers to descriptors of the shell,
which a child is started with (`Proc.spawn`) and a builtin looks its own up in. Files that redirections open live on
high descriptors of the shell and are closed once the command has them.
"""

from __future__ import annotations

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.vfs.flags import O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY

from .syntax import Redirection

# Descriptors of redirected files are kept up here, so that they do not get in the way of a script's own.
SHELL_DESCRIPTORS_START = 10

OPEN_FLAGS = {
    b"<": O_RDONLY,
    b">": O_WRONLY | O_CREAT | O_TRUNC,
    b">|": O_WRONLY | O_CREAT | O_TRUNC,
    b">>": O_WRONLY | O_CREAT | O_APPEND,
    b"<>": O_RDWR | O_CREAT,
}


@define
class Streams:
    """The descriptors a command is to have, by number, as descriptors of the shell; and which of them to close."""

    table: dict[int, int]
    opened: list[int] = field(factory=list)

    def close(self, proc: Proc) -> None:
        for descriptor in self.opened:
            proc.close(descriptor)
        self.opened.clear()

    async def redirect(self, proc: Proc, redirection: Redirection, target: bytes) -> None:
        """Apply one redirection. Errors: those of open, and EBADF."""
        table = self.table
        if redirection.operator in (b"<&", b">&"):
            if target == b"-":
                table.pop(redirection.descriptor, None)
            elif not target.isdigit() or int(target[:9]) not in table:
                raise KernelError(Errno.EBADF)
            else:
                table[redirection.descriptor] = table[int(target[:9])]
            return
        opened = high(proc, await proc.open(target, OPEN_FLAGS[redirection.operator]))
        self.opened.append(opened)
        table[redirection.descriptor] = opened


def inherited(proc: Proc) -> dict[int, int]:
    """The table of a command without redirections."""
    files = proc.task.files
    return {number: number for number in range(SHELL_DESCRIPTORS_START) if number in files}


def high(proc: Proc, descriptor: int) -> int:
    """Move a descriptor out of the range that scripts use."""
    moved = proc.dup(descriptor, SHELL_DESCRIPTORS_START)
    proc.close(descriptor)
    return moved


def high_pipe(proc: Proc) -> tuple[int, int]:
    """The reading and the writing end of a new pipe."""
    reading, writing = proc.pipe()
    return high(proc, reading), high(proc, writing)
