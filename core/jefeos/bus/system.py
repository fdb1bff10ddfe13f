"""Devices of a booted system: from the configuration to a machine with its drivers, and back.

    config.machine, config.disks --> MachineRequest --jefeos_machine--> Machine --jefeos_drivers--> DeviceManager

Nothing of this is imported, and no memory is set aside, in a system without devices. The DMA heap is the top of guest
RAM. A machine outside of this process sees guest RAM through a file (`RamFile`), which lasts as long as the kernel.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from jefeos.errors import BootError, ConfigError, KernelError

if TYPE_CHECKING:
    from jefeos.bus.driver import DeviceManager
    from jefeos.bus.machine import Machine, NicRequest
    from jefeos.config import BootConfig
    from jefeos.kernel import Kernel
    from jefeos.net.wire import Port
    from jefeos.plugins import Plugins

SIMULATED: Final = "simulated"
DMA_SHARE: Final = 8
"""The DMA heap is this part of guest RAM …"""
MAXIMUM_DMA_BYTES: Final = 16 << 20
"""… but no more than this."""
_PAGE_SHIFT: Final = 12
MAC_PREFIX: Final = bytes.fromhex("525400")
AUTO: Final = "auto"
DEFAULT_WIRE: Final = "user"
MEMORY_FOLDER: Final = "/dev/shm"


def wants_devices(config: BootConfig) -> bool:
    """Whether the configuration asks for a machine, or for something that needs one."""
    return config.machine is not None or bool(config.disks) or config.net is not None


def settle_network(config: BootConfig, plugins: Plugins) -> BootConfig:
    """Decide what ``auto`` means, and ``--forward`` alone: the wire ``user`` if a plugin has it and a stack for it.

    A virtual clock and peers in the real world do not go together, so there ``auto`` is no card.
    """
    config = _settle_wire(config, plugins)
    if config.net is None:
        for option, value in (("--net-faults", config.net_faults), ("--pcap", config.pcap)):
            if value is not None:
                raise ConfigError(f"{option}: this system has no network card (see --net)")
    return config


def _settle_wire(config: BootConfig, plugins: Plugins) -> BootConfig:
    wanted = config.net == AUTO or config.net is None and bool(config.forwards)
    if not wanted:
        return config
    has_wire = DEFAULT_WIRE in first_named(plugins.collect("jefeos_wires"))
    has_card = config.machine not in (None, SIMULATED) or config.nic in first_named(
        plugins.collect("jefeos_network_cards")
    )
    there = has_wire and has_card and bool(plugins.functions("jefeos_network_stack"))
    if there and (not config.virtual_time or config.forwards):
        return evolve(config, net=DEFAULT_WIRE)
    if config.forwards:
        raise ConfigError(
            f"--forward {config.forwards[0]}: it takes the wire {DEFAULT_WIRE!r}, a network stack and a card"
            " (plugins user, inet and e1000)"
        )
    return evolve(config, net=None)


def needs_ram_file(config: BootConfig) -> bool:
    """Whether guest RAM must be visible from outside of this process."""
    return config.machine not in (None, SIMULATED)


class RamFile:
    """A file of the host that guest RAM is a shared mapping of. Sparse, private to the user, in memory if possible."""

    def __init__(self, size: int) -> None:
        import tempfile

        folder = MEMORY_FOLDER if os.path.isdir(MEMORY_FOLDER) else None
        try:
            self.descriptor, self.path = tempfile.mkstemp(prefix="jefeos-ram-", dir=folder)
            os.truncate(self.descriptor, size)
        except OSError as error:
            raise BootError(f"the host gives no file of {size >> 20} MiB for guest RAM: {error}") from None

    def remove_name(self) -> None:
        """Everybody who shares it has it open: from now on nothing stays behind, even if this process is killed."""
        if self.path:
            os.unlink(self.path)
            self.path = ""

    def close(self) -> None:
        """Give the file back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self.remove_name()


def start_devices(kernel: Kernel) -> None:
    """Build the machine, start it, and give its devices to their drivers. Raises BootError or ConfigError."""
    from jefeos.block.nodes import BlockNodes
    from jefeos.bus.driver import DeviceManager
    from jefeos.bus.machine import DiskRequest, MachineRequest

    config, plugins = kernel.config, kernel.plugins
    name = config.machine or SIMULATED
    dma_bytes = min(config.ram_bytes // DMA_SHARE, MAXIMUM_DMA_BYTES) >> _PAGE_SHIFT << _PAGE_SHIFT
    try:
        dma_base = kernel.memory.frames.claim_top(dma_bytes >> _PAGE_SHIFT) << _PAGE_SHIFT
    except KernelError as error:
        raise BootError(f"no memory for devices: {error} (see --ram)") from None
    nics = [_make_nic(kernel, config.net)] if config.net is not None else []
    request = MachineRequest(
        kernel.engine.ram,
        kernel.ram_file.path if kernel.ram_file is not None else None,
        dma_base,
        dma_bytes,
        kernel.log,
        disks=[DiskRequest(disk.path, disk.read_only) for disk in config.disks],
        nics=nics,
        disk_controllers=first_named(plugins.collect("jefeos_disk_controllers")),
        network_cards=first_named(plugins.collect("jefeos_network_cards")),
    )
    machine: Machine | None = plugins.first("jefeos_machine", name=name, request=request)
    if machine is None:
        raise ConfigError(f"no plugin provides the machine {name!r}")
    try:
        machine.attach(kernel.loop)
        machine.start()
        if kernel.ram_file is not None:
            kernel.ram_file.remove_name()
        drivers = [driver for found in plugins.collect("jefeos_drivers") for driver in found]
        kernel.devices = DeviceManager(machine, drivers, kernel.loop, kernel.log)
        kernel.disks = BlockNodes(kernel.vfs.devices, kernel.log)
        kernel.disks.follow(kernel.devices)
        kernel.net.follow(kernel.devices)
        kernel.devices.bind_all()
        _protect_disks(kernel)
    except BaseException:
        machine.stop()
        raise


def _protect_disks(kernel: Kernel) -> None:
    """An ATA disk tells that it is write-protected only when it is written to: too late for a mount to be read-only."""
    assert kernel.disks is not None
    whole = [disk for disk in kernel.disks.disks.values() if not disk.is_partition]
    for spec, disk in zip(kernel.config.disks, whole, strict=False):
        if spec.read_only:
            disk.device.read_only = True


def _make_nic(kernel: Kernel, spec: str) -> NicRequest:
    """The wire and a card for it. Its address is the seed's, of the locally administered ones that QEMU uses."""
    from jefeos.bus.machine import NicRequest
    from jefeos.net.wire import WireContext

    kind, _, rest = spec.partition(":")
    kinds = first_named(kernel.plugins.collect("jefeos_wires"))
    if kind not in kinds:
        raise ConfigError(f"--net {spec}: no plugin has a wire {kind!r}; there are: none, {', '.join(kinds)}")
    forwards = kernel.config.forwards
    context = WireContext(kernel.loop, kernel.clock, kernel.entropy, kernel.log, kernel.plugins, forwards)
    port: Port = kinds[kind](rest, context)
    if forwards and not port.forwards_ports:
        port.close()
        raise ConfigError(f"--forward {forwards[0]}: the wire {kind!r} does not forward ports")
    if kernel.config.net_faults is not None:
        from jefeos.net.wires.faulty import FaultyPort

        seed = int.from_bytes(kernel.entropy.bytes(8), "big")
        port = FaultyPort(port, kernel.config.net_faults, seed=seed, call_later_ns=kernel.loop.call_later_ns)
    if kernel.config.pcap is not None:
        from jefeos.net.wires.pcap import PcapTee

        try:
            file = open(kernel.config.pcap, "wb")  # noqa: SIM115
        except OSError as error:
            port.close()
            raise ConfigError(f"--pcap {kernel.config.pcap}: {error.strerror or error}") from None
        port = PcapTee(port, file, kernel.clock.realtime_ns)
    kernel.wire = port
    return NicRequest(kernel.config.nic, MAC_PREFIX + kernel.entropy.bytes(3), port)


def stop_devices(kernel: Kernel) -> None:
    """Take the devices from their drivers and end the machine. Idempotent."""
    manager: DeviceManager | None = getattr(kernel, "devices", None)
    if manager is not None:
        kernel.devices = None
        manager.unbind_all()  # disks that go away are flushed by their nodes
        kernel.disks = None
        manager.machine.stop()
    wire: Port | None = getattr(kernel, "wire", None)
    if wire is not None:
        kernel.wire = None
        wire.close()


def first_named(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One dictionary; of two entries with a name, the one of the plugin that was asked first stays."""
    return {name: thing for some in reversed(found) for name, thing in some.items()}
