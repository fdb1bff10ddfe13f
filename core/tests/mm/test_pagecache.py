"""The page cache alone, and under memory pressure together with address spaces."""

from __future__ import annotations

import random

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import Fault
from jefeos.mm.manager import MemoryManager
from jefeos.mm.pagecache import FileMapping
from jefeos.testing.memory import BytesSource, FakeEngine, Processor

PAGE = 4096
R, W, X = 1, 2, 4


def cached(memory, data):
    mapping = memory.page_cache.new_mapping(BytesSource(data))
    mapping.size_bytes = len(data)
    return mapping


def test_read_is_like_the_file(memory):
    data = random.Random(1).randbytes(3 * PAGE + 123)
    mapping = cached(memory, data)
    for offset, length in [(0, 10), (PAGE - 5, 10), (0, 99999), (PAGE, PAGE), (3 * PAGE, 500), (9999999, 5), (5, 0)]:
        assert mapping.read(offset, length) == data[offset : offset + length]
    assert sorted(mapping.source.reads) == [0, 1, 2, 3]
    assert mapping.resident == memory.page_cache.cached_pages == 4


def test_write_marks_dirty_and_update_does_not(memory):
    mapping = cached(memory, bytes(2 * PAGE))
    mapping.write(PAGE - 2, b"abcd")
    assert mapping.dirty == {0, 1}
    assert mapping.read(PAGE - 2, 4) == b"abcd"
    mapping.write(2 * PAGE + 7, b"grown")
    assert mapping.size_bytes == 2 * PAGE + 12
    mapping.source.data.extend(bytes(12))
    mapping.writeback()
    assert bytes(mapping.source.data) == bytes(PAGE - 2) + b"abcd" + bytes(PAGE + 5) + b"grown"
    assert mapping.source.writes == [0, 1, 2]
    assert not mapping.dirty
    mapping.writeback()
    assert mapping.source.writes == [0, 1, 2]
    mapping.update(0, b"through")
    assert not mapping.dirty
    assert mapping.read(0, 7) == b"through"
    memory.page_cache.drop_all_clean()
    mapping.update(0, b"nobody cached this")
    assert mapping.resident == 0


def test_mapping_without_source_keeps_its_pages(memory):
    mapping = memory.page_cache.new_mapping(None)
    assert mapping.read(10 * PAGE, 5) == bytes(5)
    assert mapping.read(PAGE - 1, 2 * PAGE) == bytes(2 * PAGE)
    assert mapping.resident == 0
    mapping.write(5 * PAGE + 1, b"kept")
    memory.page_cache.reclaim(10_000)
    assert mapping.read(5 * PAGE, 6) == b"\0kept\0"
    mapping.truncate(5 * PAGE + 3)
    assert mapping.read(5 * PAGE, 6) == b"\0ke\0\0\0"
    mapping.truncate(0)
    assert mapping.resident == 0
    mapping.release()
    assert memory.page_cache.mappings() == []


def test_source_that_fails(memory, space, cpu):
    class Broken(BytesSource):
        def read_page(self, index, page):
            raise KernelError(Errno.EIO)

    mapping = memory.page_cache.new_mapping(Broken(b""))
    free = memory.frames.free_count
    with pytest.raises(KernelError):
        mapping.read(0, 1)
    at = space.map(None, PAGE, R | W, mapping=mapping)
    free = memory.frames.free_count
    assert cpu.load(at) is Fault.BUS_ADRERR
    assert cpu.store(at, 1) is Fault.BUS_ADRERR
    assert memory.frames.free_count >= free - 3  # its page tables
    assert mapping.resident == 0


def test_writeback_that_fails_keeps_pages_dirty(memory):
    class Full(BytesSource):
        def write_page(self, index, data):
            if index == 1:
                raise KernelError(Errno.ENOSPC)
            super().write_page(index, data)

    mapping = memory.page_cache.new_mapping(Full(bytes(3 * PAGE)))
    mapping.write(0, b"x" * 3 * PAGE)
    with pytest.raises(KernelError) as failure:
        memory.page_cache.writeback()
    assert failure.value.errno == Errno.ENOSPC
    assert mapping.dirty == {1, 2}


def test_released_mapping_lives_while_it_is_mapped(memory, space):
    mapping = memory.page_cache.new_mapping(None)
    mapping.write(0, b"still here")
    at = space.map(None, PAGE, R, mapping=mapping)
    mapping.release()
    child = space.fork()
    space.unmap(at, PAGE)
    assert child.read(at, 10) == b"still here"
    child.release()
    assert mapping.resident == 0
    assert memory.page_cache.mappings() == []


def test_file_is_held_by_its_areas(space):
    class Counted:
        count = 0

        def ref(self):
            self.count += 1

        def unref(self):
            self.count -= 1

    file = Counted()
    at = space.map(None, 4 * PAGE, R, file=file)
    space.protect(at + PAGE, PAGE, R | W)
    assert file.count == 3
    child = space.fork()
    assert file.count == 6
    child.release()
    space.protect(at + PAGE, PAGE, R)
    assert file.count == 1
    space.unmap(at, 4 * PAGE)
    assert file.count == 0


def test_cold_files_are_reclaimed_first():
    memory = MemoryManager(FakeEngine(1 << 20))
    cold, hot = cached(memory, bytes(50 * PAGE)), cached(memory, bytes(50 * PAGE))
    cold.read(0, 50 * PAGE)
    hot.read(0, 50 * PAGE)
    memory.page_cache.reclaim(0)
    hot.read(0, 1)
    memory.page_cache.reclaim(40)
    assert (cold.resident, hot.resident) == (10, 50)


def test_file_larger_than_memory():
    memory = MemoryManager(FakeEngine(1 << 20))
    data = random.Random(2).randbytes(2 << 20)
    mapping = cached(memory, data)
    assert mapping.read(0, 2 << 20) == data
    space = memory.new_space()
    at = space.map(None, 2 << 20, R | X, mapping=mapping)
    cpu = Processor(space)
    for page in range(512):
        assert cpu.load(at + page * PAGE + 9) == data[page * PAGE + 9]
    shared = space.map(None, 2 << 20, R | W, mapping=mapping, shared=True)
    for page in range(512):
        assert cpu.store(shared + page * PAGE, page & 255) is Fault.OK  # dirty pages are written back for room
    for page in range(512):
        assert cpu.load(at + page * PAGE) == page & 255
    mapping.writeback()
    assert [mapping.source.data[page * PAGE] for page in range(512)] == [page & 255 for page in range(512)]
    space.release()


def test_private_copies_of_a_file_larger_than_memory_run_out_cleanly():
    memory = MemoryManager(FakeEngine(1 << 20))
    mapping = cached(memory, bytes(2 << 20))
    before = memory.free_frames()
    space = memory.new_space()
    at = space.map(None, 2 << 20, R | W, mapping=mapping, noreserve=True)
    cpu = Processor(space)
    results = [cpu.store(at + page * PAGE, 1) for page in range(512)]
    assert results.count(Fault.OK) > 200
    assert results[-1] is Fault.NO_MEMORY
    with pytest.raises(KernelError) as failure:
        space.fork()
    assert failure.value.errno == Errno.ENOMEM
    with pytest.raises(KernelError):
        space.write(at + (1 << 20), b"x" * (1 << 20))
    space.release()
    assert memory.free_frames() == before


@pytest.mark.parametrize("seed", range(8))
def test_random_work_in_little_memory(seed):
    """Faults whose allocations reclaim the pages that other faults just mapped: contents and counts must survive."""
    rng = random.Random(seed)
    engine = FakeEngine(96 * PAGE)
    memory = MemoryManager(engine)
    boot = memory.free_frames()
    files = [cached(memory, bytes([n + 1]) * 40 * PAGE) for n in range(3)]
    spaces = [memory.new_space()]
    expected: list[dict[int, int]] = [{}]
    for step in range(600):
        number = rng.randrange(len(spaces))
        space, known = spaces[number], expected[number]
        engine.current_cr3 = space.cr3
        action = rng.random()
        try:
            if action < 0.08:
                count = rng.randint(1, 30)
                file = rng.choice([None, *files])
                at = space.map(None, count * PAGE, rng.choice([R | W, R | W, R | W | X]), mapping=file, noreserve=True)
                for page in range(count):
                    known[at + page * PAGE] = 0 if file is None else files.index(file) + 1
            elif action < 0.14 and known:
                at = rng.choice(list(known))
                space.unmap(at, PAGE)
                del known[at]
            elif action < 0.17 and len(spaces) < 4:
                spaces.append(space.fork())
                expected.append(dict(known))
            elif action < 0.21 and len(spaces) > 1:
                spaces.pop(number).release()
                expected.pop(number)
            elif action < 0.24:
                files[rng.randrange(3)].read(0, 40 * PAGE)
            elif known:
                at = rng.choice(list(known))
                if rng.random() < 0.5:
                    value = rng.randrange(256)
                    result = Processor(space).store(at + 5, value)
                    if result is Fault.OK:
                        known[at] = value
                    else:
                        assert result is Fault.NO_MEMORY
                else:
                    result = Processor(space).load(at + 5) if rng.random() < 0.7 else space.read(at + 5, 1)[0]
                    assert result in (known[at], Fault.NO_MEMORY)
        except KernelError as error:
            if error.errno not in (Errno.ENOMEM, Errno.EFAULT):
                raise
        if step % 50 == 0:
            for space, known in zip(spaces, expected, strict=True):
                for at, value in known.items():
                    entry = space.entry(at)
                    if entry:
                        assert engine.ram[(entry & 0xFFFFFFFFFF000) + 5] == value
    for space in spaces:
        space.release()
    assert memory.free_frames() == boot
    memory.page_cache.drop_all_clean()
    assert not any(memory.frames.references)


def test_double_free_is_noticed(memory):
    pfn = memory.frames.alloc()
    memory.frames.unref(pfn)
    with pytest.raises(AssertionError):
        memory.frames.unref(pfn)


def test_info(memory, space):
    info = memory.info()
    assert info.total == 16 * (1 << 20) - 16 * PAGE
    mapping = cached(memory, bytes(PAGE))
    mapping.read(0, 1)
    at = space.map(None, PAGE, R | W, shared=True)
    space.write(at, b"x")
    after = memory.info()
    assert after.cached == 2 * PAGE
    assert after.shared == PAGE
    assert after.available == after.free + PAGE
    mapping.release()


def test_a_large_read_asks_the_source_for_runs(memory):
    """Missing pages come in one request, cached ones are not asked for again, and the end of the file is whole."""
    asked = []

    class Source(BytesSource):
        def read_pages(self, index, count):
            asked.append((index, count))
            return super().read_pages(index, count)

    data = bytes(range(256)) * 16 * 300 + b"tail"
    mapping = memory.page_cache.new_mapping(Source(data))
    mapping.size_bytes = len(data)
    mapping.read(4096 * 20, 10)
    assert mapping.read(100, len(data)) == data[100:]
    assert asked == [(0, 20), (21, 256), (277, 23)]
    assert mapping.read(0, 1 << 24) == data
    assert len(asked) == 3
    mapping.release()


def test_a_large_read_needs_no_memory(memory):
    """With every frame taken it is read all the same, and not kept."""
    data = bytes(range(256)) * 16 * 64
    mapping = memory.page_cache.new_mapping(BytesSource(data))
    mapping.size_bytes = len(data)
    taken = memory.frames.alloc_many(memory.frames.free_count)
    assert mapping.read(0, len(data)) == data
    for pfn in taken:
        memory.frames.unref(pfn)
    mapping.release()


def test_reclaiming_from_many_small_files_looks_at_few_of_them(monkeypatch):
    """Reading more files than memory has frames takes time in proportion to their number."""
    memory = MemoryManager(FakeEngine(1 << 20))
    looked = 0
    drop_clean = FileMapping.drop_clean

    def counted(mapping, limit):
        nonlocal looked
        looked += 1
        return drop_clean(mapping, limit)

    monkeypatch.setattr(FileMapping, "drop_clean", counted)
    files = [cached(memory, bytes([number % 256]) * PAGE) for number in range(2000)]
    for number, file in enumerate(files):
        assert file.read(0, 5) == bytes([number % 256]) * 5
    assert 1500 < looked < 3 * len(files)


def test_dropping_a_few_pages_looks_at_a_few(memory):
    """A file of any size that is read through a full cache costs the same for each page."""

    class Counted(dict):
        looked_at = 0

        def items(self):
            for pair in super().items():
                Counted.looked_at += 1
                yield pair

    mapping = cached(memory, bytes(500 * PAGE))
    mapping.read(0, 500 * PAGE)
    mapping.pages = Counted(mapping.pages)
    assert mapping.drop_clean(5) == 5
    assert Counted.looked_at <= 6
    assert (mapping.drop_clean(0), mapping.drop_clean(1000), mapping.resident) == (0, 495, 0)
    mapping.release()


def test_a_file_larger_than_memory_does_not_push_everything_out(memory):
    """Read from end to end it gets a share; the pages of a small file stay, and all contents are right."""
    small = memory.page_cache.new_mapping(BytesSource(b"small" * 2000))
    small.size_bytes = 10_000
    assert small.read(0, 10_000) == b"small" * 2000
    resident = small.resident
    data = bytes(range(256)) * 16 * (memory.frames.total + 500)
    large = memory.page_cache.new_mapping(BytesSource(data))
    large.size_bytes = len(data)
    for offset in range(0, len(data), 1 << 18):
        assert large.read(offset, 1 << 18) == data[offset : offset + (1 << 18)]
    assert small.resident == resident
    assert memory.frames.total < large.resident * 4 < memory.frames.total * 2
    for mapping in (small, large):
        mapping.release()


def test_pages_in_scattered_frames_are_read_right(memory):
    """What is filled and read at once may lie anywhere: frames that were given back come in any order."""
    frames = memory.frames
    taken = frames.alloc_many(300)
    frames.unref_entries([pfn for number, pfn in enumerate(taken) if number % 7 and number % 11])
    frames.unref_entries(reversed([pfn for number, pfn in enumerate(taken) if not (number % 7 and number % 11)]))
    data = b"".join([number.to_bytes(4, "little") * 1024 for number in range(290)])
    mapping = cached(memory, data)
    assert mapping.read(0, len(data)) == data
    assert mapping.resident == 290
    assert len(set(mapping.pages.values())) == 290
    assert all(frames.references[pfn] == 1 for pfn in mapping.pages.values())
    for offset, length in ((0, len(data)), (5000, 300_000), (4096, 40_000), (123, 1_000_000)):
        assert mapping.read(offset, length) == data[offset : offset + length]
    mapping.release()
