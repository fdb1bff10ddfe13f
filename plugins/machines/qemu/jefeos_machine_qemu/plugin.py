"""Hooks of jefeos-machine-qemu: the machine called ``qemu``, and QEMU's own network as a wire for its cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.bus.machine import Machine, MachineRequest
    from jefeos.net.wire import Port, WireContext, WireOpener

JEFEOS_API = 1


@hookimpl
def jefeos_machine(name: str, request: MachineRequest) -> Machine | None:
    if name != "qemu":
        return None
    from jefeos_machine_qemu.machine import QemuMachine

    return QemuMachine(request)


@hookimpl
def jefeos_wires() -> dict[str, WireOpener]:
    return {"qemu-user": open_qemu_user}


def open_qemu_user(rest: str, context: WireContext) -> Port:
    """``qemu-user:open``, or ``qemu-user:restricted`` without a way to the host and beyond."""
    from jefeos.errors import ConfigError

    from jefeos_machine_qemu.wire import QemuUserPort

    if rest not in ("open", "restricted"):
        raise ConfigError(f"--net qemu-user:{rest}: QEMU's network is open or restricted, as qemu-user:restricted")
    return QemuUserPort(restricted=rest == "restricted")
