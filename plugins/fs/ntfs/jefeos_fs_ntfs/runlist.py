"""The runs of one attribute, decoded: found by cluster, changed in place, and packed into extents.

`RunList` keeps the first VCN of each run beside it, so that a cluster is found by bisection and a change in the middle
of thousands of runs touches only its neighbours. `ExtentPacker` remembers how it cut the runs into extents the last
time and packs again only the extents that changed; one that became too long is split, small neighbours are joined.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias

from jefeos_fs_ntfs.layout import NO_CLUSTER
from jefeos_fs_ntfs.runs import Run, add_run, cut_runs, encode_each, encode_runs

Packed: TypeAlias = tuple[int, int, bytes]
"""Lowest VCN, highest VCN and mapping pairs of an extent."""


class RunList:
    """Runs from VCN 0 on, without a gap; neighbours that continue each other are one."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """No run at all."""
        self.runs: list[Run] = []
        self.starts: list[int] = []
        """The first VCN of each run."""
        self.clusters = 0
        """How many the runs cover, holes included."""
        self.holes = 0
        """How many of them are in holes."""

    def append(self, lcn: int, length: int) -> None:
        """More clusters at the end."""
        before = len(self.runs)
        add_run(self.runs, lcn, length)
        if len(self.runs) != before:
            self.starts.append(self.clusters)
        self.clusters += length
        if lcn == NO_CLUSTER:
            self.holes += length

    def set_runs(self, runs: Iterable[Run]) -> None:
        """Other runs altogether."""
        self.clear()
        for lcn, length in runs:
            self.append(lcn, length)

    def part(self, first: int, last: int) -> list[Run]:
        """The runs of the clusters from ``first`` up to ``last``."""
        if first >= last:
            return []
        begin, end = bisect_right(self.starts, first) - 1, bisect_left(self.starts, last)
        _, rest = cut_runs(self.runs[begin:end], first - self.starts[begin])
        return cut_runs(rest, last - first)[0]

    def replace(self, first: int, last: int, new: list[Run]) -> None:
        """Other runs for the clusters from ``first`` up to ``last``, as many as before."""
        begin = max(bisect_right(self.starts, first) - 2, 0)
        end = min(bisect_left(self.starts, last) + 1, len(self.runs))
        start = self.starts[begin]
        stop = self.starts[end] if end < len(self.runs) else self.clusters
        local: list[Run] = []
        for lcn, length in (*self.part(start, first), *new, *self.part(last, stop)):
            add_run(local, lcn, length)
        self.holes += _holes(local) - _holes(self.runs[begin:end])
        starts = []
        for _, length in local:
            starts.append(start)
            start += length
        self.runs[begin:end] = local
        self.starts[begin:end] = starts

    def cut(self, clusters: int) -> list[Run]:
        """Keep that many clusters; gives the runs of the others."""
        gone = self.part(clusters, self.clusters)
        index = bisect_left(self.starts, clusters)
        del self.runs[index:], self.starts[index:]
        if self.runs:
            self.runs[-1] = self.runs[-1][0], clusters - self.starts[-1]
        self.holes -= _holes(gone)
        self.clusters = clusters
        return gone


class ExtentPacker:
    """How the runs of one attribute are spread over extents."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[list[Run], bytes]] = {}
        """By lowest VCN, in order: the runs of an extent, and its mapping pairs."""

    def pack(self, found: RunList, most: int) -> list[Packed]:
        """The extents, none with more than ``most`` bytes of mapping pairs."""
        runs, starts = found.runs, found.starts
        if not runs:
            self._known.clear()
            return [(0, -1, b"\0")]
        bounds = [0]
        for lowest in self._known:
            index = bisect_left(starts, lowest)
            if bounds[-1] < index < len(starts) and starts[index] == lowest:
                bounds.append(index)
        bounds.append(len(runs))
        pieces: list[tuple[int, list[Run], bytes]] = []
        for begin, end in pairwise(bounds):
            self._pack_part(found, begin, end, most, pieces)
        joined = pieces[:1]
        for piece in pieces[1:]:
            lowest, before, pairs = joined[-1]
            if len(pairs) + len(piece[2]) <= most // 2:
                joined[-1] = lowest, before + piece[1], encode_runs(before + piece[1])
            else:
                joined.append(piece)
        self._known = {lowest: (part, pairs) for lowest, part, pairs in joined}
        ends = [lowest - 1 for lowest, _, _ in joined[1:]] + [found.clusters - 1]
        return [(lowest, highest, pairs) for (lowest, _, pairs), highest in zip(joined, ends, strict=True)]

    def _pack_part(self, found: RunList, begin: int, end: int, most: int,
                   pieces: list[tuple[int, list[Run], bytes]]) -> None:
        while begin < end:
            part, lowest = found.runs[begin:end], found.starts[begin]
            known = self._known.get(lowest)
            if known is not None and known[0] == part and len(known[1]) <= most:
                pieces.append((lowest, part, known[1]))
                return
            each = encode_each(part[:most])  # a pair has two bytes at least
            size = fitting = 0
            while fitting < len(each) and size + len(each[fitting]) < most:
                size += len(each[fitting])
                fitting += 1
            if fitting < len(part) and end < len(found.runs):  # in the middle both halves get room
                middle = begin + len(part) // 2
                self._pack_part(found, begin, middle, most, pieces)
                begin = middle
            else:  # what grows at its end leaves full extents behind
                pieces.append((lowest, part[:fitting], b"".join([*each[:fitting], b"\0"])))
                begin += fitting


def _holes(runs: list[Run]) -> int:
    return sum([length for lcn, length in runs if lcn == NO_CLUSTER])
