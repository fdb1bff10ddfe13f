"""Loss: noticing it, and what is sent again (RFC 8985 with SACK; RFC 5681, 6582 without).

    OPEN --RACK says that something is lost, or three duplicates--> RECOVERY --all up to `point` acknowledged--> OPEN
      '----------------- timeout ----------------->  LOSS    --------------'

One account serves all: ``absent`` octets of those under way are not in the network any more, because they were
reported by SACK or, without SACK, by duplicate acknowledgments (one segment each), or are lost and not yet sent
again. The pipe of RFC 6675 is then nxt - una - absent. What is lost is noted in the records of flight.py: by rack.py,
or without SACK the first segment (NewReno); at a timeout everything that was under way.

Losses at the end of a burst, which no later segment can show, are asked for by a probe (TLP, RFC 8985, section 7):
after two round trips of silence a new segment is sent, or the last one again; what comes back is evidence for RACK.
Beyond the RFC, and as QUIC does (RFC 9002, section 6.2), silence during a recovery is asked too, and if there is no
answer then the first segment goes out again after twice that time, and so on. All of that happens before the
retransmission timeout, which no probe delays, and adds one segment each time to what the congestion window allows.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from jefeos_net_inet.tcp.flight import Flight
from jefeos_net_inet.tcp.rack import DUPLICATE_THRESHOLD, Rack
from jefeos_net_inet.tcp.scoreboard import Scoreboard

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.sender import Sender


class Phase(IntEnum):
    """Numbers of Linux's tcpi_ca_state."""

    OPEN = 0
    DISORDER = 1
    RECOVERY = 3
    LOSS = 4


OPEN, DISORDER, RECOVERY, LOSS = Phase.OPEN, Phase.DISORDER, Phase.RECOVERY, Phase.LOSS


class Recovery:
    """The state of loss recovery of one sender."""

    __slots__ = (
        "absent", "at_once", "duplicates", "flight", "phase", "point", "probe_end", "probe_is_new", "probe_right",
        "probes", "rack", "scoreboard", "sender", "undo_stamp", "undo_threshold", "undo_window",
    )  # fmt: skip

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.scoreboard = Scoreboard()
        self.flight = Flight()
        self.rack = Rack(self)
        self.phase = OPEN
        self.point = 0
        """Recovery ends when this is acknowledged."""
        self.duplicates = 0
        """Duplicate acknowledgments in a row (counted without SACK only)."""
        self.absent = 0
        self.at_once = False
        """The next repetition does not wait for the congestion window (RFC 6675, section 5, step 4.3; RFC 6582)."""
        self.probe_end = 0
        """A tail loss probe is out, and was sent when this was nxt; 0: none."""
        self.probe_is_new = False
        """It was not a repetition."""
        self.probe_right = 0
        """Where the last repetition as a probe ended."""
        self.probes = 0
        """So many probes in a row without an answer."""
        self.undo_stamp: int | None = None
        """TSval of the first repetition of a recovery, until something new is acknowledged (Eifel, RFC 3522)."""
        self.undo_window = 0
        self.undo_threshold = 0

    @property
    def busy(self) -> bool:
        """Whether something is being sent again. HOT."""
        return self.phase >= RECOVERY

    # --- acknowledgments --------------------------------------------------------------------------------------

    def advanced(self, octets: int, now_ns: int, echo: int | None) -> None:
        """``una`` moved up by ``octets``, and something was not in order before or is now."""
        sender, flight = self.sender, self.flight
        una = sender.una
        if self.scoreboard.lefts and not self.scoreboard.advance(una):
            sender.count("TCPSACKReneging")
            flight.taken_back(una, sender.nxt)
        if self.phase is OPEN:
            return
        undone = self.undo_stamp is not None and self._undo_if_spurious(echo)
        if undone or (self.phase >= RECOVERY and una >= self.point):
            self._finish(undone)
        elif self.phase is RECOVERY and not sender.sack:
            # RFC 6582, section 3.2, partial acknowledgment: the segment that is the first now was lost too.
            self.duplicates = max(self.duplicates - max(octets // sender.segment_bytes - 1, 0), 0)
            flight.lose_first(sender.segment_bytes)
            self.at_once = True
        else:
            self.duplicates = 0
        self.update()

    def reported(self, blocks: tuple[tuple[int, int], ...], ack: int, now_ns: int, echo: int | None) -> bool:
        """SACK blocks, as numbers without a limit. Whether they bring news."""
        sender, board = self.sender, self.scoreboard
        una, limit = sender.una, sender.nxt
        left, right = blocks[0]
        if right <= ack or (len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]):
            self._reported_twice(right)
        arrived = []
        news = False
        for left, right in blocks:
            if una < left < right <= limit:  # else an old duplicate, or a lie
                for start, end in board.add(left, right):
                    news = True
                    arrived += self.flight.selected(start, end, sender.segment_bytes)
        if news:
            self.rack.arrived(sorted(arrived, key=lambda record: record.end), now_ns, echo)
        return news

    def _reported_twice(self, right: int) -> None:
        """A block of what had arrived before (RFC 2883)."""
        if right != self.probe_right:
            self.rack.duplicates_reported()
        elif not self.probe_is_new:
            self.probe_end = 0  # the probe was needless, but it was no haste of RACK's

    def judge(self, now_ns: int) -> None:
        """With SACK, after an acknowledgment or when RACK wanted to look again: what is lost by now?"""
        self.rack.judge(now_ns)
        if self.flight.lost and self.phase <= DISORDER:  # just now, or since a recovery that has ended meanwhile
            self._enter(now_ns)
        self.update()
        if self.rack.check_at_ns <= self.sender.retransmit_at_ns:
            self.sender.connection.arm(self.rack.check_at_ns)

    def duplicate(self, now_ns: int) -> None:
        """Without SACK: an acknowledgment that says nothing new but that a segment arrived."""
        sender = self.sender
        self.duplicates += 1
        if self.phase is OPEN:
            self.phase = DISORDER
        # RFC 6582, section 4.1: after a timeout, duplicates below its point are echoes of what was sent twice.
        if self.phase is DISORDER and sender.una >= self.point and self.duplicates >= self._threshold():
            self.flight.lose_first(sender.segment_bytes)
            self._enter(now_ns)
        self.update()

    def _threshold(self) -> int:
        """How many duplicates mean a loss: fewer than three if no more can come (RFC 5827, early retransmit)."""
        sender = self.sender
        segments = -(-(sender.nxt - sender.una) // sender.segment_bytes)
        may_send_more = sender.queue.end > sender.nxt and sender.una + sender.window > sender.nxt
        return segments - 1 if 2 <= segments <= DUPLICATE_THRESHOLD and not may_send_more else DUPLICATE_THRESHOLD

    def _enter(self, now_ns: int) -> None:
        sender = self.sender
        sender.count("TCPSackRecovery" if sender.sack else "TCPRenoRecovery")
        self._remember(sender.connection.stamp_clock(now_ns) if sender.connection.stamps else None)
        sender.congestion.loss(sender.nxt - sender.una, now_ns)
        self._tell_reduced()
        self.phase = RECOVERY
        self.point = sender.nxt
        self.at_once = True
        self.probe_end = 0

    def _tell_reduced(self) -> None:
        """RFC 3168, section 6.1.2: the peer hears of every reduction."""
        ecn = self.sender.connection.ecn
        if ecn is not None:
            ecn.reduced(self.sender.nxt)

    # --- timeouts ---------------------------------------------------------------------------------------------

    def timed_out(self, now_ns: int, stamp: int | None) -> None:
        """RFC 5681, section 3.1, and RFC 8985, section 6.3: start over from ``una``."""
        sender = self.sender
        if self.phase is not LOSS:
            self._remember(stamp)
            sender.congestion.timeout(sender.nxt - sender.una, now_ns)
        else:
            self.undo_stamp = None
            sender.congestion.window = sender.congestion.segment_bytes
        self._tell_reduced()
        self.phase = LOSS
        self.point = sender.nxt
        self.duplicates = 0
        self.probe_end = 0
        self.flight.lose_all()
        self.update()

    def _remember(self, stamp: int | None) -> None:
        """What to go back to, should nothing have been lost."""
        congestion = self.sender.congestion
        self.undo_stamp = stamp
        self.undo_window, self.undo_threshold = congestion.window, congestion.threshold

    def _undo_if_spurious(self, echo: int | None) -> bool:
        """The first acknowledgment after a timeout or a recovery's begin answers the original, not what was sent again:
        that was not lost. What else was taken for lost is judged anew."""
        stamp, self.undo_stamp = self.undo_stamp, None
        if echo is None or stamp is None or not 0 < (stamp - echo & 0xFFFF_FFFF) < 0x8000_0000:
            return False
        congestion = self.sender.congestion
        congestion.window, congestion.threshold = self.undo_window, self.undo_threshold
        if self.phase is LOSS:
            self.sender.count("TCPSpuriousRTOs")
        else:
            self.sender.count("TCPFullUndo")
            self.rack.reordered = True
        self.flight.find_all()
        return True

    def _finish(self, undone: bool) -> None:
        if self.phase is RECOVERY and not undone:
            # RFC 6582, section 3.2, step 3: no burst.
            congestion, sender = self.sender.congestion, self.sender
            congestion.window = min(
                congestion.threshold,
                max(sender.nxt - sender.una - self.scoreboard.sacked, sender.segment_bytes) + 3 *
                sender.segment_bytes,
            )
            congestion.window = max(congestion.window, 2 * sender.segment_bytes)
        self.phase = OPEN
        self.undo_stamp = None
        self.duplicates = 0
        self.at_once = False
        self.rack.recovered()

    # --- the tail ---------------------------------------------------------------------------------------------

    def probed(self, is_new: bool) -> None:
        """A probe was sent, and perhaps a segment was repeated for that."""
        sender = self.sender
        self.probes += 1
        if self.phase is OPEN and not self.probe_end:
            self.probe_end, self.probe_is_new = sender.nxt, is_new

    def probe_answered(self, ack: int, advanced: bool, news: bool) -> None:
        """An acknowledgment while a probe is out (RFC 8985, section 7.4.2)."""
        if ack < self.probe_end:
            return
        if self.probe_is_new:
            self.probe_end = 0
        elif ack > self.probe_end:
            # Not one duplicate came: the probe has repaired the only loss, which is a loss all the same.
            self.probe_end = 0
            sender = self.sender
            sender.count("TCPLossProbeRecovery")
            sender.congestion.loss(sender.nxt - sender.una, sender.connection.heard_ns)
        elif not advanced and not news:
            self.probe_end = 0  # the second acknowledgment of the same: both copies arrived

    # --- the account ------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Bring `absent` and the phase between OPEN and DISORDER up to date."""
        sender, board, flight = self.sender, self.scoreboard, self.flight
        gone = board.sacked
        if not sender.sack and self.duplicates:
            gone = min(self.duplicates * sender.segment_bytes, max(sender.nxt - sender.una - flight.lost, 0))
        self.absent = min(gone + flight.lost, sender.nxt - sender.una)  # crumbs may be in both
        if self.phase <= DISORDER:
            self.phase = DISORDER if board.lefts or self.duplicates else OPEN
            if self.phase is OPEN and flight.by_time is not None and not flight.lost:
                flight.in_order()
