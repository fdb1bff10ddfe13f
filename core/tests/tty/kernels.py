"""A kernel with just the parts that terminals use: real process table and signals, no CPU."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

from jefeos.proc.process import Process, ProcessTable
from jefeos.proc.signals import SignalAction, Signals
from jefeos.proc.task import Task
from jefeos.sched.wait import Interrupted, bridge

CAUGHT = SignalAction(handler=0x1000)


class FakeExecutor:
    def __init__(self) -> None:
        self.current: Task | None = None

    def make_runnable(self, task: Task) -> None: ...

    def hold(self, task: Task) -> None: ...


class FakeClock:
    def realtime_ns(self) -> int:
        return 10**18


class FakeKernel:
    def __init__(self) -> None:
        self.processes = ProcessTable()
        self.signals = Signals()
        self.executor = FakeExecutor()
        self.clock = FakeClock()
        self.loop = asyncio.new_event_loop()

    def spawn(self, pid: int, *, pgid: int | None = None, sid: int = 1, parent: Process | None = None) -> Process:
        """A process with one thread; its group is its own unless given."""
        process: Any = Process(self, pid, parent)  # type: ignore[arg-type]
        process.pgid = pid if pgid is None else pgid
        process.sid = sid
        process.tasks.append(Task(self, pid, process, fs=None, files=None))  # type: ignore[arg-type]
        self.processes.processes[pid] = process
        return process  # type: ignore[no-any-return]

    def run_as(self, process: Process | None) -> None:
        """Who is on the CPU."""
        self.executor.current = process.tasks[0] if process is not None else None

    def finish(self, result: Any, timeout: float = 60) -> Any:
        """The value of a `MaybeAwait`, waiting for it if need be."""
        if not inspect.iscoroutine(result):
            return result

        async def run() -> Any:
            return await bridge(result, self.loop)

        return self.loop.run_until_complete(asyncio.wait_for(run(), timeout))

    def start(self, result: Any) -> asyncio.Task[Any]:
        """Begin waiting for a `MaybeAwait`; give it its first step."""
        assert inspect.iscoroutine(result), "expected to have to wait"

        async def run() -> Any:
            return await bridge(result, self.loop)

        task = self.loop.create_task(run())
        self.turn()
        return task

    def turn(self) -> None:
        """Let the loop do what is ready."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))


def context(process: Process) -> Any:
    """An open context for device openers."""
    return SimpleNamespace(vfs=None, task=process.tasks[0], path=None)


def pending(process: Process) -> set[int]:
    """Signals waiting for a process."""
    return {number for number in range(1, 65) if process.pending.mask >> (number - 1) & 1}


__all__ = ["CAUGHT", "FakeKernel", "Interrupted", "context", "pending"]
