"""User and system time are told apart by samples, and their sum is exact."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.proc.credentials import Usage
from jefeos.sched.systime import SystemTime
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int
from jefeos.testing.programs import SYS_EXIT, call, elf

NUMBER = 1000
CALLS = 200
CALL_NS = 1_000_000


@syscall("works")
def works(task: Any, argument: Int) -> int:
    end_ns = time.perf_counter_ns() + CALL_NS
    while time.perf_counter_ns() < end_ns:
        pass
    return 0


def loop(body: bytes, times: int) -> bytes:
    body += b"\xff\xcb"  # dec ebx
    return elf(b"\xbb" + struct.pack("<I", times) + body + b"\x75" + struct.pack("<b", -len(body) - 2) + call(SYS_EXIT))


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [(loop(call(NUMBER), CALLS), 0.25, 1), (loop(b"", 60_000_000), 0, 0.01)],
    ids=["in the kernel", "outside of it"],
)
def test_where_a_program_spends_its_time(together: Callable[..., Any], image: bytes, low: float, high: float) -> None:
    shares = []
    while not shares or not (low <= shares[-1] <= high or len(shares) == 5):  # the host may stall us on either side
        stage = together()
        kernel = stage.system.kernel
        kernel.personalities[0].table.add(works, NUMBER)
        kernel.executor.sample_every = kernel.executor._slices_to_sample = 2
        usage = stage.start(b"/bin/program", image=image).usage
        stage.finish()
        both = usage.user_ns + usage.system_ns
        assert both == usage.time_ns == kernel.executor.busy_ns
        assert kernel.executor.system_ns == usage.system_ns
        shares.append(usage.system_ns / both)
    assert low <= shares[-1] <= high, shares


class Bench:
    """An engine that only keeps its handler, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.handler: Any = None

    def replace_syscall_handler(self, syscall: Any) -> None:
        self.handler = syscall


def test_a_sample_is_half_in_calls() -> None:
    bench, usage = Bench(), Usage()

    def handler(*_: int) -> int:
        bench.now_ns += 10
        return 7

    times = SystemTime(bench, handler, lambda: bench.now_ns)  # type: ignore[arg-type]
    times.begin(bench.now_ns)
    for _ in range(5):
        bench.now_ns += 10
        assert bench.handler(39, 0, 0, 0, 0, 0, 0) == 7
    times.end(bench.now_ns, usage)
    assert bench.handler is handler
    assert (usage.sampled_ns, usage.sampled_system_ns, usage.system_share) == (100, 50, 0.5)


def test_a_slice_that_ends_inside_of_a_call_and_one_that_begins_there() -> None:
    bench, first, second = Bench(), Usage(), Usage()

    def handler(*_: int) -> int:
        bench.now_ns += 30
        times.end(bench.now_ns, first)
        times.begin(bench.now_ns)
        bench.now_ns += 1000  # whatever comes now is not the first one's, and is not yet in a call of the second
        return 7

    times = SystemTime(bench, handler, lambda: bench.now_ns)  # type: ignore[arg-type]
    times.begin(bench.now_ns)
    bench.now_ns += 10
    assert bench.handler(39, 0, 0, 0, 0, 0, 0) == 7
    assert (first.sampled_ns, first.sampled_system_ns) == (40, 30)
    times.end(bench.now_ns, second)
    assert (second.sampled_ns, second.sampled_system_ns) == (1000, 0)


def test_a_new_share_says_nothing_of_the_past() -> None:
    usage, parent = Usage(), Usage()
    usage.time_ns = 1000
    usage.sample(100, 50, 1 << 40)
    assert (usage.user_ns, usage.system_ns) == (1000, 0)
    usage.time_ns += 1000
    usage.sample(100, 0, 1 << 40)
    usage.time_ns += 1000
    assert (usage.user_ns, usage.system_ns) == (2250, 750)
    parent.sample(1, 1, 1 << 40)
    parent.time_ns = 10
    parent.add(usage)
    assert (parent.user_ns, parent.system_ns) == (2250, 760)
    parent.time_ns += 10
    assert (parent.user_ns, parent.system_ns) == (2250, 770)
    usage.expect_as(parent)
    assert usage.system_share == 1
