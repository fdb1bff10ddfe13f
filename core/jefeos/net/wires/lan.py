"""A LAN segment in this process: frames from one port go to all others, and faults happen by seed.

    lan = Lan(loop.call_soon, loop.call_later_ns, seed=7, faults=Faults(loss=0.01, delay_ns=5_000_000))
    first, second = lan.port(), lan.port()

A segment without faults carries large TCP segments whole, if everybody on it accepts them. With faults the fate of each
frame is drawn from the seed in a fixed order (loss, duplication, corruption, reordering, delay), so that a run repeats.

Delivery is never from inside `send`: frames wait in a queue that one callback of the event loop empties, in order. What
is answered at once goes the same way within that callback, up to a budget, so that a conversation does not pay for a
turn of the loop with each frame. The queue is bounded; a frame that finds it full is lost, as on a switch, and counted.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from attrs import define, frozen

from jefeos.net.device import Offload
from jefeos.net.wire import Port

MOST_WAITING: Final = 100_000
MOST_ANSWERS: Final = 64
"""So many frames that are sent during a delivery are delivered with it; more wait for the next turn of the loop."""
REORDER_DELAY_NS: Final = 1_000_000
"""How much later a reordered frame arrives than it would have."""


@frozen
class Faults:
    """Probabilities from 0 to 1, and delays in nanoseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    """One bit of the frame is flipped."""
    reordering: float = 0.0
    delay_ns: int = 0
    jitter_ns: int = 0
    """A delay between 0 and this is added to each frame's."""


@define
class LanStatistics:
    """What happened to frames, in frames."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    overflowed: int = 0


class FaultInjector:
    """Draws the fate of frames from a seed, in a fixed order, so that a run repeats."""

    def __init__(self, seed: int, statistics: LanStatistics) -> None:
        self._random = random.Random(seed)
        self._statistics = statistics

    def fates(self, frame: bytes, faults: Faults) -> list[tuple[int, bytes]]:
        """What becomes of ``frame``: after how many nanoseconds something arrives, and what."""
        draw = self._random.random
        statistics = self._statistics
        lost, twice = draw() < faults.loss, draw() < faults.duplication
        damaged, late = draw() < faults.corruption, draw() < faults.reordering
        delay_ns = faults.delay_ns + int(draw() * faults.jitter_ns)
        if lost:
            statistics.lost += 1
            return []
        if damaged:
            statistics.corrupted += 1
            bit = self._random.randrange(8 * len(frame))
            flipped = bytearray(frame)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            frame = bytes(flipped)
        if late:
            statistics.reordered += 1
            delay_ns += REORDER_DELAY_NS
        statistics.duplicated += twice
        return [(delay_ns, frame)] * (1 + twice)


class LanPort(Port):
    """An end of a `Lan`."""

    def __init__(self, lan: Lan) -> None:
        super().__init__()
        self.lan = lan

    @property
    def takes_segments(self) -> bool:  # type: ignore[override]
        """Whether everybody else takes them."""
        lan = self.lan
        return lan.faults is None and all(port.accepts_segments for port in lan.ports if port is not self)

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        if self.link_up:
            self.lan.carry(self, frame)

    def close(self) -> None:
        if self in self.lan.ports:
            self.lan.ports.remove(self)


class Lan:
    """A segment. ``call_soon(callback)`` and ``call_later_ns(delay_ns, callback)`` are an event loop's."""

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        call_later_ns: Callable[[int, Callable[[], None]], Any],
        *,
        seed: int = 0,
        faults: Faults | None = None,
    ) -> None:
        self.ports: list[LanPort] = []
        self.statistics = LanStatistics()
        self.faults = faults
        self._call_soon = call_soon
        self._call_later_ns = call_later_ns
        self._injector = FaultInjector(seed, self.statistics)
        self._waiting: deque[tuple[LanPort, bytes]] = deque()
        self._scheduled = False
        self._delayed = 0

    def port(self) -> LanPort:
        """A new end."""
        port = LanPort(self)
        self.ports.append(port)
        return port

    def carry(self, source: LanPort, frame: bytes) -> None:
        """A frame from ``source`` to everybody else. HOT."""
        self.statistics.sent += 1
        if self.faults is not None:
            for delay_ns, arriving in self._injector.fates(frame, self.faults):
                self._send_later(source, arriving, delay_ns)
        else:
            self._enqueue(source, frame)

    def _enqueue(self, source: LanPort, frame: bytes) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.statistics.overflowed += 1
            return
        self._waiting.append((source, frame))
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._deliver)

    def _deliver(self) -> None:
        waiting, ports = self._waiting, self.ports
        left = budget = len(waiting) + MOST_ANSWERS
        try:
            while waiting and left:
                left -= 1
                source, frame = waiting.popleft()
                for port in ports:
                    if port is not source and port.link_up:
                        port.receiver(frame)
        finally:
            self.statistics.delivered += budget - left
            self._scheduled = bool(waiting)
            if waiting:
                self._call_soon(self._deliver)

    def _send_later(self, source: LanPort, frame: bytes, delay_ns: int) -> None:
        if not delay_ns:
            self._enqueue(source, frame)
            return
        if self._delayed >= MOST_WAITING:
            self.statistics.overflowed += 1
            return
        self._delayed += 1

        def arrive() -> None:
            self._delayed -= 1
            self._enqueue(source, frame)

        self._call_later_ns(delay_ns, arrive)
