"""A guest small enough to read: one engine, one address space, code given as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from jefeos.cpu import paging
from jefeos.cpu.registers import Reg
from jefeos.cpu.unicorn import UnicornEngine, machine

RAM_BYTES = 16 << 20
CODE = 0x40_0000
DATA = 0x60_0000
STACK_TOP = 0x7F_0000_0000
HOLE = 0x1234_5000  # never mapped

R = paging.PTE_PRESENT | paging.PTE_USER | paging.PTE_NX
RW = R | paging.PTE_WRITE
RX = paging.PTE_PRESENT | paging.PTE_USER
RWX = RX | paging.PTE_WRITE

SYSCALL = b"\x0f\x05"


class Guest:
    """An engine with recorded events. Handlers can be replaced; the defaults stop."""

    def __init__(self) -> None:
        self.engine = UnicornEngine(RAM_BYTES)
        self.next_frame = self.engine.reserved_bytes >> paging.PAGE_SHIFT
        self.cr3 = self.new_space()
        self.syscalls: list[tuple[int, ...]] = []
        self.faults: list[tuple[int, int]] = []
        self.exceptions: list[tuple[int, int, int]] = []
        self.interrupts: list[int] = []
        self.on_syscall: Callable[..., int | None] = lambda *arguments: None
        self.on_fault: Callable[[int, int], bool] = lambda address, code: False
        self.on_interrupt: Callable[[int], int | None] = lambda vector: None
        self.engine.attach(
            syscall=self._syscall,
            page_fault=self._fault,
            exception=self._exception,
            interrupt=self._interrupt,
        )

    def _syscall(self, *arguments: int) -> int | None:
        self.syscalls.append(arguments)
        return self.on_syscall(*arguments)

    def _fault(self, address: int, code: int) -> bool:
        self.faults.append((address, code))
        return self.on_fault(address, code)

    def _exception(self, vector: int, code: int) -> None:
        self.exceptions.append((int(vector), code, self.engine.get(Reg.RIP)))

    def _interrupt(self, vector: int) -> int | None:
        self.interrupts.append(vector)
        return self.on_interrupt(vector)

    # ---- memory ----

    def frame(self) -> int:
        """A new frame's number."""
        self.next_frame += 1
        assert self.next_frame * paging.PAGE_SIZE < RAM_BYTES
        return self.next_frame - 1

    def new_space(self) -> int:
        cr3 = self.frame() << paging.PAGE_SHIFT
        for index, entry in self.engine.kernel_entries:
            self.engine.ram_words[(cr3 >> 3) + index] = entry
        return cr3

    def map(
        self, address: int, flags: int, content: bytes = b"", frame: int | None = None, cr3: int = 0
    ) -> int:
        """Map one page (or as many as the content needs); the first frame's number."""
        first = None
        for offset in range(0, max(len(content), 1), paging.PAGE_SIZE):
            target = self.frame() if frame is None else frame
            first = target if first is None else first
            self.poke(target, content[offset : offset + paging.PAGE_SIZE])
            self.set_entry(address + offset, (target << paging.PAGE_SHIFT) | flags, cr3)
            if not flags & paging.PTE_NX and not cr3 and not self.engine.is_code_safe(target):
                loaded = self.engine.current_cr3
                self.engine.set_cr3(self.cr3)
                self.engine.guard_code(address + offset)
                self.engine.set_cr3(loaded)
        assert first is not None
        return first

    def poke(self, frame: int, content: bytes, offset: int = 0) -> None:
        start = frame * paging.PAGE_SIZE + offset
        self.engine.ram[start : start + len(content)] = content

    def peek(self, frame: int, length: int, offset: int = 0) -> bytes:
        start = frame * paging.PAGE_SIZE + offset
        return bytes(self.engine.ram[start : start + length])

    def set_entry(self, address: int, entry: int, cr3: int = 0) -> None:
        words = self.engine.ram_words
        table = cr3 or self.cr3
        for shift in paging.LEVEL_SHIFTS[:3]:
            word = (table >> 3) + paging.table_index(address, shift)
            if not words[word]:
                words[word] = (self.frame() << paging.PAGE_SHIFT) | paging.TABLE_FLAGS
            table = words[word] & paging.PTE_ADDRESS_MASK
        words[(table >> 3) + paging.table_index(address, paging.PT_SHIFT)] = entry

    # ---- programs ----

    def program(self, code: bytes, **registers: int) -> None:
        """Code, a page of data and a stack, ready to run."""
        self.map(CODE, RX, code)
        self.map(DATA, RW)
        self.map(STACK_TOP - paging.PAGE_SIZE, RW)
        self.engine.reset(rip=CODE, rsp=STACK_TOP, cr3=self.cr3)
        for name, value in registers.items():
            self.engine.set(Reg[name], value)

    def run(self) -> None:
        self.engine.run()

    def rip(self) -> int:
        return self.engine.get(Reg.RIP)


@pytest.fixture(params=["in place", "by copies"])
def guest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    """Once as the engine is where the library tells its structure's place, and once as where it does not."""
    if request.param == "by copies":
        monkeypatch.setattr(machine, "find_structure", lambda *_: None)
    made = Guest()
    assert made.engine.switches_inside == (request.param == "in place")
    yield made
    made.engine.close()
