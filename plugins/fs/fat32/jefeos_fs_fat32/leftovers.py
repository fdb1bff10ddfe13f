"""Whether lost chains are what a loss of power left, so that they may become free.

    removed     an erased entry names the chain, or it was in a directory of which that is so: any number of them
    nameless    files that were being made, replaced or cut, and parts of removed ones: nothing on the medium names them

A directory that was wiped leaves chains without names as well, and these are all that there is of somebody's files. So
nameless ones may be few only, beside many that have their names, and no directory may have anything behind an end that
came too early. Whoever is wrong about this keeps what could have been free, and never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jefeos_fs_fat32.layout import END_OF_DIRECTORY, FREE_SLOT, MOST_SLOTS, SLOT_BYTES, Attribute, Slot
from jefeos_fs_fat32.slots import DOT, cluster_of
from jefeos_fs_fat32.table import Run
from jefeos_fs_fat32.walk import Walk

MOST_NAMELESS: Final = 64
NAMED_FOR_EACH: Final = 4
"""So many files and directories with a name have to be there for each chain without one."""


def are_leftovers(walk: Walk, lost: list[Run]) -> bool:
    """See the module's text. ``walk`` went through everything that has a name."""
    table = walk.table
    members = {cluster for first, count in lost for cluster in range(first, first + count)}
    followers = [following for cluster in members if (following := table.get(cluster)) in members]
    heads = members.difference(followers)
    if len(heads) + len(followers) != len(members):
        return False  # some chains meet
    chains = {head: _chain(walk, head, members) for head in heads}
    if sum(map(len, chains.values())) != len(members):
        return False  # some run in circles
    pending = [slot for folder in walk.folders.values() for slot in _slots(folder.data, erased=True)]
    while pending:
        slot = pending.pop()
        chain = chains.get(cluster_of(slot), [])
        if not chain or len(chain) * walk.geometry.cluster_bytes < slot.size_bytes:
            continue
        if slot.attributes & Attribute.DIRECTORY:
            data = _contents(walk, chain)
            own = Slot.parse(data)
            if own.name != DOT or cluster_of(own) != chain[0]:
                continue
            pending += [*_slots(data, erased=True), *_slots(data, erased=False)]
        del chains[chain[0]]
    if not chains:
        return True
    named = walk.files + walk.directories - 1
    return len(chains) <= MOST_NAMELESS and len(chains) * NAMED_FOR_EACH <= named and not walk.ends_early


def _chain(walk: Walk, head: int, members: set[int]) -> list[int]:
    """The clusters from ``head`` on, as far as they are lost. It comes back to none, as only one leads to each."""
    chain = []
    cluster = head
    while cluster in members:
        chain.append(cluster)
        cluster = walk.table.get(cluster)
    return chain


def _contents(walk: Walk, chain: list[int]) -> bytes:
    """What is in a directory that has no name."""
    geometry = walk.geometry
    most = max(MOST_SLOTS * SLOT_BYTES // geometry.cluster_bytes, 1)
    return b"".join(walk.volume.read(geometry.offset_of(cluster), geometry.cluster_bytes) for cluster in chain[:most])


def _slots(data: bytes | bytearray, *, erased: bool) -> Iterator[Slot]:
    """The entries that are erased, or those that are not, but for dots, labels and long names."""
    for start in range(0, len(data), SLOT_BYTES):
        if data[start] == END_OF_DIRECTORY:
            return
        if (data[start] == FREE_SLOT) == erased and data[start] != DOT[0]:
            slot = Slot.parse(data, start)
            if not slot.attributes & Attribute.VOLUME_ID:
                yield slot
