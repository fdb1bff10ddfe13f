"""The retransmission timeout (RFC 6298): smoothed round-trip time, its variation, back-off.

Two figures are Linux's instead of the RFC's: the smallest timeout is 200 ms (the RFC says it SHOULD be 1 s), the
largest 120 s (it MUST be at least 60 s).
"""

from __future__ import annotations

from typing import Final

MILLISECOND_NS: Final = 1_000_000
INITIAL_NS: Final = 1_000 * MILLISECOND_NS
SMALLEST_NS: Final = 200 * MILLISECOND_NS
LARGEST_NS: Final = 120_000 * MILLISECOND_NS


class RetransmissionTimeout:
    """All times in nanoseconds; ``smoothed_ns`` is 0 before the first sample."""

    __slots__ = ("_base_ns", "_backoff", "current_ns", "latest_ns", "smallest_ns", "smoothed_ns", "variation_ns")

    def __init__(self) -> None:
        self.smoothed_ns = 0
        self.variation_ns = 0
        self.latest_ns = 0
        self.smallest_ns = 0
        """Shortest round trip that was seen."""
        self._base_ns = INITIAL_NS
        self._backoff = 0
        self.current_ns = INITIAL_NS
        """The timeout now."""

    @property
    def backoff(self) -> int:
        """How often the timeout was doubled."""
        return self._backoff

    @backoff.setter
    def backoff(self, times: int) -> None:
        if times != self._backoff:
            self._backoff = times
            self._compute()

    def _compute(self) -> None:
        self.current_ns = min(self._base_ns << min(self._backoff, 12), LARGEST_NS)

    def sample(self, round_trip_ns: int) -> None:
        """A measurement (section 2), never of a segment that was sent twice (Karn, section 3)."""
        if round_trip_ns <= 0:
            round_trip_ns = 1
        self.latest_ns = round_trip_ns
        if not self.smallest_ns or round_trip_ns < self.smallest_ns:
            self.smallest_ns = round_trip_ns
        if self.smoothed_ns:
            deviation = abs(self.smoothed_ns - round_trip_ns)
            self.variation_ns = (3 * self.variation_ns + deviation) // 4
            self.smoothed_ns = (7 * self.smoothed_ns + round_trip_ns) // 8
        else:
            self.smoothed_ns = round_trip_ns
            self.variation_ns = round_trip_ns // 2
        # As Linux has it, the smallest timeout bounds the variation: else a steady path times out at any hiccup.
        self._base_ns = self.smoothed_ns + max(4 * self.variation_ns, SMALLEST_NS)
        self._compute()

    def back_off(self) -> None:
        """The timer ran out (section 5.5)."""
        self.backoff += 1

    def restart(self) -> None:
        """Something was acknowledged."""
        self.backoff = 0

    def without_sample(self) -> None:
        """Section 5.7: the SYN was sent more than once, so nothing is known; begin data with 3 s."""
        if not self.smoothed_ns:
            self._base_ns = 3 * INITIAL_NS
            self._compute()
