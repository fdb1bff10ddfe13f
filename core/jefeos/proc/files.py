"""The descriptor table (small integers to open file descriptions, ``vfs.file.File``) and the filesystem state.

A `File` is shared (dup, fork) and counts its references; the table holds one for each descriptor. A table itself
is shared by threads, and by processes made with CLONE_FILES; it counts its users and closes everything when the
last one leaves. Descriptors are always the lowest free number, as POSIX wants.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import define

from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos.vfs.file import File
    from jefeos.vfs.path import Path


@define(eq=False)
class FsState:
    """Where a process stands in the tree: root, working directory, umask. Shared by threads (CLONE_FS)."""

    root: Path
    cwd: Path
    umask: int = 0o022

    def copy(self) -> FsState:
        """The state of a forked process."""
        return FsState(self.root, self.cwd, self.umask)


class FdTable:
    """Open descriptors of one process (or of several that share them)."""

    __slots__ = ("_files", "_free", "_next", "cloexec", "limit", "users")

    def __init__(self, limit: int = 1024) -> None:
        self._files: dict[int, File] = {}
        self._free: list[int] = []
        """Heap of closed numbers below `_next`; may hold stale entries, checked when popped."""
        self._next = 0
        self.cloexec: set[int] = set()
        self.limit = limit
        """RLIMIT_NOFILE: descriptors are below it."""
        self.users = 1

    def get(self, fd: int) -> File:
        """The file behind ``fd``. Raises EBADF."""
        try:
            return self._files[fd]
        except KeyError:
            raise KernelError(Errno.EBADF) from None

    def __contains__(self, fd: int) -> bool:
        return fd in self._files

    def __len__(self) -> int:
        return len(self._files)

    def items(self) -> Iterator[tuple[int, File]]:
        """Descriptors and files in ascending order (a snapshot)."""
        return iter(sorted(self._files.items()))

    def install(self, file: File, minimum: int = 0, *, cloexec: bool = False) -> int:
        """Give ``file`` the lowest free number from ``minimum`` on; takes over the caller's reference.

        Raises EMFILE at the limit (the caller keeps its reference then).
        """
        fd = self._lowest_free(minimum)
        if fd >= self.limit:
            raise KernelError(Errno.EMFILE)
        self._put(fd, file, cloexec)
        return fd

    def require_free(self) -> None:
        """Raises EMFILE if `install` would."""
        if self._lowest_free(0) >= self.limit:
            raise KernelError(Errno.EMFILE)

    def install_at(self, fd: int, file: File, *, cloexec: bool = False) -> None:
        """Give ``file`` the number ``fd``, closing what was there (dup2). Takes over the reference. EBADF."""
        if not 0 <= fd < self.limit:
            raise KernelError(Errno.EBADF)
        old = self._files.get(fd)
        self._put(fd, file, cloexec)
        if old is not None:
            if old.inode.locks is not None:
                old.inode.locks.release_owner(self)
            old.unref()

    def close(self, fd: int) -> File:
        """Free the number and drop its reference; gives the (perhaps released) file. Raises EBADF."""
        file = self._files.pop(fd, None)
        if file is None:
            raise KernelError(Errno.EBADF)
        self.cloexec.discard(fd)
        heapq.heappush(self._free, fd)
        if file.inode.locks is not None:  # POSIX: closing any descriptor of a file drops one's record locks
            file.inode.locks.release_owner(self)
        file.unref()
        return file

    def set_cloexec(self, fd: int, on: bool) -> None:
        """Set or clear FD_CLOEXEC. Raises EBADF."""
        self.get(fd)
        if on:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)

    def copy(self) -> FdTable:
        """The table of a forked process: the same files, one reference more each."""
        clone = FdTable(self.limit)
        clone._files = dict(self._files)
        clone._free = list(self._free)
        clone._next = self._next
        clone.cloexec = set(self.cloexec)
        for file in clone._files.values():
            file.ref()
        return clone

    def share(self) -> FdTable:
        """The same table for one user more (threads, CLONE_FILES)."""
        self.users += 1
        return self

    def leave(self) -> None:
        """One user less; the last one closes every file."""
        self.users -= 1
        if self.users == 0:
            self._close_each(sorted(self._files))

    def close_on_exec(self) -> None:
        """Close what has FD_CLOEXEC (execve)."""
        self._close_each(sorted(self.cloexec))

    def _close_each(self, descriptors: list[int]) -> None:
        """Close them all, whatever one of them says: a close that fails has freed its number all the same."""
        failure: Exception | None = None
        for fd in descriptors:
            try:
                self.close(fd)
            except KernelError:
                pass  # the last data could not be written, and there is no call left to say so
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    def _lowest_free(self, minimum: int) -> int:
        free = self._free
        while free and (free[0] in self._files or free[0] >= self._next):
            heapq.heappop(free)
        if free and free[0] >= minimum:
            return free[0]
        if minimum < self._next:
            for fd in range(minimum, self._next):
                if fd not in self._files:
                    return fd
        return max(self._next, minimum)

    def _put(self, fd: int, file: File, cloexec: bool) -> None:
        if fd >= self._next:
            for gap in range(self._next, fd):
                heapq.heappush(self._free, gap)
            self._next = fd + 1
        self._files[fd] = file
        if cloexec:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)
