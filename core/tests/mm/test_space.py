"""Areas, faults, usercopy and fork of one address space, on the fake engine."""

from __future__ import annotations

import random

import pytest
from jefeos.cpu import paging
from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import FAULT_USER, FAULT_WRITE, Fault
from jefeos.mm.space import Advice
from jefeos.testing.memory import BytesSource, Processor

PAGE = 4096
R, W, X = 1, 2, 4
BASE = 0x10000000


def fails(errno, call, *args, **kwargs):
    with pytest.raises(KernelError) as failure:
        call(*args, **kwargs)
    assert failure.value.errno == errno


def test_zero_on_demand(space, cpu):
    at = space.map(None, 10 * PAGE, R | W)
    assert space.resident_pages == 0
    assert cpu.load(at + 5 * PAGE + 7) == 0
    assert cpu.store(at + 5 * PAGE + 7, 9) is Fault.OK
    assert cpu.load(at + 5 * PAGE + 7) == 9
    assert cpu.load(at - 1) is Fault.SEGV_MAPERR
    assert cpu.load(at + 10 * PAGE) is Fault.SEGV_MAPERR
    assert cpu.fetch(at) is Fault.SEGV_ACCERR


def test_fault_around_grows_with_sequential_touch(space, cpu):
    at = space.map(None, 512 * PAGE, R | W)
    for page in range(512):
        assert cpu.store(at + page * PAGE, 1) is Fault.OK
    assert space.resident_pages == 512
    assert space.fault_count < 20
    space.unmap(at, 512 * PAGE)
    at = space.map(None, 512 * PAGE, R | W)
    count = space.fault_count
    for page in range(0, 512, 7):
        cpu.store(at + page * PAGE, 1)
    assert space.resident_pages <= 75 + 4
    assert space.fault_count - count >= 70


def test_freed_frames_come_back_zeroed(space, cpu):
    at = space.map(None, 8 * PAGE, R | W)
    space.write(at, b"x" * 8 * PAGE)
    space.unmap(at, 8 * PAGE)
    at = space.map(None, 8 * PAGE, R | W)
    assert space.read(at, 8 * PAGE) == bytes(8 * PAGE)


def test_rights(space, cpu):
    at = space.map(BASE, 3 * PAGE, R, fixed=True)
    assert cpu.store(at, 1) is Fault.SEGV_ACCERR
    assert cpu.load(at) == 0
    assert cpu.store(at, 1) is Fault.SEGV_ACCERR
    space.protect(at, PAGE, R | W)
    assert cpu.store(at, 5) is Fault.OK
    space.protect(at, PAGE, 0)
    assert cpu.load(at) is Fault.SEGV_ACCERR
    fails(Errno.EFAULT, space.read, at, 1)
    space.protect(at, PAGE, W)
    assert cpu.load(at) == 5
    space.protect(at, PAGE, X)
    assert cpu.fetch(at) == 5
    assert cpu.load(at) == 5
    assert cpu.store(at, 1) is Fault.SEGV_ACCERR


def test_protect_splits_and_joins(space):
    space.map(BASE, 4 * PAGE, R | W, fixed=True)
    space.protect(BASE + PAGE, 2 * PAGE, R)
    assert [(v.start, v.end, v.prot) for v in space.vmas] == [
        (BASE, BASE + PAGE, 3),
        (BASE + PAGE, BASE + 3 * PAGE, 1),
        (BASE + 3 * PAGE, BASE + 4 * PAGE, 3),
    ]
    space.protect(BASE + PAGE, 2 * PAGE, R | W)
    assert [(v.start, v.end, v.prot) for v in space.vmas] == [(BASE, BASE + 4 * PAGE, 3)]
    assert space.virtual_bytes == 4 * PAGE


def test_protect_errors(space):
    space.map(BASE, 2 * PAGE, R | W, fixed=True)
    fails(Errno.EINVAL, space.protect, BASE + 1, PAGE, R)
    fails(Errno.ENOMEM, space.protect, BASE, 3 * PAGE, R)
    assert [v.prot for v in space.vmas] == [R]  # what was there has changed
    fails(Errno.ENOMEM, space.protect, BASE - PAGE, 2 * PAGE, R | W)
    assert [v.prot for v in space.vmas] == [R]
    space.protect(BASE - PAGE, 0, R)


def test_write_and_execute_are_never_both(space, cpu, engine):
    at = space.map(None, 2 * PAGE, R | W | X)
    engine.current_cr3 = space.cr3
    assert cpu.store(at, 0xC3) is Fault.OK
    assert cpu.fetch(at) == 0xC3
    assert engine.invalidated == []  # never executed before: nothing to forget
    assert cpu.store(at, 0x90) is Fault.OK
    assert engine.flushes
    assert cpu.fetch(at) == 0x90
    assert engine.invalidated == [(at, PAGE)]
    assert cpu.load(at) == 0x90


def test_kernel_write_into_code_is_noticed(space, cpu, engine):
    at = space.map(None, PAGE, R | W | X)
    space.write(at, b"\xc3")
    assert cpu.fetch(at) == 0xC3
    space.write(at, b"\x90")
    assert cpu.fetch(at) == 0x90
    assert engine.invalidated == [(at, PAGE)]


def test_recycled_code_frame_is_invalidated(space, cpu, engine):
    at = space.map(None, PAGE, R | W | X)
    cpu.store(at, 0xC3)
    cpu.fetch(at)
    space.unmap(at, PAGE)
    at = space.map(None, PAGE, R | W)
    cpu.store(at, 0x90)
    space.protect(at, PAGE, R | X)
    assert cpu.fetch(at) == 0x90
    assert engine.invalidated == [(at, PAGE)]


def test_fork_copies_on_write(space, cpu, memory):
    at = space.map(None, 4 * PAGE, R | W)
    space.write(at, b"parent")
    child = space.fork()
    other = Processor(child)
    assert child.read(at, 6) == b"parent"
    assert other.store(at, ord("P")) is Fault.OK
    assert child.read(at, 6) == b"Parent"
    assert space.read(at, 6) == b"parent"
    space.write(at + 1, b"A")
    assert (space.read(at, 6), child.read(at, 6)) == (b"pArent", b"Parent")
    grandchild = child.fork()
    child.release()
    assert grandchild.read(at, 6) == b"Parent"
    grandchild.write(at, b"!")
    grandchild.release()


def test_last_owner_writes_without_a_copy(space, cpu, memory):
    at = space.map(None, PAGE, R | W)
    space.write(at, b"x")
    physical = cpu.translate(at)
    space.fork().release()
    free = memory.frames.free_count
    assert cpu.store(at, 1) is Fault.OK
    assert cpu.translate(at) == physical
    assert memory.frames.free_count == free


def test_shared_anonymous_survives_fork(space, cpu):
    at = space.map(None, 2 * PAGE, R | W, shared=True)
    child = space.fork()
    child.write(at + PAGE - 2, b"both")
    assert space.read(at + PAGE - 2, 4) == b"both"
    assert space.futex_key(at) == child.futex_key(at)
    private = space.map(None, PAGE, R | W)
    assert space.futex_key(private)[0] == "space"
    child.release()


def test_file_mappings(space, cpu, memory):
    source = BytesSource(bytes(range(256)) * 16 * 3 + b"tail")
    mapping = memory.page_cache.new_mapping(source)
    mapping.size_bytes = len(source.data)
    private = space.map(None, 5 * PAGE, R | W, mapping=mapping)
    shared = space.map(None, 4 * PAGE, R | W, mapping=mapping, shared=True)
    assert space.read(private + 3 * PAGE, 8) == b"tail" + bytes(4)
    assert cpu.load(private + 4 * PAGE) is Fault.BUS_ADRERR
    fails(Errno.EFAULT, space.read, private + 4 * PAGE, 1)
    assert cpu.store(private, 77) is Fault.OK
    assert cpu.load(shared) == 0
    assert not mapping.dirty
    assert cpu.store(shared, 88) is Fault.OK
    assert (cpu.load(private), cpu.load(shared)) == (77, 88)
    assert mapping.dirty == {0}
    assert mapping.read(0, 2) == bytes([88, 1])
    space.msync(shared, PAGE, 4)
    assert source.data[0] == 88
    assert not mapping.dirty
    cpu.store(shared + 1, 99)
    assert mapping.dirty == {0}
    mapping.write(2, b"kernel")
    assert space.read(shared, 8) == b"\x58\x63kernel"
    mapping.writeback()
    assert sorted(set(source.reads)) == sorted(source.reads)


def test_fault_around_maps_what_is_cached(space, cpu, memory):
    source = BytesSource(bytes(64 * PAGE))
    mapping = memory.page_cache.new_mapping(source)
    mapping.read(0, 64 * PAGE)
    at = space.map(BASE, 64 * PAGE, R | X, mapping=mapping, fixed=True)
    for page in range(64):
        cpu.fetch(at + page * PAGE)
    assert space.fault_count == 4


def test_truncate_takes_pages_away(space, cpu, memory):
    source = BytesSource(b"x" * 4 * PAGE)
    mapping = memory.page_cache.new_mapping(source)
    mapping.size_bytes = 4 * PAGE
    shared = space.map(None, 4 * PAGE, R | W, mapping=mapping, shared=True)
    private = space.map(None, 4 * PAGE, R | W, mapping=mapping)
    space.read(shared, 4 * PAGE)
    space.write(private, b"y" * 4 * PAGE)
    del source.data[PAGE + 10 :]
    mapping.truncate(PAGE + 10)
    assert mapping.size_bytes == PAGE + 10
    assert cpu.load(shared + 2 * PAGE) is Fault.BUS_ADRERR
    assert cpu.load(private + 2 * PAGE) is Fault.BUS_ADRERR
    assert space.read(shared + PAGE, 12) == b"x" * 10 + b"\0\0"
    assert space.read(private + PAGE, 2) == b"yy"
    assert mapping.resident == 2


def test_stack_grows_to_its_limit(space, cpu):
    top = 0x7FFF00000000
    space.stack_limit_bytes = 64 * PAGE
    space.map(top - 4 * PAGE, 4 * PAGE, R | W, fixed=True, grows_down=True, name=b"[stack]")
    assert cpu.store(top - 30 * PAGE, 1) is Fault.OK
    assert space.find(top - 30 * PAGE).name == b"[stack]"
    assert space.virtual_bytes == 30 * PAGE
    assert cpu.store(top - 64 * PAGE, 1) is Fault.OK
    assert cpu.store(top - 64 * PAGE - 1, 1) is Fault.SEGV_MAPERR
    below = space.map(top - 400 * PAGE, PAGE, R, fixed=True)
    space.stack_limit_bytes = 1000 * PAGE
    assert cpu.store(below + PAGE + 255 * PAGE, 1) is Fault.SEGV_MAPERR
    assert cpu.store(below + PAGE + 256 * PAGE, 1) is Fault.OK


def test_gaps(space):
    first = space.map(None, PAGE, R)
    assert first == space.mmap_base - PAGE
    second = space.map(None, 3 * PAGE, R | W)
    assert second == first - 3 * PAGE
    space.unmap(second + PAGE, PAGE)
    assert space.map(None, PAGE, R | W) == second + PAGE
    assert space.map(second + 1, PAGE, R) != second + PAGE
    free = second - 100 * PAGE
    assert space.map(free + PAGE + 1, PAGE, R) == free + PAGE
    fails(Errno.EEXIST, space.map, free + PAGE, PAGE, R, fixed_noreplace=True)
    fails(Errno.EINVAL, space.map, free + 1, PAGE, R, fixed=True)
    fails(Errno.EINVAL, space.map, None, 0, R)
    fails(Errno.ENOMEM, space.map, None, 1 << 47, R)
    fails(Errno.EPERM, space.map, 0, PAGE, R, fixed=True)
    fails(Errno.EINVAL, space.unmap, first + 1, PAGE)
    fails(Errno.EINVAL, space.unmap, first, 0)
    space.unmap(BASE, 100 * PAGE)


def test_limits(space):
    space.address_space_limit_bytes = 10 * PAGE
    at = space.map(None, 8 * PAGE, R | W)
    fails(Errno.ENOMEM, space.map, None, 3 * PAGE, R)
    space.map(at, 8 * PAGE, R, fixed=True)
    fails(Errno.ENOMEM, space.remap, at, 8 * PAGE, 11 * PAGE, may_move=True)
    assert space.remap(at, 8 * PAGE, 10 * PAGE, may_move=True)


def test_brk(space):
    space.brk_start = BASE + 16
    assert space.brk(0) == BASE + 16
    assert space.brk(BASE + 3 * PAGE + 5) == BASE + 3 * PAGE + 5
    heap = space.find(BASE + PAGE)
    assert (heap.start, heap.end, heap.name) == (BASE + PAGE, BASE + 4 * PAGE, b"[heap]")
    space.write(BASE + PAGE, b"z" * 3 * PAGE)
    assert space.brk(BASE + PAGE + 1) == BASE + PAGE + 1
    assert space.brk(BASE + 3 * PAGE) == BASE + 3 * PAGE
    assert space.read(BASE + 2 * PAGE, PAGE) == bytes(PAGE)
    space.map(BASE + 5 * PAGE, PAGE, R, fixed=True)
    assert space.brk(BASE + 5 * PAGE) == BASE + 3 * PAGE
    assert space.brk(BASE - PAGE) == BASE + 3 * PAGE
    assert space.brk(BASE + 16) == BASE + 16


def test_remap(space, cpu):
    at = space.map(BASE, 4 * PAGE, R | W, fixed=True)
    space.write(at, b"abc")
    space.write(at + 3 * PAGE, b"xyz")
    assert space.remap(at, 4 * PAGE, 600 * PAGE, may_move=False) == at
    space.map(at + 600 * PAGE, PAGE, R, fixed=True)
    fails(Errno.ENOMEM, space.remap, at, 600 * PAGE, 601 * PAGE, may_move=False)
    moved = space.remap(at, 600 * PAGE, 700 * PAGE, may_move=True)
    assert moved != at
    assert space.read(moved, 3) + space.read(moved + 3 * PAGE, 3) == b"abcxyz"
    assert cpu.load(at) is Fault.SEGV_MAPERR
    assert space.remap(moved, 700 * PAGE, PAGE, may_move=False) == moved
    assert cpu.load(moved + PAGE) is Fault.SEGV_MAPERR
    assert space.remap(moved, PAGE, 2 * PAGE, may_move=True, fixed_at=BASE) == BASE
    assert space.read(BASE, 3) == b"abc"
    fails(Errno.EINVAL, space.remap, BASE, 2 * PAGE, 2 * PAGE, may_move=True, fixed_at=BASE + PAGE)
    fails(Errno.EFAULT, space.remap, BASE - PAGE, PAGE, 2 * PAGE, may_move=True)
    fails(Errno.EFAULT, space.remap, BASE, 3 * PAGE, 4 * PAGE, may_move=True)


def test_remap_of_nothing_duplicates_a_shared_area(space):
    at = space.map(BASE, 2 * PAGE, R | W, shared=True, fixed=True)
    space.write(at, b"one")
    twin = space.remap(at, 0, 2 * PAGE, may_move=True)
    space.write(twin, b"two")
    assert space.read(at, 3) == b"two"


def test_advise(space, cpu):
    at = space.map(BASE, 4 * PAGE, R | W, fixed=True)
    space.write(at, b"q" * 4 * PAGE)
    space.advise(at + PAGE, PAGE, Advice.DONTNEED)
    assert space.read(at, 2 * PAGE) == b"q" * PAGE + bytes(PAGE)
    fails(Errno.EINVAL, space.advise, at + 1, PAGE, Advice.DONTNEED)
    fails(Errno.EINVAL, space.advise, at, PAGE, 999)
    fails(Errno.ENOMEM, space.advise, at + 2 * PAGE, 4 * PAGE, Advice.DONTNEED)
    assert space.read(at + 3 * PAGE, 1) == b"\0"
    space.advise(at, PAGE, Advice.DONTFORK)
    space.advise(at + PAGE, PAGE, Advice.WIPEONFORK)
    space.write(at + PAGE, b"secret")
    child = space.fork()
    assert not child.is_mapped(at, PAGE)
    assert child.read(at + PAGE, 6) == bytes(6)
    child.release()
    space.advise(at, PAGE, Advice.DOFORK)
    space.advise(at + PAGE, PAGE, Advice.KEEPONFORK)
    assert len(space.vmas) == 1
    assert space.mincore(at, 4 * PAGE)[0] == 1


def test_usercopy(space):
    at = space.map(BASE, 3 * PAGE, R | W, fixed=True)
    data = bytes(range(251)) * 40
    space.write(at + 100, data)
    assert space.read(at + 100, len(data)) == data
    assert space.read(at, 0) == b""
    space.write_u64(at + 8, 0x1122334455667788)
    assert space.read_u64(at + 8) == 0x1122334455667788
    assert space.read_u32(at + 12) == 0x11223344
    assert space.read_u64(at + 9) == int.from_bytes(space.read(at + 9, 8), "little")
    space.write_u32(at + PAGE - 2, -2)
    assert space.read_u32(at + PAGE - 2) == 0xFFFFFFFE
    assert space.compare_exchange_u32(at + 8, 0x55667788, 7) == 0x55667788
    assert space.compare_exchange_u32(at + 8, 1, 2) == 7
    space.write(at + PAGE - 5, b"0123456789\0")
    assert space.read_cstr(at + PAGE - 5, 4096) == b"0123456789"
    assert space.read_cstr(at + PAGE - 5, 11) == b"0123456789"
    fails(Errno.ENAMETOOLONG, space.read_cstr, at + PAGE - 5, 10)
    space.write(at + 3 * PAGE - 3, b"abc")
    fails(Errno.EFAULT, space.read_cstr, at + 3 * PAGE - 3, 100)
    space.zero(at + 10, 2 * PAGE)
    assert space.read(at + 10, 2 * PAGE) == bytes(2 * PAGE)


@pytest.mark.parametrize(
    "address", [0, 1, -1, BASE + PAGE, 0x7FFFFFFFEFFF, 0x7FFFFFFFF000, 1 << 47, (1 << 64) - 8, 1 << 63, 1 << 70]
)
def test_bad_pointers(space, address):
    space.map(BASE, PAGE, R | W, fixed=True)
    for call in (
        lambda: space.read(address, 8),
        lambda: space.write(address, b"12345678"),
        lambda: space.read_cstr(address, 10),
        lambda: space.read_u32(address),
        lambda: space.read_u64(address),
        lambda: space.write_u32(address, 1),
        lambda: space.write_u64(address, 1),
        lambda: space.zero(address, 8),
        lambda: space.compare_exchange_u32(address, 1, 2),
        lambda: space.futex_key(address),
        lambda: space.read(address, 1 << 62),
    ):
        fails(Errno.EFAULT, call)
    space.fault(address, FAULT_USER | FAULT_WRITE)


def test_write_to_read_only_page_is_efault(space):
    at = space.map(BASE, 2 * PAGE, R | W, fixed=True)
    space.protect(at + PAGE, PAGE, R)
    fails(Errno.EFAULT, space.write, at + PAGE - 4, b"12345678")
    assert space.read(at + PAGE - 4, 4) == b"1234"


def test_kernel_entries_are_in_every_space(space, engine):
    assert engine.ram_words[(space.cr3 >> 3) + 511] == 0x1003
    child = space.fork()
    assert engine.ram_words[(child.cr3 >> 3) + 511] == 0x1003
    child.release()


def test_huge_sparse_reservation_is_cheap(space, cpu):
    at = space.map(None, 1 << 45, 0, noreserve=True)
    space.protect(at + (1 << 40), 8 * PAGE, R | W)
    assert cpu.store(at + (1 << 40), 1) is Fault.OK
    assert cpu.store(at, 1) is Fault.SEGV_ACCERR
    space.fork().release()
    space.unmap(at, 1 << 45)
    assert paging.walk(cpu.words, space.cr3, at + (1 << 40)) == 0


def test_empty_page_tables_are_given_back(space):
    before = space.table_frames
    at = space.map(BASE, 2048 * PAGE, R | W, fixed=True)
    for page in range(0, 2048, 64):
        space.write(at + page * PAGE, b"x")
    assert space.table_frames == before + 6
    space.unmap(at, 2048 * PAGE)
    assert space.table_frames == before + 2  # the upper levels wait for the end
    space.write(space.map(at, PAGE, R | W, fixed=True), b"x")
    assert space.table_frames == before + 3


def calls_with(space, rng, value, flag):
    """Every call that takes what a program says, with values of its."""
    a, b, c = value(), value(), value()
    return [
        lambda: space.map(a, b, c & 7, fixed=flag, offset=rng.choice([0, value()]), noreserve=flag),
        lambda: space.map(a, b, c & 7, shared=flag, fixed_noreplace=not flag, grows_down=flag),
        lambda: space.unmap(a, b),
        lambda: space.protect(a, b, c & 7),
        lambda: space.remap(a, b, c, may_move=flag, fixed_at=value() if flag else None),
        lambda: space.advise(a, b, rng.choice([c, 0, 4, 8, 9, 10, 18, 22])),
        lambda: space.msync(a, b, c & 7),
        lambda: space.mincore(a, b & 0xFFFFFF),
        lambda: space.brk(a),
        lambda: space.fault(a, c & 31),
        lambda: space.read(a, b & 0xFFFF),
        lambda: space.write(a, bytes(b & 0xFFFF)),
        lambda: space.read_cstr(a, b & 0xFFFF),
        lambda: space.zero(a, b & 0xFFFF),
        lambda: space.futex_key(a),
        lambda: space.find(a),
        lambda: space.is_mapped(a, b),
        lambda: space.fork().release(),
    ]


def test_garbage_arguments_only_ever_fail_with_an_errno(space, memory):
    rng = random.Random(7)
    before = memory.frames.free_count
    edges = [0, 1, PAGE - 1, PAGE, BASE, BASE + PAGE, 0x7FFFFFFFF000, 0x7FFFFFFFE000, 1 << 47, 1 << 63, (1 << 64) - 1,
             (1 << 64) - PAGE, 8 * PAGE, 0x10000, 0xF000]  # fmt: skip

    def value():
        return rng.choice(edges) if rng.random() < 0.7 else rng.getrandbits(rng.choice([8, 16, 32, 48, 64]))

    for _ in range(6000):
        flag = rng.random() < 0.5
        call = rng.choice(calls_with(space, rng, value, flag))
        try:
            call()
        except KernelError:
            pass
        vmas = space.vmas
        assert space.virtual_bytes == sum(v.length for v in vmas)
        if len(vmas) > 40 or memory.frames.free_count < before // 2:
            space.unmap(0, 0x7FFFFFFFF000)
            assert space.resident_pages == 0
