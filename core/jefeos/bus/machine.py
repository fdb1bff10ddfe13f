"""A machine: RAM, a PCI bus, ports, memory-mapped registers, interrupts, and time for those who wait for a device.

    start()  find the functions on the bus and give their BARs addresses; then the drivers are asked (bus/driver.py)
    wait()   the one way in which a driver waits without an event loop: block drivers are synchronous
    stop()   give everything back

`wait` calls `poll` between looks at its condition: the machine lets its devices get on, and interrupts are served.
What time is, is the machine's business: the simulated one jumps to its devices' next event, QEMU's passes by itself.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from jefeos.bus.dma import DmaHeap
from jefeos.bus.interrupts import InterruptController
from jefeos.bus.pci import PciDevice, PciHost, Window, assign_bars, enumerate_functions
from jefeos.bus.region import Region

if TYPE_CHECKING:
    import asyncio

    from jefeos.net.wire import Port

IO_WINDOW: Final = (0xC000, 0x1_0000)
MEMORY_WINDOW: Final = (0xF000_0000, 0xFE00_0000)
"""Above all RAM that these machines have, below the processor's own registers."""


@frozen
class DiskRequest:
    """A disk that the machine is to have: an image file of the host."""

    path: str
    read_only: bool = False
    controller: str = "ata"
    """What it is connected to: a name of the hook ``jefeos_disk_controllers``."""


@frozen(eq=False)
class NicRequest:
    """A network card that the machine is to have, and the wire that it is plugged into."""

    model: str
    """A name of the hook ``jefeos_network_cards``, which is QEMU's name too: ``e1000``, ``tulip``."""
    mac: bytes
    port: Port


@frozen(eq=False)
class MachineRequest:
    """What the hook ``jefeos_machine`` is given to build a machine from."""

    ram: memoryview
    """Physical memory from address 0, the processor's own."""
    ram_file: str | None
    """The host file that this memory is a shared mapping of, if it is one."""
    dma_base: int
    dma_bytes: int
    """The part of it that is the DMA heap's."""
    log: logging.Logger
    disks: Sequence[DiskRequest] = ()
    nics: Sequence[NicRequest] = ()
    disk_controllers: Mapping[str, Callable[[Sequence[DiskRequest]], Any]] = field(factory=dict)
    """Models for the simulated machine, by name: a controller with its disks …"""
    network_cards: Mapping[str, Callable[[NicRequest], Any]] = field(factory=dict)
    """… and cards."""


@frozen
class MessageTarget:
    """A message-signalled interrupt: what a device writes where, and the number under which it arrives."""

    vector: int
    address: int
    data: int


class Machine(PciHost):
    """Base of both machines."""

    name: str

    def __init__(self, ram: memoryview, dma_base: int, dma_bytes: int, log: logging.Logger | None = None) -> None:
        self.ram = ram
        """Physical memory from address 0."""
        self.log = log or logging.getLogger("jefeos")
        self.dma = DmaHeap(ram, dma_base, dma_bytes)
        self.interrupts = InterruptController(self.log)
        self.devices: list[PciDevice] = []

    def start(self) -> None:
        """Enumerate the bus and assign the BARs."""
        self.devices = list(enumerate_functions(self))
        for device in self.devices:
            if device.is_bridge:
                self.log.warning("PCI device %s is a bridge: what is behind it is not used", device)
        assign_bars(self.devices, Window(*IO_WINDOW), Window(*MEMORY_WINDOW))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve interrupts, and whatever else the devices do by themselves, from an event loop."""
        self.interrupts.attach(loop)

    def stop(self) -> None:
        """The end: nothing else is called afterwards."""

    @abstractmethod
    def map_ports(self, base: int, size: int) -> Region:
        """Registers in port space."""

    @abstractmethod
    def map_memory(self, base: int, size: int) -> Region:
        """Registers in memory."""

    @abstractmethod
    def interrupt_line(self, device: PciDevice) -> int | None:
        """The line that the device's interrupt pin is wired to."""

    def message_target(self, device: PciDevice) -> MessageTarget | None:
        """Where the device may send a message instead of using its line; None where messages do not arrive."""
        return None

    @abstractmethod
    def now_ns(self) -> int:
        """The machine's time."""

    @abstractmethod
    def poll(self, deadline_ns: int) -> bool:
        """Let devices get on, at most until ``deadline_ns``; False if nothing can happen before that."""

    def wait(self, condition: Callable[[], bool], timeout_ns: int) -> bool:
        """Wait until ``condition`` holds (True) or ``timeout_ns`` has passed (False)."""
        deadline_ns = self.now_ns() + timeout_ns
        while True:
            self.interrupts.dispatch()
            if condition():
                return True
            if self.now_ns() >= deadline_ns or not self.poll(deadline_ns):
                self.interrupts.dispatch()
                return condition()
