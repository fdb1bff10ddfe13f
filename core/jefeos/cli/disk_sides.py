"""The two ends of ``jefeos disk cp``: files of the host, and files of a volume, as one interface.

What `Side.write` and its like make is whole or not there: it is made under another name beside its place, with its
contents, holes, extended attributes, permissions and times, and then renamed. Through a symbolic link it is the file
behind it that is replaced, and into devices and pipes of the host the contents are poured: these are never replaced.
What an end cannot hold is left out, and told by `Side.missed`.
"""

from __future__ import annotations

import errno as host_errno
import os
import select
import stat as modes
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import FileIO, RawIOBase
from typing import Final, TypeAlias

from attrs import define, frozen

from jefeos.cli.disk_volume import Volume
from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_RDONLY, O_WRONLY

PIECE_BYTES: Final = 1 << 22
WAIT_S: Final = 0.2
PERMISSIONS: Final = 0o777
COARSE_NS: Final = 2 * 10**9
"""Times of files are this exact on the coarsest filesystem that there is (FAT)."""
BLOCK_BYTES: Final = 512
MOST_LINKS: Final = 40
Pieces: TypeAlias = Iterator[tuple[int, bytes]]
"""Offsets and data; what lies between is a hole."""


@frozen
class Entry:
    """What there is to know of a file before it is copied. ``mode`` is as in st_mode."""

    mode: int
    size: int
    atime_ns: int
    mtime_ns: int
    links: int = 1
    identity: tuple[int, int] = (0, 0)
    """Two names with the same one are one file."""
    stored_bytes: int = 0


class Side(ABC):
    """A tree of files that is copied from or to. Paths are bytes."""

    @abstractmethod
    def look(self, path: bytes, *, follow: bool) -> Entry | None:
        """The file, or None if there is none."""

    @abstractmethod
    def names(self, path: bytes) -> list[bytes]:
        """What is in a directory, in order."""

    @abstractmethod
    def read(self, path: bytes) -> Pieces:
        """The contents in large pieces, without holes."""

    @abstractmethod
    def xattrs(self, path: bytes) -> tuple[dict[bytes, bytes], bool]:
        """The extended attributes that can be read, and whether these are all."""

    @abstractmethod
    def readlink(self, path: bytes) -> bytes:
        """The target of a symbolic link."""

    @abstractmethod
    def write(self, path: bytes, pieces: Pieces, entry: Entry, xattrs: dict[bytes, bytes]) -> list[str]:
        """Make or replace a file, all of it or nothing. Gives what could not be kept."""

    @abstractmethod
    def mkdir(self, path: bytes) -> None:
        """Make a directory."""

    @abstractmethod
    def symlink(self, target: bytes, path: bytes, entry: Entry) -> None:
        """Make or replace a symbolic link."""

    @abstractmethod
    def link(self, old: bytes, new: bytes) -> bool:
        """Make or replace a hard link. False if there can be none."""

    @abstractmethod
    def adorn(self, path: bytes, entry: Entry, xattrs: dict[bytes, bytes], *, holes: bool = False) -> list[str]:
        """Attributes, permissions and times of what is there. Gives what could not be kept, ``holes`` among it."""

    @abstractmethod
    def show(self, path: bytes) -> str:
        """The path as the user writes it."""

    def missed(self, path: bytes, wanted: Entry, xattrs_lost: bool, holes: bool) -> list[str]:
        """What of a file is not as it should be."""
        found = self.look(path, follow=False)
        lost = ["extended attributes"] if xattrs_lost else []
        if found is None:
            return lost
        if holes and found.stored_bytes >= found.size:
            lost.append("holes")
        if (found.mode ^ wanted.mode) & PERMISSIONS:
            lost.append("permissions")
        if abs(found.mtime_ns - wanted.mtime_ns) > COARSE_NS:
            lost.append("times")
        return lost


@define
class HostSide(Side):
    """Files of the host."""

    def look(self, path: bytes, *, follow: bool) -> Entry | None:
        try:
            found = os.stat(path, follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(
            found.st_mode, found.st_size, found.st_atime_ns, found.st_mtime_ns, found.st_nlink,
            (found.st_dev, found.st_ino), getattr(found, "st_blocks", found.st_size) * BLOCK_BYTES,
        )

    def names(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(path))

    def new_file(self) -> Entry:
        """What a file is like that gets what a device or a pipe has to give."""
        mask = os.umask(0o077)
        os.umask(mask)
        now = time.time_ns()
        return Entry(modes.S_IFREG | 0o666 & ~mask, 0, now, now)

    def read(self, path: bytes) -> Pieces:
        nobody_may_write_yet = getattr(os, "O_NONBLOCK", 0)
        with FileIO(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | nobody_may_write_yet)) as file:
            if not modes.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield from _poured(file)
                return
            position = 0
            while True:
                try:
                    position = os.lseek(file.fileno(), position, os.SEEK_DATA)
                    end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
                except (OSError, AttributeError) as error:
                    if isinstance(error, OSError) and error.errno == host_errno.ENXIO:
                        return
                    end = -1  # a file that does not know of holes: to its end
                os.lseek(file.fileno(), position, os.SEEK_SET)
                while position != end:
                    piece = file.read(PIECE_BYTES if end < 0 else min(PIECE_BYTES, end - position))
                    if not piece:
                        return
                    yield position, piece
                    position += len(piece)

    def xattrs(self, path: bytes) -> tuple[dict[bytes, bytes], bool]:
        found: dict[bytes, bytes] = {}
        if not hasattr(os, "listxattr"):
            return found, True
        try:
            names = os.listxattr(path)
        except OSError:
            return found, True  # a filesystem without them
        for name in names:
            try:
                found[os.fsencode(name)] = os.getxattr(path, name)
            except OSError:
                continue
        return found, len(found) == len(names)

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(path)

    def write(self, path: bytes, pieces: Pieces, entry: Entry, xattrs: dict[bytes, bytes]) -> list[str]:
        there = self.look(path, follow=True)
        if there is not None and not modes.S_ISREG(there.mode):
            with open(path, "wb", buffering=0) as file:
                for piece in solid(pieces, entry.size):
                    _write_all(file, piece)
            return []
        path = os.path.realpath(path)
        handle, temporary = tempfile.mkstemp(prefix=b".jefeos-", dir=os.path.dirname(path) or b".")
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                end, holes = 0, False
                for offset, piece in pieces:
                    holes = holes or offset > end
                    file.seek(offset)
                    _write_all(file, piece)
                    end = offset + len(piece)
                file.truncate(max(end, entry.size))
            lost = self.adorn(temporary, entry, xattrs, holes=holes or entry.size > end)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        return lost

    def mkdir(self, path: bytes) -> None:
        os.mkdir(path)

    def symlink(self, target: bytes, path: bytes, entry: Entry) -> None:
        temporary = _beside(path)
        os.symlink(target, temporary)
        os.utime(temporary, ns=(entry.atime_ns, entry.mtime_ns), follow_symlinks=False)
        os.replace(temporary, path)

    def link(self, old: bytes, new: bytes) -> bool:
        temporary = _beside(new)
        try:
            os.link(old, temporary)
        except OSError as error:
            if error.errno in (host_errno.EPERM, host_errno.EOPNOTSUPP, host_errno.EMLINK, host_errno.EXDEV):
                return False
            raise
        os.replace(temporary, new)
        if os.path.lexists(temporary):  # the two were one file already
            os.unlink(temporary)
        return True

    def adorn(self, path: bytes, entry: Entry, xattrs: dict[bytes, bytes], *, holes: bool = False) -> list[str]:
        lost = bool(xattrs) and not hasattr(os, "setxattr")
        for name, value in {} if lost else xattrs.items():
            try:
                os.setxattr(path, name, value)
            except OSError:
                lost = True
        os.chmod(path, entry.mode & PERMISSIONS)
        os.utime(path, ns=(entry.atime_ns, entry.mtime_ns))
        return self.missed(path, entry, lost, holes)

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
        return Entry(
            found.mode, found.size, found.atime_ns, found.mtime_ns, found.nlink, (found.dev, found.ino),
            found.blocks * BLOCK_BYTES,
        )

    def names(self, path: bytes) -> list[bytes]:
        return sorted(entry.name for entry in self.volume.vfs.resolve(self.volume.actor, path).inode.readdir())

    def read(self, path: bytes) -> Pieces:
        file = self.volume.vfs.open_file(self.volume.actor, path, O_RDONLY)
        try:
            inode, position = file.inode, 0
            size = inode.size
            while position < size and (start := inode.next_data(position, size)) is not None:
                position, end = start, inode.next_hole(start, size)
                while position < end:
                    piece = file.pread(min(PIECE_BYTES, end - position), position)
                    assert isinstance(piece, bytes)
                    if not piece:
                        return
                    yield position, piece
                    position += len(piece)
        finally:
            file.unref()

    def xattrs(self, path: bytes) -> tuple[dict[bytes, bytes], bool]:
        vfs, actor = self.volume.vfs, self.volume.actor
        inode = vfs.resolve(actor, path).inode
        found: dict[bytes, bytes] = {}
        names = vfs.list_xattrs(actor, inode)
        for name in names:
            try:
                found[name] = vfs.get_xattr(actor, inode, name)
            except KernelError as error:
                if error.errno != Errno.E2BIG:  # an alternate stream may be as large as any file
                    raise
        return found, len(found) == len(names)

    def readlink(self, path: bytes) -> bytes:
        return self.volume.vfs.readlink(self.volume.actor, path)

    def write(self, path: bytes, pieces: Pieces, entry: Entry, xattrs: dict[bytes, bytes]) -> list[str]:
        vfs, actor = self.volume.vfs, self.volume.actor
        path = self._behind_links(path)
        temporary = _beside(path)
        try:
            file = vfs.open_file(actor, temporary, O_WRONLY | O_CREAT | O_EXCL, entry.mode & PERMISSIONS)
            try:
                end, holes = 0, False
                if entry.stored_bytes < entry.size:  # a filesystem may take room ahead where a file grows
                    vfs.truncate(actor, temporary, entry.size)
                for offset, piece in pieces:
                    holes = holes or offset > end
                    done = 0
                    while done < len(piece):
                        count = file.pwrite(piece[done:] if done else piece, offset + done)
                        assert isinstance(count, int) and count > 0
                        done += count
                    end = offset + done
            finally:
                file.unref()
            if entry.size > end:
                vfs.truncate(actor, temporary, entry.size)
            lost = self.adorn(temporary, entry, xattrs, holes=holes or entry.size > end)
            vfs.rename(actor, temporary, path)
        except BaseException:
            if self.look(temporary, follow=False) is not None:
                vfs.unlink(actor, temporary)
            raise
        return lost

    def _behind_links(self, path: bytes) -> bytes:
        for _ in range(MOST_LINKS):
            found = self.look(path, follow=False)
            if found is None or not modes.S_ISLNK(found.mode):
                return path
            path = os.path.join(os.path.dirname(path), self.readlink(path))
        raise KernelError(Errno.ELOOP)

    def mkdir(self, path: bytes) -> None:
        self.volume.vfs.mkdir(self.volume.actor, path, 0o755)

    def symlink(self, target: bytes, path: bytes, entry: Entry) -> None:
        vfs, actor = self.volume.vfs, self.volume.actor
        temporary = _beside(path)
        vfs.symlink(actor, target, temporary)
        vfs.utimens(actor, temporary, entry.atime_ns, entry.mtime_ns, follow=False)
        vfs.rename(actor, temporary, path)

    def link(self, old: bytes, new: bytes) -> bool:
        vfs, actor = self.volume.vfs, self.volume.actor
        temporary = _beside(new)
        try:
            vfs.link(actor, old, temporary)
        except KernelError as error:
            if error.errno in (Errno.EPERM, Errno.EOPNOTSUPP, Errno.EMLINK):
                return False
            raise
        vfs.rename(actor, temporary, new)
        if self.look(temporary, follow=False) is not None:  # the two were one file already
            vfs.unlink(actor, temporary)
        return True

    def adorn(self, path: bytes, entry: Entry, xattrs: dict[bytes, bytes], *, holes: bool = False) -> list[str]:
        vfs, actor = self.volume.vfs, self.volume.actor
        place, lost = vfs.resolve(actor, path), False
        for name, value in xattrs.items():
            try:
                vfs.set_xattr(actor, place.inode, name, value, 0, place)
            except KernelError as error:
                if error.errno in (Errno.EIO, Errno.EUCLEAN, Errno.EROFS):
                    raise
                lost = True
        if (place.inode.mode ^ entry.mode) & PERMISSIONS:
            try:
                vfs.chmod(actor, path, entry.mode & PERMISSIONS)
            except KernelError as error:
                if error.errno not in (Errno.EPERM, Errno.EOPNOTSUPP):
                    raise
        vfs.utimens(actor, path, entry.atime_ns, entry.mtime_ns)
        return self.missed(path, entry, lost, holes)

    def show(self, path: bytes) -> str:
        return f"{self.text}:{os.fsdecode(path)}"


def solid(pieces: Pieces, size: int) -> Iterator[bytes]:
    """The contents as they read, holes as zeros."""
    position = 0
    for offset, piece in pieces:
        yield from _zeros(offset - position)
        yield piece
        position = offset + len(piece)
    yield from _zeros(size - position)


def _poured(file: RawIOBase) -> Pieces:
    """What comes out of a device or a pipe; an empty piece now and then while nothing comes, so that a ^C is heeded."""
    position = 0
    while True:
        if os.name == "posix" and not select.select([file], [], [], WAIT_S)[0]:
            yield position, b""
            continue
        piece = file.read(PIECE_BYTES)
        if piece:
            yield position, piece
            position += len(piece)
        elif piece is not None:  # that would be: not yet
            return


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, PIECE_BYTES))
        count -= PIECE_BYTES


def _write_all(file: RawIOBase, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def _beside(path: bytes) -> bytes:
    """A name in the same directory that nobody has."""
    folder, slash, _ = path.rpartition(b"/")
    return folder + slash + b".jefeos-" + os.urandom(6).hex().encode()
