"""A filesystem at the root of a Vfs, without a kernel: what a test of a filesystem works with.

    with mounted(FORMAT, volume) as here:
        here.put(b"/a/file", b"data")
        assert here.tree() == {b"/a": (S_IFDIR, b""), b"/a/file": (S_IFREG, b"data")}

Paths are absolute. `Mounted.vfs` with `Mounted.actor` has all the calls of the Vfs, as a privileged process makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define

from jefeos.block.cache import BufferCache
from jefeos.block.volume import VolumeFormat
from jefeos.mm.pagecache import PageCache
from jefeos.proc.credentials import Credentials
from jefeos.proc.files import FsState
from jefeos.testing.volumes import TestClock, new_page_cache
from jefeos.vfs.flags import O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from jefeos.vfs.inode import Clock, DirEntry, Filesystem
from jefeos.vfs.vfs import Vfs

PIECE_BYTES: Final = 1 << 16


@define
class Somebody:
    """A task as the Vfs sees it."""

    fs: FsState
    creds: Credentials


@define
class Mounted:
    """A filesystem at the root of a Vfs, and who acts in it. Paths are absolute."""

    filesystem: Filesystem
    vfs: Vfs
    actor: Somebody

    @classmethod
    def of(cls, filesystem: Filesystem) -> Mounted:
        """Mount it."""
        vfs = Vfs(filesystem.clock, filesystem.page_cache)
        vfs.mount(filesystem, b"/")
        return cls(filesystem, vfs, Somebody(FsState(vfs.root, vfs.root, 0), _credentials(0)))

    def somebody(self, uid: int) -> Somebody:
        """A user of that number, and of the group of the same number."""
        return Somebody(FsState(self.vfs.root, self.vfs.root, 0o022), _credentials(uid))

    def get(self, path: bytes) -> bytes:
        """The contents of a file, or the target of a symbolic link."""
        place = self.vfs.resolve(self.actor, path, follow=False)
        if place.inode.is_symlink:
            return place.inode.readlink()
        file = self.vfs.open_file(self.actor, path, O_RDONLY)
        try:
            pieces: list[bytes] = []
            position = 0
            while True:
                piece = file.pread(PIECE_BYTES, position)
                assert isinstance(piece, bytes)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
                position += len(piece)
        finally:
            file.unref()

    def put(self, path: bytes, data: bytes) -> None:
        """Write a file anew, short writes continued."""
        file = self.vfs.open_file(self.actor, path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        try:
            self._write(file.pwrite, 0, data)
        finally:
            file.unref()

    def write(self, path: bytes, offset: int, data: bytes) -> None:
        """Write into a file that is there."""
        file = self.vfs.open_file(self.actor, path, O_WRONLY)
        try:
            self._write(file.pwrite, offset, data)
        finally:
            file.unref()

    @staticmethod
    def _write(pwrite: Callable[[bytes, int], object], offset: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            count = pwrite(data[done:], offset + done)
            assert isinstance(count, int) and count > 0
            done += count

    def list(self, path: bytes) -> list[DirEntry]:
        """The entries of a directory."""
        return list(self.vfs.resolve(self.actor, path).inode.readdir())

    def fsync(self, path: bytes) -> None:
        """fsync(2) of a file or directory."""
        self.vfs.resolve(self.actor, path, follow=False).inode.sync()

    def tree(self, top: bytes = b"/") -> dict[bytes, tuple[int, bytes]]:
        """Everything below ``top``: path to (type of file as in st_mode, contents or target)."""
        found: dict[bytes, tuple[int, bytes]] = {}
        pending = [top.rstrip(b"/")]
        while pending:
            folder = pending.pop()
            for entry in self.list(folder or b"/"):
                path = folder + b"/" + entry.name
                kind = self.vfs.stat(self.actor, path, follow=False).mode & S_IFMT
                if path in found:
                    raise AssertionError(f"{path!r} is there twice")
                found[path] = (kind, self.get(path) if kind in (S_IFREG, S_IFLNK) else b"")
                if kind == S_IFDIR:
                    pending.append(path)
        return found

    def clear(self) -> None:
        """Remove everything."""
        for path, (kind, _) in sorted(self.tree().items(), reverse=True):
            if kind == S_IFDIR:
                self.vfs.rmdir(self.actor, path)
            else:
                self.vfs.unlink(self.actor, path)

    def unmount(self) -> None:
        """Unmount: everything is on the medium afterwards."""
        self.vfs.unmount_all()


def _credentials(uid: int) -> Credentials:
    return Credentials(uid, uid, uid, uid, uid, uid, uid, uid, ())


@contextmanager
def mounted(
    kind: VolumeFormat, volume: BufferCache, *, writable: bool = True, clock: Clock | None = None,
    page_cache: PageCache | None = None,
) -> Iterator[Mounted]:
    """A volume, mounted; unmounted at the end, unless the block failed."""
    filesystem = kind.open(
        volume, writable=writable, page_cache=page_cache or new_page_cache(), clock=clock or TestClock()
    )
    here = Mounted.of(filesystem)
    yield here
    here.unmount()
