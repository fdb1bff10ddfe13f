"""System V IPC: shared memory segments, semaphore sets, message queues, and the tables that name them (sysvipc(7)).

    key --> IpcTable --> identifier = slot + 32768 * how often the slot was used     so old identifiers fail

Objects live until they are removed (IPC_RMID), or with the last attachment of a removed segment. Waiting follows
the kernel's manner: a queue that is woken at each change, and a loop that looks again.

Limits are Linux's defaults. Not here: namespaces, /proc/sysvipc, message copying (MSG_COPY).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import define, field
from jefeos.cpu.paging import PAGE_MASK
from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import WaitQueue

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task

IPC_PRIVATE: Final = 0
IPC_CREAT: Final = 0o1000
IPC_EXCL: Final = 0o2000
IPC_NOWAIT: Final = 0o4000
SLOTS: Final = 32768
MODE_BITS: Final = 0o777
DESTROYED: Final = 0o1000
READ: Final = 0o444
WRITE: Final = 0o222

SEGMENTS_LIMIT: Final = 4096
SEGMENT_LIMIT_BYTES: Final = (1 << 64) - 1 - (1 << 24)
SETS_LIMIT: Final = 32000
SEMAPHORES_LIMIT: Final = 32000
SEMAPHORE_MAX: Final = 32767
QUEUES_LIMIT: Final = 32000
QUEUE_BYTES: Final = 16384
MESSAGE_LIMIT_BYTES: Final = 8192


@define(eq=False)
class IpcObject:
    """What all three kinds have: names, owners, permissions."""

    key: int
    uid: int
    gid: int
    creator_uid: int
    creator_gid: int
    mode: int
    identifier: int = -1
    removed: bool = False
    changed_s: int = 0

    def require(self, task: Task, wanted: int) -> None:
        """Raise EACCES unless the task has the bits of ``wanted`` in its class (owner, group, others)."""
        creds = task.creds
        if creds.privileged:
            return
        if creds.euid in (self.uid, self.creator_uid):
            granted = self.mode >> 6
        elif any(creds.in_group(gid) for gid in (self.gid, self.creator_gid)):
            granted = self.mode >> 3
        else:
            granted = self.mode
        if wanted & ~granted & 7:
            raise KernelError(Errno.EACCES)

    def require_owner(self, task: Task) -> None:
        """IPC_SET and IPC_RMID. EPERM."""
        if task.creds.euid not in (0, self.uid, self.creator_uid):
            raise KernelError(Errno.EPERM)


@define(eq=False)
class Segment(IpcObject):
    """Shared memory. Counts its attachments as the ``file`` of the areas that map it.

    A removed segment that is still attached keeps its identifier and loses its key (shmctl(2), SHM_DEST).
    """

    table: IpcTable[Segment] = None  # type: ignore[assignment]  # as the mapping
    mapping: FileMapping = None  # type: ignore[assignment]  # given by whoever makes one
    size: int = 0
    attached: int = 0
    attach_s: int = 0
    detach_s: int = 0
    creator_pid: int = 0
    last_pid: int = 0

    def ref(self) -> None:
        """An area maps it."""
        self.attached += 1

    def unref(self) -> None:
        """An area less; a removed segment ends with its last one."""
        self.attached -= 1
        self.end_if_unused()

    def end_if_unused(self) -> None:
        """Give the memory back once it is removed and nobody maps it."""
        if self.removed and not self.attached:
            self.table.forget(self)
            self.mapping.release()

    def remove(self) -> None:
        """IPC_RMID."""
        self.removed = True
        self.key = IPC_PRIVATE
        self.mode |= DESTROYED
        self.end_if_unused()


@define(eq=False)
class SemaphoreSet(IpcObject):
    """Semaphores. ``undo`` holds what SEM_UNDO operations of a process will add when it ends."""

    values: list[int] = field(factory=list)
    pids: list[int] = field(factory=list)
    queue: WaitQueue = field(factory=WaitQueue)
    waiting: list[tuple[int, bool]] = field(factory=list)
    """Semaphore and whether it is to become zero, for each sleeping operation."""
    undo: dict[Process, dict[int, int]] = field(factory=dict)
    operated_s: int = 0

    def attempt(
        self, process: Process, operations: list[tuple[int, int, int]], undo_flag: int
    ) -> tuple[int, bool] | None:
        """Do all operations or none; gives what stands in the way (semaphore, zero wanted). Raises ERANGE."""
        values = list(self.values)
        adjustments: dict[int, int] = {}
        for number, amount, flags in operations:
            value = values[number]
            if not amount and value:
                return number, True
            if value + amount < 0:
                return number, False
            if value + amount > SEMAPHORE_MAX:
                raise KernelError(Errno.ERANGE)
            values[number] = value + amount
            if flags & undo_flag:
                adjustments[number] = adjustments.get(number, 0) - amount
        changed = values != self.values
        self.values = values
        for number, _, _ in operations:
            self.pids[number] = process.pid
        if adjustments:
            own = self.undo.setdefault(process, {})
            for number, amount in adjustments.items():
                own[number] = own.get(number, 0) + amount
        if changed:
            self.queue.wake_all()
        return None

    def process_ends(self, process: Process) -> None:
        """Apply and forget a process's adjustments."""
        for number, amount in self.undo.pop(process, {}).items():
            self.values[number] = max(0, min(self.values[number] + amount, SEMAPHORE_MAX))
            self.pids[number] = process.pid
        self.queue.wake_all()


@define(eq=False)
class MessageQueue(IpcObject):
    """Messages of a type and bytes, first in first out within each type."""

    messages: list[tuple[int, bytes]] = field(factory=list)
    bytes_used: int = 0
    bytes_limit: int = QUEUE_BYTES
    queue: WaitQueue = field(factory=WaitQueue)
    sent_s: int = 0
    received_s: int = 0
    sender_pid: int = 0
    receiver_pid: int = 0

    def find(self, kind: int, *, other_than: bool) -> int | None:
        """Position of the message that msgrcv would take: first, of a type, of another, or of the lowest."""
        if kind == 0:
            return 0 if self.messages else None
        if kind > 0:
            for position, (found, _) in enumerate(self.messages):
                if (found != kind) is other_than:
                    return position
            return None
        lowest = min((found for found, _ in self.messages if found <= -kind), default=None)
        return next((p for p, (found, _) in enumerate(self.messages) if found == lowest), None)


T = TypeVar("T", bound=IpcObject)


class IpcTable(Generic[T]):
    """The objects of one kind, by identifier and by key."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.by_slot: dict[int, T] = {}
        self.uses: dict[int, int] = {}

    def get(self, identifier: int) -> T:
        """The object. EINVAL for what never was, EIDRM for what is gone."""
        if identifier < 0:
            raise KernelError(Errno.EINVAL)
        found = self.by_slot.get(identifier % SLOTS)
        if found is None:
            raise KernelError(Errno.EINVAL)
        if found.identifier != identifier:
            raise KernelError(Errno.EIDRM)
        return found

    def at(self, slot: int) -> T:
        """The object in a slot. EINVAL."""
        found = self.by_slot.get(slot)
        if found is None:
            raise KernelError(Errno.EINVAL)
        return found

    def by_key(self, key: int) -> T | None:
        """The object with this key, which is not IPC_PRIVATE."""
        return next((found for found in self.by_slot.values() if found.key == key), None)

    def add(self, item: T) -> int:
        """Give an object its identifier. ENOSPC."""
        if len(self.by_slot) >= self.limit:
            raise KernelError(Errno.ENOSPC)
        slot = next(number for number in range(SLOTS) if number not in self.by_slot)
        item.identifier = slot + SLOTS * self.uses.get(slot, 0)
        self.uses[slot] = (self.uses.get(slot, 0) + 1) % SLOTS
        self.by_slot[slot] = item
        return item.identifier

    def remove(self, item: T) -> None:
        """IPC_RMID: nobody finds it any more."""
        item.removed = True
        self.forget(item)

    def forget(self, item: T) -> None:
        """Its slot is free again."""
        self.by_slot.pop(item.identifier % SLOTS, None)


class IpcTables:
    """All System V objects of a system."""

    def __init__(self) -> None:
        self.segments: IpcTable[Segment] = IpcTable(SEGMENTS_LIMIT)
        self.sets: IpcTable[SemaphoreSet] = IpcTable(SETS_LIMIT)
        self.queues: IpcTable[MessageQueue] = IpcTable(QUEUES_LIMIT)

    def process_ends(self, process: Process) -> None:
        """SEM_UNDO of a process that has ended."""
        for found in self.sets.by_slot.values():
            if process in found.undo:
                found.process_ends(process)

    def clear(self) -> None:
        """Shutdown: give all memory back."""
        for segment in list(self.segments.by_slot.values()):
            segment.remove()


def rounded(size: int) -> int:
    """A segment's size in whole pages."""
    return (size + PAGE_MASK) & ~PAGE_MASK
