"""From the bytes of a tar archive to a tree of nodes, in one pass.

Model::

    offset 0     header | data, padded to 512 | header | data ... | zero block | zero block | padding
                   |
                   +-- member 'x'/'g'/'L'/'K': says something about the member(s) that follow
                   +-- any other member: one `Node` of the tree, or one more name of an earlier node (hard link)

Rules:

* Names lose a leading ``/`` and every ``.``; a ``..`` in a member's name or in a hard link's target is refused.
  Missing parents are made up (mode 755, root's). A parent that is a symlink is followed inside the tree, as
  unpacking on a disk would do, but never above its root.
* A name that appears twice means its last member; a directory keeps its children when it is given again.
* Whatever breaks the format is one `CorruptError` with the offset in the unpacked archive. The end mark is
  required: an archive that stops at a member boundary has most likely been cut.
* Sizes are not trusted: nothing is allocated by a size that a header claims, except header data up to
  ``HEADER_DATA_LIMIT_BYTES``. A sparse member may claim any size, since its holes cost nothing.

Why not the standard library's `tarfile`: it takes a damaged header in the middle for the end of the archive,
so a damaged root would boot with files missing. The tests use it, and GNU tar, as the oracle.

Not supported: multi-volume members, and a global header's effect on anything but the following members.
"""

from __future__ import annotations

from attrs import define, field
from jefeos.errors import CorruptError, Errno

from . import layout, pax
from .archive import Store
from .layout import BLOCK_BYTES, Header, MemberType

HEADER_DATA_LIMIT_BYTES = 16 << 20
NODES_LIMIT = 1 << 20
NAME_LIMIT_BYTES = 255
PATH_LIMIT_BYTES = 4096
SYMLINKS_LIMIT = 40
ID_LIMIT = 1 << 32
DEVICE_MAJOR_LIMIT = 1 << 12
DEVICE_MINOR_LIMIT = 1 << 20
FILE_SIZE_LIMIT = (1 << 63) - 1

TYPE_MASK = 0o170000
REGULAR, DIRECTORY, SYMLINK = 0o100000, 0o040000, 0o120000
CHARACTER, BLOCK, FIFO = 0o020000, 0o060000, 0o010000
PERMISSION_MASK = 0o7777
MADE_UP_DIRECTORY_MODE = DIRECTORY | 0o755

_KIND_OF_TYPE = {
    MemberType.SYMLINK: SYMLINK,
    MemberType.CHARACTER_DEVICE: CHARACTER,
    MemberType.BLOCK_DEVICE: BLOCK,
    MemberType.DIRECTORY: DIRECTORY,
    MemberType.GNU_DUMP_DIRECTORY: DIRECTORY,
    MemberType.FIFO: FIFO,
}
_TYPES_WITHOUT_DATA = {
    MemberType.HARD_LINK,
    MemberType.SYMLINK,
    MemberType.CHARACTER_DEVICE,
    MemberType.BLOCK_DEVICE,
    MemberType.DIRECTORY,
    MemberType.FIFO,
    MemberType.GNU_VOLUME_LABEL,
}


@define(eq=False)
class Node:
    """One file of the archive, whatever its kind; a hard link is a second name of the same node.

    ``extents`` holds (offset in the file, length, offset in the archive) of the data, in order and apart.
    """

    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    links: int = 1
    device: tuple[int, int] = (0, 0)
    target: bytes = b""
    extents: list[tuple[int, int, int]] = field(factory=list)
    children: dict[bytes, Node] | None = None
    xattrs: dict[bytes, bytes] = field(factory=dict)

    def read(self, store: Store, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``, holes as zeros, none past the end."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        extents = self.extents
        if len(extents) == 1 and extents[0][0] == 0 and extents[0][1] == self.size:
            return store.read(extents[0][2] + offset, end - offset)
        result = bytearray(end - offset)
        for start, piece_length, archive_offset in extents:
            low, high = max(start, offset), min(start + piece_length, end)
            if low < high:
                result[low - offset : high - offset] = store.read(archive_offset + low - start, high - low)
        return bytes(result)


def build_tree(store: Store, origin: str) -> Node:
    """Index the whole archive and return its root directory. ``origin`` names it in errors."""
    indexer = _Indexer(store)
    try:
        indexer.run()
    except CorruptError as error:
        message = error.args[0] if error.args else "damaged"
        raise CorruptError(
            f"{origin}: {message} (archive offset {indexer.header_offset})", error.errno
        ) from None
    return indexer.root


def split_name(name: bytes) -> list[bytes]:
    """The components of a member's name. Errors: `CorruptError` for ``..`` and for names past the limits."""
    if len(name) > PATH_LIMIT_BYTES:
        raise CorruptError(f"a name of {len(name)} bytes is too long", Errno.ENAMETOOLONG)
    components = [part for part in name.split(b"/") if part and part != b"."]
    for part in components:
        if part == b"..":
            raise CorruptError(f"the name {_shown(name)} leads out of the archive")
        if len(part) > NAME_LIMIT_BYTES:
            raise CorruptError(f"a file name of {len(part)} bytes is too long", Errno.ENAMETOOLONG)
    return components


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 80 else text[:77] + "...")


@define
class _Indexer:
    store: Store
    root: Node = field(factory=lambda: Node(1, MADE_UP_DIRECTORY_MODE, links=2, children={}))
    header_offset: int = 0
    node_count: int = 1
    global_records: pax.Records = field(factory=list)

    def run(self) -> None:
        long_name = long_link = None
        records: pax.Records = []
        offset = 0
        while True:
            self.header_offset = offset
            block = self.store.read(offset, BLOCK_BYTES)
            if block == layout.ZERO_BLOCK:
                return
            if len(block) < BLOCK_BYTES:
                raise CorruptError("the archive ends without its end mark: it has been cut short")
            header = layout.parse_header(block)
            offset += BLOCK_BYTES
            match header.type:
                case MemberType.PAX_EXTENDED | MemberType.PAX_EXTENDED_SOLARIS:
                    records = records + pax.parse_records(self._header_data(header, offset))
                    offset += _padded(header.size)
                    continue
                case MemberType.PAX_GLOBAL:
                    self.global_records += pax.parse_records(self._header_data(header, offset))
                    offset += _padded(header.size)
                    continue
                case MemberType.GNU_LONG_NAME:
                    long_name = self._header_data(header, offset).split(b"\x00", 1)[0]
                    offset += _padded(header.size)
                    continue
                case MemberType.GNU_LONG_LINK:
                    long_link = self._header_data(header, offset).split(b"\x00", 1)[0]
                    offset += _padded(header.size)
                    continue
            overrides = pax.interpret(self.global_records + records if self.global_records else records)
            name = overrides.path or long_name or header.name
            link_name = overrides.link_path or long_link or header.link_name
            offset = self._member(header, overrides, name, link_name, block, offset)
            long_name = long_link = None
            records = []

    def _header_data(self, header: Header, offset: int) -> bytes:
        if not 0 <= header.size <= HEADER_DATA_LIMIT_BYTES:
            raise CorruptError(f"an extended header claims {header.size} bytes", Errno.EFBIG)
        data = self.store.read(offset, header.size)
        if len(data) < header.size:
            raise CorruptError("the archive ends inside an extended header: it has been cut short")
        return data

    def _member(
        self,
        header: Header,
        overrides: pax.Overrides,
        name: bytes,
        link_name: bytes,
        block: bytes,
        offset: int,
    ) -> int:
        """Take one member into the tree; ``offset`` is where its data would start. Returns the next header's."""
        if header.type == MemberType.GNU_MULTI_VOLUME:
            raise CorruptError("multi-volume archives are not supported", Errno.EOPNOTSUPP)
        if header.type == MemberType.GNU_VOLUME_LABEL:
            return offset
        data_offset = offset
        stored_size = header.size if overrides.size is None else overrides.size
        if header.type in _TYPES_WITHOUT_DATA:
            stored_size = 0
        pieces: list[tuple[int, int]] | None = None
        real_size = stored_size
        if header.type == MemberType.GNU_SPARSE:
            pieces, data_offset = self._gnu_sparse_map(block, offset)
            real_size = layout.parse_number(
                block[layout.GNU_REAL_SIZE_OFFSET : layout.GNU_REAL_SIZE_END], "real size"
            )
        next_offset = data_offset + _padded(stored_size)
        if stored_size < 0 or data_offset + stored_size > self.store.size:
            raise CorruptError(
                f"{_shown(name)} claims {stored_size} bytes of data, {self.store.size - data_offset} are left: "
                "the archive is damaged or has been cut short"
            )
        if overrides.sparse is not None:
            real_size = overrides.sparse.real_size
            pieces = overrides.sparse.pieces
            if pieces is None:
                pieces, map_bytes = self._map_in_data(data_offset, stored_size)
                data_offset += map_bytes
                stored_size -= map_bytes
        components = split_name(name)
        if header.type == MemberType.HARD_LINK:
            self._hard_link(components, link_name, name)
            return next_offset
        node = self._new_node(header, overrides, name)
        if node.mode & TYPE_MASK == REGULAR:
            node.size = real_size
            node.extents = _extents(pieces, real_size, data_offset, stored_size)
        elif node.mode & TYPE_MASK == SYMLINK:
            if not link_name:
                raise CorruptError(f"the symbolic link {_shown(name)} has no target")
            node.target = link_name
            node.size = len(link_name)
        self._enter(components, node, name)
        return next_offset

    def _new_node(self, header: Header, overrides: pax.Overrides, name: bytes) -> Node:
        kind = REGULAR
        if header.type in _KIND_OF_TYPE:
            kind = _KIND_OF_TYPE[MemberType(header.type)]
        elif header.type in (MemberType.FILE_OLD, MemberType.FILE) and name.endswith(b"/"):
            kind = DIRECTORY  # how tars before POSIX wrote one
        uid = header.uid if overrides.uid is None else overrides.uid
        gid = header.gid if overrides.gid is None else overrides.gid
        if not (0 <= uid < ID_LIMIT and 0 <= gid < ID_LIMIT):
            raise CorruptError(f"{_shown(name)} has an owner out of range ({uid}:{gid})")
        if abs(header.mtime) > pax.TIME_LIMIT_SECONDS:
            raise CorruptError(f"{_shown(name)} has a time out of range ({header.mtime})")
        if not (
            0 <= header.device_major < DEVICE_MAJOR_LIMIT and 0 <= header.device_minor < DEVICE_MINOR_LIMIT
        ):
            raise CorruptError(f"{_shown(name)} has a device number out of range")
        node = Node(
            number=self._next_number(),
            mode=kind | header.mode & PERMISSION_MASK,
            uid=uid,
            gid=gid,
            mtime_ns=header.mtime * pax.NANOSECONDS if overrides.mtime_ns is None else overrides.mtime_ns,
            device=(header.device_major, header.device_minor),
            xattrs=overrides.xattrs,
        )
        if kind == DIRECTORY:
            node.children = {}
            node.links = 2
        return node

    def _next_number(self) -> int:
        self.node_count += 1
        if self.node_count > NODES_LIMIT:
            raise CorruptError(f"the archive has more than {NODES_LIMIT} files", Errno.EFBIG)
        return self.node_count

    def _enter(self, components: list[bytes], node: Node, name: bytes) -> None:
        """Give ``node`` its name, replacing what had it before."""
        if not components:
            if node.children is None:
                raise CorruptError(f"the root of the archive ({_shown(name)}) is not a directory")
            _take_attributes(self.root, node)
            return
        parent = self._directory(components[:-1])
        assert parent.children is not None
        last = components[-1]
        before = parent.children.get(last)
        if before is not None:
            if before.children is not None and node.children is not None:
                _take_attributes(before, node)
                return
            if before.children:
                raise CorruptError(f"{_shown(name)} would replace a directory that has files in it")
            before.links -= 1
            if before.children is not None:
                parent.links -= 1
        parent.children[last] = node
        if node.children is not None:
            parent.links += 1

    def _hard_link(self, components: list[bytes], link_name: bytes, name: bytes) -> None:
        target_components = split_name(link_name)
        node: Node | None = None
        if target_components:
            parent = self._directory(target_components[:-1], create=False)
            if parent is not None and parent.children is not None:
                node = parent.children.get(target_components[-1])
        if node is None or node.children is not None:
            raise CorruptError(
                f"the hard link {_shown(name)} names {_shown(link_name)}, which is no earlier file"
            )
        if components == target_components:
            return
        node.links += 1
        self._enter(components, node, name)

    def _directory(self, components: list[bytes], create: bool = True) -> Node:
        """Walk to a directory, making up what is missing (or returning an unlinked one when not to create)."""
        current = self.root
        trail = [self.root]
        rest = components[::-1]
        symlinks = 0
        while rest:
            part = rest.pop()
            if part == b"..":  # only from a symlink's target
                trail = trail[:-1] or [self.root]
                current = trail[-1]
                continue
            assert current.children is not None
            child = current.children.get(part)
            if child is None:
                child = Node(self._next_number(), MADE_UP_DIRECTORY_MODE, links=2, children={})
                if create:
                    current.children[part] = child
                    current.links += 1
            elif child.mode & TYPE_MASK == SYMLINK:
                symlinks += 1
                if symlinks > SYMLINKS_LIMIT:
                    raise CorruptError("too many symbolic links above a member", Errno.ELOOP)
                if child.target.startswith(b"/"):
                    trail = [self.root]
                    current = self.root
                rest += [step for step in child.target.split(b"/") if step and step != b"."][::-1]
                continue
            elif child.children is None:
                raise CorruptError(f"a member lies below {_shown(part)}, which is not a directory")
            current = child
            trail.append(child)
        return current

    def _gnu_sparse_map(self, block: bytes, offset: int) -> tuple[list[tuple[int, int]], int]:
        """The map in a GNU sparse header and the extension blocks after it, and where the data starts."""
        pieces = layout.parse_sparse_entries(block[layout.GNU_SPARSE_OFFSET :], layout.GNU_SPARSE_ENTRIES)
        more = block[layout.GNU_SPARSE_EXTENDED_OFFSET]
        while more:
            extension = self.store.read(offset, BLOCK_BYTES)
            if len(extension) < BLOCK_BYTES:
                raise CorruptError("the archive ends inside a sparse map: it has been cut short")
            pieces += layout.parse_sparse_entries(extension, layout.EXTENSION_ENTRIES)
            if len(pieces) > pax.SPARSE_ENTRIES_LIMIT:
                raise CorruptError("a sparse map has too many pieces", Errno.EFBIG)
            more = extension[layout.EXTENSION_CONTINUED_OFFSET]
            offset += BLOCK_BYTES
        return pieces, offset

    def _map_in_data(self, offset: int, stored_size: int) -> tuple[list[tuple[int, int]], int]:
        length = BLOCK_BYTES
        while True:
            pieces, used = pax.parse_map_in_data(self.store.read(offset, min(length, stored_size)))
            if pieces is not None:
                return pieces, min(_padded(used), stored_size)
            if length >= min(stored_size, HEADER_DATA_LIMIT_BYTES):
                raise CorruptError("a sparse map does not end inside its member")
            length *= 2


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _take_attributes(directory: Node, given_again: Node) -> None:
    for name in ("mode", "uid", "gid", "mtime_ns", "xattrs"):
        setattr(directory, name, getattr(given_again, name))


def _extents(
    pieces: list[tuple[int, int]] | None, real_size: int, data_offset: int, stored_size: int
) -> list[tuple[int, int, int]]:
    """Check a sparse map against the file's size and the data that is there."""
    if pieces is None:
        return [(0, stored_size, data_offset)] if stored_size else []
    if not 0 <= real_size <= FILE_SIZE_LIMIT:
        raise CorruptError(f"a sparse member claims a size of {real_size} bytes")
    extents = []
    position = used = 0
    for start, length in pieces:
        if length == 0 and 0 <= start <= real_size:
            continue
        if start < position or length < 0 or start + length > real_size or used + length > stored_size:
            raise CorruptError(f"the sparse map has a wrong piece ({start}, {length})")
        extents.append((start, length, data_offset + used))
        position = start + length
        used += length
    return extents
