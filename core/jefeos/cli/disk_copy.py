"""``jefeos disk cp``: files and trees between the host and volumes in images, in any direction.

A file is written under another name beside its place, and takes its name when it is whole: what was there before is
replaced or left as it was, never half of both. Times are kept, and permissions where both sides have them. Symbolic
links are copied as links, inside of directories; special files are left out with a line.
"""

from __future__ import annotations

import os
import stat as modes
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

from attrs import define, frozen

from jefeos.cli.disk_volume import DiskError, Volume, VolumePath, progress_bar, words_of
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_RDONLY, O_WRONLY

PIECE_BYTES: Final = 1 << 22
PERMISSIONS: Final = 0o777


@frozen
class Entry:
    """What there is to know of a file before it is copied. ``mode`` is as in st_mode."""

    mode: int
    size: int
    atime_ns: int
    mtime_ns: int


class Side(ABC):
    """A tree of files that is copied from or to. Paths are bytes."""

    @abstractmethod
    def look(self, path: bytes, *, follow: bool) -> Entry | None:
        """The file, or None if there is none."""

    @abstractmethod
    def names(self, path: bytes) -> list[bytes]:
        """What is in a directory, in order."""

    @abstractmethod
    def read(self, path: bytes) -> Iterator[bytes]:
        """The contents in large pieces."""

    @abstractmethod
    def write(self, path: bytes, pieces: Iterator[bytes], entry: Entry) -> None:
        """Make or replace a file, all of it or nothing."""

    @abstractmethod
    def mkdir(self, path: bytes) -> None:
        """Make a directory."""

    @abstractmethod
    def readlink(self, path: bytes) -> bytes:
        """The target of a symbolic link."""

    @abstractmethod
    def symlink(self, target: bytes, path: bytes) -> None:
        """Make or replace a symbolic link."""

    @abstractmethod
    def set_times(self, path: bytes, entry: Entry) -> None:
        """The times of a directory, when everything in it is there."""

    @abstractmethod
    def show(self, path: bytes) -> str:
        """The path as the user writes it."""


class HostSide(Side):
    """Files of the host."""

    def look(self, path: bytes, *, follow: bool) -> Entry | None:
        try:
            found = os.stat(path, follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(found.st_mode, found.st_size, found.st_atime_ns, found.st_mtime_ns)

    def names(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(path))

    def read(self, path: bytes) -> Iterator[bytes]:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def write(self, path: bytes, pieces: Iterator[bytes], entry: Entry) -> None:
        handle, temporary = tempfile.mkstemp(prefix=b".jefeos-", dir=os.path.dirname(path) or b".")
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view) or 0 :]
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, entry.mode & PERMISSIONS & ~mask)
            os.utime(temporary, ns=(entry.atime_ns, entry.mtime_ns))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def mkdir(self, path: bytes) -> None:
        os.mkdir(path)

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(path)

    def symlink(self, target: bytes, path: bytes) -> None:
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)

    def set_times(self, path: bytes, entry: Entry) -> None:
        os.utime(path, ns=(entry.atime_ns, entry.mtime_ns))

    def show(self, path: bytes) -> str:
        return os.fsdecode(path)


@define
class VolumeSide(Side):
    """Files of a volume."""

    text: str
    volume: Volume

    def look(self, path: bytes, *, follow: bool) -> Entry | None:
        try:
            found = self.volume.vfs.stat(self.volume.actor, path, follow=follow)
        except KernelError as error:
            if error.errno in (Errno.ENOENT, Errno.ENOTDIR):
                return None
            raise
        return Entry(found.mode, found.size, found.atime_ns, found.mtime_ns)

    def names(self, path: bytes) -> list[bytes]:
        return sorted(entry.name for entry in self.volume.vfs.resolve(self.volume.actor, path).inode.readdir())

    def read(self, path: bytes) -> Iterator[bytes]:
        file = self.volume.vfs.open_file(self.volume.actor, path, O_RDONLY)
        try:
            position = 0
            while piece := file.pread(PIECE_BYTES, position):
                assert isinstance(piece, bytes)
                yield piece
                position += len(piece)
        finally:
            file.unref()

    def write(self, path: bytes, pieces: Iterator[bytes], entry: Entry) -> None:
        vfs, actor = self.volume.vfs, self.volume.actor
        folder, _, _ = path.rpartition(b"/")
        temporary = folder + b"/.jefeos-" + os.urandom(6).hex().encode()
        try:
            file = vfs.open_file(actor, temporary, O_WRONLY | O_CREAT | O_EXCL, entry.mode & PERMISSIONS)
            try:
                position = 0
                for piece in pieces:
                    done = 0
                    while done < len(piece):
                        count = file.pwrite(piece[done:] if done else piece, position)
                        assert isinstance(count, int) and count > 0
                        done += count
                        position += count
            finally:
                file.unref()
            vfs.rename(actor, temporary, path)
            vfs.utimens(actor, path, entry.atime_ns, entry.mtime_ns)
        except BaseException:
            if self.look(temporary, follow=False) is not None:
                vfs.unlink(actor, temporary)
            raise

    def mkdir(self, path: bytes) -> None:
        self.volume.vfs.mkdir(self.volume.actor, path, 0o755)

    def readlink(self, path: bytes) -> bytes:
        return self.volume.vfs.readlink(self.volume.actor, path)

    def symlink(self, target: bytes, path: bytes) -> None:
        if self.look(path, follow=False) is not None:
            self.volume.vfs.unlink(self.volume.actor, path)
        self.volume.vfs.symlink(self.volume.actor, target, path)

    def set_times(self, path: bytes, entry: Entry) -> None:
        self.volume.vfs.utimens(self.volume.actor, path, entry.atime_ns, entry.mtime_ns)

    def show(self, path: bytes) -> str:
        return f"{self.text}:{os.fsdecode(path)}"


def copy_command(sources: list[str], destination: str, *, recursive: bool) -> int:
    """Copy; 1 if something could not be copied, which is told, with the others done."""
    parsed = [VolumePath.parse(source) for source in sources]
    goal = VolumePath.parse(destination)
    if goal is None and not any(parsed):
        raise UsageError("none of these is in an image that is there: write IMAGE:/path for what is")
    with ExitStack() as stack:
        volumes: dict[str, VolumeSide] = {}
        writable = {goal.source} if goal is not None else set()
        for text in dict.fromkeys(place.source for place in (goal, *parsed) if place is not None):
            opened = stack.enter_context(Volume.open(text, writable=text in writable))
            volumes[text] = VolumeSide(text, opened)
        host = HostSide()
        target: Side = volumes[goal.source] if goal is not None else host
        where = goal.path if goal is not None else os.fsencode(destination)
        told = stack.enter_context(progress_bar("copying", is_bytes=True))
        copier = _Copier(target, recursive, told)
        jobs = [
            (volumes[place.source], place.path) if place is not None else (host, os.fsencode(source))
            for place, source in zip(parsed, sources, strict=True)
        ]
        copier.total = sum(_bytes_below(side, path) for side, path in jobs)
        found = target.look(where, follow=True)
        into = found is not None and modes.S_ISDIR(found.mode)
        if len(sources) > 1 and not into:
            raise DiskError(f"{target.show(where)} is no directory")
        for side, path in jobs:
            name = os.path.basename(path.rstrip(b"/"))
            copier.copy(side, path, where.rstrip(b"/") + b"/" + name if into and name else where, top=True)
        return copier.status


def _bytes_below(side: Side, path: bytes) -> int:
    """For the bar; what cannot be looked at counts nothing."""
    try:
        entry = side.look(path, follow=False)
        if entry is None:
            return 0
        if modes.S_ISDIR(entry.mode):
            return sum(_bytes_below(side, path.rstrip(b"/") + b"/" + name) for name in side.names(path))
        return entry.size if modes.S_ISREG(entry.mode) else 0
    except (KernelError, OSError):
        return 0


@define
class _Copier:
    target: Side
    recursive: bool
    told: Callable[[int, int], None]
    total: int = 0
    done: int = 0
    status: int = 0

    def copy(self, side: Side, path: bytes, to: bytes, *, top: bool = False) -> None:
        """One file, or a tree. Errors are told, and counted in `status`."""
        try:
            entry = side.look(path, follow=top)
            if entry is None:
                self.fail(f"{side.show(path)}: No such file or directory")
            elif modes.S_ISDIR(entry.mode):
                self._directory(side, path, to, entry)
            elif modes.S_ISLNK(entry.mode):
                self.target.symlink(side.readlink(path), to)
            elif modes.S_ISREG(entry.mode):
                self._file(side, path, to, entry)
            else:
                self.fail(f"{side.show(path)} is a special file and left out")
        except KernelError as error:
            self.fail(f"{side.show(path)} to {self.target.show(to)}: {words_of(error)}")
        except OSError as error:
            self.fail(f"{side.show(path)} to {self.target.show(to)}: {error.strerror or error}")

    def _file(self, side: Side, path: bytes, to: bytes, entry: Entry) -> None:
        found = self.target.look(to, follow=True)
        if found is not None and modes.S_ISDIR(found.mode):
            self.fail(f"{self.target.show(to)} is a directory")
            return
        self.target.write(to, self._counted(side.read(path)), entry)

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.done += len(piece)
            self.told(self.done, max(self.total, self.done))

    def _directory(self, side: Side, path: bytes, to: bytes, entry: Entry) -> None:
        if not self.recursive:
            self.fail(f"{side.show(path)} is a directory: say --recursive")
            return
        if self.target.look(to, follow=True) is None:
            self.target.mkdir(to)
        for name in side.names(path):
            self.copy(side, path.rstrip(b"/") + b"/" + name, to.rstrip(b"/") + b"/" + name)
        self.target.set_times(to, entry)

    def fail(self, message: str) -> None:
        print(f"jefeos: {message}", file=sys.stderr)
        self.status = 1
