"""Hooks of jefeos-driver-tulip: the driver, and the card's model for the simulated machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.bus.driver import Driver
    from jefeos.bus.machine import NicRequest
    from jefeos.bus.simulated import DeviceModel

JEFEOS_API = 1


@hookimpl
def jefeos_drivers() -> list[Driver]:
    from jefeos_driver_tulip.driver import TulipDriver

    return [TulipDriver()]


@hookimpl
def jefeos_network_cards() -> dict[str, Callable[[NicRequest], DeviceModel]]:
    from jefeos_driver_tulip.model import TulipModel

    return {"tulip": lambda request: TulipModel(request.mac, request.port)}
