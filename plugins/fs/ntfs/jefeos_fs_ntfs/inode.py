"""Files as the kernel sees them: attributes, contents, extended attributes.

Times and sizes change often, so they are kept here and put off: `NtfsFilesystem.changed` remembers the inode, and a
commit brings them to STANDARD_INFORMATION and to the copies in the directories (`flush`). Everything else goes to the
records at once, as an operation.

What Linux knows and NTFS does not (mode, owner, device) is in EAs (`extended`), and what a file is, in its reparse
point (`reparse`). Times have steps of 100 ns. Extended attributes ``user.NAME`` are the alternate streams NAME;
``trusted.*`` and ``security.*`` are EAs of that name; ``system.ntfs_acl`` gives the security descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    PERMISSION_BITS,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    XATTR_CREATE,
    XATTR_REPLACE,
    device_major,
    device_minor,
    make_device,
)
from jefeos.vfs.inode import PAGE_SIZE, Inode

from jefeos_fs_ntfs.attribute import make_resident, sizes_at, type_name
from jefeos_fs_ntfs.extended import (
    DEFAULT_PERMISSIONS,
    Owner,
    pack_entries,
    parse_entries,
    read_owner,
    store_owner,
)
from jefeos_fs_ntfs.layout import (
    EPOCH_OFFSET_TICKS,
    FILE_NAME,
    INDEX_ENTRY,
    REFERENCE_MASK,
    STANDARD_INFORMATION,
    STANDARD_INFORMATION_OLD,
    AttributeFlags,
    AttributeType,
    FileAttributes,
    Namespace,
)
from jefeos_fs_ntfs.names import decode_units, encode_units, from_bytes, to_bytes
from jefeos_fs_ntfs.reparse import REPARSE_BYTES_MAX, Meaning, understand, understand_interix
from jefeos_fs_ntfs.secure import read_descriptor
from jefeos_fs_ntfs.stream import SPARSE, Stream

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.filesystem import NtfsFilesystem

TICK_NS: Final = 100
INTERIX_BYTES_MAX: Final = 4096
XATTR_BYTES_MAX: Final = 65536
USER_PREFIX: Final = b"user."
KEPT_IN_EA: Final = (b"trusted.", b"security.")
SECURITY_XATTR: Final = b"system.ntfs_acl"
_SPARSE: Final = int(FileAttributes.SPARSE_FILE)
_REPARSE_POINT: Final = int(FileAttributes.REPARSE_POINT)
_INDEX_PRESENT: Final = int(FileAttributes.I30_INDEX_PRESENT)
_SYSTEM: Final = int(FileAttributes.SYSTEM)
_READONLY: Final = int(FileAttributes.READONLY)
_ENCRYPTED: Final = int(AttributeFlags.ENCRYPTED)
_STANDARD, _FILE_NAME, _DATA, _EA = (
    int(AttributeType.STANDARD_INFORMATION), int(AttributeType.FILE_NAME), int(AttributeType.DATA),
    int(AttributeType.EA),
)
_NAMESPACE_OFFSET: Final = FILE_NAME.size - 1
_DOS: Final = int(Namespace.DOS)
_NOBODY: Final = Owner()
_PLAIN: Final = Meaning(0)


def to_ticks(time_ns: int) -> int:
    """Nanoseconds since 1970 to NTFS time; 0 for what was before 1601."""
    return min(max(time_ns // TICK_NS + EPOCH_OFFSET_TICKS, 0), (1 << 63) - 1)


class Facts(NamedTuple):
    """What an inode is made with."""

    kind: int
    owner: Owner
    times_ns: tuple[int, int, int, int]
    """As `NtfsInode.times` has them."""
    nlink: int = 1
    size: int = 0
    rdev: int = 0
    target: bytes = b""
    file_attributes: int = 0
    security_id: int = 0
    tag: int = 0


class NtfsInode(Inode):
    """A file of any kind; `directory.NtfsDirectory` adds names."""

    fs: NtfsFilesystem

    def __init__(self, fs: NtfsFilesystem, entry: Entry, facts: Facts) -> None:
        (kind, owner, (born_ns, modified_ns, changed_ns, accessed_ns), nlink, size, rdev, self.target,
         self.file_attributes, self.security_id, self.tag) = facts
        permissions = owner.mode & PERMISSION_BITS if owner.mode is not None else DEFAULT_PERMISSIONS
        super().__init__(fs, entry.number, kind | permissions, owner.uid, owner.gid, nlink=nlink, size=size, rdev=rdev,
                         time_ns=born_ns)
        self.mtime_ns, self.ctime_ns, self.atime_ns = modified_ns, changed_ns, accessed_ns
        self.entry = entry

    # -- attributes --

    @property
    def blocks(self) -> int:
        return self._sizes()[1] // 512 if self.is_regular else 0

    def _sizes(self) -> tuple[int, int]:
        """Of the contents as the medium has them: bytes, and bytes taken by clusters."""
        stream = self.entry.streams.get((_DATA, ""))
        if stream is not None:
            return stream.data_size, stream.allocated_bytes
        if not self.entry.base.decoded:
            raw, places = self.entry.places()
            for place in places:
                if place[0] == _DATA and not place[4]:
                    return sizes_at(raw, place)
        attribute = self.entry.find(_DATA)
        return attribute.sizes if attribute is not None else (0, 0)

    @property
    def data(self) -> Stream:
        """The unnamed stream. Raises CorruptError if there is none."""
        return self.entry.stream(AttributeType.DATA)

    def set_attributes(self, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
                       atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        self.fs.require_writable()
        if mode is not None or uid is not None or gid is not None:
            new_mode = self.mode if mode is None else self.mode & S_IFMT | mode & PERMISSION_BITS
            new_uid, new_gid = self.uid if uid is None else uid, self.gid if gid is None else gid
            device = None
            if self.mode & S_IFMT in (S_IFCHR, S_IFBLK):
                device = device_major(self.rdev), device_minor(self.rdev)
            self.fs.volume.run(store_owner, self.entry, new_mode, new_uid, new_gid, device)
            self.mode, self.uid, self.gid = new_mode, new_uid, new_gid
        if atime_ns is not None:
            self.atime_ns = atime_ns // TICK_NS * TICK_NS
        if mtime_ns is not None:
            self.mtime_ns = mtime_ns // TICK_NS * TICK_NS
        self.ctime_ns = self.fs.now_ns()
        self.fs.changed[self] = None

    def touch_accessed(self) -> None:
        if self.fs.read_only:
            return
        before = self.atime_ns
        super().touch_accessed()
        if self.atime_ns != before:
            self.atime_ns = self.atime_ns // TICK_NS * TICK_NS
            self.fs.changed[self] = None

    def touch_modified(self) -> None:
        self.mtime_ns = self.ctime_ns = self.fs.now_ns()
        self.fs.changed[self] = None

    def touch_changed(self) -> None:
        """Updates the ctime after a change of links and the like."""
        self.ctime_ns = self.fs.now_ns()
        self.fs.changed[self] = None

    def times(self) -> tuple[int, int, int, int]:
        """As NTFS stores them: creation, modification, change of the record, access."""
        born_ns = self.btime_ns
        if born_ns == self.mtime_ns == self.ctime_ns == self.atime_ns:
            return (to_ticks(born_ns),) * 4
        return to_ticks(self.btime_ns), to_ticks(self.mtime_ns), to_ticks(self.ctime_ns), to_ticks(self.atime_ns)

    def summary(self) -> tuple[int, int, int, int, int, int, int, int]:
        """What FILE_NAME repeats of a file: times, sizes, attributes, reparse tag."""
        allocated = size = 0
        attributes = self.file_attributes
        if not self.is_directory:
            size, allocated = self._sizes()
            data = self.entry.find(_DATA)
            if data is not None:
                attributes = attributes & ~_SPARSE | (_SPARSE if data.flags & SPARSE else 0)
        else:
            attributes |= _INDEX_PRESENT
        return *self.times(), allocated, size, attributes, self.tag

    def flush(self) -> None:
        """Bring times and sizes to the record and to the directories. Within an operation."""
        if not self.entry.base.in_use:
            return
        stream = self.entry.streams.get((_DATA, ""))
        if stream is not None:
            stream.trim()
        summary = self.summary()
        old = self.entry.find(AttributeType.STANDARD_INFORMATION)
        if old is None:
            raise CorruptError(f"MFT record {self.ino} has no $STANDARD_INFORMATION")
        value = old.value
        self.file_attributes = summary[6] & ~_INDEX_PRESENT
        head = STANDARD_INFORMATION_OLD.pack(*summary[:4], self.file_attributes)
        new = head[:36] + value[36:]
        if new != value:
            self.entry.replace(old, make_resident(AttributeType.STANDARD_INFORMATION, new))
        for attribute in self.entry.all(AttributeType.FILE_NAME):
            self.fs.update_name(self.entry.base.reference, attribute.value, summary)

    # -- contents --

    def read_at(self, offset: int, count: int) -> bytes:
        return self.data.read(offset, count)

    def write_at(self, offset: int, data: bytes) -> None:
        self.fs.require_writable()
        if not self.nlink:
            self.fs.settle_names(self)
        self.fs.volume.run(self._write, offset, data)
        self.fs.changed[self] = None

    def _write(self, offset: int, data: bytes) -> None:
        self.data.write(offset, data)

    def set_size(self, size: int) -> None:
        self.fs.require_writable()
        self.fs.volume.run(self._set_size, size)
        self.fs.changed[self] = None

    def _set_size(self, size: int) -> None:
        self.data.set_size(size)

    def next_data(self, offset: int, size: int) -> int | None:
        return self._next(offset, size, holes=False)

    def next_hole(self, offset: int, size: int) -> int:
        found = self._next(offset, size, holes=True)
        return size if found is None else found

    def _next(self, offset: int, size: int, *, holes: bool) -> int | None:
        stream = self.data
        if stream.resident or offset >= size:
            return None if holes or offset >= size else offset
        cluster_bytes = stream.cluster_bytes
        for start, (lcn, length) in zip(stream.starts, stream.runs, strict=True):
            end = (start + length) * cluster_bytes
            if end > offset and (lcn < 0) is holes:
                found = max(offset, start * cluster_bytes)
                return found if found < size else None
        return None

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            raise KernelError(Errno.EOPNOTSUPP)
        if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP)
        self.fs.require_writable()
        if self._mapping is not None:
            self._mapping.writeback()
        self.fs.volume.run(self._allocate, mode, offset, length)
        if not mode & FALLOC_FL_KEEP_SIZE and offset + length > self.size:
            self.size = offset + length
            if self._mapping is not None:
                self._mapping.size_bytes = self.size
        if self._mapping is not None and mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            self._mapping.punch(offset // PAGE_SIZE, -(-(offset + length) // PAGE_SIZE))
        self.touch_modified()

    def _allocate(self, mode: int, offset: int, length: int) -> None:
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            self.data.punch(offset, length)
        if not mode & FALLOC_FL_PUNCH_HOLE:
            self.data.reserve(offset, length, keep_size=bool(mode & FALLOC_FL_KEEP_SIZE))

    def readlink(self) -> bytes:
        if self.mode & S_IFMT != S_IFLNK:
            raise KernelError(Errno.EINVAL)
        return self.target

    def sync(self) -> None:
        super().sync()
        self.fs.volume.flush()

    def evict(self) -> None:
        super().evict()
        self.fs.evict(self)

    # -- extended attributes --

    def get_xattr(self, name: bytes) -> bytes:
        if name == SECURITY_XATTR:
            descriptor = read_descriptor(self.fs.volume, self.entry, self.security_id)
            if descriptor is None:
                raise KernelError(Errno.ENODATA)
            return descriptor
        if name.startswith(USER_PREFIX):
            stream = self._stream(name)
            if stream.data_size > XATTR_BYTES_MAX:
                raise KernelError(Errno.E2BIG)
            return stream.read(0, stream.data_size)
        value = self._eas().get(self._ea_name(name))
        if value is None:
            raise KernelError(Errno.ENODATA)
        return value

    def list_xattrs(self) -> list[bytes]:
        names = {USER_PREFIX + to_bytes(attribute.name)
                 for attribute in self.entry.all(AttributeType.DATA) if attribute.name}
        return sorted(names) + [name for name in self._eas() if name.startswith(KEPT_IN_EA)]

    def set_xattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.fs.require_writable()
        if name.startswith(USER_PREFIX):
            there = self.entry.find(AttributeType.DATA, self._stream_name(name)) is not None
        else:
            there = self._ea_name(name) in self._eas()
        if flags & XATTR_CREATE and there:
            raise KernelError(Errno.EEXIST)
        if flags & XATTR_REPLACE and not there:
            raise KernelError(Errno.ENODATA)
        self.fs.volume.run(self._set_xattr, name, value)
        self.touch_changed()

    def remove_xattr(self, name: bytes) -> None:
        self.fs.require_writable()
        if name.startswith(USER_PREFIX):
            self._stream(name)
        elif self._ea_name(name) not in self._eas():
            raise KernelError(Errno.ENODATA)
        self.fs.volume.run(self._set_xattr, name, None)
        self.touch_changed()

    def _set_xattr(self, name: bytes, value: bytes | None) -> None:
        if name.startswith(USER_PREFIX):
            self.entry.put_value(AttributeType.DATA, value, self._stream_name(name))
            return
        entries = self._eas()
        if value is None:
            del entries[name]
        else:
            entries[name] = value
        data, information = pack_entries(entries)
        if len(data) > XATTR_BYTES_MAX:
            raise KernelError(Errno.ENOSPC)
        self.entry.put_value(AttributeType.EA, data or None)
        self.entry.put_value(AttributeType.EA_INFORMATION, information if data else None)

    def _stream_name(self, name: bytes) -> str:
        units = from_bytes(name[len(USER_PREFIX) :])
        if not units:
            raise KernelError(Errno.EINVAL)
        return units

    def _stream(self, name: bytes) -> Stream:
        units = self._stream_name(name)
        if self.entry.find(AttributeType.DATA, units) is None:
            raise KernelError(Errno.ENODATA)
        return self.entry.stream(AttributeType.DATA, units)

    def _ea_name(self, name: bytes) -> bytes:
        if not name.startswith(KEPT_IN_EA):
            raise KernelError(Errno.EOPNOTSUPP)
        return name

    def _eas(self) -> dict[bytes, bytes]:
        return parse_entries(self.entry.value(AttributeType.EA) or b"")


class StreamInode(NtfsInode):
    """An alternate stream that was opened as ``name:stream``: a file of its own, with its file's attributes."""

    stream_name: str = ""

    @property
    def data(self) -> Stream:
        return self.entry.stream(AttributeType.DATA, self.stream_name)

    def flush(self) -> None:
        """Its times are its file's, which nobody changes through a stream."""

    def list_xattrs(self) -> list[bytes]:
        return []


def describe(entry: Entry) -> Facts:
    """What the records say. Raises CorruptError. A hot path."""
    raw, places = entry.places()
    value, names, owner, data = b"", 0, _NOBODY, None
    for place in places:
        kind, _, _, non_resident, name_length, _, _, _, start, stop = place
        if kind == _DATA:
            if not name_length and data is None:
                data = place
        elif kind == _EA and owner is _NOBODY:
            owner = read_owner(entry.value(_EA) or b"" if non_resident else raw[start:stop])
        elif non_resident:
            if kind in (_STANDARD, _FILE_NAME):
                raise CorruptError(f"MFT record {entry.number}: {type_name(kind)} has to be resident")
        elif kind == _FILE_NAME:
            names += stop - start <= _NAMESPACE_OFFSET or raw[start + _NAMESPACE_OFFSET] != _DOS
        elif kind == _STANDARD:
            value = raw[start:stop]
    if not value:
        raise CorruptError(f"MFT record {entry.number} has no $STANDARD_INFORMATION")
    security_id = 0
    if len(value) >= STANDARD_INFORMATION.size:
        born, modified, changed, accessed, attributes, _, security_id, _, _ = STANDARD_INFORMATION.unpack_from(value)
    elif len(value) >= STANDARD_INFORMATION_OLD.size:
        born, modified, changed, accessed, attributes = STANDARD_INFORMATION_OLD.unpack_from(value)
    else:
        raise CorruptError(f"MFT record {entry.number}: $STANDARD_INFORMATION has {len(value)} bytes")
    kind, size, tag, meaning = S_IFDIR if entry.is_directory else S_IFREG, 0, 0, _PLAIN
    if attributes & _REPARSE_POINT:
        reparse = entry.value(AttributeType.REPARSE_POINT, limit=REPARSE_BYTES_MAX)
        if reparse is not None and len(reparse) >= 8:
            tag = int.from_bytes(reparse[:4], "little")
            meaning = understand(reparse)
            kind = meaning.kind or kind
    if kind == S_IFREG and data is not None:
        size = sizes_at(raw, data)[0]
        if attributes & _SYSTEM and size <= INTERIX_BYTES_MAX and not data[6] & _ENCRYPTED:
            meaning = understand_interix(entry.stream(_DATA).read(0, size)) or meaning
            kind = meaning.kind or kind
    if kind == S_IFLNK:
        size = len(meaning.target)
    if owner.mode is None and attributes & _READONLY and kind != S_IFDIR:
        owner = Owner(DEFAULT_PERMISSIONS & ~0o222)
    device = owner.device if any(owner.device) else meaning.device
    return Facts(
        kind, owner,
        ((born - EPOCH_OFFSET_TICKS) * TICK_NS, (modified - EPOCH_OFFSET_TICKS) * TICK_NS,
         (changed - EPOCH_OFFSET_TICKS) * TICK_NS, (accessed - EPOCH_OFFSET_TICKS) * TICK_NS),
        1 if kind == S_IFDIR else names, size, make_device(*device) if any(device) else 0, meaning.target, attributes,
        security_id, tag,
    )


def make_name(parent: int, name: str, namespace: int, summary: tuple[int, ...]) -> bytes:
    """The value of FILE_NAME."""
    return FILE_NAME.pack(parent, *summary, len(name), namespace) + encode_units(name)


def name_of(value: bytes) -> tuple[int, int, str]:
    """Parent, namespace and name of FILE_NAME. Raises CorruptError."""
    if len(value) < FILE_NAME.size or len(value) < FILE_NAME.size + 2 * value[64]:
        raise CorruptError(f"$FILE_NAME has {len(value)} bytes")
    name = decode_units(value[FILE_NAME.size : FILE_NAME.size + 2 * value[64]])
    return int.from_bytes(value[:8], "little"), value[65], name


def index_entry(reference: int, file_name: bytes) -> bytes:
    """The entry of a directory's index for a FILE_NAME."""
    length = (INDEX_ENTRY.size + len(file_name) + 7) & ~7
    return (INDEX_ENTRY.pack(reference, length, len(file_name), 0, 0) + file_name).ljust(length, b"\0")


def reference_number(reference: int) -> int:
    """The record number in a file reference."""
    return reference & REFERENCE_MASK
