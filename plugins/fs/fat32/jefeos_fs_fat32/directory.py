"""Directories: an index of names over their slots, so that a folder of 20,000 files costs a dict access.

    _names    folded name --> Entry; _aliases the same by short name, for who asks for that
    slots     the bytes (slotspace.py)

A name that is removed loses its entry in the index at once, but its slots stay as they are until the step of
`Writes.commit` that may write it, and nobody else gets them before. A name that was never on the medium goes without
such care. A name that is made again in the same batch takes its old slots, so that there is one write and never two
entries of one name; if that cannot be, its removal is committed first.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import RENAME_NOREPLACE, S_IFDIR, S_IFREG
from jefeos.vfs.inode import DirEntry, Inode

from jefeos_fs_fat32 import names
from jefeos_fs_fat32.inode import Entry, FatInode
from jefeos_fs_fat32.layout import ATTRIBUTES, IS_ARCHIVE, IS_DIRECTORY, SLOT_BYTES, Slot
from jefeos_fs_fat32.slots import DOT, DOT_DOT, scan, set_cluster
from jefeos_fs_fat32.slotspace import ROOT, Place, SlotSpace

if TYPE_CHECKING:
    from jefeos_fs_fat32.filesystem import FatFilesystem


class FatDirectory(FatInode):
    """A directory; the root if it has no ``entry``."""

    def __init__(
        self, fs: FatFilesystem, ino: int, directory: FatDirectory | None, entry: Entry | None, slot: Slot
    ) -> None:
        super().__init__(fs, ino, directory, entry, slot)
        self.nlink = 2
        self._names: dict[str, Entry] = {}
        self._aliases: dict[str, Entry] = {}
        self._entries: dict[int, Entry] = {}
        """By the number of their first slot."""
        self._removed: dict[str, Place | None] = {}
        """Names that are gone in batch `_removed_batch`; None if what one named has moved elsewhere."""
        self._removed_batch = 0
        self._slots: SlotSpace | None = None
        self._dot_dot: int | None = None

    # --- loading -----------------------------------------------------------------------------------------------------

    @property
    def slots(self) -> SlotSpace:
        """The slots, read when first needed. Raises CorruptError."""
        if self._slots is None:
            self._load()
        assert self._slots is not None
        return self._slots

    def _load(self) -> None:
        where = f"directory {self.entry.name.decode('utf-8', 'replace')}" if self.entry is not None else ROOT
        slots = SlotSpace(self.fs, self.cluster, where)
        found = scan(slots.data)
        slots.set_end(found.end)
        self._slots = slots
        self._dot_dot = found.dots.get(DOT_DOT)
        for entry in found.entries:
            self._index(entry.text, entry.short, entry.first, entry.slot)
        self.size = len(slots.data)
        self.nlink = 2 + sum(entry.is_directory for entry in self._entries.values())

    def _index(self, text: str, short: bytes, first: int, slot: int) -> Entry | None:
        """Add an entry to the index; None (it is not shown) if its names are others' already."""
        slots = self.slots
        is_directory = bool(slots.data[slot * SLOT_BYTES + ATTRIBUTES] & IS_DIRECTORY)
        slots.shorts.add(short)
        short_key = names.fold(names.short_text(short))
        text = _showable(text if self.fs.long_names else names.short_text(short).lower())
        key = names.fold(text)
        if key in self._names:
            text, key = _showable(names.short_text(short)), short_key
            if key in self._names:
                return None
        entry = Entry(names.encode(text), key, short, first, slot, is_directory)
        self._names[key] = entry
        self._aliases.setdefault(short_key, entry)
        self._entries[first] = entry
        return entry

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether it has no entries. Raises CorruptError."""
        return bool(self.slots) and not self._entries

    def _get(self, key: str) -> Entry | None:
        return self._names.get(key) or self._aliases.get(key)

    def _find(self, name: bytes) -> Entry:
        if not self.nlink:
            raise KernelError(Errno.ENOENT)
        if self._slots is None:
            self._load()
        try:
            entry = self._get(names.fold(names.decode(name)))
        except KernelError:  # not UTF-8
            entry = None
        if entry is None:
            raise KernelError(Errno.ENOENT)
        return entry

    def lookup(self, name: bytes) -> Inode:
        return self._inode_of(self._find(name))

    def stored_name(self, name: bytes) -> bytes:
        return self._find(name).name

    def _inode_of(self, entry: Entry) -> FatInode:
        """The one object for an entry."""
        inode = entry.inode() if entry.inode is not None else None
        return inode if inode is not None else self.fs.make_inode(self, entry)

    def readdir(self) -> Iterable[DirEntry]:
        if not self.nlink:
            return []
        if self._slots is None:
            self._load()
        result = []
        for _, entry in sorted(self._entries.items()):
            if not entry.ino:
                entry.ino = self.fs.next_ino()
            result.append(DirEntry(entry.name, entry.ino, S_IFDIR if entry.is_directory else S_IFREG))
        return result

    def refresh(self) -> None:
        if self.nlink and self._slots is None:
            self._load()

    @property
    def blocks(self) -> int:
        return self.size // 512

    # --- names come --------------------------------------------------------------------------------------------------

    def _prepare(self, name: bytes) -> str:
        """Before a name is made: all that may be wrong with it."""
        self.fs.require_writable()
        if not self.nlink:
            raise KernelError(Errno.ENOENT)
        text = names.decode(name)
        self.fs.require_name(text)
        if self.slots and self._get(names.fold(text)) is not None:
            raise KernelError(Errno.EEXIST)
        self.fs.writes.begin()
        return text

    def _add(self, text: str, slot: Slot) -> Entry:
        """A new name for what ``slot`` describes. Raises KernelError: ENOSPC, and nothing has changed."""
        slots = self.slots
        if not self.fs.long_names:
            text = text.upper()
        place = self._old_place(text)
        if place is not None:
            slots.shorts.discard(slots.removals.pop(place))
            first = place[0]
        else:
            first = slots.find_room(self._slots_for(text))
        short = names.exact_short(text)
        packed = b""
        if short is None or short in slots.shorts:
            short = names.make_short(text, slots.shorts)
            packed = names.long_slots(text, short)
        slot.name = short
        last = slots.fill(first, packed + slot.pack())
        self.size = len(slots.data)
        entry = self._index(text, short, first, last)
        assert entry is not None
        entry.batch = self.fs.writes.number
        return entry

    def _old_place(self, text: str) -> Place | None:
        """Where a name was that was removed in this batch of writes, if it can be there again."""
        writes, key = self.fs.writes, names.fold(text)
        if self._removed_batch != writes.number or key not in self._removed:
            return None
        place = self._removed.pop(key)
        if place is not None and place[1] - place[0] == names.slots_needed(text) - 1 and self._slots_for(text) > 1:
            return place
        writes.commit()
        return None

    def _slots_for(self, text: str) -> int:
        short = names.exact_short(text)
        return names.slots_needed(text) if short is None or short in self.slots.shorts else 1

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        text = self._prepare(name)
        slot = self.fs.new_slot(IS_ARCHIVE)
        entry = self._add(text, slot)
        self.touch_modified()
        return self.fs.make_inode(self, entry, new=slot)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        text = self._prepare(name)
        fs = self.fs
        runs = fs.allocate(1)
        cluster = runs[0][0]
        slot = fs.new_slot(IS_DIRECTORY)
        set_cluster(slot, cluster)
        dot, dot_dot = Slot.parse(slot.pack()), Slot.parse(slot.pack())
        dot.name, dot_dot.name = DOT, DOT_DOT
        set_cluster(dot_dot, self.number)
        contents = (dot.pack() + dot_dot.pack()).ljust(fs.geometry.cluster_bytes, b"\0")
        fs.volume.write(fs.geometry.offset_of(cluster), contents)
        try:
            entry = self._add(text, slot)
        except KernelError:
            fs.table.release(runs)
            raise
        self.nlink += 1
        self.touch_modified()
        return fs.make_inode(self, entry, new=slot)

    @property
    def number(self) -> int:
        """What ``..`` of a directory in here says."""
        return self.cluster if self.directory is not None else 0

    # --- names go ----------------------------------------------------------------------------------------------------

    def _remove(self, entry: Entry, *, moved: bool = False, comes_back: bool = False) -> None:
        """Take a name away. ``moved``: what it names has another one; ``comes_back``: which differs only in case."""
        del self._names[entry.key]
        alias = names.fold(names.short_text(entry.short))
        if self._aliases.get(alias) is entry:
            del self._aliases[alias]
        del self._entries[entry.first]
        writes, slots = self.fs.writes, self.slots
        if entry.batch == writes.number:
            slots.free(entry.first, entry.slot)
            slots.shorts.discard(entry.short)
            return
        place = (entry.first, entry.slot)
        slots.remove_later(place, entry.short)
        writes.moved |= moved
        if self._removed_batch != writes.number:
            self._removed_batch = writes.number
            self._removed.clear()
        if not comes_back:
            self._removed[entry.key] = None if moved else place

    def _detach(self, inode: FatInode) -> None:
        """An inode loses its name."""
        inode.never_stored = inode.is_fresh
        inode.removed_batch = self.fs.writes.number
        self.fs.writes.inodes.pop(inode, None)
        inode.entry = None
        inode.nlink = 0
        if inode.is_directory:
            self.nlink -= 1

    def unlink(self, name: bytes) -> None:
        self.fs.require_writable()
        entry = self._find(name)
        inode = self._inode_of(entry)
        if isinstance(inode, FatDirectory) and not inode.is_empty:
            raise KernelError(Errno.ENOTEMPTY)
        self.fs.writes.begin()
        self._detach(inode)
        self._remove(entry)
        self.touch_modified()
        inode.ctime_ns = self.ctime_ns

    def rmdir(self, name: bytes) -> None:
        self.unlink(name)

    def evict(self) -> None:
        super().evict()
        if self.nlink or self.fs.read_only:
            return
        slots = self.slots
        self.fs.writes.forget(slots)
        self.fs.release(slots.runs, at_once=self.never_stored)
        slots.runs = []

    # --- names move --------------------------------------------------------------------------------------------------

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        fs = self.fs
        fs.require_writable()
        if flags & ~RENAME_NOREPLACE:
            raise KernelError(Errno.EINVAL)
        assert isinstance(new_directory, FatDirectory)
        if not new_directory.nlink:
            raise KernelError(Errno.ENOENT)
        entry = self._find(name)
        text = names.decode(new_name)
        fs.require_name(text)
        inode = self._inode_of(entry)
        target = new_directory._get(names.fold(text)) if new_directory.slots else None
        replaced = None
        if target is entry:
            if names.encode(text) == entry.name:
                return
        elif target is not None:
            replaced = new_directory._inode_of(target)
            if isinstance(replaced, FatDirectory) and not replaced.is_empty:
                raise KernelError(Errno.ENOTEMPTY)
        fs.writes.begin()
        if inode.is_directory:
            fs.writes.commit()
        inode.store_entry()
        slot = self.slots.get(entry.slot)
        if replaced is not None and target is not None:
            new_directory._take_over(target, replaced, inode)
            self._remove(entry, moved=True)
        elif target is entry:
            self.slots.find_room(names.slots_needed(text))
            self._remove(entry, moved=True, comes_back=True)
            self._bind(self._add(text, slot), inode)
        else:
            new_directory._bind(new_directory._add(text, slot), inode)
            self._remove(entry, moved=True)
        self._after_move(new_directory, inode)

    def _bind(self, entry: Entry, inode: FatInode) -> None:
        """``entry`` now names ``inode``."""
        entry.inode = weakref.ref(inode)
        entry.ino = inode.ino
        inode.entry = entry
        inode.directory = self
        inode.changed()

    def _take_over(self, target: Entry, replaced: FatInode, inode: FatInode) -> None:
        """The entry of ``replaced`` becomes that of ``inode``, in its place: one write, before which the name has its
        old meaning and after which it has the new one."""
        self._detach(replaced)
        target.is_directory = inode.is_directory
        self._bind(target, inode)

    def _after_move(self, new_directory: FatDirectory, inode: FatInode) -> None:
        self.touch_modified()
        new_directory.touch_modified()
        inode.ctime_ns = self.ctime_ns
        if isinstance(inode, FatDirectory):
            if new_directory is not self:
                self.nlink -= 1
                new_directory.nlink += 1
                inode.set_parent(new_directory)
            self.fs.writes.commit()

    def set_parent(self, parent: FatDirectory) -> None:
        """Write where ``..`` leads."""
        slots = self.slots
        if self._dot_dot is not None:
            slot = slots.get(self._dot_dot)
            set_cluster(slot, parent.number)
            slots.put(self._dot_dot, slot)


def _showable(text: str) -> str:
    """A name that the Vfs can bear: what only a damaged volume has is changed."""
    text = text.replace("/", "_").replace("\0", "_")
    return "_" if text in ("", ".", "..") else text
