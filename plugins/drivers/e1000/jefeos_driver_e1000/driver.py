"""The driver of the 82540EM, in the order of the manual's chapter 14 (SDM, General Initialization and Reset Operation).

    reset (14.3) -> MAC from the EEPROM -> link up (14.4) -> receive (14.4) -> transmit (14.5) -> interrupts

The interrupt handler only reads the cause, which also takes the request back; received frames are fetched outside of
it, `BUDGET` at a time, with the rest of the system in between. Transmission needs no interrupt but for the moment when
a full ring has room again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from jefeos.bus.driver import DeviceContext, Driver, PciMatch
from jefeos.bus.pci import Command
from jefeos.errors import Errno, KernelError
from jefeos.net.device import ETHERNET_HEADER_BYTES, MINIMUM_FRAME_BYTES, Features, NetDevice, Offload

from jefeos_driver_e1000 import registers as r
from jefeos_driver_e1000.rings import ReceiveRing, TransmitRing

if TYPE_CHECKING:
    from jefeos.bus.region import Region

BUDGET: Final = 64
RESET_NS: Final = 1_000_000
EEPROM_TIMEOUT_NS: Final = 10_000_000
_ALL_ONES: Final = 0xFFFF_FFFF
MAXIMUM_SEGMENT_BYTES: Final = 64 << 10
_ICR, _IMS, _IMC = int(r.Register.ICR), int(r.Register.IMS), int(r.Register.IMC)
_WANTED_CAUSES: Final = r.CAUSE_LINK | r.CAUSE_RX_LOW | r.CAUSE_RX_OVERRUN | r.CAUSE_RX


class E1000(NetDevice):
    """A card that is driven."""

    features = Features.TX_CHECKSUM | Features.TSO

    def __init__(self, context: DeviceContext) -> None:
        super().__init__()
        self.context = context
        self.driver, self.location = E1000Driver.name, f"0000:{context.device.location}"
        self.registers: Region = context.map_bar(0)
        context.enable(Command.MEMORY_SPACE | Command.BUS_MASTER)
        self._gone = False
        self._full = False
        self._polling = False
        self._promiscuous = False
        self._reset()
        self.mac = self._read_mac()
        self.rx = ReceiveRing(context)
        self.tx = TransmitRing(context)
        self._start()
        context.connect_interrupt(self.interrupt)
        self.registers.write32(_IMS, _WANTED_CAUSES)
        self._look_at_link()  # which also flushes the writes

    # -- NetDevice --

    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        if self._gone:
            raise KernelError(Errno.ENODEV, "the card is gone")
        length = len(frame)
        limit = self.mtu + ETHERNET_HEADER_BYTES
        if offload is not None and offload.segment_bytes:
            limit = MAXIMUM_SEGMENT_BYTES
        if not ETHERNET_HEADER_BYTES <= length <= limit + 4:  # four bytes for a VLAN tag
            raise KernelError(Errno.EMSGSIZE, f"a frame of {length} bytes")
        if not self.link_up:
            self.statistics.tx_dropped += 1
            return True
        if length < MINIMUM_FRAME_BYTES:  # the card pads by itself (TCTL.PSP), but QEMU's does not
            frame = bytes(frame).ljust(MINIMUM_FRAME_BYTES, b"\0")
        if not self.tx.put(self.registers, frame, offload):
            self.statistics.tx_dropped += 1
            self._wait_for_room()
            return False
        self.statistics.tx_packets += 1
        self.statistics.tx_bytes += length
        return True

    def set_promiscuous(self, on: bool) -> None:
        self._promiscuous = on
        self._write_receive_control()
        self._flush_writes()

    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        table = [0] * r.MTA_WORDS
        for address in addresses:
            word, bit = multicast_bit(address)
            table[word] |= 1 << bit
        for index, value in enumerate(table):
            self.registers.write32(r.Register.MTA + 4 * index, value)
        self._flush_writes()

    # -- interrupts --

    def interrupt(self) -> bool:
        """Read the causes, which clears them, and see to them later."""
        causes = self.registers.read32(_ICR)
        if causes == _ALL_ONES:
            self._lost()
            return True
        if not causes & r.CAUSES:
            return False
        if causes & r.CAUSE_LINK:
            self._look_at_link()
        if causes & r.CAUSE_RX_OVERRUN:
            self._count_overruns()
        if causes & (r.CAUSE_RX | r.CAUSE_RX_LOW | r.CAUSE_RX_OVERRUN) and not self._polling:
            self._polling = True
            self._later(self.poll)
        if causes & r.CAUSE_TX_WRITTEN_BACK and self._full:
            self._room_again()
        return True

    def poll(self) -> None:
        """Fetch what has come in; goes on later if there is more."""
        if self._gone:
            return
        if self.rx.poll(self.registers, BUDGET, self._deliver) == BUDGET:
            self._later(self.poll)
        else:
            self._polling = False
            if self.rx.poll(self.registers, 1, self._deliver):  # it came after the ring was found empty
                self._polling = True
                self._later(self.poll)

    def _deliver(self, frame: bytes | None) -> None:
        statistics = self.statistics
        if frame is None:
            statistics.rx_errors += 1
            statistics.rx_frame_errors += 1
            return
        statistics.rx_packets += 1
        statistics.rx_bytes += len(frame)
        if frame[0] & 1 and frame[:6] != b"\xff\xff\xff\xff\xff\xff":
            statistics.multicast += 1
        self.receiver(frame)

    def _later(self, action: object) -> None:
        loop = self.context.loop
        if loop is not None:
            loop.call_soon(action)  # type: ignore[arg-type]
        else:
            action()  # type: ignore[operator]

    # -- the card --

    def remove(self) -> None:
        """Stop it: no interrupts, no DMA."""
        self._gone = True
        registers = self.registers
        registers.write32(_IMC, _ALL_ONES)
        registers.write32(r.Register.RCTL, 0)
        registers.write32(r.Register.TCTL, 0)
        registers.read32(r.Register.STATUS)
        if self.link_up:
            self.link_up = False
            self.link_changed(False)

    def _reset(self) -> None:
        registers = self.registers
        if registers.read32(r.Register.STATUS) == _ALL_ONES:
            raise KernelError(Errno.ENODEV, "the card does not answer")
        registers.write32(_IMC, _ALL_ONES)
        registers.write32(r.Register.CTRL, registers.read32(r.Register.CTRL) | r.CTRL_RESET)
        self.context.delay(RESET_NS)
        if not self.context.wait(lambda: not registers.read32(r.Register.CTRL) & r.CTRL_RESET, EEPROM_TIMEOUT_NS):
            raise KernelError(Errno.EIO, "the reset does not end")
        registers.write32(_IMC, _ALL_ONES)
        registers.read32(_ICR)

    def _read_mac(self) -> bytes:
        words = [self._read_eeprom(index) for index in range(r.EEPROM_WORDS)]
        if sum(words) & 0xFFFF != r.EEPROM_CHECKSUM:
            raise KernelError(Errno.EIO, f"the EEPROM's checksum is {sum(words) & 0xFFFF:#06x}, not 0xbaba")
        mac = b"".join(word.to_bytes(2, "little") for word in words[:3])
        if mac[0] & 1 or not any(mac):
            raise KernelError(Errno.EIO, f"the EEPROM has the address {mac.hex(':')}, which no card can have")
        return mac

    def _read_eeprom(self, word: int) -> int:
        registers = self.registers
        registers.write32(r.Register.EERD, r.EERD_START | word << r.EERD_ADDRESS_SHIFT)
        if not self.context.wait(lambda: bool(registers.read32(r.Register.EERD) & r.EERD_DONE), EEPROM_TIMEOUT_NS):
            raise KernelError(Errno.EIO, "the EEPROM does not answer")
        return registers.read32(r.Register.EERD) >> r.EERD_DATA_SHIFT

    def _start(self) -> None:
        registers = self.registers
        control = registers.read32(r.Register.CTRL) & ~r.CTRL_PHY_RESET
        registers.write32(r.Register.CTRL, control | r.CTRL_SET_LINK_UP | r.CTRL_AUTO_SPEED | r.CTRL_FULL_DUPLEX)
        for register in (r.Register.FCAL, r.Register.FCAH, r.Register.FCT, r.Register.FCTTV):
            registers.write32(register, 0)
        registers.write32(r.Register.RAL0, int.from_bytes(self.mac[:4], "little"))
        registers.write32(r.Register.RAH0, int.from_bytes(self.mac[4:], "little") | r.RAH_VALID)
        for index in range(1, r.RECEIVE_ADDRESSES):
            registers.write32(r.Register.RAL0 + 8 * index, 0)
            registers.write32(r.Register.RAH0 + 8 * index, 0)
        self.set_multicast(())
        registers.write32(r.Register.RDTR, 0)
        registers.write32(r.Register.RXCSUM, 0)
        self.rx.start(registers)
        self._write_receive_control()
        self.tx.start(registers)
        registers.write32(r.Register.TIPG, r.TIPG_COPPER)
        registers.write32(
            r.Register.TCTL,
            r.TCTL_ENABLE | r.TCTL_PAD_SHORT | r.TCTL_COLLISIONS | r.TCTL_COLLISION_DISTANCE,
        )

    def _write_receive_control(self) -> None:
        promiscuous = r.RCTL_UNICAST_PROMISCUOUS | r.RCTL_MULTICAST_PROMISCUOUS if self._promiscuous else 0
        self.registers.write32(
            r.Register.RCTL,
            r.RCTL_ENABLE | r.RCTL_BROADCAST | r.RCTL_STRIP_CRC | r.RCTL_LONG_PACKETS | promiscuous,
        )

    def _flush_writes(self) -> None:
        """Writes may be posted: once something was read, they have arrived."""
        self.registers.read32(r.Register.STATUS)

    def _look_at_link(self) -> None:
        status = self.registers.read32(r.Register.STATUS)
        up = bool(status & r.STATUS_LINK_UP)
        self.speed_mbps = r.SPEEDS_MBPS[status >> r.STATUS_SPEED_SHIFT & 3] if up else 0
        self.full_duplex = bool(status & r.STATUS_FULL_DUPLEX) if up else None
        if up != self.link_up:
            self.link_up = up
            self.context.log.info("link is %s", "up" if up else "down")
            self.link_changed(up)

    def _count_overruns(self) -> None:
        missed = self.registers.read32(r.Register.MPC)
        self.statistics.rx_fifo_errors += missed
        self.statistics.rx_dropped += missed

    def _wait_for_room(self) -> None:
        if not self._full:
            self._full = True
            self.registers.write32(_IMS, r.CAUSE_TX_WRITTEN_BACK)

    def _room_again(self) -> None:
        self._full = False
        self.registers.write32(_IMC, r.CAUSE_TX_WRITTEN_BACK)
        self.tx.reclaim()
        self._later(self.writable)

    def _lost(self) -> None:
        self._gone = True
        self.context.offline("its registers read as ones: it was pulled out")


def multicast_bit(address: bytes) -> tuple[int, int]:
    """Word and bit of the multicast table for a group address, with RCTL.MO = 0 (13.5.1)."""
    bits = (address[5] << 8 | address[4]) >> r.MTA_SHIFT & 0xFFF
    return bits >> 5, bits & 31


class E1000Driver(Driver):
    """See the module's text."""

    name = "e1000"
    matches: ClassVar[tuple[PciMatch, ...]] = (PciMatch(r.VENDOR_INTEL, r.DEVICE_82540EM),)

    def probe(self, context: DeviceContext) -> E1000:
        card = E1000(context)
        context.log.info("%s", card.mac.hex(":"))
        context.publish(card)
        return card
