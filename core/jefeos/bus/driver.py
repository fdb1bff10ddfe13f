"""Drivers: how they are matched with devices, and what they are given.

    class ExampleDriver(Driver):
        name = "example"
        matches = (PciMatch(vendor_id=0x8086, device_id=0x100E),)

        def probe(self, context):
            registers = context.map_bar(0)
            context.enable(Command.MEMORY_SPACE | Command.BUS_MASTER)
            ring = context.allocate_dma(4096)
            ...                                     # bring the device up; raise what is wrong, and it is left alone
            context.connect_interrupt(card.interrupt)
            context.publish(card)                   # a BlockDevice or NetDevice: now others may use it
            return card                             # its remove() quiets the hardware

Everything a driver takes, it takes through its `DeviceContext`, and the context gives it back: when `probe` fails, at
`unbind`, and when the device goes `offline` (it was pulled out, it is stuck, its interrupt storms). So a driver cannot
leak, and a broken device costs one line in the log and nothing else.

Drivers are asked in the order of their plugins; the first that matches and whose probe succeeds has the device.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from attrs import define, frozen

from jefeos.bus.dma import GRANULE_BYTES, DmaBuffer
from jefeos.bus.interrupts import Handler
from jefeos.bus.pci import CapabilityId, PciDevice, disable_msi, enable_msi
from jefeos.bus.region import Region
from jefeos.errors import Errno, JefeError, KernelError, UsageError

if TYPE_CHECKING:
    import asyncio

    from jefeos.bus.machine import Machine

T = TypeVar("T")


@frozen
class PciMatch:
    """Devices that a driver knows: by IDs, by class, or both. None matches any."""

    vendor_id: int | None = None
    device_id: int | None = None
    class_code: int | None = None
    class_mask: int = 0xFFFFFF
    """Which bits of the class count: 0xFFFF00 leaves the programming interface open."""

    def matches(self, device: PciDevice) -> bool:
        """Whether ``device`` is one of them."""
        return (
            self.vendor_id in (None, device.vendor_id)
            and self.device_id in (None, device.device_id)
            and (self.class_code is None or not (self.class_code ^ device.class_code) & self.class_mask)
        )


class Bound(Protocol):
    """What a driver keeps for a device that it drives."""

    def remove(self) -> None:
        """Quiet the hardware: no more DMA, no more interrupts. It may be gone already. Raises nothing.

        What was published must fail with ENODEV from now on: a device that went offline still has users then.
        """
        ...


class Driver(ABC):
    """A kind of device and how to bring one up."""

    name: ClassVar[str]
    matches: ClassVar[tuple[PciMatch, ...]]

    @abstractmethod
    def probe(self, context: DeviceContext) -> Bound:
        """Bring a device up. Any JefeError leaves it alone, with the error's text in the log."""


class _Prefixed(logging.LoggerAdapter):  # type: ignore[type-arg]
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{self.extra['prefix']}: {msg}", kwargs  # type: ignore[index]


class DeviceContext:
    """One device in the hands of its driver."""

    def __init__(self, manager: DeviceManager, device: PciDevice, driver: Driver) -> None:
        self.device = device
        self.machine = manager.machine
        self.loop = manager.loop
        """The event loop; None where nobody runs one (a disk looked at from the command line)."""
        self.log = _Prefixed(manager.log, {"prefix": f"{driver.name} {device.location}"})
        self._manager = manager
        self._published: list[object] = []
        self._undo: list[Callable[[], object]] = []

    def map_bar(self, index: int) -> Region:
        """The registers behind a BAR. Raises KernelError(ENODEV) if the device has no such BAR."""
        bar = self.device.bars.get(index)
        if bar is None:
            raise KernelError(Errno.ENODEV, f"the device has no BAR {index}")
        machine = self.machine
        return (machine.map_ports if bar.is_io else machine.map_memory)(bar.address, bar.size)

    def map_ports(self, base: int, size: int) -> Region:
        """Ports at a fixed address."""
        return self.machine.map_ports(base, size)

    def enable(self, command: int) -> None:
        """Switch decoding and bus mastering on; they go off again at the end."""
        self.device.set_command(command)
        self.defer(lambda: self.device.set_command(0))

    def allocate_dma(self, size: int, alignment: int = GRANULE_BYTES) -> DmaBuffer:
        """Zeroed memory that the device can reach. Raises KernelError(ENOMEM)."""
        buffer = self.machine.dma.allocate(size, alignment)
        self.defer(lambda: self.machine.dma.free(buffer))
        return buffer

    def connect_interrupt(self, handler: Handler) -> None:
        """Have ``handler`` called for the device's interrupt: by message if it can (MSI), else by its line.

        Raises KernelError(ENODEV) if the device has neither.
        """
        capability = self.device.find_capability(CapabilityId.MSI)
        target = self.machine.message_target(self.device) if capability is not None else None
        if capability is not None and target is not None:
            number = target.vector
            enable_msi(self.device, capability, target.address, target.data)
            self.defer(lambda: disable_msi(self.device, capability))
        else:
            line = self.machine.interrupt_line(self.device)
            if line is None:
                raise KernelError(Errno.ENODEV, "the device has no interrupt")
            number = line
        self.connect_line(number, handler)

    def connect_line(self, number: int, handler: Handler) -> None:
        """Have ``handler`` called for a line that is known otherwise (an IDE controller's 14 and 15)."""
        interrupts = self.machine.interrupts
        interrupts.connect(number, handler, self.offline)
        self.defer(lambda: interrupts.disconnect(number, handler, self.offline))

    def wait(self, condition: Callable[[], bool], timeout_ns: int) -> bool:
        """Wait for the device: True once ``condition`` holds, False after ``timeout_ns`` nanoseconds."""
        return self.machine.wait(condition, timeout_ns)

    def delay(self, duration_ns: int) -> None:
        """Let time pass for the device."""
        self.machine.wait(lambda: False, duration_ns)

    def publish(self, thing: object) -> None:
        """Offer a working block or network device to the rest of the system, until the end."""
        self._published.append(thing)
        self._manager.published.append(thing)
        self._manager.announce(thing)

    def retract(self, thing: object, reason: str) -> None:
        """One of several things that were published is broken: say so, and take it back."""
        self.log.error("%s", reason)
        self._manager.withdraw(thing)

    def defer(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` at the end, the last deferred first."""
        self._undo.append(undo)

    def offline(self, reason: str) -> None:
        """The device cannot be used any more: say so once, and take it down. May be called from anywhere."""
        self._manager.take_offline(self.device, reason)

    def withdraw_all(self) -> None:
        """Take back whatever was published, so that nobody uses it any more. The manager's to call."""
        while self._published:
            self._manager.withdraw(self._published.pop())

    def release(self) -> None:
        """Give everything back. The manager's to call."""
        self.withdraw_all()
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception:
                self.log.exception("a part could not be given back")


@define(eq=False)
class Binding:
    """A device with its driver."""

    driver: Driver
    context: DeviceContext
    bound: Bound


class DeviceManager:
    """The devices of a machine, their drivers, and what these published."""

    def __init__(
        self,
        machine: Machine,
        drivers: Iterable[Driver],
        loop: asyncio.AbstractEventLoop | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.machine = machine
        self.drivers = list(drivers)
        self.loop = loop
        self.log = log or logging.getLogger("jefeos")
        self.bindings: dict[PciDevice, Binding] = {}
        self.offline: dict[PciDevice, str] = {}
        """Devices that were taken down, and why."""
        self.published: list[object] = []
        self.listeners: list[Callable[[object, bool], None]] = []
        """Called with each published thing, and True when it comes or False when it goes."""

    def bind_all(self) -> None:
        """Look for a driver for each device that has none."""
        for device in self.machine.devices:
            if device not in self.bindings:
                self.bind(device)

    def bind(self, device: PciDevice) -> bool:
        """Give ``device`` to the first driver that takes it."""
        if device in self.bindings:
            raise UsageError(f"PCI device {device} has a driver already", Errno.EBUSY)
        self.offline.pop(device, None)
        return any(
            self._probe(driver, device)
            for driver in self.drivers
            if any(match.matches(device) for match in driver.matches)
        )

    def unbind(self, device: PciDevice) -> None:
        """Take a device from its driver, in order. UsageError if it has none."""
        binding = self.bindings.pop(device, None)
        if binding is None:
            raise UsageError(f"PCI device {device} has no driver", Errno.ENODEV)
        binding.context.withdraw_all()  # its users finish with a device that works
        self._take_down(binding)

    def unbind_all(self) -> None:
        """Take every device from its driver, the last bound first."""
        for device in reversed(list(self.bindings)):
            self.unbind(device)

    def take_offline(self, device: PciDevice, reason: str) -> None:
        """The device is broken: `DeviceContext.offline`."""
        binding = self.bindings.pop(device, None)
        if binding is None:
            return
        self.offline[device] = reason
        binding.context.log.error("the device is offline: %s", reason)
        self._take_down(binding)

    def of_kind(self, kind: type[T]) -> list[T]:
        """What is published of a kind, in the order in which it came."""
        return [thing for thing in self.published if isinstance(thing, kind)]

    def announce(self, thing: object) -> None:
        """Tell the listeners that something came."""
        for listener in list(self.listeners):
            listener(thing, True)

    def withdraw(self, thing: object) -> None:
        """Something is no longer there. Idempotent."""
        if thing not in self.published:
            return
        self.published.remove(thing)
        for listener in list(self.listeners):
            listener(thing, False)

    def _probe(self, driver: Driver, device: PciDevice) -> bool:
        context = DeviceContext(self, device, driver)
        try:
            bound = driver.probe(context)
        except JefeError as error:
            context.log.error("the device is left alone: %s", error)
        except Exception as error:
            context.log.exception("the driver failed, the device is left alone: %s", error)
        else:
            self.bindings[device] = Binding(driver, context, bound)
            return True
        context.release()
        return False

    def _take_down(self, binding: Binding) -> None:
        try:
            binding.bound.remove()
        except Exception:
            binding.context.log.exception("the driver failed while it let go of the device")
        binding.context.release()
