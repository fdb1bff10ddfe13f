"""Repair: what can be put right without losing anything.

    1. the boot sector or its copy, records of which only $MFTMirr has a good copy; a live journal of ours is replayed
    2. what files use is marked in use in both bitmaps; extension records that belong to nothing are freed
    3. link counts, directories whose index is wrong, files without a directory (into /found.000): check_rebuild
    4. looked at anew: what nothing uses is marked free, $MFTMirr is made a copy again, the dirty mark goes
    5. looked at anew: what is not found any more was repaired

Nothing is marked free while anything is left that could not be read, since it may be in there. Clusters of two files,
damaged records, runs and $Secure are reported and left alone: there is no safe way. In each step everything that
depends on a structure is written behind a line of order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.block.volume import CheckReport, no_progress
from jefeos.errors import KernelError

from jefeos_fs_ntfs.attribute import make_resident
from jefeos_fs_ntfs.check import Check
from jefeos_fs_ntfs.check_rebuild import rebuild
from jefeos_fs_ntfs.layout import (
    NO_CLUSTER,
    AttributeType,
    BootSector,
    MetaFile,
    RecordFlags,
    VolumeFlags,
    VolumeInformation,
)
from jefeos_fs_ntfs.record import MftRecord

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.block.volume import Progress
    from jefeos.vfs.inode import Clock

    from jefeos_fs_ntfs.check_mft import Stream

CHUNK_BYTES: Final = 1 << 20


def check_and_repair(
    volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
) -> CheckReport:
    """What `VolumeFormat.check` does."""
    first = Check(volume, progress)
    first.run(replay=repair)
    if not repair or not first.findings.found and not first.dirty:
        return first.report()
    _Repair(volume, first).before()
    volume.order()
    if first.needs_rebuilding:
        rebuild(volume, first, clock)
        volume.order()
    second = Check(volume)
    second.run()
    _Repair(volume, second).after()
    volume.flush()
    last = Check(volume)
    last.run()
    left = {(one.where, one.what) for one in last.findings.found}
    found = {(one.where, one.what) for one in first.findings.found}
    for one in last.findings.found:
        if (one.where, one.what) not in found:
            first.findings.found.append(one)
    return first.report(repaired=found - left)


class _Repair:
    """What is written without the help of the mounted driver, by what one check saw."""

    def __init__(self, volume: BufferCache, check: Check) -> None:
        self.volume = volume
        self.check = check

    def before(self) -> None:
        """Steps 1 and 2."""
        check = self.check
        self._boot_sectors()
        if check.reader is None or check.scan is None or check.scan.map.hopeless:
            return
        reader, scan = check.reader, check.scan
        for number in scan.from_copy:
            copy = reader.copy_of(number)
            if copy is not None:
                self.volume.write(reader.place(number), copy.pack(reader.geometry.record_bytes))
        for extension in scan.abandoned:
            self._free_record(extension.number)
        if check.record_stream is not None:
            self._merge_bits(check.record_stream, bytes(scan.in_use), clear=False)
        if check.cluster_stream is not None:
            self._merge_bits(check.cluster_stream, bytes(scan.map.bits), clear=False)

    def after(self) -> None:
        """Step 4."""
        check = self.check
        if check.reader is None or check.scan is None or check.scan.map.hopeless:
            return
        if check.trustworthy:
            if check.record_stream is not None:
                self._merge_bits(check.record_stream, bytes(check.scan.in_use), clear=True, bits=check.reader.count)
            if check.cluster_stream is not None:
                clusters = check.reader.geometry.clusters
                self._merge_bits(check.cluster_stream, bytes(check.scan.map.bits), clear=True, bits=clusters)
        if check.dirty and not [one for one in check.findings.found if not one.harmless]:
            self._mark_clean()
        self._mirror()

    def _boot_sectors(self) -> None:
        """The good one of the two over the bad one."""
        volume, geometry = self.volume, self.check.geometry
        if geometry is None:
            return
        last = volume.size_bytes - BootSector.size
        if self.check.geometry_from_copy:
            volume.write(0, volume.read(last, BootSector.size))
            return
        boot = volume.read(0, BootSector.size)
        counted = geometry.sectors * geometry.sector_bytes
        if counted <= last:  # else the copy's place is taken by a cluster
            volume.write(last, boot)

    def _merge_bits(self, stream: Stream, wanted: bytes, *, clear: bool, bits: int = 0) -> None:
        """Set the bits of ``wanted``; with ``clear``, clear the others of the first ``bits``."""
        reader = self.check.reader
        assert reader is not None
        length = min(stream.size, len(wanted))
        for start in range(0, length, CHUNK_BYTES):
            ours = wanted[start : min(start + CHUNK_BYTES, length)]
            theirs = reader.read(stream, start, len(ours))
            merged = int.from_bytes(theirs, "little") | int.from_bytes(ours, "little")
            if clear:
                inside = max(min(bits - start * 8, len(ours) * 8), 0)
                keep = ((1 << len(ours) * 8) - 1) ^ ((1 << inside) - 1)
                merged = int.from_bytes(theirs, "little") & keep | int.from_bytes(ours, "little")
            self._write(stream, start, merged.to_bytes(len(ours), "little"), theirs)

    def _write(self, stream: Stream, offset: int, data: bytes, before: bytes) -> None:
        if data == before or stream.value is not None:
            return
        assert self.check.geometry is not None
        done = 0
        for place, count in stream.clusters_at(offset, len(data), self.check.geometry.cluster_bytes):
            if place != NO_CLUSTER:
                self.volume.write(place, data[done : done + count])
            done += count

    def _free_record(self, number: int) -> None:
        """An extension record of nothing: free it; its clusters are found to be leaked then."""
        reader = self.check.reader
        assert reader is not None
        record = reader.record(number)
        record.flags &= ~RecordFlags.IN_USE
        record.sequence = record.sequence + 1 if record.sequence < 0xFFFF else 1
        self.volume.write(reader.place(number), record.pack(reader.geometry.record_bytes))

    def _mirror(self) -> None:
        reader = self.check.reader
        assert reader is not None
        size = reader.geometry.record_bytes
        try:
            mirror = reader.solid(reader.stream(MetaFile.MFT_MIRROR, AttributeType.DATA))
            for number in range(min(mirror.size // size, reader.count)):
                raw = self.volume.read(reader.place(number), size)
                MftRecord.parse(number, raw)
                self._write(mirror, number * size, raw, reader.read(mirror, number * size, size))
        except KernelError:
            return  # a record that is damaged must not replace its copy

    def _mark_clean(self) -> None:
        reader = self.check.reader
        assert reader is not None
        record = reader.record(MetaFile.VOLUME)
        for index, attribute in enumerate(record.attributes):
            if attribute.type == AttributeType.VOLUME_INFORMATION:
                information = VolumeInformation.parse(attribute.value)
                information.flags &= ~VolumeFlags.DIRTY
                clean = make_resident(AttributeType.VOLUME_INFORMATION, information.pack())
                record.attributes[index] = clean.with_instance(attribute.instance)
        self.volume.write(reader.place(MetaFile.VOLUME), record.pack(reader.geometry.record_bytes))
