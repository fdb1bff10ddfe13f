"""What thread libraries live on: futex, robust lists, thread pointers, and the sched_* family.

One processor runs everything, round robin, so scheduling policies and affinities are checked and remembered only as
far as programs read them back.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any, Final

from jefeos.cpu.paging import TASK_SIZE
from jefeos.cpu.registers import Reg
from jefeos.errors import Errno, KernelError
from jefeos.mm.space import AddressSpace
from jefeos.proc.futex import MATCH_ANY, ROBUST_HEAD_BYTES
from jefeos.proc.process import Process
from jefeos.proc.task import Task
from jefeos.sched.wait import Interrupted, MaybeAwait, Restart
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, Size, UInt, ULong, UserPtr

from jefeos_abi_linux.structs_common import read_timespec, timespec_bytes

FUTEX_WAIT: Final = 0
FUTEX_WAKE: Final = 1
FUTEX_REQUEUE: Final = 3
FUTEX_CMP_REQUEUE: Final = 4
FUTEX_WAKE_OP: Final = 5
FUTEX_LOCK_PI: Final = 6
FUTEX_UNLOCK_PI: Final = 7
FUTEX_TRYLOCK_PI: Final = 8
FUTEX_WAIT_BITSET: Final = 9
FUTEX_WAKE_BITSET: Final = 10
FUTEX_LOCK_PI2: Final = 13
FUTEX_PRIVATE: Final = 128
FUTEX_CLOCK_REALTIME: Final = 256
FUTEX_COMMAND: Final = ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME)

ARCH_SET_GS: Final = 0x1001
ARCH_SET_FS: Final = 0x1002
ARCH_GET_FS: Final = 0x1003
ARCH_GET_GS: Final = 0x1004

SCHED_OTHER: Final = 0
SCHED_FIFO: Final = 1
SCHED_RR: Final = 2
SCHED_BATCH: Final = 3
SCHED_IDLE: Final = 5
SCHED_RESET_ON_FORK: Final = 0x40000000
REALTIME_MAX: Final = 99
CPU_MASK_BYTES: Final = 8
ROUND_ROBIN_NS: Final = 100_000_000
SCHED_STATE: Final = "linux.sched"

_SCHED_ATTR: Final = struct.Struct("<IIQiIQQQII")
SCHED_ATTR_V0: Final = 48


# --- futex -----------------------------------------------------------------------------------------------------


@syscall("futex")
def futex(
    task: Task, address: UserPtr, operation: Int, value: UInt, timeout: UserPtr, second: UserPtr, third: UInt
) -> MaybeAwait[int]:
    """futex(2). Requeueing to priority-inheritance futexes answers ENOSYS."""
    command = operation & FUTEX_COMMAND
    if operation & FUTEX_CLOCK_REALTIME and command not in (FUTEX_WAIT_BITSET, FUTEX_LOCK_PI2):
        raise KernelError(Errno.ENOSYS)
    private = bool(operation & FUTEX_PRIVATE)
    if command == FUTEX_WAIT or command == FUTEX_WAIT_BITSET:
        timeout_ns = None
        if timeout:
            timeout_ns = read_timespec(task.mm, timeout)
            if command == FUTEX_WAIT_BITSET:
                clock = task.kernel.clock
                now_ns = clock.realtime_ns() if operation & FUTEX_CLOCK_REALTIME else clock.monotonic_ns()
                timeout_ns = max(timeout_ns - now_ns, 0)
        return _wait(task, address, value, third if command == FUTEX_WAIT_BITSET else MATCH_ANY, timeout_ns, private)
    if command == FUTEX_WAKE:
        return task.kernel.futexes.wake(futex_key(task.mm, address, private), max(_signed(value), 1))
    if command == FUTEX_WAKE_BITSET:
        if not third:
            raise KernelError(Errno.EINVAL)
        return task.kernel.futexes.wake(futex_key(task.mm, address, private), max(_signed(value), 1), third)
    if command == FUTEX_REQUEUE or command == FUTEX_CMP_REQUEUE:
        wake, move = _signed(value), _signed(timeout & 0xFFFF_FFFF)
        if wake < 0 or move < 0:
            raise KernelError(Errno.EINVAL)
        source, target = futex_key(task.mm, address, private), futex_key(task.mm, second, private)
        if command == FUTEX_CMP_REQUEUE and task.mm.read_u32(address) != third:
            raise KernelError(Errno.EAGAIN)
        return task.kernel.futexes.requeue(source, target, wake, move)
    if command == FUTEX_WAKE_OP:
        return _wake_op(task, address, second, value, timeout & 0xFFFF_FFFF, third, private)
    if command in (FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_LOCK_PI2):
        return _lock_inheriting(task, address, operation, timeout, private)
    if command == FUTEX_UNLOCK_PI:
        task.kernel.futexes.unlock_inheriting(task, address, futex_key(task.mm, address, private))
        return 0
    raise KernelError(Errno.ENOSYS)


def futex_key(mm: AddressSpace, address: int, private: bool) -> Hashable:
    """Where the word at ``address`` is waited for. EINVAL if it is not aligned, EFAULT."""
    if address & 3:
        raise KernelError(Errno.EINVAL)
    if address > TASK_SIZE - 4:
        raise KernelError(Errno.EFAULT)
    return ("space", mm.serial, address) if private else mm.futex_key(address)


async def _wait(
    task: Task, address: int, expected: int, bitset: int, timeout_ns: int | None, private: bool
) -> int:
    if not bitset:
        raise KernelError(Errno.EINVAL)
    key = futex_key(task.mm, address, private)
    if task.mm.read_u32(address) != expected:
        raise KernelError(Errno.EAGAIN)
    try:
        if await task.kernel.futexes.wait(key, bitset, timeout_ns):
            return 0
    except Interrupted:
        if timeout_ns is None:
            raise
        raise Interrupted(Restart.NEVER) from None
    raise KernelError(Errno.ETIMEDOUT)


async def _lock_inheriting(task: Task, address: int, operation: int, timeout: int, private: bool) -> int:
    command = operation & FUTEX_COMMAND
    timeout_ns = None
    if timeout and command != FUTEX_TRYLOCK_PI:
        clock = task.kernel.clock
        monotonic = command == FUTEX_LOCK_PI2 and not operation & FUTEX_CLOCK_REALTIME
        now_ns = clock.monotonic_ns() if monotonic else clock.realtime_ns()
        timeout_ns = max(read_timespec(task.mm, timeout) - now_ns, 0)
    key = futex_key(task.mm, address, private)
    attempt_only = command == FUTEX_TRYLOCK_PI
    if await task.kernel.futexes.lock_inheriting(task, address, key, timeout_ns, attempt_only=attempt_only):
        return 0
    raise KernelError(Errno.ETIMEDOUT)


def _wake_op(
    task: Task, address: int, second: int, wake: int, wake_second: int, encoded: int, private: bool
) -> int:
    """FUTEX_WAKE_OP: change the second word, wake the first's waiters, and the second's if its old value says so."""
    mm, futexes = task.mm, task.kernel.futexes
    first_key, second_key = futex_key(mm, address, private), futex_key(mm, second, private)
    operation = encoded >> 28 & 7
    comparison = encoded >> 24 & 15
    operand = _sign_12(encoded >> 12)
    bound = _sign_12(encoded)
    if encoded >> 31:
        operand = 1 << (operand & 31)
    if operation > 4:
        raise KernelError(Errno.ENOSYS)
    old = mm.read_u32(second)
    new = (operand, old + operand, old | operand, old & ~operand, old ^ operand)[operation]
    mm.write_u32(second, new & 0xFFFF_FFFF)
    if comparison > 5:
        raise KernelError(Errno.ENOSYS)
    signed = _signed(old)
    holds = (
        signed == bound, signed != bound, signed < bound, signed <= bound, signed > bound, signed >= bound
    )[comparison]  # fmt: skip
    woken = futexes.wake(first_key, max(_signed(wake), 1))
    if holds:
        woken += futexes.wake(second_key, max(_signed(wake_second), 1))
    return woken


def _sign_12(value: int) -> int:
    value &= 0xFFF
    return value - 0x1000 if value >= 0x800 else value


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


# --- thread set-up ---------------------------------------------------------------------------------------------


@syscall("set_tid_address")
def set_tid_address(task: Task, address: UserPtr) -> int:
    """set_tid_address(2)."""
    task.clear_child_tid = address
    return task.tid


@syscall("set_robust_list")
def set_robust_list(task: Task, head: UserPtr, length: Size) -> int:
    """set_robust_list(2)."""
    if length != ROBUST_HEAD_BYTES:
        raise KernelError(Errno.EINVAL)
    task.robust_list = (head, length)
    return 0


@syscall("get_robust_list")
def get_robust_list(task: Task, tid: Int, head: UserPtr, length: UserPtr) -> int:
    """get_robust_list(2)."""
    target = find_task(task, tid)
    if target.process is not task.process and task.creds.euid not in (0, target.creds.uid):
        raise KernelError(Errno.EPERM)
    task.mm.write_u64(length, ROBUST_HEAD_BYTES)
    task.mm.write_u64(head, target.robust_list[0])
    return 0


@syscall("rseq")
def rseq(task: Task, area: UserPtr, length: UInt, flags: Int, signature: UInt) -> int:
    """rseq(2): not offered, which every libc takes for an older kernel."""
    raise KernelError(Errno.ENOSYS)


@syscall("arch_prctl")
def arch_prctl(task: Task, code: Int, address: ULong) -> int:
    """arch_prctl(2): the segment bases."""
    engine = task.kernel.engine
    if code == ARCH_SET_FS or code == ARCH_SET_GS:
        if address >= TASK_SIZE:
            raise KernelError(Errno.EPERM)
        engine.set(Reg.FS_BASE if code == ARCH_SET_FS else Reg.GS_BASE, address)
        return 0
    if code == ARCH_GET_FS or code == ARCH_GET_GS:
        task.mm.write_u64(address, engine.get(Reg.FS_BASE if code == ARCH_GET_FS else Reg.GS_BASE))
        return 0
    raise KernelError(Errno.EINVAL)


@syscall("getcpu")
def getcpu(task: Task, cpu: UserPtr, node: UserPtr, cache: UserPtr) -> int:
    """getcpu(2)."""
    for address in (cpu, node):
        if address:
            task.mm.write_u32(address, 0)
    return 0


# --- scheduling ------------------------------------------------------------------------------------------------


def find_task(task: Task, tid: int) -> Task:
    """The thread with this id, 0 for the caller. Raises ESRCH."""
    if tid == 0:
        return task
    found = task.kernel.processes.tasks.get(tid)
    if found is None:
        raise KernelError(Errno.ESRCH)
    return found


def _scheduled(task: Task, tid: int) -> tuple[Process, dict[str, Any]]:
    """Whose scheduling ``tid`` means, and where it is kept. Raises ESRCH.

    A zombie and the kernel's own pid 1 are there without a thread: what is set on them is forgotten.
    """
    table = task.kernel.processes
    if tid in table.processes and tid not in table.tasks:
        return table.processes[tid], {}
    found = find_task(task, tid)
    return found.process, found.extra


@syscall("sched_yield")
def sched_yield(task: Task) -> int:
    """sched_yield(2): ends the time slice."""
    if len(task.kernel.executor.scheduler):
        task.kernel.engine.stop()
    return 0


def _policy(extra: dict[str, Any]) -> tuple[int, int]:
    """Policy (with its reset-on-fork bit) and priority."""
    state: tuple[int, int] = extra.get(SCHED_STATE, (SCHED_OTHER, 0))
    return state


def _set_policy(task: Task, tid: int, policy: int | None, priority: int) -> Process:
    """Check and remember; without a policy the one that is there stays."""
    target, extra = _scheduled(task, tid)
    if policy is None:
        policy = _policy(extra)[0]
    kind = policy & ~SCHED_RESET_ON_FORK
    if kind not in (SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE):
        raise KernelError(Errno.EINVAL)
    real_time = kind in (SCHED_FIFO, SCHED_RR)
    if real_time != bool(priority) or not 0 <= priority <= REALTIME_MAX:
        raise KernelError(Errno.EINVAL)
    if task.creds.euid and (real_time or task.creds.euid not in (target.creds.uid, target.creds.euid)):
        raise KernelError(Errno.EPERM)
    extra[SCHED_STATE] = (policy, priority)
    return target


@syscall("sched_setscheduler")
def sched_setscheduler(task: Task, tid: Int, policy: Int, parameters: UserPtr) -> int:
    """sched_setscheduler(2)."""
    if not parameters or tid < 0 or policy < 0:
        raise KernelError(Errno.EINVAL)
    priority = _signed(task.mm.read_u32(parameters))
    _set_policy(task, tid, policy, priority)
    return 0


@syscall("sched_getscheduler")
def sched_getscheduler(task: Task, tid: Int) -> int:
    """sched_getscheduler(2)."""
    if tid < 0:
        raise KernelError(Errno.EINVAL)
    return _policy(_scheduled(task, tid)[1])[0]


@syscall("sched_setparam")
def sched_setparam(task: Task, tid: Int, parameters: UserPtr) -> int:
    """sched_setparam(2)."""
    if not parameters or tid < 0:
        raise KernelError(Errno.EINVAL)
    priority = _signed(task.mm.read_u32(parameters))
    _set_policy(task, tid, None, priority)
    return 0


@syscall("sched_getparam")
def sched_getparam(task: Task, tid: Int, parameters: UserPtr) -> int:
    """sched_getparam(2)."""
    if not parameters or tid < 0:
        raise KernelError(Errno.EINVAL)
    task.mm.write_u32(parameters, _policy(_scheduled(task, tid)[1])[1])
    return 0


@syscall("sched_setattr")
def sched_setattr(task: Task, tid: Int, attributes: UserPtr, flags: UInt) -> int:
    """sched_setattr(2)."""
    if not attributes or tid < 0 or flags:
        raise KernelError(Errno.EINVAL)
    size = task.mm.read_u32(attributes) or SCHED_ATTR_V0
    if size < SCHED_ATTR_V0 or size > 4096:
        task.mm.write_u32(attributes, _SCHED_ATTR.size)
        raise KernelError(Errno.E2BIG)
    data = task.mm.read(attributes, size)[: _SCHED_ATTR.size].ljust(_SCHED_ATTR.size, b"\0")
    _, policy, options, nice, priority, *_ = _SCHED_ATTR.unpack(data)
    target = _set_policy(task, tid, policy | (SCHED_RESET_ON_FORK if options & 1 else 0), priority)
    if policy in (SCHED_OTHER, SCHED_BATCH):
        target.nice = max(-20, min(nice, 19))
    return 0


@syscall("sched_getattr")
def sched_getattr(task: Task, tid: Int, attributes: UserPtr, size: UInt, flags: UInt) -> int:
    """sched_getattr(2)."""
    if not attributes or tid < 0 or not SCHED_ATTR_V0 <= size <= 4096 or flags:
        raise KernelError(Errno.EINVAL)
    target, extra = _scheduled(task, tid)
    policy, priority = _policy(extra)
    length = min(size, _SCHED_ATTR.size)
    data = _SCHED_ATTR.pack(
        length,
        policy & ~SCHED_RESET_ON_FORK,
        int(bool(policy & SCHED_RESET_ON_FORK)),
        target.nice,
        priority,
        0,
        0,
        0,
        0,
        1024,
    )
    task.mm.write(attributes, data[:length])
    return 0


@syscall("sched_get_priority_max")
def sched_get_priority_max(task: Task, policy: Int) -> int:
    """sched_get_priority_max(2)."""
    return _priority_bound(policy, REALTIME_MAX)


@syscall("sched_get_priority_min")
def sched_get_priority_min(task: Task, policy: Int) -> int:
    """sched_get_priority_min(2)."""
    return _priority_bound(policy, 1)


def _priority_bound(policy: int, bound: int) -> int:
    if policy in (SCHED_FIFO, SCHED_RR):
        return bound
    if policy in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, 6):
        return 0
    raise KernelError(Errno.EINVAL)


@syscall("sched_rr_get_interval")
def sched_rr_get_interval(task: Task, tid: Int, interval: UserPtr) -> int:
    """sched_rr_get_interval(2)."""
    if tid < 0:
        raise KernelError(Errno.EINVAL)
    policy, _ = _policy(_scheduled(task, tid)[1])
    kind = policy & ~SCHED_RESET_ON_FORK
    slice_ns = 0 if kind == SCHED_FIFO else ROUND_ROBIN_NS if kind == SCHED_RR else ROUND_ROBIN_NS // 25
    task.mm.write(interval, timespec_bytes(slice_ns))
    return 0


@syscall("sched_setaffinity")
def sched_setaffinity(task: Task, tid: Int, length: UInt, mask: UserPtr) -> int:
    """sched_setaffinity(2): there is one processor, number 0."""
    bits = task.mm.read(mask, min(length, CPU_MASK_BYTES))
    target, _ = _scheduled(task, tid)
    if task.creds.euid not in (0, target.creds.uid, target.creds.euid):
        raise KernelError(Errno.EPERM)
    if not bits or not bits[0] & 1:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("sched_getaffinity")
def sched_getaffinity(task: Task, tid: Int, length: UInt, mask: UserPtr) -> int:
    """sched_getaffinity(2): gives the length of the mask written."""
    if length * 8 < 1 or length & 7:
        raise KernelError(Errno.EINVAL)
    _scheduled(task, tid)
    task.mm.write(mask, (1).to_bytes(CPU_MASK_BYTES, "little"))
    return CPU_MASK_BYTES

