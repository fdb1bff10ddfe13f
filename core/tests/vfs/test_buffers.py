"""Pipes and sockets cannot take more of the host's memory than their account has."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.vfs.buffers import BufferAccount
from jefeos.vfs.flags import O_NONBLOCK
from jefeos.vfs.pipe import DEFAULT_CAPACITY_BYTES, MINIMUM_CAPACITY_BYTES

LIMIT = 1 << 20


@pytest.fixture
def world(new_world: Callable[[], Any]) -> Any:
    world = new_world()
    world.vfs.buffers = BufferAccount(LIMIT)
    return world


def test_pipes_shrink_and_then_end(world: Any) -> None:
    vfs, task = world.vfs, world.root
    pipes = []
    with pytest.raises(KernelError) as refused:
        while True:
            pipes.append(vfs.pipe(task, O_NONBLOCK))
    assert refused.value.errno == Errno.ENFILE
    capacities = [reader.pipe.capacity for reader, _ in pipes]
    assert sum(capacities) == vfs.buffers.used_bytes <= LIMIT
    assert capacities[0] == DEFAULT_CAPACITY_BYTES
    assert capacities[-1] == MINIMUM_CAPACITY_BYTES
    for reader, writer in pipes:
        assert writer.write(b"x" * (1 << 20)) == reader.pipe.capacity
        reader.unref()
        writer.unref()
    del pipes, reader, writer
    gc.collect()
    assert vfs.buffers.used_bytes == 0


def test_no_pipe_grows_past_the_account_not_even_for_root(world: Any) -> None:
    reader, writer = world.vfs.pipe(world.root)
    with pytest.raises(KernelError) as refused:
        reader.pipe.resize(LIMIT * 2, privileged=True)
    assert refused.value.errno == Errno.EPERM
    assert reader.pipe.resize(LIMIT // 2) == LIMIT // 2
    assert reader.pipe.resize(MINIMUM_CAPACITY_BYTES) == MINIMUM_CAPACITY_BYTES
    assert world.vfs.buffers.used_bytes == MINIMUM_CAPACITY_BYTES
    writer.unref()
    reader.unref()


def test_a_fifo_gives_its_buffer_back(world: Any) -> None:
    vfs, task = world.vfs, world.root
    vfs.mknod(task, b"/fifo", 0o010644)
    for _ in range(3):
        reader = vfs.open(task, b"/fifo", O_NONBLOCK)
        assert vfs.buffers.used_bytes == DEFAULT_CAPACITY_BYTES
        reader.unref()
        del reader
        gc.collect()
        assert vfs.buffers.used_bytes == 0
