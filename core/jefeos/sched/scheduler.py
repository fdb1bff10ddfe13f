"""Schedulers: which runnable task runs next.

The executor calls `add` when a task becomes runnable (woken, preempted, new), `pick` when the processor is free,
`remove` when a runnable task is held or killed, and `charge` after each turn with the time that it used. A task
is in the queue at most once, and not while it runs. Replace the scheduler with the hook ``jefeos_scheduler``.

Two come with core: `RoundRobinScheduler`, first come first served, and `FairScheduler`, which gives each task
processor time in proportion to the weight of its nice value.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jefeos.proc.task import Task

TICK_MS: Final = 8.0
"""Length of a time slice, and the period at which the engine's translations are renewed."""


class Scheduler(ABC):
    """A run queue. Every method is on the path of a task switch: keep it short."""

    name: str
    tick_ms: float = TICK_MS

    @abstractmethod
    def add(self, task: Task) -> None:
        """``task`` is runnable and waits for the processor."""

    @abstractmethod
    def pick(self) -> Task | None:
        """Take the next task out of the queue; None when it is empty."""

    @abstractmethod
    def remove(self, task: Task) -> None:
        """Take ``task`` out, if it is there. Called too when it has ended (``task.dead``): forget it then."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of queued tasks."""

    def charge(self, task: Task, used_ns: int) -> None:
        """``task`` has just run for ``used_ns`` nanoseconds."""


class RoundRobinScheduler(Scheduler):
    """First come, first served, one time slice each."""

    name = "round-robin"

    def __init__(self) -> None:
        self._queue: deque[Task] = deque()

    def add(self, task: Task) -> None:
        self._queue.append(task)

    def pick(self) -> Task | None:
        return self._queue.popleft() if self._queue else None

    def remove(self, task: Task) -> None:
        if task in self._queue:
            self._queue.remove(task)

    def __len__(self) -> int:
        return len(self._queue)


class FairScheduler(Scheduler):
    """The task with the least virtual run time runs; virtual time passes slower for greater weights.

    A nice level is worth a factor of 1.25, as on Linux (sched-nice-design.txt). A task that slept starts no
    earlier than the queue's own virtual time, so that it cannot save up.
    """

    name = "fair"

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Task]] = []
        self._queued: dict[int, int] = {}
        """Task id to the serial of its valid heap entry."""
        self._virtual_ns: dict[int, float] = {}
        self._now_ns = 0.0
        self._serial = count()

    def add(self, task: Task) -> None:
        virtual_ns = max(self._virtual_ns.get(task.tid, 0.0), self._now_ns)
        self._virtual_ns[task.tid] = virtual_ns
        serial = self._queued[task.tid] = next(self._serial)
        heapq.heappush(self._heap, (virtual_ns, serial, task))

    def pick(self) -> Task | None:
        while self._heap:
            virtual_ns, serial, task = heapq.heappop(self._heap)
            if self._queued.get(task.tid) == serial:
                del self._queued[task.tid]
                self._now_ns = max(self._now_ns, virtual_ns)
                return task
        return None

    def remove(self, task: Task) -> None:
        self._queued.pop(task.tid, None)
        if task.dead:
            self._virtual_ns.pop(task.tid, None)

    def __len__(self) -> int:
        return len(self._queued)

    def charge(self, task: Task, used_ns: int) -> None:
        weighted = used_ns * 1.25**task.process.nice
        self._virtual_ns[task.tid] = self._virtual_ns.get(task.tid, self._now_ns) + weighted
