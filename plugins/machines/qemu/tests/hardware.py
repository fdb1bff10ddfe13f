"""What the tests know of real chips from their datasheets, and the few steps that need no driver."""

from __future__ import annotations

import struct

from jefeos.bus.machine import NicRequest
from jefeos.bus.pci import Command, PciDevice
from jefeos.bus.region import Region
from jefeos.net.device import Offload
from jefeos.net.wire import Port
from jefeos_machine_qemu.machine import QemuMachine

SECOND = 10**9
PATIENCE_NS = 60 * SECOND
"""For what takes a moment, and longer on a busy host."""
IDE, E1000, TULIP = (0x8086, 0x7010), (0x8086, 0x100E), (0x1011, 0x0019)
MAC = bytes.fromhex("525400c0ffee")

# 82540EM, software developer's manual, section 13
CTRL, STATUS, EERD, ICR, ICS, IMS, IMC = 0x0000, 0x0008, 0x0014, 0x00C0, 0x00C8, 0x00D0, 0x00D8
RCTL, TCTL, RAL0, RAH0 = 0x0100, 0x0400, 0x5400, 0x5404
RDBAL, RDLEN, RDT = 0x2800, 0x2808, 0x2818
TDBAL, TDLEN, TDT = 0x3800, 0x3808, 0x3818
LINK_UP = 1 << 1
PROMISCUOUS = 1 << 3
SET_LINK_UP = 1 << 6
LINK_CHANGED = 1 << 2
END_OF_PACKET, INSERT_CHECK, REPORT_STATUS = 1, 2, 8
RING = 64


class Wire(Port):
    """A port that keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        self.frames.append(frame)


def nic(model: str = "e1000", port: Port | None = None) -> NicRequest:
    return NicRequest(model, MAC, port if port is not None else Wire())


def find(machine: QemuMachine, identity: tuple[int, int]) -> PciDevice:
    (device,) = [one for one in machine.devices if (one.vendor_id, one.device_id) == identity]
    return device


def registers(machine: QemuMachine, device: PciDevice) -> Region:
    """Everything switched on, and the window of memory."""
    device.set_command(Command.IO_SPACE | Command.MEMORY_SPACE | Command.BUS_MASTER)
    (bar,) = [bar for bar in device.bars.values() if not bar.is_io]
    return machine.map_memory(bar.address, bar.size)


class Nic:
    """An e1000 with a ring of each kind, driven by the test."""

    def __init__(self, machine: QemuMachine) -> None:
        self.machine = machine
        self.registers = registers(machine, find(machine, E1000))
        self.transmit_ring = machine.dma.allocate(16 * RING, 128)
        self.receive_ring = machine.dma.allocate(16 * RING, 128)
        self.buffers = machine.dma.allocate(2048 * RING, 2048)
        self.outgoing = machine.dma.allocate(2048)
        self.tail = self.head = 0
        for index in range(RING):
            address = self.buffers.address + 2048 * index
            self.receive_ring.view[16 * index : 16 * index + 8] = address.to_bytes(8, "little")
        write = self.registers.write32
        write(CTRL, self.registers.read32(CTRL) | SET_LINK_UP)
        for register, value in (
            (TDBAL, self.transmit_ring.address),
            (TDLEN, 16 * RING),
            (TCTL, 1 << 1 | 1 << 3),  # enable, pad short packets
            (RDBAL, self.receive_ring.address),
            (RDLEN, 16 * RING),
            (RDT, RING - 1),
            (RCTL, 1 << 1 | 1 << 3 | 1 << 15),  # enable, promiscuous, broadcast
        ):
            write(register, value)

    def send(self, frame: bytes) -> None:
        self.outgoing.view[: len(frame)] = frame
        command = END_OF_PACKET | INSERT_CHECK | REPORT_STATUS
        descriptor = struct.pack("<QHBBBBH", self.outgoing.address, len(frame), 0, command, 0, 0, 0)
        self.transmit_ring.view[16 * self.tail : 16 * self.tail + 16] = descriptor
        done = 16 * self.tail + 12
        self.tail = (self.tail + 1) % RING
        self.registers.write32(TDT, self.tail)
        assert self.machine.wait(lambda: bool(self.transmit_ring.view[done] & 1), PATIENCE_NS)

    def receive(self, timeout_ns: int = PATIENCE_NS) -> bytes | None:
        """The next frame without its check sequence, which this chip hands over too."""
        status = 16 * self.head + 12
        ring = self.receive_ring.view
        if not self.machine.wait(lambda: bool(ring[status] & 1), timeout_ns):
            return None
        (length,) = struct.unpack_from("<H", ring, 16 * self.head + 8)
        frame = bytes(self.buffers.view[2048 * self.head : 2048 * self.head + length])
        ring[status] = 0
        self.registers.write32(RDT, self.head)
        self.head = (self.head + 1) % RING
        return frame[:-4]
