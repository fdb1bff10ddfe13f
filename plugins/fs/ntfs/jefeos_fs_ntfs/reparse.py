"""Reparse points: symbolic links, junctions, and the special files of Linux.

    LX_SYMLINK      u32 version 2 | target, as its bytes are          what we make
    SYMLINK         offsets and lengths | flags | path buffer         made by Windows: \\\\??\\\\C:\\\\x, x\\\\y
    MOUNT_POINT     offsets and lengths | path buffer                 junctions
    AF_UNIX, LX_FIFO, LX_CHR, LX_BLK                                  no data; the device is in the EAs

Windows' paths are shown as Linux's: ``\\`` becomes ``/``, a drive letter becomes ``/mnt/c``, which is where Linux on
Windows mounts it. Interix made its links as system files that begin with ``IntxLNK``; these are read as well.

Each reparse point stands in the index $R of $Extend/$Reparse, by tag and file; volumes without that file go without.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.errors import CorruptError, KernelError
from jefeos.vfs.flags import S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFSOCK

from jefeos_fs_ntfs.index import Index
from jefeos_fs_ntfs.index_edit import insert, remove
from jefeos_fs_ntfs.layout import VIEW_ENTRY, AttributeType, ReparsePoint, ReparseTag, SymbolicLinkReparse
from jefeos_fs_ntfs.names import to_bytes

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry
    from jefeos_fs_ntfs.volume import Volume

LX_SYMLINK_VERSION: Final = b"\2\0\0\0"
SYMLINK_FLAG_BYTES: Final = 4
INTERIX_LINK: Final = b"IntxLNK\1"
INTERIX_CHARACTER: Final = b"IntxCHR\0"
INTERIX_BLOCK: Final = b"IntxBLK\0"
REPARSE_BYTES_MAX: Final = 16 << 10

KIND_OF_TAG: Final = {
    int(ReparseTag.LX_SYMLINK): S_IFLNK,
    int(ReparseTag.SYMLINK): S_IFLNK,
    int(ReparseTag.MOUNT_POINT): S_IFLNK,
    int(ReparseTag.AF_UNIX): S_IFSOCK,
    int(ReparseTag.LX_FIFO): S_IFIFO,
    int(ReparseTag.LX_CHR): S_IFCHR,
    int(ReparseTag.LX_BLK): S_IFBLK,
}
TAG_OF_KIND: Final = {S_IFSOCK: ReparseTag.AF_UNIX, S_IFIFO: ReparseTag.LX_FIFO, S_IFCHR: ReparseTag.LX_CHR,
                      S_IFBLK: ReparseTag.LX_BLK}
_KEY: Final = struct.Struct("<IQ")


@frozen
class Meaning:
    """What a file is to Linux."""

    kind: int
    """The type part of st_mode; 0: the tag says nothing to us."""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)


def make(tag: int, data: bytes = b"") -> bytes:
    """The value of REPARSE_POINT."""
    return ReparsePoint(reparse_tag=tag, reparse_data_length=len(data)).pack() + data


def make_symlink(target: bytes) -> bytes:
    """The value of REPARSE_POINT for a symbolic link."""
    return make(ReparseTag.LX_SYMLINK, LX_SYMLINK_VERSION + target)


def understand(value: bytes) -> Meaning:
    """What a reparse point means. Raises CorruptError."""
    head = ReparsePoint.parse(value)
    data = value[ReparsePoint.size :][: head.reparse_data_length]
    kind = KIND_OF_TAG.get(head.reparse_tag, 0)
    if head.reparse_tag == ReparseTag.LX_SYMLINK:
        return Meaning(kind, data[len(LX_SYMLINK_VERSION) :])
    if kind == S_IFLNK:
        return Meaning(kind, _windows_target(data, head.reparse_tag == ReparseTag.SYMLINK))
    return Meaning(kind)


def understand_interix(data: bytes) -> Meaning | None:
    """What the contents of a system file of Interix mean; None if it is an ordinary file."""
    if data.startswith(INTERIX_LINK):
        raw = data[len(INTERIX_LINK) :]
        return Meaning(S_IFLNK, raw[: len(raw) & ~1].decode("utf-16-le", "replace").encode())
    for magic, kind in ((INTERIX_CHARACTER, S_IFCHR), (INTERIX_BLOCK, S_IFBLK)):
        if data.startswith(magic) and len(data) in (16, 24):
            half = (8 + len(data)) // 2
            device = int.from_bytes(data[8:half], "little"), int.from_bytes(data[half:], "little")
            return Meaning(kind, b"", device)
    if not data:
        return Meaning(S_IFIFO)
    return Meaning(S_IFSOCK) if data == b"\0" else None


def _windows_target(data: bytes, is_symlink: bool) -> bytes:
    head = SymbolicLinkReparse.parse(data)
    buffer = data[SymbolicLinkReparse.size + (SYMLINK_FLAG_BYTES if is_symlink else 0) :]
    names = []
    for offset, length in ((head.print_name_offset, head.print_name_length),
                           (head.substitute_name_offset, head.substitute_name_length)):
        if offset + length > len(buffer) or length % 2:
            raise CorruptError("reparse point: a path leaves its buffer")
        names.append(to_bytes(buffer[offset : offset + length].decode("utf-16-le", "surrogatepass")))
    path = (names[0] or names[1]).replace(b"\\", b"/")
    for prefix in (b"/??/", b"//?/"):
        path = path.removeprefix(prefix)
    if path[1:2] == b":" and path[:1].isalpha():
        path = b"/mnt/" + path[:1].lower() + path[2:]
    return path


# -- $Extend/$Reparse --


def note(volume: Volume, tag: int, reference: int) -> None:
    """A reparse point came into being."""
    index = _index(volume)
    if index is not None:
        key = _KEY.pack(tag, reference)
        entry = VIEW_ENTRY.pack(VIEW_ENTRY.size + len(key), 0, 0, 32, len(key), 0, 0) + key
        insert(index, index.key_of(entry.ljust(32, b"\0")), entry.ljust(32, b"\0"))


def forget(volume: Volume, tag: int, reference: int) -> None:
    """A reparse point is gone."""
    index = _index(volume)
    if index is not None:
        key = _KEY.pack(tag, reference)
        entry = (VIEW_ENTRY.pack(0, 0, 0, 32, len(key), 0, 0) + key).ljust(32, b"\0")
        if index.lookup(index.key_of(entry)) is not None:
            remove(index, index.key_of(entry))


def release_file(volume: Volume, entry: Entry) -> None:
    """A file is gone, reparse point and all. Within an operation."""
    value = entry.value(AttributeType.REPARSE_POINT, limit=REPARSE_BYTES_MAX)
    if value is not None and len(value) >= ReparsePoint.size:
        forget(volume, ReparsePoint.parse(value).reparse_tag, entry.base.reference)
    entry.release()


def _index(volume: Volume) -> Index | None:
    number = volume.metadata_file("$Reparse")
    if number is None:
        return None
    try:
        return volume.entry(number).index("$R")
    except KernelError:
        return None


