"""The sending half of a connection: what is queued, under way and acknowledged, and what may be sent now.

     una                    nxt              una + window        queue.end    (fin)
      |  under way            |  may be sent      |  must wait        |

`transmit` sends what congestion window, peer's window, Nagle and corking allow, lost segments first. It is called
after everything that may have changed the answer. Where the path takes large segments, one call of the network
carries many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos_net_inet.tcp.bytequeue import ByteQueue
from jefeos_net_inet.tcp.congestion import ALGORITHMS, NewReno
from jefeos_net_inet.tcp.ecn import CAPABLE
from jefeos_net_inet.tcp.recovery import OPEN, RECOVERY, Recovery
from jefeos_net_inet.tcp.rto import RetransmissionTimeout
from jefeos_net_inet.tcp.sequence import HALF, MASK, NEVER
from jefeos_net_inet.tcp.wire import ACK, CWR, FIN, PSH

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.connection import Connection
    from jefeos_net_inet.tcp.wire import Segment

FINE_NS: Final = 3_000_000
"""Shorter round trips than this are not looked at in milliseconds."""
PROBE_SLACK_NS: Final = 2_000_000
"""A tail loss probe waits this much longer than two round trips, as on Linux."""
CORK_NS: Final = 200_000_000
"""How long a cork may hold a partial segment back (tcp(7))."""


class Sender:
    """Numbers count octets without a limit; times are nanoseconds."""

    __slots__ = (
        "_repeated_stamp", "_timed_at_ns", "_timed_end", "congestion", "connection", "count", "fin_at", "initial",
        "largest_segment", "largest_window", "last_sent_ns", "limit", "nxt", "probes", "queue", "recovery",
        "retransmit_at_ns", "retries", "sack", "scale", "segment_bytes", "small_end", "tail_at_ns", "timeout", "una",
        "urgent_end", "window", "window_ack", "window_sequence",
    )  # fmt: skip

    def __init__(self, connection: Connection, initial: int) -> None:
        self.connection = connection
        self.count = connection.layer.count
        self.initial = initial
        self.una = initial
        self.nxt = initial + 1
        """The SYN is the first octet."""
        self.limit = self.nxt
        """Beyond everything ever sent, window probes included."""
        self.queue = ByteQueue(initial + 1)
        self.fin_at: int | None = None
        """Our FIN's number, once the user closed."""
        self.window = 0
        self.window_sequence = 0
        self.window_ack = 0
        """SND.WL1 and SND.WL2."""
        self.largest_window = 0
        self.scale = 0
        """The peer's shift."""
        self.sack = False
        self.segment_bytes = 536
        self.largest_segment = 536
        """Most octets to hand over at once; a multiple of `segment_bytes` if more."""
        self.timeout = RetransmissionTimeout()
        self.congestion: NewReno = NewReno(self.segment_bytes)
        self.recovery = Recovery(self)
        self.retransmit_at_ns = NEVER
        """Retransmission or, with nothing under way, window probe."""
        self.tail_at_ns = NEVER
        """Tail loss probe."""
        self.retries = 0
        self.probes = 0
        self.small_end = initial
        """End of the last segment that was not full (Minshall's variant of Nagle's rule)."""
        self.urgent_end = 0
        self.last_sent_ns = 0
        self._timed_end = 0
        """An acknowledgment of this octet gives a round-trip time; 0: none is being measured."""
        self._timed_at_ns = 0
        self._repeated_stamp = 0
        """TSval when something was last sent again."""

    def begin(self, segment_bytes: int, largest_segment: int, algorithm: str) -> None:
        """Both sides agreed on sizes."""
        self.segment_bytes = segment_bytes
        self.largest_segment = largest_segment
        self.congestion = ALGORITHMS[algorithm](segment_bytes)

    def resize(self, segment_bytes: int, largest_segment: int) -> None:
        """The path's MTU changed."""
        self.segment_bytes = segment_bytes
        self.largest_segment = largest_segment
        self.congestion.resegment(segment_bytes)

    def change_congestion(self, algorithm: str) -> None:
        """TCP_CONGESTION: another algorithm goes on from here."""
        old = self.congestion
        self.congestion = ALGORITHMS[algorithm](self.segment_bytes)
        self.congestion.window, self.congestion.threshold = old.window, old.threshold

    def syn_sent(self, at_ns: int) -> None:
        """Measure the round trip of the first SYN."""
        if not self._timed_at_ns:
            self._timed_at_ns = at_ns

    def syn_acknowledged(self, now_ns: int) -> None:
        """The handshake is complete; a SYN that was sent twice tells nothing of the round trip."""
        if self.retries:
            self.timeout.without_sample()
            self.congestion.window = self.segment_bytes  # RFC 5681, section 3.1
        elif self._timed_at_ns:
            self.timeout.sample(now_ns - self._timed_at_ns)
        self.retransmit_at_ns = NEVER
        self.timeout.backoff = self.retries = 0

    # --- acknowledgments --------------------------------------------------------------------------------------

    def acknowledge(self, segment: Segment, sequence: int, ack: int, length: int, now_ns: int) -> bool:
        """An acceptable acknowledgment (una <= ack <= limit). True if it was of something new. HOT."""
        una = self.una
        window = segment.window << self.scale
        recovery = self.recovery
        echo = segment.echo if self.connection.stamps and segment.echo else None
        advanced = ack > una
        if advanced:
            self.advance(ack, echo, now_ns)
        if self.sack:
            blocks = segment.options.sack if segment.options is not None else ()
            if blocks or recovery.flight.by_time is not None or recovery.probe_end:
                self._judge(blocks, una, ack, advanced, echo, now_ns)
        elif ack == una and not length and window == self.window and self.nxt > una:  # RFC 5681, section 2
            recovery.duplicate(now_ns)
        self.probes = 0
        if not window:
            self.retries = 0  # a peer that answers is not gone, however long its window stays closed
        # RFC 9293, section 3.10.7.4: only what is not older than the last word on the window counts.
        if self.window_sequence < sequence or (self.window_sequence == sequence and self.window_ack <= ack):
            self.take_window(window, sequence, ack)
        return advanced

    def take_window(self, window: int, sequence: int, ack: int) -> None:
        """The latest word on the peer's window. HOT."""
        self.window_sequence, self.window_ack = sequence, ack
        if window == self.window:
            return
        if not self.window and window and self.retransmit_at_ns != NEVER and self.nxt == self.una:
            self.retransmit_at_ns = NEVER  # the probes have done their work
        self.window = window
        self.timeout.restart()
        if window > self.largest_window:
            self.largest_window = window

    def _judge(
        self, blocks: tuple[tuple[int, int], ...], una: int, ack: int, advanced: bool, echo: int | None, now_ns: int
    ) -> None:
        """With SACK, while not everything is in order."""
        recovery = self.recovery
        news = False
        if blocks:
            placed = tuple(
                (una + ((left - una + HALF) & MASK) - HALF, una + ((right - una + HALF) & MASK) - HALF)
                for left, right in blocks
            )
            news = recovery.reported(placed, ack, now_ns, echo)
        if recovery.probe_end:
            recovery.probe_answered(ack, advanced, news)
        rack = recovery.rack
        if rack.sample_ns:
            self.timeout.sample(self._plausible(rack.sample_ns, echo, now_ns))
            rack.sample_ns = 0
        recovery.judge(now_ns)

    def advance(self, ack: int, echo: int | None, now_ns: int) -> None:
        """Something new was acknowledged. HOT."""
        una, recovery = self.una, self.recovery
        octets = ack - una
        flight = self.nxt - una
        self.una = ack
        if ack > self.nxt:
            self.nxt = ack  # a window probe was taken
        queue = self.queue
        queue.discard(min(ack, queue.end))
        arrived = recovery.flight.acknowledged(ack)
        if self._timed_end and ack >= self._timed_end:
            self.timeout.sample(self._plausible(now_ns - self._timed_at_ns, echo, now_ns))
            self._timed_end = 0
        elif recovery.phase >= RECOVERY and echo is not None and not self.sack:
            # RFC 7323, section 4. An echo of what was sent before the last repetition is of no known age: the
            # acknowledgment that it came with first may have been lost.
            if (echo - self._repeated_stamp) & MASK < HALF:
                self.timeout.sample(((self.connection.stamp_clock(now_ns) - echo) & MASK) * 1_000_000)
        if recovery.flight.by_time is not None and self.sack:
            recovery.rack.arrived(arrived, now_ns, echo)
        self.timeout.backoff = 0
        self.retries = recovery.probes = 0
        congestion = self.congestion
        ecn = self.connection.ecn
        if recovery.phase is RECOVERY or (ecn is not None and ack <= ecn.until):
            pass  # the window was reduced for what is under way
        elif flight + octets >= congestion.window:
            # Only a window that was used up may grow (RFC 7661, section 4.1, in a simple form).
            congestion.acknowledged(octets, now_ns, self.timeout.smoothed_ns)
        if recovery.phase or recovery.scoreboard.lefts:
            recovery.advanced(octets, now_ns, echo)
        if ack < self.nxt:
            self._start_timer(now_ns)
        else:
            self.retransmit_at_ns = self.tail_at_ns = NEVER

    def _plausible(self, round_trip_ns: int, echo: int | None, now_ns: int) -> int:
        """A round trip, unless timestamps know better (RFC 7323, section 4, in milliseconds): the acknowledgment that
        should have ended it may have been lost, and this one answers something that was sent later."""
        if echo is None or round_trip_ns < FINE_NS:
            return round_trip_ns
        age_ms = (self.connection.stamp_clock(now_ns) - echo) & MASK
        return min(round_trip_ns, (age_ms + 1) * 1_000_000)

    def _start_timer(self, now_ns: int) -> None:
        self.retransmit_at_ns = deadline = now_ns + self.timeout.current_ns
        self.connection.arm(deadline)
        if self.nxt - self.una > self.segment_bytes or self.recovery.phase is not OPEN:
            self._watch_tail(now_ns)
        else:
            self.tail_at_ns = NEVER

    def _watch_tail(self, now_ns: int) -> None:
        """When to ask, if nothing is heard (RFC 8985, section 7.2). A single segment in order is left to the timeout:
        its acknowledgment may be delayed for as long."""
        recovery, timeout = self.recovery, self.timeout
        self.tail_at_ns = NEVER
        if not self.sack or not timeout.smoothed_ns or timeout.backoff:
            return
        if recovery.phase is OPEN and self.nxt - self.una <= self.segment_bytes:
            return
        deadline = now_ns + (2 * timeout.smoothed_ns + PROBE_SLACK_NS << recovery.probes)
        if deadline < self.retransmit_at_ns and self.connection.layer.setting("tcp_early_retrans"):
            self.tail_at_ns = deadline
            self.connection.arm(deadline)

    # --- sending ----------------------------------------------------------------------------------------------

    @property
    def pipe(self) -> int:
        """Octets in the network, as far as one can know."""
        return self.nxt - self.una - self.recovery.absent

    def transmit(self, now_ns: int) -> None:
        """Send all that may be sent now. HOT."""
        connection = self.connection
        recovery = self.recovery
        if recovery.flight.lost and not self._repair(now_ns):
            return
        una, end = self.una, self.queue.end
        if self.nxt >= end:
            if self.fin_at is not None and self.nxt == self.fin_at:
                self._send_fin(now_ns)
            return
        if self.nxt == una and now_ns - self.last_sent_ns > self.timeout.current_ns and self.last_sent_ns:
            if connection.layer.setting("tcp_slow_start_after_idle"):
                self.congestion.restart()
        segment_bytes = self.segment_bytes
        peer_edge = una + self.window
        while True:
            nxt = self.nxt
            waiting = end - nxt
            if waiting <= 0:
                break
            room = self.congestion.window - (nxt - una - recovery.absent)
            allowed = min(room, peer_edge - nxt)
            size = min(waiting, self.largest_segment)
            if size >= segment_bytes:
                if allowed < size:
                    size = allowed // segment_bytes * segment_bytes
                elif size > segment_bytes:
                    size -= size % segment_bytes
            elif allowed < size:
                size = 0
            if size < segment_bytes and not self._may_send_small(size, waiting, allowed, peer_edge - nxt, now_ns):
                break
            if not size:
                size = min(peer_edge - nxt, waiting, segment_bytes)
            if not self._send(nxt, size, now_ns, segment_bytes if size > segment_bytes else 0):
                return
        if self.fin_at == self.nxt:
            self._send_fin(now_ns)
        if self.nxt == una:
            self._start_probing(now_ns)

    def _may_send_small(self, size: int, waiting: int, allowed: int, offered: int, now_ns: int) -> bool:
        """Whether less than a full segment goes out now: Nagle, corking, and the sender's half of silly-window
        avoidance."""
        if size < waiting:
            # The windows are in the way. Half of the largest window ever is worth a segment (RFC 9293, section
            # 3.8.6.2.1).
            return 0 < offered <= allowed and offered < self.segment_bytes and 2 * offered >= self.largest_window
        if self.fin_at is not None or self.urgent_end > self.nxt:
            return True
        connection = self.connection
        if connection.more or connection.options.tcp_cork:
            return connection.cork_expired(now_ns)
        return connection.options.tcp_nodelay or self.small_end <= self.una

    def _send(self, position: int, size: int, now_ns: int, segment_bytes: int) -> bool:
        queue = self.queue
        end = position + size
        flags = ACK | PSH if end == queue.end else ACK
        with_fin = end == self.fin_at and self.window > size
        if with_fin:
            flags |= FIN
        connection, mark = self.connection, 0
        ecn = connection.ecn
        if ecn is not None:
            mark = CAPABLE
            if ecn.tell:  # alone: who cuts a large segment would put it in every piece
                if segment_bytes:
                    return self._send(position, segment_bytes, now_ns, 0)
                flags |= CWR
        if not connection.emit(now_ns, position, flags, queue.slice(position, size), segment_bytes, mark):
            return False
        if ecn is not None:
            ecn.tell = False
        if size < self.segment_bytes:
            self.small_end = end
        self.nxt = end + 1 if with_fin else end
        if self.nxt > self.limit:
            self.limit = self.nxt
        self.last_sent_ns = now_ns
        self.recovery.flight.sent(position, self.nxt, now_ns)
        if not self._timed_end:
            self._timed_end, self._timed_at_ns = end, now_ns
        if self.retransmit_at_ns == NEVER:
            self._start_timer(now_ns)
        elif self.nxt - self.una > self.segment_bytes:
            self._watch_tail(now_ns)
        return True

    def _send_fin(self, now_ns: int) -> None:
        if self.connection.emit(now_ns, self.nxt, ACK | FIN):
            self.recovery.flight.sent(self.nxt, self.nxt + 1, now_ns)
            self.nxt += 1
            self.limit = max(self.limit, self.nxt)
            if self.retransmit_at_ns == NEVER:
                self._start_timer(now_ns)

    def _start_probing(self, now_ns: int) -> None:
        if self.retransmit_at_ns == NEVER and not (self.window >= self.segment_bytes or self.connection.corked):
            self._start_timer(now_ns)

    # --- sending again ----------------------------------------------------------------------------------------

    def _repair(self, now_ns: int) -> bool:
        """Send lost octets again, as far as the congestion window allows. False: nothing else may be sent now."""
        recovery = self.recovery
        if recovery.phase < RECOVERY:
            return True
        while True:
            hole = recovery.flight.first_lost()
            if hole is None:
                return True
            if self.pipe >= self.congestion.window and not recovery.at_once:
                return False
            recovery.at_once = False
            if not self.send_again(hole.start, hole.end, now_ns):
                return False

    def send_again(self, start: int, end: int, now_ns: int) -> bool:
        """One segment from ``start``, not beyond ``end``."""
        queue = self.queue
        size = min(end - start, queue.end - start, self.segment_bytes)
        flags = ACK
        if self.fin_at is not None and start + size == self.fin_at and self.nxt > self.fin_at:
            flags |= FIN
        payload = queue.slice(start, size) if size > 0 else b""
        self._timed_end = 0  # Karn: what is sent twice is not measured
        self._repeated_stamp = self.connection.stamp_clock(now_ns)
        if not self.connection.emit(now_ns, start, flags, payload):
            return False
        self.count("RetransSegs")
        self.connection.retransmits += 1
        self.last_sent_ns = now_ns
        self.recovery.flight.sent_again(start, start + max(size, 0) + (1 if flags & FIN else 0), now_ns)
        self.recovery.update()
        self._start_timer(now_ns)
        return True

    def probe_tail(self, now_ns: int) -> None:
        """Nothing was heard for two round trips: ask (RFC 8985, section 7.3). See recovery.py for when this repeats."""
        self.tail_at_ns = NEVER
        recovery, nxt = self.recovery, self.nxt
        first, last = recovery.flight.first, recovery.flight.last
        if first is None or last is None:
            return
        deadline = self.retransmit_at_ns
        self.count("TCPLossProbes")
        size = 0
        if recovery.phase is OPEN and not recovery.probes:
            size = min(self.queue.end - nxt, self.una + self.window - nxt, self.segment_bytes)
            first = last
        if size > 0:
            sent = self._send(nxt, size, now_ns, 0)
        else:
            size = 0
            start = first.start if first is not last else max(last.start, last.end - self.segment_bytes)
            recovery.probe_right = min(first.end, start + self.segment_bytes)
            sent = self.send_again(start, first.end, now_ns)
        if sent:
            recovery.probed(size > 0)
        self.retransmit_at_ns = deadline  # a probe does not delay the timeout
        self._watch_tail(now_ns)

    def probe(self, now_ns: int) -> None:
        """Ask for the window with one octet of new data (RFC 9293, section 3.8.6.1)."""
        nxt = self.nxt
        self.probes += 1
        if self.window and nxt < self.queue.end:  # a small window: time to use it (section 3.8.6.2.1)
            self._send(nxt, min(self.window, self.queue.end - nxt, self.segment_bytes), now_ns, 0)
        elif nxt < self.queue.end:
            if self.connection.emit(now_ns, nxt, ACK | PSH, self.queue.slice(nxt, 1)):
                self.limit = max(self.limit, nxt + 1)
        elif nxt == self.fin_at and self.connection.emit(now_ns, nxt, ACK | FIN):
            self.limit = max(self.limit, nxt + 1)
        self.timeout.back_off()
        self._start_timer(now_ns)

    # --- what the user gives ----------------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        """Octets of data that the peer does not have yet."""
        return self.queue.end - self.queue.start

    def close(self) -> None:
        """Nothing more will be queued."""
        if self.fin_at is None:
            self.fin_at = self.queue.end

    @property
    def fin_acknowledged(self) -> bool:
        """HOT."""
        return self.fin_at is not None and self.una > self.fin_at
