"""Clocks, the loop that jumps through virtual time, and randomness with a seed."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from jefeos.sched.clock import VIRTUAL_EPOCH_NS, Clock, Entropy, RealClock, VirtualClock
from jefeos.sched.loop import KernelLoop
from jefeos.sched.wait import sleep_ns

MINUTE_S = 60
A_WHILE_NS = 60 * 10**9
"""A busy host may take as long between two lines."""


@pytest.fixture
def virtual() -> Iterator[tuple[VirtualClock, KernelLoop]]:
    clock = VirtualClock()
    loop = KernelLoop(clock)
    yield clock, loop
    loop.close()


def test_the_real_clock_is_the_hosts() -> None:
    clock = RealClock()
    before = time.monotonic_ns()
    assert before <= clock.monotonic_ns() <= time.monotonic_ns()
    assert abs(clock.realtime_ns() - time.time_ns()) < A_WHILE_NS
    assert 0 <= clock.uptime_ns() < A_WHILE_NS


@pytest.mark.parametrize("clock", [RealClock(), VirtualClock()])
def test_setting_the_date_leaves_monotonic_time_alone(clock: Clock) -> None:
    monotonic = clock.monotonic_ns()
    clock.set_realtime_ns(10**18)
    assert 0 <= clock.realtime_ns() - 10**18 < A_WHILE_NS
    assert 0 <= clock.monotonic_ns() - monotonic < A_WHILE_NS


def test_virtual_time_stands_still_until_told() -> None:
    clock = VirtualClock()
    assert (clock.monotonic_ns(), clock.realtime_ns()) == (0, VIRTUAL_EPOCH_NS)
    clock.advance(5)
    clock.advance(-3)
    assert (clock.monotonic_ns(), clock.realtime_ns(), clock.uptime_ns()) == (5, VIRTUAL_EPOCH_NS + 5, 5)


def test_an_hour_passes_at_once(virtual: tuple[VirtualClock, KernelLoop]) -> None:
    clock, loop = virtual
    order = []

    async def sleeper(seconds: int) -> None:
        await sleep_ns(seconds * 10**9)
        order.append(seconds)

    async def both() -> None:
        await asyncio.gather(sleeper(3600), sleeper(1), asyncio.sleep(MINUTE_S))

    started = time.monotonic()
    loop.run_until_complete(both())
    assert time.monotonic() - started < MINUTE_S
    assert order == [1, 3600]
    assert clock.monotonic_ns() == pytest.approx(3600 * 10**9, rel=1e-6)


def test_ready_host_input_comes_before_the_next_timer(virtual: tuple[VirtualClock, KernelLoop]) -> None:
    clock, loop = virtual
    near, far = socket.socketpair()
    heard = []
    with near, far:
        loop.add_reader(near, lambda: heard.append((near.recv(10), clock.monotonic_ns())))
        far.send(b"hello")
        loop.run_until_complete(asyncio.sleep(MINUTE_S))
        loop.remove_reader(near)
    assert heard == [(b"hello", 0)]


def test_without_a_timer_the_loop_sleeps_until_the_host_speaks(virtual: tuple[VirtualClock, KernelLoop]) -> None:
    clock, loop = virtual
    future: asyncio.Future[str] = loop.create_future()
    thread = threading.Timer(0.05, loop.call_soon_threadsafe, [future.set_result, "from a thread"])
    thread.start()
    assert loop.run_until_complete(future) == "from a thread"
    thread.join()
    assert clock.monotonic_ns() == 0


def test_timers_in_the_past_and_out_of_order(virtual: tuple[VirtualClock, KernelLoop]) -> None:
    _, loop = virtual
    order: list[str] = []
    loop.call_later_ns(2_000, order.append, "2 us")
    loop.call_later_ns(-5, order.append, "past")
    loop.call_later_ns(1_000, order.append, "1 us")
    loop.call_later_ns(500, order.append, "cancelled").cancel()
    loop.run_until_complete(asyncio.sleep(1))
    assert order == ["past", "1 us", "2 us"]


def test_a_seed_repeats_and_another_differs() -> None:
    first, same, other = Entropy(7), Entropy(7), Entropy(8)
    stream = [first.bytes(32), first.below(10**9), first.bytes(3)]
    assert stream == [same.bytes(32), same.below(10**9), same.bytes(3)]
    assert stream[0] != other.bytes(32)


def test_without_a_seed_nothing_repeats() -> None:
    assert Entropy().bytes(16) != Entropy().bytes(16)
    assert len(Entropy().bytes(0)) == 0
    assert {Entropy(seed).below(1) for seed in (None, 1)} == {0}
    assert all(0 <= Entropy().below(3) < 3 for _ in range(50))
