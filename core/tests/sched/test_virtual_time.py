"""Virtual time: it passes by instructions and by jumps, and a run with a seed repeats exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.testing.programs import SPINS

LOOPS = 60_000


def test_a_long_sleep_takes_no_time(together: Callable[..., Any]) -> None:
    stage = together(virtual_time=True)
    clock = stage.system.kernel.clock

    async def sleeps(proc: Any, argv: list[bytes]) -> int:
        before = clock.monotonic_ns()
        await proc.sleep(1000)
        await proc.write(1, b"%d" % ((clock.monotonic_ns() - before) // 10**9))
        return 0

    stage.applet("sleeps", sleeps)
    started = time.monotonic()
    assert stage.finish(timeout_s=2000) == b"1000"
    assert time.monotonic() - started < 100


def test_a_time_out_counts_virtual_seconds(together: Callable[..., Any]) -> None:
    stage = together(virtual_time=True)
    spinning = stage.start(b"/bin/spins", image=SPINS)
    assert stage.system.kernel.run_until_exit(spinning, 0.02) is None
    assert 20_000_000 <= stage.system.kernel.clock.monotonic_ns() < 25_000_000
    stage.system.kernel.lifecycle.kill_process(spinning)


def interleaving(together: Callable[..., Any], talks: Callable[..., bytes], **options: Any) -> bytes:
    """Two busy programs, and one that wakes every millisecond."""
    stage = together(virtual_time=True, **options)

    async def clock(proc: Any, argv: list[bytes]) -> int:
        for _ in range(20):
            await proc.sleep(0.001)
            await proc.write(1, b".")
        return 0

    stage.applet("clock", clock)
    stage.start(b"/bin/a", image=talks(b"a", 120, LOOPS))
    stage.start(b"/bin/b", image=talks(b"b", 90, LOOPS * 4 // 3))
    output: bytes = stage.finish()
    assert (output.count(b"a"), output.count(b"b"), output.count(b".")) == (120, 90, 20)
    return output


@pytest.mark.parametrize("scheduler", ["round-robin", "fair"])
def test_busy_programs_interleave_the_same_way_each_run(
    together: Callable[..., Any], talks: Callable[..., bytes], scheduler: str
) -> None:
    output = interleaving(together, talks, scheduler=scheduler)
    assert b"ab" in output and b"ba" in output
    assert interleaving(together, talks, scheduler=scheduler) == output


def test_a_slower_host_changes_nothing(
    together: Callable[..., Any], talks: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = interleaving(together, talks)
    for name in ("perf_counter_ns", "monotonic_ns", "time_ns"):
        fast: Callable[[], int] = getattr(time, name)
        monkeypatch.setattr(time, name, lambda fast=fast: fast() * 1000)
    assert interleaving(together, talks) == output


def test_programs_that_only_talk_to_each_other_let_time_pass(together: Callable[..., Any]) -> None:
    """Applets execute no instructions, but a time-out still ends them."""
    stage = together(virtual_time=True)

    async def pingpong(proc: Any, argv: list[bytes]) -> int:
        here, there = proc.pipe()
        back, forth = proc.pipe()

        async def echo(child: Any, argv: list[bytes]) -> int:
            while True:
                await child.write(1, await child.read(0, 1))

        proc.spawn_applet(echo, [b"echo"], files={0: here, 1: forth})
        while True:
            await proc.write(there, b"x")
            await proc.read(back, 1)

    process = stage.applet("pingpong", pingpong)
    kernel = stage.system.kernel
    assert kernel.run_until_exit(process, 0.05) is None
    for each in kernel.processes.session(process.pid):
        kernel.lifecycle.kill_process(each)


def random_bytes(together: Callable[..., Any], seed: int | None) -> tuple[bytes, str]:
    stage = together(virtual_time=True, seed=seed)

    async def dice(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, await proc.read(await proc.open(b"/dev/urandom"), 16))
        return 0

    stage.applet("dice", dice)
    return stage.finish(), stage.system.kernel.boot_id


def test_randomness_follows_the_seed(together: Callable[..., Any]) -> None:
    first, again, other = (random_bytes(together, seed) for seed in (3, 3, 4))
    assert len(first[0]) == 16
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert random_bytes(together, None) == random_bytes(together, 0)  # virtual time alone repeats too
