"""A kernel with processes and signals but no processor, and a system whose programs are coroutines."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field
from jefeos.api import Completed, System
from jefeos.proc.process import Process, ProcessTable
from jefeos.proc.signals import Signals
from jefeos.proc.task import Task, TaskState


@define(eq=False)
class FakeExecutor:
    """Knows who runs and remembers who was made to."""

    current: Task | None = None
    woken: list[Task] = field(factory=list)

    def make_runnable(self, task: Task) -> None:
        task.state = TaskState.RUNNABLE
        self.woken.append(task)

    def hold(self, task: Task) -> None:
        task.state = TaskState.HELD


class FakeKernel(SimpleNamespace):
    """What processes and signals ask of a kernel."""

    def __init__(self) -> None:
        super().__init__(processes=ProcessTable(), signals=Signals(), executor=FakeExecutor())

    def spawn(self, pid: int, *, parent: Process | None = None, pgid: int = 0, sid: int = 1, threads: int = 1) -> Any:
        kernel: Any = self
        process = Process(kernel, pid, parent)
        process.pgid, process.sid = pgid or pid, sid
        if parent is not None:
            parent.children.append(process)
        nothing: Any = None
        for number in range(threads):
            task = Task(kernel, pid + number * 100, process, nothing, nothing)
            task.state = TaskState.PARKED
            process.tasks.append(task)
            self.processes.tasks[task.tid] = task
        self.processes.processes[pid] = process
        return process


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def run_applet(jefeos_boot: Callable[..., System]) -> Callable[..., Completed]:
    """``run_applet(coroutine_function, **boot_options)``: run it as a program; its output and status."""

    def run(body: Callable[..., Any], *, system: System | None = None, **options: Any) -> Completed:
        booted = system or jefeos_boot(**options)
        booted.kernel.applets["test"] = body
        booted.write_file("/bin/test", b"#!jefeos-applet test\n", 0o755)
        return booted.run(["/bin/test"], timeout=100)

    return run
