"""The machine: QEMU's PC (i440FX and PIIX3), driven over its qtest socket.

    driver -> QemuRegion -> qtest: inl, writel …  -> QEMU's device models
    QEMU: IRQ raise 11   -> qtest                 -> InterruptController -> handler
    QEMU: DMA            -> RAM, a file that both have mapped
    QEMU: a frame        -> netdev socket         -> Port -> whatever it is plugged into

No firmware runs, so what firmware does is done here: BARs get addresses (the core's code), PCI's interrupt pins are
routed through PIIX3 to lines of the I/O APIC, whose inputs QEMU reports, and the timer of 1981 is told to be silent.

When QEMU ends by itself, or stops to answer, one line in the log says so and every driver whose device has an interrupt
hears that the device is offline; whoever still reads a register gets ones.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Final

from jefeos.bus.machine import Machine, MachineRequest
from jefeos.bus.pci import Command, ConfigRegister, Location, PciDevice
from jefeos.bus.region import Region
from jefeos.errors import BootError, ConfigError, KernelError

from jefeos_machine_qemu.disks import drive_arguments
from jefeos_machine_qemu.process import QemuProcess
from jefeos_machine_qemu.qmp import QmpChannel
from jefeos_machine_qemu.qtest import QtestChannel
from jefeos_machine_qemu.region import Decoding, QemuRegion
from jefeos_machine_qemu.watch import Watcher
from jefeos_machine_qemu.wire import DatagramBridge, datagram_pair

if TYPE_CHECKING:
    import asyncio

CONFIG_ADDRESS: Final = 0xCF8
CONFIG_DATA: Final = 0xCFC
CONFIG_ENABLE: Final = 1 << 31

PIIX3_ISA: Final = Location(0, 1, 0)
PIIX3_IDE: Final = Location(0, 1, 1)
PIRQ_ROUTES: Final = 0x60
"""PIRQRC[A:D] (82371SB datasheet): the ISA interrupt of each of the four."""
IDE_TIMING: Final = 0x40
IDE_DECODE_BOTH: Final = 0x8000_8000
"""IDETIM, primary and secondary: decode the channel's ports."""
INTERRUPT_LINES: Final = (10, 11, 5, 9)
FIRST_NIC_SLOT: Final = 3

TIMER_CONTROL: Final = 0x43
TIMER_0_ONE_SHOT: Final = 0x30
"""Counter 0 in mode 0 and without a count: it does not tick."""
EJECT_PORT: Final = 0xAE08
"""Where an operating system tells QEMU that a slot's device may go (docs/specs/acpi_pci_hotplug of QEMU)."""

LOW_MEMORY_END: Final = 1 << 20
HIGHEST_RAM: Final = 0xE000_0000
"""QEMU's PC moves RAM beyond to 4 GiB; and below 1 MiB parts of it are ROM."""
LONGEST_SLEEP_MS: Final = 2


class QemuMachine(Machine):
    """Devices by QEMU."""

    name = "qemu"

    def __init__(self, request: MachineRequest) -> None:
        super().__init__(request.ram, request.dma_base, request.dma_bytes, request.log)
        if request.ram_file is None:
            raise ConfigError("--machine qemu needs memory that is in a file, which this system's is not")
        if request.dma_base < LOW_MEMORY_END or request.dma_base + request.dma_bytes > HIGHEST_RAM:
            raise ConfigError("--machine qemu: DMA memory must lie between 1 MiB and 3.5 GiB")
        self.bridges: list[DatagramBridge] = []
        """Of each card that is plugged into a wire of ours, in order."""
        self._request = request
        self._process: QemuProcess | None = None
        self._sockets: list[socket.socket] = []
        self._overlays: list[Any] = []
        self._decoding: dict[Location, Decoding] = {}
        self._watcher = Watcher()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._untold = ""
        self._stopping = False
        self._waiting_until = 0
        self._sleep_ms = 0

    # -- start and stop --

    def start(self) -> None:
        try:
            self._launch()
            for command in (
                b"outb %#x %#x\n" % (TIMER_CONTROL, TIMER_0_ONE_SHOT),
                b"irq_intercept_in ioapic\n",
            ):
                self.qtest.ask(command)
            for pin, line in enumerate(INTERRUPT_LINES):
                self.write_config(PIIX3_ISA, PIRQ_ROUTES + pin, 1, line)
            self.write_config(PIIX3_IDE, IDE_TIMING, 4, IDE_DECODE_BOTH)
            super().start()
            if self.qtest.ended:
                raise BootError(f"--machine qemu: {self._cause(self.qtest.ended)}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._stopping = True
        self._watcher.remove_all()
        for bridge in self.bridges:
            bridge.close()
        if self._process is not None:
            self._process.stop(self._ask_to_quit)
            self._process = None
        for connection in self._sockets:
            connection.close()
        for overlay in self._overlays:
            overlay.close()
        self._overlays.clear()
        self._sockets.clear()

    def _launch(self) -> None:
        request = self._request
        ours, theirs = self._kept(socket.socketpair())
        self.qtest = QtestChannel(ours, self._interrupt, self._ended)
        qmp_ours, qmp_theirs = self._kept(socket.socketpair())
        self.qmp = QmpChannel(qmp_ours)
        drives, self._overlays = drive_arguments(request.disks)
        inherited = [theirs, qmp_theirs]
        size = len(request.ram)
        memory = f"id=ram,size={size},share=on,mem-path={_escape(request.ram_file or '')}"
        qtest, monitor = f"socket,id=qtest,fd={theirs.fileno()}", f"socket,id=qmp,fd={qmp_theirs.fileno()}"
        arguments = [
            *("-nodefaults", "-no-user-config", "-display", "none", "-name", "jefeos"),
            *("-machine", "pc,memory-backend=ram,hpet=off,vmport=off,smm=off", "-accel", "tcg,tb-size=8"),
            *("-m", f"size={size // 1024}K"),
            *("-object", f"memory-backend-file,{memory}"),
            *("-chardev", qtest, "-qtest", "chardev:qtest", "-qtest-log", "none"),
            *("-chardev", monitor, "-mon", "chardev=qmp,mode=control"),
            *drives,
        ]
        ports = []
        for number, nic in enumerate(request.nics):
            netdev = getattr(nic.port, "qemu_netdev", None)
            if netdev is None:
                end, other = self._kept(datagram_pair())
                ports.append((end, nic.port))
                inherited.append(other)
                netdev = f"dgram,local.type=fd,local.str={other.fileno()}"
            place = f"id=nic{number},netdev=net{number},addr={FIRST_NIC_SLOT + number:#x}"
            arguments += ["-netdev", f"{netdev},id=net{number}"]
            arguments += ["-device", f"{nic.model},{place},mac={nic.mac.hex(':')},romfile="]
        self._process = QemuProcess(arguments, inherited)
        for end in inherited:
            self._sockets.remove(end)
            end.close()
        try:
            self.qmp.handshake()
        except BootError as error:
            raise BootError(f"--machine qemu: {self._cause(str(error))}") from error
        self._process.started()
        self._watcher.add(ours, self.qtest.receive_waiting)
        self.bridges = [DatagramBridge(end, port, self._watcher, self.qtest.settle) for end, port in ports]
        for number, nic in enumerate(request.nics):
            self._follow_link(number, nic.port)

    def _kept(self, pair: tuple[socket.socket, socket.socket]) -> tuple[socket.socket, socket.socket]:
        self._sockets += pair
        return pair

    def _ask_to_quit(self) -> None:
        try:
            self.qmp.execute("quit")
        except KernelError:
            self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _cause(self, otherwise: str) -> str:
        words = self._process.last_words() if self._process is not None else ""
        return f"QEMU has ended: {words}" if words else otherwise

    # -- QEMU's end, unasked --

    def _ended(self, reason: str) -> None:
        if self._stopping:
            return
        cause = self._cause(reason)
        self._kill()
        self._watcher.remove_all()
        self._untold = cause
        self.log.error("machine qemu: %s; its devices are gone", cause)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon(self._tell_drivers)

    def _tell_drivers(self) -> None:
        """Not from inside a register access, so that no driver loses its device in the middle of using it."""
        reason, self._untold = self._untold, ""
        if reason:
            self.interrupts.abandon(reason)

    # -- Machine --

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        super().attach(loop)
        self._loop = loop
        self._watcher.attach(loop)

    def read_config(self, location: Location, offset: int, width: int) -> int:
        self.qtest.post(b"outl 0xcf8 %#x\n" % _config_address(location, offset))
        verb = {1: b"inb", 2: b"inw", 4: b"inl"}[width]
        value = self.qtest.ask(b"%b %#x\n" % (verb, CONFIG_DATA + (offset & 3)))
        return (1 << 8 * width) - 1 if value is None else value

    def write_config(self, location: Location, offset: int, width: int, value: int) -> None:
        self.qtest.post(b"outl 0xcf8 %#x\n" % _config_address(location, offset))
        verb = {1: b"outb", 2: b"outw", 4: b"outl"}[width]
        self.qtest.post(b"%b %#x %#x\n" % (verb, CONFIG_DATA + (offset & 3), value))
        if offset == ConfigRegister.COMMAND:
            self._decoding_of(location).is_on = bool(value & Command.MEMORY_SPACE)

    def map_ports(self, base: int, size: int) -> Region:
        return QemuRegion(self.qtest, base, size, is_io=True)

    def map_memory(self, base: int, size: int) -> Region:
        for device in self.devices:
            for bar in device.bars.values():
                if not bar.is_io and bar.address <= base < bar.address + bar.size:
                    return QemuRegion(self.qtest, base, size, False, self._decoding_of(device.location))
        return QemuRegion(self.qtest, base, size, is_io=False)

    def interrupt_line(self, device: PciDevice) -> int | None:
        if not device.interrupt_pin:
            return None
        return INTERRUPT_LINES[(device.location.device - 1 + device.interrupt_pin - 1) % len(INTERRUPT_LINES)]

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def poll(self, deadline_ns: int) -> bool:
        """Sleeps until QEMU has something to say, and never for long: what the caller waits for may be silent."""
        if self.qtest.ended:
            self._tell_drivers()
            return False
        if deadline_ns != self._waiting_until:
            self._waiting_until, self._sleep_ms = deadline_ns, 0
        left_ms = max(0, deadline_ns - time.monotonic_ns()) // 1_000_000
        if not self._watcher.poll(min(self._sleep_ms, left_ms)):
            self._sleep_ms = min(self._sleep_ms + 1, LONGEST_SLEEP_MS)
        return True

    # -- beyond Machine --

    @property
    def pid(self) -> int:
        """QEMU's process, while the machine runs; 0 otherwise."""
        return self._process.pid if self._process is not None else 0

    def unplug(self, location: Location) -> None:
        """Surprise removal of a network card: it no longer answers, and no driver was told. Raises KernelError."""
        self.qtest.settle()
        self.qmp.execute("device_del", id=f"nic{location.device - FIRST_NIC_SLOT}")
        self.qtest.ask(b"outl %#x %#x\n" % (EJECT_PORT, 1 << location.device))
        self._decoding_of(location).is_on = False

    def _decoding_of(self, location: Location) -> Decoding:
        return self._decoding.setdefault(location, Decoding())

    def _interrupt(self, number: int, up: bool) -> None:
        if up:
            self.interrupts.raise_line(number, self)
        else:
            self.interrupts.lower_line(number, self)

    def _follow_link(self, number: int, port: Any) -> None:
        def set_link(up: bool) -> None:
            if self._stopping or self.qtest.ended:
                return
            self.qtest.settle()
            try:
                self.qmp.execute("set_link", name=f"net{number}", up=up)
            except KernelError as error:
                self.log.error("machine qemu: the link of card %d does not change: %s", number, error)

        port.link_changed = set_link
        if not port.link_up:
            set_link(False)


def _config_address(location: Location, offset: int) -> int:
    place = location.bus << 16 | location.device << 11 | location.function << 8
    return CONFIG_ENABLE | place | offset & ~3


def _escape(path: str) -> str:
    """A comma inside of a value is doubled in QEMU's options."""
    return path.replace(",", ",,")
