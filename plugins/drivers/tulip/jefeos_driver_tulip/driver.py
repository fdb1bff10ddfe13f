"""The driver of the 21140 and 21143, in the order of the manual's start-up procedure (HRM 4.3.2).

    reset -> MAC from the SROM -> lists -> CSR0, CSR3, CSR4 -> interrupts -> start transmission -> setup frame
          -> start reception -> look at the link, again and again

Receive descriptors stand in a ring; transmit descriptors are chained, each with a buffer of its own that frames are
copied into. The MII PHY has no interrupt, so the link is polled by a timer. The interrupt handler only takes the
causes; received frames are fetched outside of it, `BUDGET` at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from jefeos.bus.driver import DeviceContext, Driver, PciMatch
from jefeos.bus.pci import Command
from jefeos.errors import Errno, KernelError
from jefeos.net.device import ETHERNET_HEADER_BYTES, MINIMUM_FRAME_BYTES, VLAN_TAG_BYTES, NetDevice, Offload

from jefeos_driver_tulip import registers as r
from jefeos_driver_tulip.serial import SerialBus

if TYPE_CHECKING:
    from jefeos.bus.region import Region

BUDGET: Final = 64
RX_DESCRIPTORS: Final = 128
TX_DESCRIPTORS: Final = 64
BUFFER_BYTES: Final = 1536
RESET_NS: Final = 1_000_000
LINK_PERIOD_S: Final = 0.25
REGISTER_BAR: Final = 1
_ALL_ONES: Final = 0xFFFF_FFFF
_BROADCAST: Final = b"\xff" * 6
_MOST_GROUPS: Final = r.SETUP_ADDRESSES - 2
_STATUS: Final = int(r.Csr.STATUS)
_CAUSES: Final = r.STATUS_RECEIVED | r.STATUS_RECEIVE_IDLE | r.STATUS_BUS_ERROR | r.STATUS_NORMAL | r.STATUS_ABNORMAL
_MODE: Final = (
    r.MODE_MII_PORT | r.MODE_NO_HEARTBEAT | r.MODE_STORE_AND_FORWARD | r.MODE_FULL_DUPLEX | r.MODE_MUST_BE_ONE
)


class Tulip(NetDevice):
    """A card that is driven."""

    def __init__(self, context: DeviceContext) -> None:
        super().__init__()
        self.context = context
        self.driver, self.location = TulipDriver.name, f"0000:{context.device.location}"
        self.registers: Region = context.map_bar(REGISTER_BAR)
        context.enable(Command.IO_SPACE | Command.MEMORY_SPACE | Command.BUS_MASTER)
        self._serial = SerialBus(self.registers)
        self._gone = self._polling = self._full = False
        self._mode = _MODE
        self._groups: list[bytes] = []
        self._phy: int | None = None
        self._rx_next = 0
        self._tx_next = self._tx_oldest = self._tx_used = 0
        self._timer: Any = None
        self._reset()
        self.mac = self._read_mac()
        self._rx_ring = context.allocate_dma(RX_DESCRIPTORS * r.DESCRIPTOR_BYTES)
        self._rx_buffers = context.allocate_dma(RX_DESCRIPTORS * BUFFER_BYTES)
        self._tx_ring = context.allocate_dma(TX_DESCRIPTORS * r.DESCRIPTOR_BYTES)
        self._tx_buffers = context.allocate_dma(TX_DESCRIPTORS * BUFFER_BYTES)
        self._start()
        context.connect_interrupt(self.interrupt)
        self.registers.write32(r.Csr.INTERRUPT_ENABLE, _CAUSES)
        self._find_phy()
        self._watch_link()

    # -- NetDevice --

    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        if self._gone:
            raise KernelError(Errno.ENODEV, "the card is gone")
        length = len(frame)
        if not ETHERNET_HEADER_BYTES <= length <= self.mtu + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES:
            raise KernelError(Errno.EMSGSIZE, f"a frame of {length} bytes")
        if not self.link_up:
            self.statistics.tx_dropped += 1
            return True
        if not self._put(frame, r.TX_FIRST | r.TX_LAST):
            self.statistics.tx_dropped += 1
            self._wait_for_room()
            return False
        self.statistics.tx_packets += 1
        self.statistics.tx_bytes += length
        return True

    def set_promiscuous(self, on: bool) -> None:
        self._set_mode(self._mode | r.MODE_PROMISCUOUS if on else self._mode & ~r.MODE_PROMISCUOUS)

    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        self._groups = list(addresses)
        if len(self._groups) > _MOST_GROUPS:
            self._set_mode(self._mode | r.MODE_ALL_MULTICAST)
        else:
            self._set_mode(self._mode & ~r.MODE_ALL_MULTICAST)
            self._send_setup_frame()

    # -- interrupts --

    def interrupt(self) -> bool:
        """Take the causes, and see to them later."""
        registers = self.registers
        causes = registers.read32(_STATUS)
        if causes == _ALL_ONES:
            self._gone = True
            self.context.offline("its registers read as ones: it was pulled out")
            return True
        if not causes & (r.STATUS_NORMAL | r.STATUS_ABNORMAL):
            return False
        registers.write32(_STATUS, causes & r.STATUS_CLEARED_BY_ONES)
        if causes & r.STATUS_BUS_ERROR:
            self._gone = True
            self.context.offline("it met a bus error: its descriptors or buffers are not in memory")
            return True
        if causes & (r.STATUS_RECEIVED | r.STATUS_RECEIVE_IDLE) and not self._polling:
            self._polling = True
            self._later(self.poll)
        if causes & r.STATUS_TRANSMITTED and self._full:
            self._full = False
            registers.write32(r.Csr.INTERRUPT_ENABLE, _CAUSES)
            self._later(self.writable)
        return True

    def poll(self) -> None:
        """Fetch what has come in; goes on later if there is more. HOT."""
        if self._gone:
            return
        ring, buffers = self._rx_ring.view, self._rx_buffers.view
        index, count = self._rx_next, 0
        statistics = self.statistics
        while count < BUDGET:
            at = index * r.DESCRIPTOR_BYTES
            status = int.from_bytes(ring[at : at + 4], "little")
            if status & r.OWNED_BY_CARD:
                break
            length = (status >> r.RX_LENGTH_SHIFT & r.RX_LENGTH_MASK) - r.CRC_BYTES
            whole = status & (r.RX_FIRST | r.RX_LAST) == r.RX_FIRST | r.RX_LAST
            good = whole and not status & r.ERROR_SUMMARY and ETHERNET_HEADER_BYTES <= length <= BUFFER_BYTES
            start = index * BUFFER_BYTES
            frame = bytes(buffers[start : start + length]) if good else b""
            ring[at : at + 4] = r.OWNED_BY_CARD.to_bytes(4, "little")
            index = index + 1 if index + 1 < RX_DESCRIPTORS else 0
            count += 1
            if frame:
                statistics.rx_packets += 1
                statistics.rx_bytes += length
                if frame[0] & 1 and frame[:6] != _BROADCAST:
                    statistics.multicast += 1
                self.receiver(frame)
            else:
                statistics.rx_errors += 1
                statistics.rx_frame_errors += 1
        self._rx_next = index
        if count:
            self.registers.write32(r.Csr.RECEIVE_POLL, 1)  # it may have found the ring full
            self._later(self.poll)
        else:
            self._polling = False
            self._count_missed()

    # -- the card --

    def remove(self) -> None:
        """Stop it: no interrupts, no DMA."""
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        self.registers.write32(r.Csr.INTERRUPT_ENABLE, 0)
        self.registers.write32(r.Csr.OPERATION_MODE, 0)
        self.registers.read32(_STATUS)
        if self.link_up:
            self.link_up = False
            self.link_changed(False)

    def _reset(self) -> None:
        registers = self.registers
        if registers.read32(_STATUS) == _ALL_ONES and registers.read32(r.Csr.BUS_MODE) == _ALL_ONES:
            raise KernelError(Errno.ENODEV, "the card does not answer")
        registers.write32(r.Csr.BUS_MODE, r.BUS_MODE_RESET)
        self.context.delay(RESET_NS)
        registers.write32(r.Csr.BUS_MODE, r.BUS_MODE_BURST_16 | r.BUS_MODE_ALIGN_16)
        registers.write32(r.Csr.INTERRUPT_ENABLE, 0)

    def _read_mac(self) -> bytes:
        data = b"".join(self._serial.read_srom(word).to_bytes(2, "little") for word in range(r.SROM_WORDS))
        if r.srom_checksum(data) != int.from_bytes(data[r.SROM_CHECKED_BYTES :], "little"):
            self.context.log.warning("the SROM's checksum is wrong")  # clones never had a right one
        mac = data[r.SROM_MAC_OFFSET : r.SROM_MAC_OFFSET + 6]
        if mac[0] & 1 or not any(mac):
            raise KernelError(Errno.EIO, f"the SROM has the address {mac.hex(':')}, which no card can have")
        return mac

    def _start(self) -> None:
        registers = self.registers
        for index in range(RX_DESCRIPTORS):
            end = r.END_OF_RING if index == RX_DESCRIPTORS - 1 else 0
            buffer = self._rx_buffers.address + index * BUFFER_BYTES
            r.DESCRIPTOR.pack_into(
                self._rx_ring.view, index * r.DESCRIPTOR_BYTES, r.OWNED_BY_CARD, BUFFER_BYTES | end, buffer, 0
            )
        for index in range(TX_DESCRIPTORS):
            following = self._tx_ring.address + (index + 1) % TX_DESCRIPTORS * r.DESCRIPTOR_BYTES
            buffer = self._tx_buffers.address + index * BUFFER_BYTES
            r.DESCRIPTOR.pack_into(
                self._tx_ring.view, index * r.DESCRIPTOR_BYTES, 0, r.CHAINED, buffer, following
            )
        registers.write32(r.Csr.RECEIVE_LIST, self._rx_ring.address)
        registers.write32(r.Csr.TRANSMIT_LIST, self._tx_ring.address)
        registers.write32(_STATUS, r.STATUS_CLEARED_BY_ONES)
        self._set_mode(self._mode | r.MODE_TRANSMIT)
        self._send_setup_frame()
        self._set_mode(self._mode | r.MODE_RECEIVE)
        registers.write32(r.Csr.RECEIVE_POLL, 1)

    def _set_mode(self, mode: int) -> None:
        self._mode = mode
        self.registers.write32(r.Csr.OPERATION_MODE, mode)
        self.registers.read32(_STATUS)

    def _send_setup_frame(self) -> None:
        if not self._put(r.pack_setup_frame([self.mac, _BROADCAST, *self._groups]), r.TX_SETUP):
            self.context.log.warning("no room for a setup frame: filters stay as they were")
        self.registers.read32(_STATUS)  # writes may be posted: now they have arrived

    def _put(self, frame: bytes | memoryview, control: int) -> bool:
        """Hand a frame to the card; False if the chain is full. HOT."""
        ring = self._tx_ring.view
        if self._tx_used == TX_DESCRIPTORS:
            self._reclaim()
            if self._tx_used == TX_DESCRIPTORS:
                return False
        index = self._tx_next
        length = len(frame)
        start = index * BUFFER_BYTES
        self._tx_buffers.view[start : start + length] = frame
        if length < MINIMUM_FRAME_BYTES:  # the card pads too, but not every one of its relatives does
            self._tx_buffers.view[start + length : start + MINIMUM_FRAME_BYTES] = bytes(MINIMUM_FRAME_BYTES - length)
            length = MINIMUM_FRAME_BYTES
        at = index * r.DESCRIPTOR_BYTES
        ring[at + 4 : at + 8] = (control | r.TX_INTERRUPT | r.CHAINED | length).to_bytes(4, "little")
        ring[at : at + 4] = r.OWNED_BY_CARD.to_bytes(4, "little")
        self._tx_next = index + 1 if index + 1 < TX_DESCRIPTORS else 0
        self._tx_used += 1
        self.registers.write32(r.Csr.TRANSMIT_POLL, 1)
        return True

    def _reclaim(self) -> None:
        ring = self._tx_ring.view
        while self._tx_used:
            at = self._tx_oldest * r.DESCRIPTOR_BYTES
            status = int.from_bytes(ring[at : at + 4], "little")
            if status & r.OWNED_BY_CARD:
                return
            if status & r.ERROR_SUMMARY and not int.from_bytes(ring[at + 4 : at + 8], "little") & r.TX_SETUP:
                self.statistics.tx_errors += 1
            self._tx_oldest = (self._tx_oldest + 1) % TX_DESCRIPTORS
            self._tx_used -= 1

    def _wait_for_room(self) -> None:
        if not self._full:
            self._full = True
            self.registers.write32(r.Csr.INTERRUPT_ENABLE, _CAUSES | r.STATUS_TRANSMITTED)

    def _count_missed(self) -> None:
        missed = self.registers.read32(r.Csr.MISSED_FRAMES) & r.MISSED_MASK
        self.statistics.rx_fifo_errors += missed
        self.statistics.rx_dropped += missed

    # -- link --

    def _find_phy(self) -> None:
        for phy in (*range(1, r.MII_PHYS), 0):
            if self._serial.read_mii(phy, r.MII_STATUS) not in (0, 0xFFFF):
                self._phy = phy
                return
        self.context.log.warning("no PHY answers: the link is taken for up")

    def _watch_link(self) -> None:
        if self._gone:
            return
        up = True
        if self._phy is not None:
            self._serial.read_mii(self._phy, r.MII_STATUS)  # a link that was down is latched: the second read is now
            up = bool(self._serial.read_mii(self._phy, r.MII_STATUS) & r.MII_STATUS_LINK)
        if up != self.link_up:
            self.link_up = up
            self.context.log.info("link is %s", "up" if up else "down")
            self.link_changed(up)
        if self.context.loop is not None:
            self._timer = self.context.loop.call_later(LINK_PERIOD_S, self._watch_link)

    def _later(self, action: Callable[[], None]) -> None:
        loop = self.context.loop
        if loop is not None:
            loop.call_soon(action)
        else:
            action()


class TulipDriver(Driver):
    """See the module's text."""

    name = "tulip"
    matches: ClassVar[tuple[PciMatch, ...]] = (
        PciMatch(r.VENDOR_DEC, r.DEVICE_21140),
        PciMatch(r.VENDOR_DEC, r.DEVICE_21143),
    )

    def probe(self, context: DeviceContext) -> Tulip:
        card = Tulip(context)
        context.log.info("%s", card.mac.hex(":"))
        context.publish(card)
        return card
