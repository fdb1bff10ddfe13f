"""$Secure and the other view indexes, $UpCase and $AttrDef."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import Factory, define
from jefeos.errors import CorruptError, KernelError

from jefeos_fs_ntfs.check_index import IndexEntry, IndexWalk, Order
from jefeos_fs_ntfs.check_state import Findings, Node
from jefeos_fs_ntfs.layout import REFERENCE_MASK, AttributeType, Collation, MetaFile, SecurityDescriptorHeader
from jefeos_fs_ntfs.names import UPCASE_UNITS
from jefeos_fs_ntfs.security import descriptor_hash

if TYPE_CHECKING:
    from jefeos_fs_ntfs.check_mft import MftReader, Stream

REPARSE_KEY: Final = struct.Struct("<IQ")
LARGEST_DESCRIPTOR: Final = 1 << 16
MOST_MISSING: Final = 16


def order_numbers(key: bytes) -> tuple[int, ...]:
    """NTOFS_ULONG and NTOFS_ULONGS: little-endian 32-bit numbers, one after the other."""
    if len(key) % 4 or not key:
        raise CorruptError(f"a key of {len(key)} bytes")
    return struct.unpack(f"<{len(key) // 4}I", key)


def order_binary(key: bytes) -> tuple[int, bytes]:
    """NTOFS_SID: the shorter first, then by bytes."""
    return len(key), key


VIEWS: Final[tuple[tuple[str, str, Collation, Order], ...]] = (
    ("$Quota", "$O", Collation.NTOFS_SID, order_binary),
    ("$Quota", "$Q", Collation.NTOFS_ULONG, order_numbers),
    ("$ObjId", "$O", Collation.NTOFS_ULONGS, order_numbers),
    ("$Reparse", "$R", Collation.NTOFS_ULONGS, order_numbers),
)
"""View indexes of files in $Extend."""


@define
class SecurityCheck:
    """The files of one volume that serve all others."""

    reader: MftReader
    nodes: dict[int, Node]
    unreadable: set[int]
    findings: Findings
    unnoted: list[Node] = Factory(list)
    """Files with a reparse point that $Reparse does not know."""
    outdated: list[tuple[int, int]] = Factory(list)
    """Entries of $Reparse, tag and file reference, that lead to no such file."""

    def check(self) -> None:
        """All of them."""
        self._check_secure()
        for node in self.nodes.values():
            for name in node.names:
                if name.parent & REFERENCE_MASK == MetaFile.EXTEND:
                    for file, index, collation, order in VIEWS:
                        if file == name.name:
                            entries = self._walk(node.number, file, index, collation, order)
                            if file == "$Reparse":
                                self._check_reparse_points(entries)

    def _walk(self, number: int, file: str, index: str, collation: Collation, order: Order) -> list[IndexEntry]:
        walk = IndexWalk(self.reader, number, index, 0, collation, order)
        entries = list(walk.entries())
        for fault in walk.faults:
            self.findings.add(f"{file}:{index}", fault.what, harmless=fault.harmless)
        return entries

    def _check_reparse_points(self, entries: list[IndexEntry]) -> None:
        """$Reparse has the tag and the file of every reparse point, so that they can be found at once."""
        noted: set[int] = set()
        for entry in entries:
            if len(entry.key) != REPARSE_KEY.size:
                continue
            tag, reference = REPARSE_KEY.unpack(entry.key)
            node = self.nodes.get(reference & REFERENCE_MASK)
            there = node is not None and node.reference == reference
            if node is not None and there and (AttributeType.REPARSE_POINT, "") in node.streams:
                noted.add(node.number)
            elif reference & REFERENCE_MASK not in self.unreadable:
                number = reference & REFERENCE_MASK
                self.findings.add("$Reparse", f"leads to record {number}, which has no reparse point", harmless=True)
                self.outdated.append((tag, reference))
        for node in self.nodes.values():
            if (AttributeType.REPARSE_POINT, "") in node.streams and node.number not in noted:
                self.findings.add("$Reparse", f"does not have the reparse point of record {node.number}", harmless=True)
                self.unnoted.append(node)

    def _check_secure(self) -> None:
        if (AttributeType.INDEX_ROOT, "$SII") not in self._streams(MetaFile.SECURE):
            return  # before NTFS 3.0 every file had its own descriptor
        number = MetaFile.SECURE
        by_id = self._walk(number, "$Secure", "$SII", Collation.NTOFS_ULONG, order_numbers)
        by_hash = self._walk(number, "$Secure", "$SDH", Collation.NTOFS_SECURITY_HASH, order_numbers)
        try:
            stream = self.reader.stream(number, AttributeType.DATA, "$SDS")
        except KernelError as error:
            self.findings.add("$Secure:$SDS", str(error.args[0]))
            return
        known = {}
        for entry in by_id:
            if len(entry.data) >= SecurityDescriptorHeader.size and len(entry.key) == 4:
                header = SecurityDescriptorHeader.parse(entry.data)
                known[int.from_bytes(entry.key, "little")] = header
                self._check_descriptor(stream, header)
        hashed = {entry.key[4:8] for entry in by_hash}
        for security_id in known:
            if security_id.to_bytes(4, "little") not in hashed:
                self.findings.add("$Secure:$SDH", f"descriptor {security_id} is in $SII only")
        missing: dict[int, int] = {}
        for node in self.nodes.values():
            if node.security_id and node.security_id not in known:
                missing.setdefault(node.security_id, node.number)
        for security_id, first in list(missing.items())[:MOST_MISSING]:
            self.findings.add(f"MFT record {first}", f"its security descriptor {security_id} is not in $Secure")

    def _check_descriptor(self, stream: Stream, header: SecurityDescriptorHeader) -> None:
        where = f"$Secure:$SDS, descriptor {header.security_id}"
        size = SecurityDescriptorHeader.size
        if not size < header.length <= LARGEST_DESCRIPTOR or header.offset + header.length > stream.size:
            self.findings.add(where, f"{header.length} bytes at {header.offset}, in a stream of {stream.size}")
            return
        try:
            data = self.reader.read(stream, header.offset, header.length)
        except KernelError as error:
            self.findings.add(where, str(error.args[0]))
            return
        if data[:size] != header.pack():
            self.findings.add(where, "its entry in $SII differs from what is there")
        elif descriptor_hash(data[size:]) != header.hash:
            self.findings.add(where, "its hash is wrong")

    def _streams(self, number: int) -> set[tuple[int, str]]:
        node = self.nodes.get(number)
        return node.streams if node is not None else set()


@lru_cache(maxsize=2)
def upcase_fault(table: bytes) -> str:
    """What is wrong with the contents of $UpCase: its size, the Latin letters, capitals that have capitals."""
    if len(table) != 2 * UPCASE_UNITS:
        return f"has {len(table)} bytes, not {2 * UPCASE_UNITS}"
    units = memoryview(table).cast("H")
    wrong = [unit for unit in range(UPCASE_UNITS) if units[units[unit]] != units[unit]]
    latin = [unit for unit in range(128) if units[unit] != (unit - 32 if ord("a") <= unit <= ord("z") else unit)]
    if latin:
        return f"the capital of {chr(latin[0])!r} is {chr(units[latin[0]])!r}"
    return f"{len(wrong)} capitals have capitals of their own" if len(wrong) > len(units) // 64 else ""
