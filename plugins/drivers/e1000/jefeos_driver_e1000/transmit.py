"""The transmit half of the card's model: descriptors, checksums, segmentation (SDM 3.3 to 3.6).

    TDH --> descriptor --> legacy: a piece of a frame
                       --> context: remembered, for the frames after it
                       --> data: a piece of a frame, with options           --EOP--> one frame, or its segments

A large segment that the wire takes whole is handed over uncut with its `Offload`. Every other is cut here, as the card
does it: headers repeated, IP length and identification, TCP sequence number and flags, both checksums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.net.checksum import checksum, ones_sum
from jefeos.net.device import Offload

from jefeos_driver_e1000 import registers as r

if TYPE_CHECKING:
    from jefeos_driver_e1000.model import E1000Model

MAXIMUM_FRAME_BYTES: Final = 256 << 10
"""More than any TSO frame: a chain of descriptors without an end is cut off here."""
DESCRIPTORS_A_TURN: Final = 1024
_MINIMUM_ON_WIRE: Final = 60
_TCP_SEQUENCE, _TCP_FLAGS = 4, 13
_TCP_FIN_PSH: Final = 0x09
_IP_TOTAL_LENGTH, _IP_IDENTIFICATION, _IP_CHECKSUM = 2, 4, 10
_IPV6_PAYLOAD_LENGTH, _IPV6_HEADER = 4, 40
_R: Final = r.Register


class Transmitter:
    """Part of `E1000Model`."""

    def __init__(self, card: E1000Model) -> None:
        self._card = card
        self.reset()

    def reset(self) -> None:
        """Nothing is half sent, no context is known."""
        self._frame = bytearray()
        self._options = 0
        self._segments = False
        self._context = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def run(self) -> None:
        """Send what lies between head and tail. HOT."""
        card = self._card
        registers = card.registers
        count = registers.get(_R.TDLEN, 0) // r.DESCRIPTOR_BYTES
        head, tail = registers.get(_R.TDH, 0), registers.get(_R.TDT, 0)
        if not count or head >= count or tail >= count:
            return
        base = registers.get(_R.TDBAL, 0) & ~15 | registers.get(_R.TDBAH, 0) << 32
        causes = r.CAUSE_TX_QUEUE_EMPTY
        for _ in range(DESCRIPTORS_A_TURN):
            if head == tail:
                break
            at = base + head * r.DESCRIPTOR_BYTES
            descriptor = card.dma_read(at, r.DESCRIPTOR_BYTES)
            if descriptor[11] & r.TX_EXTENDED:
                reports = self._extended(descriptor)
            else:
                reports = self._legacy(descriptor)
            if reports:
                card.dma_write(at + r.TX_STATUS_OFFSET, bytes((descriptor[r.TX_STATUS_OFFSET] | r.TX_DONE,)))
                causes |= r.CAUSE_TX_WRITTEN_BACK
            head = head + 1 if head + 1 < count else 0
            registers[_R.TDH] = head
        else:
            card.schedule(0, self.run)  # others get their turn
        card.cause(causes)

    def _legacy(self, descriptor: memoryview) -> int:
        address, length, offset, command, _, start, _ = r.TX_LEGACY.unpack(descriptor)
        if command & r.TX_END_OF_PACKET and not self._frame and not command & r.TX_INSERT_CHECKSUM:
            self._send(bytes(self._card.dma_read(address, length)))  # the common case: one piece
            return int(command & r.TX_REPORT_STATUS)
        self._add(address, length)
        if command & r.TX_END_OF_PACKET:
            frame, self._frame = self._frame, bytearray()
            if command & r.TX_INSERT_CHECKSUM and start <= offset <= len(frame) - 2:
                frame[offset : offset + 2] = checksum(frame[start:]).to_bytes(2, "big")
            self._send(bytes(frame))
        return int(command & r.TX_REPORT_STATUS)

    def _extended(self, descriptor: memoryview) -> int:
        address, word, _, options, _ = r.TX_DATA.unpack(descriptor)
        command = word >> r.TX_COMMAND_SHIFT
        if word >> r.TX_TYPE_SHIFT & 15 == r.TX_TYPE_CONTEXT:
            self._context = r.TX_CONTEXT.unpack(descriptor)
            return int(command & r.TX_REPORT_STATUS)
        if not self._frame:  # the first data descriptor's options hold for the whole frame
            self._options = options
            self._segments = bool(command & r.TX_SEGMENT)
        self._add(address, word & r.TX_LENGTH_MASK)
        if command & r.TX_END_OF_PACKET:
            frame, self._frame = self._frame, bytearray()
            if self._segments:
                self._segment(frame)
            else:
                self._fill_checksums(frame)
                self._send(bytes(frame))
        return int(command & r.TX_REPORT_STATUS)

    def _add(self, address: int, length: int) -> None:
        if len(self._frame) + length <= MAXIMUM_FRAME_BYTES:
            self._frame += self._card.dma_read(address, length)

    def _send(self, frame: bytes, offload: Offload | None = None) -> None:
        card = self._card
        length = len(frame)
        if not length or (offload is None and length > r.JUMBO_BYTES) or not card._is_link_up():
            return
        if length < _MINIMUM_ON_WIRE and card.registers.get(_R.TCTL, 0) & r.TCTL_PAD_SHORT:
            frame = frame.ljust(_MINIMUM_ON_WIRE, b"\0")
        card.registers[_R.GPTC] = card.registers.get(_R.GPTC, 0) + 1
        card.port.send(frame, offload)

    # -- checksums and segments --

    def _fill_checksums(self, frame: bytearray) -> None:
        ip_start, ip_at, ip_end, start, at, end, *_ = self._context
        if self._options & r.TX_OPTION_TCP_CHECKSUM:
            self._fill(frame, start, at, end)
        if self._options & r.TX_OPTION_IP_CHECKSUM:
            self._fill(frame, ip_start, ip_at, ip_end)

    @staticmethod
    def _fill(frame: bytearray, start: int, at: int, end: int) -> None:
        """The sum of ``frame[start..end]`` (0: to its end) goes to ``at``; what is there counts too."""
        stop = end + 1 if end else len(frame)
        if start < stop <= len(frame) and start <= at <= len(frame) - 2:
            frame[at : at + 2] = (checksum(memoryview(frame)[start:stop]) or 0xFFFF).to_bytes(2, "big")

    def _segment(self, frame: bytearray) -> None:
        ip_start, ip_at, _, tcp_start, tcp_at, _, word, _, header_bytes, segment_bytes = self._context
        command = word >> r.TX_COMMAND_SHIFT
        fits = 0 < ip_start < tcp_start < tcp_at + 2 <= header_bytes <= len(frame)
        if not segment_bytes or not fits or header_bytes < tcp_start + _TCP_FLAGS + 1:
            return  # what the manual does not define is not sent
        is_ipv4 = bool(command & r.TX_CONTEXT_IPV4)
        if self._card.port.takes_segments:
            self._put_ip_length(frame, ip_start, len(frame), is_ipv4)
            if self._options & r.TX_OPTION_IP_CHECKSUM and is_ipv4:
                self._fill(frame, ip_start, ip_at, tcp_start - 1)
            offload = Offload(tcp_start, tcp_at - tcp_start, segment_bytes, header_bytes)
            self._send(bytes(frame), offload)  # the checksum is left to whoever cuts it (net/wiredevice.py)
            return
        header = bytes(frame[:header_bytes])
        identification = int.from_bytes(header[ip_start + _IP_IDENTIFICATION :][:2], "big")
        sequence = int.from_bytes(header[tcp_start + _TCP_SEQUENCE :][:4], "big")
        flags = header[tcp_start + _TCP_FLAGS]
        payload = memoryview(frame)[header_bytes:]
        for number, start in enumerate(range(0, max(len(payload), 1), segment_bytes)):
            piece = bytearray(header)
            piece += payload[start : start + segment_bytes]
            self._put_ip_length(piece, ip_start, len(piece), is_ipv4)
            if is_ipv4:
                at = ip_start + _IP_IDENTIFICATION
                piece[at : at + 2] = (identification + number & 0xFFFF).to_bytes(2, "big")
                if self._options & r.TX_OPTION_IP_CHECKSUM:
                    self._fill(piece, ip_start, ip_at, tcp_start - 1)
            at = tcp_start + _TCP_SEQUENCE
            piece[at : at + 4] = (sequence + start & 0xFFFF_FFFF).to_bytes(4, "big")
            if start + segment_bytes < len(payload):
                piece[tcp_start + _TCP_FLAGS] = flags & ~_TCP_FIN_PSH
            if self._options & r.TX_OPTION_TCP_CHECKSUM:
                self._fill_segment(piece, tcp_start, tcp_at)
            self._send(bytes(piece))

    def _fill_segment(self, frame: bytearray, tcp_start: int, tcp_at: int) -> None:
        """The TCP checksum: the driver has left the sum of the pseudo-header without the length."""
        pseudo = int.from_bytes(frame[tcp_at : tcp_at + 2], "big") + len(frame) - tcp_start
        frame[tcp_at : tcp_at + 2] = ones_sum(b"", pseudo).to_bytes(2, "big")
        self._fill(frame, tcp_start, tcp_at, 0)

    @staticmethod
    def _put_ip_length(frame: bytearray, ip_start: int, total: int, is_ipv4: bool) -> None:
        if is_ipv4:
            at, length = ip_start + _IP_TOTAL_LENGTH, total - ip_start
        else:
            at, length = ip_start + _IPV6_PAYLOAD_LENGTH, total - ip_start - _IPV6_HEADER
        frame[at : at + 2] = (length & 0xFFFF).to_bytes(2, "big")
