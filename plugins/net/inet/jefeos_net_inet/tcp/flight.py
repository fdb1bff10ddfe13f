"""What is under way, transmission by transmission: when each was sent, and which are lost (RFC 8985, section 5).

    una                                                             nxt
     | Sent | Sent (lost) | ...SACKed: no record... | Sent | Sent | Sent |      records, by sequence number
              oldest transmission ------------------------> newest              by_time, of those that are not lost

A record leaves when its octets are acknowledged or SACKed, so that what remains are the holes. While everything
arrives in order both orders are the same, and only ``records`` is kept: one append and one removal for each
transmission, which may be many segments long (TSO). ``by_time`` begins with the first hole and ends with the last one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from operator import attrgetter
from typing import Final

_TRIM: Final = 64
_START: Final = attrgetter("start")
_TIME: Final = attrgetter("sent_ns")


class Sent:
    """Octets ``start`` to ``end`` as they were sent last."""

    __slots__ = ("again", "end", "lost", "sent_ns", "start")

    def __init__(self, start: int, end: int, sent_ns: int, again: bool = False, lost: bool = False) -> None:
        self.start = start
        self.end = end
        self.sent_ns = sent_ns
        self.again = again
        """More than once."""
        self.lost = lost
        """Not in the network any more, and not yet sent again."""

    def __repr__(self) -> str:
        return f"<{self.start}:{self.end} at {self.sent_ns}{' again' * self.again}{' lost' * self.lost}>"


class Flight:
    """See the module's text."""

    __slots__ = ("_head", "_holes", "_newest_ns", "by_time", "lost", "records")

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self._head = 0
        """Records before this one are gone."""
        self.by_time: dict[Sent, None] | None = None
        self._newest_ns = 0
        """No two transmissions have one time, so that times are an order."""
        self.lost = 0
        """Octets in lost records."""
        self._holes: list[int] = []
        """A heap of where lost records begin, some of them out of date."""

    def __iter__(self) -> Iterator[Sent]:
        return iter(self.records[self._head :])

    @property
    def first(self) -> Sent | None:
        """The record with the lowest numbers."""
        return self.records[self._head] if len(self.records) > self._head else None

    @property
    def last(self) -> Sent | None:
        """The record with the highest numbers."""
        return self.records[-1] if len(self.records) > self._head else None

    @property
    def repeated(self) -> int:
        """Octets under way that were sent again."""
        return sum(record.end - record.start for record in self if record.again and not record.lost)

    # --- sending ----------------------------------------------------------------------------------------------

    def sent(self, start: int, end: int, now_ns: int) -> None:
        """New octets. HOT."""
        if now_ns <= self._newest_ns:
            now_ns = self._newest_ns + 1
        self._newest_ns = now_ns
        record = Sent(start, end, now_ns)
        self.records.append(record)
        if self.by_time is not None:
            self.by_time[record] = None

    def sent_again(self, start: int, end: int, now_ns: int) -> None:
        """These octets, of one record, are under way again."""
        index = bisect_right(self.records, start, self._head, key=_START) - 1
        if index < self._head:
            return
        record = self.records[index]
        if start >= record.end:
            return  # known to have arrived
        if self.by_time is None and index != len(self.records) - 1:
            self.disorder()
        if start > record.start:
            self._split(index, start)
            index += 1
            record = self.records[index]
        if end < record.end:
            self._split(index, end)
        self._found(record)
        if self.by_time is not None:
            self.by_time.pop(record, None)
            self.by_time[record] = None
        self._newest_ns = record.sent_ns = max(now_ns, self._newest_ns + 1)
        record.again = True

    def _split(self, index: int, at: int) -> None:
        """Make two records of one; the second is new."""
        record = self.records[index]
        rest = Sent(at, record.end, record.sent_ns, record.again, record.lost)
        record.end = at
        self.records.insert(index + 1, rest)
        if record.lost:
            heappush(self._holes, at)
        elif self.by_time is not None:
            if next(reversed(self.by_time)) is record:
                self.by_time[rest] = None
            else:
                self.by_time = {
                    piece: None for one in self.by_time for piece in ((one, rest) if one is record else (one,))
                }

    # --- losing -----------------------------------------------------------------------------------------------

    def disorder(self) -> None:
        """Begin to keep the order of transmission."""
        if self.by_time is None:
            flying = [record for record in self if not record.lost]
            self.by_time = dict.fromkeys(sorted(flying, key=_TIME))

    def lose(self, record: Sent) -> None:
        """It is not in the network any more."""
        if not record.lost:
            self.disorder()
            record.lost = True
            self.lost += record.end - record.start
            heappush(self._holes, record.start)
            if self.by_time is not None:
                self.by_time.pop(record, None)

    def lose_first(self, most_octets: int) -> None:
        """The first of all, cut to a segment."""
        if len(self.records) > self._head:
            record = self.records[self._head]
            if record.end - record.start > most_octets:
                self._split(self._head, record.start + most_octets)
            self.lose(record)

    def lose_all(self) -> None:
        """Nothing is in the network any more."""
        for record in self:
            self.lose(record)

    def find_all(self) -> None:
        """Nothing was lost after all."""
        for record in self:
            self._found(record)
        self.by_time = None
        self.disorder()

    def _found(self, record: Sent) -> None:
        if record.lost:
            record.lost = False
            self.lost -= record.end - record.start

    def first_lost(self) -> Sent | None:
        """The lost record with the lowest numbers."""
        holes = self._holes
        while holes:
            index = bisect_left(self.records, holes[0], self._head, key=_START)
            if index < len(self.records) and self.records[index].start == holes[0] and self.records[index].lost:
                return self.records[index]
            heappop(holes)
        return None

    # --- arriving ---------------------------------------------------------------------------------------------

    def acknowledged(self, una: int) -> list[Sent]:
        """Everything before ``una`` has arrived: the records that are gone by that. HOT."""
        records, head = self.records, self._head
        count = len(records)
        first = head
        while head < count and records[head].end <= una:
            head += 1
        gone = records[first:head]
        if head == count:
            records.clear()
            head = 0
        else:
            if head > _TRIM:
                del records[:head]
                head = 0
            if records[head].start < una:
                self._shorten(records[head], una)
        self._head = head
        if self.by_time is not None or self.lost:
            for record in gone:
                self._gone(record)
        return gone

    def _shorten(self, record: Sent, start: int) -> None:
        if record.lost:
            self.lost -= start - record.start
            heappush(self._holes, start)
        record.start = start

    def _gone(self, record: Sent) -> None:
        self._found(record)
        if self.by_time is not None:
            self.by_time.pop(record, None)

    def selected(self, left: int, right: int, segment_bytes: int) -> list[Sent]:
        """These octets have arrived ahead of their turn: what is gone by that, as records.

        A record is only cut between segments, so that a peer who reports crumbs makes no more records than there are
        segments; crumbs do not count.
        """
        self.disorder()
        records = self.records
        index = max(bisect_right(records, left, self._head, key=_START) - 1, self._head)
        gone = []
        while index < len(records) and records[index].start < right:
            record = records[index]
            if record.end <= left:
                index += 1
                continue
            if record.start < left or right < record.end:
                start, end = record.start, record.end
                first = start + -(-max(left - start, 0) // segment_bytes) * segment_bytes
                last = end if end <= right else start + (right - start) // segment_bytes * segment_bytes
                if first >= last:
                    index += 1
                    continue
                if start < first:
                    self._split(index, first)
                    index += 1
                    record = records[index]
                if last < end:
                    self._split(index, last)
            del records[index]
            self._gone(record)
            gone.append(record)
        return gone

    def taken_back(self, una: int, nxt: int) -> None:
        """The peer does not have what it reported (RFC 2018, section 8): what has no record is lost."""
        position = una
        missing = []
        for record in self:
            if record.start > position:
                missing.append((position, record.start))
            position = max(position, record.end)
        if position < nxt:
            missing.append((position, nxt))
        for start, end in missing:
            record = Sent(start, end, 0, again=True)
            self.records.insert(bisect_right(self.records, start, self._head, key=_START), record)
            self.lose(record)

    def in_order(self) -> None:
        """There are no holes any more: both orders are the same again."""
        self.by_time = None
        self._holes.clear()
