"""``jefeos disk``: disk images and what is on them, without booting anything.

Exit statuses: 0; 1 if something failed, which is told; 2 for wrong usage. Those of fsck are fsck(8)'s: 0 nothing is
wrong, 1 repaired, 4 something is left, 8 it could not be looked at.
"""

from __future__ import annotations

import json
import os
import stat as modes
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from attrs import evolve

from jefeos.block.image import create_image, open_image
from jefeos.block.sources import VolumeSource, open_volume, recognise
from jefeos.cli.disk_volume import (
    DiskError,
    Volume,
    counted,
    each,
    human,
    named_type,
    progress_bar,
    speaking_of,
    type_on,
    volume_types,
    waiting_for_interrupts,
    words_of,
)
from jefeos.errors import CorruptError, JefeError, KernelError, UsageError

if TYPE_CHECKING:
    from jefeos.vfs.inode import Stat

CLEAN, REPAIRED, LEFT, FAILED = 0, 1, 4, 8


def create_command(image: str, size: str, kind: str | None, table: str | None) -> int:
    """Make an image, perhaps with a table and one partition that fills it; without ``kind`` its name decides."""
    from jefeos.block.image import ImageDevice
    from jefeos.block.tables import TABLES, whole_disk, write_table
    from jefeos.config import parse_size

    if table == "none":
        table = None
    if table is not None and table not in TABLES:
        raise UsageError(f"--table is one of {', '.join(TABLES)} and none, not {table!r}")
    create_image(image, parse_size(size), kind or ("vhd" if image.lower().endswith(".vhd") else "raw"))
    if table is not None:
        opened = open_image(image)
        try:
            device = ImageDevice(opened)
            write_table(device, table, [whole_disk(device)], os.urandom)
        except BaseException:
            os.unlink(image)
            raise
        finally:
            opened.close()
    return 0


def mkfs_command(
    source: str, kind: str, *, label: str, cluster: str | None, variant: str | None, force: bool
) -> int:
    """Lay out a filesystem, of which the partition table gets to know. What is there already is only overwritten by
    force."""
    from jefeos.block.image import ImageDevice
    from jefeos.block.partitions import read_partitions
    from jefeos.block.tables import set_kind
    from jefeos.block.volume import FormatOptions
    from jefeos.config import parse_size
    from jefeos.sched.clock import RealClock

    chosen = named_type(kind)
    assert chosen.volume is not None
    parsed = VolumeSource.parse(source)
    volume = open_volume(parsed, read_only=False, whole=True)
    try:
        if not force:
            found = recognise(volume_types(), volume.cache)
            if found is not None:
                raise DiskError(f"{source} holds a {found.name} filesystem: say --force to overwrite it")
            if parsed.partition is None and (parts := read_partitions(volume.cache.device)):
                raise DiskError(
                    f"{source} has a partition table: say {source}:{parts[0].number}, or --force to overwrite it"
                )
        options = FormatOptions(
            label=label,
            cluster_bytes=parse_size(cluster) if cluster is not None else None,
            variant=variant,
            hidden_sectors=volume.entry.first_lba if volume.entry is not None else 0,
        )
        with progress_bar("formatting") as told, speaking_of(source):
            chosen.volume.make(volume.cache, options, RealClock(), told)
            if volume.entry is not None:
                set_kind(ImageDevice(volume.image), volume.entry, chosen.volume.partition_kind(volume.cache))
    finally:
        with speaking_of(source):
            volume.release()
    return 0


def info_command(source: str, *, as_json: bool) -> int:
    """What an image is: kind, size, partitions, and what is on the volume."""
    from jefeos.block.partitions import read_partitions

    parsed = VolumeSource.parse(source)
    whole = open_volume(evolve(parsed, partition=None), read_only=True, whole=True)
    told: dict[str, Any] = {"image": parsed.path, "kind": _kind_of(whole.image), "size_bytes": whole.image.size_bytes}
    try:
        types = volume_types()
        entries = read_partitions(whole.cache.device)
        told["partitions"] = []
        for entry in entries:
            part = open_volume(VolumeSource(parsed.path, entry.number), read_only=True)
            found = recognise(types, part.cache)
            told["partitions"].append({
                "number": entry.number, "first_lba": entry.first_lba, "sectors": entry.sector_count,
                "type": entry.kind, "name": entry.name, "filesystem": found.name if found is not None else None,
            })  # fmt: skip
            part.image.close()
    finally:
        whole.image.close()
    if parsed.partition is not None or len(entries) < 2:
        told["volume"] = _describe(source)
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _print_info(told)
    return 0


def _kind_of(image: object) -> str:
    from jefeos.block.vhd import VhdImage

    if not isinstance(image, VhdImage):
        return "raw"
    return "vhd" if image.dynamic else "vhd-fixed"


def _describe(source: str) -> dict[str, Any] | None:
    volume = open_volume(VolumeSource.parse(source), read_only=True)
    try:
        kind = recognise(volume_types(), volume.cache)
        if kind is None or kind.volume is None:
            return None
        with speaking_of(source):
            return {"filesystem": kind.name, **kind.volume.describe(volume.cache)}
    finally:
        volume.image.close()


def _print_info(told: dict[str, Any]) -> None:
    print(f"{told['image']}: {told['kind']}, {human(told['size_bytes'])}")
    for part in told["partitions"]:
        what = part["filesystem"] or "no filesystem that is known"
        name = f" {part['name']!r}" if part["name"] else ""
        print(f"  partition {part['number']}: {human(part['sectors'] * 512)} at sector {part['first_lba']},"
              f" type {part['type']}{name}: {what}")  # fmt: skip
    if "volume" in told:
        for key, value in (told["volume"] or {"filesystem": "none that is known"}).items():
            size = f" ({human(value)})" if key.endswith("_bytes") and isinstance(value, int) else ""
            print(f"  {key}: {value}{size}")


def ls_command(source: str, path: str, *, long: bool, recursive: bool, as_json: bool) -> int:
    """List a directory, or show a file."""
    found: list[dict[str, Any]] = []
    with Volume.open(source, writable=False) as volume:
        top = _absolute(path)
        with speaking_of(f"{source}:{path}"):
            stat = volume.vfs.stat(volume.actor, top, follow=not long)
            if not modes.S_ISDIR(stat.mode):
                found.append(_row(volume, top, stat, os.fsdecode(top)))
        status = 0 if found else _list_below(volume, source, top, recursive, found)
    if as_json:
        print(json.dumps(found, indent=2))
        return status
    for row in found:
        arrow = f" -> {row['target']}" if long and row["target"] is not None else ""
        print((_long(row) if long else "") + _printable(row["name"]) + arrow)
    return status


def _list_below(volume: Volume, source: str, top: bytes, recursive: bool, found: list[dict[str, Any]]) -> int:
    """Collect what is in ``top``. 1 if something could not be looked at."""
    status, pending = 0, [(top, "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            names = sorted(entry.name for entry in volume.vfs.resolve(volume.actor, folder).inode.readdir())
        except KernelError as error:
            print(f"jefeos: {source}:{os.fsdecode(folder)}: {words_of(error)}", file=sys.stderr)
            status = 1
            continue
        below = []
        for name in names:
            path = folder.rstrip(b"/") + b"/" + name
            try:
                stat = volume.vfs.stat(volume.actor, path, follow=False)
                found.append(_row(volume, path, stat, prefix + os.fsdecode(name)))
            except KernelError as error:
                print(f"jefeos: {source}:{os.fsdecode(path)}: {words_of(error)}", file=sys.stderr)
                status = 1
                continue
            if recursive and modes.S_ISDIR(stat.mode):
                below.append((path, prefix + os.fsdecode(name) + "/"))
        pending += reversed(below)
    return status


def _row(volume: Volume, path: bytes, stat: Stat, name: str) -> dict[str, Any]:
    is_link = modes.S_ISLNK(stat.mode)
    return {
        "name": name,
        "type": modes.filemode(stat.mode)[0].replace("-", "f"),
        "mode": modes.filemode(stat.mode),
        "links": stat.nlink,
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "mtime_ns": stat.mtime_ns,
        "target": os.fsdecode(volume.vfs.readlink(volume.actor, path)) if is_link else None,
    }


def _long(row: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["mtime_ns"] // 10**9))
    return f"{row['mode']} {row['links']:3} {row['uid']:5} {row['gid']:5} {row['size']:12} {when} "


def _printable(name: str) -> str:
    """Names on a disk may hold anything; a terminal is not to obey them, and text can be printed."""
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)


def cat_command(source: str, paths: list[str]) -> int:
    """Write files to standard output."""
    from jefeos.cli.disk_sides import VolumeSide, solid

    _require_paths(paths)
    with Volume.open(source, writable=False) as volume:
        side = VolumeSide(source, volume)

        def write(path: str) -> None:
            with speaking_of(f"{source}:{path}"):
                size = volume.vfs.stat(volume.actor, _absolute(path)).size
                for piece in solid(side.read(_absolute(path)), size):
                    sys.stdout.buffer.write(piece)

        status = each(paths, write)
    sys.stdout.buffer.flush()
    return status


def rm_command(source: str, paths: list[str], *, recursive: bool, force: bool) -> int:
    """Remove files, and trees if asked to."""
    from jefeos.errors import Errno

    _require_paths(paths)
    with waiting_for_interrupts() as heed_interrupts, Volume.open(source, writable=True) as volume:

        def remove(path: bytes) -> None:
            heed_interrupts()
            stat = volume.vfs.stat(volume.actor, path, follow=False)
            if not modes.S_ISDIR(stat.mode):
                volume.vfs.unlink(volume.actor, path)
                return
            if not recursive:
                raise KernelError(Errno.EISDIR, "say --recursive")
            for entry in list(volume.vfs.resolve(volume.actor, path).inode.readdir()):
                remove(path.rstrip(b"/") + b"/" + entry.name)
            if path.strip(b"/"):
                volume.vfs.rmdir(volume.actor, path)

        def work(path: str) -> None:
            with speaking_of(f"{source}:{path}"):
                try:
                    remove(_absolute(path))
                except KernelError as error:
                    if not (force and error.errno == Errno.ENOENT):
                        raise

        return each(paths, work)


def fsck_command(source: str, *, kind: str | None, repair: bool, as_json: bool) -> int:
    """Check a volume; with ``repair`` put right what can be. The status is fsck(8)'s.

    ``kind`` is the type to take it for, where it is too damaged to be recognised.
    """
    from jefeos.sched.clock import RealClock

    named = named_type(kind) if kind is not None else None
    try:
        volume = open_volume(VolumeSource.parse(source), read_only=not repair)
    except JefeError as error:
        print(f"jefeos: {error.args[0] or error}", file=sys.stderr)
        return FAILED
    try:
        found = named or type_on(volume)[0]
        assert found.volume is not None
        with ExitStack() as stack:
            if repair:  # half of one is worse than none
                stack.enter_context(waiting_for_interrupts())
            told = stack.enter_context(progress_bar("checking"))
            report = found.volume.check(volume.cache, repair=repair, clock=RealClock(), progress=told)
    except CorruptError as error:
        print(f"jefeos: {source}: {error.args[0]}", file=sys.stderr)
        return LEFT
    except KernelError as error:
        print(f"jefeos: {source}: {words_of(error)}", file=sys.stderr)
        return FAILED
    except DiskError as error:
        print(f"jefeos: {error}", file=sys.stderr)
        return FAILED
    finally:
        volume.image.close()
    status = CLEAN if not report.problems else REPAIRED if report.clean else LEFT
    if as_json:
        from attrs import asdict

        print(json.dumps({"filesystem": found.name, "clean": report.clean, **asdict(report)}, indent=2))
        return status
    for problem in report.problems:
        done = "repaired" if problem.repaired else "harmless" if problem.harmless else "not repaired"
        print(f"{_printable(problem.where)}: {_printable(problem.what)} ({done})")
    for note in report.notes:
        print(f"note: {_printable(note)}")
    verdict = {CLEAN: "clean", REPAIRED: "repaired", LEFT: "has errors"}[status]
    counts = f"{counted(report.files, 'file')}, {counted(report.directories, 'directory')}"
    room = f"{human(report.used_bytes)} used, {human(report.free_bytes)} free"
    print(f"{source}: {found.name}, {verdict}: {counts}, {room}")
    return status


def mount_check_command(source: str, *, as_json: bool) -> int:
    """Whether a boot could mount it, and how. Nothing is written."""
    told: dict[str, Any] = {"source": source, "mounts": False, "filesystem": None, "writable": False, "why": ""}
    from jefeos.block.cache import BufferCache
    from jefeos.block.device import BlockDevice
    from jefeos.sched.clock import RealClock

    volume = open_volume(VolumeSource.parse(source), read_only=True)

    class Unwritten(BlockDevice):
        """The volume as one that may be written; what is written stays in the cache, and is dropped."""

        name, sector_bytes, sector_count = source, volume.cache.device.sector_bytes, volume.cache.device.sector_count

        def read_into(self, lba: int, buffer: memoryview) -> None:
            volume.cache.device.read_into(lba, buffer)

        def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
            pass

        def flush(self) -> None:
            pass

    try:
        kind, volume_format = type_on(volume)
        told["filesystem"] = kind.name
        filesystem = volume_format.open(
            BufferCache(Unwritten()), writable=True, page_cache=None, clock=RealClock()
        )
        told.update(mounts=True, writable=not filesystem.read_only, why=filesystem.read_only_reason)
    except DiskError as error:
        told["why"] = str(error)
    except KernelError as error:
        told["why"] = words_of(error)
    finally:
        volume.image.close()
    if as_json:
        print(json.dumps(told, indent=2))
    elif told["mounts"]:
        how = "to be read and written" if told["writable"] else f"only to be read: {told['why']}"
        print(f"{source}: {told['filesystem']}, mounts {how}")
    else:
        print(f"{source}: does not mount: {told['why']}")
    return 0 if told["mounts"] else 1


def _require_paths(paths: list[str]) -> None:
    if not paths:
        raise UsageError("which files? Write IMAGE PATH..., or IMAGE:/path")


def _absolute(path: str) -> bytes:
    return b"/" + os.fsencode(path).lstrip(b"/")
