"""File locks: flock(2), POSIX record locks and open-file-description locks (fcntl(2)).

    Inode.locks ──► InodeLocks
                      flocks   whole-file locks, held by open files
                      records  byte ranges, held by processes (POSIX) or open files (OFD), sorted by start

The two families do not see each other, as on Linux. A range lock replaces what its owner holds there: it splits,
shrinks and merges its own records. Another owner's record conflicts if the ranges meet and either is a write lock.

Waiting: a lock call that must wait is a coroutine. Waiting owners are put down in the `LockManager`, so that a POSIX
lock that would close a ring of waiters fails with EDEADLK instead. (flock and OFD locks are not checked, as on
Linux.) Closing any descriptor of a file drops all POSIX locks of the process on it: the descriptor table calls
`InodeLocks.release_owner`; the end of an open file drops its own. (The owner that is passed for a process is its
descriptor table, as on Linux.)
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from attrs import define, evolve, frozen

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import WaitQueue
from jefeos.vfs.flags import F_RDLCK, F_UNLCK, F_WRLCK, FILE_SIZE_MAX, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

if TYPE_CHECKING:
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import Inode

_RANGES_LIMIT = 65536  # records on one inode, ENOLCK above: a program cannot fill the kernel's memory with them


@frozen
class RecordLock:
    """A locked range. ``end`` is the last byte, inclusive; ``owner`` a process (POSIX) or an open file (OFD)."""

    owner: Hashable
    kind: int  # F_RDLCK or F_WRLCK
    start: int
    end: int
    pid: int = 0  # what F_GETLK reports; -1 for OFD locks

    def conflicts(self, owner: Hashable, kind: int, start: int, end: int) -> bool:
        """Whether this lock stands in the way of another."""
        return (self.owner is not owner and start <= self.end and self.start <= end
                and (kind == F_WRLCK or self.kind == F_WRLCK))


@define(eq=False)
class InodeLocks:
    """All locks on one inode."""

    flocks: dict[File, int]
    records: list[RecordLock]
    queue: WaitQueue

    @staticmethod
    def of(inode: Inode) -> InodeLocks:
        """The locks of an inode, made at first use."""
        locks = inode.locks
        if locks is None:
            locks = inode.locks = InodeLocks({}, [], WaitQueue())
        assert isinstance(locks, InodeLocks)
        return locks

    def release_file(self, file: File) -> None:
        """The open file is gone: its flock and OFD locks go."""
        held = self.flocks.pop(file, None) is not None
        if self._drop_owner(file) or held:
            self.queue.wake_all()

    def release_owner(self, owner: Hashable) -> None:
        """The process closed the file: its POSIX locks go."""
        if self._drop_owner(owner):
            self.queue.wake_all()

    def _drop_owner(self, owner: Hashable) -> bool:
        kept = [record for record in self.records if record.owner is not owner]
        dropped = len(kept) != len(self.records)
        self.records = kept
        return dropped

    def conflicting(self, owner: Hashable, kind: int, start: int, end: int) -> RecordLock | None:
        """The first record that stands in the way."""
        for record in self.records:
            if record.conflicts(owner, kind, start, end):
                return record
        return None

    def replace(self, owner: Hashable, kind: int, start: int, end: int, pid: int) -> None:
        """``owner`` now holds ``kind`` (maybe F_UNLCK) on the range, whatever it held there before."""
        records: list[RecordLock] = []
        for record in self.records:
            if record.owner is not owner:
                records.append(record)
                continue
            if record.end < start or record.start > end:
                # Neighbours of the same kind melt into one.
                if kind == record.kind and record.end + 1 == start:
                    start = record.start
                elif kind == record.kind and record.start == end + 1:
                    end = record.end
                else:
                    records.append(record)
                continue
            if record.kind == kind:
                start, end = min(start, record.start), max(end, record.end)
                continue
            if record.start < start:
                records.append(evolve(record, end=start - 1))
            if record.end > end:
                records.append(evolve(record, start=end + 1))
        if kind != F_UNLCK:
            records.append(RecordLock(owner, kind, start, end, pid))
        if len(records) > _RANGES_LIMIT:
            raise KernelError(Errno.ENOLCK)
        records.sort(key=_start_of)
        self.records = records
        self.queue.wake_all()


def _start_of(record: RecordLock) -> int:
    return record.start


class LockManager:
    """The lock calls, and who waits for whom. One for each kernel."""

    def __init__(self) -> None:
        # A waiting POSIX owner, and what it wants: (inode's locks, kind, start, end).
        self._waiting: dict[Hashable, tuple[InodeLocks, int, int, int]] = {}

    # --- flock ---------------------------------------------------------------------------------------------

    def flock(self, file: File, operation: int) -> MaybeAwait[None]:
        """flock(2): LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB. Changing a lock gives the old one up first."""
        wanted = operation & ~LOCK_NB
        if wanted not in (LOCK_SH, LOCK_EX, LOCK_UN):
            raise KernelError(Errno.EINVAL)
        locks = InodeLocks.of(file.inode)
        if wanted == LOCK_UN:
            if locks.flocks.pop(file, None) is not None:
                locks.queue.wake_all()
            return None
        if locks.flocks.get(file) == wanted:
            return None
        if locks.flocks.pop(file, None) is not None:
            locks.queue.wake_all()
        if _may_flock(locks, file, wanted):
            _take_flock(locks, file, wanted)
            return None
        if operation & LOCK_NB:
            raise KernelError(Errno.EWOULDBLOCK)
        return self._wait_for_flock(locks, file, wanted)

    async def _wait_for_flock(self, locks: InodeLocks, file: File, wanted: int) -> None:
        while not _may_flock(locks, file, wanted):
            await locks.queue.wait()
        _take_flock(locks, file, wanted)

    # --- record locks --------------------------------------------------------------------------------------

    def test(self, file: File, owner: Hashable, kind: int, start: int, end: int) -> RecordLock | None:
        """F_GETLK: the lock that would stand in the way, None if there is none."""
        if kind not in (F_RDLCK, F_WRLCK):
            raise KernelError(Errno.EINVAL)
        return InodeLocks.of(file.inode).conflicting(owner, kind, start, end)

    def set(self, file: File, owner: Hashable, kind: int, start: int, end: int, *, pid: int = 0,
            wait: bool = False) -> MaybeAwait[None]:
        """F_SETLK and, with ``wait``, F_SETLKW. ``owner`` is the process, or the open file for OFD locks.

        ``start`` and ``end`` (inclusive) come from `lock_range`. EBADF if the file is not open for that, EAGAIN
        if it would have to wait, EDEADLK, ENOLCK.
        """
        if kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
            raise KernelError(Errno.EINVAL)
        if kind == F_RDLCK and not file.readable or kind == F_WRLCK and not file.writable:
            raise KernelError(Errno.EBADF)
        locks = InodeLocks.of(file.inode)
        if owner is file:
            file.may_hold_locks = True
        if kind == F_UNLCK or locks.conflicting(owner, kind, start, end) is None:
            locks.replace(owner, kind, start, end, pid)
            return None
        if not wait:
            raise KernelError(Errno.EAGAIN)
        return self._wait_for_record(locks, owner, kind, start, end, pid, checked=owner is not file)

    async def _wait_for_record(self, locks: InodeLocks, owner: Hashable, kind: int, start: int, end: int, pid: int,
                               *, checked: bool) -> None:
        try:
            while (conflict := locks.conflicting(owner, kind, start, end)) is not None:
                if checked:
                    if self._leads_to(conflict.owner, owner):
                        raise KernelError(Errno.EDEADLK)
                    self._waiting[owner] = (locks, kind, start, end)
                await locks.queue.wait()
        finally:
            self._waiting.pop(owner, None)
        locks.replace(owner, kind, start, end, pid)

    def _leads_to(self, owner: Hashable, goal: Hashable) -> bool:
        """Whether ``owner`` waits, directly or through others, for ``goal``."""
        seen: set[int] = set()
        pending = [owner]
        while pending:
            current = pending.pop()
            if current is goal:
                return True
            if id(current) in seen:
                continue
            seen.add(id(current))
            wanted = self._waiting.get(current)
            if wanted is not None:
                locks, kind, start, end = wanted
                pending += [record.owner for record in locks.records if record.conflicts(current, kind, start, end)]
        return False


def lock_range(origin: int, start: int, length: int) -> tuple[int, int]:
    """First and last byte of struct flock's l_start and l_len, counted from ``origin`` (l_whence). A negative length
    reaches back, 0 means to the end. EINVAL before the start of the file, EOVERFLOW past its end."""
    first = origin + start
    if length > 0:
        last = first + length - 1
    elif length < 0:
        first, last = first + length, first - 1
    else:
        last = FILE_SIZE_MAX
    if first < 0:
        raise KernelError(Errno.EINVAL)
    if first > FILE_SIZE_MAX or last > FILE_SIZE_MAX:
        raise KernelError(Errno.EOVERFLOW)
    return first, last


def _may_flock(locks: InodeLocks, file: File, wanted: int) -> bool:
    return all(other is file or held == LOCK_SH and wanted == LOCK_SH for other, held in locks.flocks.items())


def _take_flock(locks: InodeLocks, file: File, wanted: int) -> None:
    locks.flocks[file] = wanted
    file.may_hold_locks = True
