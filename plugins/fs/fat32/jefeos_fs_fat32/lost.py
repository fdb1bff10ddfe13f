"""Lost chains, which are in use and belong to no file: kept under names in ``/FOUND.000``.

    chain that begins with "." and ".."     a directory that lost its name: DIR0000.CHK, with all that is in it
    any other                               FILE0000.CHK, of whole clusters

Which lost chain is worth keeping nobody can know. A loss of power leaves some that nothing was promised of, so fsck
frees them where nothing but a loss of power is to be seen (`jefeos_fs_fat32.check`); in every other case they may be
all that is left of somebody's files. Chains that run in circles have no beginning, and are freed. Without room for
the directory everything stays as it is.
"""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, frozen
from jefeos.errors import Errno, KernelError

from jefeos_fs_fat32 import times
from jefeos_fs_fat32.layout import END_OF_DIRECTORY, FREE_SLOT, MOST_SLOTS, SLOT_BYTES, Attribute, Slot
from jefeos_fs_fat32.slots import DOT, DOT_DOT, cluster_of, scan, set_cluster
from jefeos_fs_fat32.table import Run
from jefeos_fs_fat32.walk import Chain, Folder, Walk

MOST_BYTES: Final = (1 << 32) - 1
MOST_FOUND: Final = 1000


@frozen
class Kept:
    """A lost chain and the name that it gets."""

    name: bytes
    cluster: int
    size: int = 0
    folder: Folder | None = None
    chain: Chain | None = None

    def slot(self) -> Slot:
        """Its entry."""
        return _slot(self.name, self.cluster, self.size, directory=self.folder is not None)


@define(eq=False)
class LostChains:
    """Found after everything that has a name; see the module's text."""

    walk: Walk
    kept: list[Kept] = Factory(list)
    name: bytes = b"FOUND   000"

    @property
    def path(self) -> str:
        """Where they come to be."""
        return f"/FOUND.{self.name[8:].decode()}"

    def claim(self, lost: list[Run]) -> None:
        """Give each chain among these clusters a name, and what is in directories to them."""
        walk, table = self.walk, self.walk.table
        taken = {entry.short for entry in scan(walk.root.data).entries}
        self.name = next((name for number in range(MOST_FOUND) if (name := b"FOUND   %03d" % number) not in taken), b"")
        members = {cluster for first, count in lost for cluster in range(first, first + count)}
        followers = {table.get(cluster) for cluster in members}
        heads = sorted(members - followers)
        above = {head: parent for head in heads if (parent := self._parent(head)) is not None}
        found = Folder(self.path, None, 0, 0, [])
        walk.directories += 1
        for head in sorted(above, key=lambda head: above[head] in members):  # those that are in no other come first
            if not walk.claimed[head]:
                number = len(self.kept)
                folder = walk.go_through_lost(f"{self.path}/DIR{number:04X}.CHK", found, head)
                self.kept.append(Kept(b"DIR%04X CHK" % number, head, folder=folder))
        for head in heads:
            if not walk.claimed[head]:
                chain = walk.claim(head)
                size = min(chain.length * walk.geometry.cluster_bytes, MOST_BYTES)
                self.kept.append(Kept(b"FILE%04XCHK" % len(self.kept), head, size, chain=chain))
                walk.files += 1

    def write(self) -> bool:
        """Make the directory. False if there is no room for it, or for all of them in it."""
        walk, table, root = self.walk, self.walk.table, self.walk.root
        slot = next((slot for slot, byte in enumerate(root.data[::SLOT_BYTES]) if byte in FREE_BYTES), None)
        length = (2 + len(self.kept)) * SLOT_BYTES
        if slot is None or not self.name or length > MOST_SLOTS * SLOT_BYTES:
            return False
        try:
            runs = table.allocate(-(-length // walk.geometry.cluster_bytes))
        except KernelError as error:
            if error.errno != Errno.ENOSPC:
                raise
            return False
        cluster = runs[0][0]
        entries = [_slot(DOT, cluster), _slot(DOT_DOT, 0), *[one.slot() for one in self.kept]]
        data = b"".join(entry.pack() for entry in entries)
        data = data.ljust(sum(count for _, count in runs) * walk.geometry.cluster_bytes, b"\0")
        walk.folders[cluster] = Folder(self.path, root, slot, cluster, runs, bytearray(data), changed=True)
        root.data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = _slot(self.name, cluster).pack()
        root.changed = True
        for one in self.kept:
            if one.chain is not None and one.chain.fault:
                walk.cut(one.chain, one.chain.length)
            if one.folder is not None:
                one.folder.edit(scan(one.folder.data).dots[DOT_DOT], cluster=cluster)
        return True

    def _parent(self, cluster: int) -> int | None:
        """What ``..`` says, if a directory begins at that cluster."""
        data = self.walk.volume.read(self.walk.geometry.offset_of(cluster), 2 * SLOT_BYTES)
        own, parent = Slot.parse(data), Slot.parse(data, SLOT_BYTES)
        if (own.name, parent.name, cluster_of(own)) != (DOT, DOT_DOT, cluster):
            return None
        return cluster_of(parent) if own.attributes & parent.attributes & Attribute.DIRECTORY else None


FREE_BYTES: Final = (FREE_SLOT, END_OF_DIRECTORY)


def _slot(name: bytes, cluster: int, size: int = 0, *, directory: bool = True) -> Slot:
    date, time, _ = times.pack(0)
    slot = Slot(name=name, attributes=Attribute.DIRECTORY if directory else Attribute.ARCHIVE, size_bytes=size)
    slot.create_date = slot.access_date = slot.write_date = date
    slot.create_time = slot.write_time = time
    set_cluster(slot, cluster)
    return slot
