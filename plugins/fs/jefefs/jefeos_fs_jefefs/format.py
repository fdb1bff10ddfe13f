"""JefeFS on a volume, from outside: recognise, make, open, check, describe, and its snapshots."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jefeos.block.volume import (
    CheckReport,
    FormatOptions,
    Progress,
    SnapshotInfo,
    VolumeFormat,
    no_progress,
)
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.vfs.flags import S_IFDIR
from jefeos.vfs.inode import Clock

from jefeos_fs_jefefs.filesystem import JefeFilesystem
from jefeos_fs_jefefs.layout import (
    BLOCK_BYTES_ALLOWED,
    BLOCK_BYTES_DEFAULT,
    BLOCKS_LEAST,
    INODE,
    INODE_VALUE,
    MAGIC,
    ROOT_INO,
    SUPERBLOCK_BYTES,
    VERSION,
    Geometry,
    Superblock,
    item_key,
    most_index_blocks,
)
from jefeos_fs_jefefs.space import Space
from jefeos_fs_jefefs.store import Store, open_store
from jefeos_fs_jefefs.superblocks import candidate_offsets, has_superblock, load_superblock

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.mm.pagecache import PageCache

LABEL_BYTES = 64


class JefeFormat(VolumeFormat):
    """See `VolumeFormat`."""

    has_snapshots = True

    def recognise(self, volume: BufferCache) -> bool:
        return has_superblock(volume)

    def open(
        self, volume: BufferCache, *, writable: bool, page_cache: PageCache | None, clock: Clock
    ) -> JefeFilesystem:
        reason = ""
        if writable and volume.device.read_only:
            writable, reason = False, f"{volume.device.name} is read-only"
        store = open_store(volume, clock)
        if writable and store.space.damage:
            writable, reason = False, f"{store.space.damage}; jefeos disk fsck --repair puts that right"
        fs = JefeFilesystem(store, writable=writable, page_cache=page_cache, clock=clock)
        fs.read_only_reason = fs.read_only_reason or reason
        return fs

    def make(self, volume: BufferCache, options: FormatOptions, clock: Clock, progress: Progress = no_progress) -> None:
        label = options.label.encode()
        if len(label) > LABEL_BYTES:
            raise UsageError(f"a label has at most {LABEL_BYTES} bytes")
        if options.variant not in (None, "jefefs"):
            raise UsageError(f"jefefs has no variant {options.variant!r}")
        geometry = self._geometry(volume, options.cluster_bytes)
        for offset in candidate_offsets(volume.size_bytes):  # a volume that was here before must not come back
            volume.write(offset, bytes(SUPERBLOCK_BYTES))
        volume.flush()
        space = Space(volume, geometry)
        space.make()
        entropy = options.entropy or os.urandom
        now_ns = clock.realtime_ns()
        superblock = Superblock(
            magic=MAGIC, version=VERSION, block_bytes=geometry.block_bytes, total_blocks=geometry.total_blocks,
            uuid=entropy(16), label=label, created_ns=now_ns, next_ino=ROOT_INO + 1, next_snapshot=1, inodes=1,
            index_blocks=geometry.index_blocks,
        )
        store = Store(volume, superblock, space, clock)
        store.make_trees()
        root = (S_IFDIR | 0o755, 0, 0, 2, 0, 0, 0, now_ns, now_ns, now_ns, now_ns, ROOT_INO)
        store.files.put(item_key(ROOT_INO, INODE), INODE_VALUE.pack(*root))
        store.commit()
        store.changed = True
        store.commit()  # so that both generations of superblocks are of this volume
        progress(1, 1)

    @staticmethod
    def _geometry(volume: BufferCache, cluster_bytes: int | None) -> Geometry:
        allowed = BLOCK_BYTES_ALLOWED if cluster_bytes is None else (cluster_bytes,)
        if cluster_bytes is not None and cluster_bytes not in BLOCK_BYTES_ALLOWED:
            raise UsageError(f"a block has {', '.join(map(str, BLOCK_BYTES_ALLOWED))} bytes, not {cluster_bytes}")
        for block_bytes in allowed:
            geometry = Geometry(block_bytes, volume.size_bytes // block_bytes)
            if geometry.total_blocks < BLOCKS_LEAST:
                raise UsageError(f"a volume has at least {BLOCKS_LEAST * BLOCK_BYTES_DEFAULT >> 10} KiB")
            if geometry.index_blocks <= most_index_blocks():
                return geometry
        raise UsageError(f"{volume.size_bytes} bytes are more than blocks of {allowed[-1]} bytes can serve")

    def check(
        self, volume: BufferCache, *, repair: bool, clock: Clock, progress: Progress = no_progress
    ) -> CheckReport:
        from jefeos_fs_jefefs.check import check_volume

        return check_volume(volume, repair, clock, progress)

    def describe(self, volume: BufferCache) -> dict[str, str | int]:
        superblock, _ = load_superblock(volume)
        geometry = Geometry(superblock.block_bytes, superblock.total_blocks)
        uuid = superblock.uuid.hex()
        metadata_blocks = geometry.first_data + geometry.end_blocks
        used_blocks = superblock.total_blocks - metadata_blocks - superblock.free_blocks
        about: dict[str, str | int] = {
            "label": superblock.label.rstrip(b"\0").decode("utf-8", "replace"),
            "serial": "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
            "version": superblock.version,
            "cluster_bytes": superblock.block_bytes,
            "size_bytes": superblock.total_blocks * superblock.block_bytes,
            "used_bytes": used_blocks * superblock.block_bytes,
            "free_bytes": superblock.free_blocks * superblock.block_bytes,
            "metadata_bytes": metadata_blocks * superblock.block_bytes,
            "generation": superblock.generation,
            "inodes": superblock.inodes,
        }
        try:
            about["snapshots"] = ", ".join(item.name.decode("utf-8", "replace") for item in self.snapshots(volume))
        except KernelError as error:
            about["snapshots"] = f"not readable: {error}"
        return about

    # --- snapshots -----------------------------------------------------------------------------------------

    def snapshots(self, volume: BufferCache) -> list[SnapshotInfo]:
        return [SnapshotInfo(item.name, item.created_ns) for item in open_store(volume, None).snapshots.listed()]

    def create_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self._live(volume, clock).store.snapshots.create(name)

    def delete_snapshot(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self._live(volume, clock).store.snapshots.delete(name)

    def roll_back(self, volume: BufferCache, name: bytes, clock: Clock) -> None:
        self._live(volume, clock).store.snapshots.roll_back(name)

    def _live(self, volume: BufferCache, clock: Clock) -> JefeFilesystem:
        if volume.device.read_only:
            raise KernelError(Errno.EROFS, f"{volume.device.name} is read-only")
        filesystem = self.open(volume, writable=True, page_cache=None, clock=clock)
        if filesystem.read_only:
            raise KernelError(Errno.EROFS, filesystem.read_only_reason)
        return filesystem


