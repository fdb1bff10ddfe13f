"""The glue between the stack and an event loop: the time, and callbacks later. Nothing else in the package waits.

Protocols ask `Timers` for both, so that any clock and any loop will do: the kernel's, or a test's in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jefeos.sched.clock import Clock
    from jefeos.sched.loop import KernelLoop


class Timer(Protocol):
    """A callback that will come."""

    def cancel(self) -> None:
        """It will not."""


class Timers(Protocol):
    """The time in nanoseconds, and callbacks at a time."""

    now_ns: Callable[[], int]
    """The monotonic clock."""

    def later(self, delay_ns: int, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """Call once, ``delay_ns`` from now."""

    def soon(self, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """Call once the caller has returned to the event loop."""


class LoopTimers:
    """The kernel's loop and clock."""

    def __init__(self, loop: KernelLoop, clock: Clock) -> None:
        self.now_ns: Callable[[], int] = clock.monotonic_ns
        self._loop = loop

    def later(self, delay_ns: int, callback: Callable[..., Any], *arguments: Any) -> Timer:
        return self._loop.call_later_ns(delay_ns, callback, *arguments)

    def soon(self, callback: Callable[..., Any], *arguments: Any) -> Timer:
        return self._loop.call_soon(callback, *arguments)
