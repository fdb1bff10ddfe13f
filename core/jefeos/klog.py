"""The kernel's log: a ring of records that programs read back, as `dmesg` does.

::

    kernel.log.info(...) --> RingHandler --> KernelLog (bounded) --> syslog(2), /dev/kmsg, /proc/kmsg
                        \\--> the handlers of whoever embeds the kernel (the command line prints warnings)
    write to /dev/kmsg -------^

Rules

* A record is one line of text with a priority (facility * 8 + level, as in syslog(3)), a number that counts up from 0
  for ever, and the time since boot. Line breaks in a message become spaces.
* The ring drops its oldest records beyond `LIMIT_BYTES` of text. A reader names the next number it wants, so nobody
  holds references into the ring, and one who was overtaken can tell.

Formats: Linux's Documentation/ABI/testing/dev-kmsg and syslog(2).
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from jefeos.sched.wait import WaitQueue

if TYPE_CHECKING:
    from jefeos.sched.clock import Clock

LIMIT_BYTES: Final = 128 << 10
LINE_LIMIT_BYTES: Final = 976
"""Linux's LOG_LINE_MAX: a longer message is cut."""
LEVEL_BITS: Final = 3
LEVEL_MASK: Final = 7
KERNEL_FACILITY: Final = 0
USER_FACILITY: Final = 1
DEFAULT_LEVEL: Final = 4
"""Priority of a message that names none (KERN_WARNING)."""

_LEVELS: Final = (
    (logging.CRITICAL, 0),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG_LEVEL: Final = 7


@frozen
class LogRecord:
    """One line of the log; ``time_us`` is since boot."""

    number: int
    priority: int
    time_us: int
    text: bytes

    def syslog_line(self) -> bytes:
        """As syslog(2) gives it: ``<6>[    0.000123] text``."""
        return b"<%d>[%5d.%06d] %s\n" % (self.priority, *divmod(self.time_us, 1_000_000), self.text)

    def device_line(self) -> bytes:
        """As one read of /dev/kmsg gives it: ``6,17,123,-;text``."""
        return b"%d,%d,%d,-;%s\n" % (self.priority, self.number, self.time_us, self.text)


@define(eq=False)
class KernelLog:
    """The ring; ``kernel.messages``."""

    clock: Clock
    records: deque[LogRecord] = field(factory=deque)
    queue: WaitQueue = field(factory=WaitQueue)
    """Woken at every new record."""
    next_number: int = 0
    cleared_at: int = 0
    """The first record that SYSLOG_ACTION_READ_ALL still shows."""
    syslog_position: int = 0
    """The next record for SYSLOG_ACTION_READ, which all its readers share."""
    _bytes: int = 0

    def add(self, text: bytes, priority: int = DEFAULT_LEVEL) -> None:
        """Append a record and wake the readers."""
        line = b" ".join(text.split(b"\n")).rstrip()[:LINE_LIMIT_BYTES]
        self.records.append(LogRecord(self.next_number, priority, self.clock.uptime_ns() // 1000, line))
        self.next_number += 1
        self._bytes += len(line)
        while self._bytes > LIMIT_BYTES:
            self._bytes -= len(self.records.popleft().text)
        self.queue.wake_all()

    @property
    def first_number(self) -> int:
        """The oldest record that is still there (or the next one, in an empty ring)."""
        return self.records[0].number if self.records else self.next_number

    def get(self, number: int) -> LogRecord | None:
        """A record by number; None if it was dropped or is still to come."""
        index = number - self.first_number
        return self.records[index] if 0 <= index < len(self.records) else None

    def since(self, number: int) -> list[LogRecord]:
        """The records from a number on."""
        skipped = max(0, number - self.first_number)
        return list(self.records)[skipped:]

    def make_logger(self, parent: logging.Logger) -> logging.Logger:
        """A logger for one kernel: into this ring, and to what ``parent`` does with it."""
        # Not by name: loggers with names live as long as the process, and every kernel has its own ring.
        logger = logging.Logger(parent.name, logging.DEBUG if parent.level == logging.DEBUG else logging.INFO)
        logger.parent = parent
        logger.addHandler(RingHandler(self))
        return logger


class RingHandler(logging.Handler):
    """Puts what the kernel logs into its ring; of an exception only its kind and message."""

    def __init__(self, ring: KernelLog) -> None:
        super().__init__()
        self.ring = ring

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += f" ({record.exc_info[0].__name__}: {record.exc_info[1]})"
        level = next((level for floor, level in _LEVELS if record.levelno >= floor), _DEBUG_LEVEL)
        self.ring.add(text.encode("utf-8", "replace"), KERNEL_FACILITY << LEVEL_BITS | level)
