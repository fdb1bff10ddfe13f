"""Devices of a booted system: what is asked for is there, and costs nothing where nothing is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.bus.system import MAXIMUM_DMA_BYTES, RamFile
from jefeos.errors import ConfigError


def test_without_devices_there_is_no_machine_and_no_memory_is_set_aside(jefeos_boot: Callable[..., System]) -> None:
    kernel = jefeos_boot(ram="64M").kernel
    assert kernel.devices is None and kernel.ram_file is None
    assert kernel.memory.frames.limit == (64 << 20) >> 12


def test_a_machine_has_the_top_of_memory_for_dma(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(ram="64M", machine="simulated")
    devices = system.kernel.devices
    assert devices is not None
    heap = devices.machine.dma
    assert (heap.base + heap.size, heap.size) == (64 << 20, min((64 << 20) // 8, MAXIMUM_DMA_BYTES))
    assert system.kernel.memory.frames.limit == heap.base >> 12
    assert system.run(["/bin/echo", "hello"]).stdout == b"hello\n"


def test_an_unknown_machine_is_one_clear_line(jefeos_boot: Callable[..., System]) -> None:
    with pytest.raises(ConfigError, match="no plugin provides the machine 'toaster'"):
        jefeos_boot(machine="toaster")


def test_a_disk_that_nobody_models_is_one_clear_line(tmp_path: Path, jefeos_boot: Callable[..., System]) -> None:
    with pytest.raises(ConfigError, match="disk controller 'ata'"):
        jefeos_boot(disk=[str(tmp_path / "none.img")], plugins=["linux", "jsh"])


def test_the_ram_file_is_private_and_goes_away() -> None:
    file = RamFile(1 << 20)
    status = os.stat(file.path)
    assert (status.st_size, status.st_mode & 0o777, status.st_blocks) == (1 << 20, 0o600, 0)
    file.close()
    file.close()
    assert not os.path.exists(file.path)
