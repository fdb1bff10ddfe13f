"""Areas of an address space: one `Vma` for each run of pages with the same rights and the same backing.

    start          end            offset = byte offset in the mapping of the page at ``start``
      |  page page  |             kinds:  private anonymous   mapping None
      |             |                     private file        copies a page when it is first written
                                          shared              mapping (file, tmpfs, shared anonymous)

``prot`` holds PROT_READ, PROT_WRITE, PROT_EXEC as a plain int (faults test it; IntFlag costs ten times more).
From it follow the entry flags that the fault handler uses:

    pte_read    for a page that must not be written (yet): shared with others or clean; NX unless EXEC
    pte_write   for a page of its own: writable and therefore NX (0 if the area is not writable)

As on Linux for x86-64, a page that may be written or executed may be read.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final, Protocol

from jefeos.cpu.paging import PAGE_SHIFT, PTE_ACCESSED, PTE_DIRTY, PTE_NX, PTE_PRESENT, PTE_USER, PTE_WRITE

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping

PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4

PTE_USER_PAGE: Final = PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_DIRTY


class MapFlags(IntFlag):
    """What `Vma.flags` reports."""

    SHARED = 1
    PRIVATE = 2
    ANONYMOUS = 4
    GROWS_DOWN = 8
    MAY_WRITE = 16
    DONT_FORK = 32
    WIPE_ON_FORK = 64


class CountedFile(Protocol):
    """What keeps the file of a mapping alive: an open file description."""

    def ref(self) -> object: ...

    def unref(self) -> object: ...


class SpaceOfVma(Protocol):
    """What the page cache asks of the address space behind an area."""

    def zap_file_pages(self, vma: Vma, start: int, end: int, *, private_copies: bool) -> None: ...

    def restrict_page(self, address: int, *, writable: bool, executable: bool) -> None: ...


class Vma:
    """One area. Identity matters (a mapping keeps a set of its areas), so there is no equality by value."""

    __slots__ = (
        "dont_fork",
        "end",
        "file",
        "grows_down",
        "locked",
        "mapping",
        "may_write",
        "name",
        "next_page",
        "offset",
        "previous_page",
        "prot",
        "pte_read",
        "pte_write",
        "sealed",
        "shared",
        "space",
        "start",
        "window",
        "wipe_on_fork",
    )

    def __init__(
        self,
        start: int,
        end: int,
        prot: int,
        *,
        shared: bool = False,
        mapping: FileMapping | None = None,
        offset: int = 0,
        name: bytes = b"",
        grows_down: bool = False,
        may_write: bool = True,
        file: CountedFile | None = None,
    ) -> None:
        self.start = start
        self.end = end
        self.shared = shared
        self.mapping = mapping
        self.offset = offset
        self.name = name
        self.grows_down = grows_down
        self.may_write = may_write
        self.file = file
        self.dont_fork = False
        self.wipe_on_fork = False
        self.locked = False  # mlock(2): nothing is ever swapped, so this is for the accounts
        self.sealed = False  # mseal(2)
        self.space: SpaceOfVma | None = None
        # Where a sequential program touches next, upwards and downwards, and how many pages it then gets.
        self.next_page = start >> PAGE_SHIFT
        self.previous_page = (end >> PAGE_SHIFT) - 1
        self.window = 4
        self.set_prot(prot)

    def __repr__(self) -> str:
        rights = "".join(letter if self.prot & bit else "-" for letter, bit in zip("rwx", (1, 2, 4), strict=True))
        kind = "s" if self.shared else "p"
        return f"<Vma {self.start:x}-{self.end:x} {rights}{kind} +{self.offset:x} {self.name.decode('latin-1')}>"

    @property
    def flags(self) -> MapFlags:
        flags = MapFlags.SHARED if self.shared else MapFlags.PRIVATE
        for condition, flag in (
            (self.mapping is None, MapFlags.ANONYMOUS),
            (self.grows_down, MapFlags.GROWS_DOWN),
            (self.may_write, MapFlags.MAY_WRITE),
            (self.dont_fork, MapFlags.DONT_FORK),
            (self.wipe_on_fork, MapFlags.WIPE_ON_FORK),
        ):
            if condition:
                flags |= flag
        return flags

    @property
    def is_data(self) -> bool:
        """Whether it counts for RLIMIT_DATA."""
        return bool(self.prot & PROT_WRITE) and not self.shared and not self.grows_down

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.start

    def set_prot(self, prot: int) -> None:
        """Set the rights and the entry flags that follow from them."""
        self.prot = prot
        self.pte_read = PTE_USER_PAGE if prot & PROT_EXEC else PTE_USER_PAGE | PTE_NX
        self.pte_write = PTE_USER_PAGE | PTE_WRITE | PTE_NX if prot & PROT_WRITE else 0

    def addresses_of(self, first: int, last: int | None) -> tuple[int, int]:
        """The part of this area that maps file pages ``first <= index < last`` (None: to the end of any file)."""
        shift = self.start - self.offset
        start = max((first << PAGE_SHIFT) + shift, self.start)
        end = self.end if last is None else min((last << PAGE_SHIFT) + shift, self.end)
        return start, end

    def part(self, start: int, end: int) -> Vma:
        """An area with the same properties for a part of this one (or, for mremap, past its end)."""
        piece = Vma(
            start,
            end,
            self.prot,
            shared=self.shared,
            mapping=self.mapping,
            offset=self.offset + start - self.start if self.mapping is not None else 0,
            name=self.name,
            grows_down=self.grows_down,
            may_write=self.may_write,
            file=self.file,
        )
        piece.dont_fork = self.dont_fork
        piece.wipe_on_fork = self.wipe_on_fork
        piece.locked = self.locked
        piece.sealed = self.sealed
        return piece

    def joins(self, after: Vma) -> bool:
        """Whether ``after`` continues this area, so that one object can stand for both."""
        return (
            self.end == after.start
            and self.prot == after.prot
            and self.mapping is after.mapping
            and self.shared == after.shared
            and self.name == after.name
            and (self.mapping is None or self.offset + self.end - self.start == after.offset)
            and self.grows_down == after.grows_down
            and self.may_write == after.may_write
            and self.file is after.file
            and self.dont_fork == after.dont_fork
            and self.wipe_on_fork == after.wipe_on_fork
            and self.locked == after.locked
            and self.sealed == after.sealed
        )
