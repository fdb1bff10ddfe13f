"""Superblocks: finding the newest one that is whole.

There are four places: two at the beginning and two at the end of the volume, and a generation is written to one of each
pair, so the state before the last commit keeps both of its copies. The newest with a good checksum counts. Copies of
different generations are normal, and so is one that is torn: power may have failed while it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import CorruptError, Errno, KernelError

from jefeos_fs_jefefs.checksum import SUM, checksum_of
from jefeos_fs_jefefs.layout import (
    BLOCK_BYTES_ALLOWED,
    BLOCKS_LEAST,
    INDEX_REFERENCE,
    MAGIC,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_SLOTS,
    VERSION,
    Geometry,
    Superblock,
)

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache


def candidate_offsets(size_bytes: int) -> list[int]:
    """Where superblocks may be. Those at the end are found for any size of a block."""
    offsets = [slot * SUPERBLOCK_BYTES for slot in range(SUPERBLOCK_SLOTS)]
    for block_bytes in BLOCK_BYTES_ALLOWED:
        end = size_bytes // block_bytes * block_bytes
        offsets += [end - (slot + 1) * SUPERBLOCK_BYTES for slot in range(SUPERBLOCK_SLOTS)]
    return [offset for offset in dict.fromkeys(offsets) if 0 <= offset <= size_bytes - SUPERBLOCK_BYTES]


def has_superblock(volume: BufferCache) -> bool:
    """Whether the volume begins, or ends, as one of ours."""
    for offset in candidate_offsets(volume.size_bytes):
        try:
            if volume.read(offset, len(MAGIC)) == MAGIC:
                return True
        except KernelError:
            continue
    return False


def parse_superblock(block: bytes, size_bytes: int) -> tuple[Superblock, bytes]:
    """A superblock, and the references to the index blocks. Raises CorruptError."""
    superblock = Superblock.parse(block)
    if superblock.magic != MAGIC:
        raise CorruptError("superblock: its magic number is missing")
    if superblock.version != VERSION:  # ahead of the checksum, which another version may make in another way
        raise CorruptError(
            f"superblock: it is of version {superblock.version} of the format, known here is {VERSION}",
            Errno.EOPNOTSUPP,
        )
    body = block[: SUPERBLOCK_BYTES - SUM.size]
    if SUM.unpack_from(block, len(body))[0] != checksum_of(body):
        raise CorruptError("superblock: its checksum is wrong")
    if superblock.block_bytes not in BLOCK_BYTES_ALLOWED:
        raise CorruptError(f"superblock: blocks of {superblock.block_bytes} bytes make no sense")
    geometry = Geometry(superblock.block_bytes, superblock.total_blocks)
    if not BLOCKS_LEAST <= superblock.total_blocks <= size_bytes // superblock.block_bytes:
        raise CorruptError(f"superblock: {superblock.total_blocks} blocks are not what this volume has")
    references_end = Superblock.size + superblock.index_blocks * INDEX_REFERENCE.size
    if superblock.index_blocks != geometry.index_blocks or references_end > len(body):
        raise CorruptError(f"superblock: {superblock.index_blocks} index blocks make no sense")
    if not 0 < superblock.generation < 1 << 62 or not 0 < superblock.next_ino < 1 << 62:
        raise CorruptError("superblock: its counters make no sense")
    return superblock, block[Superblock.size : references_end]


def load_superblock(volume: BufferCache) -> tuple[Superblock, bytes]:
    """The newest superblock that is whole. Raises CorruptError with the reason of the first if there is none."""
    best: tuple[Superblock, bytes] | None = None
    reason: KernelError | None = None
    for offset in candidate_offsets(volume.size_bytes):
        try:
            found = parse_superblock(volume.read(offset, SUPERBLOCK_BYTES), volume.size_bytes)
        except KernelError as error:
            reason = reason or error
            continue
        if offset not in Geometry(found[0].block_bytes, found[0].total_blocks).superblock_offsets(found[0].generation):
            continue  # part of some file, or of another volume that this one was made over
        if best is None or found[0].generation > best[0].generation:
            best = found
    if best is None:
        raise reason or CorruptError("superblock: the volume is too small for one")
    return best
