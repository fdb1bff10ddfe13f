"""One connection: its state, its two halves, and the segments it sends.

    user: send, receive, shut, close, abort  --->  Connection  --emit-->  Network
    arrival.py: segments                     --->    |    |
    expiry.py: deadlines                     --->  Sender Receiver

`Connection` holds what both halves share and takes the steps that the user asks for; what segments and time do to
it is in arrival.py and expiry.py. It belongs to a socket (`socket`) until the user closes; afterwards it lives on
alone (an orphan) until the peer has everything, and its last state is a `TimeWait` record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError

from jefeos_net_inet.tcp import arrival, expiry
from jefeos_net_inet.tcp.ecn import asks
from jefeos_net_inet.tcp.options import (
    MOST_SACK_BLOCKS,
    STAMPS_BYTES,
    STAMPS_WORD,
    Options,
    emit_options,
    emit_sack,
)
from jefeos_net_inet.tcp.receiver import LARGEST_WINDOW, Receiver
from jefeos_net_inet.tcp.sender import CORK_NS, Sender
from jefeos_net_inet.tcp.sequence import MASK, NEVER
from jefeos_net_inet.tcp.states import FLUSHING, SENDING, Event, State, after
from jefeos_net_inet.tcp.wire import (
    ACK,
    CWR,
    ECE,
    FIN,
    HEADER,
    HEADER_BYTES,
    HEADER_WITH_STAMPS,
    RST,
    SYN,
    URG,
)

if TYPE_CHECKING:
    from jefeos.net.address import Address

    from jefeos_net_inet.tcp.ecn import Ecn
    from jefeos_net_inet.tcp.layer import TcpLayer
    from jefeos_net_inet.tcp.network import Path
    from jefeos_net_inet.tcp.socket import TcpSocket
    from jefeos_net_inet.tcp.tuning import SocketOptions

SMALLEST_MSS: Final = 88
DEFAULT_MSS: Final = {4: 536, 16: 1220}
"""Without the option (RFC 9293, section 3.7.1), by the length of addresses."""
IP_HEADER_BYTES: Final = {4: 20, 16: 40}
_PLAIN: Final = HEADER_BYTES << 10
_STAMPED: Final = (HEADER_BYTES + STAMPS_BYTES) << 10
_LANED: Final = (State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT)
"""States in which a short way out is worth its while."""
CHALLENGE_PERIOD_NS: Final = 5_000_000_000


class Connection:
    """See the module's text. Addresses are those on the wire: four bytes also for an IPv6 socket that speaks IPv4."""

    __slots__ = (
        "asked_ecn", "_challenge_credit", "_challenge_since_ns", "_finished", "cork_at_ns", "ecn", "error", "heard_ns",
        "keepalive_at_ns", "keepalive_probes", "key", "lane", "layer", "linger_at_ns", "local", "local_port", "more",
        "mss", "notify", "options", "orphan", "passive", "path", "receiver", "recent_stamp", "recent_stamp_ns",
        "remote", "remote_port", "retransmits", "scaling", "sender", "shut_reading", "shut_writing", "socket",
        "soft_error", "stalled", "stamp_offset", "stamps", "state", "timer",
    )  # fmt: skip

    def __init__(
        self,
        layer: TcpLayer,
        local: tuple[Address, int],
        remote: tuple[Address, int],
        path: Path,
        options: SocketOptions,
        initial: int,
    ) -> None:
        self.layer = layer
        self.local, self.local_port = local
        self.remote, self.remote_port = remote
        self.key = (local[0], remote[0], local[1], remote[1])
        self.path = path
        self.lane: Any = None
        """The short way out (express.py)."""
        self.options = options
        self.state = State.CLOSED
        self.socket: TcpSocket | None = None
        self.timer: list[Any] | None = None
        self.sender = Sender(self, initial)
        self.receiver: Receiver = None  # type: ignore[assignment]  # known with the peer's SYN
        self.stamps = False
        """Timestamps were agreed."""
        self.scaling = False
        """Window scaling was agreed."""
        self.stamp_offset = layer.secrets.stamp_offset(self.local, self.remote)
        self.ecn: Ecn | None = None
        """None: not agreed on."""
        self.recent_stamp = 0
        """TS.Recent."""
        self.recent_stamp_ns = 0
        self.mss = 0
        """What the peer's SYN said."""
        self.error = 0
        """Why it ended; errno."""
        self.soft_error = 0
        """What ICMP said meanwhile; the reason if it times out."""
        self.asked_ecn = False
        """A SYN of ours asked for ECN."""
        self.passive = False
        self.orphan = False
        self.notify = False
        """The user should hear of something once the work at hand is done."""
        self.stalled = False
        """The user was told that there is no room for more."""
        self.shut_reading = False
        self.shut_writing = False
        self.more = False
        self.cork_at_ns = NEVER
        self.keepalive_at_ns = NEVER
        self.keepalive_probes = 0
        self.linger_at_ns = NEVER
        """End of an orphan in FIN-WAIT-2."""
        self.heard_ns = layer.network.now_ns()
        self.retransmits = 0
        self._challenge_since_ns = 0
        self._challenge_credit = 0
        self._finished = False

    # --- state ------------------------------------------------------------------------------------------------

    def step(self, event: Event) -> None:
        """Take a step of the table in states.py."""
        self.state = after(self.state, event)

    @property
    def is_over(self) -> bool:
        """Whether it left the layer's tables. HOT."""
        return self._finished

    def finish(self, error: int = 0) -> None:
        """The end: leave the tables and tell the user."""
        if self._finished:
            return
        self._finished = True
        self.error = error
        if self.state is not State.CLOSED:
            self.step(Event.END)
        self.layer.forget(self)
        self.sender.queue.discard(self.sender.queue.end)
        self.notify = True

    def tell(self) -> None:
        """Tell the user what `notify` noted. HOT."""
        self.notify = False
        socket = self.socket
        if socket is not None:
            socket.connection_changed()

    def arm(self, deadline_ns: int) -> None:
        """A deadline was set; the earliest of them counts. HOT."""
        timer = self.timer
        if timer is None or timer[0] > deadline_ns:
            if not self._finished:
                self.layer.timers.arm(self, deadline_ns)

    expire = expiry.expire
    """A deadline has perhaps come."""
    arrive = arrival.arrive
    """A segment came. HOT."""

    # --- sizes ------------------------------------------------------------------------------------------------

    @property
    def offered_mss(self) -> int:
        """For our SYN: the MTU of the interface without headers (RFC 9293, section 3.7.1; RFC 6691)."""
        return self.layer.mss_for(self.path, len(self.local), self.options)

    def sizes(self) -> tuple[int, int]:
        """Octets of a full segment, and most octets to hand over at once."""
        option_bytes = STAMPS_BYTES if self.stamps else 0
        peer = max(self.mss or DEFAULT_MSS[len(self.remote)], SMALLEST_MSS)
        segment_bytes = min(self.offered_mss, peer) - option_bytes
        headers = IP_HEADER_BYTES[len(self.local)] + HEADER_BYTES + option_bytes
        whole = (self.path.largest_segment - headers) // segment_bytes * segment_bytes
        return segment_bytes, max(whole, segment_bytes)

    def path_changed(self) -> None:
        """The MTU or the route may be another one now (RFC 1191, RFC 8201)."""
        try:
            self.path = self.layer.network.path(self.remote, self.local, self.options.interface)
        except KernelError as error:
            self.soft_error = error.errno
            return
        if self.receiver is not None:
            self.sender.resize(*self.sizes())

    @property
    def send_buffer_bytes(self) -> int:
        """SO_SNDBUF or, by auto-tuning, twice the congestion window if that is more."""
        options = self.options
        if options.fixed_send_buffer:
            return options.so_sndbuf
        return max(options.so_sndbuf, min(2 * self.sender.congestion.window, self.layer.largest_send_buffer))

    # --- segments out -----------------------------------------------------------------------------------------

    def stamp_clock(self, now_ns: int) -> int:
        """TSval: milliseconds from an offset of this pair of hosts."""
        return (now_ns // 1_000_000 + self.stamp_offset) & MASK

    def emit(
        self, now_ns: int, sequence: int, flags: int, payload: bytes | memoryview = b"", segment_bytes: int = 0,
        mark: int = 0,
    ) -> bool:  # fmt: skip
        """Send a segment that acknowledges what arrived. False if the device has no room. ``mark`` is what ECN says in
        the IP header. HOT."""
        receiver = self.receiver
        window = receiver.advertise()
        if window > LARGEST_WINDOW:
            window = LARGEST_WINDOW
        urgent = 0
        if self.ecn is not None and self.ecn.echoing:
            flags |= ECE
        with_sack = (receiver.reassembly.ranges or receiver.duplicate is not None) and self.sender.sack
        if self.sender.urgent_end > sequence:
            flags |= URG
            urgent = min(self.sender.urgent_end - sequence, 0xFFFF)
        elif self.stamps and not segment_bytes and not with_sack and not flags & FIN:
            lane = self.lane
            if lane is None and self.state in _LANED:
                lane = self.lane = self.layer.network.lane(self)
            if lane is not None:
                sent = lane.send(
                    now_ns, sequence & MASK, receiver.nxt & MASK, flags, window,
                    (now_ns // 1_000_000 + self.stamp_offset) & MASK, self.recent_stamp, payload, mark,
                )  # fmt: skip
                if sent is not None:
                    self.layer.segments_out += 1
                    if not sent:
                        self.layer.blocked[self] = None
                    return bool(sent)
        numbers = (self.local_port, self.remote_port, sequence & MASK, receiver.nxt & MASK)
        if self.stamps:
            stamp = (now_ns // 1_000_000 + self.stamp_offset) & MASK
            header = HEADER_WITH_STAMPS.pack(
                *numbers, _STAMPED | flags, window, 0, urgent, STAMPS_WORD, stamp, self.recent_stamp
            )
        else:
            header = HEADER.pack(*numbers, _PLAIN | flags, window, 0, urgent)
        if with_sack:
            header = self._with_sack(header, len(payload))
        return self.output(header, payload, segment_bytes, mark)

    def _with_sack(self, header: bytes, payload_bytes: int) -> bytes:
        blocks = self.receiver.sack_blocks(MOST_SACK_BLOCKS - 1 if self.stamps else MOST_SACK_BLOCKS)
        option = emit_sack(tuple((left & MASK, right & MASK) for left, right in blocks))
        if payload_bytes and payload_bytes + len(option) > self.sender.segment_bytes:
            return header
        words = len(option) // 4 << 4
        return header[:12] + bytes((header[12] + words,)) + header[13:] + option

    def output(self, header: bytes, payload: bytes | memoryview, segment_bytes: int, mark: int = 0) -> bool:
        """Hand a segment to the network. HOT."""
        options, layer, local = self.options, self.layer, self.local
        if len(local) == 4:
            hop_limit, traffic_class = options.ip_ttl, options.ip_tos
        else:
            hop_limit, traffic_class = options.ipv6_unicast_hops, options.ipv6_tclass
        layer.segments_out += 1
        if layer.network.send(
            local, self.remote, header, payload, segment_bytes, hop_limit if hop_limit > 0 else 0,
            traffic_class | mark if traffic_class > 0 else mark, options.interface,
        ):  # fmt: skip
            return True
        layer.blocked[self] = None
        return False

    def send_syn(self, now_ns: int) -> None:
        """SYN, or SYN and ACK once the peer's is known."""
        receiver, layer = self.receiver, self.layer
        options = Options(mss=self.offered_mss)
        answering = receiver is not None
        if self.stamps if answering else layer.setting("tcp_timestamps"):
            options.stamp, options.echo = self.stamp_clock(now_ns), self.recent_stamp
        if self.sender.sack if answering else layer.setting("tcp_sack"):
            options.sack_permitted = True
        if self.scaling if answering else layer.setting("tcp_window_scaling"):
            options.window_scale = layer.window_scale(self.options)
        flags = SYN
        if answering:
            flags = SYN | ACK if self.ecn is None else SYN | ACK | ECE
        elif asks(layer, self.sender.retries):
            flags = SYN | ECE | CWR
            self.asked_ecn = True
        ack, window = 0, min(self.options.so_rcvbuf // 2, LARGEST_WINDOW)
        if answering:
            ack, window = receiver.nxt, min(receiver.edge - receiver.nxt, LARGEST_WINDOW)
            receiver.last_ack_sent = receiver.nxt
        self.output(self.header(self.sender.una, ack, flags, window, emit_options(options)), b"", 0)
        self.sender.syn_sent(now_ns)
        self.sender.retransmit_at_ns = deadline = now_ns + self.sender.timeout.current_ns
        self.arm(deadline)

    def header(self, sequence: int, ack: int, flags: int, window: int, options: bytes = b"") -> bytes:
        """A header of this connection."""
        offset_flags = (HEADER_BYTES + len(options)) << 10 | flags
        numbers = (self.local_port, self.remote_port, sequence & MASK, ack & MASK)
        return HEADER.pack(*numbers, offset_flags, window, 0, 0) + options

    def acknowledge(self, now_ns: int) -> None:
        """An acknowledgment without data. HOT."""
        self.emit(now_ns, self.sender.nxt, ACK)

    def challenge(self, now_ns: int) -> None:
        """An acknowledgment that asks for the truth, within a limit (RFC 5961, section 7)."""
        if now_ns - self._challenge_since_ns >= CHALLENGE_PERIOD_NS or not self._challenge_since_ns:
            self._challenge_since_ns = now_ns
            self._challenge_credit = int(self.layer.setting("tcp_challenge_ack_limit"))
        if self._challenge_credit > 0:
            self._challenge_credit -= 1
            self.layer.count("TCPChallengeACK")
            self.acknowledge(now_ns)

    def send_reset(self) -> None:
        """RST at the next number."""
        receiver, sender = self.receiver, self.sender
        self.layer.count("OutRsts")
        ack = receiver.nxt if receiver is not None else 0
        self.output(self.header(sender.nxt, ack, RST | ACK, 0), b"", 0)

    # --- what the user does -----------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, more: bool, urgent: bool, now_ns: int) -> int:
        """Queue what there is room for, and send what may be sent. HOT."""
        sender = self.sender
        queue = sender.queue
        waiting = queue.end - queue.start
        length = len(data)
        room = self.options.so_sndbuf - waiting
        if length > room:
            room = self.send_buffer_bytes - waiting
        if length > room:
            if room <= 0:
                self.stalled = True
                return 0
            data = memoryview(data)[:room]
            length = room
            self.stalled = True
            urgent = False
        queue.append(data if type(data) is bytes else bytes(data))
        if urgent and length:
            sender.urgent_end = queue.end
        self.more = more
        if self.receiver is not None and self.receiver.quick_left > 0:
            self.receiver.quick_left = 0  # a conversation: acknowledgments ride on answers
        if self.state in FLUSHING:
            sender.transmit(now_ns)
        return length

    def room_made(self) -> None:
        """A user who was told that there is no room may have a third of the buffer by now. HOT."""
        queue = self.sender.queue
        if 3 * (queue.end - queue.start) <= 2 * self.send_buffer_bytes:
            self.stalled = False
            self.notify = True

    def read(self, count: int, now_ns: int) -> bytes:
        """Take octets, and tell the peer if that made much room. HOT."""
        receiver = self.receiver
        data = receiver.read(count)
        if data and receiver.update_is_due() and receiver.fin_at is None and not self._finished:
            self.acknowledge(now_ns)
        return data

    @property
    def corked(self) -> bool:
        """Whether a partial segment waits for more data."""
        return self.more or self.options.tcp_cork

    def cork_expired(self, now_ns: int) -> bool:
        """Whether corked data have waited long enough."""
        if self.cork_at_ns == NEVER:
            self.cork_at_ns = now_ns + CORK_NS
            self.arm(self.cork_at_ns)
            return False
        if now_ns < self.cork_at_ns:
            return False
        self.cork_at_ns = NEVER
        return True

    def shut(self, now_ns: int) -> None:
        """The user sends no more: FIN after what is queued."""
        self.shut_writing = True
        self.sender.close()
        if self.state in SENDING:
            self.step(Event.CLOSE)
            self.sender.transmit(now_ns)
        # In SYN-RECEIVED and SYN-SENT the FIN waits for the handshake (RFC 9293, section 3.10.4).

    def close(self, now_ns: int) -> None:
        """The user lets go."""
        self.socket = None
        unread = self.receiver is not None and len(self.receiver.queue)
        if self._finished:
            return
        if unread or self.options.so_linger == 0 or self.state is State.SYN_SENT:
            if unread and self.options.so_linger != 0:
                self.layer.count("TCPAbortOnClose")
                self._push(now_ns)
            self.abort(now_ns)
            return
        if not self.shut_writing:
            self.shut(now_ns)
        if self._finished:
            return
        if not self.layer.adopt_orphan(self):
            self.abort(now_ns)
        elif self.state is State.FIN_WAIT_2:
            self.linger(now_ns)

    def _push(self, now_ns: int) -> None:
        """What only Nagle or a cork held back goes out ahead of the RST: on Linux it would have left by now, as the
        acknowledgement that it waited for comes within the system call that sends."""
        self.options.tcp_nodelay, self.options.tcp_cork, self.more = True, False, False
        self.sender.transmit(now_ns)

    def linger(self, now_ns: int) -> None:
        """An orphan waits for the peer's FIN, but not for ever."""
        seconds = self.options.tcp_linger2
        self.linger_at_ns = now_ns + max(seconds, 0) * 1_000_000_000
        self.arm(self.linger_at_ns)

    def abort(self, now_ns: int) -> None:
        """RST, and the end (RFC 9293, section 3.10.5)."""
        if not self._finished:
            if self.state is not State.SYN_SENT:
                self.send_reset()
            self.finish()

    def icmp(self, errno: int, hard: bool, now_ns: int) -> None:
        """An ICMP error about one of our segments (RFC 1122, section 4.2.3.9; RFC 5927): only a handshake dies of
        it, and then, as on Linux, of any: who waits for a connection wants to know that nobody is there."""
        if self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self.finish(errno)
            self.tell()
        else:
            self.soft_error = errno

    def keepalive_changed(self, now_ns: int) -> None:
        """The option, or one of its times."""
        self.keepalive_at_ns = NEVER
        if self.options.so_keepalive and self.state in (State.ESTABLISHED, State.CLOSE_WAIT):
            self.keepalive_at_ns = max(self.heard_ns + self.options.tcp_keepidle * 1_000_000_000, now_ns)
            self.arm(self.keepalive_at_ns)


def connection_error(error: int) -> KernelError:
    """What the user is told of the end of a connection."""
    return KernelError(Errno(error))
