"""Host streams: bytes in memory, pipes and regular files of the host as the guest's standard streams."""

from __future__ import annotations

import asyncio
import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.host import BytesInput, CaptureOutput
from jefeos.hostfiles import HostStreams
from jefeos.sched.wait import bridge
from jefeos.vfs.flags import (
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    POLLHUP,
    POLLIN,
    POLLOUT,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
)


class FixedClock:
    def realtime_ns(self) -> int:
        return 10**18


@pytest.fixture
def loop() -> Any:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def streams(loop: asyncio.AbstractEventLoop) -> Any:
    streams = HostStreams(FixedClock(), loop)
    yield streams
    streams.close()


def finish(loop: asyncio.AbstractEventLoop, result: Any) -> Any:
    """The value of a `MaybeAwait`."""
    if not inspect.iscoroutine(result):
        return result

    async def run() -> Any:
        return await bridge(result, loop)

    return loop.run_until_complete(asyncio.wait_for(run(), 60))


def test_bytes_input_then_end(streams: HostStreams) -> None:
    file = streams.open_source(BytesInput(b"hello"))
    assert file.poll() & POLLIN
    assert [file.read(3), file.read(100), file.read(100)] == [b"hel", b"lo", b""]
    assert file.poll() & POLLHUP
    assert file.stat().mode & S_IFMT == S_IFIFO
    with pytest.raises(KernelError) as caught:
        file.write(b"x")
    assert caught.value.errno == Errno.EBADF


def test_fed_input_waits(streams: HostStreams, loop: asyncio.AbstractEventLoop) -> None:
    source = BytesInput(closed=False)
    file = streams.open_source(source)
    assert not file.poll() & POLLIN
    loop.call_later(0.01, source.feed, b"late")
    assert finish(loop, file.read(10)) == b"late"
    loop.call_later(0.01, source.close)
    assert finish(loop, file.read(10)) == b""


def test_capture_with_limit(streams: HostStreams) -> None:
    capture = CaptureOutput(limit=4)
    file = streams.open_sink(capture)
    assert file.write(b"abc") == 3
    assert file.write(b"def") == 3
    assert (bytes(capture.data), capture.dropped_bytes, capture.truncated) == (b"abcd", 2, True)
    assert file.poll() & POLLOUT


def test_pipe_is_read_only_as_far_as_asked(streams: HostStreams, loop: asyncio.AbstractEventLoop) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"first second")
    file = streams.open_descriptor(read_end, O_RDONLY)
    assert finish(loop, file.read(5)) == b"first"
    assert os.read(read_end, 100) == b" second"
    os.close(write_end)
    assert finish(loop, file.read(5)) == b""
    os.close(read_end)


def test_nonblocking_input(streams: HostStreams, loop: asyncio.AbstractEventLoop) -> None:
    read_end, write_end = os.pipe()
    file = streams.open_descriptor(read_end, O_RDONLY | O_NONBLOCK)
    with pytest.raises(KernelError) as caught:
        file.read(10)
    assert caught.value.errno == Errno.EAGAIN
    os.write(write_end, b"data")

    async def readable() -> None:
        while not file.poll() & POLLIN:
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(readable(), 60))
    assert file.read(10) == b"data"
    os.close(write_end)
    os.close(read_end)


def test_reader_gone_is_epipe(streams: HostStreams) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    file = streams.open_descriptor(write_end, O_WRONLY)
    with pytest.raises(KernelError) as caught:
        file.write(b"x")
    assert caught.value.errno == Errno.EPIPE
    os.close(write_end)


def test_regular_file_shares_the_host_position(streams: HostStreams, tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"line one\nline two\n")
    descriptor = os.open(tmp_path / "script", os.O_RDONLY)
    file = streams.open_descriptor(descriptor, O_RDONLY)
    assert (file.stat().mode & S_IFMT, file.stat().size) == (S_IFREG, 18)
    assert file.read(9) == b"line one\n"
    assert file.pread(4, 0) == b"line"
    assert file.seek(-4, 1) == 5
    assert os.read(descriptor, 100) == b"one\nline two\n"
    os.close(descriptor)


def test_closing_stops_the_reader(streams: HostStreams, loop: asyncio.AbstractEventLoop) -> None:
    read_end, write_end = os.pipe()
    file = streams.open_descriptor(read_end, O_RDONLY)
    assert not file.poll() & POLLIN  # starts the reader
    streams.close()
    os.write(write_end, b"kept for the host")
    assert os.read(read_end, 100) == b"kept for the host"
    os.close(write_end)
    os.close(read_end)
