"""Extended attributes of the medium (EA), and in them what NTFS itself has no room for: mode, owner and device.

Linux on Windows keeps these in EAs named ``$LXUID``, ``$LXGID``, ``$LXMOD`` (4 bytes each) and ``$LXDEV`` (two times 4
bytes), and so do we: such a volume carries permissions to there and back. A file without them belongs to root and has
mode 0755 (0555 if it is read-only for DOS), as nothing on the medium tells who may do what in Linux's terms.

    EA              entry | entry …      entry: offset of the next | flags | name | NUL | value, to a multiple of 4
    EA_INFORMATION  their sizes
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.errors import CorruptError

from jefeos_fs_ntfs.attribute import Attribute, make_resident
from jefeos_fs_ntfs.layout import EA_ENTRY, AttributeType, EaInformation

if TYPE_CHECKING:
    from jefeos_fs_ntfs.entry import Entry

UID, GID, MODE, DEVICE = b"$LXUID", b"$LXGID", b"$LXMOD", b"$LXDEV"
DEFAULT_PERMISSIONS: Final = 0o755


@frozen
class Owner:
    """What the EAs of Linux say."""

    mode: int | None = None
    """Complete, with the type."""
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)


def parse_entries(data: bytes) -> dict[bytes, bytes]:
    """All entries by name. Raises CorruptError."""
    entries: dict[bytes, bytes] = {}
    offset = 0
    while offset + EA_ENTRY.size <= len(data):
        step, _, name_length, value_length = EA_ENTRY.unpack_from(data, offset)
        value_start = offset + EA_ENTRY.size + name_length + 1
        if value_start + value_length > len(data) or step and step < EA_ENTRY.size + name_length + 1 + value_length:
            raise CorruptError(f"$EA: an entry at {offset} of {len(data)} does not fit")
        entries[data[offset + EA_ENTRY.size : value_start - 1]] = data[value_start : value_start + value_length]
        if not step:
            break
        offset += step
    return entries


def pack_entries(entries: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """The values of EA and EA_INFORMATION."""
    pieces: list[bytes] = []
    packed = 0
    for name, value in entries.items():
        body = name + b"\0" + value
        length = (EA_ENTRY.size + len(body) + 3) & ~3
        pieces.append((EA_ENTRY.pack(length, 0, len(name), len(value)) + body).ljust(length, b"\0"))
        packed += 5 + len(name) + len(value)
    data = b"".join(pieces)
    information = EaInformation(ea_length=packed & 0xFFFF, need_ea_count=0, ea_query_length=len(data))
    return data, information.pack()


@lru_cache(maxsize=1024)
def read_owner(data: bytes) -> Owner:
    """Mode, owner and device of the value of EA; damaged ones count as none."""
    try:
        entries = parse_entries(data)
    except CorruptError:
        return Owner()
    mode = entries.get(MODE)
    device = entries.get(DEVICE, b"")
    return Owner(
        mode=int.from_bytes(mode[:4], "little") if mode is not None else None,
        uid=int.from_bytes(entries.get(UID, b"")[:4], "little"),
        gid=int.from_bytes(entries.get(GID, b"")[:4], "little"),
        device=(int.from_bytes(device[:4], "little"), int.from_bytes(device[4:8], "little")),
    )


def owner_attributes(mode: int, uid: int, gid: int, device: tuple[int, int] | None) -> tuple[Attribute, Attribute]:
    """EA_INFORMATION and EA of a new file."""
    data, information = pack_entries(_owner_entries(mode, uid, gid, device))
    return make_resident(AttributeType.EA_INFORMATION, information), make_resident(AttributeType.EA, data)


def store_owner(entry: Entry, mode: int, uid: int, gid: int, device: tuple[int, int] | None) -> None:
    """Change them in a file, leaving its other EAs."""
    old = entry.value(AttributeType.EA) or b""
    entries = parse_entries(old)
    entries.update(_owner_entries(mode, uid, gid, device))
    data, information = pack_entries(entries)
    if data != old:
        entry.put_value(AttributeType.EA, data)
        entry.put_value(AttributeType.EA_INFORMATION, information)


def _owner_entries(mode: int, uid: int, gid: int, device: tuple[int, int] | None) -> dict[bytes, bytes]:
    entries = {UID: uid.to_bytes(4, "little"), GID: gid.to_bytes(4, "little"), MODE: mode.to_bytes(4, "little")}
    if device is not None:
        entries[DEVICE] = device[0].to_bytes(4, "little") + device[1].to_bytes(4, "little")
    return entries
