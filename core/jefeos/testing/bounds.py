"""Calls within bounds: what hangs, eats memory or fails with a bug of Python is told apart from an honest error.

    bounded(lambda: format.open(…), seconds=5)     its result, or the KernelError that it raised, as an answer

The alarm is the host's timer of CPU time where there is one (and the caller is the main thread): a loop without end is
cut. Memory is bounded by the address space of the process, where the host tells how large that is now. Elsewhere only
the time is looked at, afterwards.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn, TypeVar

from jefeos.errors import KernelError

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

Returned = TypeVar("Returned")

SECONDS: Final = 10.0
MEMORY_BYTES: Final = 256 << 20


class BoundsBroken(AssertionError):
    """A call took too long, took too much memory, or raised what it must not."""


class _TimeIsUp(BaseException):
    """Not an Exception: nothing that is tested may catch it by accident."""


def bounded(
    call: Callable[[], Returned], *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES, what: str = "the call"
) -> Returned | KernelError:
    """What ``call`` returns, or the KernelError that it raises. Raises `BoundsBroken` for anything else."""
    started = time.monotonic()
    try:
        with _alarm(seconds), _memory_limit(memory_bytes):
            answer: Returned | KernelError = call()
    except KernelError as error:
        error.__traceback__ = None  # it would keep the whole of the volume alive
        answer = error
    except _TimeIsUp:
        raise BoundsBroken(f"{what} did not end within {seconds} s") from None
    except (MemoryError, RecursionError) as error:
        raise BoundsBroken(f"{what}: {type(error).__name__} (bound: {memory_bytes >> 20} MiB)") from error
    except Exception as error:
        raise BoundsBroken(f"{what} raised {type(error).__name__}: {error}") from error
    took = time.monotonic() - started
    if took > seconds * 2:
        raise BoundsBroken(f"{what} took {took:.1f} s of {seconds} s")
    return answer


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> NoReturn:
        raise _TimeIsUp

    before = signal.signal(signal.SIGVTALRM, ring)  # of CPU time: a loaded machine is no hang
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _memory_limit(more_bytes: int) -> Iterator[None]:
    used = _address_space_bytes()
    if resource is None or used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + more_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int | None:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, AttributeError):
        return None
