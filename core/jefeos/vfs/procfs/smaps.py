"""/proc/PID/smaps and smaps_rollup: each area of an address space with what of it is in memory (proc_pid_smaps(5)).

Counted from the page tables when read. A page counts as shared if its frame has another user: a second process, or the
page cache. Dirty are pages that the process has for itself alone; those of files count as clean. Nothing is ever
swapped, and there are no huge pages, so that those lines are there and 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from jefeos.cpu.paging import PAGE_SHIFT
from jefeos.mm.vma import PROT_EXEC, PROT_READ, PROT_WRITE
from jefeos.vfs.procfs.memory import maps_line, space_of

if TYPE_CHECKING:
    from jefeos.mm.space import AddressSpace
    from jefeos.mm.vma import Vma
    from jefeos.proc.process import Process
    from jefeos.vfs.path import Path

_FRAME_FIELD = (1 << 40) - 1
_PAGE_KB = 4


@define
class Residence:
    """What of an area is in memory, in kB."""

    size: int = 0
    resident: int = 0
    proportional: float = 0.0
    shared: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    anonymous: int = 0
    locked: int = 0

    def add(self, other: Residence) -> None:
        """The sum of both."""
        self.size += other.size
        self.resident += other.resident
        self.proportional += other.proportional
        self.shared += other.shared
        self.private_clean += other.private_clean
        self.private_dirty += other.private_dirty
        self.anonymous += other.anonymous
        self.locked += other.locked


def residence(space: AddressSpace, vma: Vma) -> Residence:
    """Count the pages of one area."""
    found = Residence(size=(vma.end - vma.start) // 1024)
    references = space.memory.frames.references
    cached = vma.mapping.pages if vma.mapping is not None else {}
    words = space._words
    for address, first, last in space.entry_runs(vma.start, vma.end):
        index = (vma.offset + address - vma.start) >> PAGE_SHIFT
        for position, entry in enumerate(words[first:last].tolist()):
            if not entry:
                continue
            frame = entry >> PAGE_SHIFT & _FRAME_FIELD
            of_file = cached.get(index + position) == frame
            users = max(references[frame] - of_file, 1)
            found.resident += _PAGE_KB
            found.proportional += _PAGE_KB / users
            found.anonymous += 0 if of_file else _PAGE_KB
            if users > 1:
                found.shared += _PAGE_KB
            elif of_file:
                found.private_clean += _PAGE_KB
            else:
                found.private_dirty += _PAGE_KB
    if vma.locked:
        found.locked = int(found.proportional)
    return found


def _rows(found: Residence) -> list[tuple[bytes, int]]:
    return [
        (b"Rss", found.resident), (b"Pss", int(found.proportional)), (b"Pss_Dirty", found.private_dirty),
        (b"Shared_Clean", found.shared), (b"Shared_Dirty", 0),
        (b"Private_Clean", found.private_clean), (b"Private_Dirty", found.private_dirty),
        (b"Referenced", found.resident), (b"Anonymous", found.anonymous), (b"KSM", 0), (b"LazyFree", 0),
        (b"AnonHugePages", 0), (b"ShmemPmdMapped", 0), (b"FilePmdMapped", 0), (b"Shared_Hugetlb", 0),
        (b"Private_Hugetlb", 0), (b"Swap", 0), (b"SwapPss", 0), (b"Locked", found.locked),
    ]  # fmt: skip


def _text(rows: list[tuple[bytes, int]]) -> bytes:
    return b"".join(b"%s%8d kB\n" % ((name + b":").ljust(16), kilobytes) for name, kilobytes in rows)


def _flags(vma: Vma) -> bytes:
    words = [word for bit, word in ((PROT_READ, b"rd"), (PROT_WRITE, b"wr"), (PROT_EXEC, b"ex")) if vma.prot & bit]
    if vma.shared:
        words.append(b"sh")
    words += [b"mr"] + [b"mw"] * vma.may_write + [b"me"]
    for condition, word in (
        (vma.shared, b"ms"), (vma.grows_down, b"gd"), (vma.locked, b"lo"), (vma.dont_fork, b"dc"),
        (vma.wipe_on_fork, b"wf"), (vma.sealed, b"sl"),
    ):  # fmt: skip
        if condition:
            words.append(word)
    return b"VmFlags: " + b" ".join(words) + b" \n"


def smaps(process: Process, root: Path | None) -> bytes:
    """/proc/PID/smaps."""
    space = space_of(process)
    if space is None:
        return b""
    parts = []
    for vma in space.vmas:
        found = residence(space, vma)
        pages = [(b"Size", found.size), (b"KernelPageSize", _PAGE_KB), (b"MMUPageSize", _PAGE_KB)]
        parts.append(maps_line(vma, root) + _text(pages + _rows(found)) + b"THPeligible:           0\n" + _flags(vma))
    return b"".join(parts)


def smaps_rollup(process: Process, root: Path | None) -> bytes:
    """/proc/PID/smaps_rollup: the sum over all areas."""
    space = space_of(process)
    if space is None or not space.vmas:
        return b""
    total = Residence()
    for vma in space.vmas:
        total.add(residence(space, vma))
    rows = _rows(total)
    rows[3:3] = [(b"Pss_Anon", total.anonymous), (b"Pss_File", total.resident - total.anonymous), (b"Pss_Shmem", 0)]
    line = b"%08x-%08x ---p 00000000 00:00 0 " % (space.vmas[0].start, space.vmas[-1].end)
    return line.ljust(73) + b"[rollup]\n" + _text(rows)
