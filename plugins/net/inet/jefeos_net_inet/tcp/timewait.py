"""TIME-WAIT: what remains of a connection for a minute, so that nothing of it is taken for part of its successor.

A record holds numbers only, no buffers and no user, and there are at most tcp_max_tw_buckets; beyond that a
connection ends without. A new SYN whose number or timestamp is beyond the old ones ends the wait early (RFC 9293,
section 3.6.1; RFC 6191), and so may a connect() of ours with timestamps after one second (tcp_tw_reuse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jefeos_net_inet.tcp.options import Options, emit_options
from jefeos_net_inet.tcp.sequence import HALF, MASK
from jefeos_net_inet.tcp.states import State
from jefeos_net_inet.tcp.wire import ACK, FIN, RST, SYN, emit

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.connection import Connection
    from jefeos_net_inet.tcp.wire import Segment

DURATION_NS: Final = 60_000_000_000
"""Linux's; RFC 9293 has four minutes."""
REUSE_NS: Final = 1_000_000_000


class TimeWait:
    """Stands in the layer's table in place of the connection."""

    __slots__ = (
        "key", "layer", "options", "receive_next", "recent_stamp", "recent_stamp_ns", "send_next",
        "stamp_offset", "stamps", "timer", "until_ns", "window",
    )  # fmt: skip
    state = State.TIME_WAIT

    def __init__(self, connection: Connection, now_ns: int) -> None:
        self.layer = connection.layer
        self.key = connection.key
        self.options = connection.options
        self.send_next = connection.sender.nxt & MASK
        self.receive_next = connection.receiver.nxt & MASK
        receiver = connection.receiver
        self.window = min(max(receiver.edge - receiver.nxt, 0) >> receiver.scale, 0xFFFF)
        self.stamps = connection.stamps
        self.recent_stamp = connection.recent_stamp
        self.recent_stamp_ns = now_ns
        self.stamp_offset = connection.stamp_offset
        self.timer: list[Any] | None = None
        self.until_ns = now_ns + DURATION_NS
        self.layer.timers.arm(self, self.until_ns)

    def expire(self, now_ns: int) -> None:
        """Over."""
        if now_ns >= self.until_ns:
            self.layer.remove(self.key)
        else:
            self.layer.timers.arm(self, self.until_ns)

    def may_be_reused(self, now_ns: int) -> bool:
        """By a connect() of ours."""
        return self.stamps and now_ns - self.recent_stamp_ns >= REUSE_NS

    def allows(self, segment: Segment) -> bool:
        """Whether a SYN is beyond everything of the old connection."""
        if segment.flags & (SYN | ACK | RST) != SYN:
            return False
        if self.stamps and segment.stamp is not None and segment.stamp != self.recent_stamp:
            return (segment.stamp - self.recent_stamp) & MASK < HALF
        return 0 < (segment.sequence - self.receive_next) & MASK < HALF

    def arrive(self, segment: Segment, now_ns: int) -> None:
        """A late segment (RFC 9293, section 3.10.7.4)."""
        flags = segment.flags
        if flags & RST:
            if segment.sequence == self.receive_next:
                self.layer.remove(self.key)
            return
        old = self.stamps and segment.stamp is not None and (segment.stamp - self.recent_stamp) & MASK >= HALF
        if flags & FIN and not old:
            self.until_ns = now_ns + DURATION_NS
        if flags & (FIN | SYN) or len(segment.payload) or old or segment.sequence != self.receive_next:
            self._acknowledge(now_ns)

    def _acknowledge(self, now_ns: int) -> None:
        if not self.layer.may_answer(now_ns):
            return
        local, remote, local_port, remote_port = self.key
        options = b""
        if self.stamps:
            stamp = (now_ns // 1_000_000 + self.stamp_offset) & MASK
            options = emit_options(Options(stamp=stamp, echo=self.recent_stamp))
        header = emit(local_port, remote_port, self.send_next, self.receive_next, ACK, self.window, 0, options)
        self.layer.send(local, remote, header)
