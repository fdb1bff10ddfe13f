"""``jefeos disk snapshot``: snapshots of a volume in an image, for filesystems that have them (`VolumeFormat`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from jefeos.block.sources import VolumeSource, open_volume
from jefeos.cli.disk_volume import DiskError, speaking_of, type_on, waiting_for_interrupts
from jefeos.sched.clock import RealClock

if TYPE_CHECKING:
    from jefeos.block.cache import BufferCache
    from jefeos.block.volume import VolumeFormat


def list_command(source: str, *, as_json: bool) -> int:
    """One line each: when it was made (UTC), and its name."""
    found = []
    volume = open_volume(VolumeSource.parse(source), read_only=True)
    try:
        volume_format = _with_snapshots(type_on(volume))
        with speaking_of(source):
            found = volume_format.snapshots(volume.cache)
    finally:
        volume.image.close()
    if as_json:
        print(json.dumps([{"name": os.fsdecode(item.name), "created_ns": item.created_ns} for item in found], indent=2))
        return 0
    for item in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(item.created_ns // 10**9))
        print(f"{when}  {item.name.decode('utf-8', 'backslashreplace')}")
    return 0


def create_command(source: str, name: str) -> int:
    """Make a snapshot."""
    return _change(source, name, lambda kind, volume, wanted: kind.create_snapshot(volume, wanted, RealClock()))


def delete_command(source: str, name: str) -> int:
    """Delete a snapshot."""
    return _change(source, name, lambda kind, volume, wanted: kind.delete_snapshot(volume, wanted, RealClock()))


def rollback_command(source: str, name: str) -> int:
    """Go back to the newest snapshot."""
    return _change(source, name, lambda kind, volume, wanted: kind.roll_back(volume, wanted, RealClock()))


def _change(source: str, name: str, change: Callable[[VolumeFormat, BufferCache, bytes], None]) -> int:
    volume = open_volume(VolumeSource.parse(source), read_only=False)
    try:
        volume_format = _with_snapshots(type_on(volume))
        with waiting_for_interrupts(), speaking_of(f"{source}: {name}"):
            change(volume_format, volume.cache, os.fsencode(name))
    finally:
        with speaking_of(source):
            volume.release()
    return 0


def _with_snapshots(found: tuple[object, VolumeFormat]) -> VolumeFormat:
    if not found[1].has_snapshots:
        raise DiskError("this filesystem has no snapshots")
    return found[1]
