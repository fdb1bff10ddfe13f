"""What arrived ahead of its turn: disjoint ranges of octets, until the hole before them is filled.

    next expected            [range)      [range)   [range)
          |...... hole .......|......hole....|...hole..|

Octets that are already there win over later ones for the same place. Memory is bounded three ways: by the receive
window (the caller cuts to it), by the number of ranges, and by the number of pieces; what goes beyond is dropped
and will be sent again. The ranges touched last are reported first in SACK options (RFC 2018, section 4).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

MOST_RANGES: Final = 1024
MOST_PIECES: Final = 8192
_REPORTED: Final = 4


class Range:
    """Octets ``start`` to ``end`` in pieces."""

    __slots__ = ("end", "pieces", "start")

    def __init__(self, start: int, end: int, pieces: list[bytes]) -> None:
        self.start = start
        self.end = end
        self.pieces = pieces


class Reassembly:
    """See the module's text."""

    __slots__ = ("_starts", "bytes_held", "pieces_held", "ranges", "recent")

    def __init__(self) -> None:
        self.ranges: list[Range] = []
        self._starts: list[int] = []
        self.recent: list[Range] = []
        """The ranges touched last, the very last first."""
        self.bytes_held = 0
        self.pieces_held = 0

    def add(self, start: int, data: bytes | memoryview) -> bool:
        """Keep ``data``, which begins at ``start``. False if a limit was reached and some or all was dropped."""
        end = start + len(data)
        ranges, starts = self.ranges, self._starts
        first = bisect_left(starts, start)
        if first and ranges[first - 1].end >= start:
            first -= 1
        last = first
        while last < len(ranges) and ranges[last].start <= end:
            last += 1
        touched = ranges[first:last]
        if not touched and len(ranges) >= MOST_RANGES or self.pieces_held >= MOST_PIECES:
            return False
        pieces: list[bytes] = []
        position = start
        for old in touched:  # the gaps between what is there are filled from the new data
            if position < old.start:
                pieces.append(bytes(data[position - start : old.start - start]))
                self._count(old.start - position)
            pieces += old.pieces
            position = max(position, old.end)
        if position < end:
            pieces.append(bytes(data[position - start :]))
            self._count(end - position)
        low = min(start, touched[0].start) if touched else start
        high = max(end, touched[-1].end) if touched else end
        if len(touched) == 1:  # the usual case keeps its object
            merged = touched[0]
            merged.start, merged.end, merged.pieces = low, high, pieces
            starts[first] = low
        else:
            merged = Range(low, high, pieces)
            ranges[first:last] = [merged]
            starts[first:last] = [low]
        self.recent = [merged, *(one for one in self.recent if one is not merged and one not in touched)][:_REPORTED]
        return True

    def holds(self, start: int, end: int) -> bool:
        """Whether all of this has arrived before."""
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and end <= self.ranges[index].end

    def _count(self, length: int) -> None:
        self.bytes_held += length
        self.pieces_held += 1

    def ready(self, position: int) -> list[bytes]:
        """Remove and give what can be delivered once everything before ``position`` has arrived."""
        ready: list[bytes] = []
        done = 0
        for one in self.ranges:
            if one.start > position:
                break
            done += 1
            self.bytes_held -= one.end - one.start
            self.pieces_held -= len(one.pieces)
            skip = position - one.start
            for piece in one.pieces:
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                ready.append(piece[skip:])
                position += len(piece) - skip
                skip = 0
        if done:
            gone = self.ranges[:done]
            self.recent = [one for one in self.recent if one not in gone]
            del self.ranges[:done], self._starts[:done]
        return ready

    def blocks(self, most: int) -> list[tuple[int, int]]:
        """Up to ``most`` SACK blocks."""
        return [(one.start, one.end) for one in self.recent[:most]]
