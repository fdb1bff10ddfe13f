"""fsck of one file tree: do its items make up files, directories and links that fit together?

Items come in the order of their keys, so all of one inode come together. What has to fit across inodes (names against
link counts, directories against their parents) is counted on the way and looked at in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import Factory, define
from jefeos.errors import CorruptError
from jefeos.vfs.flags import NAME_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

from jefeos_fs_jefefs.contents import Extent, extent_of
from jefeos_fs_jefefs.directory import ENTRY_SIZE, TARGET_MOST, entry_of
from jefeos_fs_jefefs.inode import CHUNKS_MOST, check_fields
from jefeos_fs_jefefs.layout import (
    ENTRY,
    EXTENT,
    INLINE,
    INODE,
    ITEM_KEY,
    ORPHAN,
    ROOT_INO,
    TARGET,
    XATTR,
    Limits,
)

if TYPE_CHECKING:
    from jefeos_fs_jefefs.layout import Geometry

Report = Callable[[str, str], None]
"""Where, what."""


@define
class Names:
    """What is known of an inode across the tree."""

    mode: int
    nlink: int
    parent: int
    names: int = 0
    subdirectories: int = 0
    named_in: int = 0


@define
class Current:
    """The inode whose items are coming in."""

    ino: int
    fields: tuple[int, ...] | None = None
    blocks: int = 0
    extents_end: int = 0
    entries_bytes: int = 0
    target_bytes: int = 0
    inline_bytes: int = -1
    chunk_prefix: bytes = b""
    chunks: int = 0


@define
class FileTreeCheck:
    """Takes the items of one file tree, then `finish`."""

    geometry: Geometry
    next_ino: int
    report: Report
    data: Callable[[Extent, int, int], None]
    """Called with each extent of an inode, its number, and how many bytes of the file's last block count."""
    inodes: dict[int, Names] = Factory(dict)
    entries: dict[int, list[int]] = Factory(dict)
    """Directories whose entries came before the inode they lead to: its number to names, subdirectories, parent."""
    orphans: set[int] = Factory(set)
    files: int = 0
    directories: int = 0
    _current: Current = Factory(lambda: Current(0))
    _limits: Limits = Factory(lambda self: Limits(self.geometry.block_bytes), takes_self=True)

    def item(self, key: bytes, value: bytes) -> None:
        """One item. Problems are reported, never raised."""
        if len(key) < ITEM_KEY.size:
            self.report("file tree", f"a key of {len(key)} bytes")
            return
        ino, kind = ITEM_KEY.unpack_from(key)
        if ino != self._current.ino:
            self._end_inode()
            self._current = Current(ino)
        try:
            self._item(ino, kind, key[ITEM_KEY.size :], key, value)
        except CorruptError as error:
            self.report(f"inode {ino}", str(error).removeprefix("EUCLEAN: "))

    def _item(self, ino: int, kind: int, rest: bytes, key: bytes, value: bytes) -> None:
        current = self._current
        if not ino:
            if kind != ORPHAN or len(rest) != 8 or value:
                raise CorruptError("an item that nothing is known about")
            self.orphans.add(int.from_bytes(rest, "big"))
            return
        if kind == INODE and not rest:
            current.fields = check_fields(ino, value)
            self.inodes[ino] = Names(current.fields[0], current.fields[3], current.fields[11])
            if ino >= self.next_ino:
                raise CorruptError("its number was never given out")
            return
        if current.fields is None:
            raise CorruptError(f"an item of kind {kind}, but no inode")
        file_kind = current.fields[0] & S_IFMT
        if kind == XATTR:
            self._chunk(rest, value)
            if b"\0" in rest[:-3] or not 0 < len(rest[:-3]) <= 255 or rest[-3] != 0:
                raise CorruptError("an extended attribute with an impossible name")
        elif kind == ENTRY and file_kind == S_IFDIR:
            self._entry(rest, value)
        elif kind == TARGET and file_kind == S_IFLNK:
            self._chunk(rest, value)
            current.target_bytes += len(value)
        elif kind == INLINE and file_kind == S_IFREG and not rest:
            current.inline_bytes = len(value)
        elif kind == EXTENT and file_kind == S_IFREG:
            self._extent(key, value)
        else:
            raise CorruptError(f"an item of kind {kind} that its mode {current.fields[0]:o} does not have")

    def _chunk(self, rest: bytes, value: bytes) -> None:
        current = self._current
        prefix = rest[:-2]
        if prefix != current.chunk_prefix or not current.chunks:
            current.chunk_prefix, current.chunks = prefix, 0
        number = int.from_bytes(rest[-2:], "big")
        if len(rest) < 2 or number >= CHUNKS_MOST or len(value) > self._limits.chunk_bytes:
            raise CorruptError("a part of a long value that makes no sense")
        if number != current.chunks:
            raise CorruptError("a part of a long value is missing")
        current.chunks += 1

    def _entry(self, name: bytes, value: bytes) -> None:
        current = self._current
        ino, kind = entry_of(value)
        if not 0 < len(name) <= NAME_MAX or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise CorruptError(f"an impossible name {name!r}")
        current.entries_bytes += len(name) + ENTRY_SIZE
        found = self.entries.setdefault(ino, [0, 0, kind])
        found[0] += 1
        found[1] = current.ino
        if found[2] != kind:
            raise CorruptError(f"{name!r} says that inode {ino} is something else than another name does")
        if kind == S_IFDIR:
            self.inodes[current.ino].subdirectories += 1

    def _extent(self, key: bytes, value: bytes) -> None:
        current = self._current
        extent = extent_of(key, value, self._limits)
        self.geometry.check_run(extent.address, extent.blocks, "an extent")
        if extent.start < current.extents_end:
            raise CorruptError(f"extents overlap at block {extent.start}")
        current.extents_end = extent.end
        current.blocks += extent.blocks
        assert current.fields is not None
        past_end = extent.end * self.geometry.block_bytes - current.fields[4]
        if past_end >= self.geometry.block_bytes:
            raise CorruptError(f"blocks past its end, up to {extent.end}")
        self.data(extent, current.ino, self.geometry.block_bytes - max(past_end, 0))

    def _end_inode(self) -> None:
        current = self._current
        if current.fields is None:
            return
        where = f"inode {current.ino}"
        mode, _, _, _, size, _, blocks = current.fields[:7]
        kind = mode & S_IFMT
        if blocks != current.blocks:
            self.report(where, f"it says that it has {blocks} blocks, and has {current.blocks}")
        if kind == S_IFDIR:
            self.directories += 1
            if size != current.entries_bytes:
                self.report(where, f"its size is {size}, its entries make {current.entries_bytes}")
        else:
            self.files += 1
        if kind == S_IFLNK and not 0 < current.target_bytes == size <= TARGET_MOST:
            self.report(where, f"a link of size {size} whose target has {current.target_bytes} bytes")
        if current.inline_bytes >= 0 and (
            current.inline_bytes > size or size > self._limits.inline_bytes or current.blocks
        ):
            self.report(where, f"{current.inline_bytes} bytes in the tree, of a file of {size} with {blocks} blocks")

    # --- across inodes -------------------------------------------------------------------------------------

    def finish(self, inodes: int) -> None:
        """All items have come; ``inodes`` is how many there should be."""
        self._end_inode()
        if inodes != len(self.inodes):
            self.report("file tree", f"{len(self.inodes)} inodes, where there should be {inodes}")
        for ino in self.entries.keys() - self.inodes.keys():
            self.report(f"inode {ino}", "a name leads to it, but it is not there")
        for ino in self.orphans - self.inodes.keys():
            self.report(f"inode {ino}", "it is noted as an orphan, but it is not there")
        root = self.inodes.get(ROOT_INO)
        if root is None or root.mode & S_IFMT != S_IFDIR:
            self.report("inode 1", "the root is no directory")
        for ino, known in self.inodes.items():
            self._names_of(ino, known)
        self._reachable()

    def _names_of(self, ino: int, known: Names) -> None:
        where = f"inode {ino}"
        count, named_in, kind = self.entries.get(ino, (0, 0, known.mode & S_IFMT))
        known.names, known.named_in = count, named_in
        if kind != known.mode & S_IFMT:
            self.report(where, f"its name says that it is of kind {kind:o}, its mode {known.mode:o}")
        if ino in self.orphans:
            if known.nlink or count:
                self.report(where, f"noted as an orphan, with link count {known.nlink} and {count} names")
        elif ino == ROOT_INO:
            if count or known.nlink != 2 + known.subdirectories or known.parent != ROOT_INO:
                self.report(where, f"the root has {count} names and link count {known.nlink}")
        elif known.mode & S_IFMT == S_IFDIR:
            if count != 1 or known.nlink != 2 + known.subdirectories or known.parent != named_in:
                self.report(where, f"a directory with {count} names, {known.subdirectories} directories in it, link "
                                   f"count {known.nlink}, in {named_in} and not {known.parent}")
        elif known.nlink != count or not count:
            self.report(where, f"its link count is {known.nlink}, it has {count} names")

    def _reachable(self) -> None:
        """No directory is inside of itself."""
        good = {ROOT_INO}
        for ino, known in self.inodes.items():
            if known.mode & S_IFMT != S_IFDIR or ino in self.orphans:
                continue
            way: list[int] = []
            while ino not in good and ino in self.inodes and len(way) <= len(self.inodes):
                way.append(ino)
                ino = self.inodes[ino].named_in
            if ino not in good:
                if ino in self.inodes:
                    self.report(f"inode {ino}", "a directory that does not lead up to the root")
                continue
            good.update(way)
