"""Open files on the host's streams: the nameless filesystem behind file descriptors 0, 1 and 2.

    HostStreams (never mounted) --> StreamInode or HostRegularInode --> StreamFile or HostRegularFile

Pipes, sockets and memory look like pipes to the guest. A regular file of the host that a stream was redirected to
looks like one, can be sought in, and shares its position with whoever started us, as it would natively.

Does not do: mmap of redirected files (ENODEV).
"""

from __future__ import annotations

import os
import stat as host_stat
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jefeos.errors import Errno, KernelError
from jefeos.host import CHUNK_BYTES, HostInput, HostOutput, Sink, Source, kernel_error, write_all
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.vfs.file import File, SeekableFile
from jefeos.vfs.flags import (
    O_ACCMODE,
    O_APPEND,
    O_RDONLY,
    O_WRONLY,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLHUP,
    S_IFCHR,
    S_IFIFO,
    S_IFREG,
    S_IFSOCK,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    FilesystemMagic,
)
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat, Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.vfs.path import Path

T = TypeVar("T")

_PERMISSIONS = 0o600


class HostStreams(Filesystem):
    """The nameless filesystem whose inodes are the host's streams. It is never mounted."""

    name = "hoststreams"
    no_access_times = True

    def __init__(
        self, clock: Clock, loop: AbstractEventLoop, place: Callable[[Inode, bytes], Path] | None = None
    ) -> None:
        """`place` gives an inode without a name its path (`Vfs.anonymous_path`), so that /proc/self/fd works."""
        super().__init__(clock)
        self._loop = loop
        self._place = place
        self._last_inode = 0
        self._inputs: list[HostInput] = []

    @property
    def root(self) -> Inode:
        raise KernelError(Errno.ENOENT)

    def statfs(self) -> FilesystemStat:
        return FilesystemStat(type=FilesystemMagic.PIPEFS)

    def next_inode(self) -> int:
        """A fresh inode number."""
        self._last_inode += 1
        return self._last_inode

    def open_descriptor(self, descriptor: int, flags: int) -> File:
        """A file on a host descriptor, for reading or writing as `flags` (O_RDONLY, O_WRONLY) say."""
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:  # closed by whoever started us
            raise kernel_error(error) from None
        if host_stat.S_ISREG(mode):
            regular = HostRegularInode(self, descriptor)
            return HostRegularFile(regular, flags, self._path(regular, b"host:[%d]" % descriptor))
        kind = S_IFIFO
        if host_stat.S_ISCHR(mode):
            kind = S_IFCHR
        elif host_stat.S_ISSOCK(mode):
            kind = S_IFSOCK
        source: HostInput | None = None
        sink: HostOutput | None = None
        if flags & O_ACCMODE == O_WRONLY:
            sink = HostOutput(descriptor)
        else:
            source = HostInput(descriptor, self._loop)
            self._inputs.append(source)
        return self._open_stream(kind, source, sink, flags)

    def open_source(self, source: Source) -> File:
        """A file to read `source` from, such as a `BytesInput`."""
        return self._open_stream(S_IFIFO, source, None, O_RDONLY)

    def open_sink(self, sink: Sink) -> File:
        """A file to write into `sink`, such as a `CaptureOutput`."""
        return self._open_stream(S_IFIFO, None, sink, O_WRONLY)

    def _open_stream(self, kind: int, source: Source | None, sink: Sink | None, flags: int) -> File:
        inode = StreamInode(self, kind, source, sink)
        return StreamFile(inode, flags, self._path(inode, b"pipe:[%d]" % inode.ino))

    def _path(self, inode: Inode, label: bytes) -> Path | None:
        return self._place(inode, label) if self._place is not None else None

    def close(self) -> None:
        """Stop all reader threads."""
        for source in self._inputs:
            source.close()


class StreamInode(Inode):
    """A stream of the host as an inode: looks like a pipe, or as what the host has there."""

    def __init__(self, fs: HostStreams, kind: int, source: Source | None, sink: Sink | None) -> None:
        super().__init__(fs, fs.next_inode(), kind | _PERMISSIONS)
        self.source = source
        self.sink = sink

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        """Opened again through /proc/PID/fd: another file on the same stream."""
        access = flags & O_ACCMODE
        if (access != O_WRONLY and self.source is None) or (access != O_RDONLY and self.sink is None):
            raise KernelError(Errno.EACCES)
        return StreamFile(self, flags, context.path)


class StreamFile(File):
    """An open stream."""

    inode: StreamInode

    def read(self, count: int) -> MaybeAwait[bytes]:
        source = self.inode.source
        if source is None or not self.readable:
            raise KernelError(Errno.EBADF)
        data = source.take(count) if count else b""
        if data is not None:
            return data
        if self.nonblocking:
            source.want(count)
            raise KernelError(Errno.EAGAIN)
        return self._wait_read(source, count)

    @staticmethod
    async def _wait_read(source: Source, count: int) -> bytes:
        while True:
            source.want(count)
            await source.queue.wait()
            data = source.take(count)
            if data is not None:
                return data

    def write(self, data: bytes) -> int:
        sink = self.inode.sink
        if sink is None or not self.writable:
            raise KernelError(Errno.EBADF)
        return sink.put(data)

    def poll(self) -> int:
        mask = 0
        source = self.inode.source
        if source is not None and self.readable:
            if source.ended:
                mask |= POLLHUP | POLL_READABLE
            elif source.readable:
                mask |= POLL_READABLE
            else:
                source.want(CHUNK_BYTES)
        if self.inode.sink is not None and self.writable:
            mask |= POLL_WRITABLE
        return mask

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        source = self.inode.source
        return (source.queue,) if source is not None else ()

    @property
    def label(self) -> bytes:
        return b"pipe:[%d]" % self.inode.ino


class HostRegularInode(Inode):
    """A regular file of the host that one of the standard streams was redirected to."""

    def __init__(self, fs: HostStreams, descriptor: int) -> None:
        super().__init__(fs, fs.next_inode(), S_IFREG | _PERMISSIONS)
        self.descriptor = descriptor
        self.refresh()

    def refresh(self) -> None:
        host = host_call(lambda: os.fstat(self.descriptor))
        self.size = host.st_size
        self.mtime_ns = host.st_mtime_ns

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        """Opened again through /proc/PID/fd: another position in the same file."""
        return ReopenedHostFile(self, flags, context.path)

    def transfer_at(self, offset: int, transfer: Callable[[], T]) -> T:
        """Do `transfer` at another position of the descriptor and come back: pread is not there on every host."""
        before = self.seek(0, SEEK_CUR)
        self.seek(offset, SEEK_SET)
        try:
            return transfer()
        finally:
            self.seek(before, SEEK_SET)

    def transfer_read(self, count: int) -> bytes:
        """Read at the descriptor's position."""
        return host_call(lambda: os.read(self.descriptor, count))

    def transfer_write(self, data: bytes) -> int:
        """Write at the descriptor's position."""
        return host_call(lambda: write_all(self.descriptor, data))

    def seek(self, offset: int, whence: int) -> int:
        """Move the descriptor's position."""
        return host_call(lambda: os.lseek(self.descriptor, offset, whence))

    def truncate(self, size: int) -> None:
        host_call(lambda: os.truncate(self.descriptor, size))

    def sync(self) -> None:
        host_call(lambda: os.fsync(self.descriptor))


def host_call(call: Callable[[], T]) -> T:
    """Call the host; its error becomes the guest's."""
    try:
        return call()
    except OSError as error:
        raise kernel_error(error) from None


class HostRegularFile(SeekableFile):
    """A redirected regular file. The position is the host's, shared with whoever started us, as natively."""

    inode: HostRegularInode

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise KernelError(Errno.EBADF)

    def read(self, count: int) -> bytes:
        self._require(self.readable)
        data = self.inode.transfer_read(count)
        self.position += len(data)
        return data

    def write(self, data: bytes) -> int:
        self._require(self.writable)
        return self.inode.transfer_write(data)

    def pread(self, count: int, offset: int) -> bytes:
        self._require(self.readable)
        return self.inode.transfer_at(offset, lambda: self.inode.transfer_read(count))

    def pwrite(self, data: bytes, offset: int) -> int:
        self._require(self.writable)
        return self.inode.transfer_at(offset, lambda: self.inode.transfer_write(data))

    def seek(self, offset: int, whence: int) -> int:
        if whence not in (SEEK_SET, SEEK_CUR, SEEK_END):
            raise KernelError(Errno.EINVAL)
        self.position = self.inode.seek(offset, whence)
        return self.position

    def truncate(self, size: int) -> None:
        if not self.writable or size < 0:
            raise KernelError(Errno.EINVAL)
        self.inode.truncate(size)

    @property
    def label(self) -> bytes:
        return b"host:[%d]" % self.inode.descriptor


class ReopenedHostFile(HostRegularFile):
    """A redirected regular file opened a second time: its position is its own."""

    def read(self, count: int) -> bytes:
        data = self.pread(count, self.position)
        self.position += len(data)
        return data

    def write(self, data: bytes) -> int:
        offset = self._end() if self.flags & O_APPEND else self.position
        written = self.pwrite(data, offset)
        self.position = offset + written
        return written

    def seek(self, offset: int, whence: int) -> int:
        return SeekableFile.seek(self, offset, whence)
