"""Pipes and FIFOs, with the coroutines driven by hand: who waits, who is woken, what arrives."""

from __future__ import annotations

import inspect
import random
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import Interrupted
from jefeos.vfs import flags as f
from jefeos.vfs.buffers import BufferAccount
from jefeos.vfs.pipe import DEFAULT_CAPACITY_BYTES, Pipe


def errno_of(function: Any, *arguments: Any) -> int:
    with pytest.raises(KernelError) as caught:
        function(*arguments)
    return caught.value.errno


@pytest.fixture
def ends(world: Any) -> Any:
    return world.vfs.pipe(world.root)


def test_what_goes_in_comes_out(ends: Any) -> None:
    reader, writer = ends
    data = b"x" * 8192
    assert writer.write(data) == 8192
    assert reader.read(8192) is data  # the very object: nothing was copied
    writer.write(b"hello")
    writer.write(b"world")
    assert reader.available == 10
    assert [reader.read(3), reader.read(100)] == [b"hel", b"loworld"]


def test_byte_by_byte(ends: Any) -> None:
    reader, writer = ends
    for byte in range(256):
        writer.write(bytes([byte]))
    assert b"".join(reader.read(1) for _ in range(256)) == bytes(range(256))
    writer.write(bytes(range(256)))
    assert b"".join(reader.read(1) for _ in range(256)) == bytes(range(256))


def test_random_sizes_keep_the_stream(ends: Any) -> None:
    reader, writer = ends
    rng = random.Random(1)
    sent, received = bytearray(), bytearray()
    for _ in range(3000):
        if rng.random() < 0.5 and writer.pipe.room > 5000:
            data = rng.randbytes(rng.choice((1, 2, 60, 70, 4096, 5000)))
            sent += data
            writer.write(data)
        elif reader.available:
            received += reader.read(rng.choice((1, 3, 64, 4096, 9000)))
        assert reader.available == len(sent) - len(received)
    received += reader.read(1 << 20) if reader.available else b""
    assert sent == received


def test_end_of_file_and_broken_pipe(ends: Any, world: Any) -> None:
    reader, writer = ends
    writer.write(b"last words")
    writer.unref()
    assert reader.poll() == f.POLL_READABLE | f.POLLHUP
    assert reader.read(100) == b"last words"
    assert reader.read(100) == b""
    assert reader.poll() == f.POLLHUP
    reader, writer = world.vfs.pipe(world.root)
    reader.unref()
    assert errno_of(writer.write, b"x") == Errno.EPIPE
    assert writer.write(b"") == 0
    assert writer.poll() == f.POLL_WRITABLE | f.POLLERR


def test_wrong_end(ends: Any) -> None:
    reader, writer = ends
    assert errno_of(reader.write, b"x") == Errno.EBADF
    assert errno_of(writer.read, 1) == Errno.EBADF
    assert errno_of(reader.seek, 0, 0) == Errno.ESPIPE
    assert errno_of(reader.pread, 1, 0) == Errno.ESPIPE
    assert errno_of(reader.truncate, 0) == Errno.EINVAL
    assert errno_of(lambda: reader.mapping) == Errno.ENODEV


def test_reader_waits_and_is_woken(ends: Any, start: Any) -> None:
    reader, writer = ends
    waiting = start(reader.read(10))
    assert not waiting.finished
    writer.write(b"abc")
    assert waiting.woken
    assert waiting.run_while_woken().result == b"abc"


def test_two_readers_one_gets_it(ends: Any, start: Any) -> None:
    reader, writer = ends
    first, second = start(reader.read(10)), start(reader.read(10))
    writer.write(b"abc")
    first.run_while_woken()
    second.run_while_woken()
    assert first.result == b"abc"
    assert not second.finished
    writer.unref()
    assert second.run_while_woken().result == b""


def test_writer_waits_for_room(ends: Any, start: Any) -> None:
    reader, writer = ends
    data = bytes(range(256)) * 1000  # four times the capacity
    waiting = start(writer.write(data))
    received = b""
    while not waiting.finished:
        assert reader.available == DEFAULT_CAPACITY_BYTES or len(received) + reader.available == len(data)
        received += reader.read(5000)
        waiting.run_while_woken()
    assert waiting.result == len(data)
    while reader.available:
        received += reader.read(1 << 16)
    assert received == data


def test_small_writes_are_atomic(ends: Any, start: Any) -> None:
    reader, writer = ends
    writer.write(b"f" * (DEFAULT_CAPACITY_BYTES - 100))
    waiting = start(writer.write(b"g" * 101))
    assert reader.available == DEFAULT_CAPACITY_BYTES - 100  # not one byte of it went in
    reader.read(1)
    waiting.run_while_woken()
    assert waiting.result == 101


def test_nonblocking(ends: Any) -> None:
    reader, writer = ends
    reader.set_flags(f.O_NONBLOCK)
    writer.set_flags(f.O_NONBLOCK)
    assert errno_of(reader.read, 1) == Errno.EAGAIN
    assert writer.write(b"f" * (DEFAULT_CAPACITY_BYTES - 100)) == DEFAULT_CAPACITY_BYTES - 100
    assert not writer.poll() & f.POLLOUT
    assert errno_of(writer.write, b"g" * 101) == Errno.EAGAIN
    assert writer.write(b"g" * 5000) == 100  # longer than PIPE_BUF: what fits
    assert errno_of(writer.write, b"g" * 5000) == Errno.EAGAIN
    reader.read(f.PIPE_BUF)
    assert writer.poll() & f.POLLOUT


def test_interrupted_write_reports_what_went_in(ends: Any, start: Any) -> None:
    _, writer = ends
    waiting = start(writer.write(b"x" * 100_000))
    assert waiting.step(throw=Interrupted()).result == DEFAULT_CAPACITY_BYTES
    waiting = start(writer.write(b"y" * 10))
    waiting.step(throw=Interrupted())
    assert isinstance(waiting.error, Interrupted)


def test_readers_leave_a_waiting_writer(ends: Any, start: Any) -> None:
    reader, writer = ends
    waiting = start(writer.write(b"x" * 70_000))
    reader.unref()
    assert waiting.run_while_woken().result == DEFAULT_CAPACITY_BYTES
    assert errno_of(writer.write, b"x") == Errno.EPIPE


def test_resize() -> None:
    pipe = Pipe(BufferAccount())
    assert pipe.resize(1) == 4096
    assert pipe.resize(5000) == 8192
    pipe.put(b"x" * 5000)
    assert errno_of(pipe.resize, 4096) == Errno.EBUSY
    assert errno_of(pipe.resize, 2 << 20) == Errno.EPERM
    assert pipe.resize(2 << 20, privileged=True) == 2 << 20
    assert errno_of(pipe.resize, -1) == Errno.EINVAL


def test_poll_queues_belong_to_the_end(ends: Any) -> None:
    reader, writer = ends
    assert reader.poll_queues() == (reader.pipe.read_queue,)
    assert writer.poll_queues() == (writer.pipe.write_queue,)


# --- FIFOs -------------------------------------------------------------------------------------------------


@pytest.fixture
def fifo(world: Any) -> Any:
    world.vfs.mknod(world.root, b"/fifo", f.S_IFIFO | 0o666)
    return lambda flags: world.vfs.open(world.root, b"/fifo", flags)


def test_fifo_ends_wait_for_each_other(fifo: Any, start: Any) -> None:
    reading = start(fifo(f.O_RDONLY))
    assert not reading.finished
    writer = fifo(f.O_WRONLY)
    assert not inspect.iscoroutine(writer)
    reader = reading.run_while_woken().result
    writer.write(b"through")
    assert reader.read(10) == b"through"
    writer.unref()
    assert reader.read(10) == b""


def test_fifo_opener_sees_a_peer_that_left_at_once(fifo: Any, start: Any) -> None:
    reading = start(fifo(f.O_RDONLY))
    writer = fifo(f.O_WRONLY)
    writer.write(b"gone")
    writer.unref()
    reader = reading.run_while_woken().result
    assert reader.read(10) == b"gone"
    assert reader.read(10) == b""


def test_fifo_nonblocking(fifo: Any) -> None:
    assert errno_of(fifo, f.O_WRONLY | f.O_NONBLOCK) == Errno.ENXIO
    reader = fifo(f.O_RDONLY | f.O_NONBLOCK)
    assert reader.poll() == 0  # no hang-up before the first writer
    writer = fifo(f.O_WRONLY | f.O_NONBLOCK)
    writer.write(b"x")
    writer.unref()
    assert reader.read(5) == b"x"
    assert reader.poll() == f.POLLHUP
    both = fifo(f.O_RDWR)
    both.write(b"self")
    assert both.read(4) == b"self"


def test_fifo_interrupted_open_leaves_no_end(fifo: Any, start: Any, world: Any) -> None:
    reading = start(fifo(f.O_RDONLY))
    reading.step(throw=Interrupted())
    assert isinstance(reading.error, Interrupted)
    assert errno_of(fifo, f.O_WRONLY | f.O_NONBLOCK) == Errno.ENXIO
    inode = world.vfs.resolve(world.root, b"/fifo").inode
    assert inode.open_count == 0
    assert inode.pipe is None


def test_fifo_contents_go_with_the_last_end(fifo: Any) -> None:
    both = fifo(f.O_RDWR)
    both.write(b"forgotten")
    both.unref()
    reader = fifo(f.O_RDONLY | f.O_NONBLOCK)
    assert reader.read(10) == b""
