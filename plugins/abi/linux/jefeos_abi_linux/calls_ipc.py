"""System V IPC calls: shmget … shmdt, semget … semtimedop, msgget … msgctl. The objects are in `ipc`.

Each *get follows the same rules (key, IPC_CREAT, IPC_EXCL, permissions), so they share `_find_or_make`; each *ctl
has IPC_STAT, IPC_SET and IPC_RMID in common, and what ipcs(1) asks (`ipc_info`). The structures are those of
asm-generic/{shm,sem,msg}buf.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from jefeos.cpu.paging import PAGE_MASK
from jefeos.errors import Errno, KernelError
from jefeos.mm.vma import PROT_EXEC, PROT_READ, PROT_WRITE
from jefeos.proc.task import Task
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, Long, Size, UInt, ULong, UserPtr

from jefeos_abi_linux import ipc, ipc_info
from jefeos_abi_linux.ipc import IpcObject, IpcTable, IpcTables, MessageQueue, Segment, SemaphoreSet
from jefeos_abi_linux.structs_common import NS_PER_SECOND, read_timespec

if TYPE_CHECKING:
    from jefeos_abi_linux.personality import LinuxPersonality

IPC_RMID: Final = 0
IPC_SET: Final = 1
IPC_STAT: Final = 2
IPC_INFO: Final = 3
MSG_STAT: Final = 11
MSG_INFO: Final = 12
MSG_STAT_ANY: Final = 13
SHM_STAT: Final = 13
SHM_INFO: Final = 14
SHM_STAT_ANY: Final = 15
SEM_STAT: Final = 18
SEM_INFO: Final = 19
SEM_STAT_ANY: Final = 20
SHM_RDONLY: Final = 0o10000
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
SHM_LOCK: Final = 11
SHM_UNLOCK: Final = 12
SEM_UNDO: Final = 0x1000
GETPID: Final = 11
GETVAL: Final = 12
GETALL: Final = 13
GETNCNT: Final = 14
GETZCNT: Final = 15
SETVAL: Final = 16
SETALL: Final = 17
MSG_NOERROR: Final = 0o10000
MSG_EXCEPT: Final = 0o20000
OPERATIONS_LIMIT: Final = 500

_PERM: Final = struct.Struct("<iIIIIIHH4xQQ")
_PERM_SET: Final = struct.Struct("<4xII8xI")
_SHMID: Final = struct.Struct("<QqqqiiQQQ")
_SEMID: Final = struct.Struct("<qQqQQQQ")
_MSQID: Final = struct.Struct("<qqqQQQiiQQ")
_MSQ_BYTES_OFFSET: Final = 48 + 40
_SEMBUF: Final = struct.Struct("<Hhh")

K = TypeVar("K", bound=IpcObject)


def _tables(task: Task) -> IpcTables:
    return cast("LinuxPersonality", task.process.personality).ipc


def _now_s(task: Task) -> int:
    return task.kernel.clock.realtime_ns() // NS_PER_SECOND


def _find_or_make(
    task: Task, table: IpcTable[K], key: int, flags: int, check: Callable[[K], None], make: Callable[..., K]
) -> int:
    """shmget, semget, msgget: ENOENT, EEXIST, EACCES, and what ``check`` and ``make`` raise."""
    found = table.by_key(key) if key != ipc.IPC_PRIVATE else None
    if found is not None:
        if flags & (ipc.IPC_CREAT | ipc.IPC_EXCL) == ipc.IPC_CREAT | ipc.IPC_EXCL:
            raise KernelError(Errno.EEXIST)
        check(found)
        found.require(task, (flags >> 6 | flags >> 3 | flags) & 7)
        return found.identifier
    if key != ipc.IPC_PRIVATE and not flags & ipc.IPC_CREAT:
        raise KernelError(Errno.ENOENT)
    creds = task.creds
    item = make(
        key=key,
        uid=creds.euid,
        gid=creds.egid,
        creator_uid=creds.euid,
        creator_gid=creds.egid,
        mode=flags & ipc.MODE_BITS,
        changed_s=_now_s(task),
    )
    return table.add(item)


def _perm_bytes(item: IpcObject, mode: int) -> bytes:
    sequence = item.identifier // ipc.SLOTS
    return _PERM.pack(
        item.key, item.uid, item.gid, item.creator_uid, item.creator_gid, mode, sequence, 0, 0, 0
    )


def _set_perm(task: Task, item: IpcObject, address: int) -> None:
    item.require_owner(task)
    item.uid, item.gid, mode = _PERM_SET.unpack(task.mm.read(address, _PERM_SET.size))
    item.mode = mode & ipc.MODE_BITS
    item.changed_s = _now_s(task)


# --- shared memory ---------------------------------------------------------------------------------------------


@syscall("shmget")
def shmget(task: Task, key: Int, size: Size, flags: Int) -> int:
    """shmget(2)."""

    def check(found: Segment) -> None:
        if size > found.size:
            raise KernelError(Errno.EINVAL)

    table = _tables(task).segments

    def make(**common: Any) -> Segment:
        if not 1 <= size <= ipc.SEGMENT_LIMIT_BYTES:
            raise KernelError(Errno.EINVAL)
        if size >> 12 > task.kernel.memory.frames.total:
            raise KernelError(Errno.ENOMEM)
        mapping = task.kernel.memory.page_cache.new_mapping(None)
        mapping.size_bytes = ipc.rounded(size)
        return Segment(**common, table=table, mapping=mapping, size=size, creator_pid=task.process.pid)

    return _find_or_make(task, table, key, flags, check, make)


@syscall("shmat")
def shmat(task: Task, identifier: Int, address: ULong, flags: Int) -> int:
    """shmat(2)."""
    if identifier < 0:
        raise KernelError(Errno.EINVAL)
    if address & PAGE_MASK:
        if not flags & SHM_RND:
            raise KernelError(Errno.EINVAL)
        address &= ~PAGE_MASK
    if flags & SHM_REMAP and not address:
        raise KernelError(Errno.EINVAL)
    segment = _tables(task).segments.get(identifier)
    segment.require(task, 4 if flags & SHM_RDONLY else 6)
    prot = PROT_READ | (0 if flags & SHM_RDONLY else PROT_WRITE) | (PROT_EXEC if flags & SHM_EXEC else 0)
    try:
        start = task.mm.map(
            address,
            segment.size,
            prot,
            shared=True,
            mapping=segment.mapping,
            fixed=bool(address and flags & SHM_REMAP),
            fixed_noreplace=bool(address and not flags & SHM_REMAP),
            name=b"/SYSV%08x (deleted)" % (segment.key & 0xFFFF_FFFF),
            may_write=not flags & SHM_RDONLY,
            file=segment,
        )
    except KernelError as error:
        raise KernelError(Errno.EINVAL if error.errno == Errno.EEXIST else error.errno) from None
    segment.attach_s = _now_s(task)
    segment.last_pid = task.process.pid
    return start


@syscall("shmdt")
def shmdt(task: Task, address: ULong) -> int:
    """shmdt(2)."""
    first = task.mm.find(address)
    if address & PAGE_MASK or first is None or not isinstance(first.file, Segment):
        raise KernelError(Errno.EINVAL)
    if first.start != address or first.offset:
        raise KernelError(Errno.EINVAL)
    segment = first.file
    segment.detach_s = _now_s(task)
    segment.last_pid = task.process.pid
    for vma in list(task.mm.vmas):  # its parts, where munmap or mprotect has cut it
        if vma.file is segment and vma.start - vma.offset == address:
            task.mm.unmap(vma.start, vma.end - vma.start)
    return 0


@syscall("shmctl")
def shmctl(task: Task, identifier: Int, command: Int, buffer: UserPtr) -> int:
    """shmctl(2)."""
    if command < 0 or identifier < 0:
        raise KernelError(Errno.EINVAL)
    table = _tables(task).segments
    if command in (IPC_INFO, SHM_INFO):
        task.mm.write(
            buffer, ipc_info.segment_limits() if command == IPC_INFO else ipc_info.segment_use(_tables(task))
        )
        return ipc_info.highest_slot(table)
    by_slot = command in (SHM_STAT, SHM_STAT_ANY)
    segment = table.at(identifier) if by_slot else table.get(identifier)
    if command == IPC_STAT or by_slot:
        if command != SHM_STAT_ANY:
            segment.require(task, 4)
        task.mm.write(
            buffer,
            _perm_bytes(segment, segment.mode)
            + _SHMID.pack(
                segment.size,
                segment.attach_s,
                segment.detach_s,
                segment.changed_s,
                segment.creator_pid,
                segment.last_pid,
                segment.attached,
                0,
                0,
            ),
        )
        return segment.identifier if by_slot else 0
    if command == IPC_SET:
        _set_perm(task, segment, buffer)
    elif command == IPC_RMID:
        segment.require_owner(task)
        segment.remove()
    elif command not in (SHM_LOCK, SHM_UNLOCK):
        raise KernelError(Errno.EINVAL)
    return 0


# --- semaphores ------------------------------------------------------------------------------------------------


@syscall("semget")
def semget(task: Task, key: Int, count: Int, flags: Int) -> int:
    """semget(2)."""
    if not 0 <= count <= ipc.SEMAPHORES_LIMIT:
        raise KernelError(Errno.EINVAL)

    def check(found: SemaphoreSet) -> None:
        if count > len(found.values):
            raise KernelError(Errno.EINVAL)

    def make(**common: Any) -> SemaphoreSet:
        if not count:
            raise KernelError(Errno.EINVAL)
        return SemaphoreSet(**common, values=[0] * count, pids=[0] * count)

    return _find_or_make(task, _tables(task).sets, key, flags, check, make)


@syscall("semop")
def semop(task: Task, identifier: Int, operations: UserPtr, count: UInt) -> MaybeAwait[int]:
    """semop(2)."""
    return _operate(task, identifier, operations, count, None)


@syscall("semtimedop")
def semtimedop(
    task: Task, identifier: Int, operations: UserPtr, count: UInt, timeout: UserPtr
) -> MaybeAwait[int]:
    """semtimedop(2)."""
    timeout_ns = read_timespec(task.mm, timeout) if timeout else None
    return _operate(task, identifier, operations, count, timeout_ns)


async def _operate(task: Task, identifier: int, address: int, count: int, timeout_ns: int | None) -> int:
    if not count or identifier < 0:
        raise KernelError(Errno.EINVAL)
    if count > OPERATIONS_LIMIT:
        raise KernelError(Errno.E2BIG)
    operations = list(_SEMBUF.iter_unpack(task.mm.read(address, count * _SEMBUF.size)))
    found = _tables(task).sets.get(identifier)
    if any(number >= len(found.values) for number, _, _ in operations):
        raise KernelError(Errno.EFBIG)
    found.require(task, 6 if any(amount for _, amount, _ in operations) else 4)
    clock = task.kernel.clock
    deadline_ns = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    while (obstacle := found.attempt(task.process, operations, SEM_UNDO)) is not None:
        blocking = next(flags for number, _, flags in operations if number == obstacle[0])
        left_ns = None if deadline_ns is None else deadline_ns - clock.monotonic_ns()
        if blocking & ipc.IPC_NOWAIT or left_ns is not None and left_ns <= 0:
            raise KernelError(Errno.EAGAIN)
        found.waiting.append(obstacle)
        try:
            await found.queue.wait(left_ns)
        except Interrupted:
            raise Interrupted(Restart.NEVER) from None
        finally:
            found.waiting.remove(obstacle)
        if found.removed:
            raise KernelError(Errno.EIDRM)
    found.operated_s = _now_s(task)
    return 0


@syscall("semctl")
def semctl(task: Task, identifier: Int, number: Int, command: Int, argument: ULong) -> int:
    """semctl(2)."""
    if identifier < 0:
        raise KernelError(Errno.EINVAL)
    table = _tables(task).sets
    if command in (IPC_INFO, SEM_INFO):
        task.mm.write(argument, ipc_info.semaphore_info(_tables(task), used=command == SEM_INFO))
        return ipc_info.highest_slot(table)
    by_slot = command in (SEM_STAT, SEM_STAT_ANY)
    found = table.at(identifier) if by_slot else table.get(identifier)
    count = len(found.values)
    if command == IPC_STAT or by_slot:
        if command != SEM_STAT_ANY:
            found.require(task, 4)
        body = _SEMID.pack(found.operated_s, 0, found.changed_s, 0, count, 0, 0)
        task.mm.write(argument, _perm_bytes(found, found.mode) + body)
        return found.identifier if by_slot else 0
    if command == IPC_SET:
        _set_perm(task, found, argument)
        return 0
    if command == IPC_RMID:
        found.require_owner(task)
        table.remove(found)
        found.queue.wake_all()
        return 0
    if command == GETALL:
        found.require(task, 4)
        task.mm.write(argument, struct.pack(f"<{count}H", *found.values))
        return 0
    if command == SETALL:
        found.require(task, 2)
        _set_values(task, found, dict(enumerate(struct.unpack(f"<{count}H", task.mm.read(argument, 2 * count)))))
        return 0
    if command not in (GETVAL, GETPID, GETNCNT, GETZCNT, SETVAL):
        raise KernelError(Errno.EINVAL)
    if command != SETVAL:
        found.require(task, 4)
    if not 0 <= number < count:
        raise KernelError(Errno.EINVAL)
    if command == SETVAL:
        value = argument & 0xFFFF_FFFF
        if value > ipc.SEMAPHORE_MAX:
            raise KernelError(Errno.ERANGE)
        found.require(task, 2)
        _set_values(task, found, {number: value})
        return 0
    if command == GETVAL:
        return found.values[number]
    if command == GETPID:
        return found.pids[number]
    return found.waiting.count((number, command == GETZCNT))


def _set_values(task: Task, found: SemaphoreSet, values: dict[int, int]) -> None:
    if any(value > ipc.SEMAPHORE_MAX for value in values.values()):
        raise KernelError(Errno.ERANGE)
    for number, value in values.items():
        found.values[number] = value
        found.pids[number] = task.process.pid
        for undo in found.undo.values():
            undo.pop(number, None)
    found.changed_s = _now_s(task)
    found.queue.wake_all()


# --- message queues --------------------------------------------------------------------------------------------


@syscall("msgget")
def msgget(task: Task, key: Int, flags: Int) -> int:
    """msgget(2)."""
    return _find_or_make(task, _tables(task).queues, key, flags, lambda found: None, MessageQueue)


@syscall("msgsnd")
async def msgsnd(task: Task, identifier: Int, message: UserPtr, size: Long, flags: Int) -> int:
    """msgsnd(2)."""
    kind = struct.unpack("<q", task.mm.read(message, 8))[0]
    if not 0 <= size <= ipc.MESSAGE_LIMIT_BYTES or identifier < 0 or kind < 1:
        raise KernelError(Errno.EINVAL)
    data = task.mm.read(message + 8, size)
    queue = _tables(task).queues.get(identifier)
    while True:
        queue.require(task, 2)
        if queue.bytes_used + size <= queue.bytes_limit and len(queue.messages) < queue.bytes_limit:
            break
        if flags & ipc.IPC_NOWAIT:
            raise KernelError(Errno.EAGAIN)
        await _wait(queue)
    queue.messages.append((kind, data))
    queue.bytes_used += size
    queue.sender_pid, queue.sent_s = task.process.pid, _now_s(task)
    queue.queue.wake_all()
    return 0


@syscall("msgrcv")
async def msgrcv(task: Task, identifier: Int, message: UserPtr, size: Long, kind: Long, flags: Int) -> int:
    """msgrcv(2)."""
    if identifier < 0 or size < 0:
        raise KernelError(Errno.EINVAL)
    queue = _tables(task).queues.get(identifier)
    while True:
        queue.require(task, 4)
        position = queue.find(kind, other_than=bool(flags & MSG_EXCEPT))
        if position is not None:
            break
        if flags & ipc.IPC_NOWAIT:
            raise KernelError(Errno.ENOMSG)
        await _wait(queue)
    found, data = queue.messages[position]
    if len(data) > size and not flags & MSG_NOERROR:
        raise KernelError(Errno.E2BIG)
    del queue.messages[position]
    queue.bytes_used -= len(data)
    queue.receiver_pid, queue.received_s = task.process.pid, _now_s(task)
    queue.queue.wake_all()
    data = data[:size]
    task.mm.write(message, struct.pack("<q", found) + data)
    return len(data)


async def _wait(queue: MessageQueue) -> None:
    try:
        await queue.queue.wait()
    except Interrupted:
        raise Interrupted(Restart.NEVER) from None
    if queue.removed:
        raise KernelError(Errno.EIDRM)


@syscall("msgctl")
def msgctl(task: Task, identifier: Int, command: Int, buffer: UserPtr) -> int:
    """msgctl(2)."""
    if identifier < 0 or command < 0:
        raise KernelError(Errno.EINVAL)
    table = _tables(task).queues
    if command in (IPC_INFO, MSG_INFO):
        task.mm.write(buffer, ipc_info.queue_info(_tables(task), used=command == MSG_INFO))
        return ipc_info.highest_slot(table)
    by_slot = command in (MSG_STAT, MSG_STAT_ANY)
    queue = table.at(identifier) if by_slot else table.get(identifier)
    if command == IPC_STAT or by_slot:
        if command != MSG_STAT_ANY:
            queue.require(task, 4)
        task.mm.write(
            buffer,
            _perm_bytes(queue, queue.mode)
            + _MSQID.pack(
                queue.sent_s,
                queue.received_s,
                queue.changed_s,
                queue.bytes_used,
                len(queue.messages),
                queue.bytes_limit,
                queue.sender_pid,
                queue.receiver_pid,
                0,
                0,
            ),
        )
        return queue.identifier if by_slot else 0
    if command == IPC_SET:
        limit = task.mm.read_u64(buffer + _MSQ_BYTES_OFFSET)
        if limit > ipc.QUEUE_BYTES and not task.creds.privileged:
            raise KernelError(Errno.EPERM)
        _set_perm(task, queue, buffer)
        queue.bytes_limit = limit
        queue.queue.wake_all()
    elif command == IPC_RMID:
        queue.require_owner(task)
        table.remove(queue)
        queue.queue.wake_all()
    else:
        raise KernelError(Errno.EINVAL)
    return 0
