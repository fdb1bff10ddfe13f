"""After a crash: finishing what our journal says, removing files that had lost their names, and emptying the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.block.cache import BufferCache

from jefeos_fs_ntfs.journal import Journal
from jefeos_fs_ntfs.overlay import OverlayDevice
from jefeos_fs_ntfs.volume import Volume

if TYPE_CHECKING:
    from jefeos_fs_ntfs.boot import Geometry

OVERLAY_CACHE_BYTES: Final = 4 << 20


def recover(volume: BufferCache, geometry: Geometry, *, on_medium: bool) -> BufferCache:
    """The volume with its journal finished: on the medium, or as it will be then, in memory. The same object if there
    was nothing to finish. Raises CorruptError."""
    journal = Journal(volume, geometry)
    if not journal.half_bytes or not journal.state().ours:
        return volume
    if on_medium:
        recovered = volume
    else:
        recovered = BufferCache(OverlayDevice(volume), capacity_bytes=OVERLAY_CACHE_BYTES)
        journal = Journal(recovered, geometry)
    unfinished = journal.unfinished()
    journal.finish(unfinished)
    Volume(recovered).resume(unfinished.sequence, unfinished.orphans)
    return recovered


def was_cut_off(volume: BufferCache, geometry: Geometry) -> bool:
    """Whether there is something to finish. Raises CorruptError."""
    journal = Journal(volume, geometry)
    return bool(journal.half_bytes) and journal.state().ours
