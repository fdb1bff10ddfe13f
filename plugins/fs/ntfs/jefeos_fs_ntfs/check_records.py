"""The scan of the MFT: every record, its attributes and runs, and how records belong together.

    for each record    readable? in use as the bitmap of $MFT says? attributes in order, sizes and runs that fit?
                       its clusters are claimed; base records become `Node`s, the others `ExtensionRecord`s
    then               attribute lists against the records that they name, link counts against names
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define
from jefeos.errors import CorruptError, KernelError

from jefeos_fs_ntfs.attribute import Attribute, type_name
from jefeos_fs_ntfs.check_state import ClusterMap, ExtensionRecord, Findings, Name, Node, Part, say_ranges
from jefeos_fs_ntfs.layout import (
    FILE_MAGIC,
    FILE_NAME,
    NO_CLUSTER,
    REFERENCE_MASK,
    STANDARD_INFORMATION,
    AttributeFlags,
    AttributeType,
    MetaFile,
    RecordFlags,
)
from jefeos_fs_ntfs.names import decode_units
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.runs import Run, decode_runs

if TYPE_CHECKING:
    from jefeos.block.volume import Progress

    from jefeos_fs_ntfs.check_mft import ListEntry, MftReader

FLAGS_OFFSET: Final = 22
IN_USE: Final = int(RecordFlags.IN_USE)
IS_DIRECTORY: Final = int(RecordFlags.IS_DIRECTORY)
RESERVED_WITHOUT_NAME: Final = range(MetaFile.EXTEND + 1, MetaFile.FIRST_FREE)
PARTED: Final = AttributeFlags.SPARSE | AttributeFlags.COMPRESSED


@define
class Extents:
    """What the extents of one attribute add up to."""

    clusters: int = 0
    stored: int = 0
    """Those of them that are no hole."""


class RecordScan:
    """One pass over the MFT, and what comes of it."""

    def __init__(self, reader: MftReader, findings: Findings) -> None:
        self.reader = reader
        self.findings = findings
        self.cluster_bytes = reader.geometry.cluster_bytes
        self.map = ClusterMap(reader.geometry.clusters)
        self.nodes: dict[int, Node] = {}
        self.extensions: dict[int, ExtensionRecord] = {}
        self.unreadable: set[int] = set()
        """Records that may hold something, and cannot be read."""
        self.from_copy: set[int] = set()
        """Records of which $MFTMirr had to be asked."""
        self.abandoned: list[ExtensionRecord] = []
        self.in_use = bytearray(-(-reader.count // 8))
        """What the bitmap of $MFT should say."""
        self._split: dict[tuple[int, int, str], list[tuple[int, int, int]]] = {}
        """(base, type, name) to (lowest VCN, clusters, clusters stored), of attributes in several extents."""
        self._sizes: dict[tuple[int, int, str], tuple[int, int, int, int | None]] = {}

    def scan(self, bitmap: bytes, progress: Progress) -> None:
        """Everything. ``bitmap`` is that of $MFT."""
        count = self.reader.count
        for number, raw in self.reader.raw_records():
            if not number % 1024:
                progress(number, count)
            marked = bool(number // 8 < len(bitmap) and bitmap[number // 8] >> number % 8 & 1)
            self._record(number, raw, marked)
            if self.map.hopeless:
                self.findings.add("$MFT", f"files lay claim to the same clusters over and over, up to record {number}")
                return
        progress(count, count)
        for node in list(self.nodes.values()):
            if node.has_list:
                self._check_list(node)
        self._check_extensions()
        self._check_split()

    # -- one record --

    def _record(self, number: int, raw: bytes | None, marked: bool) -> None:
        where = f"MFT record {number}"
        fault = None
        if raw is None:
            fault = "cannot be read from the medium"
        elif raw[:4] != FILE_MAGIC:
            fault = f"begins with {raw[:4]!r}, not with 'FILE'"
        elif not int.from_bytes(raw[FLAGS_OFFSET : FLAGS_OFFSET + 2], "little") & IN_USE:
            return
        else:
            try:
                self._decoded(MftRecord.parse(number, raw))
                return
            except CorruptError as error:
                fault = _without(error, where)
        if not marked:
            return  # nobody said that there is something
        self._use(number)
        self.findings.add(where, fault)
        copy = self.reader.copy_of(number)
        if copy is None:
            self.unreadable.add(number)
        else:
            self.from_copy.add(number)
            self._decoded(copy)

    def _decoded(self, record: MftRecord) -> None:
        self._use(record.number)
        try:
            self._claim(record)
            if record.base:
                self._extension(record)
            else:
                self._base(record)
        except CorruptError as error:
            where = f"MFT record {record.number}"
            self.unreadable.add(record.number)
            self.findings.add(where, _without(error, where))

    def _use(self, number: int) -> None:
        self.in_use[number // 8] |= 1 << number % 8

    def _base(self, record: MftRecord) -> None:
        where = f"MFT record {record.number}"
        node = Node(record.number, record.sequence, bool(record.flags & IS_DIRECTORY), record.link_count)
        for attribute in record.attributes:
            node.streams.add((attribute.type, attribute.name))
            if attribute.type == AttributeType.FILE_NAME:
                node.names.append(parse_name(attribute.value))
            elif attribute.type == AttributeType.STANDARD_INFORMATION:
                value = attribute.value
                if len(value) >= STANDARD_INFORMATION.size:
                    node.security_id = STANDARD_INFORMATION.unpack_from(value)[6]
            elif attribute.type == AttributeType.ATTRIBUTE_LIST:
                node.has_list = True
        if (AttributeType.STANDARD_INFORMATION, "") not in node.streams:
            self.findings.add(where, "has no $STANDARD_INFORMATION")
        self.nodes[record.number] = node

    def _extension(self, record: MftRecord) -> None:
        names = [parse_name(one.value) for one in record.attributes if one.type == AttributeType.FILE_NAME]
        parts = [part_of(attribute) for attribute in record.attributes]
        self.extensions[record.number] = ExtensionRecord(record.number, record.sequence, record.base, names, parts)

    def _claim(self, record: MftRecord) -> None:
        where = f"MFT record {record.number}"
        before = 0
        seen: set[int] = set()
        for attribute in record.attributes:
            if attribute.type < before:
                self.findings.add(where, f"{type_name(attribute.type)} stands behind {type_name(before)}")
            before = attribute.type
            if attribute.instance in seen:
                self.findings.add(where, f"two attributes have the instance {attribute.instance}")
            seen.add(attribute.instance)
            if not attribute.resident:
                self._claim_runs(record, attribute, where)

    def _claim_runs(self, record: MftRecord, attribute: Attribute, where: str) -> None:
        extent = attribute.extent
        what = type_name(attribute.type) + (f":{attribute.name}" if attribute.name else "")
        try:
            runs = decode_runs(extent.pairs, self.map.clusters, extent.clusters)
        except CorruptError as error:
            self.unreadable.add(record.number)
            self.findings.add(where, f"{what}: {error.args[0]}")
            return
        crossed: list[Run] = []
        stored = 0
        for lcn, length in runs:
            if lcn != NO_CLUSTER:
                crossed += self.map.claim(lcn, length)
                stored += length
        if crossed:
            self.findings.add(where, f"{what} has clusters that belong to another file too: {say_ranges(crossed[:8])}")
        key = record.base_number, attribute.type, attribute.name
        if not extent.lowest_vcn:
            compressed = extent.compressed_size if attribute.flags & PARTED else None
            self._sizes[key] = extent.allocated_size, extent.data_size, extent.initialized_size, compressed
        self._split.setdefault(key, []).append((extent.lowest_vcn, extent.clusters, stored))

    # -- how records belong together --

    def _check_split(self) -> None:
        """The extents of each attribute: no gap between them, and sizes that fit their sum."""
        for (number, kind, name), parts in self._split.items():
            where = f"MFT record {number}"
            what = type_name(kind) + (f":{name}" if name else "")
            vcn = stored = 0
            for lowest, clusters, kept in sorted(parts):
                if lowest != vcn:
                    self.findings.add(where, f"{what}: an extent begins at cluster {lowest}, and {vcn} is next")
                    break
                vcn += clusters
                stored += kept
            else:
                allocated, size, initialized, compressed = self._sizes[number, kind, name]
                if not initialized <= size <= allocated or allocated != vcn * self.cluster_bytes:
                    self.findings.add(
                        where, f"{what}: {initialized} bytes initialised of {size} in {allocated}, with {vcn} clusters"
                    )
                elif compressed is not None and compressed != stored * self.cluster_bytes:
                    self.findings.add(where, f"{what}: {compressed} bytes are said to be stored in {stored} clusters")

    def _check_list(self, node: Node) -> None:
        """Each entry of an attribute list leads to an attribute, and each attribute stands in the list."""
        where = f"MFT record {node.number}"
        try:
            base = self.reader.record(node.number)
            entries = self.reader.attribute_list(base)
        except KernelError as error:
            self.unreadable.add(node.number)
            self.findings.add(where, f"its attribute list: {_without(error, where)}")
            return
        parts = [part_of(one) for one in base.attributes if one.type != AttributeType.ATTRIBUTE_LIST]
        listed: dict[int, set[Part]] = {}
        for entry in entries:
            part = entry.type, entry.name, entry.lowest_vcn, entry.instance
            listed.setdefault(entry.reference & REFERENCE_MASK, set()).add(part)
            node.streams.add((entry.type, entry.name))
            if entry.reference & REFERENCE_MASK != node.number:
                self._check_entry(node, entry, where)
        for missing in set(parts) - listed.pop(node.number, set()):
            self.findings.add(where, f"its {type_name(missing[0])} is not in its attribute list")
        for other, wanted in listed.items():
            extension = self.extensions.get(other)
            if extension is None or extension.base != node.reference:
                continue  # said already
            node.names += extension.names
            for missing in wanted - set(extension.attributes):
                what = f"its attribute list names a {type_name(missing[0])} that record {other} has not"
                self.findings.add(where, what)
            for more in set(extension.attributes) - wanted:
                self.findings.add(where, f"a {type_name(more[0])} in record {other} is not in its attribute list")

    def _check_entry(self, node: Node, entry: ListEntry, where: str) -> None:
        number = entry.reference & REFERENCE_MASK
        extension = self.extensions.get(number)
        if extension is None or extension.base != node.reference or extension.sequence != entry.reference >> 48:
            self.unreadable.add(node.number)
            what = f"its attribute list looks for {type_name(entry.type)} in record {number}, which is not its own"
            self.findings.add(where, what)

    def _check_extensions(self) -> None:
        """Extension records that nobody lists: what they hold is out of reach."""
        for extension in self.extensions.values():
            node = self.nodes.get(extension.base_number)
            where = f"MFT record {extension.number}"
            if extension.base_number in self.unreadable:
                continue
            if node is None or node.reference != extension.base:
                what = f"belongs to record {extension.base_number}, which is another file"
            elif not node.has_list:
                what = f"belongs to record {node.number}, which has no attribute list"
            else:
                continue
            self.abandoned.append(extension)
            self.findings.add(where, what, harmless=True)


def part_of(attribute: Attribute) -> Part:
    """What an attribute list says of one."""
    vcn = 0 if attribute.resident else attribute.extent.lowest_vcn
    return attribute.type, attribute.name, vcn, attribute.instance


def parse_name(value: bytes) -> Name:
    """A FILE_NAME. Raises CorruptError."""
    if len(value) < FILE_NAME.size:
        raise CorruptError(f"$FILE_NAME: {len(value)} bytes are too few")
    parent, *_, units, namespace = FILE_NAME.unpack_from(value)
    raw = value[FILE_NAME.size : FILE_NAME.size + 2 * units]
    if len(raw) != 2 * units or not units:
        raise CorruptError(f"$FILE_NAME: a name of {units} characters in {len(value)} bytes")
    if namespace > 3:
        raise CorruptError(f"$FILE_NAME: its namespace is {namespace}")
    return Name(parent, decode_units(raw), namespace, value)


def _without(error: KernelError, where: str) -> str:
    """What an error says, without the place that the finding names anyway."""
    return str(error.args[0] if error.args else error).removeprefix(where + ": ")
