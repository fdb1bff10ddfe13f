"""Schedulers: both keep the promises of their interface; the fair one shares by nice value."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from jefeos.sched.scheduler import FairScheduler, RoundRobinScheduler, Scheduler

SLICE_NS = 1_000_000


@define(eq=False)
class FakeProcess:
    nice: int = 0


@define(eq=False)
class FakeTask:
    tid: int
    process: FakeProcess
    dead: bool = False


def task(tid: int, nice: int = 0) -> Any:
    return FakeTask(tid, FakeProcess(nice))


def run(scheduler: Scheduler, turns: int, used_ns: int = SLICE_NS) -> dict[int, int]:
    """Let the queued tasks use up their slices; how many each got."""
    counts: dict[int, int] = {}
    for _ in range(turns):
        chosen = scheduler.pick()
        assert chosen is not None
        counts[chosen.tid] = counts.get(chosen.tid, 0) + 1
        scheduler.charge(chosen, used_ns)
        scheduler.add(chosen)
    return counts


class SchedulerMachine(RuleBasedStateMachine):
    """Any sequence of calls that the executor may make, against a set."""

    make: type[Scheduler]

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = self.make()
        self.tasks = [task(tid, nice) for tid, nice in enumerate((0, 5, -5, 19, -20, 0))]
        self.queued: set[int] = set()

    @rule(index=st.integers(0, 5))
    def add(self, index: int) -> None:
        if index not in self.queued:
            self.scheduler.add(self.tasks[index])
            self.queued.add(index)

    @rule(index=st.integers(0, 5))
    def remove(self, index: int) -> None:
        self.scheduler.remove(self.tasks[index])
        self.queued.discard(index)

    @rule()
    def pick(self) -> None:
        chosen = self.scheduler.pick()
        if not self.queued:
            assert chosen is None
            return
        assert chosen is not None and chosen.tid in self.queued
        self.queued.remove(chosen.tid)

    @precondition(lambda self: self.queued)
    @rule(used_ns=st.integers(0, 10**9))
    def turn(self, used_ns: int) -> None:
        chosen = self.scheduler.pick()
        assert chosen is not None and chosen.tid in self.queued
        self.scheduler.charge(chosen, used_ns)
        self.scheduler.add(chosen)

    @invariant()
    def length(self) -> None:
        assert len(self.scheduler) == len(self.queued)

    def teardown(self) -> None:
        drained = [self.scheduler.pick() for _ in range(len(self.queued))]
        assert {chosen.tid for chosen in drained if chosen} == self.queued
        assert self.scheduler.pick() is None


class RoundRobinMachine(SchedulerMachine):
    make = RoundRobinScheduler


class FairMachine(SchedulerMachine):
    make = FairScheduler


class TestRoundRobinModel(RoundRobinMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestFairModel(FairMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_round_robin_is_first_come_first_served() -> None:
    scheduler = RoundRobinScheduler()
    tasks = [task(tid) for tid in (3, 1, 2)]
    for each in tasks:
        scheduler.add(each)
    scheduler.remove(tasks[1])
    assert [scheduler.pick(), scheduler.pick(), scheduler.pick()] == [tasks[0], tasks[2], None]


def test_fair_gives_equal_shares_to_equals() -> None:
    scheduler = FairScheduler()
    for tid in range(4):
        scheduler.add(task(tid))
    assert set(run(scheduler, 400).values()) == {100}


@pytest.mark.parametrize(("nice", "ratio"), [(1, 1.25), (5, 3.05), (10, 9.3), (-5, 1 / 3.05)])
def test_fair_gives_time_by_nice_value(nice: int, ratio: float) -> None:
    scheduler = FairScheduler()
    scheduler.add(task(1))
    scheduler.add(task(2, nice))
    counts = run(scheduler, 3000)
    assert counts[1] / counts[2] == pytest.approx(ratio, rel=0.05)


def test_fair_counts_time_not_turns() -> None:
    scheduler = FairScheduler()
    short, long = task(1), task(2)
    scheduler.add(short)
    scheduler.add(long)
    used = {1: 0, 2: 0}
    for _ in range(1000):
        chosen = scheduler.pick()
        assert chosen is not None
        spent = SLICE_NS if chosen is long else SLICE_NS // 10
        used[chosen.tid] += spent
        scheduler.charge(chosen, spent)
        scheduler.add(chosen)
    assert used[1] == pytest.approx(used[2], rel=0.05)


def test_fair_lets_nobody_save_up_sleep_but_runs_a_woken_task_soon() -> None:
    scheduler = FairScheduler()
    sleeper, busy = task(1), task(2)
    scheduler.add(busy)
    run(scheduler, 1000)
    scheduler.add(sleeper)
    counts = run(scheduler, 20)
    assert 9 <= counts[1] <= 11
    assert scheduler.pick() is not None


def test_a_late_task_runs_before_the_busy_ones_again() -> None:
    scheduler = FairScheduler()
    for tid in range(2, 6):
        scheduler.add(task(tid))
    run(scheduler, 41)
    scheduler.add(task(1))
    assert 1 in run(scheduler, 5)


def test_fair_forgets_the_dead() -> None:
    """A later task with the same id is not charged for what the dead one used."""
    scheduler = FairScheduler()
    old, busy = task(1, nice=19), task(2)
    scheduler.add(old)
    scheduler.add(busy)
    run(scheduler, 10)
    old.dead = True
    scheduler.remove(old)
    scheduler.add(task(1))
    assert run(scheduler, 10)[1] >= 4
