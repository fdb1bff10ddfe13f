"""Hooks of jefeos-driver-ata: the driver, and the controller's model for the simulated machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.bus.driver import Driver
    from jefeos.bus.machine import DiskRequest
    from jefeos.bus.simulated import DeviceModel

JEFEOS_API = 1


@hookimpl
def jefeos_drivers() -> list[Driver]:
    from jefeos_driver_ata.driver import AtaDriver

    return [AtaDriver()]


@hookimpl
def jefeos_disk_controllers() -> dict[str, Callable[[Sequence[DiskRequest]], DeviceModel]]:
    from jefeos_driver_ata.model import open_controller

    return {"ata": open_controller}
