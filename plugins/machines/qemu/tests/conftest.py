"""Machines of QEMU for the tests here, stopped at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from jefeos.bus.machine import DiskRequest, NicRequest
from jefeos.testing.machines import plugin_machine
from jefeos_machine_qemu.machine import QemuMachine

Maker = Callable[..., QemuMachine]


@pytest.fixture
def make(host_program: Callable[[str], str]) -> Iterator[Maker]:
    """``make(disks, nics)``: a machine that was not started."""
    host_program("qemu-system-x86_64")
    machines: list[QemuMachine] = []

    def make_one(disks: Sequence[DiskRequest] = (), nics: Sequence[NicRequest] = ()) -> QemuMachine:
        machine = plugin_machine("qemu", disks, nics)
        assert isinstance(machine, QemuMachine)
        machines.append(machine)
        return machine

    yield make_one
    for machine in machines:
        machine.stop()


@pytest.fixture
def boot(make: Maker) -> Maker:
    """``boot(disks, nics)``: a machine that runs."""

    def start(disks: Sequence[DiskRequest] = (), nics: Sequence[NicRequest] = ()) -> QemuMachine:
        machine = make(disks, nics)
        machine.start()
        return machine

    return start
