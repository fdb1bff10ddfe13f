"""Signals: sending, handling, blocking, awaiting, and the return from a handler.

Delivery is `proc.signals` and the executor; frames are `signal_frame`. A mask is eight bytes; every call that takes
one checks ``sigsetsize`` as Linux does.
"""

from __future__ import annotations

import struct
from collections.abc import Coroutine
from typing import Any, Final

from jefeos.cpu.registers import Reg
from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.process import Process
from jefeos.proc.signals import (
    SIGNAL_COUNT,
    UNBLOCKABLE,
    Signal,
    SignalAction,
    SignalCode,
    SignalInfo,
    bit,
)
from jefeos.proc.task import Task
from jefeos.sched.wait import OUTSIDE, Interrupted, Restart, WaitQueue, wait_any
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, Size, UserPtr

from jefeos_abi_linux.siginfo import read_siginfo, siginfo_bytes
from jefeos_abi_linux.signal_frame import StackT, alternate_stack_flags, pop_frame, set_alternate_stack
from jefeos_abi_linux.structs_common import read_timespec

SIGSET_BYTES: Final = 8
SIG_BLOCK: Final = 0
SIG_UNBLOCK: Final = 1
SIG_SETMASK: Final = 2
INT_MIN: Final = -(1 << 31)

_SIGACTION: Final = struct.Struct("<QQQQ")
"""struct kernel_sigaction: handler, flags, restorer, mask."""
KNOWN_ACTION_FLAGS: Final = 0xDC000807
"""What sigaction keeps of sa_flags; unknown bits read back as zero (SA_UNSUPPORTED protocol)."""


def _signal_number(signo: int, *, probe: bool = True) -> int:
    """A signal number, 0 allowed for probing. Raises EINVAL."""
    if not (0 if probe else 1) <= signo <= SIGNAL_COUNT:
        raise KernelError(Errno.EINVAL)
    return signo


# --- handling --------------------------------------------------------------------------------------------------


@syscall("rt_sigaction")
def rt_sigaction(task: Task, signo: Int, new: UserPtr, old: UserPtr, size: Size) -> int:
    """rt_sigaction(2)."""
    if size != SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    mm, process = task.mm, task.process
    action = None
    if new:
        handler, flags, restorer, mask = _SIGACTION.unpack(mm.read(new, _SIGACTION.size))
        action = SignalAction(handler, flags & KNOWN_ACTION_FLAGS, restorer, mask & ~UNBLOCKABLE)
    _signal_number(signo, probe=False)
    if action is not None and bit(signo) & UNBLOCKABLE:
        raise KernelError(Errno.EINVAL)
    before = process.handlers.get(signo)
    if action is not None:
        process.handlers.actions[signo] = action
        if process.handlers.ignores(signo):  # POSIX: what is pending and now ignored is gone
            process.pending.discard(bit(signo))
            for thread in process.tasks:
                thread.pending.discard(bit(signo))
    if old:
        mm.write(old, _SIGACTION.pack(before.handler, before.flags, before.restorer, before.mask))
    return 0


@syscall("rt_sigprocmask")
def rt_sigprocmask(task: Task, how: Int, new: UserPtr, old: UserPtr, size: Size) -> int:
    """rt_sigprocmask(2)."""
    if size != SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    before = task.blocked
    if new:
        mask = task.mm.read_u64(new)
        if how == SIG_BLOCK:
            mask |= before
        elif how == SIG_UNBLOCK:
            mask = before & ~mask
        elif how != SIG_SETMASK:
            raise KernelError(Errno.EINVAL)
        task.set_blocked(mask)
    if old:
        task.mm.write_u64(old, before)
    return 0


@syscall("rt_sigpending")
def rt_sigpending(task: Task, pending: UserPtr, size: Size) -> int:
    """rt_sigpending(2)."""
    if size > SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    mask = (task.pending.mask | task.process.pending.mask) & task.blocked
    task.mm.write(pending, mask.to_bytes(SIGSET_BYTES, "little")[:size])
    return 0


@syscall("sigaltstack")
def sigaltstack(task: Task, new: UserPtr, old: UserPtr) -> int:
    """sigaltstack(2)."""
    stack_pointer = task.kernel.engine.get(Reg.RSP)
    wanted = StackT.parse(task.mm.read(new, StackT.size)) if new else None
    base, size, _ = task.alternate_stack
    flags = alternate_stack_flags(task, stack_pointer)
    if wanted is not None:
        set_alternate_stack(task, wanted, stack_pointer)
    if old:
        signed = flags - (1 << 32) if flags >> 31 else flags
        task.mm.write(old, StackT(ss_sp=base, ss_flags=signed, ss_size=size).pack())
    return 0


@syscall("rt_sigreturn")
async def rt_sigreturn(task: Task) -> int:
    """rt_sigreturn(2): back to what the signal interrupted."""
    await OUTSIDE
    return pop_frame(task, task.kernel.executor.load(task))


# --- waiting ---------------------------------------------------------------------------------------------------


async def _sleep_for_signal() -> int:
    """Until a handler has run (EINTR) or the process dies."""
    queue = WaitQueue()
    try:
        while True:
            await queue.wait()
    except Interrupted:
        raise Interrupted(Restart.NEVER) from None


@syscall("pause")
def pause(task: Task) -> Coroutine[Any, Any, int]:
    """pause(2)."""
    return _sleep_for_signal()


@syscall("rt_sigsuspend")
def rt_sigsuspend(task: Task, mask: UserPtr, size: Size) -> Coroutine[Any, Any, int]:
    """rt_sigsuspend(2)."""
    if size != SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    task.set_temporary_mask(task.mm.read_u64(mask))
    return _sleep_for_signal()


@syscall("rt_sigtimedwait")
async def rt_sigtimedwait(task: Task, mask: UserPtr, info: UserPtr, timeout: UserPtr, size: Size) -> int:
    """rt_sigtimedwait(2)."""
    if size != SIGSET_BYTES:
        raise KernelError(Errno.EINVAL)
    wanted = task.mm.read_u64(mask) & ~UNBLOCKABLE
    timeout_ns = read_timespec(task.mm, timeout) if timeout else None
    process, clock = task.process, task.kernel.clock
    deadline_ns = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    task.awaited_signals = wanted
    try:
        while True:
            found = task.pending.take(wanted) or process.pending.take(wanted)
            if found is not None:
                break
            left_ns = None if deadline_ns is None else max(deadline_ns - clock.monotonic_ns(), 0)
            if left_ns == 0:
                raise KernelError(Errno.EAGAIN)
            await wait_any((process.signal_queue,), left_ns)
    except Interrupted:
        found = task.pending.take(wanted) or process.pending.take(wanted)
        if found is None:
            raise Interrupted(Restart.NEVER) from None
    finally:
        task.awaited_signals = 0
    if info:
        task.mm.write(info, siginfo_bytes(found))
    return found.signo


# --- sending ---------------------------------------------------------------------------------------------------


def may_signal(task: Task, process: Process, signo: int) -> bool:
    """kill(2): root, the same user, or SIGCONT within the session."""
    own, other = task.creds, process.creds
    if own.capable(Capability.KILL) or process is task.process:
        return True
    if own.euid in (other.uid, other.suid) or own.uid in (other.uid, other.suid):
        return True
    return signo == Signal.SIGCONT and process.sid == task.process.sid


def _own_info(task: Task, signo: int, code: int = SignalCode.SI_USER) -> SignalInfo:
    return SignalInfo(signo, code, task.process.pid, task.creds.uid)


@syscall("kill")
def kill(task: Task, pid: Int, signo: Int) -> int:
    """kill(2)."""
    if pid == INT_MIN:
        raise KernelError(Errno.ESRCH)
    kernel = task.kernel
    info = _own_info(task, signo)
    if pid > 0:
        process = kernel.processes.processes.get(pid)
        if process is None:
            thread = kernel.processes.tasks.get(pid)  # Linux takes a thread's id for its process here
            if thread is None:
                raise KernelError(Errno.ESRCH)
            process = thread.process
        _signal_number(signo)
        if not may_signal(task, process, signo):
            raise KernelError(Errno.EPERM)
        kernel.signals.send_process(process, signo, info)
        return 0
    if pid == -1:
        targets = [
            process
            for process in kernel.processes
            if process.pid > 1 and process is not task.process and process is not kernel.root_process
        ]
    else:
        pgid = -pid if pid else task.process.pgid
        targets = [process for process in kernel.processes if process.pgid == pgid]
    if not targets:
        raise KernelError(Errno.ESRCH)
    _signal_number(signo)
    allowed = [process for process in targets if may_signal(task, process, signo)]
    if not allowed:
        raise KernelError(Errno.EPERM)
    kernel.signals.send_group(allowed, signo, info)
    return 0


def _send_to_thread(task: Task, tgid: int, tid: int, signo: int, info: SignalInfo) -> int:
    target = task.kernel.processes.tasks.get(tid)
    if target is None or tgid and target.process.pid != tgid:
        zombie = task.kernel.processes.processes.get(tid)
        if zombie is None or tgid and zombie.pid != tgid:
            raise KernelError(Errno.ESRCH)
        _signal_number(signo)
        return 0
    _signal_number(signo)
    if not may_signal(task, target.process, signo):
        raise KernelError(Errno.EPERM)
    if not task.kernel.signals.send_task(target, signo, info):
        raise KernelError(Errno.EAGAIN)
    return 0


@syscall("tkill")
def tkill(task: Task, tid: Int, signo: Int) -> int:
    """tkill(2)."""
    if tid <= 0:
        raise KernelError(Errno.EINVAL)
    return _send_to_thread(task, 0, tid, signo, _own_info(task, signo, SignalCode.SI_TKILL))


@syscall("tgkill")
def tgkill(task: Task, tgid: Int, tid: Int, signo: Int) -> int:
    """tgkill(2)."""
    if tid <= 0 or tgid <= 0:
        raise KernelError(Errno.EINVAL)
    return _send_to_thread(task, tgid, tid, signo, _own_info(task, signo, SignalCode.SI_TKILL))


def _check_code(task: Task, info: SignalInfo, to_self: bool) -> None:
    """Nobody but the kernel says SI_USER or a positive code, except to itself."""
    if (info.code >= 0 or info.code == SignalCode.SI_TKILL) and not to_self:
        raise KernelError(Errno.EPERM)


@syscall("rt_sigqueueinfo")
def rt_sigqueueinfo(task: Task, pid: Int, signo: Int, info: UserPtr) -> int:
    """rt_sigqueueinfo(2)."""
    details = read_siginfo(task.mm, info, signo)
    _check_code(task, details, pid == task.process.pid)
    process = task.kernel.processes.processes.get(pid)
    if process is None:
        thread = task.kernel.processes.tasks.get(pid)
        if thread is None:
            raise KernelError(Errno.ESRCH)
        process = thread.process
    _signal_number(signo)
    if not may_signal(task, process, signo):
        raise KernelError(Errno.EPERM)
    if not task.kernel.signals.send_process(process, signo, details):
        raise KernelError(Errno.EAGAIN)
    return 0


@syscall("rt_tgsigqueueinfo")
def rt_tgsigqueueinfo(task: Task, tgid: Int, tid: Int, signo: Int, info: UserPtr) -> int:
    """rt_tgsigqueueinfo(2)."""
    if tid <= 0 or tgid <= 0:
        raise KernelError(Errno.EINVAL)
    details = read_siginfo(task.mm, info, signo)
    _check_code(task, details, tgid == task.process.pid)
    return _send_to_thread(task, tgid, tid, signo, details)
