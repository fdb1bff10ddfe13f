"""The 82540EM of the simulated machine: registers, EEPROM, interrupt causes, receive filters and rings.

    driver --registers--> E1000Model --frames--> Port (the wire)
           --TDT-------->   Transmitter (transmit.py) reads descriptors up to the tail
           <--RDH--------   `receive` fills descriptors from the head

What the manual leaves to time happens at once: a frame is sent before the write of the tail returns, a cause raises the
interrupt as soon as the mask lets it. Without descriptors a frame is missed and counted (MPC), as in the card when its
FIFO is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.bus.pci import Bar
from jefeos.bus.simulated import DeviceModel

from jefeos_driver_e1000 import registers as r
from jefeos_driver_e1000.transmit import Transmitter

if TYPE_CHECKING:
    from jefeos.net.wire import Port

MINIMUM_ON_WIRE: Final = 60
_BROADCAST: Final = b"\xff\xff\xff\xff\xff\xff"
_BUFFER_SIZES: Final = (2048, 1024, 512, 256)
_R: Final = r.Register
_ALL_BITS: Final = 0xFFFF_FFFF
_WRITABLE: Final[dict[int, int]] = {
    _R.RDLEN: 0xFFF80,
    _R.TDLEN: 0xFFF80,
    _R.RDH: 0xFFFF,
    _R.RDT: 0xFFFF,
    _R.TDH: 0xFFFF,
}
"""Registers with bits that are always zero."""


class E1000Model(DeviceModel):
    """See the module's text."""

    vendor_id = r.VENDOR_INTEL
    device_id = r.DEVICE_82540EM
    class_code = r.CLASS_ETHERNET
    revision = 3
    bars = (Bar(0, r.REGISTER_BYTES, is_io=False), Bar(1, r.IO_BYTES, is_io=True))

    def __init__(self, mac: bytes, port: Port) -> None:
        self.mac = mac
        self.port = port
        self.eeprom = self._make_eeprom(mac)
        self.registers: dict[int, int] = {}
        self.transmitter = Transmitter(self)
        self._ring_address = self._ring_bytes = 0
        super().__init__()
        self.reset()
        port.receiver = self.receive
        port.link_changed = self._link_changed

    def reset(self) -> None:
        """CTRL.RST: everything but the receive address, which comes from the EEPROM again."""
        self.registers = {
            _R.RAL0: int.from_bytes(self.mac[:4], "little"),
            _R.RAH0: int.from_bytes(self.mac[4:], "little") | r.RAH_VALID,
            _R.EECD: r.EECD_PRESENT,
        }
        self.transmitter.reset()
        self.lower_interrupt()

    # -- registers --

    def read(self, window: int, offset: int, width: int) -> int:
        if window != 0:
            return 0
        if offset == _R.ICR:
            causes = self.registers.pop(_R.ICR, 0)
            self.lower_interrupt()
            return causes
        if offset == _R.STATUS:
            up = r.STATUS_LINK_UP if self._is_link_up() else 0
            return r.STATUS_FULL_DUPLEX | r.STATUS_SPEED_1000 | up
        if r.STATISTICS[0] <= offset < r.STATISTICS[1]:
            return self.registers.pop(offset, 0)
        return self.registers.get(offset, 0)

    def write(self, window: int, offset: int, width: int, value: int) -> None:
        registers = self.registers
        if window != 0:
            return
        if offset == _R.TDT:
            registers[_R.TDT] = value & 0xFFFF
            if registers.get(_R.TCTL, 0) & r.TCTL_ENABLE:
                self.transmitter.run()
        elif offset == _R.CTRL:
            if value & r.CTRL_RESET:
                self.reset()
                return
            registers[offset] = value
        elif offset == _R.EERD:
            registers[offset] = self._read_eeprom(value)
        elif offset == _R.IMS:
            registers[_R.IMS] = registers.get(_R.IMS, 0) | value & r.CAUSES
            self._show_interrupt()
        elif offset == _R.IMC:
            registers[_R.IMS] = registers.get(_R.IMS, 0) & ~value
            self._show_interrupt()
        elif offset == _R.ICS:
            self.cause(value & r.CAUSES)
        elif offset == _R.ICR:
            registers[_R.ICR] = registers.get(_R.ICR, 0) & ~value
            self._show_interrupt()
        elif offset == _R.RCTL:
            registers[offset] = value
            self.port.accepts_segments = bool(value & r.RCTL_LONG_PACKETS)
        elif offset != _R.STATUS:
            registers[offset] = value & _WRITABLE.get(offset, _ALL_BITS)

    def cause(self, bits: int) -> None:
        """Interrupt causes. HOT."""
        registers = self.registers
        pending = registers.get(_R.ICR, 0) | bits
        registers[_R.ICR] = pending
        if pending & registers.get(_R.IMS, 0):
            self.raise_interrupt()

    def _show_interrupt(self) -> None:
        if self.registers.get(_R.ICR, 0) & self.registers.get(_R.IMS, 0):
            self.raise_interrupt()
        else:
            self.lower_interrupt()

    def _read_eeprom(self, value: int) -> int:
        if not value & r.EERD_START:
            return value
        word = value >> r.EERD_ADDRESS_SHIFT & 0xFF
        data = self.eeprom[word] if word < len(self.eeprom) else 0xFFFF
        return data << r.EERD_DATA_SHIFT | r.EERD_DONE | value & 0xFF00

    @staticmethod
    def _make_eeprom(mac: bytes) -> list[int]:
        words = [0] * r.EEPROM_WORDS
        words[:3] = [int.from_bytes(mac[at : at + 2], "little") for at in (0, 2, 4)]
        words[r.EEPROM_CHECKSUM_WORD] = (r.EEPROM_CHECKSUM - sum(words)) & 0xFFFF
        return words

    # -- the wire --

    def _is_link_up(self) -> bool:
        return self.port.link_up and bool(self.registers.get(_R.CTRL, 0) & r.CTRL_SET_LINK_UP)

    def _link_changed(self, up: bool) -> None:
        self.cause(r.CAUSE_LINK)

    def receive(self, frame: bytes) -> None:
        """A frame came from the wire. HOT."""
        registers = self.registers
        control = registers.get(_R.RCTL, 0)
        if not control & r.RCTL_ENABLE or not self._is_link_up() or not self._accepts(frame, control):
            return
        length = len(frame)
        if length > r.MAXIMUM_LEGACY_BYTES and not (control & r.RCTL_LONG_PACKETS and length <= r.SEGMENT_BYTES):
            return
        if length < MINIMUM_ON_WIRE:
            frame = frame.ljust(MINIMUM_ON_WIRE, b"\0")
            length = MINIMUM_ON_WIRE
        head, ring_bytes = registers.get(_R.RDH, 0), registers.get(_R.RDLEN, 0)
        count = ring_bytes // r.DESCRIPTOR_BYTES
        size = _BUFFER_SIZES[control >> r.RCTL_BUFFER_SHIFT & 3]
        if control & r.RCTL_BUFFER_EXTENDED:
            size *= 16
        needed = -(-length // size)
        free = (registers.get(_R.RDT, 0) - head) % count if count else 0
        if free < needed:
            registers[_R.MPC] = registers.get(_R.MPC, 0) + 1
            registers[_R.RNBC] = registers.get(_R.RNBC, 0) + 1
            self.cause(r.CAUSE_RX_OVERRUN)
            return
        base = registers.get(_R.RDBAL, 0) & ~15 | registers.get(_R.RDBAH, 0) << 32
        for start in range(0, length, size):
            at = base + head * r.DESCRIPTOR_BYTES
            address = int.from_bytes(self.dma_read(at, 8), "little")
            piece = frame[start : start + size] if needed > 1 else frame
            self.dma_write(address, piece)
            status = r.RX_DONE | r.RX_IGNORE_CHECKSUM
            if start + size >= length:
                status |= r.RX_END_OF_PACKET
            self.dma_write(at + r.RX_LENGTH_OFFSET, len(piece).to_bytes(4, "little") + bytes((status, 0, 0, 0)))
            head = head + 1 if head + 1 < count else 0
        registers[_R.RDH] = head
        registers[_R.GPRC] = registers.get(_R.GPRC, 0) + 1
        self.cause(r.CAUSE_RX)

    def _accepts(self, frame: bytes, control: int) -> bool:
        """The receive filters (13.5)."""
        if not frame[0] & 1:
            return bool(control & r.RCTL_UNICAST_PROMISCUOUS) or self._is_ours(frame)
        if control & r.RCTL_MULTICAST_PROMISCUOUS:
            return True
        if frame[:6] == _BROADCAST:
            return bool(control & r.RCTL_BROADCAST)
        shift = (4, 3, 2, 0)[control >> r.RCTL_MULTICAST_SHIFT & 3]
        bits = (frame[5] << 8 | frame[4]) >> shift & 0xFFF
        return bool(self.registers.get(_R.MTA + 4 * (bits >> 5), 0) >> (bits & 31) & 1)

    def _is_ours(self, frame: bytes) -> bool:
        registers = self.registers
        low, high = int.from_bytes(frame[:4], "little"), int.from_bytes(frame[4:6], "little")
        if registers.get(_R.RAL0) == low and registers.get(_R.RAH0) == high | r.RAH_VALID:
            return True
        for index in range(1, r.RECEIVE_ADDRESSES):
            above = registers.get(_R.RAH0 + 8 * index, 0)
            if above & r.RAH_VALID and above & 0xFFFF == high and registers.get(_R.RAL0 + 8 * index, 0) == low:
                return True
        return False
