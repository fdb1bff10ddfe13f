"""Applets that make, move, remove and list files."""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.vfs.flags import O_CREAT, O_TRUNC, O_WRONLY
from jefeos.vfs.inode import Stat

from ..messages import shown
from .common import (
    CHUNK_BYTES,
    DIRECTORY,
    REGULAR,
    STATUS_USAGE,
    SYMLINK,
    TYPE_MASK,
    UsageFailure,
    base_name,
    checked,
    complain,
    fail,
    is_directory,
    join,
    options,
    status_or_none,
)
from .dates import local_time

TYPE_LETTERS = {
    0o010000: "p",
    0o020000: "c",
    0o040000: "d",
    0o060000: "b",
    0o100000: "-",
    0o120000: "l",
    0o140000: "s",
}
SIX_MONTHS_NS = 182 * 24 * 3600 * 10**9


@checked
async def ls(proc: Proc, argv: list[bytes]) -> int:
    """``ls [-a1dlR] [file...]``: one name a line, sorted."""
    found, paths = options(argv, b"a1dlhRF")
    status = 0
    files: list[tuple[bytes, Stat]] = []
    folders: list[bytes] = []
    for path in paths or [b"."]:
        try:
            attributes = status_or_none(proc, path) or proc.stat(path, follow=False)
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            status = STATUS_USAGE  # as others do for what was named, against 1 for what was met on the way
            continue
        if attributes.mode & TYPE_MASK == DIRECTORY and "d" not in found:
            folders.append(path)
        else:
            files.append((path, proc.stat(path, follow=False)))
    await _print_entries(proc, b"", sorted(files), found)
    headed = len(paths) > 1 or "R" in found
    first = not files
    pending = sorted(folders)
    while pending:
        folder = pending.pop(0)
        try:
            names = sorted(entry.name for entry in await proc.readdir(folder))
        except KernelError as error:
            status |= await fail(proc, argv[0], folder, error)
            continue
        if "a" in found:
            names = [b".", b"..", *names]
        else:
            names = [name for name in names if name[:1] != b"."]
        if headed:
            await proc.write(1, (b"" if first else b"\n") + folder + b":\n")
        first = False
        entries = []
        for name in names:
            try:
                entries.append((name, proc.stat(join(folder, name), follow=False)))
            except KernelError:
                continue  # removed meanwhile
        await _print_entries(proc, folder, entries, found)
        if "R" in found:
            below = [n for n, s in entries if s.mode & TYPE_MASK == DIRECTORY and n not in (b".", b"..")]
            pending = [join(folder, name) for name in below] + pending
    return status


async def _print_entries(
    proc: Proc, folder: bytes, entries: list[tuple[bytes, Stat]], found: dict[str, bytes]
) -> None:
    if "l" not in found:
        await proc.write(1, b"".join(name + b"\n" for name, _ in entries))
        return
    rows = [(_columns(proc, attributes), name, attributes) for name, attributes in entries]
    widths = [max((len(row[0][column]) for row in rows), default=0) for column in range(5)]
    lines = []
    for (links, uid, gid, size, when), name, attributes in rows:
        text = f"{mode_text(attributes.mode)} {links:>{widths[0]}} {uid:<{widths[1]}} {gid:<{widths[2]}} "
        line = f"{text}{size:>{widths[3]}} {when} ".encode() + name
        if attributes.mode & TYPE_MASK == SYMLINK:
            try:
                line += b" -> " + proc.readlink(join(folder, name) if folder else name)
            except KernelError:
                pass
        lines.append(line + b"\n")
    await proc.write(1, b"".join(lines))


def _columns(proc: Proc, attributes: Stat) -> tuple[str, str, str, str, str]:
    size = str(attributes.size)
    if attributes.mode & TYPE_MASK in (0o020000, 0o060000):
        size = f"{attributes.rdev >> 8 & 0xFFF},{attributes.rdev & 0xFF}"
    when = local_time(attributes.mtime_ns // 10**9)
    recent = abs(proc.kernel.clock.realtime_ns() - attributes.mtime_ns) < SIX_MONTHS_NS
    clock = f"{when.hour:02}:{when.minute:02}" if recent else f" {when.year}"
    date = f"{when.strftime('%b')} {when.day:>2} {clock}"
    return str(attributes.nlink), str(attributes.uid), str(attributes.gid), size, date


def mode_text(mode: int) -> str:
    """``drwxr-xr-x``."""
    text = TYPE_LETTERS.get(mode & TYPE_MASK, "?")
    for shift, special, letter in ((6, 0o4000, "s"), (3, 0o2000, "s"), (0, 0o1000, "t")):
        bits = mode >> shift
        text += "r" if bits & 4 else "-"
        text += "w" if bits & 2 else "-"
        if mode & special:
            text += letter if bits & 1 else letter.upper()
        else:
            text += "x" if bits & 1 else "-"
    return text


@checked
async def cp(proc: Proc, argv: list[bytes]) -> int:
    """``cp [-rp] source... target``."""
    found, paths = options(argv, b"rRpfa")
    sources, target = _sources_and_target(proc, paths)
    recursive = bool({"r", "R", "a"} & set(found))
    status = 0
    for source in sources:
        status |= await _copy(proc, argv[0], source, _place(proc, source, target), recursive)
    return status


async def _copy(proc: Proc, name: bytes, source: bytes, target: bytes, recursive: bool) -> int:
    pending = [(source, target)]
    status = 0
    while pending:
        here, there = pending.pop()
        try:
            attributes = proc.stat(here, follow=not recursive)
            kind = attributes.mode & TYPE_MASK
            if kind == DIRECTORY:
                if not recursive:
                    await complain(proc, name, f"{shown(here)}: is a directory (-r copies it)")
                    status = 1
                    continue
                if _is_below(proc, there, here):
                    await complain(proc, name, f"{shown(here)}: cannot be copied into itself")
                    status = 1
                    continue
                if not is_directory(proc, there):
                    proc.mkdir(there, attributes.mode & 0o777 | 0o700)
                pending += [(join(here, e.name), join(there, e.name)) for e in await proc.readdir(here)]
            elif kind == SYMLINK:
                proc.symlink(proc.readlink(here), there)
            elif kind == REGULAR or not recursive:
                await _copy_file(proc, name, here, there, attributes)
            else:
                await complain(proc, name, f"{shown(here)}: not a regular file")
                status = 1
        except KernelError as error:
            status = await fail(proc, name, here if status_or_none(proc, here) is None else there, error)
    return status


async def _copy_file(proc: Proc, name: bytes, source: bytes, target: bytes, attributes: Stat) -> None:
    present = status_or_none(proc, target)
    if present is not None and (present.dev, present.ino) == (attributes.dev, attributes.ino):
        raise KernelError(Errno.EINVAL)
    reading = await proc.open(source)
    try:
        writing = await proc.open(target, O_WRONLY | O_CREAT | O_TRUNC, attributes.mode & 0o777)
        try:
            while data := await proc.read(reading, CHUNK_BYTES):
                await proc.write(writing, data)
        finally:
            proc.close(writing)
    finally:
        proc.close(reading)


def _is_below(proc: Proc, path: bytes, folder: bytes) -> bool:
    """Whether the folder of ``path`` is ``folder`` or lies below it."""
    wanted = proc.stat(folder)
    here = path.rpartition(b"/")[0] or (b"/" if path.startswith(b"/") else b".")
    while True:
        try:
            status = proc.stat(here)
            above = proc.stat(join(here, b".."))
        except KernelError:
            return False
        if (status.dev, status.ino) == (wanted.dev, wanted.ino):
            return True
        if (status.dev, status.ino) == (above.dev, above.ino):
            return False
        here = join(here, b"..")


def _sources_and_target(proc: Proc, paths: list[bytes]) -> tuple[list[bytes], bytes]:
    if len(paths) < 2:
        raise UsageFailure("needs a source and a target")
    if len(paths) > 2 and not is_directory(proc, paths[-1]):
        raise UsageFailure(f"{shown(paths[-1])} is no directory")
    return paths[:-1], paths[-1]


def _place(proc: Proc, source: bytes, target: bytes) -> bytes:
    """Where ``source`` goes: into a directory, or to the very name."""
    return join(target, base_name(source)) if is_directory(proc, target) else target


@checked
async def mv(proc: Proc, argv: list[bytes]) -> int:
    """``mv source... target``: renames, or copies and removes between filesystems."""
    _, paths = options(argv, b"f")
    sources, target = _sources_and_target(proc, paths)
    status = 0
    for source in sources:
        place = _place(proc, source, target)
        try:
            proc.rename(source, place)
        except KernelError as error:
            if error.errno != Errno.EXDEV:
                status = await fail(proc, argv[0], source, error)
            elif await _copy(proc, argv[0], source, place, recursive=True):
                status = 1
            else:
                status |= await _remove(proc, argv[0], source, recursive=True)
    return status


@checked
async def rm(proc: Proc, argv: list[bytes]) -> int:
    """``rm [-rf] file...``."""
    found, paths = options(argv, b"rRf")
    if not paths and "f" not in found:
        raise UsageFailure("needs a file")
    status = 0
    for path in paths:
        if base_name(path) in (b".", b"..", b"/"):
            await complain(proc, argv[0], f"{shown(path)}: will not be removed")
            status = 1
        elif status_or_none(proc, path, follow=False) is None and "f" in found:
            continue
        else:
            status |= await _remove(proc, argv[0], path, recursive=bool({"r", "R"} & set(found)))
    return status


async def _remove(proc: Proc, name: bytes, path: bytes, recursive: bool) -> int:
    """Remove a tree, the leaves first, without recursion."""
    status = 0
    pending = [(path, False)]
    while pending:
        here, emptied = pending.pop()
        try:
            if emptied:
                proc.rmdir(here)
            elif proc.stat(here, follow=False).mode & TYPE_MASK != DIRECTORY:
                proc.unlink(here)
            elif not recursive:
                raise KernelError(Errno.EISDIR)
            else:
                pending.append((here, True))
                pending += [(join(here, entry.name), False) for entry in await proc.readdir(here)]
        except KernelError as error:
            status = await fail(proc, name, here, error)
    return status


@checked
async def mkdir(proc: Proc, argv: list[bytes]) -> int:
    """``mkdir [-p] [-m mode] folder...``."""
    found, paths = options(argv, b"p", b"m")
    try:
        mode = int(found.get("m", b"777"), 8)
    except ValueError:
        raise UsageFailure(f"{shown(found['m'])} is no octal mode") from None
    if not paths:
        raise UsageFailure("needs a folder")
    status = 0
    for path in paths:
        try:
            if "p" in found:
                parts = path.split(b"/")
                for count in range(1, len(parts)):
                    above = b"/".join(parts[:count])
                    if above and not is_directory(proc, above):
                        proc.mkdir(above)
                if is_directory(proc, path):
                    continue
            proc.mkdir(path, mode)
        except KernelError as error:
            status = await fail(proc, argv[0], path, error)
    return status


@checked
async def rmdir(proc: Proc, argv: list[bytes]) -> int:
    """``rmdir folder...``."""
    _, paths = options(argv, b"")
    status = 0
    for path in paths:
        try:
            proc.rmdir(path)
        except KernelError as error:
            status = await fail(proc, argv[0], path, error)
    return status


@checked
async def touch(proc: Proc, argv: list[bytes]) -> int:
    """``touch [-c] file...``: makes what is missing, sets the times of what is there to now."""
    found, paths = options(argv, b"c")
    status = 0
    for path in paths:
        try:
            if status_or_none(proc, path) is None:
                if "c" not in found:
                    proc.close(await proc.open(path, O_WRONLY | O_CREAT))
            else:
                now = proc.kernel.clock.realtime_ns()
                proc.kernel.vfs.utimens(proc.task, path, now, now)
        except KernelError as error:
            status = await fail(proc, argv[0], path, error)
    return status


@checked
async def ln(proc: Proc, argv: list[bytes]) -> int:
    """``ln [-sf] target name``."""
    found, paths = options(argv, b"sf")
    if len(paths) == 1:
        paths.append(base_name(paths[0]))
    if len(paths) != 2:
        raise UsageFailure("needs a target and a name")
    target, name = paths
    name = _place(proc, target, name)
    try:
        if "f" in found and status_or_none(proc, name, follow=False) is not None:
            proc.unlink(name)
        if "s" in found:
            proc.symlink(target, name)
        else:
            proc.link(target, name)
    except KernelError as error:
        return await fail(proc, argv[0], name, error)
    return 0


@checked
async def chmod(proc: Proc, argv: list[bytes]) -> int:
    """``chmod octal file...``."""
    _, words = options(argv, b"")
    if len(words) < 2:
        raise UsageFailure("needs a mode and a file")
    try:
        mode = int(words[0], 8)
    except ValueError:
        raise UsageFailure(f"{shown(words[0])} is no octal mode") from None
    status = 0
    for path in words[1:]:
        try:
            proc.chmod(path, mode & 0o7777)
        except KernelError as error:
            status = await fail(proc, argv[0], path, error)
    return status
