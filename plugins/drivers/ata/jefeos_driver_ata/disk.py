"""An ATA disk as a block device: which command for which transfer, and what to do when one fails.

* DMA through the channel's buffer where the controller and the disk can, PIO otherwise.
* 48-bit commands where the disk has them, 28-bit ones otherwise.
* A command that is not answered, or whose data was damaged on the cable, is tried again after a reset, RETRIES times;
  then the disk is given up: one line in the log, and ENODEV for whoever goes on using it.
* A bad sector fails the read that meets it with EIO, and the log says which sector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.block.device import BlockDevice
from jefeos.errors import Errno, KernelError

from jefeos_driver_ata.channel import FLUSH_TIMEOUT_NS, Channel, CommandFailed, NotAnswering, Request
from jefeos_driver_ata.registers import (
    ERROR_ABORTED,
    ERROR_ID_NOT_FOUND,
    ERROR_INTERFACE_CRC,
    ERROR_NO_MEDIA,
    ERROR_UNCORRECTABLE,
    ERROR_WRITE_PROTECTED,
    SECTOR_BYTES,
    SECTORS_A_COMMAND_28,
    SECTORS_A_COMMAND_48,
    Command,
)

if TYPE_CHECKING:
    from jefeos.bus.driver import DeviceContext

    from jefeos_driver_ata.identify import Identity

RETRIES: Final = 3

_READ_DMA, _READ_DMA_EXT = int(Command.READ_DMA), int(Command.READ_DMA_EXT)
_WRITE_DMA, _WRITE_DMA_EXT = int(Command.WRITE_DMA), int(Command.WRITE_DMA_EXT)
_READ_PIO, _READ_PIO_EXT = int(Command.READ_SECTORS), int(Command.READ_SECTORS_EXT)
_WRITE_PIO, _WRITE_PIO_EXT = int(Command.WRITE_SECTORS), int(Command.WRITE_SECTORS_EXT)


class AtaDisk(BlockDevice):
    """Device ``number`` (0 or 1) of a channel."""

    def __init__(self, context: DeviceContext, channel: Channel, number: int, identity: Identity) -> None:
        self.context = context
        self.channel = channel
        self.number = number
        self.identity = identity
        self.name = f"{context.device.location}-{number}"  # until somebody gives it a better one
        self.model, self.serial = identity.model, identity.serial
        self.sector_count = identity.sector_count
        self.retried = 0
        """Commands that were issued again."""
        self.gone = ""
        """Why it was given up."""
        self._wide = identity.has_lba48
        self._most = SECTORS_A_COMMAND_48 if self._wide else SECTORS_A_COMMAND_28
        self._uses_dma = identity.has_dma and channel.dma_bytes > 0
        if self._uses_dma:
            self._most = min(self._most, channel.dma_bytes // SECTOR_BYTES)

    # -- BlockDevice --

    def read_into(self, lba: int, buffer: memoryview) -> None:
        left = self.check_range(lba, len(buffer))
        start = 0
        while left:
            count = min(left, self._most)
            end = start + count * SECTOR_BYTES
            self._read(lba, count, buffer[start:end])
            lba, left, start = lba + count, left - count, end

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        left = self.check_range(lba, len(data))
        view = memoryview(data).cast("B")
        start = 0
        while left:
            count = min(left, self._most)
            end = start + count * SECTOR_BYTES
            self._write(lba, count, view[start:end])
            lba, left, start = lba + count, left - count, end

    def flush(self) -> None:
        if not (self.identity.has_flush or self.identity.has_flush_ext):
            return  # a disk without the command has no cache that would lose anything
        command = Command.FLUSH_CACHE_EXT if self.identity.has_flush_ext else Command.FLUSH_CACHE
        request = Request(int(command), uses_lba=False)
        self._persistently(request, lambda: self.channel.run(self.number, request, FLUSH_TIMEOUT_NS))

    # -- commands --

    def _read(self, lba: int, count: int, buffer: memoryview) -> None:
        channel = self.channel
        if self._uses_dma:
            request = Request(_READ_DMA_EXT if self._wide else _READ_DMA, lba, count, self._wide)
            length = len(buffer)
            self._persistently(request, lambda: channel.run_dma(self.number, request, length, to_memory=True))
            buffer[:] = channel.dma_buffer[:length]
            return
        request = Request(_READ_PIO_EXT if self._wide else _READ_PIO, lba, count, self._wide)
        self._persistently(request, lambda: channel.read_pio(self.number, request, buffer))

    def _write(self, lba: int, count: int, data: memoryview) -> None:
        channel = self.channel
        if self._uses_dma:
            request = Request(_WRITE_DMA_EXT if self._wide else _WRITE_DMA, lba, count, self._wide)
            length = len(data)

            def transfer() -> None:
                channel.dma_buffer[:length] = data
                channel.run_dma(self.number, request, length, to_memory=False)

            self._persistently(request, transfer, writing=True)
            return
        request = Request(_WRITE_PIO_EXT if self._wide else _WRITE_PIO, lba, count, self._wide)
        self._persistently(request, lambda: channel.write_pio(self.number, request, data), writing=True)

    def _persistently(self, request: Request, attempt: Callable[[], None], *, writing: bool = False) -> None:
        """Run a command, again if that may help. Raises KernelError: EIO, EROFS, ENOMEDIUM, ENODEV."""
        if self.gone:
            raise KernelError(Errno.ENODEV, self.gone)
        for number in range(RETRIES + 1):
            try:
                attempt()
                return
            except CommandFailed as failure:
                if not failure.error & ERROR_INTERFACE_CRC or number == RETRIES:
                    raise self._explained(failure, request, writing) from None
                self.context.log.warning("disk %d: data was damaged on the cable, trying again", self.number)
            except NotAnswering as failure:
                if failure.gone or number == RETRIES:
                    raise self._give_up(str(failure)) from None
                self.context.log.warning("disk %d: %s, resetting it", self.number, failure)
                try:
                    self.channel.reset()
                except NotAnswering as worse:
                    raise self._give_up(str(worse)) from None
            self.retried += 1

    def _explained(self, failure: CommandFailed, request: Request, writing: bool) -> KernelError:
        error = failure.error
        if error & ERROR_NO_MEDIA and self.identity.removable:
            return KernelError(Errno.ENOMEDIUM, "there is no medium in the drive")
        if writing and error & ERROR_WRITE_PROTECTED:
            self.read_only = True
            return KernelError(Errno.EROFS, "the medium is write-protected")
        if error & ERROR_UNCORRECTABLE:
            what = f"sector {self.channel.failed_lba(request.wide)} cannot be read"
        elif error & ERROR_ID_NOT_FOUND:
            what = f"sector {self.channel.failed_lba(request.wide)} is not found"
        elif error & ERROR_ABORTED:
            what = f"the disk refuses command {request.command:#04x}"
        else:
            what = str(failure)
        self.context.log.error("disk %d: %s", self.number, what)
        return KernelError(Errno.EIO, what)

    def _give_up(self, why: str) -> KernelError:
        self.gone = why
        self.context.retract(self, f"disk {self.number} is given up: {why}")
        return KernelError(Errno.EIO, why)
