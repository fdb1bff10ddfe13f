"""Deadlines of many owners in one heap. An owner has one entry; moving its deadline later costs nothing.

    timers.arm(owner, deadline_ns)    calls owner.expire(now_ns) then, at the latest; earlier calls are harmless
    timers.cancel(owner)              lets go of the owner at once

An owner keeps its true deadlines itself: it is armed for the earliest, and when that one moved, `expire` arms anew.
So a retransmission timer that each acknowledgment restarts touches the heap a few times a second, not for each
segment. Entries that were given up stay in the heap, empty, until they are a majority.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, Protocol

from jefeos_net_inet.tcp.sequence import NEVER

_FEW: Final = 64


class TimerOwner(Protocol):
    """Whoever has deadlines."""

    timer: list[Any] | None
    """The entry in the heap; belongs to `Timers`."""

    def expire(self, now_ns: int) -> None:
        """The deadline came. HOT."""


class Timers:
    """See the module's text. ``schedule(at_ns)`` asks for a call of `run` at that time."""

    def __init__(self, schedule: Callable[[int], None]) -> None:
        self._schedule = schedule
        self._heap: list[list[Any]] = []
        self._serial = 0
        self._empty = 0
        self._scheduled_ns = NEVER

    def __len__(self) -> int:
        return len(self._heap) - self._empty

    def arm(self, owner: TimerOwner, deadline_ns: int) -> None:
        """See that ``owner.expire`` is called at ``deadline_ns`` or before. HOT."""
        entry = owner.timer
        if entry is not None:
            if entry[0] <= deadline_ns:
                return
            self.cancel(owner)
        self._serial += 1
        owner.timer = entry = [deadline_ns, self._serial, owner]
        heappush(self._heap, entry)
        if deadline_ns < self._scheduled_ns:
            self._scheduled_ns = deadline_ns
            self._schedule(deadline_ns)

    def cancel(self, owner: TimerOwner) -> None:
        """Never mind."""
        entry, owner.timer = owner.timer, None
        if entry is None:
            return
        entry[2] = None
        self._empty += 1
        if self._empty > _FEW and self._empty * 2 > len(self._heap):
            self._heap = [one for one in self._heap if one[2] is not None]
            heapify(self._heap)
            self._empty = 0

    def run(self, now_ns: int) -> None:
        """Expire what is due, and ask to be called again."""
        self._scheduled_ns = -1  # owners that arm meanwhile need not ask
        while self._heap and (self._heap[0][0] <= now_ns or self._heap[0][2] is None):
            owner = heappop(self._heap)[2]
            if owner is None:
                self._empty -= 1
                continue
            owner.timer = None
            owner.expire(now_ns)
        self._scheduled_ns = NEVER
        if self._heap:
            self._scheduled_ns = self._heap[0][0]
            self._schedule(self._scheduled_ns)

    @property
    def next_ns(self) -> int | None:
        """The next time at which something may be due."""
        while self._heap and self._heap[0][2] is None:
            heappop(self._heap)
            self._empty -= 1
        return self._heap[0][0] if self._heap else None
