"""One IDE channel: two devices that share a set of registers and take turns.

    select, fill the registers, write the command
      PIO   wait for DRQ, move one sector through the data port, and again
      DMA   the bus master moves everything by its table, then one interrupt

Every wait has an end. What can go wrong is told by type, so that a caller knows whether to try again:

    NotAnswering     busy for too long, or the registers read as ones: reset and try again, then give the device up
    CommandFailed    the device answered with an error; `CommandFailed.error` holds its error register

Completion is by interrupt for DMA and by looking at the status for PIO. An interrupt that does not come while the
registers say that the command is done is counted (``lost_interrupts``) and otherwise ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.errors import Errno, KernelError

from jefeos_driver_ata.registers import (
    BUS_MASTER_ACTIVE,
    BUS_MASTER_ERROR,
    BUS_MASTER_INTERRUPT,
    BUS_MASTER_START,
    BUS_MASTER_TO_MEMORY,
    CONTROL_HIGH_ORDER_BYTE,
    CONTROL_NO_INTERRUPT,
    CONTROL_RESET,
    DEVICE_LBA,
    DEVICE_OBSOLETE,
    DEVICE_SECOND,
    PRD_LAST,
    PRD_REGION_BYTES,
    SECTOR_BYTES,
    SECTOR_WORDS,
    STATUS_BSY,
    STATUS_DF,
    STATUS_DRDY,
    STATUS_DRQ,
    STATUS_ERR,
    BusMaster,
    CommandBlock,
    Prd,
)

if TYPE_CHECKING:
    from jefeos.bus.dma import DmaBuffer
    from jefeos.bus.driver import DeviceContext
    from jefeos.bus.region import Region

MILLISECOND: Final = 1_000_000
SELECT_TIMEOUT_NS: Final = 100 * MILLISECOND
COMMAND_TIMEOUT_NS: Final = 7_000 * MILLISECOND
FLUSH_TIMEOUT_NS: Final = 30_000 * MILLISECOND
RESET_TIMEOUT_NS: Final = 31_000 * MILLISECOND
_ALL_ONES: Final = 0xFF
_BUS_MASTER_KEPT: Final = 0x60  # the two "drive is DMA capable" bits are plain storage

# HOT: plain numbers, as the members of an enumeration take longer to add.
_DATA, _ERROR, _COUNT = int(CommandBlock.DATA), int(CommandBlock.ERROR), int(CommandBlock.SECTOR_COUNT)
_LOW, _MID, _HIGH = int(CommandBlock.LBA_LOW), int(CommandBlock.LBA_MID), int(CommandBlock.LBA_HIGH)
_DEVICE, _STATUS = int(CommandBlock.DEVICE), int(CommandBlock.STATUS)
_BM_COMMAND, _BM_STATUS, _BM_TABLE = int(BusMaster.COMMAND), int(BusMaster.STATUS), int(BusMaster.TABLE)


class NotAnswering(KernelError):
    """The device does not do what it must."""

    def __init__(self, what: str, *, gone: bool = False) -> None:
        super().__init__(Errno.EIO, what)
        self.gone = gone
        """The registers read as ones: nothing is there any more."""


class CommandFailed(KernelError):
    """The device ended a command with an error."""

    def __init__(self, command: int, status: int, error: int) -> None:
        super().__init__(Errno.EIO, f"command {command:#04x} failed: status {status:#04x}, error {error:#04x}")
        self.status = status
        self.error = error


@frozen
class Request:
    """A command with its registers. ``wide`` commands have 48-bit addresses and 16-bit counts."""

    command: int
    lba: int = 0
    count: int = 0
    wide: bool = False
    features: int = 0
    uses_lba: bool = True


class Channel:
    """A channel's registers."""

    def __init__(
        self,
        context: DeviceContext,
        command_block: Region,
        control: Region,
        control_offset: int,
        bus_master: Region | None = None,
        bus_master_offset: int = 0,
    ) -> None:
        self.context = context
        self.lost_interrupts = 0
        self._block = command_block
        self._control = control
        self._control_offset = control_offset
        self._bus_master = bus_master
        self._bus_master_offset = bus_master_offset
        self._buffer: DmaBuffer | None = None
        self._table: DmaBuffer | None = None
        self._table_for = 0
        self._selected: int | None = None
        self._interrupted = False

    # -- setting up --

    def use_dma(self, buffer: DmaBuffer, table: DmaBuffer) -> None:
        """Transfers may go through ``buffer``, described in ``table``."""
        self._buffer, self._table = buffer, table
        self._table_for = 0

    @property
    def dma_bytes(self) -> int:
        """Most bytes of a DMA transfer; 0 if there is no DMA."""
        return self._buffer.size if self._buffer is not None else 0

    @property
    def dma_buffer(self) -> memoryview:
        """Where DMA transfers come from and go to."""
        assert self._buffer is not None
        return self._buffer.view

    def interrupt(self) -> bool:
        """The channel's interrupt handler."""
        if self._bus_master is None:
            return False
        at = self._bus_master_offset
        status = self._bus_master.read8(at + _BM_STATUS)
        if not status & BUS_MASTER_INTERRUPT or status == _ALL_ONES:
            return False
        self._bus_master.write8(at + _BM_STATUS, status & _BUS_MASTER_KEPT | BUS_MASTER_INTERRUPT)
        self._block.read8(_STATUS)  # the device takes its request back
        self._interrupted = True
        return True

    def reset(self) -> None:
        """Reset both devices (9.2). Raises NotAnswering."""
        self.stop_dma()
        self._selected = None
        self._control.write8(self._control_offset, CONTROL_RESET | CONTROL_NO_INTERRUPT)
        self.context.delay(5_000)
        self._control.write8(self._control_offset, 0)
        self.context.delay(2 * MILLISECOND)
        self._wait_idle(RESET_TIMEOUT_NS, "it is busy after a reset")

    def quiet(self) -> None:
        """No DMA and no interrupts from now on."""
        self.stop_dma()
        self._control.write8(self._control_offset, CONTROL_NO_INTERRUPT)

    def stop_dma(self) -> None:
        """Stop the bus master, whatever it does."""
        if self._bus_master is not None:
            self._bus_master.write8(self._bus_master_offset + _BM_COMMAND, 0)

    def is_floating(self) -> bool:
        """Whether nothing drives the registers: no device at all."""
        return self.alternate_status() == _ALL_ONES

    def alternate_status(self) -> int:
        """The status, without an effect on the interrupt."""
        return self._control.read8(self._control_offset)

    def signature(self) -> tuple[int, int]:
        """LBA mid and high."""
        return self._block.read8(_MID), self._block.read8(_HIGH)

    # -- commands --

    def run(self, device: int, request: Request, timeout_ns: int = COMMAND_TIMEOUT_NS) -> None:
        """A command without data."""
        self._issue(device, request)
        self._wait_idle(timeout_ns, f"command {request.command:#04x} does not end")
        self._check_status(request)

    def read_pio(self, device: int, request: Request, buffer: memoryview) -> None:
        """A command whose data comes through the data port, a sector at a time."""
        self._issue(device, request)
        for start in range(0, len(buffer), SECTOR_BYTES):
            self._wait_for_data(request)
            buffer[start : start + SECTOR_BYTES] = self._block.read_data(_DATA, SECTOR_WORDS)
        self._wait_idle(COMMAND_TIMEOUT_NS, f"command {request.command:#04x} does not end")
        self._check_status(request)

    def write_pio(self, device: int, request: Request, data: memoryview) -> None:
        """A command whose data goes through the data port."""
        self._issue(device, request)
        for start in range(0, len(data), SECTOR_BYTES):
            self._wait_for_data(request)
            self._block.write_data(_DATA, bytes(data[start : start + SECTOR_BYTES]))
        self._wait_idle(COMMAND_TIMEOUT_NS, f"command {request.command:#04x} does not end")
        self._check_status(request)

    def run_dma(self, device: int, request: Request, length: int, *, to_memory: bool) -> None:
        """A command whose ``length`` bytes the bus master moves to or from the DMA buffer."""
        master, at = self._bus_master, self._bus_master_offset
        assert master is not None and self._table is not None
        self._describe(length)
        direction = BUS_MASTER_TO_MEMORY if to_memory else 0
        master.write8(at + _BM_COMMAND, direction)
        master.write8(at + _BM_STATUS, _BUS_MASTER_KEPT | BUS_MASTER_INTERRUPT | BUS_MASTER_ERROR)
        master.write32(at + _BM_TABLE, self._table.address)
        self._interrupted = False
        self._issue(device, request)
        master.write8(at + _BM_COMMAND, direction | BUS_MASTER_START)
        came = self.context.wait(lambda: self._interrupted, COMMAND_TIMEOUT_NS)
        status = master.read8(at + _BM_STATUS)
        master.write8(at + _BM_COMMAND, 0)
        if status == _ALL_ONES:
            raise NotAnswering("the controller is gone", gone=True)
        if not came:
            if status & BUS_MASTER_ACTIVE or self.alternate_status() & STATUS_BSY:
                raise NotAnswering(f"command {request.command:#04x} does not end")
            self.lost_interrupts += 1
        self._check_status(request)
        if status & BUS_MASTER_ERROR:
            raise NotAnswering("the bus master could not reach memory")
        if status & BUS_MASTER_ACTIVE:
            raise NotAnswering("the disk moved less than it was asked for")

    # -- inside --

    def _issue(self, device: int, request: Request) -> None:
        block = self._block
        bits = DEVICE_OBSOLETE | (DEVICE_SECOND if device else 0)
        if self._selected != device:
            block.write8(_DEVICE, bits)
            self.context.delay(400)  # until the status is the selected device's
            self._selected = device
        self._wait_idle(SELECT_TIMEOUT_NS, "it is busy before a command")
        lba, count = request.lba, request.count
        if request.uses_lba:
            bits |= DEVICE_LBA
        if request.wide:
            block.write8(_COUNT, count >> 8 & 0xFF)
            block.write8(_LOW, lba >> 24 & 0xFF)
            block.write8(_MID, lba >> 32 & 0xFF)
            block.write8(_HIGH, lba >> 40 & 0xFF)
        else:
            bits |= lba >> 24 & 0x0F
        if request.features:
            block.write8(_ERROR, request.features)
        block.write8(_COUNT, count & 0xFF)
        block.write8(_LOW, lba & 0xFF)
        block.write8(_MID, lba >> 8 & 0xFF)
        block.write8(_HIGH, lba >> 16 & 0xFF)
        block.write8(_DEVICE, bits)
        block.write8(_STATUS, request.command)

    def _describe(self, length: int) -> None:
        """Fill the table: one region for each 64 KiB of the buffer."""
        if self._table_for == length:
            return
        assert self._buffer is not None and self._table is not None
        table = bytearray()
        for start in range(0, length, PRD_REGION_BYTES):
            size = min(PRD_REGION_BYTES, length - start)
            last = PRD_LAST if start + size == length else 0
            table += Prd(address=self._buffer.address + start, byte_count=size & 0xFFFF, flags=last).pack()
        self._table.view[: len(table)] = table
        self._table_for = length

    def _wait_idle(self, timeout_ns: int, what: str) -> None:
        if not self.context.wait(lambda: not self.alternate_status() & STATUS_BSY, timeout_ns):
            gone = self.is_floating()
            raise NotAnswering("its registers read as ones" if gone else what, gone=gone)

    def _wait_for_data(self, request: Request) -> None:
        self._wait_idle(COMMAND_TIMEOUT_NS, f"command {request.command:#04x} does not go on")
        status = self.alternate_status()
        if status & (STATUS_ERR | STATUS_DF):
            self._check_status(request)
        if not status & STATUS_DRQ:
            raise NotAnswering(f"command {request.command:#04x} has no data (status {status:#04x})")

    def _check_status(self, request: Request) -> None:
        status = self._block.read8(_STATUS)
        if status == _ALL_ONES:
            raise NotAnswering("its registers read as ones", gone=True)
        if status & (STATUS_ERR | STATUS_DF):
            raise CommandFailed(request.command, status, self._block.read8(_ERROR))
        if not status & STATUS_DRDY:
            raise NotAnswering(f"it is not ready (status {status:#04x})")

    def failed_lba(self, wide: bool) -> int:
        """The sector that a command failed at, as the registers have it."""
        block = self._block
        low = block.read8(_LOW) | block.read8(_MID) << 8 | block.read8(_HIGH) << 16
        if not wide:
            return low | (block.read8(_DEVICE) & 0x0F) << 24
        self._control.write8(self._control_offset, CONTROL_HIGH_ORDER_BYTE)
        high = block.read8(_LOW) | block.read8(_MID) << 8 | block.read8(_HIGH) << 16
        self._control.write8(self._control_offset, 0)
        return high << 24 | low
