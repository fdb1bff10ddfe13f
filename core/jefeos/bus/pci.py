"""PCI as drivers and machines see it: configuration space, BARs, capabilities, enumeration (PCI Local Bus 3.0).

    offset  0 vendor, device   4 command, status   8 revision, class   C cache line, latency, header type
           10 BAR 0 … 24 BAR 5   2C subsystem   34 first capability   3C interrupt line and pin     (type 0 header)

The order of things, as firmware would do them (6.2.5): `enumerate_functions` asks every slot of bus 0 for its vendor;
`PciDevice` reads the header and sizes each BAR by writing ones; `assign_bars` gives every BAR an address in the
machine's windows; a driver enables decoding and bus mastering.

Not here: bridges (a bridge is reported, what is behind it is not), expansion ROMs, extended configuration space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import Final

from attrs import define, field, frozen

from jefeos.errors import BootError

DEVICES_A_BUS: Final = 32
FUNCTIONS_A_DEVICE: Final = 8
NO_DEVICE: Final = 0xFFFF
CONFIG_BYTES: Final = 256
HEADER_BYTES: Final = 0x40
BAR_COUNT: Final = 6
MULTIFUNCTION: Final = 0x80
HEADER_KIND_MASK: Final = 0x7F
MAXIMUM_CAPABILITIES: Final = 48
"""As many four-byte structures fit behind the header: more is a loop."""

_BAR_IS_IO: Final = 1
_BAR_IS_64_BIT: Final = 4
_BAR_PREFETCHABLE: Final = 8
_IO_FLAGS: Final = 0x3
_MEMORY_FLAGS: Final = 0xF
_32_BITS: Final = 0xFFFF_FFFF
# MSI capability structure (6.8.1)
_MSI_CONTROL, _MSI_ADDRESS, _MSI_DATA_32, _MSI_DATA_64 = 2, 4, 8, 12
_MSI_ENABLE: Final = 1
_MSI_SEVERAL: Final = 7 << 4
_MSI_64_BIT: Final = 1 << 7


class ConfigRegister(IntEnum):
    """Offsets in a type 0 header (6.1)."""

    VENDOR_ID = 0x00
    DEVICE_ID = 0x02
    COMMAND = 0x04
    STATUS = 0x06
    REVISION_ID = 0x08
    CLASS_CODE = 0x09  # three bytes: programming interface, subclass, class
    CACHE_LINE_SIZE = 0x0C
    LATENCY_TIMER = 0x0D
    HEADER_TYPE = 0x0E
    BASE_ADDRESS_0 = 0x10
    SUBSYSTEM_VENDOR_ID = 0x2C
    SUBSYSTEM_ID = 0x2E
    CAPABILITIES = 0x34
    INTERRUPT_LINE = 0x3C
    INTERRUPT_PIN = 0x3D


class Command(IntFlag):
    """Bits of the command register (6.2.2)."""

    IO_SPACE = 1 << 0
    MEMORY_SPACE = 1 << 1
    BUS_MASTER = 1 << 2
    INTERRUPT_DISABLE = 1 << 10


class Status(IntFlag):
    """Bits of the status register (6.2.3)."""

    INTERRUPT = 1 << 3
    CAPABILITIES = 1 << 4
    RECEIVED_MASTER_ABORT = 1 << 13


class CapabilityId(IntEnum):
    """Capability IDs (appendix H)."""

    POWER_MANAGEMENT = 0x01
    MSI = 0x05
    VENDOR = 0x09
    PCI_EXPRESS = 0x10
    MSI_X = 0x11


@frozen(order=True)
class Location:
    """Bus, device and function number."""

    bus: int
    device: int
    function: int = 0

    def __str__(self) -> str:
        return f"{self.bus:02x}:{self.device:02x}.{self.function}"


class PciHost(ABC):
    """Access to configuration space."""

    @abstractmethod
    def read_config(self, location: Location, offset: int, width: int) -> int:
        """``width`` (1, 2 or 4) bytes at ``offset``, which is a multiple of it. All ones if nothing is there."""

    @abstractmethod
    def write_config(self, location: Location, offset: int, width: int, value: int) -> None:
        """The same for writing. Lost if nothing is there."""


@define
class Bar:
    """A base address register. ``address`` is 0 until `assign_bars`."""

    index: int
    size: int
    is_io: bool
    is_64_bit: bool = False
    prefetchable: bool = False
    address: int = 0


@define(eq=False)
class PciDevice:
    """One function on the bus, as its header described it when it was found."""

    host: PciHost
    location: Location
    vendor_id: int
    device_id: int
    class_code: int
    """Class, subclass and programming interface: 0x020000 is an Ethernet controller."""
    revision: int
    subsystem: tuple[int, int]
    bars: dict[int, Bar] = field(factory=dict)
    interrupt_pin: int = 0
    """1 for INTA … 4 for INTD; 0 without an interrupt."""

    @classmethod
    def read(cls, host: PciHost, location: Location) -> PciDevice:
        """Read a header and size its BARs. Decoding is off afterwards."""

        def config(register: int, width: int) -> int:
            return host.read_config(location, register, width)

        device = cls(
            host,
            location,
            vendor_id=config(ConfigRegister.VENDOR_ID, 2),
            device_id=config(ConfigRegister.DEVICE_ID, 2),
            class_code=config(ConfigRegister.REVISION_ID, 4) >> 8,
            revision=config(ConfigRegister.REVISION_ID, 1),
            subsystem=(config(ConfigRegister.SUBSYSTEM_VENDOR_ID, 2), config(ConfigRegister.SUBSYSTEM_ID, 2)),
            interrupt_pin=config(ConfigRegister.INTERRUPT_PIN, 1),
        )
        device.set_command(0)
        if config(ConfigRegister.HEADER_TYPE, 1) & HEADER_KIND_MASK == 0:
            device.bars = {bar.index: bar for bar in device._size_bars()}
        return device

    @property
    def is_bridge(self) -> bool:
        """Whether this is a PCI-to-PCI bridge."""
        return self.class_code >> 8 == 0x0604

    @property
    def is_present(self) -> bool:
        """Whether the device still answers."""
        return self.read_config(ConfigRegister.VENDOR_ID, 2) == self.vendor_id

    def __str__(self) -> str:
        return f"{self.location} [{self.vendor_id:04x}:{self.device_id:04x}]"

    def read_config(self, offset: int, width: int) -> int:
        """``width`` bytes of this function's configuration space."""
        return self.host.read_config(self.location, offset, width)

    def write_config(self, offset: int, width: int, value: int) -> None:
        """Write ``width`` bytes of this function's configuration space."""
        self.host.write_config(self.location, offset, width, value)

    def set_command(self, command: int) -> None:
        """Write the command register: which decoders are on, and whether the device may be bus master."""
        self.write_config(ConfigRegister.COMMAND, 2, int(command))

    def capabilities(self) -> Iterator[tuple[int, int]]:
        """ID and offset of each capability. A list that loops or leaves configuration space just ends."""
        if not self.read_config(ConfigRegister.STATUS, 2) & Status.CAPABILITIES:
            return
        offset = self.read_config(ConfigRegister.CAPABILITIES, 1) & ~3
        for _ in range(MAXIMUM_CAPABILITIES):
            if not HEADER_BYTES <= offset < CONFIG_BYTES:
                return
            yield self.read_config(offset, 1), offset
            offset = self.read_config(offset + 1, 1) & ~3

    def find_capability(self, wanted: int) -> int | None:
        """The offset of the first capability with this ID."""
        return next((offset for identity, offset in self.capabilities() if identity == wanted), None)

    def _size_bars(self) -> Iterator[Bar]:
        index = 0
        while index < BAR_COUNT:
            register = ConfigRegister.BASE_ADDRESS_0 + 4 * index
            before = self.read_config(register, 4)
            mask = self._probe_mask(register)
            step = 1
            if mask & _BAR_IS_IO:
                size = -(mask & ~_IO_FLAGS) & 0xFFFF  # the upper half may be hard-wired to zero
                if size:
                    yield Bar(index, size, is_io=True)
            elif mask:
                wide = bool(mask & _BAR_IS_64_BIT)
                high = self._probe_mask(register + 4) if wide and index + 1 < BAR_COUNT else _32_BITS
                step = 2 if wide else 1
                size = -((high << 32) | (mask & ~_MEMORY_FLAGS)) & ((1 << 64) - 1)
                if size:
                    yield Bar(index, size, False, wide, bool(before & _BAR_PREFETCHABLE))
            index += step

    def _probe_mask(self, register: int) -> int:
        before = self.read_config(register, 4)
        self.write_config(register, 4, _32_BITS)
        mask = self.read_config(register, 4)
        self.write_config(register, 4, before)
        return mask


def enumerate_functions(host: PciHost) -> Iterator[PciDevice]:
    """Every function that answers on bus 0."""
    for number in range(DEVICES_A_BUS):
        first = Location(0, number)
        if host.read_config(first, ConfigRegister.VENDOR_ID, 2) == NO_DEVICE:
            continue
        several = host.read_config(first, ConfigRegister.HEADER_TYPE, 1) & MULTIFUNCTION
        for function in range(FUNCTIONS_A_DEVICE if several else 1):
            location = Location(0, number, function)
            if host.read_config(location, ConfigRegister.VENDOR_ID, 2) != NO_DEVICE:
                yield PciDevice.read(host, location)


def enable_msi(device: PciDevice, capability: int, address: int, data: int) -> None:
    """Have the device send ``data`` to ``address`` as its one message (6.8.1)."""
    control = device.read_config(capability + _MSI_CONTROL, 2)
    device.write_config(capability + _MSI_ADDRESS, 4, address & _32_BITS)
    wide = control & _MSI_64_BIT
    if wide:
        device.write_config(capability + _MSI_ADDRESS + 4, 4, address >> 32)
    device.write_config(capability + (_MSI_DATA_64 if wide else _MSI_DATA_32), 2, data)
    device.write_config(capability + _MSI_CONTROL, 2, (control & ~_MSI_SEVERAL) | _MSI_ENABLE)


def disable_msi(device: PciDevice, capability: int) -> None:
    """Back to the interrupt line."""
    control = device.read_config(capability + _MSI_CONTROL, 2)
    device.write_config(capability + _MSI_CONTROL, 2, control & ~_MSI_ENABLE)


@define
class Window:
    """Addresses that a machine leaves to BARs."""

    start: int
    end: int

    def take(self, size: int) -> int | None:
        """The next free address that is a multiple of ``size``, a power of two."""
        address = -(-self.start // size) * size
        if address + size > self.end:
            return None
        self.start = address + size
        return address


def assign_bars(devices: list[PciDevice], io: Window, memory: Window) -> None:
    """Give every BAR an address, the largest first, so that alignment wastes little. BootError when none is left."""
    wanted = [(bar, device) for device in devices for bar in device.bars.values()]
    for bar, device in sorted(wanted, key=lambda pair: -pair[0].size):
        window = io if bar.is_io else memory
        address = window.take(bar.size)
        if address is None:
            kind = "ports" if bar.is_io else "memory addresses"
            raise BootError(f"PCI device {device}: no {bar.size} {kind} are left for BAR {bar.index}")
        bar.address = address
        register = ConfigRegister.BASE_ADDRESS_0 + 4 * bar.index
        device.write_config(register, 4, address & _32_BITS)
        if bar.is_64_bit:
            device.write_config(register + 4, 4, address >> 32)
