"""The driver of PCI IDE controllers (class 01/01): finds the channels and the disks on them.

For each channel, as the specification of the class says: where its registers are (fixed ports in compatibility mode,
BARs in native mode), then a reset, then IDENTIFY DEVICE to both positions. A position that answers nothing is empty;
one that answers as a packet device (CD-ROM) is reported and left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from jefeos.bus.driver import DeviceContext, Driver, PciMatch
from jefeos.bus.pci import Command as PciCommand
from jefeos.errors import CorruptError, KernelError

from jefeos_driver_ata.channel import Channel, CommandFailed, NotAnswering, Request
from jefeos_driver_ata.disk import AtaDisk
from jefeos_driver_ata.identify import Identity
from jefeos_driver_ata.registers import (
    BUS_MASTER_BAR,
    BUS_MASTER_CAPABLE,
    BUS_MASTER_CHANNEL_BYTES,
    COMMAND_BLOCK_BYTES,
    COMMAND_PORTS,
    COMPATIBILITY_LINES,
    CONTROL_OFFSET_IN_BAR,
    CONTROL_PORTS,
    IDE_CLASS,
    IDE_CLASS_MASK,
    NATIVE_CHANNEL,
    PRD_REGION_BYTES,
    SECTOR_BYTES,
    SIGNATURE_PACKET,
    Command,
    Prd,
)

if TYPE_CHECKING:
    from jefeos.bus.region import Region

BUFFER_SIZES: Final = (1 << 20, 1 << 18, 1 << 16)
"""DMA buffers of a channel, the first that can be had; with none of them the channel does without DMA."""


class IdeController:
    """A controller that is driven."""

    def __init__(self, context: DeviceContext) -> None:
        self.context = context
        self.channels: list[Channel] = []
        self.disks: list[AtaDisk] = []

    def remove(self) -> None:
        """Flush nothing (whoever uses a disk does that), stop everything."""
        for disk in self.disks:
            disk.gone = disk.gone or "its controller is not driven any more"
        for channel in self.channels:
            channel.quiet()


class AtaDriver(Driver):
    """See the module's text."""

    name = "ata"
    matches: ClassVar[tuple[PciMatch, ...]] = (PciMatch(class_code=IDE_CLASS, class_mask=IDE_CLASS_MASK),)

    def probe(self, context: DeviceContext) -> IdeController:
        controller = IdeController(context)
        context.enable(PciCommand.IO_SPACE | PciCommand.BUS_MASTER)
        bus_master = None
        if context.device.class_code & BUS_MASTER_CAPABLE and BUS_MASTER_BAR in context.device.bars:
            bus_master = context.map_bar(BUS_MASTER_BAR)
        for number in (0, 1):
            channel = self._open_channel(context, number, bus_master)
            controller.channels.append(channel)
            controller.disks += self._find_disks(context, channel, number)
        for disk in controller.disks:
            context.publish(disk)
        return controller

    def _open_channel(self, context: DeviceContext, number: int, bus_master: Region | None) -> Channel:
        offset = number * BUS_MASTER_CHANNEL_BYTES
        if context.device.class_code & NATIVE_CHANNEL[number]:
            block, control = context.map_bar(2 * number), context.map_bar(2 * number + 1)
            channel = Channel(context, block, control, CONTROL_OFFSET_IN_BAR, bus_master, offset)
            context.connect_interrupt(channel.interrupt)
        else:
            block = context.map_ports(COMMAND_PORTS[number], COMMAND_BLOCK_BYTES)
            control = context.map_ports(CONTROL_PORTS[number], 1)
            channel = Channel(context, block, control, 0, bus_master, offset)
            context.connect_line(COMPATIBILITY_LINES[number], channel.interrupt)
        return channel

    def _find_disks(self, context: DeviceContext, channel: Channel, number: int) -> list[AtaDisk]:
        if channel.is_floating():
            return []
        try:
            channel.reset()
        except NotAnswering as error:
            context.log.warning("channel %d is left alone: %s", number, error)
            return []
        identities = [(device, self._identify(context, channel, number, device)) for device in (0, 1)]
        found = [(device, identity) for device, identity in identities if identity is not None]
        if any(identity.has_dma for _, identity in found):
            self._give_dma(context, channel)
        return [AtaDisk(context, channel, device, identity) for device, identity in found]

    @staticmethod
    def _identify(context: DeviceContext, channel: Channel, number: int, device: int) -> Identity | None:
        data = bytearray(SECTOR_BYTES)
        place = f"channel {number}, position {device}"
        try:
            channel.read_pio(device, Request(int(Command.IDENTIFY_DEVICE), uses_lba=False), memoryview(data))
            return Identity.parse(bytes(data))
        except CommandFailed:
            if channel.signature() == SIGNATURE_PACKET:
                context.log.warning("%s: a packet device (CD-ROM), which is not supported", place)
        except NotAnswering as error:
            context.log.debug("%s: %s", place, error)
        except CorruptError as error:
            context.log.error("%s is left alone: %s", place, error)
        return None

    @staticmethod
    def _give_dma(context: DeviceContext, channel: Channel) -> None:
        for size in BUFFER_SIZES:
            try:
                buffer = context.allocate_dma(size, PRD_REGION_BYTES)
                table = context.allocate_dma(size // PRD_REGION_BYTES * Prd.size)
            except KernelError:
                continue
            channel.use_dma(buffer, table)
            return
        context.log.warning("no memory for DMA: transfers go through the processor")
