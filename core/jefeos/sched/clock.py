"""Time and chance: two of the doors through which a run can differ from another one.

Everything in the kernel that asks for the time or for randomness asks `kernel.clock` and `kernel.entropy`, so
that a run with ``--virtual-time --seed N`` repeats exactly, and a recorder or simulator has one place to stand.

    RealClock      the host's monotonic clock, and its wall clock plus an offset (settimeofday moves the offset)
    VirtualClock   starts at 0 on a fixed date; moves when the event loop has nothing to do but wait, and by one
                   nanosecond for each instruction that programs execute

All times are integers in nanoseconds.
"""

from __future__ import annotations

import random
import secrets
import time
from abc import ABC, abstractmethod
from typing import Final

VIRTUAL_EPOCH_NS: Final = 1_767_225_600 * 1_000_000_000
"""Wall-clock time at which virtual time starts: 2026-01-01 00:00:00 UTC."""


class Clock(ABC):
    """The kernel's clock."""

    def __init__(self) -> None:
        self.boot_ns = self.monotonic_ns()
        """Monotonic time at which the kernel was made."""
        self._realtime_offset_ns = 0

    @abstractmethod
    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC: never goes back, not related to the date."""

    @abstractmethod
    def hardware_ns(self) -> int:
        """The date of the machine's own clock, which no settimeofday moves."""

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME: nanoseconds since 1970-01-01 00:00:00 UTC."""
        return self.hardware_ns() + self._realtime_offset_ns

    def set_realtime_ns(self, now_ns: int) -> None:
        """settimeofday: moves this kernel's date, never the host's."""
        self._realtime_offset_ns = now_ns - self.hardware_ns()

    def uptime_ns(self) -> int:
        """Time since boot."""
        return self.monotonic_ns() - self.boot_ns


class RealClock(Clock):
    """The host's time."""

    monotonic_ns = staticmethod(time.monotonic_ns)  # HOT: twice in each turn of a task

    def hardware_ns(self) -> int:
        return time.time_ns()


class VirtualClock(Clock):
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self._now_ns = 0
        super().__init__()

    def monotonic_ns(self) -> int:
        return self._now_ns

    def hardware_ns(self) -> int:
        return VIRTUAL_EPOCH_NS + self._now_ns

    def advance(self, duration_ns: int) -> None:
        """Let time pass."""
        self._now_ns += max(duration_ns, 0)


class Entropy:
    """Random bytes: the host's without a seed, a reproducible stream with one."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._stream = random.Random(seed) if seed is not None else None

    def bytes(self, count: int) -> bytes:
        """``count`` random bytes. Without a seed they are fit for keys."""
        return self._stream.randbytes(count) if self._stream is not None else secrets.token_bytes(count)

    def below(self, limit: int) -> int:
        """A random integer from 0 up to but not including ``limit``."""
        return self._stream.randrange(limit) if self._stream is not None else secrets.randbelow(limit)
