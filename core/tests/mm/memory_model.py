"""A model of address spaces as dictionaries, and the state machine that runs both it and the real ones.

The model knows, for each page of each space, its rights and what bytes its first and last offsets hold. After every
step everything the page tables show must agree with it, every reference count must be the number of entries that
hold the frame, and at the end every frame must be free.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from jefeos.cpu import paging
from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import FAULT_FETCH, FAULT_WRITE, Fault
from jefeos.mm.frames import CODE_LIVE
from jefeos.mm.manager import MemoryManager
from jefeos.mm.space import Advice
from jefeos.testing.memory import BytesSource, FakeEngine, Processor

PAGE = 4096
OFFSETS = (0, PAGE - 1)
REGION_PAGES = 16
FIRST = (0x10000000 >> 12) + 512 - 6  # a leaf table ends inside the region
HEAP = FIRST + 200
FILE_PAGES = 6
R, W, X = 1, 2, 4

page_numbers = st.integers(0, REGION_PAGES - 1)
lengths = st.integers(1, 6)
rights = st.sampled_from([0, R, R | W, R | W, R | W, R | X, R | W | X, W, X])
byte = st.integers(1, 255)
which = st.integers(0, 7)


class Store:
    """What backs pages: a file, or shared anonymous memory."""

    def __init__(self, pages, mapping=None):
        self.mapping = mapping
        self.pages = pages  # None: without end
        self.bytes = {}

    def get(self, index, offset):
        return self.bytes.get((index, offset), 0)

    def has(self, index):
        return self.pages is None or index < self.pages


class Page:
    def __init__(self, prot, shared, store, index, own=None, name=b""):
        self.prot, self.shared, self.store, self.index, self.own, self.name = prot, shared, store, index, own, name

    def copy(self):
        return Page(self.prot, self.shared, self.store, self.index, dict(self.own) if self.own else None, self.name)

    def get(self, offset):
        if self.own is not None:
            return self.own.get(offset, 0)
        return self.store.get(self.index, offset) if self.store else 0

    def put(self, offset, value):
        if self.shared:
            self.store.bytes[self.index, offset] = value
        else:
            if self.own is None:
                self.own = {o: self.get(o) for o in OFFSETS}
            self.own[offset] = value

    def available(self):
        return self.own is not None or self.store is None or self.store.has(self.index)

    def joins(self, other):
        return (
            self.prot == other.prot
            and self.shared == other.shared
            and self.store is other.store
            and self.name == other.name
            and (self.store is None or self.index + 1 == other.index)
        )


class Model:
    def __init__(self, space):
        self.space = space
        self.cpu = Processor(space)
        self.pages = {}
        self.brk = HEAP * PAGE

    def run_end(self, page):
        """One past the last page of the area that contains ``page``."""
        while page + 1 in self.pages and self.pages[page].joins(self.pages[page + 1]):
            page += 1
        return page + 1


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.engine = FakeEngine(2 << 20)
        self.memory = MemoryManager(self.engine)
        self.free_at_boot = self.memory.free_frames()
        self.files = []
        for number in range(2):
            source = BytesSource(bytes(FILE_PAGES * PAGE)) if number == 0 else None
            mapping = self.memory.page_cache.new_mapping(source)
            mapping.size_bytes = FILE_PAGES * PAGE
            self.files.append(Store(FILE_PAGES, mapping))
        self.models = []
        self.add(Model(self.memory.new_space()))
        self.engine.current_cr3 = self.models[0].space.cr3

    def add(self, model):
        model.space.mmap_base = (FIRST + REGION_PAGES) * PAGE
        if not model.space.brk_start:
            model.space.brk_start = HEAP * PAGE
        self.models.append(model)

    def pick(self, number):
        return self.models[number % len(self.models)]

    def expect(self, errno, call, *args, **kwargs):
        with pytest.raises(KernelError) as failure:
            call(*args, **kwargs)
        assert failure.value.errno == errno

    # Rules.

    @rule(number=which, page=page_numbers, count=lengths, prot=rights, fixed=st.booleans(), shared=st.booleans(),
          backing=st.integers(0, 4), offset=st.integers(0, FILE_PAGES))
    def map(self, number, page, count, prot, fixed, shared, backing, offset):
        model = self.pick(number)
        store = self.files[backing] if backing < 2 else None
        if store is None:
            offset = 0
        at = model.space.map(
            (FIRST + page) * PAGE, count * PAGE, prot, fixed=fixed, shared=shared,
            mapping=store.mapping if store else None, offset=offset * PAGE,
        )
        first = at >> 12
        if fixed:
            assert first == FIRST + page
        else:
            assert not any(p in model.pages for p in range(first, first + count))
        if shared and store is None:
            store = Store(None)
        for p in range(count):
            model.pages[first + p] = Page(prot, shared, store, offset + p)

    @rule(number=which, page=page_numbers, count=lengths)
    def unmap(self, number, page, count):
        model = self.pick(number)
        model.space.unmap((FIRST + page) * PAGE, count * PAGE)
        for p in range(FIRST + page, FIRST + page + count):
            model.pages.pop(p, None)

    @rule(number=which, page=page_numbers, count=lengths, prot=rights)
    def protect(self, number, page, count, prot):
        model = self.pick(number)
        page += FIRST
        call = (page * PAGE, count * PAGE, prot)
        end = next((p for p in range(page, page + count) if p not in model.pages), page + count)
        if end < page + count:
            self.expect(Errno.ENOMEM, model.space.protect, *call)
        else:
            model.space.protect(*call)
        for p in range(page, end):
            model.pages[p].prot = prot

    @rule(number=which, page=page_numbers, old=lengths, new=lengths, move=st.booleans(),
          fixed=st.none() | page_numbers)
    def remap(self, number, page, old, new, move, fixed):
        model = self.pick(number)
        page += FIRST
        move = move or fixed is not None
        target = None if fixed is None else FIRST + fixed
        fixed_at = None if target is None else target * PAGE
        call = partial(model.space.remap, page * PAGE, old * PAGE, new * PAGE, may_move=move, fixed_at=fixed_at)
        if target is not None and target < page + old and page < target + new:
            return self.expect(Errno.EINVAL, call)
        if page not in model.pages:
            return self.expect(Errno.EFAULT, call)
        if target is not None:
            for p in range(target, target + new):
                model.pages.pop(p, None)
        if new <= old:
            for p in range(page + new, page + old):
                model.pages.pop(p, None)
            if target is None:
                assert call() == page * PAGE
                return None
            old = new
        end = model.run_end(page)
        if page + old > end:
            return self.expect(Errno.EFAULT, call)
        if target is None and page + old == end and not any(p in model.pages for p in range(end, page + new)):
            assert call() == page * PAGE
            self.grow(model, page, old, new, page)
            return None
        if target is None and not move:
            return self.expect(Errno.ENOMEM, call)
        at = call() >> 12
        if target is not None:
            assert at == target
        else:
            assert not any(p in model.pages for p in range(at, at + new))
        self.grow(model, page, old, new, at)
        return None

    def grow(self, model, page, old, new, at):
        last = model.pages[page + old - 1]
        moved = [model.pages.pop(page + p) for p in range(old)]
        for p in range(old, new):
            moved.append(Page(last.prot, last.shared, last.store, last.index + p - old + 1, None, last.name))
        for p, content in enumerate(moved):
            model.pages[at + p] = content

    @rule(number=which, page=page_numbers, count=lengths)
    def dont_need(self, number, page, count):
        model = self.pick(number)
        page += FIRST
        call = (page * PAGE, count * PAGE, Advice.DONTNEED)
        if all(p in model.pages for p in range(page, page + count)):
            model.space.advise(*call)
        else:
            self.expect(Errno.ENOMEM, model.space.advise, *call)
        for p in range(page, page + count):
            if p in model.pages:
                model.pages[p].own = None

    @rule(number=which, size=st.integers(-PAGE, 4 * PAGE))
    def brk(self, number, size):
        model = self.pick(number)
        wanted = HEAP * PAGE + size
        answer = model.space.brk(wanted)
        if size < 0:
            assert answer == model.brk
            return
        assert answer == wanted
        old, new = (model.brk + 4095) >> 12, (wanted + 4095) >> 12
        for p in range(new, old):
            del model.pages[p]
        for p in range(old, new):
            model.pages[p] = Page(R | W, False, None, p, name=b"[heap]")
        model.brk = wanted

    @precondition(lambda self: len(self.models) < 4)
    @rule(number=which)
    def fork(self, number):
        parent = self.pick(number)
        child = Model(parent.space.fork())
        child.pages = {p: page.copy() for p, page in parent.pages.items()}
        child.brk = parent.brk
        self.add(child)

    @precondition(lambda self: len(self.models) > 1)
    @rule(number=which)
    def exit(self, number):
        model = self.pick(number)
        self.models.remove(model)
        if self.engine.current_cr3 == model.space.cr3:
            self.engine.current_cr3 = self.models[0].space.cr3
        model.space.release()

    @rule(number=which)
    def switch(self, number):
        self.engine.current_cr3 = self.pick(number).space.cr3

    @rule(number=which, page=st.integers(0, REGION_PAGES + 2), offset=st.sampled_from(OFFSETS), value=byte,
          need=st.sampled_from([0, FAULT_WRITE, FAULT_WRITE, FAULT_FETCH]))
    def touch(self, number, page, offset, value, need):
        self.access(self.pick(number), FIRST + page, offset, value, need)

    @rule(number=which, page=st.integers(0, 4), offset=st.sampled_from(OFFSETS), value=byte)
    def touch_heap(self, number, page, offset, value):
        self.access(self.pick(number), HEAP + page, offset, value, FAULT_WRITE)

    @rule(number=which, pick=st.integers(0, 1000), offset=st.sampled_from(OFFSETS), value=byte,
          need=st.sampled_from([0, FAULT_WRITE, FAULT_WRITE, FAULT_FETCH]))
    def touch_mapped(self, number, pick, offset, value, need):
        model = self.pick(number)
        if model.pages:
            self.access(model, sorted(model.pages)[pick % len(model.pages)], offset, value, need)

    def access(self, model, page, offset, value, need):
        address = page * PAGE + offset
        content = model.pages.get(page)
        if content is None:
            expected = Fault.SEGV_MAPERR
        elif not content.prot & {0: 7, FAULT_WRITE: W, FAULT_FETCH: X}[need]:
            expected = Fault.SEGV_ACCERR
        elif not content.available():
            expected = Fault.BUS_ADRERR
        else:
            expected = Fault.OK
        self.engine.current_cr3 = model.space.cr3
        if need & FAULT_WRITE:
            assert model.cpu.store(address, value) == expected
            if expected is Fault.OK:
                content.put(offset, value)
        else:
            answer = model.cpu.fetch(address) if need else model.cpu.load(address)
            assert answer == (content.get(offset) if expected is Fault.OK else expected)

    @rule(number=which, page=page_numbers, count=st.integers(1, 4), value=byte)
    def kernel_write(self, number, page, count, value):
        model = self.pick(number)
        page += FIRST
        good = 0
        while good < count and (p := model.pages.get(page + good)) and p.prot & W and p.available():
            good += 1
        data = bytes([value]) * count * PAGE
        if good == count:
            model.space.write(page * PAGE, data)
        else:
            self.expect(Errno.EFAULT, model.space.write, page * PAGE, data)
        for p in range(page, page + good):
            for offset in OFFSETS:
                model.pages[p].put(offset, value)

    @rule(number=which, page=page_numbers, count=st.integers(1, 4))
    def kernel_read(self, number, page, count):
        model = self.pick(number)
        page += FIRST
        pages = [model.pages.get(p) for p in range(page, page + count)]
        if all(p and p.prot and p.available() for p in pages):
            data = model.space.read(page * PAGE, count * PAGE)
            seen = [data[k * PAGE + o] for k in range(count) for o in OFFSETS]
            assert seen == [p.get(o) for p in pages for o in OFFSETS]
        else:
            self.expect(Errno.EFAULT, model.space.read, page * PAGE, count * PAGE)

    @rule(file=st.integers(0, 1), index=st.integers(0, FILE_PAGES + 1), value=byte)
    def file_write(self, file, index, value):
        store = self.files[file]
        store.mapping.write(index * PAGE, bytes([value]) * PAGE)
        source = store.mapping.source
        if source is not None and len(source.data) < (index + 1) * PAGE:
            source.data.extend(bytes((index + 1) * PAGE - len(source.data)))
        store.pages = max(store.pages, index + 1)
        for offset in OFFSETS:
            store.bytes[index, offset] = value

    @rule(file=st.integers(0, 1), pages=st.integers(2, FILE_PAGES))
    def file_truncate(self, file, pages):
        store = self.files[file]
        if pages > store.pages:
            return
        store.pages = pages
        source = store.mapping.source
        if source is not None:
            del source.data[pages * PAGE :]
        store.mapping.truncate(pages * PAGE)
        store.bytes = {key: value for key, value in store.bytes.items() if key[0] < pages}
        for model in self.models:
            for page in model.pages.values():
                if page.store is store and page.index >= pages:
                    page.own = None

    @rule(action=st.sampled_from(["writeback", "reclaim", "drop", "invalidate"]))
    def cache(self, action):
        if action == "writeback":
            self.memory.page_cache.writeback()
            for store in self.files[:1]:
                for (index, offset), value in store.bytes.items():
                    assert store.mapping.source.data[index * PAGE + offset] == value
        elif action == "reclaim":
            self.memory.page_cache.reclaim(10_000)
        elif action == "drop":
            self.memory.page_cache.drop_all_clean()
        else:
            self.files[0].mapping.invalidate()

    # What must hold after every step.

    @invariant()
    def everything_agrees(self):
        if not hasattr(self, "models"):
            return
        self.engine.check_tlb()  # first: looking at pages fills it
        held = Counter()
        words = self.engine.ram_words
        executable, writable = set(), set()
        for model in self.models:
            space = model.space
            pages = 0
            for page, entry in self.entries(space):
                content = model.pages.get(page)
                pages += 1
                assert content is not None, "a page where nothing is mapped"
                pfn = (entry & paging.PTE_ADDRESS_MASK) >> 12
                held[pfn] += 1
                physical = model.cpu.translate(page * PAGE)
                assert (physical is None) == (not content.prot), "presence and PROT_NONE disagree"
                for offset in OFFSETS:
                    assert self.engine.ram[pfn * PAGE + offset] == content.get(offset)
                if entry & paging.PTE_WRITE:
                    assert content.prot & W
                    assert content.shared or self.memory.frames.refcount(pfn) == 1
                    writable.add(pfn)
                if not entry & paging.PTE_NX:
                    assert content.prot & X
                    assert self.memory.frames.code[pfn] == CODE_LIVE
                    executable.add(pfn)
            assert space.resident_pages == pages
            for level in (space._leaves, space._directories, space._pointers):
                held.update(table // 512 for table in level.values())
            held[space.cr3 >> 12] += 1
            for slot, leaf in space._leaves.items():
                directory = words[space._directories[slot >> 9] + (slot & 511)]
                assert directory & paging.PTE_ADDRESS_MASK == leaf * 8
            self.check_areas(model)
        assert not executable & writable, "a frame is writable in one place and executable in another"
        for mapping in self.memory.page_cache.mappings():
            held.update(mapping.pages.values())
            assert mapping.dirty <= mapping.pages.keys()
        assert self.memory.page_cache.cached_pages == sum(m.resident for m in self.memory.page_cache.mappings())
        references = self.memory.frames.references
        assert {pfn: count for pfn, count in enumerate(references) if count} == dict(held)
        free = self.memory.frames.free_list
        assert len(set(free)) == len(free)
        assert not any(references[pfn] for pfn in free)
        assert self.memory.frames.free_count == self.memory.frames.total - len(held)

    def entries(self, space):
        for slot, leaf in space._leaves.items():
            for index, entry in enumerate(self.engine.ram_words[leaf : leaf + 512].tolist()):
                if entry:
                    yield slot << 9 | index, entry

    def check_areas(self, model):
        space = model.space
        vmas = space.vmas
        assert [v.start for v in vmas] == space._starts
        assert space.virtual_bytes == sum(v.length for v in vmas) == len(model.pages) * PAGE
        assert space.find_gap(PAGE) == next(
            p * PAGE for p in range(FIRST + REGION_PAGES - 1, 0, -1) if p not in model.pages
        )
        mapped = {p for v in vmas for p in range(v.start >> 12, v.end >> 12)}
        assert mapped == model.pages.keys()
        for below, above in pairwise(vmas):
            assert below.end <= above.start
            assert not below.joins(above)
        for vma in vmas:
            first = model.pages[vma.start >> 12]
            assert (vma.prot, vma.shared, vma.name) == (first.prot, first.shared, first.name)
            if first.store is not None:
                assert vma.offset == first.index * PAGE
                assert vma in vma.mapping.users

    def teardown(self):
        if not hasattr(self, "models"):
            return
        self.engine.current_cr3 = 0
        for model in self.models:
            model.space.release()
        for store in self.files:
            store.mapping.release()
        assert not self.memory.page_cache.mappings()
        assert self.memory.free_frames() == self.free_at_boot
        assert not any(self.memory.frames.references)
