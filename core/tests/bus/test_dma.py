"""The DMA heap: its invariants under any sequence of calls, and its errors."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from jefeos.bus.dma import GRANULE_BYTES, DmaBuffer, DmaHeap
from jefeos.errors import KernelError, UsageError

BASE, SIZE = 4096, 64 * 1024


class HeapMachine(RuleBasedStateMachine):
    """Blocks keep their contents, never overlap, and come back: whatever is allocated and freed in whatever order."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.heap = DmaHeap(memoryview(bytearray(BASE + SIZE)), BASE, SIZE)
        self.live: dict[int, tuple[DmaBuffer, int]] = {}
        self.serial = 0

    @rule(target=blocks, size=st.integers(1, SIZE // 4), alignment=st.sampled_from([1, 16, 64, 256, 4096, 16384]))
    def allocate(self, size: int, alignment: int) -> DmaBuffer | None:
        free_before = self.heap.free_bytes
        try:
            block = self.heap.allocate(size, alignment)
        except KernelError:
            assert self.heap.free_bytes == free_before
            return None
        assert not block.address % alignment and len(block.view) == size
        assert block.address >= BASE and block.address + size <= BASE + SIZE
        assert not any(block.view)
        self.serial = self.serial % 255 + 1
        block.view[:] = bytes([self.serial]) * size
        self.live[block.address] = (block, self.serial)
        return block

    @rule(block=consumes(blocks))
    def free(self, block: DmaBuffer | None) -> None:
        if block is not None:
            _, serial = self.live.pop(block.address)
            assert bytes(block.view) == bytes([serial]) * block.size
            self.heap.free(block)

    @invariant()
    def holds_together(self) -> None:
        self.heap.check()
        assert self.heap.block_count == len(self.live)

    def teardown(self) -> None:
        for block, _ in self.live.values():
            self.heap.free(block)
        self.heap.check()
        assert self.heap.free_bytes == SIZE
        assert self.heap.allocate(SIZE).address == BASE  # one range again


HeapMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHeap = HeapMachine.TestCase


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_neighbours_join_on_both_sides(order: tuple[int, ...]) -> None:
    heap = DmaHeap(memoryview(bytearray(3 * GRANULE_BYTES)), 0, 3 * GRANULE_BYTES)
    blocks = [heap.allocate(GRANULE_BYTES) for _ in range(3)]
    for number in order:
        heap.free(blocks[number])
        heap.check()
    assert heap.allocate(3 * GRANULE_BYTES).address == 0


def test_exhaustion_is_an_error_and_changes_nothing() -> None:
    heap = DmaHeap(memoryview(bytearray(SIZE)), 0, SIZE)
    kept = heap.allocate(SIZE - GRANULE_BYTES)
    with pytest.raises(KernelError, match="ENOMEM"):
        heap.allocate(GRANULE_BYTES + 1)
    heap.check()
    assert heap.allocate(GRANULE_BYTES).address == SIZE - GRANULE_BYTES
    heap.free(kept)
    heap.check()


def test_a_double_free_is_refused() -> None:
    heap = DmaHeap(memoryview(bytearray(SIZE)), 0, SIZE)
    block = heap.allocate(100)
    heap.free(block)
    with pytest.raises(UsageError, match="not given out"):
        heap.free(block)
    heap.check()


@pytest.mark.parametrize(("size", "alignment"), [(0, 64), (-1, 64), (64, 0), (64, 48)])
def test_nonsense_is_refused(size: int, alignment: int) -> None:
    with pytest.raises(UsageError):
        DmaHeap(memoryview(bytearray(SIZE)), 0, SIZE).allocate(size, alignment)
