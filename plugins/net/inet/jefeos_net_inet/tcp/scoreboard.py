"""What the peer reported to have (RFC 2018), and what that says about the rest (RFC 6675, section 4).

    una            high_retransmitted            lost_below                     nxt
     |  retransmitted  |   to be retransmitted       |  not yet known             |
        holes: octets that no SACK block covers; blocks: sorted, disjoint, above una

An octet counts as lost once three separate blocks, or more than two segments' worth of octets, lie above it; fewer
where so little is under way that three cannot come (RFC 5827). The peer may take back what it reported (reneging, RFC
2018, section 8): it then acknowledges up to a block without the block, and the scoreboard is forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

DUPLICATE_THRESHOLD: Final = 3
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

    def add(self, left: int, right: int) -> int:
        """Note a block; gives how many octets are new."""
        lefts, rights = self.lefts, self.rights
        first = bisect_left(rights, left)
        last = bisect_right(lefts, right)
        if first == last and len(lefts) >= MOST_BLOCKS:
            return 0
        already = 0
        if first < last:
            already = sum(rights[first:last]) - sum(lefts[first:last])
            left, right = min(left, lefts[first]), max(right, rights[last - 1])
        lefts[first:last] = [left]
        rights[first:last] = [right]
        gained = right - left - already
        self.sacked += gained
        return gained

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

    def lost_below(self, una: int, segment_bytes: int, threshold: int) -> int:
        """The first octet from below that is not known to be lost (IsLost); ``una`` if none is."""
        octets = 0
        lefts, rights = self.lefts, self.rights
        for index in range(len(lefts) - 1, -1, -1):
            octets += rights[index] - lefts[index]
            if len(lefts) - index >= threshold or octets > (threshold - 1) * segment_bytes:
                return lefts[index]
        return una

    def held_between(self, left: int, right: int) -> int:
        """Octets of blocks within ``left`` to ``right``."""
        if right <= left or not self.lefts:
            return 0
        lefts, rights = self.lefts, self.rights
        first, last = bisect_right(rights, left), bisect_left(lefts, right)
        if first >= last:
            return 0
        total = sum(rights[first:last]) - sum(lefts[first:last])
        return total - max(left - lefts[first], 0) - max(rights[last - 1] - right, 0)

    def hole(self, position: int, end: int) -> tuple[int, int] | None:
        """The first hole at or after ``position``, ending at ``end`` at the latest; None if there is none."""
        lefts, rights = self.lefts, self.rights
        index = bisect_right(lefts, position) - 1
        if index >= 0 and rights[index] > position:
            position = rights[index]
        if position >= end:
            return None
        following = bisect_right(lefts, position)
        return position, min(end, lefts[following]) if following < len(lefts) else end
