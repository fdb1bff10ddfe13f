"""The IDE controller of the simulated machine: a PIIX3 function with two channels of two disks over disk images.

    IdeController   PCI header, fixed ports, bus master registers
      Channel       the register file that two drives share, selection, reset
        Drive       one disk: its image, the command that it executes

A command takes no time, unless its disk is stuck (`jefeos.block.faults`): then the drive stays busy for ever.
What a real controller leaves undefined is an error here: a driver that starts the bus master the wrong way, or gives
it a table that ends too early, finds the error bit set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from jefeos.block.faults import Stuck
from jefeos.block.image import DiskImage, open_image
from jefeos.bus.pci import Bar
from jefeos.bus.simulated import DeviceModel, FixedPorts
from jefeos.errors import ConfigError, Errno, KernelError

from jefeos_driver_ata import registers as r
from jefeos_driver_ata.identify import pack_text

if TYPE_CHECKING:
    from jefeos.bus.machine import DiskRequest

MOST_DISKS: Final = 4
COMMAND_WINDOW, CONTROL_WINDOW = 10, 20
"""Windows of the fixed ports: one of each for each channel."""
MOST_PRDS: Final = 8192  # a table lies inside of 64 KiB
_ONES: Final = 0xFF


class Drive:
    """A disk. Its registers are the channel's, except status and error."""

    def __init__(
        self, image: DiskImage, serial: str, *, lba48: bool = True, dma: bool = True, removable: bool = False
    ) -> None:
        self.image = image
        self.sector_count = image.size_bytes // r.SECTOR_BYTES
        self.serial = serial
        self.has_lba48 = lba48
        self.has_dma = dma
        self.removable = removable
        self.has_medium = True
        """Set False to take the medium out of a removable drive."""
        self.status = r.STATUS_DRDY
        self.error = 0
        self.buffer = memoryview(b"")
        """What PIO still has to move: the rest of it, one sector with DRQ at a time."""
        self.moved_in_sector = 0
        self.write_at = 0
        """Where PIO writes go: an offset in the image."""
        self.dma: tuple[int, int, bool] | None = None
        """A DMA command that waits for the bus master: offset, length, and whether the disk is read."""

    def reset(self) -> None:
        """After power-on or a reset."""
        self.status, self.error = r.STATUS_DRDY, 1
        self.buffer, self.dma = memoryview(b""), None
        self.moved_in_sector = 0

    def identify(self) -> bytes:
        """The answer to IDENTIFY DEVICE."""
        data = bytearray(r.SECTOR_BYTES)

        def put(word: int, value: int, count: int = 1) -> None:
            data[2 * word : 2 * (word + count)] = value.to_bytes(2 * count, "little")

        word = r.IdentifyWord
        put(word.GENERAL, r.GENERAL_REMOVABLE if self.removable else 1 << 6)
        data[2 * word.SERIAL : 2 * word.SERIAL + 20] = pack_text(self.serial, 10)
        data[2 * word.FIRMWARE : 2 * word.FIRMWARE + 8] = pack_text("1.0", 4)
        data[2 * word.MODEL : 2 * word.MODEL + 40] = pack_text("JefeOS simulated disk", 20)
        put(word.CAPABILITIES, r.CAPABILITY_LBA | (r.CAPABILITY_DMA if self.has_dma else 0))
        put(word.LBA28_SECTORS, min(self.sector_count, r.LBA28_LIMIT - 1), 2)
        put(word.MAJOR_VERSION, 0x7E)
        sets = r.WORD_IS_VALID | r.COMMAND_SET_FLUSH
        if self.has_lba48:
            sets |= r.COMMAND_SET_LBA48 | r.COMMAND_SET_FLUSH_EXT
            put(word.LBA48_SECTORS, self.sector_count, 4)
        put(word.COMMAND_SETS_2, sets)
        put(word.COMMAND_SETS_ENABLED_2, sets)
        data[-2] = r.INTEGRITY_SIGNATURE
        data[-1] = -sum(data) & 0xFF
        return bytes(data)


class Channel:
    """Registers that two drives share."""

    def __init__(self, controller: IdeController, line: int) -> None:
        self.controller = controller
        self.line = line
        self.drives: list[Drive | None] = [None, None]
        self.bm_command = self.bm_status = self.bm_table = 0
        self.control = 0
        self._registers = [0] * r.COMMAND_BLOCK_BYTES
        self._previous = [0] * r.COMMAND_BLOCK_BYTES
        self._wants_interrupt = False
        self._commands: dict[int, Callable[[Drive], None]] = {
            r.Command.IDENTIFY_DEVICE: self._identify,
            r.Command.READ_SECTORS: lambda drive: self._read_pio(drive, False),
            r.Command.READ_SECTORS_EXT: lambda drive: self._read_pio(drive, True),
            r.Command.WRITE_SECTORS: lambda drive: self._write_pio(drive, False),
            r.Command.WRITE_SECTORS_EXT: lambda drive: self._write_pio(drive, True),
            r.Command.READ_DMA: lambda drive: self._start_dma(drive, False, reads=True),
            r.Command.READ_DMA_EXT: lambda drive: self._start_dma(drive, True, reads=True),
            r.Command.WRITE_DMA: lambda drive: self._start_dma(drive, False, reads=False),
            r.Command.WRITE_DMA_EXT: lambda drive: self._start_dma(drive, True, reads=False),
            r.Command.FLUSH_CACHE: self._flush,
            r.Command.FLUSH_CACHE_EXT: self._flush,
        }

    @property
    def selected(self) -> Drive | None:
        """The drive that the device register points to."""
        return self.drives[1 if self._registers[r.CommandBlock.DEVICE] & r.DEVICE_SECOND else 0]

    # -- registers --

    def read(self, offset: int) -> int:
        drive = self.selected
        if drive is None:
            return 0 if any(self.drives) else _ONES
        if offset == r.CommandBlock.STATUS:
            self._drop_interrupt()
            return drive.status
        if offset == r.CommandBlock.ERROR:
            return drive.error
        if self.control & r.CONTROL_HIGH_ORDER_BYTE:
            return self._previous[offset]
        return self._registers[offset]

    def write(self, offset: int, value: int) -> None:
        self.control &= ~r.CONTROL_HIGH_ORDER_BYTE
        drive = self.selected
        if drive is not None and drive.status & (r.STATUS_BSY | r.STATUS_DRQ) and offset != r.CommandBlock.DEVICE:
            return  # a busy drive ignores its registers (7.2)
        if offset == r.CommandBlock.COMMAND:
            self._drop_interrupt()
            if drive is not None:
                self._execute(drive, value)
            return
        self._previous[offset] = self._registers[offset]
        self._registers[offset] = value

    def read_control(self) -> int:
        drive = self.selected
        if drive is None:
            return 0 if any(self.drives) else _ONES
        return drive.status

    def write_control(self, value: int) -> None:
        if self.control & r.CONTROL_RESET and not value & r.CONTROL_RESET:
            for drive in self.drives:
                if drive is not None and not self._is_stuck(drive):
                    drive.reset()
            self._registers = [0, 1, 1, 1, *r.SIGNATURE_DISK, 0, 0]
            self._drop_interrupt()
        self.control = value
        self._show_interrupt()

    # -- the data port --

    def read_data(self, count: int) -> bytes:
        """``count`` 16-bit words of what a PIO command gives."""
        drive = self.selected
        if drive is None or not drive.status & r.STATUS_DRQ or drive.write_at >= 0:
            return bytes([_ONES]) * (2 * count)
        length = min(2 * count, r.SECTOR_BYTES - drive.moved_in_sector)
        data = bytes(drive.buffer[:length])
        drive.buffer = drive.buffer[length:]
        drive.moved_in_sector += length
        if drive.moved_in_sector == r.SECTOR_BYTES:
            drive.moved_in_sector = 0
            if drive.buffer:
                self._ask_for_service()
            else:
                drive.status = r.STATUS_DRDY
        return data.ljust(2 * count, bytes([_ONES]))

    def write_data(self, data: bytes) -> None:
        """Words for a PIO command that writes."""
        drive = self.selected
        while data and drive is not None and drive.status & r.STATUS_DRQ and drive.write_at >= 0:
            length = min(len(data), r.SECTOR_BYTES - drive.moved_in_sector)
            drive.buffer[drive.moved_in_sector : drive.moved_in_sector + length] = data[:length]
            drive.moved_in_sector += length
            data = data[length:]
            if drive.moved_in_sector == r.SECTOR_BYTES:
                self._sector_written(drive)

    def _sector_written(self, drive: Drive) -> None:
        sector, drive.buffer = drive.buffer[: r.SECTOR_BYTES], drive.buffer[r.SECTOR_BYTES :]
        drive.moved_in_sector = 0
        if not self._on_image(drive, drive.write_at, lambda: drive.image.write(drive.write_at, sector)):
            return
        drive.write_at += r.SECTOR_BYTES
        drive.status = r.STATUS_DRDY | (r.STATUS_DRQ if drive.buffer else 0)
        self._ask_for_service()

    # -- commands --

    def _execute(self, drive: Drive, command: int) -> None:
        drive.error = 0
        drive.dma = None
        drive.moved_in_sector = 0
        if self._is_stuck(drive):
            drive.status = r.STATUS_BSY
            return
        execute = self._commands.get(command)
        if execute is None:
            self._fail(drive, r.ERROR_ABORTED)
        else:
            execute(drive)

    def _identify(self, drive: Drive) -> None:
        self._offer(drive, drive.identify())

    def _read_pio(self, drive: Drive, wide: bool) -> None:
        offset, length = self._range(drive, wide)
        if length:
            buffer = bytearray(length)
            if self._on_image(drive, offset, lambda: drive.image.read_into(offset, memoryview(buffer)), length):
                self._offer(drive, buffer)

    def _write_pio(self, drive: Drive, wide: bool) -> None:
        offset, length = self._range(drive, wide)
        if length:
            drive.buffer, drive.write_at = memoryview(bytearray(length)), offset
            drive.status = r.STATUS_DRDY | r.STATUS_DRQ

    def _start_dma(self, drive: Drive, wide: bool, *, reads: bool) -> None:
        if not drive.has_dma:
            self._fail(drive, r.ERROR_ABORTED)
            return
        offset, length = self._range(drive, wide)
        if length:
            drive.dma = (offset, length, reads)
            drive.status = r.STATUS_DRDY | r.STATUS_BSY
            self.run_bus_master()

    def _flush(self, drive: Drive) -> None:
        if self._on_image(drive, 0, drive.image.flush):
            drive.status = r.STATUS_DRDY
            self._ask_for_service()

    def _offer(self, drive: Drive, data: bytes | bytearray) -> None:
        drive.buffer, drive.write_at = memoryview(data), -1
        drive.status = r.STATUS_DRDY | r.STATUS_DRQ
        self._ask_for_service()

    def _range(self, drive: Drive, wide: bool) -> tuple[int, int]:
        """Offset and length in bytes that the registers ask for; a length of 0 after an error."""
        low, mid, high = self._registers[3:6]
        lba = low | mid << 8 | high << 16
        count = self._registers[r.CommandBlock.SECTOR_COUNT]
        if wide and not drive.has_lba48:
            self._fail(drive, r.ERROR_ABORTED)
            return 0, 0
        if wide:
            low, mid, high = self._previous[3:6]
            lba |= low << 24 | mid << 32 | high << 40
            count = (count | self._previous[r.CommandBlock.SECTOR_COUNT] << 8) or r.SECTORS_A_COMMAND_48
        else:
            lba |= (self._registers[r.CommandBlock.DEVICE] & 0x0F) << 24
            count = count or r.SECTORS_A_COMMAND_28
        if lba + count > drive.sector_count:
            self._fail(drive, r.ERROR_ID_NOT_FOUND)
            return 0, 0
        return lba * r.SECTOR_BYTES, count * r.SECTOR_BYTES

    def _on_image(
        self, drive: Drive, offset: int, action: Callable[[], None], length: int = r.SECTOR_BYTES
    ) -> bool:
        """Do something with the image; if it fails, so does the command, as a disk fails."""
        if not drive.has_medium:
            self._fail(drive, r.ERROR_NO_MEDIA | r.ERROR_ABORTED)
            return False
        try:
            action()
        except Stuck:
            drive.status = r.STATUS_BSY
            return False
        except KernelError as error:
            if error.errno == Errno.EROFS:
                self._fail(drive, r.ERROR_WRITE_PROTECTED | r.ERROR_ABORTED)
            else:
                self._show_lba(self._first_bad(drive, offset, length))
                self._fail(drive, r.ERROR_UNCORRECTABLE)
            return False
        return True

    @staticmethod
    def _first_bad(drive: Drive, offset: int, length: int) -> int:
        sector = memoryview(bytearray(r.SECTOR_BYTES))
        for place in range(offset, offset + length, r.SECTOR_BYTES):
            try:
                drive.image.read_into(place, sector)
            except KernelError:
                return place // r.SECTOR_BYTES
        return offset // r.SECTOR_BYTES

    def _show_lba(self, lba: int) -> None:
        for index in range(3):
            self._registers[3 + index] = lba >> (8 * index) & 0xFF
            self._previous[3 + index] = lba >> (24 + 8 * index) & 0xFF
        device = self._registers[r.CommandBlock.DEVICE]
        self._registers[r.CommandBlock.DEVICE] = device & 0xF0 | lba >> 24 & 0x0F

    def _fail(self, drive: Drive, error: int) -> None:
        drive.buffer = memoryview(b"")
        drive.dma = None
        drive.error = error
        drive.status = r.STATUS_DRDY | r.STATUS_ERR
        self.bm_status &= ~r.BUS_MASTER_ACTIVE
        self._ask_for_service()

    @staticmethod
    def _is_stuck(drive: Drive) -> bool:
        return bool(getattr(drive.image, "stuck", False))

    # -- bus master --

    def run_bus_master(self) -> None:
        """Move the data of a DMA command, once both the command and the start bit are there."""
        drive = self.selected
        if not self.bm_command & r.BUS_MASTER_START or drive is None or drive.dma is None:
            return
        offset, length, reads = drive.dma
        if reads != bool(self.bm_command & r.BUS_MASTER_TO_MEMORY):
            self.bm_status |= r.BUS_MASTER_ERROR
            self._fail(drive, r.ERROR_ABORTED)
            return
        if not self._on_image(drive, offset, lambda: self._move(drive, offset, length, reads), length):
            return
        drive.dma = None
        drive.status = r.STATUS_DRDY
        self._ask_for_service()

    def _move(self, drive: Drive, offset: int, length: int, reads: bool) -> None:
        controller = self.controller
        table = self.bm_table
        for _ in range(MOST_PRDS):
            region = r.PrdWords.parse(controller.dma_read(table, r.PrdWords.size))
            table += r.PrdWords.size
            count = min(region.count_and_flags & 0xFFFF or r.PRD_REGION_BYTES, length)
            if controller.reaches(region.address, count):
                view = controller.dma_read(region.address, count)
                if reads:
                    drive.image.read_into(offset, view)
                else:
                    drive.image.write(offset, view)
            else:
                controller.dma_read(region.address, count)  # a master abort, which the header's status tells
                self.bm_status |= r.BUS_MASTER_ERROR
            offset, length = offset + count, length - count
            if not length:
                self.bm_status &= ~r.BUS_MASTER_ACTIVE
                return
            if region.count_and_flags >> 16 & r.PRD_LAST:
                break
        self.bm_status |= r.BUS_MASTER_ERROR
        self.bm_status &= ~r.BUS_MASTER_ACTIVE

    # -- interrupt --

    def _ask_for_service(self) -> None:
        self._wants_interrupt = True
        self.bm_status |= r.BUS_MASTER_INTERRUPT
        self._show_interrupt()

    def _drop_interrupt(self) -> None:
        self._wants_interrupt = False
        self._show_interrupt()

    def _show_interrupt(self) -> None:
        machine = self.controller.machine
        if machine is None:
            return
        if self._wants_interrupt and not self.control & r.CONTROL_NO_INTERRUPT:
            machine.interrupts.raise_line(self.line, self)
        else:
            machine.interrupts.lower_line(self.line, self)


class IdeController(DeviceModel):
    """82371SB function 1, in compatibility mode."""

    vendor_id = 0x8086
    device_id = 0x7010
    class_code = r.IDE_CLASS | r.BUS_MASTER_CAPABLE
    bars = (Bar(r.BUS_MASTER_BAR, 2 * r.BUS_MASTER_CHANNEL_BYTES, is_io=True),)
    interrupt_pin = 0
    fixed_ports: ClassVar[tuple[FixedPorts, ...]] = tuple(
        ports
        for number in (0, 1)
        for ports in (
            FixedPorts(r.COMMAND_PORTS[number], r.COMMAND_BLOCK_BYTES, COMMAND_WINDOW + number),
            FixedPorts(r.CONTROL_PORTS[number], 1, CONTROL_WINDOW + number),
        )
    )

    def __init__(self) -> None:
        super().__init__()
        self.channels = [Channel(self, line) for line in r.COMPATIBILITY_LINES]

    def attach(self, drive: Drive, position: int) -> None:
        """Connect a disk: positions 0 and 1 are the first channel's, 2 and 3 the second's."""
        self.channels[position // 2].drives[position % 2] = drive

    def release(self) -> None:
        for channel in self.channels:
            for drive in channel.drives:
                if drive is not None:
                    drive.image.close()

    def reaches(self, address: int, length: int) -> bool:
        """Whether DMA to these addresses gets anywhere."""
        return self.machine is not None and self.is_bus_master and address + length <= self.machine.ram_bytes

    # -- DeviceModel --

    def read(self, window: int, offset: int, width: int) -> int:
        if window >= CONTROL_WINDOW:
            return self.channels[window - CONTROL_WINDOW].read_control()
        if window >= COMMAND_WINDOW:
            channel = self.channels[window - COMMAND_WINDOW]
            if offset == r.CommandBlock.DATA:
                return int.from_bytes(channel.read_data(width // 2 or 1)[:width], "little")
            return channel.read(offset)
        number, register = divmod(offset, r.BUS_MASTER_CHANNEL_BYTES)
        channel = self.channels[number]
        if register == r.BusMaster.TABLE:
            return channel.bm_table
        return {r.BusMaster.COMMAND: channel.bm_command, r.BusMaster.STATUS: channel.bm_status}.get(register, 0)

    def write(self, window: int, offset: int, width: int, value: int) -> None:
        if window >= CONTROL_WINDOW:
            self.channels[window - CONTROL_WINDOW].write_control(value)
        elif window >= COMMAND_WINDOW:
            channel = self.channels[window - COMMAND_WINDOW]
            if offset == r.CommandBlock.DATA:
                channel.write_data(value.to_bytes(width, "little"))
            else:
                channel.write(offset, value)
        else:
            number, register = divmod(offset, r.BUS_MASTER_CHANNEL_BYTES)
            self._write_bus_master(self.channels[number], register, value)

    def read_data(self, window: int, offset: int, count: int) -> bytes:
        return self.channels[window - COMMAND_WINDOW].read_data(count)

    def write_data(self, window: int, offset: int, data: bytes) -> None:
        self.channels[window - COMMAND_WINDOW].write_data(data)

    @staticmethod
    def _write_bus_master(channel: Channel, register: int, value: int) -> None:
        if register == r.BusMaster.TABLE:
            channel.bm_table = value & ~3
        elif register == r.BusMaster.STATUS:
            cleared = value & (r.BUS_MASTER_ERROR | r.BUS_MASTER_INTERRUPT)
            channel.bm_status = channel.bm_status & ~(cleared | 0x60) | value & 0x60
        elif register == r.BusMaster.COMMAND:
            starts = value & ~channel.bm_command & r.BUS_MASTER_START
            channel.bm_command = value & (r.BUS_MASTER_START | r.BUS_MASTER_TO_MEMORY)
            if not value & r.BUS_MASTER_START:
                channel.bm_status &= ~r.BUS_MASTER_ACTIVE
            elif starts:
                channel.bm_status |= r.BUS_MASTER_ACTIVE
                channel.run_bus_master()


def open_controller(disks: Sequence[DiskRequest]) -> IdeController:
    """A controller with the disks that a machine was asked for. Raises ConfigError."""
    if len(disks) > MOST_DISKS:
        raise ConfigError(f"an IDE controller has room for {MOST_DISKS} disks, not {len(disks)}")
    controller = IdeController()
    for position, disk in enumerate(disks):
        image = open_image(disk.path, read_only=disk.read_only)
        controller.attach(Drive(image, f"JEFE{position:04d}"), position)
    return controller
