"""What has changed and is not on the volume yet, and the order in which it goes there.

Contents of files go to the volume at once, into clusters that nothing on the medium names. Everything else (the FAT,
directory entries) changes in memory and is written by `Writes.commit`, in steps with a line between them
(`BufferCache.order`):

    0  dirty flag             once, ahead of the first change after the mount
    1  FAT: new chains        with the contents and the first bytes of new directory clusters
    2  FAT: links that make directories longer
    3  directory entries      new and changed ones (names that lie in two sectors: in two steps, slotspace.py)
    4  removals               together with 3 if no name moved; else first the file has both names, then the new one
    5  FAT: freed clusters    only now may they be used again; FSInfo; the rest of removed names

So at each moment an entry on the medium names a chain that is on the medium and belongs to it alone. What a loss of
power leaves is at worst a chain without a name (steps 1 to 3, and 3 to 5), a chain that is longer than its file, two
names for one file (between 3 and 4), parts of a long name without the rest and a wrong count in FSInfo: all of that
is for fsck to put right, and nothing is lost by it.

The new name of a directory is on the medium with all that is in it, and so is the old one for a moment: nothing else is
in a batch with the move of a directory.

`sync` and fsync commit and flush. Between them a commit happens after `MOST_CHANGES` changes, and when clusters that
wait to be freed are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos_fs_fat32.layout import (
    CLEAN_BIT_16,
    CLEAN_BIT_32,
    INFO_LEAD,
    INFO_SIGNATURE,
    INFO_UNKNOWN,
    InfoSector,
    State,
)

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache

    from jefeos_fs_fat32.geometry import Geometry
    from jefeos_fs_fat32.inode import FatInode
    from jefeos_fs_fat32.slotspace import SlotSpace
    from jefeos_fs_fat32.table import AllocationTable, Run

MOST_CHANGES: Final = 8192


class VolumeState:
    """The dirty flags and FSInfo."""

    def __init__(self, volume: BufferCache, geometry: Geometry, table: AllocationTable) -> None:
        self.volume = volume
        self.geometry = geometry
        self.table = table
        self.clean_bit = {12: 0, 16: CLEAN_BIT_16, 32: CLEAN_BIT_32}[geometry.bits]
        self.was_dirty = is_dirty(geometry, table)
        """As found: such a volume stays dirty until somebody has checked it."""
        self.info: InfoSector | None = None
        self._written = (INFO_UNKNOWN, INFO_UNKNOWN)
        if geometry.info_sector:
            info = InfoSector.parse(volume.read(geometry.info_sector * geometry.sector_bytes, InfoSector.size))
            if info.lead_signature == INFO_LEAD and info.signature == INFO_SIGNATURE:
                self.info = info
                self._written = (info.free_clusters, info.next_free)

    def set_dirty(self, dirty: bool) -> None:
        """Write both flags."""
        offset = self.geometry.state_offset
        state = self.volume.read(offset, 1)[0]
        state = state | State.DIRTY if dirty else state & ~State.DIRTY
        self.volume.write(offset, bytes([state]))
        if self.clean_bit:
            value = self.table.first_two[1]
            self.table.first_two[1] = value & ~self.clean_bit if dirty else value | self.clean_bit
            self.table.set(1, self.table.first_two[1])
            self.table.write_changes()

    def write_info(self) -> None:
        """Bring FSInfo up to date, if there is one."""
        if self.info is None:
            return
        free = self.table.free_clusters
        if (free, self.table.next_free) == self._written:
            return
        self._written = self.info.free_clusters, self.info.next_free = free, self.table.next_free
        self.volume.write(self.geometry.info_sector * self.geometry.sector_bytes, self.info.pack())


def is_dirty(geometry: Geometry, table: AllocationTable) -> bool:
    """Whether the volume says that it was not unmounted."""
    clean_bit = {12: 0, 16: CLEAN_BIT_16, 32: CLEAN_BIT_32}[geometry.bits]
    return bool(geometry.tail.state & State.DIRTY or clean_bit and not table.first_two[1] & clean_bit)


class Writes:
    """See the module's text."""

    def __init__(self, volume: BufferCache, table: AllocationTable, state: VolumeState) -> None:
        self.volume = volume
        self.table = table
        self.state = state
        self.number = 1
        """Of the batch of changes that comes next to the medium."""
        self.inodes: dict[FatInode, None] = {}
        """Whose entries have to be brought up to date."""
        self.spaces: dict[SlotSpace, None] = {}
        """Directories with changed slots, slots to be freed, or more clusters."""
        self.cuts: list[int] = []
        """Clusters that become the last of their chain."""
        self.releases: list[Run] = []
        self.moved = False
        self._changes = 0
        self._marked = False

    def begin(self) -> None:
        """Something is about to change: called at the start of each operation that does."""
        if not self._marked:
            self._marked = True
            self.state.set_dirty(True)
            self.volume.order()
        self._changes += 1
        if self._changes > MOST_CHANGES:
            self.commit()

    def forget(self, slots: SlotSpace) -> None:
        """A directory is gone: what is pending in it no longer matters."""
        self.spaces.pop(slots, None)
        slots.forget()

    def commit(self) -> None:
        """Hand all changes to the buffer cache, in order."""
        self._changes = 0
        if not (self.inodes or self.spaces or self.releases or self.cuts or self.table.changed):
            return
        table, order = self.table, self.volume.order
        for inode in self.inodes:
            inode.store_entry()
        self.inodes.clear()
        table.write_changes()
        order()
        spaces = list(self.spaces)
        for slots in spaces:
            for tail, following in slots.links:
                table.set(tail, following)
            slots.links.clear()
        if table.changed:
            table.write_changes()
            order()
        split = [slots.write_split() for slots in spaces]
        if any(split):
            order()
        if self.moved:
            for slots in spaces:
                slots.write_changes()
            order()
        for slots in spaces:
            slots.apply_removals()
            slots.write_changes()
        order()
        for slots in spaces:
            slots.apply_heads()
            slots.write_changes()
        self.spaces.clear()
        for cluster in self.cuts:
            table.set(cluster, table.end)
        table.release(self.releases)
        table.write_changes()
        self.cuts.clear()
        self.releases.clear()
        self.state.write_info()
        self.moved = False
        self.number += 1

    def close(self) -> None:
        """The volume is unmounted: everything is on the medium, and it says so."""
        self.commit()
        self.volume.flush()
        if self._marked and not self.state.was_dirty:
            self.state.set_dirty(False)
            self.volume.flush()
        self._marked = False
