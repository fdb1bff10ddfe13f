"""Pipes and FIFOs (pipe(7), fifo(7)).

    writers ──► Pipe: deque of the byte strings as they were written, `count` bytes in all ──► readers

The buffer keeps the written strings themselves: a reader that takes what a writer gave gets the very same object,
and nothing is copied. A partly read string stays at the front with an offset, so that byte-wise readers (every
shell) cost no copy either.

Rules: a read waits only while the pipe is empty and a writer exists; no writer means end of file. A write of up to
PIPE_BUF bytes goes in whole or not at all; a longer one may be cut. No reader means EPIPE (the system-call layer
sends SIGPIPE). Both ends count their open files, FIFOs per inode; opening one end of a FIFO waits for the other.

Every pipe claims its capacity of the kernel's `BufferAccount`, and gives it back when it goes.

Unlike Linux, capacity is counted in bytes, not in pages: a pipe holds exactly its capacity whatever the size of
the writes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import Interrupted, WaitQueue
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    O_ACCMODE,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    PIPE_BUF,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLERR,
    POLLHUP,
    S_IFIFO,
)
from jefeos.vfs.inode import AnonymousInode, Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.buffers import BufferAccount
    from jefeos.vfs.inode import Filesystem
    from jefeos.vfs.path import Path

DEFAULT_CAPACITY_BYTES = 65536
MINIMUM_CAPACITY_BYTES = 4096
MAXIMUM_CAPACITY_BYTES = 1 << 20  # /proc/sys/fs/pipe-max-size
PRIVILEGED_CAPACITY_BYTES = 1 << 31


class Pipe:
    """The buffer between the two ends, and who is there."""

    __slots__ = ("account", "chunks", "offset", "count", "capacity", "readers", "writers", "read_queue", "write_queue",
                 "reader_opens", "writer_opens", "open_queue")

    def __init__(self, account: BufferAccount) -> None:
        self.account = account
        self.capacity = 0  # nothing to give back if the claim fails
        self.capacity = account.claim_capacity(DEFAULT_CAPACITY_BYTES, MINIMUM_CAPACITY_BYTES)
        self.chunks: deque[bytes] = deque()
        self.offset = 0  # how much of the first chunk was read already
        self.count = 0
        self.readers = 0
        self.writers = 0
        self.read_queue = WaitQueue()  # woken when there is something to read, or nobody left to write
        self.write_queue = WaitQueue()  # woken when there is room, or nobody left to read
        # FIFOs: how often each end was ever opened, so that an opener sees a peer that came and went
        self.reader_opens = 0
        self.writer_opens = 0
        self.open_queue = WaitQueue()

    def __del__(self) -> None:
        self.account.give_back(self.capacity)

    def take(self, limit: int) -> bytes:
        """Removes up to ``limit`` bytes from the front. The pipe is not empty (hot path)."""
        chunks = self.chunks
        first = chunks[0]
        offset = self.offset
        if not offset and len(first) == limit:  # the reader asks for just what a writer wrote
            chunks.popleft()
            self.count -= limit
            return first
        if offset + limit < len(first):
            self.offset = offset + limit
            self.count -= limit
            return first[offset : offset + limit]
        return self._gather(limit)

    def _gather(self, limit: int) -> bytes:
        """Several chunks, or all of one."""
        chunks = self.chunks
        pieces = []
        wanted = min(limit, self.count)
        left = wanted
        while left:
            first = chunks[0]
            end = self.offset + left
            if end < len(first):
                pieces.append(first[self.offset : end])
                self.offset = end
                break
            piece = first[self.offset :] if self.offset else first
            pieces.append(piece)
            chunks.popleft()
            self.offset = 0
            left -= len(piece)
        self.count -= wanted
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def put(self, data: bytes) -> None:
        """Appends; the caller checked the room."""
        chunks = self.chunks
        # Byte-wise writers would fill the deque with crumbs: join them while they are small.
        if len(data) < 64 and chunks and len(chunks[-1]) < 1024 and (self.offset == 0 or len(chunks) > 1):
            chunks[-1] += data
        else:
            chunks.append(data)
        self.count += len(data)

    @property
    def room(self) -> int:
        """Bytes that can be written."""
        return self.capacity - self.count

    def add_reader(self) -> None:
        """A reading end was opened."""
        self.readers += 1
        self.reader_opens += 1
        self.open_queue.wake_all()
        if self.readers == 1:
            self.write_queue.wake_all()

    def add_writer(self) -> None:
        """A writing end was opened."""
        self.writers += 1
        self.writer_opens += 1
        self.open_queue.wake_all()
        if self.writers == 1:
            self.read_queue.wake_all()

    def drop_reader(self) -> None:
        """A reading end was closed."""
        self.readers -= 1
        if not self.readers:
            self.write_queue.wake_all()
            self._drop_contents()

    def drop_writer(self) -> None:
        """A writing end was closed."""
        self.writers -= 1
        if not self.writers:
            self.read_queue.wake_all()
            self._drop_contents()

    def _drop_contents(self) -> None:
        if not self.readers and not self.writers:
            self.chunks.clear()
            self.count = self.offset = 0

    def resize(self, capacity: int, *, privileged: bool = False) -> int:
        """F_SETPIPE_SZ: rounds up to a power of two pages. EBUSY below the contents, EPERM above the limit."""
        if capacity < 0 or capacity > PRIVILEGED_CAPACITY_BYTES:
            raise KernelError(Errno.EINVAL)
        rounded = max(MINIMUM_CAPACITY_BYTES, 1 << max(capacity - 1, 0).bit_length())
        if rounded > MAXIMUM_CAPACITY_BYTES and rounded > self.capacity and not privileged:
            raise KernelError(Errno.EPERM)
        if rounded < self.count:
            raise KernelError(Errno.EBUSY)
        if rounded > self.capacity:
            self.account.claim(rounded - self.capacity, Errno.EPERM)
        else:
            self.account.give_back(self.capacity - rounded)
        self.capacity = rounded
        self.write_queue.wake_all()
        return rounded


class PipeFile(File):
    """One end of a pipe; for a FIFO opened O_RDWR, both."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, pipe: Pipe) -> None:
        super().__init__(inode, flags, path)
        self.pipe = pipe
        # A FIFO's reader that came before any writer does not see a hang-up until one has come and gone.
        self.hangup_after = pipe.writer_opens if not pipe.writers else -1
        if self.readable:
            pipe.add_reader()
        if self.writable:
            pipe.add_writer()

    def release(self) -> None:
        pipe = self.pipe
        if self.readable:
            pipe.drop_reader()
        if self.writable:
            pipe.drop_writer()
        if not pipe.readers and not pipe.writers and not pipe.open_queue:
            self.inode.pipe = None
        super().release()

    # --- reading -------------------------------------------------------------------------------------------

    def read(self, count: int) -> MaybeAwait[bytes]:
        pipe = self.pipe
        if pipe.count and self.readable and count:
            data = pipe.take(count)
            if pipe.write_queue:
                pipe.write_queue.wake_all()
            return data
        if not self.readable:
            raise KernelError(Errno.EBADF)
        if not count or not pipe.writers:
            return b""
        if self.flags & O_NONBLOCK:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_read(count)

    async def _wait_and_read(self, count: int) -> bytes:
        pipe = self.pipe
        while not pipe.count:
            if not pipe.writers:
                return b""
            await pipe.read_queue.wait()
        data = pipe.take(count)
        pipe.write_queue.wake_all()
        return data

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> MaybeAwait[int]:
        pipe = self.pipe
        if not self.writable:
            raise KernelError(Errno.EBADF)
        length = len(data)
        if not length:
            return 0
        if not pipe.readers:
            raise KernelError(Errno.EPIPE)
        if type(data) is not bytes:
            data = bytes(data)
        room = pipe.capacity - pipe.count
        if length <= room:
            pipe.put(data)
            if pipe.read_queue:
                pipe.read_queue.wake_all()
            return length
        if self.flags & O_NONBLOCK:
            if length <= PIPE_BUF or not room:
                raise KernelError(Errno.EAGAIN)
            pipe.put(data[:room])
            pipe.read_queue.wake_all()
            return room
        return self._wait_and_write(data)

    async def _wait_and_write(self, data: bytes) -> int:
        pipe = self.pipe
        length = len(data)
        needed = length if length <= PIPE_BUF else 1
        written = 0
        while written < length:
            if not pipe.readers:
                if written:
                    break
                raise KernelError(Errno.EPIPE)
            room = pipe.capacity - pipe.count
            if room >= needed:
                piece = data[written : written + room]
                pipe.put(piece)
                written += len(piece)
                pipe.read_queue.wake_all()
                continue
            try:
                await pipe.write_queue.wait()
            except Interrupted:
                if written:
                    break
                raise
        return written

    # --- the rest ------------------------------------------------------------------------------------------

    def poll(self) -> int:
        pipe = self.pipe
        events = 0
        if self.readable:
            if pipe.count:
                events |= POLL_READABLE
            if not pipe.writers and pipe.writer_opens != self.hangup_after:
                events |= POLLHUP
        if self.writable:
            if pipe.capacity - pipe.count >= PIPE_BUF:
                events |= POLL_WRITABLE
            if not pipe.readers:
                events |= POLLERR
        return events

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        if not self.writable:
            return (self.pipe.read_queue,)
        if not self.readable:
            return (self.pipe.write_queue,)
        return (self.pipe.read_queue, self.pipe.write_queue)

    @property
    def available(self) -> int:
        """FIONREAD: bytes ready to be read."""
        return self.pipe.count

    @property
    def label(self) -> bytes:
        return b"pipe:[%d]" % self.inode.ino


class PipeInode(AnonymousInode):
    """The inode of an unnamed pipe. Opening it again (through /proc/PID/fd) makes another end."""

    def __init__(self, fs: Filesystem, ino: int, uid: int, gid: int, account: BufferAccount) -> None:
        super().__init__(fs, ino, S_IFIFO | 0o600, uid, gid)
        self.pipe = Pipe(account)

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        assert self.pipe is not None
        return PipeFile(self, flags, context.path, self.pipe)


def open_fifo(inode: Inode, flags: int, path: Path | None, account: BufferAccount) -> MaybeAwait[File]:
    """Opens one end of a FIFO (fifo(7)): waits for the other one, unless O_NONBLOCK (a reader is let in at once, a
    writer gets ENXIO while nobody reads) or O_RDWR."""
    pipe = inode.pipe
    if pipe is None:
        pipe = inode.pipe = Pipe(account)
    access = flags & O_ACCMODE
    if access == O_WRONLY and flags & O_NONBLOCK and not pipe.readers:
        if not pipe.writers and not pipe.open_queue:
            inode.pipe = None
        raise KernelError(Errno.ENXIO)
    file = PipeFile(inode, flags, path, pipe)
    if access == O_RDWR or flags & O_NONBLOCK:
        return file
    if pipe.writers if access == O_RDONLY else pipe.readers:
        return file
    return _wait_for_peer(file, access)


async def _wait_for_peer(file: PipeFile, access: int) -> File:
    pipe = file.pipe
    seen = pipe.writer_opens if access == O_RDONLY else pipe.reader_opens
    try:
        while (pipe.writer_opens if access == O_RDONLY else pipe.reader_opens) == seen:
            await pipe.open_queue.wait()
    except BaseException:  # a signal, or the task is gone: this end never was open
        file.unref()
        raise
    return file
