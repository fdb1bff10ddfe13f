"""Congestion control: how many octets may be under way. Pluggable by name (the option ``tcp_congestion``).

    acknowledged(octets, now)   new data arrived at the peer, and the window was used fully
    loss(flight, now)           a loss was noticed: gives the new slow-start threshold, which becomes the window
    timeout(flight, now)        the retransmission timer ran out: one segment remains (the loss window)

All figures are octets. Both algorithms count acknowledged octets instead of acknowledgments, without RFC 3465's
limit: a receiver that takes large segments whole acknowledges many at once, and one that splits its acknowledgments
gains nothing.
"""

from __future__ import annotations

from typing import Final

INITIAL_SEGMENTS: Final = 10
"""RFC 6928."""
SMALLEST_SEGMENTS: Final = 2
_UNLIMITED: Final = 1 << 40


class NewReno:
    """Slow start and congestion avoidance of RFC 5681; recovery itself is in recovery.py."""

    name = "reno"

    def __init__(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.window = INITIAL_SEGMENTS * segment_bytes
        self.threshold = _UNLIMITED
        """Slow-start threshold."""
        self._credit = 0

    def acknowledged(self, octets: int, now_ns: int, round_trip_ns: int) -> None:
        """HOT."""
        if self.window < self.threshold:
            growth = min(octets, self.threshold - self.window)
            self.window += growth
            octets -= growth
            if not octets:
                return
        self._avoid(octets, now_ns, round_trip_ns)

    def _avoid(self, octets: int, now_ns: int, round_trip_ns: int) -> None:
        self._credit += octets
        if self._credit >= self.window:
            self._credit -= self.window
            self.window += self.segment_bytes

    def loss(self, flight: int, now_ns: int) -> int:
        """RFC 5681, equation 4. In a row of recoveries ``flight`` counts what SACK reported: the window bounds it."""
        self._credit = 0
        self.threshold = max(min(flight, self.window) // 2, SMALLEST_SEGMENTS * self.segment_bytes)
        self.window = self.threshold
        return self.threshold

    def timeout(self, flight: int, now_ns: int) -> None:
        """RFC 5681, section 3.1."""
        self.loss(flight, now_ns)
        self.window = self.segment_bytes

    def restart(self) -> None:
        """After a pause longer than the retransmission timeout (RFC 5681, section 4.1)."""
        self.window = min(self.window, INITIAL_SEGMENTS * self.segment_bytes)

    def resegment(self, segment_bytes: int) -> None:
        """Segments have another size now."""
        self.segment_bytes = segment_bytes
        self.window = max(self.window, segment_bytes)


class Cubic(NewReno):
    """RFC 9438: the window is a cubic function of the time since the last loss; never less than Reno would have.

        W(t) = C (t - K)^3 + W_max,   K = cbrt((W_max - cwnd_epoch) / C)      in segments and seconds
    """

    name = "cubic"
    C: Final = 0.4
    BETA: Final = 0.7

    def __init__(self, segment_bytes: int) -> None:
        super().__init__(segment_bytes)
        self._highest = 0.0
        """W_max, in segments."""
        self._epoch_ns: int | None = None
        self._inflection_s = 0.0
        """K."""
        self._reno = 0.0
        """W_est."""

    def _avoid(self, octets: int, now_ns: int, round_trip_ns: int) -> None:
        segment_bytes = self.segment_bytes
        window = self.window / segment_bytes
        if self._epoch_ns is None:
            self._epoch_ns = now_ns
            self._highest = max(self._highest, window)
            self._inflection_s = ((self._highest - window) / self.C) ** (1 / 3)
            self._reno = window
        ahead_s = (now_ns - self._epoch_ns + round_trip_ns) / 1e9
        target = self.C * (ahead_s - self._inflection_s) ** 3 + self._highest
        target = min(max(target, window), 1.5 * window)
        # Section 4.3: what Reno would do with this decrease factor, until it has caught up with the old window.
        alpha = 1.0 if self._reno >= self._highest else 3 * (1 - self.BETA) / (1 + self.BETA)
        self._reno += alpha * octets / self.window
        if self._reno > target:
            self.window = max(self.window, int(self._reno * segment_bytes))
        else:
            self.window += int((target - window) / window * octets)

    def loss(self, flight: int, now_ns: int) -> int:
        window = self.window / self.segment_bytes
        # Section 4.7: fast convergence leaves room for newcomers.
        self._highest = window * (1 + self.BETA) / 2 if window < self._highest else window
        self._epoch_ns = None
        self._credit = 0
        self.threshold = max(int(min(flight, self.window) * self.BETA), SMALLEST_SEGMENTS * self.segment_bytes)
        self.window = self.threshold
        return self.threshold

    def restart(self) -> None:
        super().restart()
        self._epoch_ns = None


ALGORITHMS: Final[dict[str, type[NewReno]]] = {"cubic": Cubic, "reno": NewReno}
"""By the names of net.ipv4.tcp_available_congestion_control."""
