"""A volume in memory with a few files on it, for tests that damage it and have it checked."""

from __future__ import annotations

from jefeos.block.cache import BufferCache
from jefeos.block.volume import CheckReport, FormatOptions
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, make_volume
from jefeos.vfs.flags import S_IFDIR, S_IFREG
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.geometry import Geometry
from jefeos_fs_fat32.layout import SLOT_BYTES, Slot
from jefeos_fs_fat32.table import AllocationTable

VARIANTS = {
    "fat12": FormatOptions(variant="fat12", cluster_bytes=2048),
    "fat16": FormatOptions(variant="fat16", cluster_bytes=512),
    "fat32": FormatOptions(variant="fat32", cluster_bytes=512),
}
SIZE = 6 << 20
TREE = {
    b"/ONE": (S_IFREG, b"1" * 5000),
    b"/TWO": (S_IFREG, b"2" * 7000),
    b"/a long file name": (S_IFREG, b"3" * 100),
    b"/FOLDER": (S_IFDIR, b""),
    b"/FOLDER/INSIDE": (S_IFREG, b"4" * 3000),
    b"/FOLDER/DEEPER": (S_IFDIR, b""),
    b"/EMPTY": (S_IFREG, b""),
}


class Patient:
    """A volume with `TREE` on it, and ways to damage it."""

    def __init__(self, options: FormatOptions) -> None:
        self.image: MemoryImage = make_volume(FatFormat(), SIZE, options)
        with mounted(FatFormat(), self.volume) as here:
            for path, (kind, contents) in TREE.items():
                if kind == S_IFDIR:
                    here.vfs.mkdir(here.actor, path, 0o755)
                else:
                    here.put(path, contents)
        self.geometry = Geometry.read(self.volume)

    @property
    def volume(self) -> BufferCache:
        return image_volume(self.image)

    def check(self, *, repair: bool = False) -> CheckReport:
        return FatFormat().check(self.volume, repair=repair, clock=TestClock())

    def tree(self) -> dict[bytes, tuple[int, bytes]]:
        with mounted(FatFormat(), self.volume, writable=False) as here:
            return here.tree()

    def slot(self, name: bytes) -> tuple[int, Slot]:
        """Where the entry with that short name is, in the root or in FOLDER, and the entry."""
        at = bytes(self.image.data).index(name.ljust(11), self.geometry.root_offset)
        return at, Slot.parse(self.image.data, at)

    @property
    def root_bytes(self) -> slice:
        """Where the root directory is, or its first cluster."""
        start, count = self.geometry.root_offset, self.geometry.root_entries * SLOT_BYTES
        if self.geometry.bits == 32:
            start, count = self.geometry.offset_of(self.geometry.root_cluster), self.geometry.cluster_bytes
        return slice(start, start + count)

    def put(self, at: int, slot: Slot) -> None:
        self.image.data[at : at + SLOT_BYTES] = slot.pack()

    def link(self, cluster: int, value: int) -> None:
        """Change an entry of both FATs."""
        volume = self.volume
        table = AllocationTable(volume, self.geometry)
        table.set(cluster, value)
        table.write_changes()
        volume.flush()

    def following(self, cluster: int) -> int:
        return AllocationTable(self.volume, self.geometry).get(cluster)


def lost_chain(patient: Patient) -> None:
    at, slot = patient.slot(b"ONE")
    slot.name = b"\xe5NE".ljust(11)
    patient.put(at, slot)


def make_dirty(patient: Patient) -> None:
    patient.image.data[patient.geometry.state_offset] |= 1
