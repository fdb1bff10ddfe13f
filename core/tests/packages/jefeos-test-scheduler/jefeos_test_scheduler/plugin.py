"""Replaces the scheduler by name: ``--scheduler lifo`` runs the newest runnable task first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl
from jefeos.sched.scheduler import Scheduler

if TYPE_CHECKING:
    from jefeos.proc.task import Task

JEFEOS_API = 1


class LifoScheduler(Scheduler):
    """Last come, first served."""

    name = "lifo"

    def __init__(self) -> None:
        self.picks = 0
        self._stack: list[Task] = []

    def add(self, task: Task) -> None:
        self._stack.append(task)

    def pick(self) -> Task | None:
        if not self._stack:
            return None
        self.picks += 1
        return self._stack.pop()

    def remove(self, task: Task) -> None:
        if task in self._stack:
            self._stack.remove(task)

    def __len__(self) -> int:
        return len(self._stack)


@hookimpl
def jefeos_scheduler(name: str | None) -> Scheduler | None:
    return LifoScheduler() if name == "lifo" else None
