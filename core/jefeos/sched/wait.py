"""Waiting: the one way in which kernel code blocks.

A kernel coroutine (a system call that must wait, an applet, a service) awaits a `WaitQueue`. The await yields
a `Park` token to whoever drives the coroutine:

    system call or applet  --Park-->  the executor: takes the task off the CPU and puts it on the queues
    asyncio task           --Park-->  `bridge()`: turns the token into a future of the kernel's event loop

so that the same code runs under both drivers, and a hand-off between two programs on a pipe never pays for a
turn of the host's selector.

Rules:

* A wake-up is a hint. A waiter loops: ``while not condition: await queue.wait()``.
* A queue is for tasks of one kernel and belongs to the host thread that runs it; there are no locks.
* A waiting system call can be abandoned at any await: `Interrupted` is thrown into it when a signal with a
  handler, or a fatal one, arrives. State that must outlive the call is kept in kernel objects, never only in
  the coroutine's frame. `Interrupted.restart` says whether the call may be issued again.
* ``OUTSIDE`` is a token too: "resume me once the CPU has left the system-call callback". Calls that replace the
  registers or the address space (fork, execve, rt_sigreturn) need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from jefeos.errors import Errno, KernelError

T = TypeVar("T")

MaybeAwait: TypeAlias = T | Coroutine[Any, Any, T]
"""A value, or - only when the caller must wait for it - a coroutine that gives the value."""


class Restart(Enum):
    """What happens to a system call that a signal interrupted (signal(7), "Interruption of system calls")."""

    BY_HANDLER = "by handler"
    """Issued again if the handler has SA_RESTART (Linux ERESTARTSYS)."""
    NEVER = "never"
    """Fails with EINTR whatever SA_RESTART says: poll, nanosleep, sigsuspend … (Linux ERESTARTNOHAND)."""


class Interrupted(KernelError):
    """A signal ended a wait. Fails the call with EINTR unless it is restarted."""

    def __init__(self, restart: Restart = Restart.BY_HANDLER) -> None:
        super().__init__(Errno.EINTR, "interrupted by a signal")
        self.restart = restart


class Waiter(Protocol):
    """Whoever is parked on wait queues; ``wake`` takes it off all of them and makes it run again."""

    def wake(self) -> bool:
        """False if it was up already (timed out, cancelled): the wake-up is then another one's."""
        ...


class Park:
    """The token that asks the driver to wait for any of ``queues``, or until ``timeout_ns`` has passed.

    Awaiting it gives True when a queue was woken and False on time-out.
    """

    __slots__ = ("interruptible", "queues", "timeout_ns")

    def __init__(
        self, queues: tuple[WaitQueue, ...], timeout_ns: int | None = None, interruptible: bool = True
    ) -> None:
        self.queues = queues
        self.timeout_ns = timeout_ns
        self.interruptible = interruptible

    def __await__(self) -> Generator[Park, bool, bool]:
        return (yield self)


class _Outside:
    """The token type of `OUTSIDE`."""

    __slots__ = ()

    def __await__(self) -> Generator[_Outside, Any, None]:
        yield self

    def __repr__(self) -> str:
        return "OUTSIDE"


OUTSIDE: Final = _Outside()


class WaitQueue:
    """Tasks that wait for one condition, woken in the order in which they came."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def __len__(self) -> int:
        return len(self._waiters)

    def wait(self, timeout_ns: int | None = None, *, interruptible: bool = True) -> Park:
        """Await this to sleep until a wake-up (True) or the time-out in nanoseconds (False)."""
        return Park((self,), timeout_ns, interruptible)

    def wake_all(self) -> int:
        """Wake every waiter; returns how many there were."""
        waiters = self._waiters
        if not waiters:
            return 0
        if len(waiters) == 1:  # HOT: the other end of a pipe
            return int(waiters.popitem()[0].wake())
        woken = list(waiters)
        waiters.clear()
        return sum([waiter.wake() for waiter in woken])

    def wake(self, count: int) -> int:
        """Wake the ``count`` longest waiters; returns how many were woken."""
        woken = 0
        while woken < count and self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            woken += waiter.wake()
        return woken

    def wake_one(self) -> int:
        """Wake the longest waiter; returns 1, or 0 if there was none."""
        return self.wake(1)

    def add(self, waiter: Waiter) -> None:
        """Driver side: put a waiter at the end."""
        self._waiters[waiter] = None

    def discard(self, waiter: Waiter) -> None:
        """Driver side: take a waiter off, if it is here."""
        self._waiters.pop(waiter, None)

    def move_to(self, other: WaitQueue, count: int) -> int:
        """Move up to ``count`` waiters to another queue without waking them (futex requeue)."""
        moved = 0
        while moved < count and self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            other._waiters[waiter] = None
            moved_hook = getattr(waiter, "moved", None)
            if moved_hook is not None:
                moved_hook(self, other)
            moved += 1
        return moved


def wait_any(queues: Iterable[WaitQueue], timeout_ns: int | None = None) -> Park:
    """Await this to sleep until any of the queues is woken (True) or the time-out passes (False)."""
    return Park(tuple(queues), timeout_ns)


def sleep_ns(duration_ns: int, *, interruptible: bool = True) -> Park:
    """Await this to sleep; gives False when the time has passed."""
    return Park((), duration_ns, interruptible)


class _FutureWaiter:
    """An asyncio task parked on wait queues."""

    __slots__ = ("future", "queues")

    def __init__(self, future: asyncio.Future[bool], queues: tuple[WaitQueue, ...]) -> None:
        self.future = future
        self.queues = queues
        for queue in queues:
            queue.add(self)

    def wake(self) -> bool:
        if self.future.done():
            return False
        self.future.set_result(True)
        return True

    def moved(self, source: WaitQueue, target: WaitQueue) -> None:
        self.queues = tuple(target if queue is source else queue for queue in self.queues)

    def expire(self) -> None:
        if not self.future.done():
            self.future.set_result(False)

    def leave(self) -> None:
        for queue in self.queues:
            queue.discard(self)


class bridge(Coroutine[Any, Any, T]):
    """Runs a kernel coroutine as an asyncio coroutine: every `Park` becomes a future of the running loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self._body = self._drive(coroutine, loop)
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._body.send(value)

    def throw(self, *arguments: Any) -> Any:
        try:
            return self._body.throw(*arguments)
        except BaseException:
            self._coroutine.close()  # it may never have been started
            raise

    def close(self) -> None:
        self._body.close()
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._body

    @staticmethod
    def _drive(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, T]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                token = coroutine.throw(error) if error is not None else coroutine.send(value)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            value, error = None, None
            try:
                if isinstance(token, Park):
                    value = yield from _park_on_future(token, loop)
                elif token is not OUTSIDE:
                    value = yield token
            except BaseException as caught:  # the driver's cancellation belongs to the coroutine
                error = caught


def _park_on_future(token: Park, loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, bool]:
    future: asyncio.Future[bool] = loop.create_future()
    waiter = _FutureWaiter(future, token.queues)
    timer = None
    if token.timeout_ns is not None:
        timer = loop.call_later(max(token.timeout_ns, 0) / 1e9, waiter.expire)
    try:
        return (yield from future)
    finally:
        waiter.leave()
        if timer is not None:
            timer.cancel()
