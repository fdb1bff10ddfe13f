"""A simulated machine without a kernel around it: for tests of drivers, models and buses.

    machine = bare_machine()
    machine.add(ExampleModel())
    manager = start(machine, [ExampleDriver()])
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from jefeos.bus.driver import DeviceManager, Driver
from jefeos.bus.machine import Machine
from jefeos.bus.simulated import SimulatedMachine

RAM_BYTES: Final = 8 << 20
DMA_BYTES: Final = 4 << 20


def bare_machine(ram_bytes: int = RAM_BYTES, dma_bytes: int = DMA_BYTES) -> SimulatedMachine:
    """RAM whose upper part is the DMA heap, and an empty bus."""
    return SimulatedMachine(memoryview(bytearray(ram_bytes)), ram_bytes - dma_bytes, dma_bytes)


def start(
    machine: Machine, drivers: Iterable[Driver], loop: asyncio.AbstractEventLoop | None = None
) -> DeviceManager:
    """Start the machine and give each device to its driver."""
    if loop is not None:
        machine.attach(loop)
    machine.start()
    manager = DeviceManager(machine, drivers, loop)
    manager.bind_all()
    return manager
