"""Memory that stays: the mlock family, which is for the accounts (nothing is ever swapped), and mseal."""

from __future__ import annotations

from typing import Final

from jefeos.cpu.paging import PAGE_MASK, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.vma import PROT_WRITE
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, Size, ULong

from jefeos_abi_linux.calls_memory import may_lock, whole_pages

MLOCK_ONFAULT: Final = 1
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4


@syscall("mlock")
def mlock(task: Task, address: ULong, length: Size) -> int:
    """mlock(2)."""
    return _lock(task, address, length, fault_in=True)


@syscall("mlock2")
def mlock2(task: Task, address: ULong, length: Size, flags: Int) -> int:
    """mlock2(2)."""
    if flags & ~MLOCK_ONFAULT:
        raise KernelError(Errno.EINVAL)
    return _lock(task, address, length, fault_in=not flags)


def _lock(task: Task, address: int, length: int, *, fault_in: bool) -> int:
    """What is mapped before a hole is locked, then ENOMEM."""
    if not may_lock(task, 0):
        raise KernelError(Errno.EPERM)
    start, length = _range(address, length)
    areas = task.mm.vmas
    already = sum(max(min(a.end, start + length) - max(a.start, start), 0) for a in areas if a.locked)
    if length > already and not may_lock(task, length - already):
        raise KernelError(Errno.ENOMEM)
    _mark(task, start, length, locked=True)
    if fault_in:
        _fault_in(task, start, length)
    return 0


def _range(address: int, length: int) -> tuple[int, int]:
    start = address & ~PAGE_MASK
    return start, whole_pages(start, length + (address & PAGE_MASK))


def _mark(task: Task, start: int, length: int, *, locked: bool) -> None:
    mm = task.mm
    at = start
    while at < start + length:
        area = mm.find(at)
        if area is None:
            raise KernelError(Errno.ENOMEM)
        stop = min(area.end, start + length)
        mm.lock(at, stop - at, locked=locked)
        at = stop


def _fault_in(task: Task, start: int, length: int) -> None:
    for area in list(task.mm.vmas):
        first, stop = max(area.start, start), min(area.end, start + length)
        if first < stop and area.prot:
            try:
                task.mm.populate(first, stop - first, for_write=bool(area.prot & PROT_WRITE) and not area.shared)
            except KernelError as error:
                raise KernelError(Errno.EAGAIN if error.errno == Errno.ENOMEM else Errno.ENOMEM) from None


@syscall("munlock")
def munlock(task: Task, address: ULong, length: Size) -> int:
    """munlock(2)."""
    start, length = _range(address, length)
    _mark(task, start, length, locked=False)
    return 0


@syscall("mlockall")
def mlockall(task: Task, flags: Int) -> int:
    """mlockall(2)."""
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise KernelError(Errno.EINVAL)
    if not may_lock(task, 0):
        raise KernelError(Errno.EPERM)
    mm = task.mm
    if flags & MCL_CURRENT and not may_lock(task, mm.virtual_bytes - mm.locked_bytes):
        raise KernelError(Errno.ENOMEM)
    mm.lock_future = bool(flags & MCL_FUTURE)
    if flags & MCL_CURRENT:
        mm.lock(0, TASK_SIZE, locked=True)
    return 0


@syscall("munlockall")
def munlockall(task: Task) -> int:
    """munlockall(2)."""
    task.mm.lock_future = False
    task.mm.lock(0, TASK_SIZE, locked=False)
    return 0


@syscall("mseal")
def mseal(task: Task, address: ULong, length: Size, flags: ULong) -> int:
    """mseal(2)."""
    if flags or address & PAGE_MASK:
        raise KernelError(Errno.EINVAL)
    rounded = length + PAGE_MASK & ~PAGE_MASK
    if rounded >> 64 or address + rounded >> 64:
        raise KernelError(Errno.EINVAL)
    if not rounded:
        return 0
    if not task.mm.is_mapped(address, rounded):
        raise KernelError(Errno.ENOMEM)
    task.mm.seal(address, rounded)
    return 0
