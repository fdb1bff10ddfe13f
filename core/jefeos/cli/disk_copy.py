"""``jefeos disk cp``: files and trees between the host and volumes in images, in any direction.

What was there before is replaced or left as it was, never half of both (`jefeos.cli.disk_sides`). Kept are contents,
names, times, permissions, holes, extended attributes, and which names are hard links of one file; what the target
cannot hold is told in one line at the end. Symbolic links are copied as links, inside of directories. Devices and pipes
of the host are poured from and into, /dev/stdin among them; with ``recursive`` they are left out with a line, as
special files of volumes always are. Owners are not copied. ^C is heeded between two pieces: what was copied until then
is whole.
"""

from __future__ import annotations

import os
import stat as modes
import sys
from collections.abc import Callable
from contextlib import ExitStack

from attrs import Factory, define

from jefeos.cli.disk_sides import Entry, HostSide, Pieces, Side, VolumeSide
from jefeos.cli.disk_volume import (
    DiskError,
    Volume,
    VolumePath,
    counted,
    progress_bar,
    waiting_for_interrupts,
    words_of,
)
from jefeos.errors import KernelError, UsageError


def copy_command(sources: list[str], destination: str, *, recursive: bool) -> int:
    """Copy; 1 if something could not be copied, which is told, with the others done."""
    parsed = [VolumePath.parse(source) for source in sources]
    goal = VolumePath.parse(destination)
    if goal is None and not any(parsed):
        raise UsageError("none of these is in an image that is there: write IMAGE:/path for what is")
    with ExitStack() as stack:
        heed_interrupts: Callable[[], None] = nothing_to_heed
        if goal is not None:  # nothing of a volume that is only read can be left half-done
            heed_interrupts = stack.enter_context(waiting_for_interrupts())
        volumes: dict[str, VolumeSide] = {}
        writable = {goal.source} if goal is not None else set()
        for text in dict.fromkeys(place.source for place in (goal, *parsed) if place is not None):
            opened = stack.enter_context(Volume.open(text, writable=text in writable))
            volumes[text] = VolumeSide(text, opened)
        host = HostSide()
        target: Side = volumes[goal.source] if goal is not None else host
        where = goal.path if goal is not None else os.fsencode(destination)
        told = stack.enter_context(progress_bar("copying", is_bytes=True))
        copier = _Copier(target, host, recursive, told, heed_interrupts)
        jobs = [
            (volumes[place.source], place.path) if place is not None else (host, os.fsencode(source))
            for place, source in zip(parsed, sources, strict=True)
        ]
        copier.total = sum(copier.bytes_below(side, path) for side, path in jobs)
        found = target.look(where, follow=True)
        into = found is not None and modes.S_ISDIR(found.mode)
        if len(sources) > 1 and not into:
            raise DiskError(f"{target.show(where)} is no directory")
        for side, path in jobs:
            name = os.path.basename(path.rstrip(b"/"))
            copier.copy(side, path, where.rstrip(b"/") + b"/" + name if into and name else where, top=True)
        copier.say_what_is_lost(goal.source if goal is not None else destination)
        return copier.status


def nothing_to_heed() -> None:
    """A ^C strikes where it will."""


@define
class _Copier:
    target: Side
    host: HostSide
    recursive: bool
    told: Callable[[int, int], None]
    heed_interrupts: Callable[[], None]
    total: int = 0
    done: int = 0
    status: int = 0
    lost: dict[str, int] = Factory(dict)
    """What the target could not hold, and of how many files."""
    linked: dict[tuple[int, tuple[int, int]], bytes] = Factory(dict)
    """Files with several names: side and identity to the copy."""
    made: dict[tuple[int, int], bytes] = Factory(dict)
    """Copies by their identity: two names may be one where case does not count."""

    def bytes_below(self, side: Side, path: bytes) -> int:
        """For the bar; what cannot be looked at counts nothing."""
        self.heed_interrupts()
        try:
            entry = side.look(path, follow=False)
            if entry is None:
                return 0
            if modes.S_ISDIR(entry.mode):
                return sum(self.bytes_below(side, path.rstrip(b"/") + b"/" + name) for name in side.names(path))
            return entry.size if modes.S_ISREG(entry.mode) else 0
        except (KernelError, OSError):
            return 0

    def copy(self, side: Side, path: bytes, to: bytes, *, top: bool = False) -> None:
        """One file, or a tree. Errors are told, and counted in `status`."""
        self.heed_interrupts()
        try:
            entry = side.look(path, follow=top)
            if entry is None:
                self.fail(f"{side.show(path)}: No such file or directory")
            elif modes.S_ISDIR(entry.mode):
                self._directory(side, path, to, entry)
            elif modes.S_ISLNK(entry.mode):
                self._link(side, path, to, entry)
            elif modes.S_ISREG(entry.mode):
                self._file(side, path, to, entry)
            elif top and side is self.host and not self.recursive:
                self._file(side, path, to, self.host.new_file())
            else:
                self.fail(f"{side.show(path)} is a special file and left out")
        except KernelError as error:
            self.fail(f"{side.show(path)} to {self.target.show(to)}: {words_of(error)}")
        except OSError as error:
            self.fail(f"{side.show(path)} to {self.target.show(to)}: {error.strerror or error}")

    def _link(self, side: Side, path: bytes, to: bytes, entry: Entry) -> None:
        found = self.target.look(to, follow=False)
        if found is not None and not (modes.S_ISREG(found.mode) or modes.S_ISLNK(found.mode)):
            self.fail(f"{self.target.show(to)} is there, and no file")
            return
        self.target.symlink(side.readlink(path), to, entry)

    def _file(self, side: Side, path: bytes, to: bytes, entry: Entry) -> None:
        found = self.target.look(to, follow=True)
        if found is not None and modes.S_ISDIR(found.mode):
            self.fail(f"{self.target.show(to)} is a directory")
            return
        if found is not None and not modes.S_ISREG(found.mode) and self.target is not self.host:
            self.fail(f"{self.target.show(to)} is a special file")
            return
        if found is not None and self.made.get(found.identity, to) != to:
            other = self.target.show(self.made[found.identity])
            self.fail(f"{side.show(path)} would replace {other}, which was just copied: the names are one there")
            return
        number = (id(side), entry.identity)
        is_file = found is None or modes.S_ISREG(found.mode)
        if entry.links > 1 and number in self.linked and is_file:
            if self.target.link(self.linked[number], to):
                self._count(entry.size)
                return
            self._lose(["hard links"])
        xattrs, all_of_them = side.xattrs(path)
        lost = self.target.write(to, self._counted(side.read(path)), entry, xattrs)
        self._lose(lost if all_of_them else ["extended attributes", *lost])
        self._count(0)
        if entry.links > 1:
            self.linked[number] = to
        made = self.target.look(to, follow=False)
        if made is not None:
            self.made[made.identity] = to

    def _counted(self, pieces: Pieces) -> Pieces:
        for offset, piece in pieces:
            yield offset, piece
            self._count(len(piece))
            self.heed_interrupts()

    def _count(self, length: int) -> None:
        self.done += length
        self.told(self.done, max(self.total, self.done))

    def _directory(self, side: Side, path: bytes, to: bytes, entry: Entry) -> None:
        if not self.recursive:
            self.fail(f"{side.show(path)} is a directory: say --recursive")
            return
        if side is self.target and (_plain(to) + b"/").startswith(_plain(path) + b"/"):
            self.fail(f"{side.show(path)} cannot be copied into itself, {self.target.show(to)}")
            return
        found = self.target.look(to, follow=True)
        if found is None:
            self.target.mkdir(to)
        elif not modes.S_ISDIR(found.mode):
            self.fail(f"{self.target.show(to)} is no directory")
            return
        for name in side.names(path):
            self.copy(side, path.rstrip(b"/") + b"/" + name, to.rstrip(b"/") + b"/" + name)
        xattrs, all_of_them = side.xattrs(path)
        lost = self.target.adorn(to, entry, xattrs)
        self._lose(lost if all_of_them else ["extended attributes", *lost])

    def _lose(self, what: list[str]) -> None:
        for name in set(what):
            self.lost[name] = self.lost.get(name, 0) + 1

    def say_what_is_lost(self, target: str) -> None:
        """One line about everything that the target could not hold."""
        if self.lost:
            what = ", ".join(f"{name} ({counted(count, 'file')})" for name, count in sorted(self.lost.items()))
            print(f"jefeos: {target} cannot hold, and did not get: {what}", file=sys.stderr)

    def fail(self, message: str) -> None:
        print(f"jefeos: {message}", file=sys.stderr)
        self.status = 1


def _plain(path: bytes) -> bytes:
    """Without dots and double slashes."""
    return os.path.normpath(b"/" + path).replace(b"//", b"/").rstrip(b"/")
