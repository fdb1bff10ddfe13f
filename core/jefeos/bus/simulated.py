"""The simulated machine: a PCI bus whose devices are Python models.

    driver -> Region -> model.read/write(window, offset, width)       a register access is one direct call
    model  -> dma_read/dma_write                                      guest RAM, if the driver made it bus master
    model  -> raise_interrupt / lower_interrupt, schedule             what it does by itself

A driver plugin ships the model of its device, a `DeviceModel`: its header, its windows and its registers. Faults that
any device can have are here, for tests: `SimulatedMachine.unplug` (surprise removal: everything reads as ones) and a
transfer to an address where no RAM is (a master abort: reads give ones, writes are lost, the status register tells).

Time is a queue of events. While the kernel waits for a device (`Machine.wait`) it jumps to the next one, so a timeout
of 30 s is tested in no time; with an event loop attached, events happen by the loop's clock.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import frozen

from jefeos.bus.machine import Machine, MachineRequest, MessageTarget
from jefeos.bus.pci import (
    CONFIG_BYTES,
    DEVICES_A_BUS,
    Bar,
    CapabilityId,
    Command,
    ConfigRegister,
    Location,
    PciDevice,
    Status,
)
from jefeos.bus.region import ALL_ONES_8, ALL_ONES_16, ALL_ONES_32, Region
from jefeos.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import asyncio

INTERRUPT_LINES: Final = (10, 11, 5, 9)
"""What INTA to INTD of slot 0 are wired to; each slot starts one further, as on a PC."""

MESSAGE_ADDRESS: Final = 0xFEE0_0000
FIRST_MESSAGE_VECTOR: Final = 0x40
"""Numbers of messages begin above those of lines."""

_ONES: Final = {1: ALL_ONES_8, 2: ALL_ONES_16, 4: ALL_ONES_32}
_WRITABLE_COMMAND: Final = int(
    Command.IO_SPACE | Command.MEMORY_SPACE | Command.BUS_MASTER | Command.INTERRUPT_DISABLE
)


@frozen
class FixedPorts:
    """Ports at an address that software cannot move, as an IDE controller's in compatibility mode."""

    base: int
    size: int
    window: int


class DeviceModel:
    """Base of device models. A model says what it is by class attributes and answers `read` and `write`.

    ``window`` is the BAR's index, or what `FixedPorts` names.
    """

    vendor_id: ClassVar[int]
    device_id: ClassVar[int]
    class_code: ClassVar[int]
    revision: ClassVar[int] = 0
    subsystem: ClassVar[tuple[int, int]] = (0, 0)
    bars: ClassVar[tuple[Bar, ...]] = ()
    fixed_ports: ClassVar[tuple[FixedPorts, ...]] = ()
    interrupt_pin: ClassVar[int] = 1
    capabilities: ClassVar[tuple[bytes, ...]] = ()
    """Capability structures with a zero in place of the next pointer."""

    def __init__(self) -> None:
        self.machine: SimulatedMachine | None = None
        self.line = 0
        self.is_bus_master = False
        self._config = bytearray(CONFIG_BYTES)
        self._writable = bytearray(CONFIG_BYTES)
        self._message_at: int | None = None
        self._build_config()

    # -- what a model implements --

    def read(self, window: int, offset: int, width: int) -> int:
        """A register is read; ``width`` is 1, 2 or 4 bytes."""
        return _ONES[width]

    def write(self, window: int, offset: int, width: int, value: int) -> None:
        """A register is written."""

    def read_data(self, window: int, offset: int, count: int) -> bytes:
        """``count`` 16-bit reads of one register (`Region.read_data`)."""
        return b"".join([self.read(window, offset, 2).to_bytes(2, "little") for _ in range(count)])

    def write_data(self, window: int, offset: int, data: bytes) -> None:
        """16-bit writes to one register."""
        for unit in memoryview(data).cast("H"):
            self.write(window, offset, 2, unit)

    def config_written(self, offset: int, width: int) -> None:
        """Configuration space was written (after the fact)."""

    def release(self) -> None:
        """The machine is switched off for good: let go of what belongs to the host, such as disk images."""

    # -- what a model calls --

    def dma_read(self, address: int, length: int) -> memoryview:
        """Memory as the device sees it: a view of RAM, valid at once. HOT."""
        machine = self.machine
        if machine is not None and self.is_bus_master and address + length <= machine.ram_bytes:
            return machine.ram[address : address + length]
        self._master_abort()
        return memoryview(bytes([ALL_ONES_8]) * length)

    def dma_write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """The device writes memory. HOT."""
        machine = self.machine
        length = len(data)
        if machine is not None and self.is_bus_master and address + length <= machine.ram_bytes:
            machine.ram[address : address + length] = data
        else:
            self._master_abort()

    def raise_interrupt(self) -> None:
        """Ask for service: a message if the driver enabled that, else the device's line, until it is lowered."""
        if self.machine is not None and self._message_at is not None and self._config[self._message_at + 2] & 1:
            self.machine.interrupts.message(self._message_data())
        elif self.machine is not None:
            self._config[ConfigRegister.STATUS] |= int(Status.INTERRUPT)
            if not self._config[ConfigRegister.COMMAND + 1] & int(Command.INTERRUPT_DISABLE) >> 8:
                self.machine.interrupts.raise_line(self.line, self)

    def lower_interrupt(self) -> None:
        """Let the line go."""
        if self.machine is not None:
            self._config[ConfigRegister.STATUS] &= ~int(Status.INTERRUPT)
            self.machine.interrupts.lower_line(self.line, self)

    def schedule(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Call back after a time, unless the device is gone by then."""
        if self.machine is not None:
            self.machine.schedule(delay_ns, lambda: callback() if self.machine is not None else None)

    # -- configuration space --

    def read_config(self, offset: int, width: int) -> int:
        """Bytes of the header and the capabilities."""
        return int.from_bytes(self._config[offset : offset + width], "little")

    def write_config(self, offset: int, width: int, value: int) -> None:
        """Only the bits that the header lets software write; the status register's are cleared by ones."""
        for index, byte in enumerate(value.to_bytes(width, "little"), offset):
            if index in (ConfigRegister.STATUS, ConfigRegister.STATUS + 1):
                self._config[index] &= ~(byte & self._writable[index])
            else:
                mask = self._writable[index]
                self._config[index] = (self._config[index] & ~mask) | (byte & mask)
        self.is_bus_master = bool(self._config[ConfigRegister.COMMAND] & int(Command.BUS_MASTER))
        self.config_written(offset, width)

    def base_of(self, bar: Bar) -> int | None:
        """Where a BAR is decoded now; None while it is not."""
        command = self._config[ConfigRegister.COMMAND]
        wanted = Command.IO_SPACE if bar.is_io else Command.MEMORY_SPACE
        if not command & int(wanted):
            return None
        register = ConfigRegister.BASE_ADDRESS_0 + 4 * bar.index
        return self.read_config(register, 4) & ~(3 if bar.is_io else 15)

    def _build_config(self) -> None:
        def put(register: int, width: int, value: int) -> None:
            self._config[register : register + width] = value.to_bytes(width, "little")

        put(ConfigRegister.VENDOR_ID, 2, self.vendor_id)
        put(ConfigRegister.DEVICE_ID, 2, self.device_id)
        put(ConfigRegister.REVISION_ID, 1, self.revision)
        put(ConfigRegister.CLASS_CODE, 3, self.class_code)
        put(ConfigRegister.SUBSYSTEM_VENDOR_ID, 2, self.subsystem[0])
        put(ConfigRegister.SUBSYSTEM_ID, 2, self.subsystem[1])
        put(ConfigRegister.INTERRUPT_PIN, 1, self.interrupt_pin)
        self._writable[ConfigRegister.COMMAND : ConfigRegister.COMMAND + 2] = _WRITABLE_COMMAND.to_bytes(2, "little")
        self._writable[ConfigRegister.STATUS + 1] = int(Status.RECEIVED_MASTER_ABORT) >> 8
        for free in (ConfigRegister.CACHE_LINE_SIZE, ConfigRegister.LATENCY_TIMER, ConfigRegister.INTERRUPT_LINE):
            self._writable[free] = 0xFF
        for bar in self.bars:
            register = ConfigRegister.BASE_ADDRESS_0 + 4 * bar.index
            flags = 1 if bar.is_io else (4 if bar.is_64_bit else 0) | (8 if bar.prefetchable else 0)
            put(register, 4, flags)
            mask = -bar.size & ((1 << 64) - 1)
            self._writable[register : register + 4] = (mask & ALL_ONES_32).to_bytes(4, "little")
            if bar.is_64_bit:
                self._writable[register + 4 : register + 8] = (mask >> 32).to_bytes(4, "little")
        self._build_capabilities()

    def _build_capabilities(self) -> None:
        place: int = 0x40
        pointer = int(ConfigRegister.CAPABILITIES)
        for capability in self.capabilities:
            self._config[pointer] = place
            self._config[place : place + len(capability)] = capability
            if capability[0] == CapabilityId.MSI:
                self._message_at = place
                self._writable[place + 2] = 0x71
                self._writable[place + 4 : place + len(capability)] = b"\xff" * (len(capability) - 4)
            self._config[ConfigRegister.STATUS] |= int(Status.CAPABILITIES)
            pointer = place + 1
            place += -(-len(capability) // 4) * 4

    def _message_data(self) -> int:
        assert self._message_at is not None
        wide = self._config[self._message_at + 2] & 0x80
        return self.read_config(self._message_at + (12 if wide else 8), 2)

    def _master_abort(self) -> None:
        self._config[ConfigRegister.STATUS + 1] |= int(Status.RECEIVED_MASTER_ABORT) >> 8


class _DecodedRegion(Region):
    """A window of addresses, and the model that decodes them. Looked up again whenever decoding may have changed."""

    def __init__(self, machine: SimulatedMachine, base: int, size: int, is_io: bool) -> None:
        self.size = size
        self._machine = machine
        self._base = base
        self._is_io = is_io
        self._generation = -1
        self._model: DeviceModel | None = None
        self._window = 0
        self._start = 0

    def _resolve(self) -> DeviceModel | None:
        machine = self._machine
        if self._generation != machine.generation:
            self._generation = machine.generation
            self._model = None
            found = machine.decode(self._base, self._is_io)
            if found is not None:
                self._model, self._window, self._start = found
        return self._model

    def _read(self, offset: int, width: int) -> int:
        if not 0 <= offset <= self.size - width:
            raise UsageError(f"register {offset:#x} is outside of a window of {self.size} bytes")
        model = self._resolve()
        return _ONES[width] if model is None else model.read(self._window, self._start + offset, width)

    def _write(self, offset: int, width: int, value: int) -> None:
        if not 0 <= offset <= self.size - width or value >> (8 * width):
            raise UsageError(f"{value:#x} to register {offset:#x} of a window of {self.size} bytes")
        model = self._resolve()
        if model is not None:
            model.write(self._window, self._start + offset, width, value)

    def read_data(self, offset: int, count: int) -> bytes:
        model = self._resolve()
        if model is None:
            return bytes([ALL_ONES_8]) * (2 * count)
        return model.read_data(self._window, self._start + offset, count)

    def write_data(self, offset: int, data: bytes) -> None:
        model = self._resolve()
        if model is not None:
            model.write_data(self._window, self._start + offset, data)

    def read8(self, offset: int) -> int:
        return self._read(offset, 1)

    def read16(self, offset: int) -> int:
        return self._read(offset, 2)

    def read32(self, offset: int) -> int:
        return self._read(offset, 4)

    def write8(self, offset: int, value: int) -> None:
        self._write(offset, 1, value)

    def write16(self, offset: int, value: int) -> None:
        self._write(offset, 2, value)

    def write32(self, offset: int, value: int) -> None:
        self._write(offset, 4, value)


class SimulatedMachine(Machine):
    """RAM, and the models that were added."""

    name = "simulated"

    def __init__(self, ram: memoryview, dma_base: int, dma_bytes: int, log: logging.Logger | None = None) -> None:
        super().__init__(ram, dma_base, dma_bytes, log)
        self.ram_bytes = len(ram)
        self.generation = 0
        """Changes whenever some address may be decoded by another model than before."""
        self._models: dict[Location, DeviceModel] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = count()
        self._last_vector = FIRST_MESSAGE_VECTOR
        self._time_ns = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        for model in self._models.values():
            model.release()

    # -- devices --

    def add(self, model: DeviceModel, slot: int | None = None) -> Location:
        """Plug a device in. Before `start`, or the bus has to be looked at again."""
        free = [number for number in range(1, DEVICES_A_BUS) if Location(0, number) not in self._models]
        number = slot if slot is not None else free[0] if free else None
        if number is None or Location(0, number) in self._models:
            raise UsageError(f"PCI slot {number} is taken" if number is not None else "every PCI slot is taken")
        location = Location(0, number)
        self._models[location] = model
        model.machine = self
        if model.interrupt_pin:
            model.line = INTERRUPT_LINES[(number + model.interrupt_pin - 1) % len(INTERRUPT_LINES)]
        self.generation += 1
        return location

    def unplug(self, location: Location) -> None:
        """Surprise removal: nobody is told, the device just no longer answers."""
        model = self._models.pop(location)
        self.interrupts.lower_line(model.line, model)
        model.machine = None
        self.generation += 1

    def decode(self, address: int, is_io: bool) -> tuple[DeviceModel, int, int] | None:
        """Who answers at an address: the model, its window, and the offset in that."""
        for model in self._models.values():
            for bar in model.bars:
                base = model.base_of(bar) if bar.is_io == is_io else None
                if base is not None and base <= address < base + bar.size:
                    return model, bar.index, address - base
            if is_io:
                for ports in model.fixed_ports:
                    if ports.base <= address < ports.base + ports.size:
                        return model, ports.window, address - ports.base
        return None

    # -- Machine --

    def read_config(self, location: Location, offset: int, width: int) -> int:
        model = self._models.get(location)
        return _ONES[width] if model is None else model.read_config(offset, width)

    def write_config(self, location: Location, offset: int, width: int, value: int) -> None:
        model = self._models.get(location)
        if model is not None:
            model.write_config(offset, width, value)
            self.generation += 1

    def map_ports(self, base: int, size: int) -> Region:
        return _DecodedRegion(self, base, size, is_io=True)

    def map_memory(self, base: int, size: int) -> Region:
        return _DecodedRegion(self, base, size, is_io=False)

    def interrupt_line(self, device: PciDevice) -> int | None:
        model = self._models.get(device.location)
        return model.line if model is not None and model.interrupt_pin else None

    def message_target(self, device: PciDevice) -> MessageTarget | None:
        self._last_vector += 1
        return MessageTarget(self._last_vector, MESSAGE_ADDRESS, self._last_vector)

    # -- time --

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        super().attach(loop)
        self._loop = loop
        for at_ns, _, _ in self._events:
            self._arm(at_ns - self._time_ns)

    def schedule(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Call back ``delay_ns`` nanoseconds from now."""
        heapq.heappush(self._events, (self._time_ns + delay_ns, next(self._serial), callback))
        self._arm(delay_ns)

    def now_ns(self) -> int:
        return self._time_ns

    def poll(self, deadline_ns: int) -> bool:
        if not self._events or self._events[0][0] > deadline_ns:
            self._time_ns = max(self._time_ns, deadline_ns)
            return False
        at_ns, _, callback = heapq.heappop(self._events)
        self._time_ns = max(self._time_ns, at_ns)
        callback()
        return True

    def _arm(self, delay_ns: int) -> None:
        if self._loop is not None:
            self._loop.call_later(max(delay_ns, 0) / 1e9, self._next_event)

    def _next_event(self) -> None:
        """One timer was armed for each event; those that a wait has been through already find nothing."""
        if self._events:
            self.poll(self._events[0][0])


def build_simulated(request: MachineRequest) -> SimulatedMachine:
    """A machine with the disks and cards that were asked for. Raises ConfigError for a model that nobody ships."""
    machine = SimulatedMachine(request.ram, request.dma_base, request.dma_bytes, request.log)
    for name in dict.fromkeys(disk.controller for disk in request.disks):
        make_controller = _model(request.disk_controllers, name, "disk controller")
        machine.add(make_controller([disk for disk in request.disks if disk.controller == name]))
    for nic in request.nics:
        machine.add(_model(request.network_cards, nic.model, "network card")(nic))
    return machine


def _model(known: Mapping[str, Callable[[Any], DeviceModel]], name: str, what: str) -> Callable[[Any], DeviceModel]:
    if name not in known:
        raise ConfigError(f"no plugin has a model of the {what} {name!r}; there are: {', '.join(known) or 'none'}")
    return known[name]
