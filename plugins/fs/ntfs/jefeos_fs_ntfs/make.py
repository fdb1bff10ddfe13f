"""mkfs: an empty NTFS 3.1 volume.

What it lays out is what Windows and mkntfs do: the sixteen records of the volume's own files, and in $Extend $Quota,
$ObjId and $Reparse. Where it goes is in make_plan.py. Other choices:

  * $LogFile is all ones: the form in which a log was never used, and which Windows turns into its own at first mount;
  * the volume's own files have their security descriptors in $Secure, and none in their records; the root directory
    has the one that lets everyone do everything;
  * names have no second, short form; $Volume has no $VOLUME_NAME unless there is a label.

The boot sector goes last, behind a line of order, so that a volume that was cut off half-way is not taken for one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from jefeos.block.volume import no_progress
from jefeos.errors import UsageError
from jefeos.structs import Struct, s64, u32, u64

from jefeos_fs_ntfs.attrdef import attribute_definitions
from jefeos_fs_ntfs.attribute import Attribute, make_non_resident, make_resident
from jefeos_fs_ntfs.layout import (
    EPOCH_OFFSET_TICKS,
    FIRST_SECURITY_ID,
    NO_CLUSTER,
    NTFS_MAGIC,
    AttributeType,
    BootSector,
    Collation,
    FileAttributes,
    MetaFile,
    RecordFlags,
    VolumeInformation,
)
from jefeos_fs_ntfs.make_plan import (
    INDEX_BLOCK_BYTES,
    RECORD_BYTES,
    SECTOR_BYTES,
    Extent,
    VolumePlan,
    plan_volume,
)
from jefeos_fs_ntfs.make_records import (
    OwnFile,
    directory_entry,
    index_block,
    index_root,
    index_root_above,
    sequence_of,
    view_entry,
)
from jefeos_fs_ntfs.record import MftRecord
from jefeos_fs_ntfs.runs import encode_runs
from jefeos_fs_ntfs.security import (
    ADMINISTRATORS,
    AccessMask,
    open_descriptor,
    security_stream,
    system_descriptor,
)
from jefeos_fs_ntfs.upcase import default_upcase, upcase_info

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.block.volume import FormatOptions, Progress
    from jefeos.vfs.inode import Clock

JUMP: Final = b"\xeb\x52\x90"
BOOT_CODE: Final = b"\xcd\x18\xfa\xf4\xeb\xfc"
"""Tell the BIOS that there is nothing to boot; then halt, for good."""
MEDIA_TYPE_DISK: Final = 0xF8
PHYSICAL_DRIVE: Final = 0x80
BOOT_MARKER: Final = 0xAA55
SECTORS_PER_TRACK: Final = 63
HEADS: Final = 255
MOST_SECTORS_AS_NUMBER: Final = 0x80
LABEL_UNITS_MAX: Final = 128
WRITE_BYTES: Final = 1 << 20

SYSTEM: Final = FileAttributes.HIDDEN | FileAttributes.SYSTEM
SYSTEM_DIRECTORY: Final = SYSTEM | FileAttributes.I30_INDEX_PRESENT
SYSTEM_VIEW: Final = SYSTEM | FileAttributes.VIEW_INDEX_PRESENT
EXTEND_VIEW: Final = SYSTEM_VIEW | FileAttributes.ARCHIVE

SECURITY_READ_ONLY, SECURITY_SYSTEM, SECURITY_OPEN = range(FIRST_SECURITY_ID, FIRST_SECURITY_ID + 3)
"""Descriptors of a new volume: for what only the filesystem writes, for what the system manages, for everyone."""
FIRST_EXTENDED: Final = MetaFile.FIRST_FREE
QUOTA, OBJECT_IDS, REPARSE_POINTS = range(FIRST_EXTENDED, FIRST_EXTENDED + 3)

SDH_PADDING: Final = "II".encode("utf-16-le")
"""Windows ends the entries of $SDH like this."""
QUOTA_VERSION: Final = 2
QUOTA_DEFAULT_LIMITS: Final = 1
QUOTA_DEFAULTS_ID: Final = 1
QUOTA_FIRST_USER_ID: Final = 0x100


class QuotaControl(Struct):
    """QUOTA_CONTROL_ENTRY, the data of $Quota's index $Q. The owner's SID may follow."""

    version: int = u32(QUOTA_VERSION)
    flags: int = u32(QUOTA_DEFAULT_LIMITS)
    bytes_used: int = u64()
    change_time: int = u64()
    threshold: int = s64(-1)
    limit: int = s64(-1)
    exceeded_time: int = u64()


def make_ntfs(
    volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress
) -> None:
    """Lay out an empty volume and flush it. Raises UsageError for options or a size that cannot be served."""
    if options.variant not in (None, "ntfs"):
        raise UsageError(f"NTFS has no variant {options.variant!r}")
    if len(options.label.encode("utf-16-le")) // 2 > LABEL_UNITS_MAX:
        raise UsageError(f"a label of NTFS has at most {LABEL_UNITS_MAX} characters")
    _Maker(volume, options, clock, progress).make()


class _Maker:
    """The making of one volume."""

    def __init__(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress) -> None:
        self.volume = volume
        self.options = options
        self.progress = progress
        self.time = clock.realtime_ns() // 100 + EPOCH_OFFSET_TICKS
        descriptors = (
            system_descriptor(AccessMask.FILE_READ),
            system_descriptor(AccessMask.FILE_READ_WRITE),
            open_descriptor(),
        )
        self.sds, self.security_entries = security_stream(descriptors)
        self.plan: VolumePlan = plan_volume(volume.size_bytes, options.cluster_bytes, len(self.sds))
        self.files: dict[int, OwnFile] = {}
        self.records: dict[int, MftRecord] = {}

    def make(self) -> None:
        """All of it."""
        plan = self.plan
        self._forget_old_volume()
        for number, name, size in (
            (MetaFile.MFT, "$MFT", plan.record_count * RECORD_BYTES),
            (MetaFile.MFT_MIRROR, "$MFTMirr", plan.mirrored_records * RECORD_BYTES),
            (MetaFile.LOG_FILE, "$LogFile", plan.log_bytes),
            (MetaFile.VOLUME, "$Volume", 0),
            (MetaFile.ATTRIBUTE_DEFINITIONS, "$AttrDef", len(attribute_definitions())),
            (MetaFile.BITMAP, "$Bitmap", plan.bitmap_bytes),
            (MetaFile.BOOT, "$Boot", plan.boot.clusters * plan.cluster_bytes),
            (MetaFile.BAD_CLUSTERS, "$BadClus", 0),
            (MetaFile.UPCASE, "$UpCase", len(default_upcase())),
        ):
            self._begin(number, name, size)
        self._begin(MetaFile.SECURE, "$Secure", attributes=SYSTEM_VIEW, security=SECURITY_SYSTEM)
        self._begin(MetaFile.ROOT, ".", attributes=SYSTEM_DIRECTORY, security=SECURITY_OPEN)
        self._begin(MetaFile.EXTEND, "$Extend", attributes=SYSTEM_DIRECTORY, security=SECURITY_SYSTEM)
        for extended, name in ((QUOTA, "$Quota"), (OBJECT_IDS, "$ObjId"), (REPARSE_POINTS, "$Reparse")):
            self._begin(extended, name, attributes=EXTEND_VIEW, security=SECURITY_SYSTEM, parent=MetaFile.EXTEND)
        self._fill_plain_files()
        self._fill_indexes()
        self._write_streams()
        self._write_records()
        self.volume.order()
        boot = self._boot_sector()
        self.volume.write(plan.sector_count * SECTOR_BYTES, boot)
        self.volume.write(0, boot)
        self.volume.flush()

    def _begin(
        self,
        number: int,
        name: str,
        size: int = 0,
        *,
        attributes: FileAttributes = SYSTEM,
        security: int = SECURITY_READ_ONLY,
        parent: int = MetaFile.ROOT,
    ) -> None:
        """A record with what every named file has."""
        cluster = self.plan.cluster_bytes
        file = OwnFile(number, name, parent, attributes, self.time, -(-size // cluster) * cluster, size)
        flags = RecordFlags.IN_USE
        if attributes & FileAttributes.I30_INDEX_PRESENT:
            flags |= RecordFlags.IS_DIRECTORY
        if attributes & FileAttributes.VIEW_INDEX_PRESENT:
            flags |= RecordFlags.IS_VIEW_INDEX
        if number >= FIRST_EXTENDED:
            flags |= RecordFlags.IS_4
        record = self.records[number] = MftRecord(number, sequence_of(number), flags)
        record.link_count = 1
        self.files[number] = file
        self._add(number, make_resident(AttributeType.STANDARD_INFORMATION, file.standard_information(security)))
        self._add(number, make_resident(AttributeType.FILE_NAME, file.file_name(), indexed=True))

    def _fill_plain_files(self) -> None:
        plan = self.plan
        for number, extent in (
            (MetaFile.MFT, plan.mft),
            (MetaFile.MFT_MIRROR, plan.mirror),
            (MetaFile.LOG_FILE, plan.log),
            (MetaFile.ATTRIBUTE_DEFINITIONS, plan.attrdef),
            (MetaFile.BITMAP, plan.bitmap),
            (MetaFile.BOOT, plan.boot),
            (MetaFile.UPCASE, plan.upcase),
        ):
            self._stream(number, AttributeType.DATA, extent, self.files[number].data_size)
        self._stream(MetaFile.MFT, AttributeType.BITMAP, plan.mft_bitmap, plan.record_count // 8)
        self._add(MetaFile.UPCASE, make_resident(AttributeType.DATA, upcase_info(default_upcase()), "$Info"))
        if self.options.label:
            label = self.options.label.encode("utf-16-le")
            self._add(MetaFile.VOLUME, make_resident(AttributeType.VOLUME_NAME, label))
        version = VolumeInformation(major_ver=3, minor_ver=1).pack()
        self._add(MetaFile.VOLUME, make_resident(AttributeType.VOLUME_INFORMATION, version))
        self._add(MetaFile.VOLUME, make_resident(AttributeType.DATA, b""))
        self._add(MetaFile.BAD_CLUSTERS, make_resident(AttributeType.DATA, b""))
        nowhere = Extent(NO_CLUSTER, plan.cluster_count)
        whole = plan.cluster_count * plan.cluster_bytes
        self._stream(MetaFile.BAD_CLUSTERS, AttributeType.DATA, nowhere, whole, "$Bad", initialized_size=0)

    def _fill_indexes(self) -> None:
        self._stream(MetaFile.SECURE, AttributeType.DATA, self.plan.sds, len(self.sds), "$SDS")
        entries = self.security_entries
        by_hash = sorted(entries, key=lambda entry: (entry.hash, entry.security_id))
        self._index(
            MetaFile.SECURE, "$SDH", Collation.NTOFS_SECURITY_HASH,
            [view_entry(entry.pack()[:8], entry.pack(), SDH_PADDING) for entry in by_hash],
        )  # fmt: skip
        self._index(
            MetaFile.SECURE, "$SII", Collation.NTOFS_ULONG,
            [view_entry(entry.pack()[4:8], entry.pack()) for entry in entries],
        )  # fmt: skip
        quota = QuotaControl(change_time=self.time).pack()
        owner = QUOTA_FIRST_USER_ID.to_bytes(4, "little")
        self._index(QUOTA, "$O", Collation.NTOFS_SID, [view_entry(ADMINISTRATORS, owner)])
        self._index(
            QUOTA, "$Q", Collation.NTOFS_ULONG,
            [view_entry(QUOTA_DEFAULTS_ID.to_bytes(4, "little"), quota), view_entry(owner, quota + ADMINISTRATORS)],
        )  # fmt: skip
        self._index(OBJECT_IDS, "$O", Collation.NTOFS_ULONGS, [])
        self._index(REPARSE_POINTS, "$R", Collation.NTOFS_ULONGS, [])
        self._index(
            MetaFile.EXTEND, "$I30", Collation.FILE_NAME,
            [directory_entry(self.files[number]) for number in (OBJECT_IDS, QUOTA, REPARSE_POINTS)],
            kind=AttributeType.FILE_NAME,
        )  # fmt: skip
        cluster = self.plan.cluster_bytes
        above = index_root_above(AttributeType.FILE_NAME, Collation.FILE_NAME, INDEX_BLOCK_BYTES, cluster)
        self._add(MetaFile.ROOT, make_resident(AttributeType.INDEX_ROOT, above, "$I30"))
        self._stream(
            MetaFile.ROOT, AttributeType.INDEX_ALLOCATION, self.plan.root_index, INDEX_BLOCK_BYTES, "$I30"
        )
        self._add(MetaFile.ROOT, make_resident(AttributeType.BITMAP, (1).to_bytes(8, "little"), "$I30"))

    def _index(
        self, number: int, name: str, collation: Collation, entries: list[bytes], *, kind: int = 0
    ) -> None:
        value = index_root(kind, collation, entries, INDEX_BLOCK_BYTES, self.plan.cluster_bytes)
        self._add(number, make_resident(AttributeType.INDEX_ROOT, value, name))

    def _stream(
        self,
        number: int,
        kind: AttributeType,
        extent: Extent,
        size: int,
        name: str = "",
        initialized_size: int | None = None,
    ) -> None:
        attribute = make_non_resident(
            kind,
            name,
            pairs=encode_runs([(extent.lcn, extent.clusters)]),
            lowest_vcn=0,
            highest_vcn=extent.clusters - 1,
            allocated_size=extent.clusters * self.plan.cluster_bytes,
            data_size=size,
            initialized_size=size if initialized_size is None else initialized_size,
        )
        self._add(number, attribute)

    def _add(self, number: int, attribute: Attribute) -> None:
        """Attributes are added in the order in which they stand: by type, then by name."""
        record = self.records[number]
        record.attributes.append(attribute.with_instance(record.next_instance))
        record.next_instance += 1

    # -- writing --

    def _forget_old_volume(self) -> None:
        """What was there before is no volume any more, whatever happens from now on."""
        self.volume.write(0, bytes(SECTOR_BYTES))
        self.volume.order()

    def _write_streams(self) -> None:
        plan = self.plan
        in_root = sorted(
            (file for file in self.files.values() if file.parent == MetaFile.ROOT), key=lambda file: file.name.upper()
        )
        for extent, data in (
            (plan.boot, b""),
            (plan.attrdef, attribute_definitions()),
            (plan.root_index, index_block([directory_entry(file) for file in in_root], INDEX_BLOCK_BYTES)),
            (plan.sds, self.sds),
            (plan.upcase, default_upcase()),
            (plan.mft_bitmap, self._record_bitmap()),
            (plan.bitmap, self._cluster_bitmap()),
        ):
            self._write(extent, data)
        start, size = plan.log.lcn * plan.cluster_bytes, plan.log_bytes
        for done in range(0, size, WRITE_BYTES):
            self.volume.write(start + done, b"\xff" * min(WRITE_BYTES, size - done))
            self.progress(done, size)
        self.progress(size, size)

    def _write_records(self) -> None:
        plan = self.plan
        for number in range(MetaFile.EXTEND + 1, MetaFile.FIRST_USER):  # reserved: in use, with no name
            self.records[number] = MftRecord(number, sequence_of(number), RecordFlags.IN_USE)
            information = OwnFile(number, "", MetaFile.ROOT, SYSTEM, self.time).standard_information(SECURITY_READ_ONLY)
            self._add(number, make_resident(AttributeType.STANDARD_INFORMATION, information))
            self._add(number, make_resident(AttributeType.DATA, b""))
        unused = (MftRecord(number) for number in range(plan.record_count))
        packed = [self.records.get(record.number, record).pack(RECORD_BYTES) for record in unused]
        self._write(plan.mft, b"".join(packed))
        self._write(plan.mirror, b"".join(packed[: plan.mirrored_records]))

    def _write(self, extent: Extent, data: bytes) -> None:
        """The whole extent, with zeros behind the data."""
        cluster = self.plan.cluster_bytes
        self.volume.write(extent.lcn * cluster, data.ljust(extent.clusters * cluster, b"\0"))

    def _record_bitmap(self) -> bytes:
        used: int = sum(1 << number for number in {*self.files, *range(MetaFile.FIRST_USER)})
        return used.to_bytes(self.plan.record_count // 8, "little")

    def _cluster_bitmap(self) -> bytes:
        plan = self.plan
        bitmap = bytearray(plan.bitmap_bytes)
        past_the_end = Extent(plan.cluster_count, plan.bitmap_bytes * 8 - plan.cluster_count)
        for extent in (*plan.extents, past_the_end):
            first = extent.lcn // 8
            last = (extent.lcn + extent.clusters) // 8 + 1
            bits = ((1 << extent.clusters) - 1) << extent.lcn % 8
            piece = int.from_bytes(bitmap[first:last], "little") | bits
            bitmap[first:last] = piece.to_bytes(len(bitmap[first:last]), "little")
        return bytes(bitmap)

    def _boot_sector(self) -> bytes:
        plan = self.plan
        entropy = self.options.entropy or os.urandom
        sectors = plan.cluster_bytes // SECTOR_BYTES
        return BootSector(
            jump=JUMP,
            oem_id=NTFS_MAGIC,
            bytes_per_sector=SECTOR_BYTES,
            sectors_per_cluster=sectors if sectors <= MOST_SECTORS_AS_NUMBER else 257 - sectors.bit_length(),
            media_type=MEDIA_TYPE_DISK,
            sectors_per_track=SECTORS_PER_TRACK,
            heads=HEADS,
            hidden_sectors=self.options.hidden_sectors,
            physical_drive=PHYSICAL_DRIVE,
            extended_boot_signature=PHYSICAL_DRIVE,
            number_of_sectors=plan.sector_count,
            mft_lcn=plan.mft.lcn,
            mftmirr_lcn=plan.mirror.lcn,
            clusters_per_mft_record=_in_clusters(RECORD_BYTES, plan.cluster_bytes),
            clusters_per_index_record=_in_clusters(INDEX_BLOCK_BYTES, plan.cluster_bytes),
            volume_serial_number=int.from_bytes(entropy(8), "little"),
            bootstrap=BOOT_CODE,
            end_of_sector_marker=BOOT_MARKER,
        ).pack()


def _in_clusters(length: int, cluster_bytes: int) -> int:
    """How the boot sector says a size: in clusters, or as a negative power of two."""
    return length // cluster_bytes if length >= cluster_bytes else 1 - length.bit_length()
