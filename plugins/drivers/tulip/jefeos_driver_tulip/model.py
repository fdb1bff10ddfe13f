"""The 21143 of the simulated machine: CSRs, SROM, MII PHY, and the two processes that walk the descriptor lists.

    driver --CSR1--> transmit: descriptors that the card owns, up to the first that it does not   --> Port (the wire)
           <-------- receive: fills the next descriptor that it owns; without one the frame is missed (CSR8)

Both list structures are understood, rings (two buffers, end-of-ring bit) and chains (the second address is the next
descriptor), as each descriptor says for itself. A descriptor that cannot be reached is a bus error: the card stops
until it is reset (HRM 3.2.2.6).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from jefeos.bus.pci import Bar
from jefeos.bus.simulated import DeviceModel

from jefeos_driver_tulip import registers as r
from jefeos_driver_tulip.serial import MiiPins, SromPins

if TYPE_CHECKING:
    from jefeos.net.wire import Port

MINIMUM_ON_WIRE, MAXIMUM_ON_WIRE = 60, 1518
PHY_ADDRESS: Final = 1
MOST_FRAMES: Final = 4096
"""Frames that one poll demand may send: a chain that bites its tail, all of it the card's, ends here."""
_BROADCAST: Final = b"\xff" * 6
_C: Final = r.Csr
_PHY_REGISTERS: Final = {0: 0x3100, 1: 0x7809, 2: 0x2000, 3: 0x5C01, 4: 0x01E1, 5: 0x41E1}


class TulipModel(DeviceModel):
    """See the module's text."""

    vendor_id = r.VENDOR_DEC
    device_id = r.DEVICE_21143
    class_code = r.CLASS_ETHERNET
    revision = 0x30
    bars = (Bar(0, r.REGISTER_BYTES, is_io=True), Bar(1, r.REGISTER_BYTES, is_io=False))

    def __init__(self, mac: bytes, port: Port) -> None:
        self.port = port
        self.srom = SromPins(make_srom(mac))
        self.mii = MiiPins(PHY_ADDRESS, self._phy_register)
        self.csr: dict[int, int] = {}
        self._filter: set[bytes] = set()
        self._receive_at = self._transmit_at = 0
        self._half = bytearray()
        super().__init__()
        self.reset()
        port.receiver = self.receive

    def reset(self) -> None:
        """CSR0's reset, and power-on."""
        self.csr = {}
        self._filter = set()
        self._half = bytearray()
        self.lower_interrupt()

    # -- registers --

    def read(self, window: int, offset: int, width: int) -> int:
        if offset == _C.SERIAL:
            value = self.csr.get(offset, 0)
            value |= r.SROM_DATA_OUT if self.srom.data_out and value & r.SROM_CHIP_SELECT else 0
            return value | (r.MII_DATA_IN if self.mii.data_in else 0)
        if offset == _C.MISSED_FRAMES:
            return self.csr.pop(offset, 0)
        return self.csr.get(offset, 0)

    def write(self, window: int, offset: int, width: int, value: int) -> None:
        csr = self.csr
        if offset == _C.STATUS:
            csr[offset] = csr.get(offset, 0) & ~(value & r.STATUS_CLEARED_BY_ONES)
            self._update_interrupt()
        elif offset == _C.TRANSMIT_POLL:
            self._transmit()
        elif offset == _C.BUS_MODE:
            if value & r.BUS_MODE_RESET:
                self.reset()
            csr[offset] = value & ~r.BUS_MODE_RESET
        elif offset == _C.SERIAL:
            csr[offset] = value & ~(r.SROM_DATA_OUT | r.MII_DATA_IN)
            if value & r.SERIAL_SELECT_SROM:
                self.srom.pins(value)
            self.mii.pins(value)
        elif offset == _C.RECEIVE_LIST:
            csr[offset] = self._receive_at = value & ~3
        elif offset == _C.TRANSMIT_LIST:
            csr[offset] = self._transmit_at = value & ~3
        elif offset == _C.OPERATION_MODE:
            started = value & ~csr.get(offset, 0)
            csr[offset] = value
            if started & r.MODE_TRANSMIT:
                self._transmit()
        elif offset == _C.INTERRUPT_ENABLE:
            csr[offset] = value
            self._update_interrupt()
        elif offset not in (_C.RECEIVE_POLL, _C.MISSED_FRAMES):
            csr[offset] = value

    def _cause(self, bits: int) -> None:
        self.csr[_C.STATUS] = self.csr.get(_C.STATUS, 0) | bits
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        """The two summary bits follow the enabled causes, and the line follows them (3.2.2.5)."""
        enable = self.csr.get(_C.INTERRUPT_ENABLE, 0)
        status = self.csr.get(_C.STATUS, 0) & ~(r.STATUS_NORMAL | r.STATUS_ABNORMAL)
        if status & enable & r.NORMAL_CAUSES:
            status |= r.STATUS_NORMAL
        if status & enable & r.ABNORMAL_CAUSES:
            status |= r.STATUS_ABNORMAL
        self.csr[_C.STATUS] = status
        if status & enable & (r.STATUS_NORMAL | r.STATUS_ABNORMAL):
            self.raise_interrupt()
        else:
            self.lower_interrupt()

    def _phy_register(self, register: int) -> int:
        value = _PHY_REGISTERS.get(register, 0)
        if register == r.MII_STATUS and self.port.link_up:
            value |= r.MII_STATUS_LINK | 1 << 5
        return value

    # -- lists --

    def _fetch(self, address: int) -> tuple[int, int, int, int] | None:
        """A descriptor; None, and the card stops, if it cannot be reached."""
        machine = self.machine
        if machine is None or not self.is_bus_master or address + r.DESCRIPTOR_BYTES > machine.ram_bytes:
            self.csr[_C.OPERATION_MODE] = self.csr.get(_C.OPERATION_MODE, 0) & ~(r.MODE_RECEIVE | r.MODE_TRANSMIT)
            self._cause(r.STATUS_BUS_ERROR)
            return None
        return r.DESCRIPTOR.unpack(self.dma_read(address, r.DESCRIPTOR_BYTES))  # type: ignore[return-value]

    def _following(self, address: int, control: int, second: int, base: int) -> int:
        if control & r.CHAINED:
            return second & ~3
        return base if control & r.END_OF_RING else address + r.DESCRIPTOR_BYTES

    @staticmethod
    def _buffers(control: int, first: int, second: int) -> list[tuple[int, int]]:
        found = [(first, control & r.BUFFER_SIZE_MASK)]
        if not control & r.CHAINED:
            found.append((second, control >> r.SECOND_SIZE_SHIFT & r.BUFFER_SIZE_MASK))
        return [(address, size) for address, size in found if size]

    def _transmit(self) -> None:
        """Send everything that the card owns. HOT."""
        for _ in range(MOST_FRAMES):
            if not self.csr.get(_C.OPERATION_MODE, 0) & r.MODE_TRANSMIT:
                return
            at = self._transmit_at
            descriptor = self._fetch(at)
            if descriptor is None:
                return
            status, control, first, second = descriptor
            if not status & r.OWNED_BY_CARD:
                self._cause(r.STATUS_TRANSMIT_IDLE)
                return
            data = b"".join([self.dma_read(address, size) for address, size in self._buffers(control, first, second)])
            self.dma_write(at, bytes(4))
            self._transmit_at = self._following(at, control, second, self.csr.get(_C.TRANSMIT_LIST, 0))
            if control & r.TX_SETUP:
                if len(data) >= r.SETUP_BYTES:
                    self._filter = r.unpack_setup_frame(data)
            else:
                self._add_piece(control, data)
            if control & r.TX_INTERRUPT:
                self._cause(r.STATUS_TRANSMITTED)

    def _add_piece(self, control: int, data: bytes) -> None:
        if control & r.TX_FIRST:
            self._half = bytearray()
        if len(self._half) <= MAXIMUM_ON_WIRE:
            self._half += data
        if control & r.TX_LAST:
            frame, self._half = bytes(self._half), bytearray()
            if 14 <= len(frame) <= MAXIMUM_ON_WIRE:
                self.port.send(frame.ljust(MINIMUM_ON_WIRE, b"\0"))

    def receive(self, frame: bytes) -> None:
        """A frame came from the wire. HOT."""
        mode = self.csr.get(_C.OPERATION_MODE, 0)
        length = len(frame)
        if not mode & r.MODE_RECEIVE or length > MAXIMUM_ON_WIRE or not self.port.link_up:
            return
        if not self._accepts(frame, mode):
            return
        if length < MINIMUM_ON_WIRE:
            frame = frame.ljust(MINIMUM_ON_WIRE, b"\0")
            length = MINIMUM_ON_WIRE
        left = memoryview(frame + zlib.crc32(frame).to_bytes(4, "little"))
        flags = r.RX_FIRST
        while True:
            at = self._receive_at
            descriptor = self._fetch(at)
            if descriptor is None:
                return
            status, control, first, second = descriptor
            if not status & r.OWNED_BY_CARD:
                missed = self.csr.get(_C.MISSED_FRAMES, 0) + 1
                self.csr[_C.MISSED_FRAMES] = min(missed, r.MISSED_MASK)
                self._cause(r.STATUS_RECEIVE_IDLE)
                return
            before = len(left)
            for address, size in self._buffers(control, first, second):
                self.dma_write(address, left[:size])
                left = left[size:]
            self._receive_at = self._following(at, control, second, self.csr.get(_C.RECEIVE_LIST, 0))
            if not left or len(left) == before:
                flags |= r.RX_LAST | (length + r.CRC_BYTES) << r.RX_LENGTH_SHIFT
                flags |= r.RX_MULTICAST if frame[0] & 1 else 0
            self.dma_write(at, flags.to_bytes(4, "little"))
            if flags & r.RX_LAST:
                break
            flags = 0
        self._cause(r.STATUS_RECEIVED)

    def _accepts(self, frame: bytes, mode: int) -> bool:
        if mode & r.MODE_PROMISCUOUS:
            return True
        if frame[0] & 1 and mode & r.MODE_ALL_MULTICAST:
            return True
        return frame[:6] in self._filter


def make_srom(mac: bytes) -> list[int]:
    """The SROM of a card with this address, checksum included."""
    data = bytearray(2 * r.SROM_WORDS)
    data[18] = 3  # format version
    data[19] = 1  # controllers
    data[r.SROM_MAC_OFFSET : r.SROM_MAC_OFFSET + 6] = mac
    data[r.SROM_CHECKED_BYTES :] = r.srom_checksum(bytes(data)).to_bytes(2, "little")
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
