"""The driver on the simulated machine's card."""

from __future__ import annotations

from jefeos.bus.driver import Driver
from jefeos.bus.machine import Machine
from jefeos.net.wire import Port
from jefeos.testing.machines import bare_machine
from jefeos.testing.nics import NetDriverConformance
from jefeos_driver_e1000.driver import E1000Driver
from jefeos_driver_e1000.model import E1000Model


class TestOnTheSimulatedMachine(NetDriverConformance):
    """The model."""

    def make_machine(self, mac: bytes, port: Port) -> Machine:
        machine = bare_machine()
        machine.add(E1000Model(mac, port))
        return machine

    def make_drivers(self) -> list[Driver]:
        return [E1000Driver()]
