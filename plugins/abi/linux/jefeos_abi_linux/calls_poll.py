"""Waiting for several files: poll, ppoll, select, pselect6.

All four are one scan: ask each file for its events; if none is ready, wait on all their queues at once, and scan
again. A call with a signal mask (ppoll, pselect6) keeps it until it returns: if it returns because of a signal,
the handler still sees it (`Task.set_temporary_mask`), otherwise the old mask is back before anything is delivered.
Interrupted calls fail with EINTR whatever SA_RESTART says, and tell how much time was left.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.task import Task, Work
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart, WaitQueue, wait_any
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, Size, UInt, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import (
    O_PATH,
    POLL_READABLE,
    POLL_WRITABLE,
    POLLERR,
    POLLHUP,
    POLLNVAL,
    POLLPRI,
    POLLRDBAND,
    POLLWRBAND,
)

from jefeos_abi_linux.structs_common import (
    NS_PER_SECOND,
    NS_PER_US,
    read_timespec,
    timespec_bytes,
    timeval_bytes,
)

NS_PER_MS: Final = 1_000_000
SIGSET_BYTES: Final = 8
_POLLFD: Final = struct.Struct("<iHH")
_TIMEVAL: Final = struct.Struct("<qq")
_ALWAYS: Final = POLLERR | POLLHUP
_READ_EVENTS: Final = POLL_READABLE | POLLRDBAND | POLLHUP | POLLERR
_WRITE_EVENTS: Final = POLL_WRITABLE | POLLWRBAND | POLLERR
_WORD_BITS: Final = 64

Interest = tuple[int, File | None, int]
"""Descriptor (or index), its file (None: closed), and the events that count."""
Finish = Callable[[list[int]], int]
"""Writes the result, given the events found for each interest; gives the call's value."""
TellTime = Callable[[int], None]
"""Writes the time left, in nanoseconds, to the program."""


def scan(interests: list[Interest]) -> tuple[list[int], bool]:
    """The events of each now, and whether there are any."""
    found = []
    any_ready = False
    for fd, file, events in interests:
        if file is None:
            ready = POLLNVAL if fd >= 0 else 0
        else:
            ready = file.poll() & events
        if ready:
            any_ready = True
        found.append(ready)
    return found, any_ready


def wait_for(
    task: Task,
    interests: list[Interest],
    timeout_ns: int | None,
    finish: Finish,
    tell_time: TellTime | None = None,
    mask: int | None = None,
) -> MaybeAwait[int]:
    """Scan, and wait if nothing is ready and there is time. ``mask`` is the temporary signal mask."""
    if mask is not None:
        task.set_temporary_mask(mask)
    found, ready = scan(interests)
    if ready or timeout_ns == 0:
        if mask is not None:
            restore_mask(task)
        if tell_time is not None and timeout_ns:
            tell_time(timeout_ns)
        return finish(found)
    return _wait(task, interests, timeout_ns, finish, tell_time, mask is not None)


async def _wait(
    task: Task,
    interests: list[Interest],
    timeout_ns: int | None,
    finish: Finish,
    tell_time: TellTime | None,
    masked: bool,
) -> int:
    clock = task.kernel.clock
    deadline_ns = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    held = [file.ref() for _, file, _ in interests if file is not None]
    left_ns = timeout_ns
    try:
        while True:
            queues: dict[WaitQueue, None] = {}
            for _, file, _ in interests:
                if file is not None:
                    queues.update(dict.fromkeys(file.poll_queues()))
            woken = await wait_any(queues, left_ns)
            found, ready = scan(interests)
            if deadline_ns is not None:
                left_ns = max(deadline_ns - clock.monotonic_ns(), 0)
            if ready or not woken or left_ns == 0:
                break
    except Interrupted:
        raise Interrupted(Restart.NEVER) from None
    finally:
        for file in held:
            file.unref()
        if tell_time is not None and deadline_ns is not None:
            tell_time(max(deadline_ns - clock.monotonic_ns(), 0))
    if masked:
        restore_mask(task)
    return finish(found)


def restore_mask(task: Task) -> None:
    """End a temporary mask without having been interrupted: what it let through stays pending."""
    if task.work & Work.MASK:
        task.work &= ~Work.MASK
        task.set_blocked(task.saved_mask)


def read_mask(task: Task, address: int, size: int) -> int | None:
    """A sigset_t argument; None for a null pointer. EINVAL for another size than 8."""
    if not address:
        return None
    if size != SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    return task.mm.read_u64(address)


# --- poll -----------------------------------------------------------------------------------------------------


@syscall("poll")
def poll(task: Task, descriptors: UserPtr, count: UInt, timeout_ms: Int) -> MaybeAwait[int]:
    """poll(2)."""
    return _poll(task, descriptors, count, None if timeout_ms < 0 else timeout_ms * NS_PER_MS, 0, None)


@syscall("ppoll")
def ppoll(
    task: Task, descriptors: UserPtr, count: UInt, timeout: UserPtr, mask: UserPtr, mask_size: Size
) -> MaybeAwait[int]:
    """ppoll(2). The time left is written back."""
    timeout_ns = read_timespec(task.mm, timeout) if timeout else None
    return _poll(task, descriptors, count, timeout_ns, timeout, read_mask(task, mask, mask_size))


def _poll(
    task: Task, address: int, count: int, timeout_ns: int | None, timeout: int, mask: int | None
) -> MaybeAwait[int]:
    if count > task.process.limit(RLimit.NOFILE):
        raise KernelError(Errno.EINVAL)
    mm = task.mm
    wanted = list(_POLLFD.iter_unpack(mm.read(address, count * _POLLFD.size))) if count else []
    files = task.files
    interests: list[Interest] = [
        (fd, files.get(fd) if fd in files else None, events | _ALWAYS) for fd, events, _ in wanted
    ]

    def finish(found: list[int]) -> int:
        if wanted:
            packed = [
                _POLLFD.pack(fd, events, ready) for (fd, events, _), ready in zip(wanted, found, strict=True)
            ]
            mm.write(address, b"".join(packed))
        return sum(1 for ready in found if ready)

    return wait_for(task, interests, timeout_ns, finish, time_teller(task, timeout, timespec_bytes), mask)


def time_teller(task: Task, address: int, to_bytes: Callable[[int], bytes]) -> TellTime | None:
    """Writes the time left to ``address``, if it can be: a constant time-out is no error. None for a null one."""
    if not address:
        return None

    def tell(left_ns: int) -> None:
        with suppress(KernelError):
            task.mm.write(address, to_bytes(left_ns))

    return tell


# --- select ---------------------------------------------------------------------------------------------------


@syscall("select")
def select(
    task: Task, count: Int, readable: UserPtr, writable: UserPtr, exceptional: UserPtr, timeout: UserPtr
) -> MaybeAwait[int]:
    """select(2). The time left is written back, as Linux does."""
    timeout_ns = None
    if timeout:
        seconds, microseconds = _TIMEVAL.unpack(task.mm.read(timeout, _TIMEVAL.size))
        if seconds < 0 or microseconds < 0:
            raise KernelError(Errno.EINVAL)
        timeout_ns = seconds * NS_PER_SECOND + microseconds * NS_PER_US
    sets = (readable, writable, exceptional)
    return _select(task, count, sets, timeout_ns, timeout, timeval_bytes, None)


@syscall("pselect6")
def pselect6(
    task: Task,
    count: Int,
    readable: UserPtr,
    writable: UserPtr,
    exceptional: UserPtr,
    timeout: UserPtr,
    mask: UserPtr,
) -> MaybeAwait[int]:
    """pselect(2). The sixth argument points to the mask's address and size."""
    timeout_ns = read_timespec(task.mm, timeout) if timeout else None
    signals = None
    if mask:
        signals = read_mask(task, task.mm.read_u64(mask), task.mm.read_u64(mask + 8))
    sets = (readable, writable, exceptional)
    return _select(task, count, sets, timeout_ns, timeout, timespec_bytes, signals)


def _select(
    task: Task,
    count: int,
    sets: tuple[int, int, int],
    timeout_ns: int | None,
    timeout: int,
    time_bytes: Callable[[int], bytes],
    mask: int | None,
) -> MaybeAwait[int]:
    if count < 0:
        raise KernelError(Errno.EINVAL)
    mm = task.mm
    files = task.files
    count = min(count, files.limit)
    size = (count + _WORD_BITS - 1) // _WORD_BITS * 8
    interests: list[Interest] = []
    kinds: list[int] = []
    for kind, address in enumerate(sets):
        if not address or not size:
            continue
        events = (_READ_EVENTS, _WRITE_EVENTS, POLLPRI)[kind]
        for fd in _members(mm.read(address, size), count):
            file = files.get(fd)  # EBADF
            if file.flags & O_PATH:
                raise KernelError(Errno.EBADF)
            interests.append((fd, file, events))
            kinds.append(kind)

    def finish(found: list[int]) -> int:
        results = [bytearray(size), bytearray(size), bytearray(size)]
        total = 0
        for (fd, _, _), kind, ready in zip(interests, kinds, found, strict=True):
            if ready:
                results[kind][fd >> 3] |= 1 << (fd & 7)
                total += 1
        for address, result in zip(sets, results, strict=True):
            if address and size:
                mm.write(address, bytes(result))
        return total

    return wait_for(task, interests, timeout_ns, finish, time_teller(task, timeout, time_bytes), mask)


def _members(bitmap: bytes, count: int) -> list[int]:
    """The descriptors below ``count`` in a set."""
    bits = int.from_bytes(bitmap, "little") & ((1 << count) - 1)
    members = []
    while bits:
        lowest = bits & -bits
        members.append(lowest.bit_length() - 1)
        bits ^= lowest
    return members
