"""Reading and writing: read, write, their p- and v-forms, lseek.

Hot path: `read`, `write`, `pread64` and `lseek` are plain functions that do one dictionary access, one call of
the file and one copy. Everything rare (counts over a megabyte, waiting, faults half way) leaves them early.
"""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import UNLIMITED
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Long, Size, ULong, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_NONBLOCK

from jefeos_abi_linux.files_common import (
    CHUNK,
    broken_pipe,
    copy_in,
    copy_out,
    deliver,
    deliver_later,
    limit_size,
    unread,
    write_later,
)
from jefeos_abi_linux.structs_common import MAX_TRANSFER, read_iovecs

_FSIZE = 1  # RLimit.FSIZE, as a plain int for the hot path
_EPIPE = int(Errno.EPIPE)
GATHER_MOST = 16 * CHUNK  # bytes of a vector that one write takes together: they are in the host's memory twice
RWF_NOWAIT = 0x8
RWF_APPEND = 0x10
RWF_KNOWN = 0x1F


@syscall("read")
def read(task: Task, fd: Fd, buffer: UserPtr, count: Size) -> MaybeAwait[int]:
    """read(2)."""
    file = task.files.get(fd)
    if count > CHUNK:
        return _read_large(task, file, buffer, count)
    data = file.read(count)
    if type(data) is bytes:
        length = len(data)
        if length:
            try:
                task.mm.write(buffer, data)
            except KernelError:
                return deliver(task, file, buffer, data)
        return length
    return deliver_later(task, file, buffer, data)  # type: ignore[arg-type]


def _read_large(task: Task, file: File, buffer: int, count: int) -> MaybeAwait[int]:
    """Piece by piece, until a piece comes short; only the first one may wait."""
    if count >> 63:
        raise KernelError(Errno.EINVAL)
    count = min(count, MAX_TRANSFER)
    done = 0
    while done < count:
        step = min(CHUNK, count - done)
        try:
            data = file.read(step)
        except KernelError:
            if done:
                break
            raise
        if type(data) is not bytes:
            if done:
                data.close()  # type: ignore[union-attr]
                break
            return deliver_later(task, file, buffer, data)  # type: ignore[arg-type]
        if not data:
            break
        try:
            copied = deliver(task, file, buffer + done, data)
        except KernelError:
            if done:
                break
            raise
        done += copied
        if copied < step:
            break
    return done


@syscall("write")
def write(task: Task, fd: Fd, buffer: UserPtr, count: Size) -> MaybeAwait[int]:
    """write(2)."""
    file = task.files.get(fd)
    if count > CHUNK or task.process.rlimits[_FSIZE][0] != UNLIMITED:  # type: ignore[index]
        return _write_large(task, file, buffer, count)
    try:
        data = task.mm.read(buffer, count)
    except KernelError:
        if not file.writable:
            raise KernelError(Errno.EBADF) from None
        data = copy_in(task.mm, buffer, count)
    try:
        written = file.write(data)
    except KernelError as error:
        if error.errno == _EPIPE:
            broken_pipe(task)
        raise
    if type(written) is int:
        return written
    return write_later(task, written)  # type: ignore[arg-type]


def _write_large(task: Task, file: File, buffer: int, count: int) -> MaybeAwait[int]:
    if count >> 63:
        raise KernelError(Errno.EINVAL)
    if not file.writable:
        raise KernelError(Errno.EBADF)
    count = limit_size(task, file, None, min(count, MAX_TRANSFER))
    done = 0
    while True:
        step = min(CHUNK, count - done)
        try:
            data = copy_in(task.mm, buffer + done, step)
            written = file.write(data)
        except KernelError as error:
            if error.errno == Errno.EPIPE:
                broken_pipe(task)
            if done:
                return done
            raise
        if type(written) is not int:
            return _write_rest(task, file, buffer, count, done, written)
        done += written
        if done >= count or written < step:
            return done


async def _write_rest(
    task: Task, file: File, buffer: int, count: int, done: int, pending: MaybeAwait[int]
) -> int:
    """Goes on with a large write that has to wait. A signal or an error after some bytes ends it short."""
    try:
        while True:
            step = min(CHUNK, count - done)
            written = pending if type(pending) is int else await write_later(task, pending)  # type: ignore[arg-type]
            done += written
            if done >= count or written < step:
                return done
            pending = file.write(copy_in(task.mm, buffer + done, min(CHUNK, count - done)))
    except KernelError:
        if done:
            return done
        raise


@syscall("pread64")
def pread64(task: Task, fd: Fd, buffer: UserPtr, count: Size, offset: Long) -> MaybeAwait[int]:
    """pread(2)."""
    if offset < 0:
        raise KernelError(Errno.EINVAL)
    file = task.files.get(fd)
    if count > CHUNK:
        return _pread_large(task, file, buffer, count, offset)
    data = file.pread(count, offset)
    if type(data) is bytes:
        length = len(data)
        if length:
            try:
                task.mm.write(buffer, data)
            except KernelError:
                return copy_out(task.mm, buffer, data)
        return length
    return _pread_later(task, buffer, data)


async def _pread_later(task: Task, buffer: int, pending: MaybeAwait[bytes]) -> int:
    data = await pending  # type: ignore[misc]
    return copy_out(task.mm, buffer, data) if data else 0


def _pread_large(task: Task, file: File, buffer: int, count: int, offset: int) -> MaybeAwait[int]:
    if count >> 63:
        raise KernelError(Errno.EINVAL)
    count = min(count, MAX_TRANSFER)
    done = 0
    while done < count:
        step = min(CHUNK, count - done)
        data = file.pread(step, offset + done)
        if type(data) is not bytes:
            return _pread_later(task, buffer, data)
        if not data:
            break
        try:
            copied = copy_out(task.mm, buffer + done, data)
        except KernelError:
            if done:
                break
            raise
        done += copied
        if copied < step:
            break
    return done


@syscall("pwrite64")
def pwrite64(task: Task, fd: Fd, buffer: UserPtr, count: Size, offset: Long) -> MaybeAwait[int]:
    """pwrite(2)."""
    if offset < 0:
        raise KernelError(Errno.EINVAL)
    return _pwrite(task, task.files.get(fd), buffer, count, offset)


def _pwrite(task: Task, file: File, buffer: int, count: int, offset: int) -> MaybeAwait[int]:
    if count >> 63:
        raise KernelError(Errno.EINVAL)
    if not file.writable:
        raise KernelError(Errno.EBADF)
    count = limit_size(task, file, offset, min(count, MAX_TRANSFER))
    done = 0
    while True:
        step = min(CHUNK, count - done)
        try:
            written = file.pwrite(copy_in(task.mm, buffer + done, step) if step else b"", offset + done)
        except KernelError:
            if done:
                return done
            raise
        if type(written) is not int:
            return written
        done += written
        if done >= count or written < step:
            return done


@syscall("lseek")
def lseek(task: Task, fd: Fd, offset: Long, whence: Int) -> int:
    """lseek(2)."""
    return task.files.get(fd).seek(offset, whence)


# --- vectors --------------------------------------------------------------------------------------------------


@syscall("readv")
def readv(task: Task, fd: Fd, vector: UserPtr, count: ULong) -> MaybeAwait[int]:
    """readv(2)."""
    return _readv(task, task.files.get(fd), vector, count, None)


@syscall("writev")
def writev(task: Task, fd: Fd, vector: UserPtr, count: ULong) -> MaybeAwait[int]:
    """writev(2)."""
    return _writev(task, task.files.get(fd), vector, count, None)


@syscall("preadv")
def preadv(task: Task, fd: Fd, vector: UserPtr, count: ULong, low: Long, high: ULong) -> MaybeAwait[int]:
    """preadv(2). On a 64-bit kernel ``low`` has the whole offset."""
    return _readv(task, task.files.get(fd), vector, count, _offset(low))


@syscall("pwritev")
def pwritev(task: Task, fd: Fd, vector: UserPtr, count: ULong, low: Long, high: ULong) -> MaybeAwait[int]:
    """pwritev(2)."""
    return _writev(task, task.files.get(fd), vector, count, _offset(low))


@syscall("preadv2")
def preadv2(
    task: Task, fd: Fd, vector: UserPtr, count: ULong, low: Long, high: ULong, flags: Flags
) -> MaybeAwait[int]:
    """preadv2(2): offset -1 is the file's position. RWF_NOWAIT fails where the file would wait."""
    file = task.files.get(fd)
    if flags & ~RWF_KNOWN:
        raise KernelError(Errno.EOPNOTSUPP)
    offset = None if low == -1 else _offset(low)
    if not flags & RWF_NOWAIT:
        return _readv(task, file, vector, count, offset)
    before = file.flags
    file.set_flags(before | O_NONBLOCK)
    try:
        return _readv(task, file, vector, count, offset)
    finally:
        file.set_flags(before)


@syscall("pwritev2")
def pwritev2(
    task: Task, fd: Fd, vector: UserPtr, count: ULong, low: Long, high: ULong, flags: Flags
) -> MaybeAwait[int]:
    """pwritev2(2), with RWF_APPEND; the durability flags sync the file."""
    file = task.files.get(fd)
    if flags & ~RWF_KNOWN:
        raise KernelError(Errno.EOPNOTSUPP)
    offset = None if low == -1 else _offset(low)
    if flags & RWF_APPEND:
        offset = file.stat().size if offset is not None else None
        if offset is None:
            file.seek(0, 2)
    return _writev(task, file, vector, count, offset)


def _offset(low: int) -> int:
    if low < 0:
        raise KernelError(Errno.EINVAL)
    return low


def _readv(task: Task, file: File, vector: int, count: int, offset: int | None) -> MaybeAwait[int]:
    """One read of the whole length, scattered: a message or a line is never split over two reads."""
    if not file.readable:
        raise KernelError(Errno.EBADF)
    pieces = read_iovecs(task.mm, vector, count)
    total = sum(length for _, length in pieces)
    if total > CHUNK:
        total = CHUNK
    data = file.read(total) if offset is None else file.pread(total, offset)
    if type(data) is bytes:
        return _scatter(task, file, pieces, data, offset is None)
    return _scatter_later(task, file, pieces, data, offset is None)


async def _scatter_later(
    task: Task, file: File, pieces: list[tuple[int, int]], pending: MaybeAwait[bytes], moved: bool
) -> int:
    return _scatter(task, file, pieces, await pending, moved)  # type: ignore[misc]


def _scatter(task: Task, file: File, pieces: list[tuple[int, int]], data: bytes, moved: bool) -> int:
    done = 0
    try:
        for base, length in pieces:
            if done >= len(data):
                break
            if length:
                part = data[done : done + length]
                copied = copy_out(task.mm, base, part)
                done += copied
                if copied < len(part):
                    break
    except KernelError:
        if not done:
            if moved:
                unread(file, len(data))
            raise
    if moved:
        unread(file, len(data) - done)
    return done


def _writev(task: Task, file: File, vector: int, count: int, offset: int | None) -> MaybeAwait[int]:
    """One write of everything gathered: what writev promises is that nothing of others comes between."""
    if not file.writable:
        raise KernelError(Errno.EBADF)
    mm = task.mm
    pieces = read_iovecs(mm, vector, count)
    if sum(length for _, length in pieces) > GATHER_MOST:
        return _write_pieces(task, file, pieces, offset)
    gathered: list[bytes] = []
    for base, length in pieces:
        if length:
            try:
                gathered.append(mm.read(base, length))
            except KernelError:
                if not gathered:
                    gathered.append(copy_in(mm, base, length))
                break
    data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
    allowed = limit_size(task, file, offset, len(data))
    if allowed < len(data):
        data = data[:allowed]
    try:
        written = file.write(data) if offset is None else file.pwrite(data, offset)
    except KernelError as error:
        if error.errno == _EPIPE:
            broken_pipe(task)
        raise
    if type(written) is int:
        return written
    return write_later(task, written)  # type: ignore[arg-type]


async def _write_pieces(task: Task, file: File, pieces: list[tuple[int, int]], offset: int | None) -> int:
    """A writev of more than the host should hold at once: one piece of the vector after the other."""
    done = 0
    try:
        for base, length in pieces:
            if length:
                pending = (
                    _write_large(task, file, base, length)
                    if offset is None
                    else _pwrite(task, file, base, length, offset + done)
                )
                written = pending if type(pending) is int else await pending  # type: ignore[misc]
                done += written
                if written < length:
                    break
    except KernelError:
        if not done:
            raise
    return done
