"""What the peer reported to have (RFC 2018): blocks above una, sorted and disjoint.

The peer may take back what it reported (reneging, RFC 2018, section 8): it then acknowledges up to a block without the
block, and the scoreboard is forgotten. What the blocks say about the rest is judged in rack.py.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

MOST_BLOCKS: Final = 2048
"""Reports beyond are ignored: they are advice."""


class Scoreboard:
    """Blocks that the peer has, as sorted lists of their edges."""

    __slots__ = ("lefts", "rights", "sacked")

    def __init__(self) -> None:
        self.lefts: list[int] = []
        self.rights: list[int] = []
        self.sacked = 0
        """Octets in all blocks."""

    def clear(self) -> None:
        """Forget all."""
        self.lefts.clear()
        self.rights.clear()
        self.sacked = 0

    def add(self, left: int, right: int) -> list[tuple[int, int]]:
        """Note a block; gives the parts of it that are news."""
        lefts, rights = self.lefts, self.rights
        first = bisect_left(rights, left)
        last = bisect_right(lefts, right)
        if first == last and len(lefts) >= MOST_BLOCKS:
            return []
        news = []
        position = left
        for index in range(first, last):
            if position < lefts[index]:
                news.append((position, lefts[index]))
            position = max(position, rights[index])
        if position < right:
            news.append((position, right))
        if first < last:
            left, right = min(left, lefts[first]), max(right, rights[last - 1])
        lefts[first:last] = [left]
        rights[first:last] = [right]
        self.sacked += sum(end - start for start, end in news)
        return news

    def advance(self, una: int) -> bool:
        """Forget what lies below ``una``. False if the peer has taken back what it reported: all is forgotten then."""
        lefts, rights = self.lefts, self.rights
        done = bisect_right(rights, una)
        if done:
            self.sacked -= sum(rights[:done]) - sum(lefts[:done])
            del lefts[:done], rights[:done]
        if lefts and lefts[0] <= una:
            self.clear()
            return False
        return True
