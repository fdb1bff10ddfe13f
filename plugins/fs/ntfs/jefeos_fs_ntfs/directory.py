"""Directories: looking up, making, linking, removing and renaming names.

Each call is one operation (`volume.Volume.run`): the file's record, its names and the indexes change together or not at
all. New names are in the POSIX namespace, which allows what Linux allows. Where a file has a pair of names (WIN32 and
DOS, the 8.3 name), both go when one is removed or renamed. Names are looked up exactly; ``name:stream`` is the
alternate stream of a file when there is no file of that very name.

The volume's own files ($MFT and so on) in the root directory are not shown, and their names cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import (
    PERMISSION_BITS,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    device_major,
    device_minor,
)
from jefeos.vfs.inode import DirEntry, Inode

from jefeos_fs_ntfs import reparse
from jefeos_fs_ntfs.attribute import Attribute, make_resident
from jefeos_fs_ntfs.entry import Entry
from jefeos_fs_ntfs.extended import DEFAULT_PERMISSIONS, Owner, owner_attributes
from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_edit import insert, remove
from jefeos_fs_ntfs.inode import (
    Facts,
    NtfsInode,
    StreamInode,
    index_entry,
    make_name,
    name_of,
    reference_number,
)
from jefeos_fs_ntfs.layout import (
    FILE_NAME,
    INDEX_ENTRY,
    INDEX_HEADER,
    INDEX_ROOT,
    STANDARD_INFORMATION,
    AttributeType,
    Collation,
    EntryFlags,
    FileAttributes,
    MetaFile,
    Namespace,
    RecordFlags,
)
from jefeos_fs_ntfs.names import NameKey, from_bytes, to_bytes

if TYPE_CHECKING:
    from jefeos_fs_ntfs.filesystem import NtfsFilesystem

LINKS_MOST: Final = 1024
"""As Windows has it."""
SYMLINK_BYTES_MAX: Final = 4095
_KIND_DIRECTORY: Final = int(FileAttributes.I30_INDEX_PRESENT)
_DIRECTORY, _ARCHIVE = int(FileAttributes.DIRECTORY), int(FileAttributes.ARCHIVE)
_REPARSE_POINT: Final = int(FileAttributes.REPARSE_POINT)
_FILE_NAME: Final = int(AttributeType.FILE_NAME)
_ROOT, _FIRST_USER = int(MetaFile.ROOT), int(MetaFile.FIRST_USER)
_SPECIAL: Final = int(FileAttributes.REPARSE_POINT | FileAttributes.SYSTEM)
_ATTRIBUTES_OFFSET: Final = INDEX_ENTRY.size + FILE_NAME.size - 10
_NAMESPACE_OFFSET: Final = INDEX_ENTRY.size + FILE_NAME.size - 1
_NAME_LENGTH_OFFSET: Final = _NAMESPACE_OFFSET - 1
_LENGTH_IN_VALUE: Final = _NAME_LENGTH_OFFSET - INDEX_ENTRY.size
_PAIRS: Final = {int(Namespace.WIN32): int(Namespace.DOS), int(Namespace.DOS): int(Namespace.WIN32)}
_EMPTY_DATA: Final = make_resident(AttributeType.DATA, b"")


class NtfsDirectory(NtfsInode):
    """A directory."""

    @property
    def index(self) -> Index:
        """Its names."""
        return self.entry.index()

    # -- looking --

    def lookup(self, name: bytes) -> Inode:
        units = from_bytes(name)
        found = self.entry.index().lookup(self.fs.volume.collator.key(units))
        if found is not None:
            reference = int.from_bytes(found[:8], "little")
            if self.ino != _ROOT or not self._is_hidden(reference):
                return self.fs.inode(reference)
        elif ":" in units:
            return self._lookup_stream(units)
        raise KernelError(Errno.ENOENT)

    def _lookup_stream(self, units: str) -> Inode:
        base, _, stream = units.rpartition(":")
        found = self.index.lookup(self.fs.volume.collator.key(base)) if base and stream else None
        if found is None:
            raise KernelError(Errno.ENOENT)
        inode = self.fs.inode(int.from_bytes(found[:8], "little"))
        if inode.entry.find(AttributeType.DATA, stream) is None:
            raise KernelError(Errno.ENOENT)
        return self.fs.stream_inode(inode, stream)

    def readdir(self) -> Iterable[DirEntry]:
        entries = []
        for (_, units), entry in self.index.walk():
            reference = int.from_bytes(entry[:8], "little")
            if entry[_NAMESPACE_OFFSET] == Namespace.DOS or self._is_hidden(reference):
                continue
            attributes = int.from_bytes(entry[_ATTRIBUTES_OFFSET : _ATTRIBUTES_OFFSET + 4], "little")
            if attributes & _SPECIAL:
                tag = int.from_bytes(entry[_ATTRIBUTES_OFFSET + 4 : _ATTRIBUTES_OFFSET + 8], "little")
                kind = reparse.KIND_OF_TAG.get(tag, 0) if attributes & FileAttributes.REPARSE_POINT else 0
            else:
                kind = S_IFDIR if attributes & _KIND_DIRECTORY else S_IFREG
            entries.append(DirEntry(to_bytes(units), reference_number(reference), kind))
        return entries

    def _is_hidden(self, reference: int) -> bool:
        return self.ino == _ROOT and reference_number(reference) < _FIRST_USER

    # -- making --

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self._make(name, mode, uid, gid)

    def create_unnamed(self, mode: int, uid: int, gid: int) -> Inode:
        self.fs.require_writable()
        inode = self.fs.volume.run(self._new_file, None, mode, uid, gid, 0, b"")
        self.fs.made(inode)
        return inode

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self._make(name, mode | S_IFDIR, uid, gid)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        if len(target) > SYMLINK_BYTES_MAX:
            raise KernelError(Errno.ENAMETOOLONG)
        return self._make(name, S_IFLNK | 0o777, uid, gid, target=target)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        return self._make(name, mode, uid, gid, rdev=rdev)

    def _make(self, name: bytes, mode: int, uid: int, gid: int, rdev: int = 0, target: bytes = b"") -> Inode:
        self.fs.require_writable()
        inode = self.fs.volume.run(self._new_file, from_bytes(name), mode, uid, gid, rdev, target)
        self.fs.made(inode)
        self.touch_modified()
        return inode

    def _new_file(self, units: str | None, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> NtfsInode:
        fs, kind = self.fs, mode & S_IFMT
        is_directory = kind == S_IFDIR
        record = fs.volume.mft.allocate(RecordFlags.IS_DIRECTORY if is_directory else 0)
        entry = Entry(fs.volume, record)
        attributes = _DIRECTORY if is_directory else _ARCHIVE
        tag = size = 0
        device = (device_major(rdev), device_minor(rdev)) if kind in (S_IFCHR, S_IFBLK) else None
        rest = _usual_attributes(fs.empty_index if is_directory else _EMPTY_DATA, mode, uid, gid, device)
        if not is_directory and kind != S_IFREG:
            value = reparse.make_symlink(target) if kind == S_IFLNK else reparse.make(reparse.TAG_OF_KIND[kind])
            tag, size = int.from_bytes(value[:4], "little"), len(target)
            attributes |= _REPARSE_POINT
            reparse.note(fs.volume, tag, record.reference)
            rest = [rest[0], make_resident(AttributeType.REPARSE_POINT, value).with_instance(len(rest) + 2), *rest[1:]]
        now_ns = fs.now_ns()
        inode = (NtfsDirectory if is_directory else NtfsInode)(fs, entry, Facts(
            kind, Owner(mode, uid, gid), (now_ns, now_ns, now_ns, now_ns), 1 if units is not None else 0, size, rdev,
            target, attributes, fs.security_id(), tag))
        times = inode.times()
        standard = make_resident(AttributeType.STANDARD_INFORMATION, STANDARD_INFORMATION.pack(
            *times, attributes, 0, inode.security_id, 0, 0))
        record.attributes = [standard, *rest]
        record.next_instance = len(rest) + 2
        if units is not None:
            named = make_name(self.entry.base.reference, units, Namespace.POSIX,
                              (*times, 0, 0, attributes | _KIND_DIRECTORY if is_directory else attributes, tag))
            record.attributes.insert(1, make_resident(AttributeType.FILE_NAME, named, indexed=True, instance=1))
            insert(self.index, fs.volume.collator.key(units), index_entry(record.reference, named))
            record.link_count = 1
        fs.volume.adopt(entry)
        if entry.room < 0:
            entry.settle()
        if units is None:
            fs.volume.orphans.add(record.number)
            fs.volume.transaction.on_failure(fs.volume.orphans.discard, record.number)
        return inode

    def link(self, name: bytes, inode: Inode) -> None:
        self.fs.require_writable()
        assert isinstance(inode, NtfsInode)
        if isinstance(inode, StreamInode):
            raise KernelError(Errno.EPERM)
        if inode.nlink >= LINKS_MOST:
            raise KernelError(Errno.EMLINK)
        self.fs.volume.run(self._add_name, from_bytes(name), inode)
        inode.nlink += 1
        inode.touch_changed()
        self.touch_modified()

    def _add_name(self, units: str, inode: NtfsInode) -> None:
        named = make_name(self.entry.base.reference, units, Namespace.POSIX, inode.summary())
        base = inode.entry.base
        insert(self.index, self.fs.volume.collator.key(units), index_entry(base.reference, named))
        inode.entry.change(base)
        base.link_count += 1
        inode.entry.add(make_resident(AttributeType.FILE_NAME, named, indexed=True))
        self.fs.has_a_name(inode)
        inode.entry.settle()

    # -- removing --

    def unlink(self, name: bytes) -> None:
        self.fs.require_writable()
        inode = self.fs.volume.run(self._unlink, from_bytes(name))
        inode.nlink -= 1
        self._lost_a_name(inode)
        self.touch_modified()

    def rmdir(self, name: bytes) -> None:
        self.fs.require_writable()
        inode = self._find(name)
        if not isinstance(inode, NtfsDirectory):
            raise KernelError(Errno.ENOTDIR)
        if not inode.index.is_empty:
            raise KernelError(Errno.ENOTEMPTY)
        self.fs.volume.run(self._unlink, from_bytes(name))
        inode.nlink = 0
        self._lost_a_name(inode)
        self.touch_modified()

    def _lost_a_name(self, inode: NtfsInode) -> None:
        if inode.entry.base.in_use:
            inode.touch_changed()
        else:
            self.fs.released(inode)

    def _find(self, name: bytes) -> NtfsInode:
        inode = cast(NtfsInode, self.lookup(name))
        if isinstance(inode, StreamInode):
            raise KernelError(Errno.EPERM)
        return inode

    def _unlink(self, units: str, *, keep: bool = False) -> NtfsInode:
        """Remove a name and, if it is one of a pair, the other; gives the file.

        One that has no other and is not open goes with it at once, unless it is to be kept for another name.
        """
        fs, parent = self.fs, self.entry.number
        found = remove(self.index, fs.volume.collator.key(units))
        reference = int.from_bytes(found[:8], "little")
        if self._is_hidden(reference):
            raise KernelError(Errno.EPERM)
        inode = fs.inode(reference)
        entry = inode.entry
        names = entry.values(_FILE_NAME)
        wanted = found[_NAME_LENGTH_OFFSET : _NAME_LENGTH_OFFSET + 2 + 2 * len(units)]
        gone = [name for name in names
                if name[_LENGTH_IN_VALUE:] == wanted and int.from_bytes(name[:6], "little") == parent]
        if not gone:
            raise CorruptError(f"MFT record {entry.number} does not have the name that leads to it")
        pair = _PAIRS.get(found[_NAMESPACE_OFFSET])
        if pair is not None:
            others = [name for name in names
                      if int.from_bytes(name[:6], "little") == parent and name_of(name)[1] == pair]
            gone = [*gone[:1], *others[:1]]
            for name in others[:1]:
                remove(self.index, key_of(fs, name))
        if len(gone) == len(names) and not inode.open_count and not keep:
            if inode.tag:
                reparse.release_file(fs.volume, entry)
            else:
                entry.release()
            return inode
        entry.change(entry.base)
        for attribute in [attribute for attribute in entry.all(_FILE_NAME) if attribute.value in gone]:
            entry.remove(attribute)
        entry.base.link_count = max(entry.base.link_count - len(gone), 0)
        entry.settle()
        if len(gone) == len(names):
            fs.lost_its_names(inode)
        return inode

    # -- renaming --

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise KernelError(Errno.EINVAL)
        self.fs.require_writable()
        assert isinstance(new_directory, NtfsDirectory)
        inode, target = self._find(name), None
        try:
            target = new_directory._find(new_name)
        except KernelError as error:
            if error.errno != Errno.ENOENT:
                raise
        if target is inode and not flags & RENAME_EXCHANGE:
            return
        if isinstance(target, NtfsDirectory) and not flags & RENAME_EXCHANGE and not target.index.is_empty:
            raise KernelError(Errno.ENOTEMPTY)
        exchange = bool(flags & RENAME_EXCHANGE)
        self.fs.volume.run(self._rename, from_bytes(name), inode, new_directory, from_bytes(new_name), target, exchange)
        if target is not None:
            if not exchange:
                target.nlink = 0 if target.is_directory else target.nlink - 1
            self._lost_a_name(target)
        inode.touch_changed()
        self.touch_modified()
        if new_directory is not self:
            new_directory.touch_modified()

    def _rename(self, units: str, inode: NtfsInode, new_directory: NtfsDirectory, new_units: str,
                target: NtfsInode | None, exchange: bool) -> None:
        if target is not None:
            new_directory._unlink(new_units, keep=exchange)
        self._unlink(units, keep=True)
        new_directory._add_name(new_units, inode)
        if exchange and target is not None:
            self._add_name(units, target)


@lru_cache(maxsize=1024)
def _usual_attributes(content: Attribute, mode: int, uid: int, gid: int, device: tuple[int, int] | None) \
        -> list[Attribute]:
    """What a new file has behind its names, numbered from 2: nothing or an empty index, and owner and mode."""
    owner: tuple[Attribute, ...] = ()
    if device or uid or gid or mode & PERMISSION_BITS != DEFAULT_PERMISSIONS:
        owner = owner_attributes(mode, uid, gid, device)
    return [attribute.with_instance(number) for number, attribute in enumerate((content, *owner), 2)]


def new_index(index_bytes: int, cluster_bytes: int) -> Attribute:
    """INDEX_ROOT of an empty directory."""
    per_block = index_bytes // cluster_bytes if cluster_bytes <= index_bytes else index_bytes // 512
    value = (INDEX_ROOT.pack(AttributeType.FILE_NAME, Collation.FILE_NAME, index_bytes, per_block)
             + INDEX_HEADER.pack(INDEX_HEADER.size, INDEX_HEADER.size + INDEX_ENTRY.size,
                                 INDEX_HEADER.size + INDEX_ENTRY.size, 0)
             + INDEX_ENTRY.pack(0, INDEX_ENTRY.size, 0, EntryFlags.END, 0))
    return make_resident(AttributeType.INDEX_ROOT, value, "$I30")


def key_of(fs: NtfsFilesystem, value: bytes) -> NameKey:
    """By what a FILE_NAME is found."""
    return fs.volume.collator.key(name_of(value)[2])
