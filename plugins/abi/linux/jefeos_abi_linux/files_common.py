"""What the file calls have in common: directories of *at calls, user buffers, SIGPIPE and file-size limits.

Two results of Linux that programs rely on are made here. A copy to user memory that fails half way gives the
count that went in, and the file's position follows that count, not what was read. A write that nobody will read
sends SIGPIPE besides failing with EPIPE.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.mm.space import AddressSpace
from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.signals import Signal, SignalCode, SignalInfo
from jefeos.proc.task import Task
from jefeos.vfs.file import File, RegularFile, SeekableFile
from jefeos.vfs.flags import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_APPEND, O_PATH
from jefeos.vfs.lookup import Scope
from jefeos.vfs.path import Path

CHUNK: Final = 1 << 20
"""Most bytes moved in one step, so that a huge count costs the host no huge buffer."""
_PAGE_SIZE: Final = 4096
_OFFSET_LIMIT: Final = 1 << 63


def directory_of(task: Task, dirfd: int, path: bytes, scope: int = 0) -> Path | None:
    """Where a relative ``path`` of an *at call starts: None is the working directory. EBADF, ENOTDIR.

    With a ``scope`` that makes the start a root, an absolute path starts there too.
    """
    if dirfd == AT_FDCWD or not path or path[:1] == b"/" and not scope & Scope.IN_ROOT:
        return None
    place = task.files.get(dirfd).path
    if place is None:
        raise KernelError(Errno.ENOTDIR)
    return place


def file_of(task: Task, fd: int) -> File:
    """An open file, but not an O_PATH one. Raises EBADF."""
    file = task.files.get(fd)
    if file.flags & O_PATH:
        raise KernelError(Errno.EBADF)
    return file


def resolve_at(task: Task, dirfd: int, path: bytes, flags: int) -> Path | File:
    """The place that an *at call with AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH names.

    An empty path with AT_EMPTY_PATH is the descriptor itself: its file if it has no place in any tree.
    """
    vfs = task.kernel.vfs
    if not path and flags & AT_EMPTY_PATH:
        if dirfd == AT_FDCWD:
            return task.fs.cwd
        file = task.files.get(dirfd)
        return file if file.path is None else file.path
    return vfs.resolve(
        task, path, at=directory_of(task, dirfd, path), follow=not flags & AT_SYMLINK_NOFOLLOW
    )


# --- user memory ----------------------------------------------------------------------------------------------


def copy_out(mm: AddressSpace, address: int, data: bytes) -> int:
    """Write ``data``; the count that could be written if not all. EFAULT if nothing could."""
    try:
        mm.write(address, data)
        return len(data)
    except KernelError:
        done = 0
    while done < len(data):
        step = min(_PAGE_SIZE - (address + done) % _PAGE_SIZE, len(data) - done)
        try:
            mm.write(address + done, data[done : done + step])
        except KernelError:
            break
        done += step
    if not done:
        raise KernelError(Errno.EFAULT)
    return done


def copy_in(mm: AddressSpace, address: int, length: int) -> bytes:
    """Up to ``length`` bytes at ``address``; fewer if the rest cannot be read. EFAULT if nothing can."""
    try:
        return mm.read(address, length)
    except KernelError:
        pieces: list[bytes] = []
    done = 0
    while done < length:
        step = min(_PAGE_SIZE - (address + done) % _PAGE_SIZE, length - done)
        try:
            pieces.append(mm.read(address + done, step))
        except KernelError:
            break
        done += step
    if not done:
        raise KernelError(Errno.EFAULT)
    return b"".join(pieces)


def deliver(task: Task, file: File, address: int, data: bytes) -> int:
    """Give what `file.read` returned to the program; a file's position goes back by what it did not get."""
    try:
        copied = copy_out(task.mm, address, data)
    except KernelError:
        unread(file, len(data))
        raise
    unread(file, len(data) - copied)
    return copied


def unread(file: File, count: int) -> None:
    """Take ``count`` bytes of a read back, where that is possible."""
    if count and isinstance(file, SeekableFile):
        file.position -= count


async def deliver_later(
    task: Task, file: File, address: int, pending: Coroutine[Any, Any, bytes]
) -> int:
    """The same once the bytes have come."""
    data = await pending
    return deliver(task, file, address, data) if data else 0


# --- writing --------------------------------------------------------------------------------------------------


def broken_pipe(task: Task) -> None:
    """SIGPIPE to the writing thread, as the kernel's own doing."""
    info = SignalInfo(Signal.SIGPIPE, SignalCode.SI_USER, task.process.pid, task.creds.uid)
    task.kernel.signals.send_task(task, Signal.SIGPIPE, info)


async def write_later(task: Task, pending: Coroutine[Any, Any, int]) -> int:
    """Wait for a write; a broken pipe has its signal."""
    try:
        return await pending
    except KernelError as error:
        if error.errno == Errno.EPIPE:
            broken_pipe(task)
        raise


def limit_size(task: Task, file: File, offset: int | None, length: int) -> int:
    """How much of a write of ``length`` RLIMIT_FSIZE lets through; at the limit SIGXFSZ and EFBIG."""
    limit = task.process.rlimits[RLimit.FSIZE][0]
    if limit == UNLIMITED or not length or not isinstance(file, RegularFile):
        return length
    start = file.inode.size if file.flags & O_APPEND else file.position if offset is None else offset
    if start >= limit:
        task.kernel.signals.send_task(task, Signal.SIGXFSZ)
        raise KernelError(Errno.EFBIG)
    return min(length, limit - start)


def signed_offset(offset: int) -> int:
    """An offset argument: EINVAL if negative or past what a file can have."""
    if not 0 <= offset < _OFFSET_LIMIT:
        raise KernelError(Errno.EINVAL)
    return offset
