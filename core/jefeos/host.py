"""Streams of the host: what a program run by JefeOS gets as standard input, output and error.

::

    guest read(0)  --> File --> Source   host descriptor | bytes in memory
    guest write(1) --> File --> Sink     host descriptor | bytes in memory

Model and rules

* A `Source` or `Sink` is the part that touches the host; inode and file above it (`jefeos.hostfiles`) are ordinary
  kernel objects, so that dup, fork, fstat, poll and ``/proc/self/fd`` work as for any other file.
* Input from pipes and the like is read by a daemon thread, and only when somebody waits for it, no more bytes than
  were asked for: what a program does not read stays with the host (``(jefeos run head -n1; cat)``). Regular
  files of the host are read directly and can be sought in, as shells do with their script.
* Output is written at once. A reader that went away is EPIPE to the program, never an error of the kernel.
* A terminal is not handled here but by `jefeos.tty.console`.

Host errors are translated by name: the numbers of `Errno` are Linux's, the host's may be others.
"""

from __future__ import annotations

import os
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Protocol

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import WaitQueue

CHUNK_BYTES = 1 << 16


def kernel_error(error: OSError) -> KernelError:
    """The host's error as a guest sees it, by name; EIO for one that Linux does not have."""
    import errno as host_errno  # only to turn the host's number into its name

    name = host_errno.errorcode.get(error.errno or 0, "")
    return KernelError(Errno.__members__.get(name, Errno.EIO), error.strerror or "")


class HostReader:
    """Reads a host descriptor on a daemon thread, one chunk for each `request`.

    ``deliver`` is called on the loop's thread with the bytes, b"" at the end or after an error. `close` ends the
    thread (on hosts without `select` for such descriptors only after the next chunk).
    """

    def __init__(self, descriptor: int, loop: AbstractEventLoop, deliver: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._deliver = deliver
        self._wanted = threading.Semaphore(0)
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self.pending = False

    def request(self, count: int = CHUNK_BYTES) -> None:
        """Ask for up to `count` bytes; nothing happens while an earlier request is under way."""
        if self.pending or self._closed:
            return
        self.pending = True
        self._count = count
        if self._thread is None:
            if os.name == "posix":
                self._wake = os.pipe()
            self._thread = threading.Thread(target=self._run, name="jefeos-host-input", daemon=True)
            self._thread.start()
        self._wanted.release()

    def close(self) -> None:
        """Stop reading; a chunk that is under way is dropped."""
        if self._closed:
            return
        self._closed = True
        self._wanted.release()
        if self._wake is not None:
            os.close(self._wake[1])  # the thread sees the end of the pipe and closes the other end

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            if self._closed or not self._wait_readable():
                break
            try:
                data = os.read(self._descriptor, self._count)
            except BlockingIOError:
                self._wanted.release()
                continue
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._arrived, data)
            except RuntimeError:  # the loop was closed: the system is gone
                break
        if self._wake is not None:
            os.close(self._wake[0])

    def _wait_readable(self) -> bool:
        """Wait until the descriptor has something; False when `close` was called meanwhile."""
        if self._wake is None:
            return True
        import select

        try:
            ready, _, _ = select.select([self._descriptor, self._wake[0]], [], [])
        except (OSError, ValueError):  # not selectable here: the read itself waits
            return not self._closed
        return self._wake[0] not in ready

    def _arrived(self, data: bytes) -> None:
        self.pending = False
        if not self._closed:
            self._deliver(data)


class Source(Protocol):
    """Where input comes from."""

    queue: WaitQueue

    def take(self, count: int) -> bytes | None:
        """Up to `count` bytes; b"" at the end; None if there is nothing yet."""
        ...

    def want(self, count: int) -> None:
        """Somebody waits: get `count` bytes and wake `queue`."""
        ...

    @property
    def readable(self) -> bool:
        """Whether `take` has something to give, the end included."""
        ...

    @property
    def ended(self) -> bool:
        """Whether everything was taken and nothing will come any more."""
        ...


class Sink(Protocol):
    """Where output goes."""

    def put(self, data: bytes) -> int:
        """Write; returns how much was taken. Raises `KernelError` (EPIPE …)."""
        ...


class BytesInput:
    """Input from memory: all at once, or fed piece by piece until `close`."""

    def __init__(self, data: bytes = b"", *, closed: bool = True) -> None:
        self.queue = WaitQueue()
        self._data = bytearray(data)
        self._closed = closed

    def feed(self, data: bytes) -> None:
        """Add input. Call it on the kernel's thread."""
        self._data += data
        self.queue.wake_all()

    def close(self) -> None:
        """No more input will come."""
        self._closed = True
        self.queue.wake_all()

    def take(self, count: int) -> bytes | None:
        data = bytes(self._data[:count])
        del self._data[:count]
        return data if data or self._closed else None

    def want(self, count: int) -> None:
        """Nothing to do: `feed` will come or not."""

    @property
    def readable(self) -> bool:
        return bool(self._data) or self._closed

    @property
    def ended(self) -> bool:
        return self._closed and not self._data


class HostInput:
    """Input from a host descriptor that is no regular file, read when somebody waits for it."""

    def __init__(self, descriptor: int, loop: AbstractEventLoop) -> None:
        self.queue = WaitQueue()
        self._reader = HostReader(descriptor, loop, self._arrived)
        self._data = bytearray()
        self._ended = False

    def take(self, count: int) -> bytes | None:
        data = bytes(self._data[:count])
        del self._data[:count]
        return data if data or self._ended else None

    def want(self, count: int) -> None:
        if not self._ended:
            self._reader.request(min(count, CHUNK_BYTES))

    @property
    def readable(self) -> bool:
        return bool(self._data) or self._ended

    @property
    def ended(self) -> bool:
        return self._ended and not self._data

    def close(self) -> None:
        """Stop the reader thread."""
        self._reader.close()

    def _arrived(self, data: bytes) -> None:
        if data:
            self._data += data
        else:
            self._ended = True
        self.queue.wake_all()


class HostOutput:
    """Output to a host descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def put(self, data: bytes) -> int:
        try:
            return write_all(self.descriptor, data)
        except OSError as error:
            raise kernel_error(error) from None


class CaptureOutput:
    """Output kept in memory. Past `limit` bytes the rest is counted and dropped."""

    def __init__(self, limit: int | None = None) -> None:
        self.data = bytearray()
        self.limit = limit
        self.dropped_bytes = 0

    def put(self, data: bytes) -> int:
        room = len(data) if self.limit is None else max(0, self.limit - len(self.data))
        self.data += data[:room]
        self.dropped_bytes += max(0, len(data) - room)
        return len(data)

    @property
    def truncated(self) -> bool:
        """Whether something was dropped."""
        return self.dropped_bytes > 0


def write_all(descriptor: int, data: bytes) -> int:
    """Write everything to a host descriptor, waiting where the host left it in non-blocking mode."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            import select

            select.select([], [descriptor], [])
    return len(data)
