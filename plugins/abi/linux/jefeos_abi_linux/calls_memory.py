"""Memory: mmap and its relatives, brk, and what programs ask about their pages.

Argument checks are in Linux's order, as it decides which errno a program sees; the work is `AddressSpace`'s.
"""

from __future__ import annotations

from typing import Final

from jefeos.cpu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.space import AddressSpace
from jefeos.mm.vma import PROT_EXEC, PROT_WRITE
from jefeos.proc.capabilities import Capability
from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Size, UInt, ULong, UserPtr
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_PATH, MountFlags

from jefeos_abi_linux.memfd import forbids_writing

MAP_SHARED: Final = 0x01
MAP_PRIVATE: Final = 0x02
MAP_SHARED_VALIDATE: Final = 0x03
MAP_TYPE: Final = 0x0F
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_32BIT: Final = 0x40
MAP_GROWSDOWN: Final = 0x100
MAP_LOCKED: Final = 0x2000
MAP_NORESERVE: Final = 0x4000
MAP_POPULATE: Final = 0x8000
MAP_NONBLOCK: Final = 0x10000
MAP_HUGETLB: Final = 0x40000
MAP_FIXED_NOREPLACE: Final = 0x100000
MAP_VALIDATED: Final = 0x1FFFFF

PROT_KNOWN: Final = 7
PROT_SEM: Final = 8
PROT_GROWS: Final = 0x03000000

MREMAP_MAYMOVE: Final = 1
MREMAP_FIXED: Final = 2
MREMAP_DONTUNMAP: Final = 4

LOW_START: Final = 0x40000000
LOW_END: Final = 0x80000000
"""Where MAP_32BIT looks for room."""
MINCORE_CHUNK: Final = 1 << 18

MEMBARRIER_QUERY: Final = 0
MEMBARRIER_KNOWN: Final = 0x1FF


@syscall("mmap")
def mmap(
    task: Task, address: ULong, length: Size, prot: ULong, flags: ULong, fd: Fd, offset: ULong
) -> int:
    """mmap(2)."""
    if offset & PAGE_MASK:
        raise KernelError(Errno.EINVAL)
    file = None
    if not flags & MAP_ANONYMOUS:
        file = task.files.get(fd)
        if file.flags & O_PATH:
            raise KernelError(Errno.EBADF)
    elif flags & MAP_HUGETLB:
        raise KernelError(Errno.ENOMEM)  # no huge pages are set aside, as on most machines
    if not length:
        raise KernelError(Errno.EINVAL)
    if length > TASK_SIZE:
        raise KernelError(Errno.ENOMEM)
    fixed = bool(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
    mm = task.mm
    if fixed and address & PAGE_MASK:
        raise KernelError(Errno.EINVAL)
    kind = flags & MAP_TYPE
    if kind == MAP_SHARED_VALIDATE and file is not None:
        if flags & ~MAP_VALIDATED:
            raise KernelError(Errno.EOPNOTSUPP)
        kind = MAP_SHARED
    if kind not in (MAP_SHARED, MAP_PRIVATE):
        raise KernelError(Errno.EINVAL)
    shared = kind == MAP_SHARED
    if flags & MAP_GROWSDOWN and (shared or file is not None):
        raise KernelError(Errno.EINVAL)
    locked = bool(flags & MAP_LOCKED) or mm.lock_future
    if locked and not may_lock(task, length):
        raise KernelError(Errno.EAGAIN if may_lock(task, 0) else Errno.EPERM)
    mapping = None
    may_write = True
    if file is not None:
        if offset + length > 1 << 63:
            raise KernelError(Errno.EOVERFLOW)
        mapping, may_write = _file_mapping(file, prot, shared)
    if flags & MAP_32BIT and not fixed:
        address = _find_low_gap(mm, address & ~PAGE_MASK, length)
    start = mm.map(
        address & ~PAGE_MASK,
        length,
        prot & PROT_KNOWN,
        shared=shared,
        mapping=mapping,  # type: ignore[arg-type]
        offset=offset if mapping is not None else 0,
        fixed=fixed and not flags & MAP_FIXED_NOREPLACE,
        fixed_noreplace=bool(flags & MAP_FIXED_NOREPLACE),
        grows_down=bool(flags & MAP_GROWSDOWN),
        may_write=may_write,
        noreserve=bool(flags & MAP_NORESERVE),
        file=file,
    )
    if locked:
        mm.lock(start, length, locked=True)
    if (flags & MAP_POPULATE and not flags & MAP_NONBLOCK or locked) and prot & PROT_KNOWN:
        try:
            mm.populate(start, length, for_write=bool(prot & PROT_WRITE) and not shared)
        except KernelError:
            pass  # only a wish: what could not be populated faults later
    return start


def may_lock(task: Task, length: int) -> bool:
    """Whether RLIMIT_MEMLOCK lets ``length`` bytes more be locked; whether any at all for length 0."""
    limit = task.process.rlimits[RLimit.MEMLOCK][0]
    if task.creds.capable(Capability.IPC_LOCK) or limit == UNLIMITED:
        return True
    if not length:
        return limit > 0
    return task.mm.locked_bytes + (length + PAGE_MASK & ~PAGE_MASK) <= limit


def _file_mapping(file: File, prot: int, shared: bool) -> tuple[object, bool]:
    """The pages behind a file and whether they may be written. EACCES, EPERM, ENODEV."""
    if shared and prot & PROT_WRITE and not file.writable:
        raise KernelError(Errno.EACCES)
    if not file.readable:
        raise KernelError(Errno.EACCES)
    if prot & PROT_EXEC and file.path is not None and file.path.mount.flags & MountFlags.NOEXEC:
        raise KernelError(Errno.EPERM)
    if shared and forbids_writing(file):
        if prot & PROT_WRITE:
            raise KernelError(Errno.EPERM)
        return file.mapping, False
    return file.mapping, file.writable or not shared


def _find_low_gap(mm: AddressSpace, hint: int, length: int) -> int:
    """A free range below 2 GiB, at the hint if it is free there. Raises ENOMEM."""
    if hint and hint + length <= LOW_END and all(vma.end <= hint or vma.start >= hint + length for vma in mm.vmas):
        return hint
    start = LOW_START
    for vma in mm.vmas:
        if vma.end <= start:
            continue
        if vma.start - start >= length:
            break
        start = vma.end
    if start + length > LOW_END:
        raise KernelError(Errno.ENOMEM)
    return start


@syscall("munmap")
def munmap(task: Task, address: ULong, length: Size) -> int:
    """munmap(2)."""
    task.mm.unmap(address, length)
    return 0


@syscall("mprotect")
def mprotect(task: Task, address: ULong, length: Size, prot: ULong) -> int:
    """mprotect(2)."""
    if prot & PROT_GROWS == PROT_GROWS or address & PAGE_MASK:
        raise KernelError(Errno.EINVAL)
    if not length:
        return 0
    length = length + PAGE_MASK & ~PAGE_MASK
    if address + length >> 64 or length >> 64:
        raise KernelError(Errno.ENOMEM)
    if prot & ~(PROT_KNOWN | PROT_SEM | PROT_GROWS):
        raise KernelError(Errno.EINVAL)
    task.mm.protect(address, length, prot & PROT_KNOWN)
    return 0


@syscall("pkey_mprotect")
def pkey_mprotect(task: Task, address: ULong, length: Size, prot: ULong, pkey: Int) -> int:
    """pkey_mprotect(2): the CPU has no protection keys, so only key -1 (none) exists."""
    if pkey != -1:
        raise KernelError(Errno.EINVAL)
    mprotect(task, address, length, prot)
    return 0


@syscall("pkey_alloc")
def pkey_alloc(task: Task, flags: ULong, rights: ULong) -> int:
    """pkey_alloc(2): none to be had."""
    if flags or rights & ~3:
        raise KernelError(Errno.EINVAL)
    raise KernelError(Errno.ENOSPC)


@syscall("pkey_free")
def pkey_free(task: Task, pkey: Int) -> int:
    """pkey_free(2): none was given out."""
    raise KernelError(Errno.EINVAL)


@syscall("mremap")
def mremap(
    task: Task, old: ULong, old_length: Size, new_length: Size, flags: ULong, new: ULong
) -> int:
    """mremap(2)."""
    if flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP):
        raise KernelError(Errno.EINVAL)
    if flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE:
        raise KernelError(Errno.EINVAL)
    if flags & MREMAP_DONTUNMAP:
        raise KernelError(Errno.EINVAL)
    if old & PAGE_MASK or not new_length:
        raise KernelError(Errno.EINVAL)
    return task.mm.remap(
        old,
        old_length,
        new_length,
        may_move=bool(flags & MREMAP_MAYMOVE),
        fixed_at=new if flags & MREMAP_FIXED else None,
    )


@syscall("madvise")
def madvise(task: Task, address: ULong, length: Size, advice: Int) -> int:
    """madvise(2)."""
    task.mm.advise(address, length, advice)
    return 0


@syscall("brk")
def brk(task: Task, address: ULong) -> int:
    """brk(2), the raw call: gives the end of the heap, moved or not."""
    mm = task.mm
    limit = task.process.rlimits[RLimit.DATA][0]
    if limit != UNLIMITED and address - mm.brk_start > limit:
        return mm.brk_end
    return mm.brk(address)


@syscall("msync")
def msync(task: Task, address: ULong, length: Size, flags: Int) -> int:
    """msync(2)."""
    if address & PAGE_MASK or flags & ~7 or flags & 5 == 5:
        raise KernelError(Errno.EINVAL)
    task.mm.msync(address, whole_pages(address, length), flags)
    return 0


@syscall("mincore")
def mincore(task: Task, address: ULong, length: Size, vector: UserPtr) -> int:
    """mincore(2)."""
    if address & PAGE_MASK:
        raise KernelError(Errno.EINVAL)
    if address + length > TASK_SIZE:
        raise KernelError(Errno.ENOMEM)
    mm = task.mm
    pages = (length + PAGE_MASK) >> PAGE_SHIFT
    for first in range(0, pages, MINCORE_CHUNK):
        count = min(MINCORE_CHUNK, pages - first)
        answer = mm.mincore(address + (first << PAGE_SHIFT), count << PAGE_SHIFT)
        mm.write(vector + first, answer)
    return 0


@syscall("membarrier")
def membarrier(task: Task, command: Int, flags: UInt, cpu: Int) -> int:
    """membarrier(2): one processor, and a system call orders everything."""
    if flags:
        raise KernelError(Errno.EINVAL)
    if command == MEMBARRIER_QUERY:
        return MEMBARRIER_KNOWN
    if command < 0 or command & (command - 1) or not command & MEMBARRIER_KNOWN:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("remap_file_pages")
def remap_filewhole_pages(
    task: Task, address: ULong, length: Size, prot: ULong, page_offset: ULong, flags: Flags
) -> int:
    """remap_filewhole_pages(2): obsolete; refused."""
    raise KernelError(Errno.EINVAL)


def whole_pages(start: int, length: int) -> int:
    """Length in whole pages. ENOMEM when the range leaves user space."""
    rounded = (length + PAGE_SIZE - 1) & ~PAGE_MASK
    if start + rounded > TASK_SIZE:
        raise KernelError(Errno.ENOMEM)
    return rounded
