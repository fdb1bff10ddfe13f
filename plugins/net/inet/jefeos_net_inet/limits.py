"""Token buckets for what others can make us send (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 f)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

MOST_PEERS: Final = 1024
PEER_BURST: Final = 6
_SECOND_NS: Final = 1_000_000_000


class RateLimit:
    """So many messages a second in all, in bursts, and one in ``interval_ms`` to each peer, also in bursts."""

    def __init__(
        self, now_ns: Callable[[], int], per_second: Callable[[], int], burst: Callable[[], int],
        interval_ms: Callable[[], int],
    ) -> None:
        self._now_ns = now_ns
        self._per_second = per_second
        self._burst = burst
        self._interval_ms = interval_ms
        self._credit = float(burst())
        self._filled_ns = now_ns()
        self._peers: dict[Hashable, tuple[float, int]] = {}

    def allows(self, peer: Hashable) -> bool:
        """Whether a message may be sent now; if so it counts."""
        now_ns = self._now_ns()
        rate = self._per_second()
        self._credit = min(self._burst(), self._credit + (now_ns - self._filled_ns) * rate / _SECOND_NS)
        self._filled_ns = now_ns
        if self._credit < 1:
            return False
        interval_ns = self._interval_ms() * 1_000_000
        if interval_ns:
            credit, filled_ns = self._peers.pop(peer, (float(PEER_BURST), now_ns))
            credit = min(PEER_BURST, credit + (now_ns - filled_ns) / interval_ns)
            allowed = credit >= 1
            if len(self._peers) >= MOST_PEERS:
                del self._peers[next(iter(self._peers))]
            self._peers[peer] = (credit - 1 if allowed else credit, now_ns)
            if not allowed:
                return False
        self._credit -= 1
        return True
