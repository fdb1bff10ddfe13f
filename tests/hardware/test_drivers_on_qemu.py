"""The drivers on hardware that none of us wrote: QEMU's IDE controller, 82540EM and 21143.

The same suites that each driver's own tests run on the simulated machine. What QEMU's models do differently is said by
the suites' flags here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.bus.driver import Driver
from jefeos.bus.machine import DiskRequest, Machine, NicRequest
from jefeos.net.wire import Port
from jefeos.testing.drivers import BlockDriverConformance
from jefeos.testing.machines import plugin_drivers, plugin_machine
from jefeos.testing.nics import NetDriverConformance

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _qemu(host_program: Callable[[str], str]) -> None:
    host_program("qemu-system-x86_64")


class TestAta(BlockDriverConformance):
    """PIIX3 IDE."""

    def make_machine(self, image: Path) -> Machine:
        return plugin_machine("qemu", [DiskRequest(str(image))])

    def make_drivers(self) -> list[Driver]:
        return plugin_drivers("ata")


class OnQemu(NetDriverConformance):
    """A card of QEMU's."""

    model = ""
    drops_when_full = False

    def make_machine(self, mac: bytes, port: Port) -> Machine:
        return plugin_machine("qemu", nics=[NicRequest(self.model, mac, port)])

    def make_drivers(self) -> list[Driver]:
        return plugin_drivers(self.model)


class TestE1000(OnQemu):
    """82540EM."""

    model = "e1000"


class TestTulip(OnQemu):
    """21143."""

    model = "tulip"
    reports_link = counts_drops = False
    drops_when_full = True
