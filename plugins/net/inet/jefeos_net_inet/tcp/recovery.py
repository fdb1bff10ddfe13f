"""Loss: noticing it, and what is sent again (RFC 5681, 6582, 6675).

    OPEN --three duplicates, or SACK shows a loss--> RECOVERY --everything up to `point` acknowledged--> OPEN
      '----------------- timeout ----------------->  LOSS    --------------'

One account serves all: ``absent`` octets of those under way are not in the network any more, because they were
reported by SACK or, without SACK, by duplicate acknowledgments (one segment each), or are lost and not yet sent
again. The pipe of RFC 6675 is then nxt - una - absent. In RECOVERY `lost_below` comes from the scoreboard, or is
one segment without SACK (NewReno); in LOSS it is `point`: everything that was under way.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from jefeos_net_inet.tcp.scoreboard import DUPLICATE_THRESHOLD, Scoreboard

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.sender import Sender


class Phase(IntEnum):
    """Numbers of Linux's tcpi_ca_state."""

    OPEN = 0
    DISORDER = 1
    RECOVERY = 3
    LOSS = 4


class Recovery:
    """The state of loss recovery of one sender."""

    __slots__ = (
        "absent", "duplicates", "high_retransmitted", "lost_below", "phase", "point", "scoreboard", "sender",
        "undo_stamp", "undo_threshold", "undo_window",
    )  # fmt: skip

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.scoreboard = Scoreboard()
        self.phase = Phase.OPEN
        self.point = 0
        """Recovery ends when this is acknowledged."""
        self.lost_below = 0
        self.high_retransmitted = 0
        self.duplicates = 0
        """Duplicate acknowledgments in a row (counted without SACK only)."""
        self.absent = 0
        self.undo_stamp: int | None = None
        """TSval of the first retransmission after a timeout, until the next acknowledgment (Eifel, RFC 3522)."""
        self.undo_window = 0
        self.undo_threshold = 0

    @property
    def busy(self) -> bool:
        """Whether something is being sent again. HOT."""
        return self.phase >= Phase.RECOVERY

    # --- events -----------------------------------------------------------------------------------------------

    def reported(self, blocks: tuple[tuple[int, int], ...]) -> int:
        """SACK blocks, as numbers without a limit. Gives how many octets are news."""
        sender = self.sender
        una, limit = sender.una, sender.nxt
        # A block at or below una is an old duplicate (RFC 2883), or a lie.
        return sum(self.scoreboard.add(left, right) for left, right in blocks if una < left < right <= limit)

    def advanced(self, octets: int, now_ns: int, echo: int | None) -> None:
        """``una`` moved up by ``octets``."""
        sender = self.sender
        una = sender.una
        if self.scoreboard.lefts and not self.scoreboard.advance(una):
            sender.count("TCPSACKReneging")
            self.high_retransmitted = una
        if self.phase == Phase.OPEN:
            return
        if self.phase == Phase.LOSS and self.undo_stamp is not None:
            self._undo_if_spurious(echo)
        if self.phase >= Phase.RECOVERY and una >= self.point:
            self._finish()
        elif self.phase == Phase.RECOVERY and not sender.sack:
            # RFC 6582, section 3.2, partial acknowledgment: the segment that is the first now was lost too.
            self.duplicates = max(self.duplicates - max(octets // sender.segment_bytes - 1, 0), 0)
            self.high_retransmitted = una
        else:
            self.duplicates = 0
        self.update()

    def duplicate(self, news: int, now_ns: int) -> None:
        """An acknowledgment that says nothing new but that a segment arrived."""
        sender = self.sender
        if not sender.sack:
            self.duplicates += 1
        if self.phase == Phase.OPEN:
            self.phase = Phase.DISORDER
        self.update()
        if self.phase == Phase.DISORDER:
            # RFC 6582, section 4.1: after a timeout, duplicates below its point are echoes of what was sent twice.
            if sender.una < self.point and not sender.sack:
                return
            if self.duplicates >= self._threshold() or self.lost_below > sender.una:
                self._enter(now_ns)

    def _threshold(self) -> int:
        """How many duplicates mean a loss: fewer than three if no more can come (RFC 5827, early retransmit)."""
        sender = self.sender
        segments = -(-(sender.nxt - sender.una) // sender.segment_bytes)
        may_send_more = sender.queue.end > sender.nxt and sender.una + sender.window > sender.nxt
        return segments - 1 if 2 <= segments <= DUPLICATE_THRESHOLD and not may_send_more else DUPLICATE_THRESHOLD

    def _enter(self, now_ns: int) -> None:
        sender = self.sender
        sender.count("TCPSackRecovery" if sender.sack else "TCPRenoRecovery")
        sender.congestion.loss(sender.nxt - sender.una, now_ns)
        self.phase = Phase.RECOVERY
        self.point = sender.nxt
        self.high_retransmitted = sender.una
        self.update()

    def timed_out(self, now_ns: int, stamp: int | None) -> None:
        """RFC 5681, section 3.1, and RFC 6675, section 5.1: start over from ``una``."""
        sender = self.sender
        if self.phase != Phase.LOSS:
            self.undo_stamp = stamp
            self.undo_window, self.undo_threshold = sender.congestion.window, sender.congestion.threshold
            sender.congestion.timeout(sender.nxt - sender.una, now_ns)
        else:
            self.undo_stamp = None
            sender.congestion.window = sender.congestion.segment_bytes
        self.phase = Phase.LOSS
        self.point = sender.nxt
        self.high_retransmitted = sender.una
        self.duplicates = 0
        self.update()

    def _undo_if_spurious(self, echo: int | None) -> None:
        """The first acknowledgment after a timeout answers the original, not what was sent again: nothing was
        lost."""
        stamp, self.undo_stamp = self.undo_stamp, None
        if echo is None or stamp is None or not 0 < (stamp - echo & 0xFFFF_FFFF) < 0x8000_0000:
            return
        congestion = self.sender.congestion
        congestion.window, congestion.threshold = self.undo_window, self.undo_threshold
        self.sender.count("TCPSpuriousRTOs")
        self.point = self.sender.una

    def _finish(self) -> None:
        if self.phase == Phase.RECOVERY:
            # RFC 6582, section 3.2, step 3: no burst.
            congestion, sender = self.sender.congestion, self.sender
            congestion.window = min(
                congestion.threshold,
                max(sender.nxt - sender.una - self.scoreboard.sacked, sender.segment_bytes) + 3 *
                sender.segment_bytes,
            )
            congestion.window = max(congestion.window, 2 * sender.segment_bytes)
        self.phase = Phase.OPEN
        self.duplicates = 0
        self.high_retransmitted = 0

    # --- the account ------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Bring `lost_below`, `absent` and the phase between OPEN and DISORDER up to date."""
        sender, board = self.sender, self.scoreboard
        una = sender.una
        if self.phase == Phase.LOSS:
            lost_below = self.point
        elif sender.sack:
            lost_below = board.lost_below(una, sender.segment_bytes, self._threshold()) if board.lefts else una
        elif self.phase == Phase.RECOVERY:
            lost_below = min(una + sender.segment_bytes, sender.nxt)
        else:
            lost_below = una
        self.lost_below = lost_below
        again = max(min(self.high_retransmitted, lost_below), una)
        lost = lost_below - again - board.held_between(again, lost_below) if lost_below > again else 0
        gone = board.sacked
        if not sender.sack:
            gone = min(self.duplicates * sender.segment_bytes, max(sender.nxt - una - lost, 0))
        self.absent = gone + lost
        if self.phase <= Phase.DISORDER:
            self.phase = Phase.DISORDER if board.lefts or self.duplicates else Phase.OPEN

    def next_hole(self) -> tuple[int, int] | None:
        """The next lost octets that were not sent again yet (NextSeg, rule 1)."""
        sender = self.sender
        return self.scoreboard.hole(max(self.high_retransmitted, sender.una), self.lost_below)

    def sent_again(self, end: int) -> None:
        """Everything lost below ``end`` is under way again."""
        self.high_retransmitted = end
        self.update()
