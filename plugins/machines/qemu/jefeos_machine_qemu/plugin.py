"""Hooks of jefeos-machine-qemu: the machine called ``qemu``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.bus.machine import Machine, MachineRequest

JEFEOS_API = 1


@hookimpl
def jefeos_machine(name: str, request: MachineRequest) -> Machine | None:
    if name != "qemu":
        return None
    from jefeos_machine_qemu.machine import QemuMachine

    return QemuMachine(request)
