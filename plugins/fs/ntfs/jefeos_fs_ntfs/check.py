"""fsck: all structures of a volume, against the format and against each other.

    boot sector and its copy        geometry; without it nothing else can be looked at
    $MFT                            check_records: every record, attribute, run; who claims which cluster
    bitmaps                         of $MFT and of the volume, against what was found in use
    $MFTMirr                        against the first records
    names                           check_names: directories against the names in files, link counts
    $Secure, $UpCase, view indexes  check_security

Without ``repair`` nothing is written. With it, see check_repair; afterwards everything is looked at once more, and what
is not found again was repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field
from jefeos.block.cache import BufferCache
from jefeos.block.volume import CheckReport, Problem, no_progress
from jefeos.errors import CorruptError, KernelError

from jefeos_fs_ntfs.boot import Geometry, parse_geometry
from jefeos_fs_ntfs.check_mft import MftReader, Stream
from jefeos_fs_ntfs.check_names import NameCheck
from jefeos_fs_ntfs.check_records import RecordScan
from jefeos_fs_ntfs.check_security import SecurityCheck, upcase_fault
from jefeos_fs_ntfs.check_state import MOST_RANGES, Findings, differences, say_ranges
from jefeos_fs_ntfs.layout import (
    REFERENCE_MASK,
    AttributeType,
    BootSector,
    MetaFile,
    VolumeFlags,
    VolumeInformation,
)
from jefeos_fs_ntfs.names import UPCASE_UNITS, Collator
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.recovery import recover, was_cut_off
from jefeos_fs_ntfs.upcase import default_upcase

if TYPE_CHECKING:
    from jefeos.block.volume import Progress

    from jefeos_fs_ntfs.runs import Run

CHUNK_BYTES: Final = 1 << 20


@define
class Check:
    """One look at a volume, and what it found."""

    volume: BufferCache
    progress: Progress = no_progress
    findings: Findings = field(factory=Findings)
    notes: list[str] = field(factory=list)
    geometry: Geometry | None = None
    geometry_from_copy: bool = False
    reader: MftReader | None = None
    scan: RecordScan | None = None
    names: NameCheck | None = None
    security: SecurityCheck | None = None
    cluster_stream: Stream | None = None
    record_stream: Stream | None = None
    dirty: bool = False

    def run(self, *, replay: bool = False) -> None:
        """Look at everything that can be looked at. ``replay``: a live journal of ours may be written to its places."""
        if not self._check_boot():
            return
        assert self.geometry is not None
        self._finish_journal(replay)
        try:
            self.reader = MftReader(self.volume, self.geometry)
        except KernelError as error:
            self.findings.add("$MFT", f"cannot be read: {_text(error)}")
            return
        reader = self.reader
        self.scan = RecordScan(reader, self.findings)
        record_bitmap = self._record_bitmap()
        self.scan.scan(record_bitmap, self.progress)
        if self.scan.map.hopeless:
            return
        self._check_record_bitmap(record_bitmap)
        self._check_cluster_bitmap()
        self._check_mirror()
        self._check_volume()
        table = self._upcase()
        scan = self.scan
        self.names = NameCheck(reader, scan.nodes, scan.unreadable, Collator(table), self.findings)
        if MetaFile.ROOT in scan.nodes:
            self.names.check(self.progress)
        elif MetaFile.ROOT not in scan.unreadable:
            self.findings.add("MFT record 5", "there is no root directory")
        self.security = SecurityCheck(reader, scan.nodes, scan.unreadable, self.findings)
        self.security.check()

    @property
    def needs_rebuilding(self) -> bool:
        """There is something that the mounted driver has to put right."""
        names, security = self.names, self.security
        if names is None or security is None:
            return False
        of_names = names.broken or names.lost or names.removed or names.wrong_link_counts
        return bool(of_names or security.unnoted or security.outdated)

    @property
    def trustworthy(self) -> bool:
        """Everything that may lay claim to clusters and records could be read: what nobody claims is free."""
        return self.scan is not None and not self.scan.unreadable and not self.scan.map.hopeless

    def report(self, repaired: set[tuple[str, str]] | None = None) -> CheckReport:
        """What was found, for the caller."""
        problems = [
            Problem(one.where, one.what, one.harmless, repaired is not None and (one.where, one.what) in repaired)
            for one in self.findings.found
        ]
        if self.findings.left_out:
            problems.append(Problem("volume", f"{self.findings.left_out} more problems are not listed"))
        nodes = [node for node in self.scan.nodes.values() if node.names] if self.scan else []
        visible = [node for node in nodes if node.number == MetaFile.ROOT or node.number >= MetaFile.FIRST_FREE
                   and node.names[0].parent & REFERENCE_MASK != MetaFile.EXTEND]
        directories = sum(node.is_directory for node in visible)
        used = int.from_bytes(self.scan.map.bits, "little").bit_count() if self.scan else 0
        cluster_bytes = self.geometry.cluster_bytes if self.geometry else 0
        total = self.geometry.clusters if self.geometry else 0
        return CheckReport(
            problems=tuple(problems),
            files=len(visible) - directories,
            directories=directories,
            used_bytes=used * cluster_bytes,
            free_bytes=(total - used) * cluster_bytes,
            notes=tuple(self.notes),
        )

    def _finish_journal(self, replay: bool) -> None:
        """What a crash left in our journal counts as written."""
        assert self.geometry is not None
        try:
            if was_cut_off(self.volume, self.geometry):
                self.notes.append("the journal of a crash is replayed")
                self.volume = recover(self.volume, self.geometry, on_medium=replay)
        except KernelError as error:
            self.findings.add("$LogFile", f"its journal: {_text(error)}")

    # -- boot sector --

    def _check_boot(self) -> bool:
        volume = self.volume
        boot = self._sector(0)
        copy = self._sector(volume.size_bytes - BootSector.size)
        try:
            self.geometry = parse_geometry(boot or b"", volume.size_bytes)
        except CorruptError as error:
            try:
                self.geometry = parse_geometry(copy or b"", volume.size_bytes)
            except CorruptError:
                self.findings.add("boot sector", f"{_text(error).removeprefix('boot sector: ')}; its copy is no better")
                return False
            self.geometry_from_copy = True
            self.findings.add("boot sector", _text(error).removeprefix("boot sector: "))
            return True
        place = self.geometry.sectors * self.geometry.sector_bytes
        places = {volume.size_bytes - BootSector.size, place if place < volume.size_bytes else 0} - {0}
        if boot not in [self._sector(one) for one in places]:
            self.findings.add("boot sector", "its copy at the end of the volume differs", harmless=True)
        return True

    def _sector(self, offset: int) -> bytes | None:
        try:
            return self.volume.read(offset, BootSector.size)
        except KernelError:
            return None

    # -- bitmaps --

    def _record_bitmap(self) -> bytes:
        assert self.reader is not None
        try:
            stream = self.record_stream = self.reader.solid(
                self.reader.stream(MetaFile.MFT, AttributeType.BITMAP)
            )
            return self.reader.read(stream, 0, min(stream.size, self.reader.count // 8 + 64))
        except KernelError as error:
            self.findings.add("$MFT", f"its bitmap: {_text(error)}")
            return b""

    def _check_record_bitmap(self, marked: bytes) -> None:
        assert self.scan is not None
        if self.record_stream is None:
            return
        wanted = bytes(self.scan.in_use)
        if len(marked) < len(wanted):
            self.findings.add("$MFT", f"its bitmap has {len(marked)} bytes for {self.scan.reader.count} records")
            return
        count, ranges = differences(wanted, marked, 0)
        if count:
            self.findings.add("$MFT", f"records {say_ranges(ranges)} are in use, and free in its bitmap")
        count, ranges = differences(marked[: len(wanted)], wanted, 0)
        beyond = self.scan.reader.count
        ranges = [(first, length) for first, length in ranges if first < beyond]
        if count and ranges:
            self.findings.add("$MFT", f"records {say_ranges(ranges)} are free, and in use in its bitmap", harmless=True)

    def _check_cluster_bitmap(self) -> None:
        assert self.scan is not None and self.reader is not None and self.geometry is not None
        bits, clusters = self.scan.map.bits, self.geometry.clusters
        try:
            stream = self.reader.solid(self.reader.stream(MetaFile.BITMAP, AttributeType.DATA))
            if stream.size < len(bits):
                raise CorruptError(f"has {stream.size} bytes for {clusters} clusters")
            self.cluster_stream = stream
        except KernelError as error:
            self.findings.add("$Bitmap", _text(error))
            return
        unmarked: list[Run] = []
        leaked: list[Run] = []
        unmarked_count = leaked_count = 0
        last_byte_mask = (1 << (clusters - 1) % 8 + 1) - 1
        for start in range(0, len(bits), CHUNK_BYTES):
            ours = bytes(bits[start : start + CHUNK_BYTES])
            try:
                theirs = self.reader.read(stream, start, len(ours))
            except KernelError as error:
                self.findings.add("$Bitmap", _text(error))
                return
            if start + len(theirs) == len(bits):
                theirs = theirs[:-1] + bytes((theirs[-1] & last_byte_mask,))
            if ours != theirs:
                count, ranges = differences(ours, theirs, start * 8, MOST_RANGES - len(unmarked))
                unmarked_count, unmarked = unmarked_count + count, unmarked + ranges
                count, ranges = differences(theirs, ours, start * 8, MOST_RANGES - len(leaked))
                leaked_count, leaked = leaked_count + count, leaked + ranges
        if unmarked_count:
            what = f"{unmarked_count} clusters are in use by files, and free here: {say_ranges(unmarked)}"
            self.findings.add("$Bitmap", what)
        if leaked_count:
            what = f"{leaked_count} clusters are in use here, and by no file: {say_ranges(leaked)}"
            self.findings.add("$Bitmap", what, harmless=True)

    # -- the volume's own files --

    def _check_mirror(self) -> None:
        """$MFTMirr: the first records once more. Their update sequence numbers may differ."""
        assert self.reader is not None and self.geometry is not None
        reader, size = self.reader, self.geometry.record_bytes
        try:
            mirror = reader.solid(reader.stream(MetaFile.MFT_MIRROR, AttributeType.DATA))
            if mirror.runs and mirror.runs[0][0] != self.geometry.mftmirr_lcn:
                self.findings.add("$MFTMirr", "the boot sector looks for it elsewhere")
        except KernelError as error:
            self.findings.add("$MFTMirr", _text(error))
            return
        wrong = []
        for number in range(min(mirror.size // size, reader.count)):
            try:
                original = reader.raw(number)
            except KernelError:
                continue
            try:
                copy = reader.read(mirror, number * size, size)
                same = original == copy or _unprotected(number, original) == _unprotected(number, copy)
            except KernelError:
                same = False
            if not same:
                wrong.append(number)
        if wrong:
            shown = ", ".join(map(str, wrong[:MOST_RANGES]))
            self.findings.add("$MFTMirr", f"differs from $MFT in records {shown}", harmless=True)

    def _check_volume(self) -> None:
        assert self.reader is not None
        try:
            stream = self.reader.stream(MetaFile.VOLUME, AttributeType.VOLUME_INFORMATION)
            information = VolumeInformation.parse(self.reader.read(stream, 0, stream.size))
        except KernelError as error:
            self.findings.add("$Volume", _text(error))
            return
        if (information.major_ver, information.minor_ver) not in ((3, 1), (3, 0), (1, 2)):
            self.findings.add("$Volume", f"is of NTFS {information.major_ver}.{information.minor_ver}")
        if information.flags & VolumeFlags.DIRTY:
            self.dirty = True
            self.notes.append("the volume is marked dirty: it was not unmounted")

    def _upcase(self) -> bytes:
        assert self.reader is not None
        try:
            stream = self.reader.stream(MetaFile.UPCASE, AttributeType.DATA)
            table = self.reader.read(stream, 0, min(stream.size, 2 * UPCASE_UNITS + 2))
        except KernelError as error:
            self.findings.add("$UpCase", _text(error))
            return default_upcase()
        fault = upcase_fault(table)
        if fault:
            self.findings.add("$UpCase", fault)
        return default_upcase() if fault else table


def _unprotected(number: int, raw: bytes) -> tuple[object, ...]:
    """A record's contents without its update sequence number. Raises CorruptError."""
    record = MftRecord.parse(number, raw)
    attributes = tuple(attribute.raw for attribute in record.attributes)
    return record.sequence, record.flags, record.base, record.link_count, attributes


def _text(error: KernelError) -> str:
    return str(error.args[0] if error.args and error.args[0] else error)
