"""$AttrDef: the table of attribute types that every volume carries, as NTFS 3.1 has it.

Sixteen entries of 160 bytes, in the order of their type codes; the last one is all zeros. Sizes are those of the value.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from jefeos.structs import Struct, raw, s64, u32


class AttributeRule(IntFlag):
    """What holds for all attributes of a type."""

    INDEXABLE = 0x02
    RESIDENT = 0x40
    """Always resident."""
    LOGGED = 0x80
    """Changes of the value are logged also where it is not resident."""


class AttributeDefinition(Struct):
    """One entry of $AttrDef."""

    name: bytes = raw(128)
    type: int = u32()
    display_rule: int = u32()
    collation_rule: int = u32()
    flags: int = u32()
    minimum_size: int = s64()
    maximum_size: int = s64()


UNLIMITED: Final = -1

DEFINITIONS: Final = (
    ("$STANDARD_INFORMATION", 0x10, AttributeRule.RESIDENT, 48, 72),
    ("$ATTRIBUTE_LIST", 0x20, AttributeRule.LOGGED, 0, UNLIMITED),
    ("$FILE_NAME", 0x30, AttributeRule.RESIDENT | AttributeRule.INDEXABLE, 68, 578),
    ("$OBJECT_ID", 0x40, AttributeRule.RESIDENT, 0, 256),
    ("$SECURITY_DESCRIPTOR", 0x50, AttributeRule.LOGGED, 0, UNLIMITED),
    ("$VOLUME_NAME", 0x60, AttributeRule.RESIDENT, 2, 256),
    ("$VOLUME_INFORMATION", 0x70, AttributeRule.RESIDENT, 12, 12),
    ("$DATA", 0x80, AttributeRule(0), 0, UNLIMITED),
    ("$INDEX_ROOT", 0x90, AttributeRule.RESIDENT, 0, UNLIMITED),
    ("$INDEX_ALLOCATION", 0xA0, AttributeRule.LOGGED, 0, UNLIMITED),
    ("$BITMAP", 0xB0, AttributeRule.LOGGED, 0, UNLIMITED),
    ("$REPARSE_POINT", 0xC0, AttributeRule.LOGGED, 0, 16384),
    ("$EA_INFORMATION", 0xD0, AttributeRule.RESIDENT, 8, 8),
    ("$EA", 0xE0, AttributeRule(0), 0, 65536),
    ("$LOGGED_UTILITY_STREAM", 0x100, AttributeRule.LOGGED, 0, 65536),
)
"""Name, type code, rules, smallest and largest value in bytes."""


def attribute_definitions() -> bytes:
    """The contents of $AttrDef."""
    entries = [
        AttributeDefinition(
            name=name.encode("utf-16-le"), type=code, flags=flags, minimum_size=minimum, maximum_size=maximum
        )
        for name, code, flags, minimum, maximum in DEFINITIONS
    ]
    return b"".join([entry.pack() for entry in [*entries, AttributeDefinition()]])
