"""Where pages are: cachestat, and the NUMA calls that move them, on a machine with one node; process_mrelease."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.cpu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.space import AddressSpace
from jefeos.proc.task import Task
from jefeos.structs import Struct, u64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Int, UInt, ULong, UserPtr

from jefeos_abi_linux.calls_control import may_inspect
from jefeos_abi_linux.files_common import file_of
from jefeos_abi_linux.pidfd import process_of

MPOL_MF_MOVE: Final = 2
MPOL_MF_MOVE_ALL: Final = 4
MOST_NODES: Final = 1024
_POINTER: Final = struct.Struct("<Q")
_NODE: Final = struct.Struct("<i")


class CachestatRange(Struct):
    """struct cachestat_range."""

    off: int = u64()
    len: int = u64()


class Cachestat(Struct):
    """struct cachestat: pages."""

    nr_cache: int = u64()
    nr_dirty: int = u64()
    nr_writeback: int = u64()
    nr_evicted: int = u64()
    nr_recently_evicted: int = u64()


@syscall("cachestat")
def cachestat(task: Task, fd: Fd, wanted: UserPtr, result: UserPtr, flags: UInt) -> int:
    """cachestat(2): how much of a file is in the page cache. What was dropped leaves no trace."""
    file = file_of(task, fd)
    part = CachestatRange.parse(task.mm.read(wanted, CachestatRange.size))
    if flags:
        raise KernelError(Errno.EINVAL)
    counts = Cachestat()
    mapping = file.inode._mapping
    if mapping is not None:
        first = part.off >> PAGE_SHIFT
        last = (part.off + part.len - 1) >> PAGE_SHIFT if part.len else None
        inside = [index for index in mapping.pages if index >= first and (last is None or index <= last)]
        counts.nr_cache = len(inside)
        counts.nr_dirty = sum(index in mapping.dirty for index in inside)
    task.mm.write(result, counts.pack())
    return 0


# --- NUMA -----------------------------------------------------------------------------------------------------


def _target(task: Task, pid: int) -> Task:
    if not pid:
        return task
    target = task.kernel.processes.tasks.get(pid)
    if target is None or target.mm is None:
        raise KernelError(Errno.ESRCH)
    may_inspect(task, target.process)
    return target


@syscall("move_pages")
def move_pages(
    task: Task, pid: Int, count: ULong, pages: UserPtr, nodes: UserPtr, status: UserPtr, flags: Int
) -> int:
    """move_pages(2): every page is on node 0 and stays there; tells so, or which are missing."""
    if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        raise KernelError(Errno.EINVAL)
    if flags & MPOL_MF_MOVE_ALL and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    target = _target(task, pid)
    for index in range(count):
        address = _POINTER.unpack(task.mm.read(pages + index * _POINTER.size, _POINTER.size))[0]
        if nodes:
            node = _NODE.unpack(task.mm.read(nodes + index * _NODE.size, _NODE.size))[0]
            if node:
                raise KernelError(Errno.ENODEV)
        task.mm.write(status + index * _NODE.size, _NODE.pack(_node_of(target.mm, address)))
    return 0


def _node_of(mm: AddressSpace, address: int) -> int:
    page = address & ~PAGE_MASK
    if mm.find(page) is None:
        return -Errno.EFAULT
    return 0 if mm.mincore(page, PAGE_SIZE)[0] & 1 else -Errno.ENOENT


@syscall("migrate_pages")
def migrate_pages(task: Task, pid: Int, most: ULong, old: UserPtr, new: UserPtr) -> int:
    """migrate_pages(2): nothing to migrate, and nowhere to go."""
    bits = most - 1 if most else 0
    if bits > MOST_NODES * 32:
        raise KernelError(Errno.EINVAL)
    _node_set(task, old, bits)
    new_nodes = _node_set(task, new, bits)
    _target(task, pid)
    if new_nodes & ~1 and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if not new_nodes & 1:
        raise KernelError(Errno.EINVAL)
    return 0


def _node_set(task: Task, address: int, bits: int) -> int:
    if not bits or not address:
        return 0
    data = task.mm.read(address, (bits + 63) // 64 * 8)
    return int.from_bytes(data, "little") & (1 << bits) - 1


@syscall("set_mempolicy_home_node")
def set_mempolicy_home_node(task: Task, start: ULong, length: ULong, node: ULong, flags: ULong) -> int:
    """set_mempolicy_home_node(2): areas have no policies that it could apply to."""
    end = start + (length + PAGE_MASK & ~PAGE_MASK)
    if start & PAGE_MASK or flags or node or end >> 64:
        raise KernelError(Errno.EINVAL)
    return 0 if end == start or task.mm.is_mapped(start, end - start) else -Errno.ENOENT


# --- a dying process --------------------------------------------------------------------------------------------


@syscall("process_mrelease")
def process_mrelease(task: Task, pidfd: Fd, flags: UInt) -> int:
    """process_mrelease(2): a process that is killed gives its memory back at once, so there is never more to do."""
    if flags:
        raise KernelError(Errno.EINVAL)
    process, _ = process_of(task, pidfd)
    if process.is_dead:
        raise KernelError(Errno.ESRCH)
    if not any(thread.killed for thread in process.tasks):
        raise KernelError(Errno.EINVAL)
    return 0
