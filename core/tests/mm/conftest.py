"""Fixtures of the memory tests. Each space is checked for leaked frames when its test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jefeos.mm.manager import MemoryManager
from jefeos.mm.space import AddressSpace
from jefeos.testing.memory import FakeEngine, Processor


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(16 << 20)


@pytest.fixture
def memory(engine: FakeEngine) -> MemoryManager:
    return MemoryManager(engine)


@pytest.fixture
def space(memory: MemoryManager) -> Iterator[AddressSpace]:
    """A space, and afterwards the check that its release returns every frame."""
    before = memory.frames.free_count
    space = memory.new_space()
    memory.engine.current_cr3 = space.cr3
    yield space
    if memory.engine.current_cr3 == space.cr3:
        memory.engine.check_tlb()
    space.release()
    memory.page_cache.drop_all_clean()
    kept = sum(mapping.resident for mapping in memory.page_cache.mappings())
    assert memory.frames.free_count + kept == before
    references = memory.frames.references
    assert sum(references) == kept


@pytest.fixture
def cpu(space: AddressSpace) -> Processor:
    return Processor(space)
