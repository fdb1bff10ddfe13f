"""The driver on the simulated machine's controller, in each of the ways in which it can move data."""

from __future__ import annotations

from pathlib import Path

from jefeos.block.image import open_image
from jefeos.bus.driver import Driver
from jefeos.bus.machine import Machine
from jefeos.testing.drivers import BlockDriverConformance
from jefeos.testing.machines import bare_machine
from jefeos_driver_ata.driver import AtaDriver
from jefeos_driver_ata.model import Drive, IdeController


class OnTheSimulatedMachine(BlockDriverConformance):
    """A disk of the model's."""

    lba48 = dma = True
    position = 0
    dma_bytes = 4 << 20

    def make_machine(self, image: Path) -> Machine:
        machine = bare_machine(dma_bytes=self.dma_bytes)
        controller = IdeController()
        controller.attach(Drive(open_image(str(image)), "1", lba48=self.lba48, dma=self.dma), self.position)
        machine.add(controller)
        return machine

    def make_drivers(self) -> list[Driver]:
        return [AtaDriver()]


class TestDma48(OnTheSimulatedMachine):
    """Bus-master DMA with 48-bit addresses."""


class TestDma28(OnTheSimulatedMachine):
    """Bus-master DMA with 28-bit addresses, as the second disk."""

    lba48 = False
    position = 1
    operations = 2000


class TestPio48(OnTheSimulatedMachine):
    """A disk without DMA, on the second channel."""

    dma = False
    position = 2
    operations = 500


class TestPio28(OnTheSimulatedMachine):
    """The oldest kind of disk."""

    lba48 = dma = False
    position = 3
    operations = 500


class TestWithoutDmaMemory(OnTheSimulatedMachine):
    """The disk can, but there is no memory for it."""

    dma_bytes = 4096
    operations = 500
