"""The receiving half of a connection: what arrived, the window that is offered, when to acknowledge.

      queue.start            nxt                           edge
          | read by the user  | expected ... reassembly ... | not allowed
          |<---- queue ------>|<-------- window ----------->|

The window never shrinks: ``edge`` only grows, by steps of a segment or half of the buffer (RFC 9293, section
3.8.6.2.2). The field of a scaled window is rounded up, so that the peer may send a little beyond ``edge``: up to
``promised``, the furthest that any acknowledgment allowed, which must be taken (RFC 7323, section 2.4). Of a buffer of
SO_RCVBUF octets half is offered as window, as with Linux; the rest is Linux's allowance for overhead. Rule of
auto-tuning, unless SO_RCVBUF was set: when the user read a full window within the time in which it was filled, the
buffer doubles, up to tcp_rmem's maximum.

Acknowledgments (RFC 5681, section 4.2): at once for two segments, for what is out of order or fills a hole, and for
the first segments of a connection; else after 40 ms, or with data.
"""

from __future__ import annotations

from typing import Final

from jefeos_net_inet.tcp.bytequeue import ByteQueue
from jefeos_net_inet.tcp.reassembly import Reassembly
from jefeos_net_inet.tcp.sequence import NEVER

DELAY_NS: Final = 40_000_000
QUICK_ACKS: Final = 16
LARGEST_WINDOW: Final = 65_535
ACK_NONE, ACK_LATER, ACK_NOW = 0, 1, 2


class Receiver:
    """Numbers count octets without a limit; times are nanoseconds."""

    __slots__ = (
        "_mark", "_marked_read", "ack_at_ns", "ack_state", "buffer_bytes", "duplicate", "edge", "fin_at",
        "initial", "largest_buffer", "last_ack_sent", "nxt", "promised", "queue", "quick_left", "reassembly",
        "scale", "segment_bytes", "tuned", "unacknowledged", "urgent_at", "urgent_end", "urgent_octet",
    )  # fmt: skip

    def __init__(self, initial: int, buffer_bytes: int, largest_buffer: int, scale: int, tuned: bool) -> None:
        self.initial = initial
        self.nxt = initial + 1
        self.queue = ByteQueue(self.nxt)
        self.reassembly = Reassembly()
        self.buffer_bytes = buffer_bytes
        self.largest_buffer = largest_buffer
        self.tuned = tuned
        self.scale = scale
        """Our shift; 0 also if scaling was not agreed."""
        self.edge = self.nxt + min(buffer_bytes // 2, LARGEST_WINDOW)
        self.promised = self.edge
        """Less than one unit of the scale beyond the edge."""
        self.segment_bytes = 536
        """The largest segment seen, at least this."""
        self.fin_at: int | None = None
        """Where the peer's stream ends, once that is known."""
        self.ack_state = ACK_NONE
        self.ack_at_ns = NEVER
        self.unacknowledged = 0
        self.last_ack_sent = self.nxt
        self.quick_left = QUICK_ACKS
        self.duplicate: tuple[int, int] | None = None
        """What arrived twice, for the next acknowledgment (RFC 2883)."""
        self.urgent_end = 0
        """Octets before this are urgent; 0 if there were none ever."""
        self.urgent_at: int | None = None
        """Where the urgent octet lies in the stream: the mark."""
        self.urgent_octet: int | None = None
        self._mark = self.edge
        self._marked_read = self.nxt

    # --- arrival ----------------------------------------------------------------------------------------------

    def take(self, start: int, data: bytes | memoryview, now_ns: int) -> bool:
        """Octets within the window, some of them perhaps known. True if the user can read more now. HOT."""
        nxt = self.nxt
        end = start + len(data)
        if start > nxt:
            if self.reassembly.holds(start, end):
                self.duplicate = (start, end)
            self.reassembly.add(start, data)
            self.ack_state = ACK_NOW
            return False
        if start < nxt:
            self.duplicate = (start, min(end, nxt))
            self.ack_state = ACK_NOW
            if end <= nxt:
                return False
            data = data[nxt - start :]
        if self.reassembly.ranges:
            self.ack_state = ACK_NOW  # RFC 5681: also for what fills a hole in part
        self.take_next(data, len(data), now_ns)
        if self.reassembly.ranges:
            for piece in self.reassembly.ready(end):
                self.queue.append(piece)
                self.nxt += len(piece)
        return True

    def take_next(self, data: bytes | memoryview, length: int, now_ns: int) -> None:
        """The octets that are next. HOT."""
        self.queue.append(data)
        self.nxt += length
        if length > self.segment_bytes:
            self.segment_bytes = length
        self.unacknowledged += length
        if self.ack_state != ACK_NOW:
            if self.unacknowledged >= 2 * min(self.segment_bytes, 1460) or self.quick_left > 0:
                self.quick_left -= 1
                self.ack_state = ACK_NOW
            elif self.ack_state == ACK_NONE:
                self.ack_state = ACK_LATER
                self.ack_at_ns = now_ns + DELAY_NS

    def note_urgent(self, end: int) -> bool:
        """The peer's urgent pointer; True if it is new."""
        if self.urgent_end and end <= self.urgent_end:
            return False
        self.urgent_end = end
        return True

    # --- what the user reads ----------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        """Octets in order, up to ``count``, and up to the urgent mark (Linux stops there). HOT."""
        if self.urgent_at is not None:
            before = self.urgent_at - self.queue.start
            if before > 0:
                count = min(count, before)
            elif len(self.queue):
                self.urgent_at = None
        data = self.queue.take(count)
        if self.tuned and self.nxt >= self._mark:
            self._tune()
        return data

    def resize(self, buffer_bytes: int) -> None:
        """SO_RCVBUF was set: no auto-tuning from now on. The window never shrinks, so less takes effect by and by."""
        self.buffer_bytes = self.largest_buffer = buffer_bytes
        self.tuned = False

    def _tune(self) -> None:
        offered = self.buffer_bytes // 2
        if self.queue.start - self._marked_read >= offered:
            self.buffer_bytes = min(2 * self.buffer_bytes, self.largest_buffer)
        self._mark = self.nxt + self.buffer_bytes // 2
        self._marked_read = self.queue.start

    # --- the window -------------------------------------------------------------------------------------------

    def advertise(self) -> int:
        """The window field of the segment that is about to be sent, which acknowledges too. HOT."""
        nxt, edge = self.nxt, self.edge
        step = min(self.buffer_bytes // 4, self.segment_bytes)
        if edge - nxt + step <= self.buffer_bytes >> 1:  # else there is no step to add, whatever the user has read
            possible = self._edge_possible()
            if possible - edge >= step:
                self.edge = edge = possible
        self.ack_state = ACK_NONE
        self.ack_at_ns = NEVER
        self.unacknowledged = 0
        self.last_ack_sent = nxt
        if nxt >= edge:
            return 0  # beyond it by what rounding promised, or by a FIN
        scale = self.scale
        if not scale:
            self.promised = edge
            return min(edge - nxt, LARGEST_WINDOW)
        window = edge - nxt + (1 << scale) - 1 >> scale
        promised = nxt + (window << scale)
        if promised > self.promised:
            self.promised = promised
        return window

    def _edge_possible(self) -> int:
        free = self.buffer_bytes // 2 - (self.queue.end - self.queue.start)
        limit = LARGEST_WINDOW << self.scale
        free = min(free, limit) >> self.scale << self.scale
        return self.nxt + free if free > 0 else self.edge

    def update_is_due(self) -> bool:
        """After reading: whether the window grew so much that the peer should hear of it without being asked. HOT."""
        remaining = self.edge - self.nxt
        if remaining > self.buffer_bytes >> 2:  # half of what could be offered
            return False
        possible = self._edge_possible() - self.nxt
        return possible >= 2 * remaining and possible - remaining >= min(self.buffer_bytes // 4, 2 * self.segment_bytes)

    def sack_blocks(self, most: int) -> list[tuple[int, int]]:
        """For the next acknowledgment, a duplicate first (RFC 2883)."""
        blocks = self.reassembly.blocks(most)
        duplicate, self.duplicate = self.duplicate, None
        return [duplicate, *blocks][:most] if duplicate is not None else blocks
