"""Runs: where the clusters of a non-resident attribute are, and their packed form, the mapping pairs.

    mapping pairs    0x21 0x18 0x34 0x56 | 0x11 0x10 0x40 | 0x01 0x30 | 0x00
                     length 0x18 at 0x5634, length 0x10 at 0x5634 + 0x40, a hole of 0x30, the end

The first byte of a pair tells how many bytes its length (low digit) and its offset (high digit) take; the offset is
signed and counts from the previous run; a run without an offset is a hole. Decoded, a run is a tuple
``(lcn, length)`` in clusters, with lcn `NO_CLUSTER` for a hole; runs follow each other without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from jefeos.errors import CorruptError

from jefeos_fs_ntfs.layout import NO_CLUSTER

Run: TypeAlias = tuple[int, int]
"""LCN and length in clusters."""


def decode_runs(pairs: bytes, clusters: int, expected: int) -> list[Run]:
    """The runs of mapping pairs, on a volume of ``clusters``, which have to cover ``expected`` clusters.

    Raises CorruptError for pairs that break the format, leave the volume or cover another number of clusters.
    """
    runs: list[Run] = []
    position, end, lcn, covered = 0, len(pairs), 0, 0
    while position < end:
        header = pairs[position]
        if not header:
            break
        length_bytes, offset_bytes = header & 15, header >> 4
        after_length = position + 1 + length_bytes
        position = after_length + offset_bytes
        if not 0 < length_bytes <= 8 or offset_bytes > 8 or position > end:
            raise CorruptError(f"mapping pairs: a pair of {length_bytes} and {offset_bytes} bytes")
        length = int.from_bytes(pairs[after_length - length_bytes : after_length], "little", signed=True)
        covered += length
        if length <= 0 or covered > expected:
            raise CorruptError(f"mapping pairs: a run of {length} clusters, where {expected} are to be covered in all")
        if not offset_bytes:
            runs.append((NO_CLUSTER, length))
            continue
        lcn += int.from_bytes(pairs[after_length:position], "little", signed=True)
        if lcn < 0 or lcn + length > clusters:
            raise CorruptError(f"mapping pairs: {length} clusters at {lcn} are not all on the volume of {clusters}")
        runs.append((lcn, length))
    if covered != expected:
        raise CorruptError(f"mapping pairs: {covered} clusters are covered, not {expected}")
    return runs


def encode_runs(runs: Iterable[Run]) -> bytes:
    """The mapping pairs of runs, with the end mark."""
    return b"".join([*encode_each(runs), b"\0"])


def encode_each(runs: Iterable[Run]) -> list[bytes]:
    """The pair of each run, the first one's offset counted from 0."""
    pieces: list[bytes] = []
    previous = 0
    for lcn, length in runs:
        length_bytes = length.bit_length() // 8 + 1
        if lcn == NO_CLUSTER:
            pieces.append(bytes((length_bytes,)) + length.to_bytes(length_bytes, "little"))
            continue
        offset = lcn - previous
        offset_bytes = (offset if offset >= 0 else ~offset).bit_length() // 8 + 1
        pieces.append(
            bytes((offset_bytes << 4 | length_bytes,))
            + length.to_bytes(length_bytes, "little")
            + offset.to_bytes(offset_bytes, "little", signed=True)
        )
        previous = lcn
    return pieces


def add_run(runs: list[Run], lcn: int, length: int) -> None:
    """Append to decoded runs, joining what is contiguous."""
    if runs:
        last_lcn, last_length = runs[-1]
        if last_lcn + last_length == lcn if last_lcn != NO_CLUSTER else lcn == NO_CLUSTER:
            runs[-1] = (last_lcn, last_length + length)
            return
    runs.append((lcn, length))


def cut_runs(runs: list[Run], length: int) -> tuple[list[Run], list[Run]]:
    """Split decoded runs after ``length`` clusters."""
    head: list[Run] = []
    for index, (lcn, count) in enumerate(runs):
        if length <= 0:
            return head, runs[index:]
        if count > length:
            head.append((lcn, length))
            rest = (NO_CLUSTER if lcn == NO_CLUSTER else lcn + length, count - length)
            return head, [rest, *runs[index + 1 :]]
        head.append((lcn, count))
        length -= count
    return head, []
