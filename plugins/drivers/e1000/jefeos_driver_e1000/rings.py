"""The driver's half of the descriptor rings (SDM 3.2, 3.4).

      head (the card's)                     tail (the driver's)
        v                                     v
    [ in the card's hands ][ in the driver's hands           ]       head = tail: the card has nothing

Receive: every descriptor always has a buffer. The driver takes what is done, in order, gives the same descriptor back
and moves the tail; one descriptor is kept back so that a full ring does not look like an empty one.

Transmit: frames are copied into an arena that is used as a ring too, since each frame's room comes free in order.
Descriptors are reclaimed when they are needed, by the status that the card writes to the last one of each frame.

HOT: `ReceiveRing.poll` and `TransmitRing.put` run once a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos_driver_e1000 import registers as r

if TYPE_CHECKING:
    from jefeos.bus.driver import DeviceContext
    from jefeos.bus.region import Region
    from jefeos.net.device import Offload

RX_DESCRIPTORS: Final = 256
TX_DESCRIPTORS: Final = 256
TX_ARENA_BYTES: Final = 512 << 10
TX_PIECE_BYTES: Final = 4096
"""Most bytes that one descriptor is given: more than this the card's FIFO does not take well (SDM 3.3.3)."""
MOST_PIECES: Final = 64
"""Descriptors of one frame, after which a card that never ends it is not believed."""
_GIVE_BACK: Final = 16
"""Receive descriptors that are given back together: each write of the tail costs more than the frame."""
_ETHERNET_HEADER: Final = 14
_ETHERTYPE_OFFSET: Final = 12
_IPV4: Final = b"\x08\x00"
_IP_LENGTH: Final = slice(16, 18)
_IP_CHECKSUM: Final = slice(24, 26)
_IP_CHECKSUM_OFFSET: Final = 24

_STATUS, _LENGTH, _ERRORS = r.RX_STATUS_OFFSET, r.RX_LENGTH_OFFSET, r.RX_ERRORS_OFFSET
_TAIL_RX, _TAIL_TX = int(r.Register.RDT), int(r.Register.TDT)


class ReceiveRing:
    """Frames that the card has received."""

    def __init__(self, context: DeviceContext) -> None:
        self.ring = context.allocate_dma(RX_DESCRIPTORS * r.DESCRIPTOR_BYTES, 4096)
        self.buffers = context.allocate_dma(RX_DESCRIPTORS * r.RX_BUFFER_BYTES, 4096)
        self.next = 0
        self._kept = 0
        """Descriptors that are empty and not yet given back."""
        self._pieces: list[bytes] = []
        """Of a frame that goes on in the next descriptor."""

    def start(self, registers: Region) -> None:
        """Give all descriptors but one to the card."""
        view = self.ring.view
        for index in range(RX_DESCRIPTORS):
            address = self.buffers.address + index * r.RX_BUFFER_BYTES
            r.RX_DESCRIPTOR.pack_into(view, index * r.DESCRIPTOR_BYTES, address, 0, 0, 0, 0, 0)
        self.next = self._kept = 0
        self._pieces.clear()
        registers.write32(r.Register.RDBAL, self.ring.address & 0xFFFF_FFFF)
        registers.write32(r.Register.RDBAH, self.ring.address >> 32)
        registers.write32(r.Register.RDLEN, self.ring.size)
        registers.write32(r.Register.RDH, 0)
        registers.write32(r.Register.RDT, RX_DESCRIPTORS - 1)

    def poll(self, registers: Region, budget: int, deliver: Callable[[bytes | None], None]) -> int:
        """Deliver the frames of up to ``budget`` descriptors (None for a damaged one); how many there were."""
        view, buffers = self.ring.view, self.buffers.view
        index, count = self.next, 0
        while count < budget:
            at = index * 16
            status = view[at + _STATUS]
            if not status & r.RX_DONE:
                break
            length = view[at + _LENGTH] | view[at + _LENGTH + 1] << 8
            good = not view[at + _ERRORS] and length <= r.RX_BUFFER_BYTES
            start = index * r.RX_BUFFER_BYTES
            frame = bytes(buffers[start : start + length]) if good else None
            view[at + _STATUS] = 0
            index = index + 1 if index + 1 < RX_DESCRIPTORS else 0
            count += 1
            if self._pieces or not status & r.RX_END_OF_PACKET:
                frame = self._joined(frame, bool(status & r.RX_END_OF_PACKET))
                if frame == b"":
                    continue
            deliver(frame)
        self.next = index
        self._kept += count
        if self._kept >= _GIVE_BACK or (self._kept and count < budget):
            self._kept = 0
            registers.write32(_TAIL_RX, index - 1 if index else RX_DESCRIPTORS - 1)
        return count


    def _joined(self, piece: bytes | None, is_last: bool) -> bytes | None:
        """A frame of several descriptors: b"" while it goes on, None if it is damaged or has no end."""
        pieces = self._pieces
        if piece is None or len(pieces) >= MOST_PIECES:
            pieces.clear()
            return None
        pieces.append(piece)
        if not is_last:
            return b""
        frame = b"".join(pieces)
        pieces.clear()
        return frame


class TransmitRing:
    """Frames on their way to the card."""

    def __init__(self, context: DeviceContext) -> None:
        self.ring = context.allocate_dma(TX_DESCRIPTORS * r.DESCRIPTOR_BYTES, 4096)
        self.arena = context.allocate_dma(TX_ARENA_BYTES, 4096)
        self.next = 0
        self._free_descriptors = TX_DESCRIPTORS - 1
        self._free_bytes = TX_ARENA_BYTES
        self._write_at = 0
        self._frames: deque[tuple[int, int, int]] = deque()
        """For each frame under way: where the status of its last descriptor is, its descriptors, its bytes."""
        self._context = (0, 0, 0, 0)
        """What the card was last told about checksums and segments."""

    def start(self, registers: Region) -> None:
        """An empty ring."""
        self.ring.view[:] = bytes(self.ring.size)
        self.next = self._write_at = 0
        self._free_descriptors, self._free_bytes = TX_DESCRIPTORS - 1, TX_ARENA_BYTES
        self._frames.clear()
        self._context = (0, 0, 0, 0)
        registers.write32(r.Register.TDBAL, self.ring.address & 0xFFFF_FFFF)
        registers.write32(r.Register.TDBAH, self.ring.address >> 32)
        registers.write32(r.Register.TDLEN, self.ring.size)
        registers.write32(r.Register.TDH, 0)
        registers.write32(r.Register.TDT, 0)

    def put(self, registers: Region, frame: bytes | memoryview, offload: Offload | None) -> bool:
        """Hand a frame to the card; False if there is no room for it now."""
        length = len(frame)
        pieces = -(-length // TX_PIECE_BYTES)
        if self._free_descriptors < pieces + 1 or self._free_bytes < 2 * length:
            self.reclaim()
            if self._free_descriptors < pieces + 1 or self._free_bytes < 2 * length:
                return False
        start = self._write_at
        skipped = 0
        if start + length > TX_ARENA_BYTES:  # a frame lies in one piece
            skipped = TX_ARENA_BYTES - start
            start = 0
        self.arena.view[start : start + length] = frame
        used = 0
        if offload is None or not offload.checksum_start:
            command = r.TX_END_OF_PACKET | r.TX_INSERT_FCS | r.TX_REPORT_STATUS
            if pieces == 1:
                index = self.next
                address = self.arena.address + start
                r.TX_LEGACY.pack_into(self.ring.view, index * 16, address, length, 0, command, 0, 0, 0)
                self.next = index + 1 if index + 1 < TX_DESCRIPTORS else 0
                used, last = 1, index
            else:
                used, last = self._put_pieces(start, length, 0, 0)
        else:
            used = self._tell_context(start, length, offload)
            segment = r.TX_SEGMENT if offload.segment_bytes else 0
            options = r.TX_OPTION_TCP_CHECKSUM | (r.TX_OPTION_IP_CHECKSUM if segment else 0)
            count, last = self._put_pieces(start, length, segment, options)
            used += count
        self._write_at = start + length
        self._free_descriptors -= used
        self._free_bytes -= length + skipped
        self._frames.append((last * 16 + r.TX_STATUS_OFFSET, used, length + skipped))
        registers.write32(_TAIL_TX, self.next)
        return True

    def reclaim(self) -> None:
        """Take back what the card has reported as sent."""
        view, frames = self.ring.view, self._frames
        while frames and view[frames[0][0]] & r.TX_DONE:
            status_at, descriptors, length = frames.popleft()
            view[status_at] = 0
            self._free_descriptors += descriptors
            self._free_bytes += length

    def _put_pieces(self, start: int, length: int, segment: int, options: int) -> tuple[int, int]:
        """Data descriptors for a frame; how many, and the last one."""
        view, address = self.ring.view, self.arena.address + start
        index = last = self.next
        count = 0
        command = r.TX_INSERT_FCS | r.TX_EXTENDED | segment
        while length:
            piece = min(length, TX_PIECE_BYTES)
            length -= piece
            if not length:
                command |= r.TX_END_OF_PACKET | r.TX_REPORT_STATUS
            word = piece | r.TX_TYPE_DATA << r.TX_TYPE_SHIFT | command << r.TX_COMMAND_SHIFT
            r.TX_DATA.pack_into(view, index * 16, address, word, 0, options, 0)
            address += piece
            last = index
            index = index + 1 if index + 1 < TX_DESCRIPTORS else 0
            count += 1
        self.next = index
        return count, last

    def _tell_context(self, start: int, length: int, offload: Offload) -> int:
        """A context descriptor, unless the card knows all that already. Gives how many descriptors it took."""
        segment, headers = offload.segment_bytes, offload.header_bytes
        first = offload.checksum_start
        is_ipv4 = bytes(self.arena.view[start + _ETHERTYPE_OFFSET : start + _ETHERNET_HEADER]) == _IPV4
        if segment and is_ipv4:  # the card fills in both for each segment (SDM 3.5.6)
            self.arena.view[start + _IP_LENGTH.start : start + _IP_LENGTH.stop] = b"\0\0"
            self.arena.view[start + _IP_CHECKSUM.start : start + _IP_CHECKSUM.stop] = b"\0\0"
        told = (first, offload.checksum_offset, 0, is_ipv4)
        if not segment and told == self._context:
            return 0
        self._context = told if not segment else (0, 0, 0, 0)
        command = r.TX_EXTENDED | r.TX_CONTEXT_TCP | (r.TX_CONTEXT_IPV4 if is_ipv4 else 0)
        if segment:
            command |= r.TX_SEGMENT
        payload = length - headers if segment else 0
        word = payload | r.TX_TYPE_CONTEXT << r.TX_TYPE_SHIFT | command << r.TX_COMMAND_SHIFT
        index = self.next
        r.TX_CONTEXT.pack_into(
            self.ring.view, index * 16,
            _ETHERNET_HEADER, _IP_CHECKSUM_OFFSET, first - 1,
            first, first + offload.checksum_offset, 0,
            word, 0, headers if segment else 0, segment,
        )  # fmt: skip
        self.next = index + 1 if index + 1 < TX_DESCRIPTORS else 0
        return 1
