"""Tasks change inside the system-call callback: each goes on with its own registers and its own result."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import Signal
from jefeos.sched.wait import OUTSIDE, WaitQueue
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int
from jefeos.testing.programs import SYS_EXIT, call, elf

NUMBER = 1000
CALLS = 200
SIGSYS = 31
SOON_NS = 5_000_000
#: exit(sum of the results of NUMBER(CALLS), …, NUMBER(1)), with the sum and the counter in registers all the time
SUMS = elf(
    b"\x45\x31\xe4\xbb" + struct.pack("<I", CALLS)  # xor r12d, r12d; mov ebx, CALLS
    + b"\x89\xdf" + call(NUMBER) + b"\x41\x01\xc4\xff\xcb\x75\xf0"  # mov edi, ebx; add r12d, eax; dec ebx; jnz -16
    + b"\x44\x89\xe7" + call(SYS_EXIT)  # mov edi, r12d
)  # fmt: skip
SUM = CALLS * (CALLS + 1) // 2 & 0xFF

queue = WaitQueue()


async def let_others_go_on() -> None:
    queue.wake_all()
    await queue.wait(SOON_NS)


@syscall("returns")
async def returns(task: Any, argument: Int) -> int:
    await let_others_go_on()
    return argument


@syscall("waits_twice")
async def waits_twice(task: Any, argument: Int) -> int:
    await let_others_go_on()
    await let_others_go_on()
    return argument


@syscall("goes_outside")
async def goes_outside(task: Any, argument: Int) -> int:
    await let_others_go_on()
    await OUTSIDE
    return argument


@syscall("fails")
async def fails(task: Any, argument: Int) -> int:
    await let_others_go_on()
    raise KernelError(Errno.EIO)


@syscall("is_killed")
async def is_killed(task: Any, argument: Int) -> int:
    """The process of that name does not survive its fifth call."""
    await let_others_go_on()
    if task.process.name == b"doomed" and argument == CALLS - 4:
        task.kernel.lifecycle.kill_process(task.process)
    return argument


@syscall("is_broken")
async def is_broken(task: Any, argument: Int) -> int:
    await let_others_go_on()
    if task.process.name == b"doomed" and argument == CALLS - 4:
        raise RuntimeError("a bug in a handler")
    return argument


def run_three(together: Callable[..., Any], handler: Any, **options: Any) -> tuple[Any, list[int], int]:
    """The system, the three statuses, and how often the engine was started."""
    stage = together(**options)
    kernel = stage.system.kernel
    runs = 0
    run = kernel.engine.run

    def count(*arguments: int) -> None:
        nonlocal runs
        runs += 1
        run(*arguments)

    kernel.engine.run = count
    kernel.personalities[0].table.add(handler, NUMBER)
    processes = [stage.start(b"/bin/" + name, image=SUMS) for name in (b"doomed", b"second", b"third")]
    stage.finish()
    kernel.engine.run = run
    return stage.system, [process.shell_status for process in processes], runs


@pytest.mark.parametrize("scheduler", ["round-robin", "fair"])
@pytest.mark.parametrize(
    ("handler", "status"),
    [(returns, SUM), (waits_twice, SUM), (goes_outside, SUM), (fails, -Errno.EIO * CALLS & 0xFF)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_task_keeps_its_registers_and_gets_its_results(
    together: Callable[..., Any], handler: Any, status: int, scheduler: str
) -> None:
    system, statuses, runs = run_three(together, handler, scheduler=scheduler)
    assert statuses == [status] * 3
    assert system.kernel.executor.switches >= CALLS
    if system.kernel.engine.switches_inside and handler is not goes_outside:
        # At each of the 600 calls if nobody could be switched to. Who goes on alone in the end, the others having been
        # quicker by a stall of the host, stops it at up to 200.
        assert runs < 2 * CALLS, "the engine was stopped for most of the waits"


def test_calls_that_are_counted_are_counted_once(together: Callable[..., Any]) -> None:
    system, statuses, _ = run_three(together, returns, stats=True)
    assert statuses == [SUM] * 3
    assert system.statistics()["system_calls"] == {"returns": 3 * CALLS, "exit": 3}
    assert system.statistics()["succeeded_calls"] == {"returns": 3 * CALLS}


@pytest.mark.parametrize(("handler", "signal"), [(is_killed, Signal.SIGKILL), (is_broken, SIGSYS)])
def test_the_death_of_one_leaves_the_others_alone(together: Callable[..., Any], handler: Any, signal: int) -> None:
    system, statuses, _ = run_three(together, handler)
    assert statuses == [128 + signal, SUM, SUM]
    system.kernel.bugs = 0


def test_processor_time_goes_to_who_had_it(together: Callable[..., Any]) -> None:
    """What a task used before it was switched away from inside the callback counts."""
    stage = together()
    kernel = stage.system.kernel
    kernel.personalities[0].table.add(returns, NUMBER)
    processes = [stage.start(b"/bin/sums", image=SUMS) for _ in range(3)]
    stage.finish()
    used_ns = [process.usage.time_ns for process in processes]
    assert all(used_ns) and sum(used_ns) == kernel.executor.busy_ns
    assert all(process.usage.voluntary_switches >= CALLS for process in processes)
