"""Address spaces under the real engine: what the walker of the other tests promises, executed."""

from __future__ import annotations

import struct

import pytest
from jefeos.cpu.registers import Reg
from jefeos.mm.faults import Fault
from jefeos.mm.manager import MemoryManager
from jefeos.testing.memory import BytesSource

PAGE = 4096
R, W, X = 1, 2, 4
CODE = 0x400000
DATA = 0x10000000
STACK_TOP = 0x7FFF00000000
SYSCALL = b"\x0f\x05"


def mov(register: str, value: int) -> bytes:
    """mov r64, imm64"""
    number = {"rax": 0, "rcx": 1, "rdx": 2, "rbx": 3, "rsi": 6, "rdi": 7}[register]
    return bytes([0x48, 0xB8 + number]) + struct.pack("<Q", value)


def returning(value: int) -> bytes:
    """A function: mov eax, imm32; ret"""
    return b"\xb8" + struct.pack("<I", value) + b"\xc3"


# mov rdi, [rdi] as rax; syscall 0 with RDI = what the function at RBX returned
CALL_RBX_AND_REPORT = b"\xff\xd3" + b"\x89\xc7" + b"\x31\xc0" + SYSCALL  # call rbx; mov edi,eax; xor eax,eax; syscall
STOP = mov("rax", 1) + SYSCALL
JUMP_TO_START = b"\xff\xe2"  # jmp rdx


class Computer:
    def __init__(self) -> None:
        unicorn = pytest.importorskip("jefeos.cpu.unicorn")
        self.engine = unicorn.UnicornEngine(16 << 20)
        self.memory = MemoryManager(self.engine)
        self.space = None
        self.reports: list[int] = []
        self.died: Fault | None = None
        self.on_report = lambda value: None
        self.engine.attach(
            syscall=self.syscall, page_fault=self.fault, exception=self.exception, interrupt=lambda vector: None
        )

    def syscall(self, number, value, *rest):
        if number == 1:
            return None
        self.reports.append(value)
        self.on_report(value)
        return 0

    def fault(self, address, error_code):
        self.died = self.space.fault(address, error_code)
        return self.died is Fault.OK

    def exception(self, vector, error_code):
        raise AssertionError(f"exception {vector} at {self.engine.get(Reg.RIP):x}")

    def new_program(self, code: bytes):
        space = self.memory.new_space()
        space.map(CODE, len(code) + PAGE, R | W, fixed=True)
        space.write(CODE, code)
        space.protect(CODE, len(code) + PAGE, R | X)
        space.map(STACK_TOP - 8 * PAGE, 8 * PAGE, R | W, fixed=True, grows_down=True)
        return space

    def run(self, space, rip=CODE):
        self.space = space
        self.engine.reset(rip=rip, rsp=STACK_TOP - 64, cr3=space.cr3)
        self.engine.run()


@pytest.fixture
def computer():
    computer = Computer()
    yield computer
    computer.engine.close()


def test_stores_fault_pages_in(computer):
    # mov rcx, pages; l: mov byte [rdi], cl; add rdi, 4096; loop l
    code = mov("rdi", DATA) + mov("rcx", 200) + b"\x88\x0f" + b"\x48\x81\xc7\x00\x10\x00\x00" + b"\xe2\xf5" + STOP
    space = computer.new_program(code)
    space.map(DATA, 200 * PAGE, R | W, fixed=True)
    computer.run(space)
    assert [space.read(DATA + n * PAGE, 1)[0] for n in range(200)] == list(range(200, 0, -1))
    assert space.fault_count < 30
    computer.run(space)
    space.release()


def test_fork_and_store_in_both(computer):
    code = mov("rdi", DATA) + b"\xff\x07" + b"\x8b\x3f\x31\xc0" + SYSCALL + STOP  # inc dword [rdi]; report it
    parent = computer.new_program(code)
    parent.map(DATA, PAGE, R | W, fixed=True)
    computer.run(parent)
    computer.run(parent)
    child = parent.fork()
    computer.run(parent)
    computer.run(child)
    computer.run(child)
    computer.run(parent)
    assert computer.reports == [1, 2, 3, 3, 4, 4]
    child.release()
    computer.run(parent)
    assert computer.reports[-1] == 5
    before = computer.memory.frames.free_count
    parent.release()
    assert computer.memory.frames.free_count > before


def test_copies_on_write_are_seen_at_once_in_a_large_working_set(computer):
    # Each round reads, adds to and reads back a word of each page, so that every kind of cached translation of
    # the page is there before its frame changes under it.
    pages = 600
    one_round = (
        mov("rdi", DATA)
        + mov("rcx", pages)
        + b"\x31\xdb"  # xor ebx, ebx
        + b"\x03\x1f"  # l: add ebx, [rdi]
        + b"\xff\x07"  # inc dword [rdi]
        + b"\x03\x1f"  # add ebx, [rdi]
        + b"\x48\x81\xc7\x00\x10\x00\x00"  # add rdi, 4096
        + b"\xe2\xf1"  # loop l
        + b"\x89\xdf\x31\xc0"  # mov edi, ebx; xor eax, eax
        + SYSCALL
    )
    parent = computer.new_program(one_round * 2 + STOP)
    parent.map(DATA, pages * PAGE, R | W, fixed=True)
    computer.run(parent)
    expected = [pages, 3 * pages]
    assert computer.reports == expected
    family = [parent, parent.fork()]
    family.append(family[1].fork())
    counts = [2, 2, 2]
    for number in (0, 2, 1, 0, 1, 2):
        computer.run(family[number])
        for _ in range(2):
            expected.append((2 * counts[number] + 1) * pages)
            counts[number] += 1
        assert computer.reports == expected
        family[number].fork().release()
    for space in family:
        space.release()


def test_program_that_rewrites_its_own_code(computer):
    # rbx = function in an RWX page: call it, report, add 1 to its immediate, three times
    step = CALL_RBX_AND_REPORT + b"\xff\x43\x01"  # inc dword [rbx+1]
    code = mov("rbx", DATA) + step * 3 + STOP
    space = computer.new_program(code)
    space.map(DATA, PAGE, R | W | X, fixed=True)
    space.write(DATA, returning(10))
    computer.run(space)
    assert computer.reports == [10, 11, 12]
    space.release()


def test_program_that_flips_rights(computer):
    """A JIT that obeys W^X by mprotect, done here from the system call."""
    code = mov("rbx", DATA) + CALL_RBX_AND_REPORT * 4 + STOP
    space = computer.new_program(code)
    space.map(DATA, PAGE, R | W, fixed=True)
    space.write(DATA, returning(100))
    space.protect(DATA, PAGE, R | X)

    def rewrite(value):
        space.protect(DATA, PAGE, R | W)
        space.write(DATA, returning(value + 1))
        space.protect(DATA, PAGE, R | X)

    computer.on_report = rewrite
    computer.run(space)
    assert computer.reports == [100, 101, 102, 103]
    space.release()


def test_kernel_writes_into_an_rwx_page(computer):
    code = mov("rbx", DATA) + CALL_RBX_AND_REPORT * 3 + STOP
    space = computer.new_program(code)
    space.map(DATA, PAGE, R | W | X, fixed=True)
    space.write(DATA, returning(5))
    computer.on_report = lambda value: space.write(DATA, returning(value * 2))
    computer.run(space)
    assert computer.reports == [5, 10, 20]
    space.release()


def test_recycled_frames_run_their_new_code(computer):
    for value in range(12):
        space = computer.new_program(mov("rbx", DATA) + CALL_RBX_AND_REPORT + STOP)
        space.map(DATA, PAGE, R | W | (X if value % 2 else 0), fixed=True)
        space.write(DATA, returning(value))
        space.protect(DATA, PAGE, R | X)
        computer.run(space)
        child = space.fork()
        space.release()
        computer.run(child)
        child.release()
    assert computer.reports == [value for value in range(12) for _ in range(2)]


def test_one_page_replaced_at_the_same_address(computer):
    code = mov("rbx", DATA) + CALL_RBX_AND_REPORT * 3 + STOP
    space = computer.new_program(code)
    space.map(DATA, PAGE, R | W | X, fixed=True)
    space.write(DATA, returning(1))

    def replace(value):
        space.unmap(DATA, PAGE)
        space.map(DATA, PAGE, R | W | X, fixed=True)
        space.write(DATA, returning(value + 1))

    computer.on_report = replace
    computer.run(space)
    assert computer.reports == [1, 2, 3]
    space.release()


@pytest.mark.parametrize("source", [True, False])
def test_code_through_two_mappings_of_one_file(computer, source):
    """The libffi and JIT manner: write through one mapping, execute through the other."""
    mapping = computer.memory.page_cache.new_mapping(BytesSource(bytes(PAGE)) if source else None)
    alias = DATA + 16 * PAGE
    step = CALL_RBX_AND_REPORT + mov("rsi", alias + 1) + b"\xff\x06"  # inc dword [rsi]
    space = computer.new_program(mov("rbx", DATA) + step * 4 + STOP)
    space.map(DATA, PAGE, R | X, fixed=True, shared=True, mapping=mapping)
    space.map(alias, PAGE, R | W, fixed=True, shared=True, mapping=mapping)
    space.write(alias, returning(7))
    computer.run(space)
    assert computer.reports == [7, 8, 9, 10]
    space.release()


def test_file_rewritten_under_running_code(computer):
    source = BytesSource(returning(3) + bytes(PAGE))
    mapping = computer.memory.page_cache.new_mapping(source)
    space = computer.new_program(mov("rbx", DATA) + CALL_RBX_AND_REPORT * 3 + STOP)
    space.map(DATA, PAGE, R | X, fixed=True, mapping=mapping)
    computer.on_report = lambda value: mapping.write(0, returning(value + 1))
    computer.run(space)
    assert computer.reports == [3, 4, 5]
    space.release()


def test_child_sees_new_code_of_a_shared_page(computer):
    parent = computer.new_program(mov("rbx", DATA) + CALL_RBX_AND_REPORT + STOP)
    parent.map(DATA, PAGE, R | W | X, fixed=True, shared=True)
    parent.write(DATA, returning(1))
    computer.run(parent)
    child = parent.fork()
    computer.run(child)
    parent.write(DATA, returning(2))
    computer.run(child)
    computer.run(parent)
    child.write(DATA, returning(3))
    computer.run(parent)
    assert computer.reports == [1, 1, 2, 2, 3]
    child.release()
    parent.release()


def test_stack_overflow_is_a_fault(computer):
    space = computer.new_program(b"\x50\xeb\xfd")  # l: push rax; jmp l
    space.stack_limit_bytes = 1 << 20
    computer.run(space)
    assert computer.died is Fault.SEGV_MAPERR
    assert space.find(STACK_TOP - 1).length == 1 << 20
    space.release()


def test_out_of_memory_is_a_fault(computer):
    # l: mov byte [rdi], 1; add rdi, 4096; jmp l
    space = computer.new_program(mov("rdi", DATA) + b"\xc6\x07\x01" + b"\x48\x81\xc7\x00\x10\x00\x00" + b"\xeb\xf4")
    before = computer.memory.frames.free_count
    space.map(DATA, 15 << 20, R | W, fixed=True)
    space.map(DATA + (15 << 20), 15 << 20, R | W, fixed=True, name=b"more")
    computer.run(space)
    assert computer.died is Fault.NO_MEMORY
    assert computer.memory.frames.free_count == 0
    space.release()
    assert computer.memory.frames.free_count > before


def test_no_execution_of_data(computer):
    space = computer.new_program(mov("rbx", DATA) + CALL_RBX_AND_REPORT + STOP)
    space.map(DATA, PAGE, R | W, fixed=True)
    space.write(DATA, returning(1))
    computer.run(space)
    assert computer.died is Fault.SEGV_ACCERR
    assert not computer.reports
    space.release()
