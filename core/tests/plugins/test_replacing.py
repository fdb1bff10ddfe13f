"""Plugins in a booted system: one replaces the scheduler by name, one adds a system call and hears announcements."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.errors import ConfigError
from jefeos.testing.programs import MOV_EDI, SYS_EXIT, call, elf

#: The test packages that must not load here: some are broken on purpose.
OTHERS = ["broken", "future", "misspelt", "failing", "twin"]

def exit_with_answer(addend: int) -> bytes:
    """``_exit(syscall(1000, addend))``."""
    answer = MOV_EDI + struct.pack("<i", addend) + call(1000)
    return elf(answer + b"\x89\xc7" + call(SYS_EXIT))  # mov edi, eax


@pytest.fixture
def booted(with_packages: Callable[..., Path], jefeos_boot: Callable[..., System]) -> Callable[..., System]:
    """Boot with the test packages installed, the broken ones left out."""

    def boot(**options: object) -> System:
        with_packages()
        return jefeos_boot(**{"without": OTHERS, **options})

    return boot


def test_a_plugin_adds_a_system_call(booted: Callable[..., System]) -> None:
    system = booted()
    system.write_file("/bin/answer", exit_with_answer(8), 0o755)
    assert system.run(["/bin/answer"]).status == 50


def test_without_that_plugin_the_number_is_unknown(booted: Callable[..., System]) -> None:
    system = booted(without=[*OTHERS, "answer"], stats=True)
    system.write_file("/bin/answer", exit_with_answer(8), 0o755)
    assert system.run(["/bin/answer"]).status == 256 - 38  # -ENOSYS, its low byte
    assert system.statistics()["unknown_calls"] == {"syscall_1000": 1}


def test_processes_are_announced_to_plugins(booted: Callable[..., System]) -> None:
    booted().shutdown()
    events = importlib.import_module("jefeos_test_syscall.plugin").events
    events.clear()
    system = booted()
    system.write_file("/bin/answer", exit_with_answer(0), 0o755)
    for _ in range(3):
        system.run(["/bin/answer"])
    assert (events["boot"], events["start"], events["exit"]) == (1, 3, 3)
    system.shutdown()
    assert events["shutdown"] == 1


def test_a_plugin_replaces_the_scheduler_by_name(booted: Callable[..., System]) -> None:
    system = booted(scheduler="lifo")
    scheduler = system.kernel.scheduler
    assert type(scheduler).__module__ == "jefeos_test_scheduler.plugin"
    system.write_file("/bin/answer", exit_with_answer(1), 0o755)
    assert system.run(["/bin/answer"]).status == 43
    assert scheduler.picks >= 1


@pytest.mark.parametrize("name", ["round-robin", "fair"])
def test_the_schedulers_of_core(booted: Callable[..., System], name: str) -> None:
    system = booted(scheduler=name)
    assert system.kernel.scheduler.name == name
    system.write_file("/bin/answer", exit_with_answer(2), 0o755)
    assert system.run(["/bin/answer"]).status == 44


def test_an_unknown_scheduler_is_one_clear_line(booted: Callable[..., System]) -> None:
    with pytest.raises(ConfigError, match="no plugin provides the scheduler 'lottery'"):
        booted(scheduler="lottery")


def test_a_broken_plugin_does_not_keep_the_system_from_booting(
    with_packages: Callable[..., Path], jefeos_boot: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    with_packages()
    system = jefeos_boot(without=["twin"])
    assert [health.info.name for health in system.kernel.plugins.health if not health.ok] == [
        "broken",
        "future",
        "misspelt",
        "failing",
    ]
    system.write_file("/bin/answer", exit_with_answer(3), 0o755)
    assert system.run(["/bin/answer"]).status == 45
    assert sum("plugin " in record.getMessage() for record in caplog.records) == 4
