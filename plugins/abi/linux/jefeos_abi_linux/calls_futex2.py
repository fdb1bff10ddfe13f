"""The later futex calls: futex_waitv, futex_wake, futex_wait, futex_requeue (linux/futex.h, FUTEX2_*).

They wait on the same words as futex(2) does and meet its waiters. Words of 32 bits only, as on Linux so far; a NUMA
futex (FUTEX2_NUMA) is refused.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.structs import Struct, u32, u64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, UInt, ULong, UserPtr

from jefeos_abi_linux.calls_threads import futex_key
from jefeos_abi_linux.structs_common import read_timespec

FUTEX2_SIZE_MASK: Final = 0x03
FUTEX2_SIZE_U32: Final = 0x02
FUTEX2_PRIVATE: Final = 128
WAITV_MAX: Final = 128
CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
_U32_MAX: Final = 0xFFFF_FFFF


class FutexWaitv(Struct):
    """struct futex_waitv."""

    val: int = u64()
    uaddr: int = u64()
    flags: int = u32()
    reserved: int = u32()


def _check_flags(flags: int) -> None:
    if flags & ~(FUTEX2_SIZE_MASK | FUTEX2_PRIVATE) or flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32:
        raise KernelError(Errno.EINVAL)


def _left_ns(task: Task, timeout: int, clock_id: int) -> int | None:
    """How long until the point in time at ``timeout``; None if there is none."""
    if not timeout:
        return None
    if clock_id not in (CLOCK_REALTIME, CLOCK_MONOTONIC):
        raise KernelError(Errno.EINVAL)
    clock = task.kernel.clock
    now_ns = clock.realtime_ns() if clock_id == CLOCK_REALTIME else clock.monotonic_ns()
    return max(read_timespec(task.mm, timeout) - now_ns, 0)


def _words(task: Task, address: int, count: int) -> list[FutexWaitv]:
    data = task.mm.read(address, count * FutexWaitv.size)
    words = [FutexWaitv.parse(data, index * FutexWaitv.size) for index in range(count)]
    for word in words:
        if word.reserved:
            raise KernelError(Errno.EINVAL)
        _check_flags(word.flags)
        if word.val > _U32_MAX:
            raise KernelError(Errno.EINVAL)
    return words


def _key(task: Task, word: FutexWaitv) -> Hashable:
    return futex_key(task.mm, word.uaddr, bool(word.flags & FUTEX2_PRIVATE))


@syscall("futex_waitv")
def futex_waitv(
    task: Task, waiters: UserPtr, count: UInt, flags: UInt, timeout: UserPtr, clock: Int
) -> MaybeAwait[int]:
    """futex_waitv(2): the index of the word that was woken."""
    if flags or not 0 < count <= WAITV_MAX or not waiters:
        raise KernelError(Errno.EINVAL)
    left_ns = _left_ns(task, timeout, clock)
    words = _words(task, waiters, count)
    keys = [_key(task, word) for word in words]
    for word in words:
        if task.mm.read_u32(word.uaddr) != word.val:
            raise KernelError(Errno.EAGAIN)
    return _wait_any(task, keys, left_ns)


async def _wait_any(task: Task, keys: list[Hashable], timeout_ns: int | None) -> int:
    index = await task.kernel.futexes.wait_any(keys, timeout_ns)
    if index is None:
        raise KernelError(Errno.ETIMEDOUT)
    return index


@syscall("futex_wake")
def futex_wake(task: Task, address: UserPtr, mask: ULong, count: Int, flags: UInt) -> int:
    """futex_wake(2)."""
    _check_flags(flags)
    if not 0 < mask <= _U32_MAX:
        raise KernelError(Errno.EINVAL)
    key = futex_key(task.mm, address, bool(flags & FUTEX2_PRIVATE))
    return task.kernel.futexes.wake(key, max(count, 1), mask) if count else 0


@syscall("futex_wait")
def futex_wait(
    task: Task, address: UserPtr, value: ULong, mask: ULong, flags: UInt, timeout: UserPtr, clock: Int
) -> MaybeAwait[int]:
    """futex_wait(2)."""
    _check_flags(flags)
    if value > _U32_MAX or mask > _U32_MAX:
        raise KernelError(Errno.EINVAL)
    left_ns = _left_ns(task, timeout, clock)
    if not mask:
        raise KernelError(Errno.EINVAL)
    key = futex_key(task.mm, address, bool(flags & FUTEX2_PRIVATE))
    if task.mm.read_u32(address) != value:
        raise KernelError(Errno.EAGAIN)
    return _wait_one(task, key, mask, left_ns)


async def _wait_one(task: Task, key: Hashable, mask: int, timeout_ns: int | None) -> int:
    if not await task.kernel.futexes.wait(key, mask, timeout_ns):
        raise KernelError(Errno.ETIMEDOUT)
    return 0


@syscall("futex_requeue")
def futex_requeue(task: Task, waiters: UserPtr, flags: UInt, wake: Int, move: Int) -> int:
    """futex_requeue(2): from the first word, if it still has its value, to the second."""
    if flags or not waiters:
        raise KernelError(Errno.EINVAL)
    source, target = _words(task, waiters, 2)
    if wake < 0 or move < 0:
        raise KernelError(Errno.EINVAL)
    keys = _key(task, source), _key(task, target)
    if task.mm.read_u32(source.uaddr) != source.val:
        raise KernelError(Errno.EAGAIN)
    return task.kernel.futexes.requeue(*keys, wake, move)
