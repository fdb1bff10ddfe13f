"""The memory of a process in /proc: maps, and the sums that stat, statm and status give.

Formats as of Linux's fs/proc/task_mmu.c and array.c. Resident pages are counted for the whole address space; how many
of them belong to files is not kept, so that RssFile and the ``shared`` column of statm are 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from jefeos.vfs.flags import device_major, device_minor
from jefeos.vfs.path import path_string

if TYPE_CHECKING:
    from jefeos.mm.space import AddressSpace
    from jefeos.mm.vma import Vma
    from jefeos.proc.process import Process
    from jefeos.vfs.path import Path

PAGE_SIZE = 4096
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
_NAME_COLUMN = 72  # maps pads the numbers to this width and puts a space before the name


@frozen
class MemorySums:
    """Sizes of an address space in bytes."""

    virtual: int = 0
    resident: int = 0
    data: int = 0
    stack: int = 0
    code: int = 0
    libraries: int = 0
    start_code: int = 0
    end_code: int = 0
    start_stack: int = 0
    start_brk: int = 0


def space_of(process: Process) -> AddressSpace | None:
    """The address space; None for applets and for what has ended."""
    if process.is_dead or not process.tasks:
        return None
    return process.tasks[0].mm


def sums(process: Process) -> MemorySums:
    """Add up the areas, as Linux does in task_mem: code is the program's, libraries other executable files."""
    space = space_of(process)
    if space is None:
        return MemorySums()
    program = process.exe.inode if process.exe is not None else None
    data = stack = code = libraries = start_code = end_code = start_stack = 0
    for vma in space.vmas:
        length = vma.end - vma.start
        if vma.grows_down:
            stack += length
            start_stack = vma.end - 1
        elif vma.prot & PROT_EXEC:
            if program is not None and _inode(vma) is program:
                code += length
                start_code = start_code or vma.start
                end_code = vma.end
            elif vma.file is not None:
                libraries += length
        elif vma.prot & PROT_WRITE and not vma.shared:
            data += length
    return MemorySums(
        space.virtual_bytes, space.resident_pages * PAGE_SIZE, data, stack, code, libraries,
        start_code, end_code, start_stack, space.brk_start,
    )  # fmt: skip


def maps(process: Process, root: Path | None) -> bytes:
    """/proc/PID/maps."""
    space = space_of(process)
    if space is None:
        return b""
    return b"".join(maps_line(vma, root) for vma in space.vmas)


def maps_line(vma: Vma, root: Path | None) -> bytes:
    """One line of maps."""
    rights = b"%c%c%c%c" % (
        b"r" if vma.prot & PROT_READ else b"-",
        b"w" if vma.prot & PROT_WRITE else b"-",
        b"x" if vma.prot & PROT_EXEC else b"-",
        b"s" if vma.shared else b"p",
    )
    device = ino = offset = 0
    name = vma.name
    inode = _inode(vma)
    if inode is not None:
        device, ino, offset = inode.fs.device, inode.ino, vma.offset
        path = getattr(vma.file, "path", None)
        if path is not None:
            name = path_string(path, root).replace(b"\n", b"\\012")
    line = b"%08x-%08x %s %08x %02x:%02x %d " % (
        vma.start, vma.end, rights, offset, device_major(device), device_minor(device), ino,
    )  # fmt: skip
    if name:
        line = line.ljust(_NAME_COLUMN) + b" " + name
    return line + b"\n"


def _inode(vma: Vma) -> Any:
    return getattr(vma.file, "inode", None)
