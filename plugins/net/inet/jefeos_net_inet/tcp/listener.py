"""Taking connections: the queue of handshakes, the queue for accept, and SYN cookies when the first is full.

    SYN --> HalfOpen (a small record, in the layer's table) --ACK--> Connection with a socket --> ready --accept-->
    user

Both queues are bounded. While the handshakes of a listener fill theirs, its answers are SYN cookies (RFC 4987,
section 3.6), which cost no memory: a flood of SYNs keeps nobody out. A full `ready` lets the last ACK be lost, so
that the peer tries again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import KernelError

from jefeos_net_inet.tcp.ecn import answer_to
from jefeos_net_inet.tcp.options import Options, emit_options
from jefeos_net_inet.tcp.rto import RetransmissionTimeout
from jefeos_net_inet.tcp.sequence import HALF, MASK
from jefeos_net_inet.tcp.states import State
from jefeos_net_inet.tcp.wire import ACK, ECE, RST, SYN, emit

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.ecn import Ecn
    from jefeos_net_inet.tcp.layer import Key, TcpLayer
    from jefeos_net_inet.tcp.network import Path
    from jefeos_net_inet.tcp.socket import TcpSocket
    from jefeos_net_inet.tcp.wire import Segment

COOKIE_TIME_NS: Final = 128_000_000_000
"""How long after the last cookie an unknown ACK may be one."""
FEWEST_HALF_OPEN: Final = 16


class Listener:
    """What a listening socket has."""

    def __init__(self, socket: TcpSocket, backlog: int) -> None:
        self.socket = socket
        self.layer = socket.layer
        self.backlog = backlog
        self.half_open: dict[Key, HalfOpen] = {}
        self.ready: deque[TcpSocket] = deque()
        self._cookie_ns = -COOKIE_TIME_NS

    @property
    def is_full(self) -> bool:
        """Whether accept is far behind."""
        return len(self.ready) > self.backlog

    def syn(self, key: Key, segment: Segment, now_ns: int, least_sequence: int | None, link: int) -> None:
        """A request. ``least_sequence``: our number has to be beyond this (a TIME-WAIT was cut short). ``link``: the
        interface of a link-local peer, or 0."""
        layer = self.layer
        local, remote, local_port, remote_port = key
        if local == remote and local_port == remote_port:
            return  # "land": from us to us
        if self.is_full:
            layer.count("ListenOverflows")
            layer.count("ListenDrops")
            return
        try:
            path = layer.network.path(remote, local, link or self.socket.options.interface)
        except KernelError:
            return
        ports = (local_port, remote_port)
        limit = max(min(self.backlog, int(layer.setting("tcp_max_syn_backlog"))), FEWEST_HALF_OPEN)
        if len(self.half_open) < limit:
            initial = layer.secrets.initial_sequence(local, remote, ports, now_ns)
            if least_sequence is not None and (initial - least_sequence) & MASK >= HALF:
                initial = (least_sequence + 0xFFFF) & MASK
            HalfOpen(self, key, path, segment, initial, now_ns, link)
        elif layer.setting("tcp_syncookies"):
            self._send_cookie(key, path, segment, now_ns, link)
        else:
            layer.count("ListenDrops")

    def _send_cookie(self, key: Key, path: Path, segment: Segment, now_ns: int, link: int) -> None:
        layer = self.layer
        local, remote, local_port, remote_port = key
        mss = segment.options.mss if segment.options is not None and segment.options.mss else 536
        cookie = layer.secrets.cookie(local, remote, (local_port, remote_port), segment.sequence, mss, now_ns)
        self._cookie_ns = now_ns
        layer.count("SyncookiesSent")
        window = min(self.socket.options.so_rcvbuf // 2, 0xFFFF)
        options = emit_options(Options(mss=layer.mss_for(path, len(local), self.socket.options)))
        header = emit(local_port, remote_port, cookie, segment.sequence + 1, SYN | ACK, window, 0, options)
        layer.send(local, remote, header, self.socket.options, link)

    def cookie(self, key: Key, segment: Segment, now_ns: int, link: int) -> bool:
        """An ACK of an unknown connection: is it the answer to a cookie? True if it was dealt with."""
        if now_ns - self._cookie_ns >= COOKIE_TIME_NS or self.is_full:
            return False
        layer = self.layer
        local, remote, local_port, remote_port = key
        initial, peer_initial = (segment.acknowledgment - 1) & MASK, (segment.sequence - 1) & MASK
        mss = layer.secrets.read_cookie(local, remote, (local_port, remote_port), peer_initial, initial, now_ns)
        if not mss:
            layer.count("SyncookiesFailed")
            return False
        try:
            path = layer.network.path(remote, local, link or self.socket.options.interface)
        except KernelError:
            return True
        layer.count("SyncookiesRecv")
        self.complete(key, path, initial, peer_initial, segment.window, Options(mss=mss), segment, now_ns, link)
        return True

    def complete(
        self, key: Key, path: Path, initial: int, peer_initial: int, window: int, options: Options, segment: Segment,
        now_ns: int, link: int, retries: int = 0, sent_ns: int = 0, ecn: Ecn | None = None,
    ) -> None:  # fmt: skip
        """The handshake is done: a connection with a socket, which then takes ``segment``."""
        layer = self.layer
        connection = layer.passive(key, path, self.socket.options, initial, peer_initial, window, options, ecn)
        connection.sender.retries = retries
        if sent_ns:
            connection.sender.syn_sent(sent_ns)
        child = self.socket.child(connection, link)
        connection.arrive(segment, now_ns)
        if connection.state is not State.SYN_RECEIVED and not connection.is_over:
            self.ready.append(child)
            self.socket.changed()
        elif not connection.is_over:
            connection.abort(now_ns)

    def close(self, now_ns: int) -> None:
        """Handshakes are forgotten, connections that nobody accepted are reset."""
        for half_open in list(self.half_open.values()):
            half_open.forget()
        while self.ready:
            self.ready.popleft().abort()


class HalfOpen:
    """A handshake that waits for its last ACK: SYN-RECEIVED without buffers."""

    __slots__ = (
        "ecn", "initial", "key", "layer", "link", "listener", "options", "path", "peer_initial", "retries", "sent_ns",
        "timeout", "timer", "until_ns", "window",
    )  # fmt: skip
    state = State.SYN_RECEIVED

    def __init__(
        self, listener: Listener, key: Key, path: Path, segment: Segment, initial: int, now_ns: int, link: int
    ) -> None:
        self.listener = listener
        self.layer: TcpLayer = listener.layer
        self.key = key
        self.link = link
        self.path = path
        self.options = segment.options or Options(stamp=segment.stamp, echo=segment.echo)
        self.initial = initial
        self.peer_initial = segment.sequence
        self.window = segment.window
        self.ecn = answer_to(self.layer, segment.flags)
        self.timeout = RetransmissionTimeout()
        self.retries = 0
        self.sent_ns = now_ns
        self.timer: list[Any] | None = None
        self.until_ns = 0
        listener.half_open[key] = self
        self.layer.enter(key, self)
        self.answer(now_ns)

    def answer(self, now_ns: int) -> None:
        """SYN and ACK."""
        layer, theirs = self.layer, self.options
        local, remote, local_port, remote_port = self.key
        ours = self.listener.socket.options
        options = Options(mss=layer.mss_for(self.path, len(local), ours))
        if theirs.stamp is not None and layer.setting("tcp_timestamps"):
            options.stamp = (now_ns // 1_000_000 + layer.secrets.stamp_offset(local, remote)) & MASK
            options.echo = theirs.stamp
        options.sack_permitted = theirs.sack_permitted and bool(layer.setting("tcp_sack"))
        if theirs.window_scale is not None and layer.setting("tcp_window_scaling"):
            options.window_scale = layer.window_scale(ours)
        window = min(ours.so_rcvbuf // 2, 0xFFFF)
        flags = SYN | ACK if self.ecn is None else SYN | ACK | ECE
        header = emit(
            local_port, remote_port, self.initial, self.peer_initial + 1, flags, window, 0, emit_options(options)
        )
        layer.send(local, remote, header, ours, self.link)
        self.until_ns = now_ns + self.timeout.current_ns
        layer.timers.arm(self, self.until_ns)

    def expire(self, now_ns: int) -> None:
        """Send it again, or forget it."""
        if now_ns < self.until_ns:
            self.layer.timers.arm(self, self.until_ns)
            return
        self.retries += 1
        if self.retries > int(self.layer.setting("tcp_synack_retries")):
            self.layer.count("AttemptFails")
            self.forget()
            return
        self.timeout.back_off()
        self.layer.count("RetransSegs")
        self.answer(now_ns)

    def forget(self) -> None:
        """Leave the tables."""
        self.listener.half_open.pop(self.key, None)
        self.layer.remove(self.key)

    def arrive(self, segment: Segment, now_ns: int) -> None:
        """RFC 9293, section 3.10.7.4 for SYN-RECEIVED."""
        layer, flags = self.layer, segment.flags
        expected = (self.peer_initial + 1) & MASK
        offset = (segment.sequence - expected) & MASK
        if flags & SYN and segment.sequence == self.peer_initial and not flags & (ACK | RST):
            if layer.may_answer(now_ns):
                self.answer(now_ns)
            return
        if flags & RST:
            if not offset:
                layer.count("AttemptFails")
                self.forget()
            return
        if flags & SYN or offset > 0xFFFF:
            if layer.may_answer(now_ns):
                self.answer(now_ns)
            return
        if not flags & ACK:
            return
        if segment.acknowledgment != (self.initial + 1) & MASK:
            layer.reset_for(self.key[0], self.key[1], segment, self.link)
            return
        listener = self.listener
        patience_ns = listener.socket.options.tcp_defer_accept * 1_000_000_000
        if patience_ns and not len(segment.payload) and now_ns - self.sent_ns < patience_ns:
            layer.count("TCPDeferAcceptDrop")
            self.timeout.backoff = max(self.timeout.backoff, 1)
            return
        if listener.is_full:
            layer.count("ListenOverflows")
            return
        self.forget()
        listener.complete(
            self.key, self.path, self.initial, self.peer_initial, self.window, self.options, segment, now_ns,
            self.link, self.retries, self.sent_ns, self.ecn,
        )  # fmt: skip

    def icmp(self, errno: int, hard: bool, now_ns: int) -> None:
        """An ICMP error about our answer."""
        if hard:
            self.forget()

