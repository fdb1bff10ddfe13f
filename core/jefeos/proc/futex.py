"""Futexes: sleeping on a word of user memory (futex(2)).

    key of the word --> waiters, longest first        each waiter: its own wait queue, a bit set

The key comes from `AddressSpace.futex_key`: the place in a file or shared object for shared memory, so that
processes meet there, and address space plus address for private memory. The word itself belongs to the programs: the
kernel compares it once, before sleeping, and since everything runs on one host thread nothing can come between.

A waiter that is woken, requeued or interrupted is in at most one list. A wake-up is never lost: a waiter that was
woken and interrupted at once reports the wake-up.

Priority-inheritance futexes keep the owner's thread id in the word, and unlocking hands the word to the longest
waiter. There are no priorities to inherit, so that is all there is to them; their waiters stand in lists of their own.

Also here: what a thread leaves behind when it ends (robust list, clear_child_tid), as it is futex work.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import WaitQueue

if TYPE_CHECKING:
    from jefeos.mm.space import AddressSpace
    from jefeos.proc.task import Task

MATCH_ANY: Final = 0xFFFF_FFFF
WAITERS: Final = 0x8000_0000
OWNER_DIED: Final = 0x4000_0000
TID_MASK: Final = 0x3FFF_FFFF
ROBUST_LIST_LIMIT: Final = 2048
"""Entries looked at in a robust list, which a program could make circular."""
ROBUST_HEAD_BYTES: Final = 24
_INHERITING: Final = "inheriting"


class FutexWaiter:
    """One sleeping thread."""

    __slots__ = ("bitset", "key", "queue", "tid", "woken")

    def __init__(self, key: Hashable, bitset: int, tid: int = 0) -> None:
        self.key = key
        self.bitset = bitset
        self.tid = tid
        self.queue = WaitQueue()
        self.woken = False


class FutexTable:
    """All futexes that somebody waits on; ``kernel.futexes``."""

    def __init__(self) -> None:
        self._waiters: dict[Hashable, dict[FutexWaiter, None]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiters.values())

    async def wait(
        self, key: Hashable, bitset: int = MATCH_ANY, timeout_ns: int | None = None, tid: int = 0
    ) -> bool:
        """Sleep until woken (True) or the time is over (False). Raises Interrupted.

        The caller has just compared the word: no other task has run since. ``tid`` is who will own the word.
        """
        waiter = FutexWaiter(key, bitset, tid)
        self._waiters.setdefault(key, {})[waiter] = None
        try:
            await waiter.queue.wait(timeout_ns)
        except KernelError:
            if not waiter.woken:
                raise
        finally:
            self._remove(waiter)
        return waiter.woken

    async def wait_any(self, keys: list[Hashable], timeout_ns: int | None = None) -> int | None:
        """The same for several words at once: the index of one that was woken, None when the time is over."""
        queue = WaitQueue()
        waiters = [FutexWaiter(key, MATCH_ANY) for key in keys]
        for waiter in waiters:
            waiter.queue = queue
            self._waiters.setdefault(waiter.key, {})[waiter] = None
        try:
            await queue.wait(timeout_ns)
        except KernelError:
            if not any(waiter.woken for waiter in waiters):
                raise
        finally:
            for waiter in waiters:
                self._remove(waiter)
        return max((index for index, waiter in enumerate(waiters) if waiter.woken), default=None)

    def wake(self, key: Hashable, count: int, bitset: int = MATCH_ANY) -> int:
        """Wake up to ``count`` waiters whose bit set meets ``bitset``; returns how many."""
        waiters = self._waiters.get(key)
        if not waiters:
            return 0
        woken = 0
        for waiter in list(waiters):
            if woken >= count:
                break
            if waiter.bitset & bitset:
                self._wake(waiter)
                woken += 1
        return woken

    def requeue(self, source: Hashable, target: Hashable, wake: int, move: int) -> int:
        """Wake ``wake`` waiters of one word and let up to ``move`` others wait for another one; returns the sum."""
        done = self.wake(source, wake)
        for waiter in list(self._waiters.get(source, ()))[:move]:
            if source != target:
                self._remove(waiter)
                waiter.key = target
                self._waiters.setdefault(target, {})[waiter] = None
            done += 1
        return done

    async def lock_inheriting(
        self, task: Task, address: int, key: Hashable, timeout_ns: int | None, *, attempt_only: bool
    ) -> bool:
        """FUTEX_LOCK_PI and FUTEX_TRYLOCK_PI: True when the caller owns the word, False when the time is over.

        Raises EDEADLK (owned already), EAGAIN (an attempt found an owner), ESRCH (the owner is gone).
        """
        mm = task.mm
        value = mm.read_u32(address)
        owner = value & TID_MASK
        if owner == task.tid:
            raise KernelError(Errno.EDEADLK)
        queue_key = (_INHERITING, key)
        if not owner:
            mm.write_u32(address, task.tid | value & OWNER_DIED | (WAITERS if queue_key in self._waiters else 0))
            return True
        if attempt_only:
            raise KernelError(Errno.EAGAIN)
        if owner not in task.kernel.processes.tasks:
            raise KernelError(Errno.ESRCH)
        mm.write_u32(address, value | WAITERS)
        return await self.wait(queue_key, MATCH_ANY, timeout_ns, task.tid)

    def unlock_inheriting(self, task: Task, address: int, key: Hashable) -> None:
        """FUTEX_UNLOCK_PI. Raises EPERM if the caller does not own the word."""
        if task.mm.read_u32(address) & TID_MASK != task.tid:
            raise KernelError(Errno.EPERM)
        self.hand_over(task.mm, address, key, 0)

    def hand_over(self, mm: AddressSpace, address: int, key: Hashable, flags: int) -> None:
        """Give the word to its longest waiter, or to nobody; ``flags`` stay set in it (OWNER_DIED)."""
        queue_key = (_INHERITING, key)
        waiters = self._waiters.get(queue_key)
        if not waiters:
            mm.write_u32(address, flags)
            return
        heir = next(iter(waiters))
        mm.write_u32(address, heir.tid | flags | (WAITERS if len(waiters) > 1 else 0))
        self._wake(heir)

    def _wake(self, waiter: FutexWaiter) -> None:
        self._remove(waiter)
        waiter.woken = True
        waiter.queue.wake_all()

    def _remove(self, waiter: FutexWaiter) -> None:
        waiters = self._waiters.get(waiter.key)
        if waiters is not None and waiter in waiters:
            del waiters[waiter]
            if not waiters:
                del self._waiters[waiter.key]


# --- the end of a thread ---------------------------------------------------------------------------------------


def thread_ends(task: Task, futexes: FutexTable) -> None:
    """Mark the robust mutexes of a dying thread, and tell who joins it. Never raises KernelError."""
    if task.robust_list[0]:
        _release_robust_list(task, futexes)
    task.robust_list = (0, 0)
    address, task.clear_child_tid = task.clear_child_tid, 0
    if address and task.mm.references > 1:
        try:
            task.mm.write_u32(address, 0)
            futexes.wake(task.mm.futex_key(address), 1)
        except KernelError:
            pass  # the program took the memory away itself


def _release_robust_list(task: Task, futexes: FutexTable) -> None:
    mm = task.mm
    head = task.robust_list[0]
    try:
        entry = mm.read_u64(head)
        offset = _signed(mm.read_u64(head + 8))
        pending = mm.read_u64(head + 16)
        for _ in range(ROBUST_LIST_LIMIT):
            address = entry & ~1
            if address == head or not address:
                break
            following = mm.read_u64(address)
            if address != pending & ~1:
                _owner_died(task, mm, address + offset, futexes, inherits=bool(entry & 1), pending=False)
            entry = following
        if pending & ~1:
            _owner_died(task, mm, (pending & ~1) + offset, futexes, inherits=bool(pending & 1), pending=True)
    except KernelError:
        return  # a list that leads nowhere ends here, as on Linux


def _owner_died(
    task: Task, mm: AddressSpace, address: int, futexes: FutexTable, *, inherits: bool, pending: bool
) -> None:
    if address & 3 or address < 0:
        raise KernelError(Errno.EINVAL)
    value = mm.read_u32(address)
    if pending and not inherits and not value:
        futexes.wake(mm.futex_key(address), 1)
        return
    if value & TID_MASK != task.tid:
        return
    if inherits:
        futexes.hand_over(mm, address, mm.futex_key(address), OWNER_DIED)
        return
    mm.write_u32(address, value & WAITERS | OWNER_DIED)
    if value & WAITERS:
        futexes.wake(mm.futex_key(address), 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
