"""Building the address space of a Linux program: segments, interpreter, heap, stack.

    0x7ffffffff000  stack top (random, up to 16 GiB lower), grows down
                    mmap area: static PIE, dynamic linker, libraries      (top-down)
    0x555555554000  PIE with an interpreter (random above)
                    heap of the program above its last segment
    0x400000        ET_EXEC, where its headers say

Steps: read and check the program's headers and its interpreter's (errors are execve's), then make a new address
space and map both (errors there are `FatalLoadError`: on Linux the old program is gone by then), then write the
stack. On any error the new space is released.

Randomness comes from ``kernel.entropy``, so a run with a seed repeats. Stack and heap are placed anew for each
program, code once a boot (the ``placement`` of a Layout): the engine keeps translated code by its address in
memory *and* in the program, and translating a C library anew takes ten times as long as a small program runs. The
price is the one of every system that places libraries once a boot: a program knows where another one's code is.

Not here: scripts (``#!`` is the kernel's), a vdso (libc falls back to system calls), 32-bit programs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from attrs import frozen
from jefeos.cpu.paging import PAGE_MASK, PAGE_SIZE, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.mm.vma import PROT_EXEC, PROT_READ, PROT_WRITE
from jefeos.personality import ProgramImage
from jefeos.proc.credentials import RLimit
from jefeos.vfs.flags import O_RDONLY, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP, X_OK, MountFlags
from jefeos.vfs.inode import OpenContext
from jefeos.vfs.permissions import may_access

from jefeos_abi_linux import auxv
from jefeos_abi_linux.auxv import Aux
from jefeos_abi_linux.elf import (
    PF_R,
    PF_W,
    PF_X,
    ElfImage,
    FatalLoadError,
    ProgramHeader,
    alignment,
    check_segment,
    interpreter_path,
    read_image,
    span,
)

if TYPE_CHECKING:
    from jefeos.mm.space import AddressSpace
    from jefeos.proc.task import Task
    from jefeos.vfs.file import File

PIE_BASE: Final = TASK_SIZE // 3 * 2 & ~PAGE_MASK
"""Where position-independent programs with an interpreter start (Linux's ELF_ET_DYN_BASE)."""
MMAP_RANDOM_BITS: Final = 28
STACK_RANDOM_BITS: Final = 22
BRK_RANDOM_BYTES: Final = 32 << 20
STACK_INITIAL_BYTES: Final = 128 << 10
MMAP_GAP_FLOOR_BYTES: Final = 128 << 20
MMAP_GAP_CEILING_BYTES: Final = TASK_SIZE // 6 * 5
GUARD_GAP_BYTES: Final = 256 * PAGE_SIZE
PLACEMENT_BYTES: Final = 8
RANDOM_BYTES: Final = 32


@frozen
class Layout:
    """The random choices of one address space."""

    stack_top: int
    mmap_base: int
    pie_bias: int
    brk_offset: int
    stack_gap_bytes: int
    random_bytes: bytes

    @classmethod
    def choose(cls, placement: bytes, random: bytes, stack_limit_bytes: int) -> Layout:
        """Choose from PLACEMENT_BYTES random bytes of this boot, and RANDOM_BYTES of this program."""
        numbers = [int.from_bytes(random[at : at + 4], "little") for at in range(0, 12, 4)]
        mmap_number, pie_number = (int.from_bytes(placement[at : at + 4], "little") for at in (0, 4))
        stack_room = (1 << STACK_RANDOM_BITS) * PAGE_SIZE
        gap = min(stack_limit_bytes, TASK_SIZE) + stack_room + GUARD_GAP_BYTES
        gap = min(max(gap, MMAP_GAP_FLOOR_BYTES), MMAP_GAP_CEILING_BYTES) & ~PAGE_MASK
        mmap_random = (mmap_number & ((1 << MMAP_RANDOM_BITS) - 1)) * PAGE_SIZE
        return cls(
            stack_top=TASK_SIZE - (numbers[0] & ((1 << STACK_RANDOM_BITS) - 1)) * PAGE_SIZE,
            mmap_base=TASK_SIZE - gap - mmap_random & ~PAGE_MASK,
            pie_bias=PIE_BASE + (pie_number & ((1 << MMAP_RANDOM_BITS) - 1)) * PAGE_SIZE,
            brk_offset=numbers[1] % BRK_RANDOM_BYTES & ~PAGE_MASK,
            stack_gap_bytes=numbers[2] % auxv.GAP_LIMIT_BYTES,
            random_bytes=random[16:32],
        )


def load_program(
    task: Task, file: File, path: bytes, argv: list[bytes], environ: list[bytes], placement: bytes
) -> ProgramImage:
    """Make ``file`` ready to run. See `jefeos.personality.Personality.load` for the errors."""
    process = task.process
    stack_limit = process.limit(RLimit.STACK)
    image = read_image(_reader(file))
    wanted = interpreter_path(_reader(file), image)
    interpreter_file = open_executable(task, wanted) if wanted is not None else None
    try:
        interpreter = None
        if interpreter_file is not None:
            interpreter = read_image(_reader(interpreter_file), bad=Errno.ELIBBAD)
        string_bytes = auxv.check_sizes(path, argv, environ, stack_limit)
        layout = Layout.choose(placement, task.kernel.entropy.bytes(RANDOM_BYTES), stack_limit)
        space = task.kernel.memory.new_space()
        try:
            return _build(
                task, space, layout, file, image, interpreter_file, interpreter, path, argv, environ, string_bytes
            )
        except BaseException:
            space.release()
            raise
    finally:
        if interpreter_file is not None:
            interpreter_file.unref()


def _build(
    task: Task,
    space: AddressSpace,
    layout: Layout,
    file: File,
    image: ElfImage,
    interpreter_file: File | None,
    interpreter: ElfImage | None,
    path: bytes,
    argv: list[bytes],
    environ: list[bytes],
    string_bytes: int,
) -> ProgramImage:
    limit = task.process.limit(RLimit.STACK)
    space.stack_limit_bytes = min(limit, TASK_SIZE)
    address_space_limit = task.process.limit(RLimit.AS)
    space.address_space_limit_bytes = address_space_limit if address_space_limit < TASK_SIZE else None
    data_limit = task.process.limit(RLimit.DATA)
    space.data_limit_bytes = data_limit if data_limit < TASK_SIZE else None
    space.mmap_base = layout.mmap_base
    _map_stack(space, layout, limit, string_bytes, executable=image.wants_executable_stack)

    bias = layout.pie_bias if interpreter is not None else None
    bias, end = map_image(space, file, image, bias)
    entry = start = image.header.e_entry + bias & ((1 << 64) - 1)
    base = 0
    if interpreter is not None and interpreter_file is not None:
        base, _ = map_image(space, interpreter_file, interpreter, None)
        start = interpreter.header.e_entry + base & ((1 << 64) - 1)
    if start >= TASK_SIZE:
        raise FatalLoadError(Errno.EINVAL, f"entry point {start:#x} is outside of user space")
    if image.is_position_independent and interpreter is None:
        end = PIE_BASE  # the heap of a dynamic linker or static PIE would collide with what is mapped around it
    space.brk_start = (end + layout.brk_offset + PAGE_MASK) & ~PAGE_MASK

    entries = _auxiliary_entries(task, file, image, bias, base, entry)
    stack_pointer, vector = auxv.build_stack(
        space, layout.stack_top, path, argv, environ, entries, layout.random_bytes, layout.stack_gap_bytes
    )
    return ProgramImage(space=space, entry=start, stack_pointer=stack_pointer, auxv=vector)


def _auxiliary_entries(
    task: Task, file: File, image: ElfImage, bias: int, base: int, entry: int
) -> list[tuple[int, int]]:
    headers = image.program_headers_address()
    creds = task.creds
    euid, egid = effective_ids(task, file)
    secure = euid != creds.uid or egid != creds.gid
    return [
        (Aux.MINSIGSTKSZ, auxv.MINIMUM_SIGNAL_STACK_BYTES),
        (Aux.HWCAP, auxv.HARDWARE_CAPABILITIES),
        (Aux.PAGESZ, PAGE_SIZE),
        (Aux.CLKTCK, auxv.CLOCK_TICKS_PER_SECOND),
        (Aux.PHDR, headers + bias if headers else 0),
        (Aux.PHENT, ProgramHeader.size),
        (Aux.PHNUM, image.header.e_phnum),
        (Aux.BASE, base),
        (Aux.FLAGS, 0),
        (Aux.ENTRY, entry),
        (Aux.UID, creds.uid),
        (Aux.EUID, euid),
        (Aux.GID, creds.gid),
        (Aux.EGID, egid),
        (Aux.SECURE, int(secure)),
    ]


def effective_ids(task: Task, file: File) -> tuple[int, int]:
    """Effective uid and gid after execve: the set-id bits count unless the mount or no_new_privs forbids it."""
    creds = task.creds
    inode = file.inode
    euid, egid = creds.euid, creds.egid
    no_set_id = task.process.no_new_privileges or (
        file.path is not None and file.path.mount.flags & MountFlags.NOSUID
    )
    if not no_set_id:
        if inode.mode & S_ISUID:
            euid = inode.uid
        if inode.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP:
            egid = inode.gid
    return euid, egid


def open_executable(task: Task, path: bytes) -> File:
    """Open what a program names as its interpreter. ENOENT, EACCES for what may not be executed, ELOOP …"""
    vfs = task.kernel.vfs
    if not path:  # inside the kernel an empty path is the working directory, and that cannot be executed
        raise KernelError(Errno.EACCES)
    place = vfs.resolve(task, path)
    inode = place.inode
    if inode.mode & S_IFMT != S_IFREG or place.mount.flags & MountFlags.NOEXEC:
        raise KernelError(Errno.EACCES)
    if not may_access(inode, X_OK, task.creds):
        raise KernelError(Errno.EACCES)
    file = inode.open(O_RDONLY, OpenContext(vfs, task, place))
    if isinstance(file, Coroutine):  # a regular file never makes its opener wait
        file.close()
        raise KernelError(Errno.EACCES)
    return file


def map_image(space: AddressSpace, file: File, image: ElfImage, bias: int | None) -> tuple[int, int]:
    """Map the segments of a file; gives its load bias and the end of its last segment (addresses).

    ``bias`` is where a position-independent file goes (None: wherever mmap finds room). Errors are fatal ones.
    """
    loads = image.loads
    try:
        if not image.is_position_independent:
            bias = 0
            span(loads)
        else:
            first, length = span(loads)
            if bias is None:
                bias = _find_room(space, length, alignment(loads))
            else:
                bias = bias & -alignment(loads)
            bias = bias - first
        mapping = file.inode.mapping
        end = 0
        for position, segment in enumerate(loads):
            address = check_segment(segment, bias)
            _map_segment(space, file, mapping, segment, address, replace=position > 0)
            end = max(end, address + segment.p_memsz)
        return bias, end
    except FatalLoadError:
        raise
    except KernelError as error:
        raise FatalLoadError(error.errno, f"cannot map the program: {error}") from error


def _find_room(space: AddressSpace, length: int, align: int) -> int:
    if align <= PAGE_SIZE:
        return space.find_gap(length)
    return space.find_gap(length + align - PAGE_SIZE) + align - 1 & -align


def _map_segment(
    space: AddressSpace, file: File, mapping: object, segment: ProgramHeader, address: int, *, replace: bool
) -> None:
    """One PT_LOAD: its file pages, zeros after them in the last page, zeroed pages for the rest of .bss."""
    prot = (
        (PROT_READ if segment.p_flags & PF_R else 0)
        | (PROT_WRITE if segment.p_flags & PF_W else 0)
        | (PROT_EXEC if segment.p_flags & PF_X else 0)
    )
    page = address & ~PAGE_MASK
    file_end = address + segment.p_filesz
    mapped_end = page
    if segment.p_filesz:
        mapped_end = (file_end + PAGE_MASK) & ~PAGE_MASK
        space.map(
            page,
            mapped_end - page,
            prot,
            mapping=mapping,  # type: ignore[arg-type]
            offset=segment.p_offset - (address & PAGE_MASK),
            fixed=replace,
            fixed_noreplace=not replace,
            file=file,
        )
    if segment.p_memsz <= segment.p_filesz:
        return
    if segment.p_filesz and file_end & PAGE_MASK:
        try:
            space.zero(file_end, mapped_end - file_end)
        except KernelError:
            if prot & PROT_WRITE:
                raise  # as Linux: only a segment that is not writable may keep what the file has there
    end = (address + segment.p_memsz + PAGE_MASK) & ~PAGE_MASK
    if end > mapped_end:
        space.map(
            mapped_end,
            end - mapped_end,
            PROT_READ | PROT_WRITE | (prot & PROT_EXEC),
            fixed=replace or mapped_end > page,
            fixed_noreplace=not (replace or mapped_end > page),
        )


def _map_stack(
    space: AddressSpace, layout: Layout, limit: int, string_bytes: int, *, executable: bool
) -> None:
    used = string_bytes + auxv.GAP_LIMIT_BYTES + PAGE_SIZE
    length = used + min(STACK_INITIAL_BYTES, max(limit - used, 0)) + PAGE_MASK & ~PAGE_MASK
    prot = PROT_READ | PROT_WRITE | (PROT_EXEC if executable else 0)
    space.map(layout.stack_top - length, length, prot, fixed=True, grows_down=True, name=b"[stack]")


def _reader(file: File) -> Callable[[int, int], bytes]:
    inode = file.inode
    return lambda count, offset: inode.read(offset, count)
