"""A volume in memory that tests damage, beneath its fixups if need be, and have checked."""

from __future__ import annotations

import random
from collections.abc import Callable

from jefeos.block.volume import CheckReport, FormatOptions
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume
from jefeos_fs_ntfs.boot import Geometry, parse_geometry
from jefeos_fs_ntfs.check import Check
from jefeos_fs_ntfs.check_index import IndexWalk
from jefeos_fs_ntfs.check_mft import MftReader
from jefeos_fs_ntfs.check_records import parse_name
from jefeos_fs_ntfs.check_repair import check_and_repair
from jefeos_fs_ntfs.layout import REFERENCE_MASK, AttributeType, Collation
from jefeos_fs_ntfs.make import make_ntfs
from jefeos_fs_ntfs.record import protect

MIB = 1 << 20


class Patient:
    """A new volume, or one that is given."""

    def __init__(self, size: int = 4 * MIB, cluster_bytes: int = 4096, contents: bytes = b"") -> None:
        self.image = MemoryImage(contents or size)
        if not contents:
            options = FormatOptions(cluster_bytes=cluster_bytes, entropy=random.Random(1).randbytes)
            make_ntfs(image_volume(self.image), options, TestClock())
        self.geometry: Geometry = parse_geometry(bytes(self.image.data[:512]), self.image.size_bytes)

    def check(self, *, repair: bool = False) -> CheckReport:
        return check_and_repair(image_volume(self.image), repair=repair, clock=TestClock())

    def found(self) -> list[tuple[str, str]]:
        return [(problem.where, problem.what) for problem in self.check().problems]

    def stream(self, number: int, kind: AttributeType = AttributeType.DATA, name: str = "") -> int:
        """Where a stream begins in the image."""
        reader = MftReader(image_volume(self.image), self.geometry)
        return reader.stream(number, kind, name).runs[0][0] * self.geometry.cluster_bytes

    def record(self, number: int) -> int:
        return self.geometry.mft_lcn * self.geometry.cluster_bytes + number * self.geometry.record_bytes

    def edit(self, offset: int, length: int, change: Callable[[bytearray], None]) -> None:
        """Change a record or index block beneath its fixups."""
        block = bytearray(self.image.data[offset : offset + length])
        usa = int.from_bytes(block[4:6], "little")
        for index, end in enumerate(range(512, length + 1, 512), 1):
            block[end - 2 : end] = block[usa + 2 * index : usa + 2 * index + 2]
        change(block)
        protect(block, 77)
        self.image.data[offset : offset + length] = block

    def edit_record(self, number: int, change: Callable[[bytearray], None]) -> None:
        """The record, and its copy in $MFTMirr if it has one."""
        self.edit(self.record(number), 1024, change)
        if number < 4:
            copy = self.geometry.mftmirr_lcn * self.geometry.cluster_bytes + number * 1024
            self.image.data[copy : copy + 1024] = self.image.data[self.record(number) :][:1024]

    def flip(self, offset: int, bit: int) -> None:
        self.image.data[offset + bit // 8] ^= 1 << bit % 8
    def names(self, *, listed: bool = False) -> dict[str, int]:
        """Every name with the number of its directory: those in records, or those that directories list."""
        check = Check(image_volume(self.image))
        check.run()
        assert check.scan is not None and check.reader is not None
        if not listed:
            return {
                name.name: name.parent & REFERENCE_MASK for node in check.scan.nodes.values() for name in node.names
            }
        found = {}
        for node in check.scan.nodes.values():
            if node.is_directory:
                walk = IndexWalk(check.reader, node.number, "$I30", AttributeType.FILE_NAME, Collation.FILE_NAME, bytes)
                found.update({parse_name(entry.key).name: node.number for entry in walk.entries()})
        return found
