"""A small device for the tests of buses: a register that adds, a DMA engine that copies, and its driver."""

from __future__ import annotations

from typing import ClassVar

from jefeos.bus.driver import DeviceContext, Driver, PciMatch
from jefeos.bus.pci import Bar, Command
from jefeos.bus.simulated import DeviceModel
from jefeos.errors import Errno, KernelError

SUM, SOURCE, TARGET, LENGTH, CONTROL, STATUS = 0, 4, 8, 12, 16, 20
START, ACKNOWLEDGE = 1, 2
COPY_NS = 1000


class CopierModel(DeviceModel):
    """Writes to SUM add up; CONTROL=START copies LENGTH bytes a microsecond later and interrupts."""

    vendor_id = 0x1234
    device_id = 0x0001
    class_code = 0x088000
    bars = (Bar(0, 256, is_io=False), Bar(1, 32, is_io=True))

    def __init__(self) -> None:
        super().__init__()
        self.registers = dict.fromkeys((SUM, SOURCE, TARGET, LENGTH, CONTROL, STATUS), 0)
        self.stuck = False

    def read(self, window: int, offset: int, width: int) -> int:
        return self.registers.get(offset, 0)

    def write(self, window: int, offset: int, width: int, value: int) -> None:
        if offset == SUM:
            self.registers[SUM] = (self.registers[SUM] + value) & 0xFFFFFFFF
        elif offset == CONTROL and value & START and not self.stuck:
            self.schedule(COPY_NS, self._copy)
        elif offset == CONTROL and value & ACKNOWLEDGE:
            self.registers[STATUS] = 0
            self.lower_interrupt()
        else:
            self.registers[offset] = value

    def _copy(self) -> None:
        data = bytes(self.dma_read(self.registers[SOURCE], self.registers[LENGTH]))
        self.dma_write(self.registers[TARGET], data)
        self.registers[STATUS] = 1
        self.raise_interrupt()


class MessagingModel(CopierModel):
    """The same with MSI."""

    device_id = 0x0002
    capabilities = (bytes([0x09, 0, 4, 0]), bytes([0x05, 0, 0x80, 0]) + bytes(10))


class Copier:
    """The driver's side."""

    def __init__(self, context: DeviceContext) -> None:
        self.context = context
        self.registers = context.map_bar(0)
        context.enable(Command.IO_SPACE | Command.MEMORY_SPACE | Command.BUS_MASTER)
        if self.registers.read32(SUM) == 0xFFFFFFFF:
            raise KernelError(Errno.ENODEV, "it does not answer")
        self.buffer = context.allocate_dma(512)
        self.interrupts = 0
        context.connect_interrupt(self.interrupt)
        context.publish(self)

    def interrupt(self) -> bool:
        if not self.registers.read32(STATUS):
            return False
        self.interrupts += 1
        self.registers.write32(CONTROL, ACKNOWLEDGE)
        return True

    def copy(self, data: bytes) -> bytes:
        self.buffer.view[: len(data)] = data
        self.registers.write32(SOURCE, self.buffer.address)
        self.registers.write32(TARGET, self.buffer.address + 256)
        self.registers.write32(LENGTH, len(data))
        before = self.interrupts
        self.registers.write32(CONTROL, START)
        if not self.context.wait(lambda: self.interrupts > before, 10**9):
            self.context.offline("no answer within a second")
            raise KernelError(Errno.EIO)
        return bytes(self.buffer.view[256 : 256 + len(data)])

    def remove(self) -> None:
        self.registers.write32(CONTROL, ACKNOWLEDGE)


class CopierDriver(Driver):
    name = "copier"
    matches: ClassVar[tuple[PciMatch, ...]] = (PciMatch(vendor_id=0x1234),)

    def probe(self, context: DeviceContext) -> Copier:
        return Copier(context)
