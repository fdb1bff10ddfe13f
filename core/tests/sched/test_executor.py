"""The executor: programs share the processor, and what breaks in the kernel breaks one process only."""

from __future__ import annotations

import logging
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jefeos.api import System
from jefeos.errors import KernelError
from jefeos.sched.wait import OUTSIDE, WaitQueue
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int
from jefeos.testing.programs import MOV_EDI, SPINS, SYS_EXIT, call, elf, exits

NUMBER = 1000
SIGSYS = 31
EXIT_WITH_RESULT = elf(MOV_EDI + bytes(4) + call(NUMBER) + b"\x89\xc7" + call(SYS_EXIT))  # mov edi, eax


class Broken(RuntimeError):
    """What a handler of these tests raises."""


@syscall("explode")
def explode(task: Any, argument: Int) -> int:
    raise Broken


@syscall("explode_later")
async def explode_later(task: Any, argument: Int) -> int:
    await WaitQueue().wait(1_000_000)
    raise Broken


@syscall("explode_at_once")
async def explode_at_once(task: Any, argument: Int) -> int:
    raise Broken


@syscall("explode_outside")
async def explode_outside(task: Any, argument: Int) -> int:
    await OUTSIDE
    raise Broken


@syscall("nonsense")
def nonsense(task: Any, argument: Int) -> Any:
    return "text"


@syscall("nonsense_later")
async def nonsense_later(task: Any, argument: Int) -> Any:
    await WaitQueue().wait(1_000_000)
    return "text"


@syscall("waits_for_nothing")
async def waits_for_nothing(task: Any, argument: Int) -> int:
    class Stranger:
        def __await__(self) -> Iterator[Any]:
            yield "no token"

    await Stranger()
    return 0


@syscall("exhausts_the_stack")
def exhausts_the_stack(task: Any, argument: Int) -> int:
    return exhausts_the_stack(task, argument)


@syscall("even")
def even(task: Any, argument: Int) -> int:
    if argument % 2:
        raise KernelError(5)
    return argument


@syscall("even_later")
async def even_later(task: Any, argument: Int) -> int:
    await WaitQueue().wait(1_000_000)
    return even(task, argument)


@syscall("even_at_once")
async def even_at_once(task: Any, argument: Int) -> int:
    return even(task, argument)


BROKEN = [explode, explode_later, explode_at_once, explode_outside, nonsense, nonsense_later, waits_for_nothing]


@pytest.fixture
def quiet(jefeos_boot: Callable[..., System]) -> Iterator[System]:
    """A system in which bugs are expected."""
    system = jefeos_boot(stats=True)
    yield system
    system.kernel.bugs = 0


@pytest.mark.parametrize("handler", [*BROKEN, exhausts_the_stack], ids=lambda handler: handler.__name__)
def test_a_bug_kills_one_process_and_is_logged(
    quiet: System, handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    quiet.kernel.personalities[0].table.add(handler, NUMBER)
    quiet.write_file("/bin/broken", EXIT_WITH_RESULT, 0o755)
    quiet.write_file("/bin/fine", exits(5), 0o755)
    done = quiet.run(["/bin/broken"], timeout=100)
    assert (done.signal, done.status) == (SIGSYS, 128 + SIGSYS)
    assert quiet.kernel.bugs == 1
    assert quiet.statistics()["kernel_bugs"] == 1
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == 1
    assert "bug in the kernel" in records[0].getMessage()
    assert records[0].exc_info is not None
    assert quiet.run(["/bin/fine"], timeout=100).status == 5


def test_the_log_names_the_call(quiet: System, caplog: pytest.LogCaptureFixture) -> None:
    quiet.kernel.personalities[0].table.add(explode_later, NUMBER)
    quiet.write_file("/bin/broken", EXIT_WITH_RESULT, 0o755)
    quiet.run(["/bin/broken"], timeout=100)
    assert "explode_later" in caplog.records[-1].getMessage()


def test_a_bug_in_taking_a_process_apart_does_not_keep_its_parent_waiting(
    quiet: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet.write_file("/bin/fine", exits(5), 0o755)
    personality = type(quiet.kernel.personalities[0])
    original = personality.task_exit
    with monkeypatch.context() as patch:
        patch.setattr(personality, "task_exit", lambda self, task: 1 / 0)
        assert quiet.run(["/bin/fine"], timeout=100).status in (5, 128 + SIGSYS)
    assert personality.task_exit is original
    assert quiet.kernel.bugs >= 1
    assert list(quiet.kernel.processes) == [quiet.kernel.root_process]
    assert quiet.run(["/bin/fine"], timeout=100).status == 5


def test_a_file_that_cannot_be_closed_ends_nobody_else(quiet: System, monkeypatch: pytest.MonkeyPatch) -> None:
    from jefeos.hostfiles import StreamFile

    def release(self: Any) -> None:
        raise KernelError(5)

    quiet.write_file("/bin/fine", exits(5), 0o755)
    with monkeypatch.context() as patch:
        patch.setattr(StreamFile, "release", release)
        assert quiet.run(["/bin/fine"], timeout=100).status == 5
    assert quiet.kernel.bugs == 0
    assert list(quiet.kernel.processes) == [quiet.kernel.root_process]


@pytest.mark.parametrize("number", [999, 1023, 1024, 2**31 - 1])
def test_an_unknown_call_is_enosys_and_counted(jefeos_boot: Callable[..., System], number: int) -> None:
    system = jefeos_boot(stats=True)
    image = elf(call(number) + call(number) + b"\x89\xc7" + call(SYS_EXIT))
    system.write_file("/bin/unknown", image, 0o755)
    assert system.run(["/bin/unknown"]).status == 256 - 38
    statistics = system.statistics()
    assert statistics["unknown_calls"] == {f"syscall_{number}": 2}
    assert statistics["system_calls"] == {"exit": 1, f"syscall_{number}": 2}


def test_two_busy_programs_both_progress(together: Callable[..., Any], talks: Callable[..., bytes]) -> None:
    stage = together()
    stage.start(b"/bin/spins", image=SPINS)
    spinning = stage.processes.pop()
    for letter in (b"a", b"b"):
        stage.start(b"/bin/" + letter, image=talks(letter, 8, 4_000_000))
    output = stage.finish()
    assert sorted(output) == sorted(b"a" * 8 + b"b" * 8)
    assert max(output.rindex(b"a"), output.rindex(b"b")) > 8  # they took turns: neither ran to its end first
    assert b"b" in output[: output.rindex(b"a")]
    assert spinning.usage.involuntary_switches > 2
    stage.system.kernel.lifecycle.kill_process(spinning)


@pytest.mark.parametrize("scheduler", ["round-robin", "fair"])
def test_a_spinning_program_delays_a_sleeper_by_few_ticks(together: Callable[..., Any], scheduler: str) -> None:
    stage = together(scheduler=scheduler)
    stage.start(b"/bin/spins", image=SPINS)
    spinning = stage.processes.pop()
    slices: list[int] = []

    async def sleeper(proc: Any, argv: list[bytes]) -> int:
        for _ in range(25):
            before = spinning.usage.involuntary_switches
            await proc.sleep(0.005)
            slices.append(spinning.usage.involuntary_switches - before)
        return 0

    stage.applet("sleeper", sleeper)
    stage.finish()
    stage.system.kernel.lifecycle.kill_process(spinning)
    # Counted in the spinner's slices, not in time: a busy host stalls us as well. Two are the sleep itself.
    slices.sort()
    assert 1 <= slices[len(slices) // 2] <= 5, slices
    assert slices[-3] <= 8, slices


def test_nice_values_share_the_processor_by_weight(
    together: Callable[..., Any], talks: Callable[..., bytes]
) -> None:
    stage = together(scheduler="fair", virtual_time=True)
    polite = stage.start(b"/bin/a", image=talks(b"a", 100_000, 50_000), nice=10)
    plain = stage.start(b"/bin/b", image=talks(b"b", 1000, 50_000))
    assert stage.system.kernel.run_until_exit(plain, 100) == 0
    counts = [bytes(stage.output.data).count(letter) for letter in (b"a", b"b")]
    assert counts[1] == 1000
    assert counts[1] / counts[0] == pytest.approx(1.25**10, rel=0.2)
    stage.system.kernel.lifecycle.kill_process(polite)


def test_out_of_memory_kills_the_hog_only(
    jefeos_boot: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    system = jefeos_boot(ram="16M")
    bytes_wanted = 64 << 20
    map_all = (
        b"\x31\xff"  # xor edi, edi
        + b"\xbe" + struct.pack("<I", bytes_wanted)  # mov esi, length
        + b"\xba\x03\x00\x00\x00"  # mov edx, PROT_READ | PROT_WRITE
        + b"\x41\xba\x22\x40\x00\x00"  # mov r10d, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        + b"\x49\x83\xc8\xff"  # or r8, -1
        + b"\x45\x31\xc9"  # xor r9d, r9d
        + call(9)  # mmap
        + b"\xc6\x00\x01"  # again: mov byte [rax], 1
        + b"\x48\x05\x00\x10\x00\x00"  # add rax, 4096
        + b"\xeb\xf5"  # jmp again
    )  # fmt: skip
    system.write_file("/bin/hog", elf(map_all), 0o755)
    system.write_file("/bin/fine", exits(5), 0o755)
    done = system.run(["/bin/hog"], timeout=60)
    assert done.signal == signal.SIGKILL
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].startswith("out of memory: killed process")
    assert "(hog)" in lines[0]
    assert system.run(["/bin/fine"]).status == 5


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_the_hosts_interrupt_reaches_the_program_and_loses_nobody(together: Callable[..., Any]) -> None:
    """^C on the host is SIGINT for the program that is waited for; another task that was running goes on."""
    stage = together()
    other = stage.start(b"/bin/spins", image=SPINS)
    first = stage.start(b"/bin/spins")

    def interrupt() -> None:
        while not first.usage.time_ns:  # before it runs, nobody may have taken the signal over from Python
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert stage.system.kernel.run_until_exit(first, 100) == 128 + signal.SIGINT
    thread.join()
    assert not other.is_dead
    used_ns = other.usage.time_ns
    while other.usage.time_ns == used_ns:
        assert stage.system.kernel.run_until_exit(other, 0.1) is None
    assert len(stage.system.kernel.scheduler) == 1
    stage.system.kernel.lifecycle.kill_process(other)


def test_call_counts_and_switches(jefeos_boot: Callable[..., System]) -> None:
    plain, counting = jefeos_boot(), jefeos_boot(stats=True)
    for system in (plain, counting):
        system.write_file("/bin/fine", exits(0), 0o755)
        assert system.run(["/bin/fine"]).status == 0
    assert plain.statistics()["system_calls"] == {}
    statistics = counting.statistics()
    assert statistics["system_calls"] == {"exit": 1}
    assert (statistics["succeeded_calls"], statistics["failed_calls"]) == ({}, {})  # it never ended
    assert counting.statistics()["processes_created"] == 1


@pytest.mark.parametrize("handler", [even, even_later, even_at_once], ids=lambda handler: handler.__name__)
def test_calls_are_counted_by_how_they_end(jefeos_boot: Callable[..., System], handler: Any) -> None:
    system = jefeos_boot(stats=True)
    system.kernel.personalities[0].table.add(handler, NUMBER)
    calls = [MOV_EDI + struct.pack("<I", argument) + call(NUMBER) for argument in (1, 2, 4)]
    system.write_file("/bin/calls", elf(b"".join(calls) + call(SYS_EXIT)), 0o755)
    assert system.run(["/bin/calls"], timeout=100).status == 4
    name = handler.__name__
    statistics = system.statistics()
    assert statistics["system_calls"] == {name: 3, "exit": 1}
    assert (statistics["succeeded_calls"], statistics["failed_calls"]) == ({name: 2}, {name: 1})
