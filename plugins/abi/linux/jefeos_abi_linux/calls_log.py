"""syslog(2): programs read the kernel's log (klog.py in core keeps it).

READ is a stream shared by all its readers (klogd); READ_ALL gives the end of what came since the last CLEAR (dmesg).
The console log level is remembered nowhere: what the kernel logs goes to whoever embeds it, not to the console.
"""

from __future__ import annotations

from collections.abc import Coroutine
from enum import IntEnum
from typing import Any

from jefeos.errors import Errno, KernelError
from jefeos.klog import LIMIT_BYTES
from jefeos.kmsg import read_stream, take_stream
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, UserPtr

LEVELS = range(1, 9)


class LogAction(IntEnum):
    """The first argument of syslog(2)."""

    CLOSE = 0
    OPEN = 1
    READ = 2
    READ_ALL = 3
    READ_CLEAR = 4
    CLEAR = 5
    CONSOLE_OFF = 6
    CONSOLE_ON = 7
    CONSOLE_LEVEL = 8
    SIZE_UNREAD = 9
    SIZE_BUFFER = 10


@syscall("syslog")
def syslog(task: Task, action: Int, buffer: UserPtr, length: Int) -> int | Coroutine[Any, Any, int]:
    """syslog(2)."""
    try:
        what = LogAction(action)
    except ValueError:
        raise KernelError(Errno.EINVAL) from None
    if what not in (LogAction.READ_ALL, LogAction.SIZE_BUFFER) and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    messages = task.kernel.messages
    if what in (LogAction.READ, LogAction.READ_ALL, LogAction.READ_CLEAR):
        if not buffer or length < 0:
            raise KernelError(Errno.EINVAL)
        if not length:
            return 0
        if what is LogAction.READ:
            return _read(task, buffer, length)
        text = _last_lines(task, length)
        task.mm.write(buffer, text)
        if what is LogAction.READ_CLEAR:
            messages.cleared_at = messages.next_number
        return len(text)
    if what is LogAction.CLEAR:
        messages.cleared_at = messages.next_number
    elif what is LogAction.CONSOLE_LEVEL and length not in LEVELS:
        raise KernelError(Errno.EINVAL)
    elif what is LogAction.SIZE_UNREAD:
        return sum(len(record.syslog_line()) for record in messages.since(messages.syslog_position))
    elif what is LogAction.SIZE_BUFFER:
        return LIMIT_BYTES
    return 0


def _read(task: Task, buffer: int, length: int) -> int | Coroutine[Any, Any, int]:
    text = take_stream(task.kernel.messages, length)
    if not text:
        return _read_later(task, buffer, length)
    task.mm.write(buffer, text)
    return len(text)


async def _read_later(task: Task, buffer: int, length: int) -> int:
    text = await read_stream(task.kernel.messages, length)
    task.mm.write(buffer, text)
    return len(text)


def _last_lines(task: Task, length: int) -> bytes:
    """As many of the last lines as fit, in order."""
    messages = task.kernel.messages
    parts: list[bytes] = []
    room = length
    for record in reversed(messages.since(messages.cleared_at)):
        line = record.syslog_line()
        if len(line) > room:
            break
        parts.append(line)
        room -= len(line)
    return b"".join(reversed(parts))
