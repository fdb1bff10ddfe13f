"""Wait queues: driven by hand as the executor does it, and inside asyncio tasks of a kernel's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from jefeos.sched.clock import VirtualClock
from jefeos.sched.loop import KernelLoop
from jefeos.sched.wait import OUTSIDE, Interrupted, Park, Restart, WaitQueue, sleep_ns, wait_any


class Sleeper:
    """A waiter that only remembers being woken."""

    def __init__(self, name: str, log: list[str], *, asleep: bool = True) -> None:
        self.name, self.log, self.asleep = name, log, asleep

    def wake(self) -> bool:
        if self.asleep:
            self.log.append(self.name)
        return self.asleep


@pytest.fixture
def loop() -> Iterator[KernelLoop]:
    loop = KernelLoop(VirtualClock())
    yield loop
    loop.close()


def turn(loop: KernelLoop) -> None:
    """Let everything that is ready run."""
    for _ in range(4):
        loop.call_soon(loop.stop)
        loop.run_forever()


def first_token(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return coroutine.send(None)


# --- by hand ------------------------------------------------------------------------------------------------------


def test_awaiting_yields_a_token_and_gives_what_the_driver_sends() -> None:
    queue = WaitQueue()

    async def call() -> bool:
        return await queue.wait(7)

    coroutine = call()
    token = first_token(coroutine)
    assert isinstance(token, Park)
    assert (token.queues, token.timeout_ns, token.interruptible) == ((queue,), 7, True)
    assert not queue  # the driver puts the waiter on the queue, not the await
    with pytest.raises(StopIteration) as stop:
        coroutine.send(False)
    assert stop.value.value is False


def test_wait_any_and_sleep_and_outside_tokens() -> None:
    first, second = WaitQueue(), WaitQueue()

    async def call() -> None:
        await wait_any(iter([first, second]), 5)
        await sleep_ns(9, interruptible=False)
        await OUTSIDE

    coroutine = call()
    token = first_token(coroutine)
    assert (token.queues, token.timeout_ns) == ((first, second), 5)
    token = coroutine.send(True)
    assert (token.queues, token.timeout_ns, token.interruptible) == ((), 9, False)
    assert coroutine.send(False) is OUTSIDE
    coroutine.close()


def test_an_interruption_thrown_into_the_wait() -> None:
    async def call() -> str:
        try:
            await WaitQueue().wait()
        except Interrupted as interruption:
            return interruption.restart.name
        return "woken"

    coroutine = call()
    first_token(coroutine)
    with pytest.raises(StopIteration) as stop:
        coroutine.throw(Interrupted(Restart.NEVER))
    assert stop.value.value == "NEVER"


def test_wake_order_and_counts() -> None:
    log: list[str] = []
    queue = WaitQueue()
    assert (queue.wake_one(), queue.wake_all(), bool(queue)) == (0, 0, False)
    for name in "abcde":
        queue.add(Sleeper(name, log))
    assert len(queue) == 5
    assert queue.wake_one() == 1
    assert queue.wake(2) == 2
    assert log == ["a", "b", "c"]
    assert queue.wake_all() == 2
    assert log == ["a", "b", "c", "d", "e"]
    assert not queue


def test_a_waiter_that_is_up_already_does_not_use_up_a_wake_up() -> None:
    log: list[str] = []
    queue = WaitQueue()
    queue.add(Sleeper("timed out", log, asleep=False))
    queue.add(Sleeper("asleep", log))
    assert queue.wake_one() == 1
    assert log == ["asleep"]


def test_whoever_waits_again_while_woken_is_not_woken_twice() -> None:
    queue, log = WaitQueue(), []

    class Again:
        def wake(self) -> bool:
            log.append(1)
            queue.add(self)
            return True

    queue.add(Again())
    assert queue.wake_all() == 1
    assert (len(log), len(queue)) == (1, 1)


def test_move_keeps_the_order_and_wakes_nobody() -> None:
    log: list[str] = []
    source, target = WaitQueue(), WaitQueue()
    target.add(Sleeper("first", log))
    for name in "abc":
        source.add(Sleeper(name, log))
    assert source.move_to(target, 2) == 2
    assert (log, len(source), len(target)) == ([], 1, 3)
    target.wake_all()
    assert log == ["first", "a", "b"]
    assert source.move_to(target, 9) == 1


# --- inside asyncio tasks -----------------------------------------------------------------------------------------


def test_a_task_sleeps_until_woken(loop: KernelLoop) -> None:
    queue = WaitQueue()

    async def service() -> bool:
        return await queue.wait()

    task = loop.create_task(service())
    turn(loop)
    assert len(queue) == 1
    queue.wake_one()
    turn(loop)
    assert task.result() is True
    assert not queue


def test_a_time_out_gives_false_and_leaves_no_waiter(loop: KernelLoop) -> None:
    first, second = WaitQueue(), WaitQueue()

    async def service() -> bool:
        return await wait_any([first, second], 3_000_000_000)

    assert loop.run_until_complete(service()) is False
    assert loop.time() == pytest.approx(3)
    assert not first
    assert not second


def test_wait_any_leaves_the_other_queues(loop: KernelLoop) -> None:
    first, second = WaitQueue(), WaitQueue()

    async def service() -> bool:
        return await wait_any([first, second])

    task = loop.create_task(service())
    turn(loop)
    second.wake_all()
    turn(loop)
    assert task.result() is True
    assert not first


def test_cancelling_leaves_no_waiter_and_runs_finally(loop: KernelLoop) -> None:
    queue, log = WaitQueue(), []

    async def service() -> None:
        try:
            await queue.wait(10**12)
        finally:
            log.append("finally")

    task = loop.create_task(service())
    turn(loop)
    task.cancel()
    turn(loop)
    assert task.cancelled()
    assert log == ["finally"]
    assert not queue
    assert not [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


def test_a_wake_up_right_after_a_cancellation_goes_to_the_next(loop: KernelLoop) -> None:
    queue = WaitQueue()

    async def service() -> bool:
        return await queue.wait()

    first, second = loop.create_task(service()), loop.create_task(service())
    turn(loop)
    first.cancel()
    queue.wake_one()  # before the cancelled task had a chance to leave
    turn(loop)
    assert first.cancelled()
    assert second.done() and second.result() is True


def test_a_moved_task_leaves_the_queue_that_it_is_on(loop: KernelLoop) -> None:
    source, target = WaitQueue(), WaitQueue()

    async def service() -> bool:
        return await source.wait()

    tasks = [loop.create_task(service()) for _ in range(3)]
    turn(loop)
    source.move_to(target, 3)
    tasks[0].cancel()
    turn(loop)
    assert len(target) == 2
    assert target.wake_one() == 1
    turn(loop)
    assert [task.done() for task in tasks] == [True, True, False]
    tasks[2].cancel()
    turn(loop)


def test_kernel_coroutines_and_asyncio_mix(loop: KernelLoop) -> None:
    """One coroutine may await queues, futures and other tasks; errors arrive where they are awaited."""
    queue = WaitQueue()
    future: asyncio.Future[int] = loop.create_future()

    async def fails() -> None:
        await sleep_ns(5)
        raise OSError("broken")

    async def service() -> list[Any]:
        found: list[Any] = [await queue.wait(1), await future]
        await OUTSIDE
        try:
            await asyncio.wait_for(fails(), 1)
        except OSError as error:
            found.append(str(error))
        try:
            async with asyncio.timeout(2):
                await queue.wait()
        except TimeoutError:
            found.append("timeout")
        return found

    loop.call_later(1, future.set_result, 42)
    assert loop.run_until_complete(service()) == [False, 42, "broken", "timeout"]
    assert not queue


def test_a_task_that_never_started_can_be_cancelled(loop: KernelLoop) -> None:
    async def service() -> None:
        await WaitQueue().wait()

    task = loop.create_task(service())
    task.cancel()
    turn(loop)
    assert task.cancelled()
