"""The kernel's event loop: an asyncio loop whose time is the kernel's clock.

Host input, timers and kernel services are ordinary asyncio; user tasks run inside one of its callbacks (see
`sched.executor`). Only public methods of `asyncio.SelectorEventLoop` are overridden:

    time()              the kernel's clock, in seconds
    run_until_complete()  raises what asyncio would swallow: an exception of the host that is no `Exception`
    create_task()       through a task factory that lets kernel coroutines await wait queues (`wait.bridge`)
    create_connection(), create_server(), create_datagram_endpoint(), getaddrinfo(), getnameinfo()
                        over the kernel's own network stack (`jefeos.net.endpoints`), so that asyncio libraries run
                        inside of the system unchanged; start_tls() is asyncio's own

With a `VirtualClock` the selector does not sleep: it looks once for ready host descriptors, and if there are none
it moves the clock to the next timer. It sleeps for real only when there is no timer at all, that is when all that
can happen is input from the host.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jefeos.sched.clock import Clock, VirtualClock
from jefeos.sched.wait import bridge

if TYPE_CHECKING:
    from jefeos.net.endpoints import Endpoints
    from jefeos.net.networking import Networking


class JumpingSelector(selectors.BaseSelector):
    """A selector that moves a virtual clock forward instead of sleeping."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._inner = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self._inner.select(None)
        ready = self._inner.select(0)
        if not ready and timeout > 0:
            self._clock.advance(int(timeout * 1e9) + 1)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class KernelLoop(asyncio.SelectorEventLoop):
    """The event loop of one kernel. It runs only inside `Kernel.run_until`."""

    def __init__(self, clock: Clock) -> None:
        self._kernel_clock = clock
        super().__init__(JumpingSelector(clock) if isinstance(clock, VirtualClock) else None)
        self._escaped: BaseException | None = None
        self._net: Networking | None = None
        self._endpoints: Endpoints | None = None
        self.set_task_factory(_bridged_task)

    def attach_network(self, net: Networking) -> None:
        """What connections are made over."""
        self._net = net

    @property
    def endpoints(self) -> Endpoints:
        """asyncio's network calls. Raises RuntimeError for a loop without a network."""
        if self._endpoints is None:
            from jefeos.net.endpoints import Endpoints

            if self._net is None:
                raise RuntimeError("this event loop belongs to no kernel: it has no network")
            self._endpoints = Endpoints(self, self._net)
        return self._endpoints

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:
        return await self.endpoints.create_connection(*arguments, **options)

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        return await self.endpoints.create_server(*arguments, **options)

    async def create_datagram_endpoint(self, *arguments: Any, **options: Any) -> Any:
        return await self.endpoints.create_datagram_endpoint(*arguments, **options)

    async def getaddrinfo(self, *arguments: Any, **options: Any) -> Any:
        return await self.endpoints.getaddrinfo(*arguments, **options)

    async def getnameinfo(self, *arguments: Any, **options: Any) -> Any:
        return await self.endpoints.getnameinfo(*arguments, **options)

    def time(self) -> float:
        return self._kernel_clock.monotonic_ns() / 1e9

    def run_until_complete(self, future: Any) -> Any:
        try:
            return super().run_until_complete(future)
        except RuntimeError:
            error, self._escaped = self._escaped, None
            if error is None:
                raise
            raise error from None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Asyncio only logs what a callback raises. A test's time limit or an exit must end the run."""
        error = context.get("exception")
        if error is None or isinstance(error, (Exception, asyncio.CancelledError)):
            super().call_exception_handler(context)
            return
        self._escaped = error
        self.stop()

    def call_later_ns(self, delay_ns: int, callback: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        """`call_later` in nanoseconds; a delay in the past runs at the next turn."""
        return self.call_later(max(delay_ns, 0) / 1e9, callback, *arguments)


def _bridged_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(bridge(coroutine, loop), loop=loop, **options)
