"""$Secure: the security descriptors of a volume, each once, by number.

    $STANDARD_INFORMATION.security_id --$SII--> offset in $SDS --> header, descriptor
    hash of a descriptor              --$SDH--> the same, to find whether it is there already

The stream $SDS is made of blocks of 256 KiB in pairs: the second of each pair is a copy of the first. An entry is a
header (`SecurityDescriptorHeader`) and the descriptor, begins at a multiple of 16 and lies within one block.

A descriptor is in the self-relative form of [MS-DTYP] 2.4.6: header, then the discretionary ACL, owner and group.
JefeOS does not judge access by them; it writes sane ones, so that Windows can.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from attrs import frozen
from jefeos.structs import Struct, u8, u16, u32

from jefeos_fs_ntfs.layout import FIRST_SECURITY_ID, SDS_BLOCK_BYTES, SecurityDescriptorHeader

SDS_ALIGNMENT: Final = 16
MASK_32: Final = 0xFFFF_FFFF

SELF_RELATIVE_WITH_DACL: Final = 0x8004
"""SE_SELF_RELATIVE and SE_DACL_PRESENT."""
ACL_REVISION: Final = 2
INHERIT_TO_ALL: Final = 0x03
"""OBJECT_INHERIT_ACE and CONTAINER_INHERIT_ACE."""


class AccessMask(IntFlag):
    """Rights in an access control entry, as the composites that Windows names."""

    FILE_READ = 0x12_0089
    FILE_READ_WRITE = 0x12_019F
    FILE_ALL = 0x1F_01FF


class Authority(IntEnum):
    """Identifier authorities of SIDs."""

    WORLD = 1
    NT = 5


class DescriptorHeader(Struct):
    """SECURITY_DESCRIPTOR, self-relative."""

    revision: int = u8(1)
    reserved: int = u8()
    control: int = u16(SELF_RELATIVE_WITH_DACL)
    owner: int = u32()
    group: int = u32()
    sacl: int = u32()
    dacl: int = u32()


class AclHeader(Struct):
    """ACL."""

    revision: int = u8(ACL_REVISION)
    reserved: int = u8()
    size_bytes: int = u16()
    count: int = u16()
    reserved_2: int = u16()


class AceHeader(Struct):
    """ACCESS_ALLOWED_ACE, up to its SID."""

    type: int = u8()
    flags: int = u8()
    size_bytes: int = u16()
    mask: int = u32()


def make_sid(authority: Authority, *subauthorities: int) -> bytes:
    """A SID, as ``make_sid(Authority.NT, 32, 544)`` for S-1-5-32-544."""
    return (
        bytes((1, len(subauthorities)))
        + authority.to_bytes(6, "big")
        + b"".join([part.to_bytes(4, "little") for part in subauthorities])
    )


EVERYONE: Final = make_sid(Authority.WORLD, 0)
LOCAL_SYSTEM: Final = make_sid(Authority.NT, 18)
ADMINISTRATORS: Final = make_sid(Authority.NT, 32, 544)


@frozen
class Grant:
    """One entry of an access control list: who may do what."""

    sid: bytes
    mask: AccessMask
    flags: int = 0


def make_descriptor(grants: tuple[Grant, ...], owner: bytes = ADMINISTRATORS, group: bytes = ADMINISTRATORS) -> bytes:
    """A security descriptor that allows what ``grants`` say."""
    entries = b"".join(
        [
            AceHeader(flags=grant.flags, size_bytes=AceHeader.size + len(grant.sid), mask=grant.mask).pack() + grant.sid
            for grant in grants
        ]
    )
    acl = AclHeader(size_bytes=AclHeader.size + len(entries), count=len(grants)).pack() + entries
    owner_offset = DescriptorHeader.size + len(acl)
    header = DescriptorHeader(owner=owner_offset, group=owner_offset + len(owner), dacl=DescriptorHeader.size)
    return header.pack() + acl + owner + group


def system_descriptor(mask: AccessMask) -> bytes:
    """For the volume's own files: the system and administrators, nobody else."""
    return make_descriptor((Grant(LOCAL_SYSTEM, mask), Grant(ADMINISTRATORS, mask)))


def open_descriptor() -> bytes:
    """For ordinary files and directories, as on a volume without owners: everyone may do everything."""
    return make_descriptor((Grant(EVERYONE, AccessMask.FILE_ALL, INHERIT_TO_ALL),))


def descriptor_hash(descriptor: bytes) -> int:
    """The hash by which $SDH finds a descriptor: over its 32-bit words, the last one padded with zeros."""
    value = 0
    for start in range(0, len(descriptor), 4):
        word = int.from_bytes(descriptor[start : start + 4], "little")
        value = (word + (value << 3 | value >> 29)) & MASK_32
    return value


def security_stream(descriptors: tuple[bytes, ...]) -> tuple[bytes, tuple[SecurityDescriptorHeader, ...]]:
    """The contents of $SDS with these descriptors, numbered from `FIRST_SECURITY_ID`, and their headers."""
    stream = bytearray()
    headers = []
    for index, descriptor in enumerate(descriptors):
        stream += bytes(-len(stream) % SDS_ALIGNMENT)
        header = SecurityDescriptorHeader(
            hash=descriptor_hash(descriptor),
            security_id=FIRST_SECURITY_ID + index,
            offset=len(stream),
            length=SecurityDescriptorHeader.size + len(descriptor),
        )
        stream += header.pack() + descriptor
        headers.append(header)
    return bytes(stream) + bytes(SDS_BLOCK_BYTES - len(stream)) + bytes(stream), tuple(headers)
