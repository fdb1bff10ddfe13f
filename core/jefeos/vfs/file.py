"""Open files: what a file descriptor refers to.

    fd table --ref--> File (position, flags) ----> Inode (attributes, contents)
                        |
                        +---> Path (name and mount it was opened through)

A `File` is Linux's open file description: shared by dup and fork, so it counts references, and `release` runs at
zero. `read` and `write` follow the `MaybeAwait` convention: they return their result, or a coroutine if they must
wait. Subclasses (pipes, ttys, sockets, devices) override what they can do; everything else fails with the errno
that Linux gives for it.

Files are plain classes with hand-written initialisers: they are made on every open, and many plugins subclass them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    FILE_SIZE_MAX,
    O_ACCMODE,
    O_APPEND,
    O_CREATION_FLAGS,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_SETFL_FLAGS,
    O_WRONLY,
    POLL_READABLE,
    POLL_WRITABLE,
    S_ISGID,
    S_ISUID,
    S_IXGRP,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from jefeos.vfs.inode import DirEntry, Inode, Stat
from jefeos.vfs.watches import IN_ACCESS, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_MODIFY

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping
    from jefeos.sched.wait import MaybeAwait, WaitQueue
    from jefeos.vfs.path import Path
    from jefeos.vfs.permissions import FsCredentials

_SET_ID_BITS = S_ISUID | S_ISGID


class Watcher(Protocol):
    """Whoever keeps a file in mind without keeping it open."""

    def file_released(self, file: File) -> None:
        """The file has no holder any more; it is not to be referred to from now on."""
        ...


class File:
    """An open file description. ``path`` is None for what has no name anywhere."""

    # True once flock, POSIX or OFD locks were taken through it: release then has to drop them.
    may_hold_locks: bool = False
    # Who wants to know when it is released: epolls that have it on their list.
    watchers: set[Watcher] | None = None
    # Who opened it, unless that was the privileged user: a write then takes the set-id bits off the file. (Linux asks
    # for the privileges of the writer.)
    unprivileged: FsCredentials | None = None

    def __init__(self, inode: Inode, flags: int, path: Path | None = None) -> None:
        self.inode = inode
        self.flags = flags & ~O_CREATION_FLAGS
        self.path = path
        self.position = 0
        self.references = 1
        access = flags & O_ACCMODE
        usable = not flags & O_PATH
        self.readable = usable and access != O_WRONLY
        self.writable = usable and access != O_RDONLY
        inode.open_count += 1
        if self.writable:
            inode.write_count += 1
        if path is not None:
            path.mount.open_files += 1

    # --- lifetime ------------------------------------------------------------------------------------------

    def ref(self) -> File:
        """One more holder."""
        self.references += 1
        return self

    def unref(self) -> None:
        """One holder less; the last one releases the file."""
        self.references -= 1
        if self.references == 0:
            self.release()

    def release(self) -> None:
        """The last holder is gone. Subclasses that override it call it at their end."""
        inode = self.inode
        if inode.watches is not None and not self.flags & O_PATH:
            inode.watches.file_event(self, IN_CLOSE_WRITE if self.writable else IN_CLOSE_NOWRITE)
        if self.may_hold_locks and inode.locks is not None:
            inode.locks.release_file(self)
        inode.open_count -= 1
        if self.writable:
            inode.write_count -= 1
        if self.watchers:
            for watcher in list(self.watchers):
                watcher.file_released(self)
        if inode.open_count == 0 and inode.nlink == 0:
            if inode.watches is not None:
                inode.watches.ended(inode)
            inode.evict()
        if self.path is not None:  # only now: it may end the filesystem, with what the inode lived on
            mount = self.path.mount
            mount.open_files -= 1
            if not mount.open_files:
                mount.last_file_closed()

    # --- flags ---------------------------------------------------------------------------------------------

    @property
    def nonblocking(self) -> bool:
        """O_NONBLOCK is set."""
        return bool(self.flags & O_NONBLOCK)

    def set_flags(self, flags: int) -> None:
        """F_SETFL: changes the flags that may change on an open file, ignores the others."""
        self.flags = self.flags & ~O_SETFL_FLAGS | flags & O_SETFL_FLAGS

    # --- transfer ------------------------------------------------------------------------------------------

    def read(self, count: int) -> MaybeAwait[bytes]:
        """Up to ``count`` bytes from the position on; empty at the end."""
        raise KernelError(Errno.EINVAL if self.readable else Errno.EBADF)

    def write(self, data: bytes) -> MaybeAwait[int]:
        """Writes at the position; the number of bytes taken."""
        raise KernelError(Errno.EINVAL if self.writable else Errno.EBADF)

    def pread(self, count: int, offset: int) -> MaybeAwait[bytes]:
        """Reads at ``offset`` without moving the position."""
        raise KernelError(Errno.ESPIPE)

    def pwrite(self, data: bytes, offset: int) -> MaybeAwait[int]:
        """Writes at ``offset`` without moving the position."""
        raise KernelError(Errno.ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        """Moves the position and returns it."""
        raise KernelError(Errno.ESPIPE)

    def ioctl(self, request: int, argument: int) -> MaybeAwait[int]:
        """Device control. The system-call layer knows the requests that need user memory; this is the rest."""
        raise KernelError(Errno.ENOTTY)

    # --- readiness -----------------------------------------------------------------------------------------

    def poll(self) -> int:
        """The POLL* events that hold now (`PollMask` values). Files that never wait are always ready."""
        return POLL_READABLE | POLL_WRITABLE

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        """The queues that are woken when `poll` may have changed."""
        return ()

    # --- the file behind -----------------------------------------------------------------------------------

    def stat(self) -> Stat:
        """fstat(2)."""
        return self.inode.stat()

    def truncate(self, size: int) -> None:
        """ftruncate(2)."""
        raise KernelError(Errno.EINVAL)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        raise KernelError(Errno.ENODEV if self.writable else Errno.EBADF)

    def fsync(self) -> None:
        """fsync(2) and fdatasync(2)."""
        raise KernelError(Errno.EINVAL)

    def readdir_at(self, position: int) -> list[tuple[DirEntry, int]]:
        """The directory's entries from ``position`` on, each with the position after it (getdents d_off)."""
        raise KernelError(Errno.ENOTDIR)

    @property
    def mapping(self) -> FileMapping:
        """The pages that mmap maps. ENODEV for what cannot be mapped, EACCES if it was not opened for reading."""
        raise KernelError(Errno.ENODEV)

    @property
    def label(self) -> bytes:
        """What /proc/PID/fd shows for a file without a path."""
        return b"anon_inode:[%s]" % type(self).__name__.removesuffix("File").lower().encode()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.inode!r} flags={self.flags:o} position={self.position}>"


class PathFile(File):
    """An O_PATH descriptor: only a place. Everything that would touch contents is EBADF."""

    def read(self, count: int) -> MaybeAwait[bytes]:
        raise KernelError(Errno.EBADF)

    def write(self, data: bytes) -> MaybeAwait[int]:
        raise KernelError(Errno.EBADF)

    def pread(self, count: int, offset: int) -> MaybeAwait[bytes]:
        raise KernelError(Errno.EBADF)

    def pwrite(self, data: bytes, offset: int) -> MaybeAwait[int]:
        raise KernelError(Errno.EBADF)

    def seek(self, offset: int, whence: int) -> int:
        raise KernelError(Errno.EBADF)

    def ioctl(self, request: int, argument: int) -> MaybeAwait[int]:
        raise KernelError(Errno.EBADF)

    def truncate(self, size: int) -> None:
        raise KernelError(Errno.EBADF)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        raise KernelError(Errno.EBADF)

    def fsync(self) -> None:
        raise KernelError(Errno.EBADF)

    def readdir_at(self, position: int) -> list[tuple[DirEntry, int]]:
        raise KernelError(Errno.EBADF)

    @property
    def mapping(self) -> FileMapping:
        raise KernelError(Errno.EBADF)


class SeekableFile(File):
    """A file with a position and a size: pread, pwrite, read, write and seek from two transfer functions.

    Regular files use it as it is. Generated files (procfs) override `pread`, and `pwrite` if they take writes.
    """

    def read(self, count: int) -> MaybeAwait[bytes]:
        position = self.position
        data = self.pread(count, position)
        if type(data) is bytes:
            self.position = position + len(data)
            return data
        return self._read_later(data)

    async def _read_later(self, pending: MaybeAwait[bytes]) -> bytes:
        assert not isinstance(pending, bytes)
        data = await pending
        self.position += len(data)
        return data

    def write(self, data: bytes) -> MaybeAwait[int]:
        position = self.inode.size if self.flags & O_APPEND else self.position
        written = self.pwrite(data, position)
        if type(written) is int:
            self.position = position + written
            return written
        return self._write_later(written, position)

    async def _write_later(self, pending: MaybeAwait[int], position: int) -> int:
        assert not isinstance(pending, int)
        written = await pending
        self.position = position + written
        return written

    def seek(self, offset: int, whence: int) -> int:
        if whence == SEEK_SET:
            position = offset
        elif whence == SEEK_CUR:
            position = self.position + offset
        elif whence == SEEK_END:
            position = self._end() + offset
        elif whence == SEEK_DATA or whence == SEEK_HOLE:
            size = self._end()
            if not 0 <= offset < size:
                raise KernelError(Errno.ENXIO)
            ask = Inode if type(self).pread is not RegularFile.pread else type(self.inode)  # generated: no holes
            found = (ask.next_data if whence == SEEK_DATA else ask.next_hole)(self.inode, offset, size)
            if found is None:
                raise KernelError(Errno.ENXIO)
            position = found
        else:
            raise KernelError(Errno.EINVAL)
        if position < 0:
            raise KernelError(Errno.EINVAL)
        if position > FILE_SIZE_MAX:
            raise KernelError(Errno.EOVERFLOW if whence != SEEK_SET else Errno.EINVAL)
        self.position = position
        return position

    def _end(self) -> int:
        self.inode.refresh()
        return self.inode.size

    def fsync(self) -> None:
        self.inode.sync()


class RegularFile(SeekableFile):
    """An open regular file. read and write are hot paths: no indirection that is not needed."""

    def read(self, count: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        inode = self.inode
        position = self.position
        data = inode.read(position, count)
        self.position = position + len(data)
        atime_ns = inode.atime_ns
        if (atime_ns <= inode.mtime_ns or atime_ns <= inode.ctime_ns) and count:
            self._touch_accessed()
        if inode.watches is not None and data:
            inode.watches.file_event(self, IN_ACCESS)
        return data

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        inode = self.inode
        data = inode.read(offset, count)
        if count:
            self._touch_accessed()
        if inode.watches is not None and data:
            inode.watches.file_event(self, IN_ACCESS)
        return data

    def write(self, data: bytes) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        if not data:
            return 0
        inode = self.inode
        position = inode.size if self.flags & O_APPEND else self.position
        if inode.mode & _SET_ID_BITS and self.unprivileged is not None:
            drop_set_id(inode, self.unprivileged)
        written = inode.write(position, data)
        self.position = position + written
        if inode.watches is not None:
            inode.watches.file_event(self, IN_MODIFY)
        return written

    def pwrite(self, data: bytes, offset: int) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        if not data:
            return 0
        inode = self.inode
        if self.flags & O_APPEND:  # pwrite(2), BUGS: on Linux, O_APPEND wins over the offset
            offset = inode.size
        if inode.mode & _SET_ID_BITS and self.unprivileged is not None:
            drop_set_id(inode, self.unprivileged)
        written = inode.write(offset, data)
        if inode.watches is not None:
            inode.watches.file_event(self, IN_MODIFY)
        return written

    def _touch_accessed(self) -> None:
        if self.flags & O_NOATIME:
            return
        path = self.path
        if path is not None and path.mount.no_access_times:
            return
        self.inode.touch_accessed()

    def truncate(self, size: int) -> None:
        if not self.writable:
            raise KernelError(Errno.EINVAL)
        if size < 0:
            raise KernelError(Errno.EINVAL)
        inode = self.inode
        if inode.mode & _SET_ID_BITS and self.unprivileged is not None:
            drop_set_id(inode, self.unprivileged)
        inode.truncate(size)
        if inode.watches is not None:
            inode.watches.file_event(self, IN_MODIFY)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        if offset < 0 or length <= 0:
            raise KernelError(Errno.EINVAL)
        if offset + length > FILE_SIZE_MAX:
            raise KernelError(Errno.EFBIG)
        self.inode.allocate(mode, offset, length)
        if self.inode.watches is not None:
            self.inode.watches.file_event(self, IN_MODIFY)

    @property
    def mapping(self) -> FileMapping:
        if not self.readable:
            raise KernelError(Errno.EACCES)
        return self.inode.mapping


class BytesFile(SeekableFile):
    """A read-only file over bytes that were made at open: generated files, test fakes."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, content: bytes) -> None:
        super().__init__(inode, flags, path)
        self.content = content

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        if offset < 0:
            raise KernelError(Errno.EINVAL)
        return self.content[offset : offset + count]

    def pwrite(self, data: bytes, offset: int) -> int:
        raise KernelError(Errno.EINVAL if self.writable else Errno.EBADF)

    def _end(self) -> int:
        return len(self.content)


def drop_set_id(inode: Inode, creds: FsCredentials) -> None:
    """An unprivileged write takes away S_ISUID, and S_ISGID where it means set-group-id or the writer is not in the
    group (inode(7))."""
    mode = inode.mode & ~S_ISUID
    if mode & S_IXGRP or inode.gid != creds.fsgid and inode.gid not in creds.groups:
        mode &= ~S_ISGID
    if mode != inode.mode:
        inode.set_attributes(mode=mode)
