"""Loss by time: what was sent clearly before something that has arrived is lost (RACK, RFC 8985, section 6).

    sent at:   t1        t2       t3        t4         the ACK reports what was sent at t3:
               |lost     |lost?   |arrived  |          lost at  sent + round trip + reordering window

One figure for each delivery replaces counting duplicates: a repetition that is lost is noticed like anything else, a
few lost ones at the end of a burst too, and reordering only costs patience. The reordering window is nothing until
reordering was seen and while there is reason enough to hurry (three segments reported, or a recovery under way), else
a quarter of the shortest round trip; it grows with each round trip in which the peer reports duplicates (RFC 2883),
that is in which something was sent again needlessly. ``tcp_recovery`` is a mask as with Linux: 2 keeps the window from
growing, 4 keeps three reported segments from closing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos_net_inet.tcp.sequence import HALF, MASK, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jefeos_net_inet.tcp.flight import Sent
    from jefeos_net_inet.tcp.recovery import Recovery

DUPLICATE_THRESHOLD: Final = 3
WINDOW_STATIC, WINDOW_ALWAYS = 2, 4
"""Bits of ``tcp_recovery``."""
_PERSISTENCE: Final = 16
"""So many recoveries without a duplicate, and the window is a small one again."""
_SMALLEST_WINDOW_NS: Final = 1000
"""Clocks of simulations stand still."""


class Rack:
    """What is known of the order in which things arrive."""

    __slots__ = (
        "_persistence", "_recovery", "_round_end", "_round_trip_ns", "_sent_ns", "_steps", "check_at_ns",
        "highest", "reordered", "sample_ns",
    )  # fmt: skip

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery
        self._sent_ns = 0
        """When the newest transmission that has arrived was sent."""
        self._round_trip_ns = 0
        """Its round trip."""
        self.highest = 0
        """The highest octet that has arrived (FACK)."""
        self.reordered = False
        self._steps = 1
        """The reordering window in quarters of the shortest round trip."""
        self._persistence = 0
        self._round_end = 0
        """Until this is acknowledged further duplicates are of the same round; 0: no round."""
        self.check_at_ns = NEVER
        """When to look again, without an acknowledgment."""
        self.sample_ns = 0
        """Round trip of the newest arrival that was sent once only, for the retransmission timeout; 0: none."""

    def arrived(self, records: Iterable[Sent], now_ns: int, echo: int | None) -> None:
        """Transmissions that an acknowledgment covers for the first time (steps 2 and 3). ``echo`` is its TSecr."""
        sender = self._recovery.sender
        newest_ns = 0
        for record in records:
            round_trip_ns = now_ns - record.sent_ns
            if record.again:
                # Which copy arrived? Not the last one, if the echo is older than it, or it would have been too fast.
                if echo is not None and (echo - sender.connection.stamp_clock(record.sent_ns)) & MASK >= HALF:
                    continue
                if round_trip_ns < sender.timeout.smallest_ns:
                    continue
            else:
                if record.end < self.highest:
                    self.reordered = True
                newest_ns = max(newest_ns, record.sent_ns)
            if record.sent_ns > self._sent_ns:
                self._sent_ns = record.sent_ns
                self._round_trip_ns = round_trip_ns
            if record.end > self.highest:
                self.highest = record.end
        if newest_ns:
            self.sample_ns = max(now_ns - newest_ns, 1)

    def duplicates_reported(self) -> None:
        """The peer got something twice (step 4): patience was too short."""
        sender = self._recovery.sender
        if self._round_end and sender.una >= self._round_end:
            self._round_end = 0
        if not self._round_end and not self._setting & WINDOW_STATIC:
            self._round_end = sender.nxt
            self._steps += 1
            self._persistence = _PERSISTENCE

    def recovered(self) -> None:
        """A recovery has ended."""
        self._persistence -= 1
        if self._persistence <= 0:
            self._steps = 1

    @property
    def _setting(self) -> int:
        return int(self._recovery.sender.connection.layer.setting("tcp_recovery"))

    def window_ns(self) -> int:
        """The reordering window."""
        recovery = self._recovery
        timeout = recovery.sender.timeout
        if not self.reordered and not self._setting & WINDOW_ALWAYS:
            board = recovery.scoreboard
            enough = (DUPLICATE_THRESHOLD - 1) * recovery.sender.segment_bytes
            if recovery.busy or len(board.lefts) >= DUPLICATE_THRESHOLD or board.sacked > enough:
                return 0
        window_ns = min(self._steps * timeout.smallest_ns // 4, timeout.smoothed_ns)
        return max(window_ns, _SMALLEST_WINDOW_NS)

    def judge(self, now_ns: int) -> None:
        """Step 5: note as lost what is. Sets `check_at_ns` for what may be soon."""
        self.check_at_ns = NEVER
        flight = self._recovery.flight
        if not flight.by_time or not self._sent_ns:
            return
        patience_ns = self._round_trip_ns + self.window_ns()
        lost = []
        for record in flight.by_time:
            if record.sent_ns >= self._sent_ns:
                break
            deadline_ns = record.sent_ns + patience_ns
            if deadline_ns > now_ns:
                self.check_at_ns = deadline_ns
                break
            lost.append(record)
        for record in lost:
            if record.again:
                self._recovery.sender.count("TCPLostRetransmit")
            flight.lose(record)
