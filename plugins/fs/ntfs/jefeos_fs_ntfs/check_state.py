"""What a check collects: findings, the clusters that files lay claim to, and what is known of each record.

Everything here is bounded by the size of the volume, and never by what a structure on it claims: one bit for each
cluster, one small object for each record that is really there, and a limited number of findings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import Factory, define, field

from jefeos_fs_ntfs.layout import REFERENCE_MASK
from jefeos_fs_ntfs.runs import Run

Part: TypeAlias = tuple[int, str, int, int]
"""An attribute or an extent of one: type, name, lowest VCN, instance."""

MOST_FINDINGS: Final = 10_000
MOST_RANGES: Final = 8
"""Ranges of clusters or records that a sentence names one by one."""


@define
class Finding:
    """Something that is wrong, and how to put it right, if that is safe."""

    where: str
    what: str
    harmless: bool = False
    repair: Callable[[], None] | None = None


@define
class Findings:
    """All of them, up to a limit: a volume that is nothing but noise would have one for each of its bytes."""

    found: list[Finding] = Factory(list)
    left_out: int = 0

    def add(
        self, where: str, what: str, *, harmless: bool = False, repair: Callable[[], None] | None = None
    ) -> None:
        """One more."""
        if len(self.found) < MOST_FINDINGS:
            self.found.append(Finding(where, what, harmless, repair))
        else:
            self.left_out += 1


@define
class Name:
    """A FILE_NAME of a file."""

    parent: int
    """File reference of the directory."""
    name: str
    namespace: int
    key: bytes
    """All of the attribute."""
    listed: bool = False
    """Found in the index of the directory."""


@define
class Node:
    """What is known of a base record that is in use."""

    number: int
    sequence: int
    is_directory: bool
    link_count: int
    names: list[Name] = Factory(list)
    security_id: int = 0
    has_list: bool = False
    streams: set[tuple[int, str]] = Factory(set)
    """Type and name of its attributes, those in other records too."""

    @property
    def reference(self) -> int:
        """Number and sequence number in one."""
        return self.sequence << 48 | self.number


@define
class ExtensionRecord:
    """A record that holds attributes of another file."""

    number: int
    sequence: int
    base: int
    names: list[Name]
    attributes: list[Part]

    @property
    def base_number(self) -> int:
        """Whose it is."""
        return self.base & REFERENCE_MASK


@define
class ClusterMap:
    """A bit for each cluster of the volume that a file lays claim to, in the form of $Bitmap."""

    clusters: int
    bits: bytearray = field(init=False)
    claimed: int = 0
    """Clusters claimed in all, those that are claimed twice included."""
    crossed: list[Run] = Factory(list)
    """Where claims overlap."""

    def __attrs_post_init__(self) -> None:
        self.bits = bytearray(-(-self.clusters // 8))

    def claim(self, lcn: int, length: int) -> list[Run]:
        """Mark a run that is all on the volume; gives where it is claimed already."""
        first, last = lcn // 8, (lcn + length + 7) // 8
        self.claimed += length
        wanted = ((1 << length) - 1) << lcn % 8
        there = int.from_bytes(self.bits[first:last], "little")
        self.bits[first:last] = (there | wanted).to_bytes(last - first, "little")
        if not there & wanted:
            return []
        crossed = ranges_of(there & wanted, first * 8)
        self.crossed += crossed
        return crossed

    @property
    def hopeless(self) -> bool:
        """So much is claimed over and over again that looking on would take for ever."""
        return self.claimed > 8 * self.clusters + 1024


def ranges_of(bits: int, start: int = 0, most: int = MOST_RANGES) -> list[Run]:
    """Runs of ones, as (first, length), not more than ``most``; bit 0 counts as ``start``."""
    ranges: list[Run] = []
    while bits and len(ranges) < most:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        start += skip
        length = (~bits & (bits + 1)).bit_length() - 1
        ranges.append((start, length))
        bits >>= length
        start += length
    return ranges


def differences(
    first: bytes | bytearray, second: bytes | bytearray, start: int, most: int = MOST_RANGES
) -> tuple[int, list[Run]]:
    """How many bits are set in ``first`` and not in ``second``, and where: some runs."""
    only = int.from_bytes(first, "little") & ~int.from_bytes(second, "little")
    return only.bit_count(), ranges_of(only, start, most)


def say_ranges(ranges: list[Run]) -> str:
    """``5, 9 to 12``."""
    return ", ".join([str(first) if length == 1 else f"{first} to {first + length - 1}" for first, length in ranges])
