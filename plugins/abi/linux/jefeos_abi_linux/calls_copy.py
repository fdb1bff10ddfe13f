"""Moving bytes between files inside the kernel: sendfile, copy_file_range, splice, tee, vmsplice.

There are no pages to be handed over here: all of them read and write. What differs are the rules about which kinds
of file may stand on which side, and whose position moves. A transfer that has moved something ends short rather
than waiting again or failing.
"""

from __future__ import annotations

from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Size, ULong, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_APPEND, O_NONBLOCK
from jefeos.vfs.pipe import Pipe, PipeFile

from jefeos_abi_linux.files_common import broken_pipe, copy_out, file_of
from jefeos_abi_linux.structs_common import MAX_TRANSFER, read_iovecs

STEP: Final = 65536
SPLICE_F_NONBLOCK: Final = 2
SPLICE_KNOWN: Final = 0xF


class Side:
    """One side of a transfer: a file, and the offset to use instead of its position (None: the position)."""

    def __init__(self, task: Task, file: File, pointer: int) -> None:
        self.file = file
        self.pointer = pointer
        self.offset: int | None = None
        if pointer:
            value = task.mm.read_u64(pointer)
            if value >> 63:
                raise KernelError(Errno.EINVAL)
            self.offset = value

    def read(self, count: int) -> MaybeAwait[bytes]:
        return self.file.read(count) if self.offset is None else self.file.pread(count, self.offset)

    def write(self, data: bytes) -> MaybeAwait[int]:
        return self.file.write(data) if self.offset is None else self.file.pwrite(data, self.offset)

    def advance(self, task: Task, count: int) -> None:
        """``count`` bytes went through: tell the program where its offset is now."""
        if self.offset is not None:
            self.offset += count
            task.mm.write_u64(self.pointer, self.offset)


def _would_wait(file: File, nonblock: bool, *, reading: bool) -> bool:
    """Whether a pipe would make a SPLICE_F_NONBLOCK caller wait."""
    if not nonblock or not isinstance(file, PipeFile):
        return False
    pipe = file.pipe
    return not pipe.count and pipe.writers > 0 if reading else pipe.room <= 0 and pipe.readers > 0


async def _transfer(task: Task, source: Side, target: Side, count: int, nonblock: bool = False) -> int:
    done = 0
    count = min(count, MAX_TRANSFER)
    try:
        while done < count:
            step = min(STEP, count - done)
            if isinstance(source.file, PipeFile) and done and not source.file.pipe.count:
                break
            if isinstance(target.file, PipeFile):
                step = min(step, max(target.file.pipe.room, 1)) if not done else min(step, target.file.pipe.room)
                if not step:
                    break
            if _would_wait(source.file, nonblock, reading=True):
                raise KernelError(Errno.EAGAIN)
            if _would_wait(target.file, nonblock, reading=False):
                raise KernelError(Errno.EAGAIN)
            data: Any = source.read(step)
            if type(data) is not bytes:
                data = await data
            if not data:
                break
            written: Any = target.write(data)
            if type(written) is not int:
                written = await written
            if written < len(data) and source.offset is None and not isinstance(source.file, PipeFile):
                source.file.seek(written - len(data), 1)
            source.advance(task, written)
            target.advance(task, written)
            done += written
            if written < len(data) or len(data) < step:
                break
    except KernelError as error:
        if error.errno == Errno.EPIPE and not done:
            broken_pipe(task)
        if not done:
            raise
    return done


@syscall("sendfile")
def sendfile(task: Task, out_fd: Fd, in_fd: Fd, offset: UserPtr, count: Size) -> MaybeAwait[int]:
    """sendfile(2): from anything that has positions."""
    source_file = file_of(task, in_fd)
    if not source_file.readable:
        raise KernelError(Errno.EBADF)
    target_file = file_of(task, out_fd)
    if not target_file.writable:
        raise KernelError(Errno.EBADF)
    if isinstance(source_file, PipeFile):
        raise KernelError(Errno.ESPIPE if offset else Errno.EINVAL)
    if source_file.inode.is_directory or target_file.flags & O_APPEND:
        raise KernelError(Errno.EINVAL)
    return _transfer(task, Side(task, source_file, offset), Side(task, target_file, 0), count)


@syscall("copy_file_range")
def copy_file_range(
    task: Task, in_fd: Fd, in_offset: UserPtr, out_fd: Fd, out_offset: UserPtr, count: Size, flags: Flags
) -> MaybeAwait[int]:
    """copy_file_range(2): between regular files."""
    source_file, target_file = file_of(task, in_fd), file_of(task, out_fd)
    source, target = Side(task, source_file, in_offset), Side(task, target_file, out_offset)
    if flags:
        raise KernelError(Errno.EINVAL)
    for file in (source_file, target_file):
        if file.inode.is_directory:
            raise KernelError(Errno.EISDIR)
        if not file.inode.is_regular:
            raise KernelError(Errno.EINVAL)
    if not source_file.readable or not target_file.writable or target_file.flags & O_APPEND:
        raise KernelError(Errno.EBADF)
    count = min(count, MAX_TRANSFER)
    start = source_file.position if source.offset is None else source.offset
    goal = target_file.position if target.offset is None else target.offset
    count = min(count, max(source_file.stat().size - start, 0))
    if source_file.inode is target_file.inode and start < goal + count and goal < start + count:
        raise KernelError(Errno.EINVAL)
    return _transfer(task, source, target, count)


@syscall("splice")
def splice(
    task: Task, in_fd: Fd, in_offset: UserPtr, out_fd: Fd, out_offset: UserPtr, count: Size, flags: Flags
) -> MaybeAwait[int]:
    """splice(2): one side at least is a pipe."""
    if flags & ~SPLICE_KNOWN:
        raise KernelError(Errno.EINVAL)
    if not count:
        return 0
    source_file, target_file = file_of(task, in_fd), file_of(task, out_fd)
    if not source_file.readable or not target_file.writable:
        raise KernelError(Errno.EBADF)
    pipes = [isinstance(file, PipeFile) for file in (source_file, target_file)]
    if pipes[0] and in_offset or pipes[1] and out_offset:
        raise KernelError(Errno.ESPIPE)
    if not any(pipes) or target_file.flags & O_APPEND and not pipes[1]:
        raise KernelError(Errno.EINVAL)
    if all(pipes) and _pipe(source_file) is _pipe(target_file):
        raise KernelError(Errno.EINVAL)
    nonblock = bool(flags & SPLICE_F_NONBLOCK)
    source, target = Side(task, source_file, in_offset), Side(task, target_file, out_offset)
    return _transfer(task, source, target, count, nonblock)


def _pipe(file: File) -> Pipe:
    if not isinstance(file, PipeFile):
        raise KernelError(Errno.EINVAL)
    return file.pipe


@syscall("tee")
def tee(task: Task, in_fd: Fd, out_fd: Fd, count: Size, flags: Flags) -> MaybeAwait[int]:
    """tee(2): copies what is in a pipe to another one and leaves it there."""
    if flags & ~SPLICE_KNOWN:
        raise KernelError(Errno.EINVAL)
    source_file, target_file = file_of(task, in_fd), file_of(task, out_fd)
    if not source_file.readable or not target_file.writable:
        raise KernelError(Errno.EBADF)
    source, target = _pipe(source_file), _pipe(target_file)
    if source is target:
        raise KernelError(Errno.EINVAL)
    nonblock = bool(flags & SPLICE_F_NONBLOCK) or bool((source_file.flags | target_file.flags) & O_NONBLOCK)
    return _tee(task, source, target, count, nonblock)


async def _tee(task: Task, source: Pipe, target: Pipe, count: int, nonblock: bool) -> int:
    while not source.count:
        if not source.writers:
            return 0
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        await source.read_queue.wait()
    while target.room <= 0 and target.readers:
        if nonblock:
            raise KernelError(Errno.EAGAIN)
        await target.write_queue.wait()
    if not target.readers:
        broken_pipe(task)
        raise KernelError(Errno.EPIPE)
    data = b"".join(source.chunks)[source.offset :][: min(count, target.room)]
    if data:
        target.put(data)
        target.read_queue.wake_all()
    return len(data)


@syscall("vmsplice")
def vmsplice(task: Task, fd: Fd, vector: UserPtr, count: ULong, flags: Flags) -> MaybeAwait[int]:
    """vmsplice(2): as writev or readv on the pipe."""
    if flags & ~SPLICE_KNOWN:
        raise KernelError(Errno.EINVAL)
    file = file_of(task, fd)
    pieces = read_iovecs(task.mm, vector, count)
    if not any(length for _, length in pieces):
        return 0
    if not isinstance(file, PipeFile):
        raise KernelError(Errno.EBADF)
    pipe_end = file.pipe
    nonblock = bool(flags & SPLICE_F_NONBLOCK)
    if file.writable:
        data = b"".join(task.mm.read(base, length) for base, length in pieces if length)
        if nonblock:
            if data and pipe_end.room <= 0:
                raise KernelError(Errno.EAGAIN)
            data = data[: pipe_end.room]
        return file.write(data)
    if nonblock and _would_wait(file, True, reading=True):
        raise KernelError(Errno.EAGAIN)
    return _read_pieces(task, file, pieces)


async def _read_pieces(task: Task, file: File, pieces: list[tuple[int, int]]) -> int:
    data: Any = file.read(min(sum(length for _, length in pieces), STEP))
    if type(data) is not bytes:
        data = await data
    done = 0
    for base, length in pieces:
        if done < len(data) and length:
            done += copy_out(task.mm, base, data[done : done + length])
    return done
