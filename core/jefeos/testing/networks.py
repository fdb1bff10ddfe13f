"""Network stacks on a LAN in this process, in virtual time: for tests of stacks, and of what stands on them.

    network = LanOfStacks(make_stack, stations=2, faults=Faults(loss=0.05))
    first, second = network.stacks              # 10.0.0.1/24 and 10.0.0.2/24 on their eth0
    network.run(3.0)                            # three seconds pass; or network.run(coroutine function)
    network.close()                             # fails if a stack left a timer, or failed in one

``make_stack(loop, clock, entropy, log)`` is what the hook jefeos_network_stack does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from jefeos.net.address import Address, parse_address
from jefeos.net.stack import Interface, NetworkStack
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Faults, Lan, LanPort
from jefeos.sched.clock import Clock, Entropy, VirtualClock
from jefeos.sched.loop import KernelLoop

MakeStack: TypeAlias = Callable[[KernelLoop, Clock, Entropy, logging.Logger], NetworkStack]


def station_mac(number: int) -> bytes:
    """The MAC of a station."""
    return bytes.fromhex("02000000") + number.to_bytes(2, "big")


def station_address(number: int, network: str = "10.0.0.0") -> Address:
    """The address of a station."""
    return (int.from_bytes(parse_address(network), "big") + number).to_bytes(4, "big")


class LanOfStacks:
    """Stacks that share a segment; the station with number 1 is the first."""

    def __init__(
        self, make_stack: MakeStack, stations: int = 2, *, seed: int = 1, faults: Faults | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.loop = KernelLoop(self.clock)
        self.lan = Lan(self.loop.call_soon, self.loop.call_later_ns, seed=seed, faults=faults)
        self.failures: list[str] = []
        """Exceptions that callbacks of the loop have raised."""
        self.loop.set_exception_handler(
            lambda _loop, context: self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
        )
        self._make_stack = make_stack
        self._seed = seed
        self.stacks: list[NetworkStack] = []
        for number in range(1, stations + 1):
            self.plug(self.add_stack(), number)

    def add_stack(self) -> NetworkStack:
        """One more, plugged into nothing yet."""
        number = len(self.stacks) + 1
        log = logging.getLogger(f"jefeos.test.station{number}")
        self.stacks.append(self._make_stack(self.loop, self.clock, Entropy(self._seed * 1000 + number), log))
        return self.stacks[-1]

    def plug(
        self, stack: NetworkStack, number: int, network: str = "10.0.0.0", *, lan: Lan | None = None
    ) -> Interface:
        """Plug a stack into the segment (or another one) as a station, with an address of /24."""
        interface = stack.add_device(WireDevice((lan or self.lan).port(), station_mac(number)))
        interface.add_address(station_address(number, network), 24)
        interface.set_up(True)
        return interface

    def spy(self) -> tuple[LanPort, list[bytes]]:
        """Another end of the segment, and the frames that come out there."""
        port = self.lan.port()
        port.accepts_segments = True
        frames: list[bytes] = []
        port.receiver = frames.append
        return port, frames

    def run(self, what: Callable[[], Awaitable[None]] | float) -> None:
        """Let time pass: so many seconds, or until ``what()`` is done."""
        self.loop.run_until_complete(what() if callable(what) else asyncio.sleep(what))

    def close(self) -> None:
        """Every stack ends. Raises AssertionError if one leaves a timer, or if anything has failed in a callback."""
        for stack in self.stacks:
            stack.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        scheduled = getattr(self.loop, "_scheduled", ())
        left = [timer for timer in scheduled if not timer.cancelled()]
        self.loop.close()
        if left:
            raise AssertionError(f"timers are left: {left}")
        if self.failures:
            raise AssertionError("; ".join(self.failures[:5]))
