"""Repairs that need the mounted driver: directories, link counts, and files that lost theirs.

A directory whose index is wrong in any way is built anew from the names that the files themselves carry: the entries
that lead nowhere are not among them, those that were missing are. Its old blocks are only let go of, and marked free
when the whole volume is looked at again, as they may be another file's too.

A file without a directory goes to ``/found.000`` under a name with its record number. So does one of two files that
have the same name in one directory. One whose link count is 0 misses no name: it was removed, and goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError

from jefeos_fs_ntfs import reparse
from jefeos_fs_ntfs.attribute import make_resident
from jefeos_fs_ntfs.check_state import Name, Node
from jefeos_fs_ntfs.entry import Entry
from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_edit import insert
from jefeos_fs_ntfs.layout import (
    EPOCH_OFFSET_TICKS,
    FILE_NAME,
    INDEX_ENTRY,
    INDEX_ROOT,
    AttributeType,
    Collation,
    FileAttributes,
    MetaFile,
    Namespace,
    RecordFlags,
    ReparsePoint,
)
from jefeos_fs_ntfs.make_records import OwnFile, aligned, index_root
from jefeos_fs_ntfs.names import encode_units
from jefeos_fs_ntfs.volume import Volume

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.vfs.inode import Clock

    from jefeos_fs_ntfs.check import Check

INDEX: Final = "$I30"
FOUND: Final = "found.000"
LINKS_MAX: Final = 0xFFFF


def rebuild(cache: BufferCache, check: Check, clock: Clock) -> None:
    """What `Check.needs_rebuilding` tells of; each repair is all or nothing, and one that fails is left out."""
    try:
        volume = Volume(cache)
    except KernelError:
        return  # reported already: nothing can be written through what cannot be mounted
    _Rebuilder(volume, check, clock.realtime_ns() // 100 + EPOCH_OFFSET_TICKS).run()


class _Rebuilder:
    def __init__(self, volume: Volume, check: Check, time: int) -> None:
        assert check.names is not None and check.security is not None
        self.volume = volume
        self.names = check.names
        self.security = check.security
        self.nodes = check.names.nodes
        self.time = time
        self.homeless: list[Node] = list(check.names.lost)
        self.found: Entry | None = None
        self.children: dict[int, list[tuple[Node, Name]]] = {}
        for node in self.nodes.values():
            for name in node.names:
                self.children.setdefault(name.parent, []).append((node, name))

    def run(self) -> None:
        """Directories first, so that /found.000 can be made in the root."""
        for number in sorted(self.names.broken):
            self._try(self._rebuild_index, self.nodes[number])
        for node in self.names.removed:
            self._try(self._remove, node)
        for node in self.names.wrong_link_counts:
            self._try(self._count_links, node)
        for node in {node.number: node for node in self.homeless}.values():
            self._try(self._adopt, node)
        for node in self.security.unnoted:
            self._try(self._note_reparse_point, node)
        for tag, reference in self.security.outdated:
            self._try(reparse.forget, self.volume, tag, reference)
        self.volume.flush()
        self.volume.close()

    def _try(self, repair: Callable[..., None], *arguments: object) -> None:
        try:
            self.volume.run(repair, *arguments)
        except KernelError:
            return  # undone; the next look at the volume reports it again

    # -- directories --

    def _rebuild_index(self, node: Node) -> None:
        entry = self.volume.entry(node.number)
        root = entry.find(AttributeType.INDEX_ROOT, INDEX)
        block_bytes = self.volume.geometry.index_bytes
        if root is not None and len(root.value) >= INDEX_ROOT.size:
            claimed = INDEX_ROOT.unpack_from(root.value)[2]
            block_bytes = claimed if claimed in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536) else block_bytes
        for kind in (AttributeType.INDEX_ALLOCATION, AttributeType.BITMAP):
            for attribute in entry.extents(kind, INDEX):
                entry.remove(attribute)
        entry.streams.clear()
        entry.put_value(AttributeType.INDEX_ROOT, self._empty_root(block_bytes), INDEX)
        index = Index(entry, INDEX)
        for reference, key in self.names.unsure.get(node.number, ()):
            self._insert(index, reference, key)
        for child, name in self.children.get(node.reference, ()):
            try:
                self._insert(index, child.reference, name.key)
            except KernelError as error:
                if error.errno != Errno.EEXIST:
                    raise
                self.homeless.append(child)

    def _empty_root(self, block_bytes: int) -> bytes:
        cluster_bytes = self.volume.geometry.cluster_bytes
        return index_root(AttributeType.FILE_NAME, Collation.FILE_NAME, [], block_bytes, cluster_bytes)

    def _insert(self, index: Index, reference: int, key: bytes) -> None:
        length = len(aligned(bytes(INDEX_ENTRY.size) + key))
        raw = INDEX_ENTRY.pack(reference, length, len(key), 0, 0) + aligned(key)
        insert(index, index.key_of(raw), raw)

    def _count_links(self, node: Node) -> None:
        entry = self.volume.entry(node.number)
        entry.change(entry.base)
        entry.base.link_count = min(len(entry.all(AttributeType.FILE_NAME)), LINKS_MAX)

    def _note_reparse_point(self, node: Node) -> None:
        entry = self.volume.entry(node.number)
        value = entry.value(AttributeType.REPARSE_POINT)
        if value is not None and len(value) >= ReparsePoint.size:
            reparse.note(self.volume, ReparsePoint.parse(value).reparse_tag, entry.base.reference)

    # -- files without a directory --

    def _remove(self, node: Node) -> None:
        """Finish what a crash kept from happening when the last open file was closed."""
        self.volume.entry(node.number).release()
        self.volume.drop_entry(node.number)

    def _adopt(self, node: Node) -> None:
        """Give a file one name, in /found.000, in the place of those that lead nowhere."""
        found = self._found()
        entry = self.volume.entry(node.number)
        bad = {name.key for name in node.names if not name.listed or node.is_directory}
        old = [one for one in entry.all(AttributeType.FILE_NAME) if one.value in bad]
        template = old[0].value if old else self._new_name(entry)
        for attribute in old:
            entry.remove(attribute)
        kind = "dir" if node.is_directory else "file"
        name = encode_units(f"{kind}{node.number:08d}.chk")
        fields = list(FILE_NAME.unpack_from(template))
        fields[0], fields[9], fields[10] = found.base.reference, len(name) // 2, Namespace.POSIX
        key = FILE_NAME.pack(*fields) + name
        entry.add(make_resident(AttributeType.FILE_NAME, key, indexed=True))
        entry.change(entry.base)
        entry.settle()
        entry.base.link_count = len(entry.all(AttributeType.FILE_NAME))
        self._insert(Index(found, INDEX), entry.base.reference, key)

    def _new_name(self, entry: Entry) -> bytes:
        attributes = FileAttributes.I30_INDEX_PRESENT if entry.is_directory else FileAttributes.ARCHIVE
        return OwnFile(entry.number, "?", MetaFile.ROOT, attributes, self.time).file_name()

    def _found(self) -> Entry:
        """The directory /found.000."""
        if self.found is not None:
            return self.found
        volume = self.volume
        root = volume.entry(MetaFile.ROOT)
        index = Index(root, INDEX)
        there = index.lookup(volume.collator.key(FOUND))
        if there is not None:
            entry = volume.entry(int.from_bytes(there[:6], "little"))
            if not entry.is_directory:
                raise KernelError(Errno.ENOTDIR)
        else:
            entry = self._make_found(index)
        self.found = entry
        volume.transaction.on_failure(setattr, self, "found", None)
        return entry

    def _make_found(self, index: Index) -> Entry:
        volume = self.volume
        record = volume.mft.allocate(RecordFlags.IS_DIRECTORY)
        entry = Entry(volume, record)
        volume.adopt(entry)
        file = OwnFile(record.number, FOUND, MetaFile.ROOT, FileAttributes.I30_INDEX_PRESENT, self.time)
        entry.add(make_resident(AttributeType.STANDARD_INFORMATION, file.standard_information(0)))
        entry.add(make_resident(AttributeType.FILE_NAME, file.file_name(), indexed=True))
        empty = self._empty_root(volume.geometry.index_bytes)
        entry.add(make_resident(AttributeType.INDEX_ROOT, empty, INDEX))
        record.link_count = 1
        entry.settle()
        self._insert(index, record.reference, file.file_name())
        return entry
