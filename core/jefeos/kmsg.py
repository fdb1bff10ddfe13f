"""/dev/kmsg and /proc/kmsg: the kernel's log as files.

* /dev/kmsg: each open file has a place of its own; a read gives exactly one record; EPIPE after records were lost,
  EINVAL if the record does not fit. Writes add a record, ``<PRIORITY>text``; the facility of programs is never
  the kernel's.
* /proc/kmsg: one stream that all its readers, and syslog(2)'s SYSLOG_ACTION_READ, share.

Source: Linux's Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.klog import DEFAULT_LEVEL, LEVEL_BITS, LEVEL_MASK, USER_FACILITY, KernelLog, LogRecord
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    POLL_READABLE,
    POLL_WRITABLE,
    SEEK_DATA,
    SEEK_END,
    SEEK_SET,
    make_device,
)
from jefeos.vfs.inode import Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.sched.wait import MaybeAwait, WaitQueue
    from jefeos.vfs.devices import DeviceRegistry
    from jefeos.vfs.path import Path

KMSG_DEVICE: Final = make_device(1, 11)
_PRIORITY_DIGITS: Final = 4


class LogDevice:
    """Opens the log's device. An object rather than a closure, so that the registry can be pickled."""

    def __init__(self, kernel: Kernel) -> None:
        self.messages: KernelLog = kernel.messages

    def register(self, devices: DeviceRegistry) -> None:
        """Registers /dev/kmsg under Linux's number."""
        devices.register(b"kmsg", KMSG_DEVICE, self.open, mode=0o644)

    def open(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """/dev/kmsg."""
        return LogFile(self.messages, inode, flags, context.path)


class LogFile(File):
    """An open /dev/kmsg."""

    def __init__(self, messages: KernelLog, inode: Inode, flags: int, path: Path | None) -> None:
        super().__init__(inode, flags, path)
        self.messages = messages
        self.next_number = messages.first_number

    def read(self, count: int) -> MaybeAwait[bytes]:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        record = self._take()
        if record is not None:
            return self._line(record, count)
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait(count)

    def _take(self) -> LogRecord | None:
        if self.next_number < self.messages.first_number:
            self.next_number = self.messages.first_number
            raise KernelError(Errno.EPIPE)
        return self.messages.get(self.next_number)

    async def _wait(self, count: int) -> bytes:
        while True:
            await self.messages.queue.wait()
            record = self._take()
            if record is not None:
                return self._line(record, count)

    def _line(self, record: LogRecord, count: int) -> bytes:
        line = record.device_line()
        if len(line) > count:
            raise KernelError(Errno.EINVAL)
        self.next_number += 1
        return line

    def write(self, data: bytes) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        priority = USER_FACILITY << LEVEL_BITS | DEFAULT_LEVEL
        text = data
        if data.startswith(b"<"):
            digits, closed, rest = data[1 : _PRIORITY_DIGITS + 2].partition(b">")
            if closed and digits.isdigit():
                given = int(digits)
                facility = given >> LEVEL_BITS or USER_FACILITY
                priority = facility << LEVEL_BITS | given & LEVEL_MASK
                text = rest + data[_PRIORITY_DIGITS + 2 :]
        self.messages.add(text, priority)
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        if offset:
            raise KernelError(Errno.ESPIPE)
        if whence == SEEK_SET:
            self.next_number = self.messages.first_number
        elif whence == SEEK_DATA:
            self.next_number = max(self.messages.cleared_at, self.messages.first_number)
        elif whence == SEEK_END:
            self.next_number = self.messages.next_number
        else:
            raise KernelError(Errno.EINVAL)
        return 0

    def poll(self) -> int:
        mask = POLL_WRITABLE if self.writable else 0
        if self.readable and self.next_number < self.messages.next_number:
            mask |= POLL_READABLE
        return mask

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.messages.queue,)


def take_stream(messages: KernelLog, count: int) -> bytes:
    """Whole lines from the shared stream, as many as fit in ``count`` bytes; b"" if there is none."""
    parts: list[bytes] = []
    room = count
    position = max(messages.syslog_position, messages.first_number)
    while (record := messages.get(position)) is not None:
        line = record.syslog_line()
        if len(line) > room:
            break
        parts.append(line)
        room -= len(line)
        position += 1
    messages.syslog_position = position
    return b"".join(parts)


async def read_stream(messages: KernelLog, count: int) -> bytes:
    """Wait for something in the shared stream. A reader whose room is too small for one line gets b""."""
    while True:
        data = take_stream(messages, count)
        if data or messages.syslog_position < messages.next_number:
            return data
        await messages.queue.wait()


class StreamFile(File):
    """An open /proc/kmsg."""

    def __init__(self, messages: KernelLog, inode: Inode, flags: int, path: Path | None) -> None:
        super().__init__(inode, flags, path)
        self.messages = messages

    def read(self, count: int) -> MaybeAwait[bytes]:
        data = take_stream(self.messages, count)
        if data or not count:
            return data
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return read_stream(self.messages, count)

    def poll(self) -> int:
        return POLL_READABLE if self.messages.syslog_position < self.messages.next_number else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.messages.queue,)
