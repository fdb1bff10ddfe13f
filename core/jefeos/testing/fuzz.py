"""Damaged volumes: whatever is on the medium, the answer is an honest error, soon, and within little memory.

    campaign(FORMAT, contents, seeds=range(1000))      damage by seed, spread over what is not zero
    byte_campaign(FORMAT, contents, range(65536))      every byte of a range set to extreme and random values
    survive(FORMAT, damaged)                           one damaged volume: look, mount, walk, read, write, repair

A case is a number: ``case(contents, number)`` gives it again, and a failure names it. The volume lies between two
guards, which must be as they were; without repair or writing, so must be the volume.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from attrs import Factory, define

from jefeos.block.cache import BufferCache
from jefeos.block.image import SECTOR_BYTES, ImageDevice
from jefeos.block.partitions import Partition, PartitionEntry
from jefeos.block.volume import CheckReport, VolumeFormat
from jefeos.errors import Errno, KernelError
from jefeos.mm.pagecache import PageCache
from jefeos.testing.bounds import BoundsBroken, bounded
from jefeos.testing.volumes import Damage, MemoryImage, TestClock, damage, new_page_cache
from jefeos.vfs.flags import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from jefeos.vfs.inode import Filesystem, Inode

SECONDS: Final = 5.0
MEMORY_BYTES: Final = 256 << 20
GUARD_SECTORS: Final = 8
GUARD: Final = b"\xa5" * (GUARD_SECTORS * SECTOR_BYTES)
CACHE_BYTES: Final = 4 << 20
RAM_BYTES: Final = 4 << 20
MOST_NAMES: Final = 400
"""How much of a damaged tree is walked."""
MOST_READ_BYTES: Final = 1 << 18
EXTREME_BYTES: Final = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
PIECE_BYTES: Final = 512
CHANGED_SHARE: Final = 3
"""A campaign writes to each so-manieth of its volumes, and repairs it."""
ALIEN: Final = frozenset((Errno.ENXIO,))
"""Errors that tell of a missing check: the volume was asked for what is not on it."""


class NotSurvived(AssertionError):
    """A damaged volume led to something else than an honest error."""


@define
class Tally:
    """What a campaign saw."""

    cases: int = 0
    refused: int = 0
    """Did not mount."""
    mounted: int = 0
    outcomes: dict[str, int] = Factory(dict)
    """First error of each case that had one, by errno."""


def campaign(
    kind: VolumeFormat, contents: bytes, seeds: Iterable[int], *, ranges: list[tuple[int, int]] | None = None
) -> Tally:
    """Damage by seed within ``ranges``, or wherever the volume is not zero."""
    ranges = ranges or used_ranges(contents)
    return _run(kind, contents, ((f"seed {seed}", damage(len(contents), seed, ranges)) for seed in seeds))


def byte_campaign(kind: VolumeFormat, contents: bytes, offsets: Iterable[int], values: int = 1) -> Tally:
    """Each of these bytes set to ``values`` extreme or random values, chosen by its offset."""

    def cases() -> Iterable[tuple[str, list[Damage]]]:
        for offset in offsets:
            for round_ in range(values):
                value = byte_value(contents, offset, round_)
                yield f"byte {offset:#x}, round {round_}", [Damage(offset, bytes([value]))]

    return _run(kind, contents, cases())


def byte_value(contents: bytes, offset: int, round_: int) -> int:
    """What `byte_campaign` puts there: another value than was there."""
    dice = random.Random(offset << 8 | round_)
    old = contents[offset]
    values = [*EXTREME_BYTES, old ^ 1 << dice.randrange(8), old + 1 & 0xFF, dice.randrange(256)]
    value = values[(offset + round_) % len(values)]
    return value if value != old else value ^ 0x80


def used_ranges(contents: bytes) -> list[tuple[int, int]]:
    """Where a volume is not zero, in pieces; the first sector has a share of its own, as it decides most."""
    found = [
        (start, min(start + PIECE_BYTES, len(contents)))
        for start in range(0, len(contents), PIECE_BYTES)
        if any(contents[start : start + PIECE_BYTES])
    ]
    return found + [(0, PIECE_BYTES)] * (len(found) // 10)


def _run(kind: VolumeFormat, contents: bytes, cases: Iterable[tuple[str, list[Damage]]]) -> Tally:
    tally = Tally()
    image = MemoryImage(GUARD + contents + GUARD)
    for number, (name, pieces) in enumerate(cases):
        image.mark()
        for piece in pieces:
            image.write(len(GUARD) + piece.offset, piece.data)
        try:
            error = _survive(kind, image, change=number % CHANGED_SHARE == 0, seconds=SECONDS)
        except (NotSurvived, BoundsBroken) as failure:
            raise NotSurvived(f"{name}: {failure}") from failure
        image.undo()
        tally.cases += 1
        if error is None:
            tally.mounted += 1
        else:
            tally.refused += 1
            key = Errno(error.errno).name
            tally.outcomes[key] = tally.outcomes.get(key, 0) + 1
    return tally


def survive(
    kind: VolumeFormat, damaged: bytes | bytearray, *, change: bool = True, seconds: float = SECONDS
) -> KernelError | None:
    """Do to a damaged volume all that one does to a volume: look, fsck, mount and walk and read; with ``change`` also
    write, and repair. Gives the error with which it did not mount.

    Raises `NotSurvived` or `BoundsBroken`.
    """
    image = MemoryImage(GUARD + damaged + GUARD)
    image.mark()
    return _survive(kind, image, change=change, seconds=seconds)


def _survive(kind: VolumeFormat, image: MemoryImage, *, change: bool, seconds: float) -> KernelError | None:
    clock = TestClock()
    writes = image.writes_since_mark

    def within(what: str, call: Callable[[], object]) -> object:
        answer = bounded(call, seconds=seconds, memory_bytes=MEMORY_BYTES, what=what)
        if isinstance(answer, KernelError) and answer.errno in ALIEN:
            raise NotSurvived(f"{what}: {answer}")
        return answer

    within("recognise", lambda: kind.recognise(_volume(image)))
    within("describe", lambda: kind.describe(_volume(image)))
    within("fsck", lambda: kind.check(_volume(image), repair=False, clock=clock))
    refused = within("reading", lambda: _visit(kind, _volume(image), clock, writable=False))
    if image.writes_since_mark != writes:
        raise NotSurvived("it was written to, although nobody asked for that")
    if not change:
        return refused if isinstance(refused, KernelError) else None
    within("writing", lambda: _visit(kind, _volume(image), clock, writable=True))
    within("repair", lambda: _repair(kind, image, clock))
    if image.data[: len(GUARD)] != GUARD or image.data[-len(GUARD) :] != GUARD:
        raise NotSurvived("something outside of the volume was written")
    return refused if isinstance(refused, KernelError) else None


def _volume(image: MemoryImage) -> BufferCache:
    sectors = image.size_bytes // SECTOR_BYTES - 2 * GUARD_SECTORS
    entry = PartitionEntry(1, GUARD_SECTORS, sectors, "")
    return BufferCache(Partition(ImageDevice(image), entry), CACHE_BYTES)


def _repair(kind: VolumeFormat, image: MemoryImage, clock: TestClock) -> CheckReport:
    report = kind.check(_volume(image), repair=True, clock=clock)
    again = kind.check(_volume(image), repair=False, clock=clock)
    if report.clean and not again.clean:
        raise NotSurvived(f"fsck called it repaired, and then found {again.problems[:3]}")
    return again


def _visit(kind: VolumeFormat, volume: BufferCache, clock: TestClock, *, writable: bool) -> None:
    """Mount, walk, read; with ``writable`` change something here and there. Raises KernelError if it does not mount."""
    cache: PageCache = new_page_cache(RAM_BYTES)
    filesystem = kind.open(volume, writable=writable, page_cache=cache, clock=clock)
    for call in (
        filesystem.statfs,
        lambda: _walk(filesystem, change=writable and not filesystem.read_only),
        filesystem.sync,
        filesystem.unmount,
    ):
        _honestly(call)


def _walk(filesystem: Filesystem, *, change: bool) -> None:
    pending: list[Inode] = [filesystem.root]
    seen: set[int] = set()
    count = 0
    while pending and count < MOST_NAMES:
        directory = pending.pop()
        if directory.ino in seen:
            continue
        seen.add(directory.ino)
        entries = _honestly(lambda: list(directory.readdir()))  # noqa: B023 (called at once)
        for entry in entries if isinstance(entries, list) else ():
            count += 1
            if count > MOST_NAMES:
                break
            inode = _honestly(lambda: directory.lookup(entry.name))  # noqa: B023
            if isinstance(inode, Inode):
                _look_at(inode, change and count % 3 == 0)
                if inode.mode & S_IFMT == S_IFDIR:
                    pending.append(inode)
        if change:
            _change(directory, count)


def _look_at(inode: Inode, change: bool) -> None:
    _honestly(inode.stat)
    _honestly(lambda: [inode.get_xattr(name) for name in inode.list_xattrs()])
    kind = inode.mode & S_IFMT
    if kind == S_IFLNK:
        _honestly(inode.readlink)
    elif kind == S_IFREG:
        _honestly(lambda: inode.read(0, MOST_READ_BYTES))
        _honestly(lambda: inode.read(max(inode.size - 5000, 0), 10_000))
        if change:
            _honestly(lambda: inode.write(min(inode.size, 1 << 20), b"more" * 300))
            _honestly(lambda: inode.truncate(10))


def _change(directory: Inode, number: int) -> None:
    made = _honestly(lambda: directory.create(b"new file %d" % number, S_IFREG | 0o644, 0, 0))
    if isinstance(made, Inode):
        _honestly(lambda: made.write(0, bytes(5000)))
        _honestly(lambda: directory.rename(b"new file %d" % number, directory, b"moved %d" % number, 0))
    _honestly(lambda: directory.mkdir(b"new folder %d" % number, S_IFDIR | 0o755, 0, 0))
    _honestly(lambda: directory.rmdir(b"new folder %d" % number))


def _honestly(call: Callable[[], object]) -> object:
    """The result; a KernelError is an answer too, unless it tells of a missing check."""
    try:
        return call()
    except KernelError as error:
        if error.errno in ALIEN:
            raise NotSurvived(f"{error}") from error
        return error
