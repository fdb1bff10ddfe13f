"""The device behind ``lo``: what is sent comes back, in order, once the sender has returned to the event loop.

A system call does not wait for that: it calls `settle` at its end (`NetworkStack.settle`). Only what has then still not
come to rest, a long answer to an answer, is left to the loop.

Nothing is ever computed or cut: frames come with unfinished checksums and whole large segments, and are believed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from jefeos.net.device import Features, NetDevice, Offload

from jefeos_net_inet.timers import Timers
from jefeos_net_inet.wire.ethernet import NO_MAC

MTU: Final = 65_536
MOST_WAITING_BYTES: Final = 16 << 20
MOST_ANSWERS: Final = 32


class LoopbackDevice(NetDevice):
    """See the module's text."""

    features = Features.TX_CHECKSUM | Features.TSO | Features.RX_CHECKSUM
    mtu = MTU
    link_up = True

    def __init__(self, timers: Timers) -> None:
        super().__init__()
        self.mac = NO_MAC
        self._timers = timers
        self._waiting: deque[bytes | memoryview] = deque()
        self._waiting_bytes = 0
        self._full = False
        self._is_coming = False

    def transmit(self, frame: bytes | memoryview, offload: Offload | None = None) -> bool:
        statistics = self.statistics
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self._full = True
            return False
        if not self._is_coming:
            self._is_coming = True
            self._timers.soon(self._come)
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        statistics.tx_packets += 1
        statistics.tx_bytes += len(frame) - 14
        return True

    def _come(self) -> None:
        self._is_coming = False
        self._deliver()

    def settle(self) -> None:
        """HOT: deliver now, and what is sent in answer."""
        for _ in range(MOST_ANSWERS):
            if not self._waiting:
                break
            self._deliver()

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        statistics = self.statistics
        for frame in waiting:
            statistics.rx_packets += 1
            statistics.rx_bytes += len(frame) - 14
            self.receiver(frame)  # type: ignore[arg-type]
        if self._full:
            self._full = False
            self.writable()

    def set_promiscuous(self, on: bool) -> None:
        """There is nothing that it does not take."""

    def set_multicast(self, addresses: Iterable[bytes]) -> None:
        """Groups are no matter here."""
