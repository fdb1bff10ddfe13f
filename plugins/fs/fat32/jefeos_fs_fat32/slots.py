"""Directories as bytes: from 32-byte slots to names, for whoever mounts a volume and for whoever checks it.

    long slot (0x42)  long slot (0x01)  short slot      one entry: `Found`
    long slot ...     without its short slot            an orphan, which nobody shows
    0x00                                                the end; what follows means nothing

A long name counts only if its slots are complete, in order, and carry the checksum of the short name behind them; else
the entry has its short name alone (what old systems that know no long names leave behind).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from attrs import define, field

from jefeos_fs_fat32 import names
from jefeos_fs_fat32.layout import (
    ATTRIBUTES,
    END_OF_DIRECTORY,
    FREE_SLOT,
    LAST_LONG_SLOT,
    LONG_CHECKSUM,
    LONG_ORDER_MASK,
    NAME_UNITS,
    SLOT_BYTES,
    UNITS_A_SLOT,
    Attribute,
    Slot,
)

MOST_LONG_SLOTS: Final = -(-NAME_UNITS // UNITS_A_SLOT)
DOT: Final = b".          "
DOT_DOT: Final = b"..         "
_LONG: Final = int(Attribute.LONG_NAME)
_LONG_MASK: Final = int(Attribute.LONG_NAME_MASK)
_LABEL: Final = int(Attribute.VOLUME_ID)


class Found(NamedTuple):
    """An entry of a directory. ``first`` and ``slot`` are the numbers of its first and of its short name's slot."""

    first: int
    slot: int
    text: str
    short: bytes
    is_long: bool


@define
class Scan:
    """What is in a directory."""

    entries: list[Found] = field(factory=list)
    """Files and directories, without ``.`` and ``..``."""
    dots: dict[bytes, int] = field(factory=dict)
    """The slots of `DOT` and `DOT_DOT`."""
    labels: list[int] = field(factory=list)
    orphans: list[int] = field(factory=list)
    """Long slots that belong to no entry."""
    end: int = 0
    """The number of slots ahead of the end."""


def scan(data: bytes | bytearray) -> Scan:
    """Take a directory apart."""
    result = Scan()
    entries, orphans = result.entries, result.orphans
    pending: list[int] = []
    """Long slots seen so far that wait for their short one."""
    expected = total = 0
    slot = -1
    heads = zip(data[::SLOT_BYTES], data[ATTRIBUTES::SLOT_BYTES], strict=False)
    for slot, (first_byte, attributes) in enumerate(heads):
        if first_byte == END_OF_DIRECTORY:
            break
        if first_byte == FREE_SLOT:
            if pending:
                orphans += pending
                pending = []
            continue
        if attributes & _LONG_MASK == _LONG:
            order = first_byte & LONG_ORDER_MASK
            check = data[slot * SLOT_BYTES + LONG_CHECKSUM]
            if first_byte & LAST_LONG_SLOT:
                orphans += pending
                pending, expected, total = [slot], order, check
                if not 1 <= order <= MOST_LONG_SLOTS:
                    orphans += pending
                    pending = []
            elif pending and order and order == expected - len(pending) and check == total:
                pending.append(slot)
            else:
                orphans += [*pending, slot]
                pending = []
            continue
        start = slot * SLOT_BYTES
        short = bytes(data[start : start + 11])
        if attributes & _LABEL:
            result.labels.append(slot)
            orphans += pending
        elif short in (DOT, DOT_DOT):
            result.dots.setdefault(short, slot)
            orphans += pending
        elif pending and len(pending) == expected and names.checksum(short) == total:
            text = _long_text(data, pending)
            entries.append(Found(pending[0], slot, text, short, True))
            pending = []
            continue
        else:
            orphans += pending
            entries.append(Found(slot, slot, names.short_text(short, data[start + 12]), short, False))
        pending = []
    else:
        slot += 1
    orphans += pending
    result.end = slot
    return result


def _long_text(data: bytes | bytearray, slots: list[int]) -> str:
    parts = [names.units_of(bytes(data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])) for slot in reversed(slots)]
    return names.join_units(b"".join(parts))


def cluster_of(slot: Slot) -> int:
    """The first cluster of an entry, all 32 bits."""
    return slot.cluster_high << 16 | slot.cluster_low


def set_cluster(slot: Slot, cluster: int) -> None:
    """Set the first cluster of an entry."""
    slot.cluster_high, slot.cluster_low = cluster >> 16, cluster & 0xFFFF
