"""Machines without a kernel around them: for tests of drivers, models and buses.

    machine = bare_machine()                                    the simulated machine, with models of your own
    machine.add(ExampleModel())
    manager = start(machine, [ExampleDriver()])

    machine = plugin_machine("qemu", disks=[DiskRequest(path)])   whatever ``--machine`` knows, as a boot makes it
    manager = start(machine, [ExampleDriver()])
    ...
    machine.stop()
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import weakref
from collections.abc import Iterable, Sequence
from typing import Final

from jefeos.bus.driver import DeviceManager, Driver
from jefeos.bus.machine import DiskRequest, Machine, MachineRequest, NicRequest
from jefeos.bus.simulated import SimulatedMachine
from jefeos.bus.system import RamFile, first_named
from jefeos.config import BootConfig
from jefeos.errors import ConfigError
from jefeos.plugins import load_plugins

RAM_BYTES: Final = 8 << 20
DMA_BYTES: Final = 4 << 20


def bare_machine(ram_bytes: int = RAM_BYTES, dma_bytes: int = DMA_BYTES) -> SimulatedMachine:
    """RAM whose upper part is the DMA heap, and an empty bus."""
    return SimulatedMachine(memoryview(bytearray(ram_bytes)), ram_bytes - dma_bytes, dma_bytes)


def plugin_machine(
    name: str,
    disks: Sequence[DiskRequest] = (),
    nics: Sequence[NicRequest] = (),
    ram_bytes: int = RAM_BYTES,
    dma_bytes: int = DMA_BYTES,
) -> Machine:
    """The machine called ``name``, from the installed plugins, not started. Its RAM is a file while it lives.

    Raises ConfigError if no plugin has a machine of that name.
    """
    plugins = load_plugins(BootConfig(strict=True))
    file = RamFile(ram_bytes)
    try:
        request = MachineRequest(
            memoryview(mmap.mmap(file.descriptor, ram_bytes)),
            file.path,
            ram_bytes - dma_bytes,
            dma_bytes,
            logging.getLogger("jefeos"),
            disks,
            nics,
            first_named(plugins.collect("jefeos_disk_controllers")),
            first_named(plugins.collect("jefeos_network_cards")),
        )
        machine: Machine | None = plugins.first("jefeos_machine", name=name, request=request)
        if machine is None:
            raise ConfigError(f"no plugin has a machine {name!r}")
    except BaseException:
        file.close()
        raise
    weakref.finalize(machine, file.close)
    return machine


def plugin_drivers(name: str) -> list[Driver]:
    """The drivers of the installed plugins that are called ``name``. Raises ConfigError if there is none."""
    found = [
        driver
        for drivers in load_plugins(BootConfig(strict=True)).collect("jefeos_drivers")
        for driver in drivers
        if driver.name == name
    ]
    if not found:
        raise ConfigError(f"no plugin has a driver {name!r}")
    return found


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
