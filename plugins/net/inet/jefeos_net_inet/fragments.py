"""Reassembly of IP fragments, of both families (RFC 791, section 3.2; RFC 8200, section 4.5), within limits.

A datagram under reassembly is a sorted list of pieces. Pieces that overlap end it (RFC 5722; the tricks that need
overlaps are older than any honest use), an exact repetition is ignored. What is unfinished lives for a fixed time, and
there is a limit to the memory of all together: the oldest go first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from attrs import define, field

from jefeos_net_inet.timers import Timer

if TYPE_CHECKING:
    from jefeos_net_inet.timers import Timers

MOST_DATAGRAM_BYTES: Final = 65_535
MOST_PIECES: Final = 2048
PIECE_OVERHEAD_BYTES: Final = 256
"""What a piece costs beside its data."""


@define(eq=False)
class Partial:
    """A datagram that is not complete."""

    expires_ns: int
    expired: Callable[[], None] | None = None
    """Tells the sender (set once the first piece has come, which an ICMP error quotes)."""
    pieces: list[tuple[int, bytes]] = field(factory=list)
    received_bytes: int = 0
    total_bytes: int | None = None
    cost_bytes: int = 0


@define
class FragmentCounters:
    """MIB names: ReasmReqds, ReasmOKs, ReasmFails, ReasmTimeout."""

    required: int = 0
    completed: int = 0
    failed: int = 0
    timed_out: int = 0


class Reassembler:
    """The unfinished datagrams of one family."""

    def __init__(self, timers: Timers, timeout_ns: Callable[[], int], most_bytes: Callable[[], int]) -> None:
        self._timers = timers
        self._timeout_ns = timeout_ns
        self._most_bytes = most_bytes
        self._partials: dict[Hashable, Partial] = {}
        """In the order in which they began."""
        self._timer: Timer | None = None
        self.used_bytes = 0
        self.counters = FragmentCounters()

    def __len__(self) -> int:
        return len(self._partials)

    def add(
        self, key: Hashable, offset: int, more: bool, data: bytes, expired: Callable[[], None] | None = None
    ) -> bytes | None:
        """A piece; gives the datagram's payload once it is whole.

        ``expired`` is called if the time runs out, for the piece with offset 0. Malformed pieces end their datagram.
        """
        counters = self.counters
        counters.required += 1
        partial = self._partials.get(key)
        if partial is None:
            if not data:
                counters.failed += 1
                return None
            partial = self._partials[key] = Partial(self._timers.now_ns() + self._timeout_ns())
            if self._timer is None:
                self._schedule()
        if not self._insert(partial, offset, more, data):
            counters.failed += 1
            self._drop(key)
            return None
        if offset == 0:
            partial.expired = expired
        if partial.received_bytes == partial.total_bytes:
            whole = b"".join(piece for _offset, piece in partial.pieces)
            counters.completed += 1
            self._drop(key)
            return whole
        while self.used_bytes > self._most_bytes() and self._partials:
            counters.failed += 1
            self._drop(next(iter(self._partials)))
        return None

    def _insert(self, partial: Partial, offset: int, more: bool, data: bytes) -> bool:
        end = offset + len(data)
        if end > MOST_DATAGRAM_BYTES or not data or (more and len(data) & 7):
            return False
        pieces = partial.pieces
        place = bisect_left(pieces, offset, key=lambda piece: piece[0])
        if place < len(pieces):
            next_offset, next_data = pieces[place]
            if next_offset == offset and next_data == data:
                return more or partial.total_bytes == end
            if end > next_offset:
                return False
        if place and pieces[place - 1][0] + len(pieces[place - 1][1]) > offset:
            return False
        if not more:
            if partial.total_bytes not in (None, end):
                return False
            if pieces and place < len(pieces):  # something lies behind the end
                return False
            partial.total_bytes = end
        elif partial.total_bytes is not None and end > partial.total_bytes:
            return False
        if len(pieces) >= MOST_PIECES:
            return False
        insort(pieces, (offset, data), key=lambda piece: piece[0])
        partial.received_bytes += len(data)
        cost = len(data) + PIECE_OVERHEAD_BYTES
        partial.cost_bytes += cost
        self.used_bytes += cost
        return True

    def _drop(self, key: Hashable) -> Partial:
        partial = self._partials.pop(key)
        self.used_bytes -= partial.cost_bytes
        return partial

    def _schedule(self) -> None:
        first = next(iter(self._partials.values()), None)
        self._timer = None
        if first is not None:
            delay_ns = max(first.expires_ns - self._timers.now_ns(), 0)
            self._timer = self._timers.later(delay_ns, self._expire)

    def _expire(self) -> None:
        now_ns = self._timers.now_ns()
        late = [key for key, partial in self._partials.items() if partial.expires_ns <= now_ns]
        for key in late:
            self.counters.timed_out += 1
            self.counters.failed += 1
            partial = self._drop(key)
            if partial.expired is not None:
                partial.expired()
        self._schedule()

    def close(self) -> None:
        """Forget everything."""
        self._partials.clear()
        self.used_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
