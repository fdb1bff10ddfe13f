"""What time does to a connection: retransmission, window probes, delayed acknowledgments, keepalive, giving up.

Each deadline is an attribute of its owner; `expire` looks which of them have come and arms the connection for the
earliest that remains. Giving up: after tcp_retries2 timeouts in a row (tcp_syn_retries for a SYN,
tcp_orphan_retries for a connection without a user), or TCP_USER_TIMEOUT (RFC 5482), with ETIMEDOUT or what ICMP
said meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno

from jefeos_net_inet.tcp.receiver import ACK_NONE
from jefeos_net_inet.tcp.rto import LARGEST_NS
from jefeos_net_inet.tcp.sequence import NEVER
from jefeos_net_inet.tcp.states import FLUSHING, State
from jefeos_net_inet.tcp.wire import ACK

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.connection import Connection

SECOND_NS = 1_000_000_000


def expire(connection: Connection, now_ns: int) -> None:
    """HOT (rarely more than a few times a second for each connection)."""
    sender, receiver = connection.sender, connection.receiver
    if sender.retransmit_at_ns <= now_ns:
        retransmission_timeout(connection, now_ns)
    if sender.tail_at_ns <= now_ns and not connection.is_over:
        sender.probe_tail(now_ns)
    if sender.recovery.rack.check_at_ns <= now_ns and not connection.is_over:
        sender.recovery.judge(now_ns)
        sender.transmit(now_ns)
    if receiver is not None and receiver.ack_at_ns <= now_ns and not connection.is_over:
        if receiver.ack_state != ACK_NONE:
            connection.layer.count("DelayedACKs")
            connection.acknowledge(now_ns)
        receiver.ack_at_ns = NEVER
    if connection.cork_at_ns <= now_ns and not connection.is_over:
        sender.transmit(now_ns)
        if connection.cork_at_ns <= now_ns:
            connection.cork_at_ns = NEVER
    if connection.keepalive_at_ns <= now_ns and not connection.is_over:
        keepalive(connection, now_ns)
    if connection.linger_at_ns <= now_ns and not connection.is_over:
        connection.layer.end_in_time_wait(connection, now_ns)
    if not connection.is_over:
        rearm(connection)
    if connection.notify:
        connection.tell()


def rearm(connection: Connection) -> None:
    """Wait for the earliest deadline."""
    deadline = min(
        connection.sender.retransmit_at_ns,
        connection.sender.tail_at_ns,
        connection.sender.recovery.rack.check_at_ns,
        connection.receiver.ack_at_ns if connection.receiver is not None else NEVER,
        connection.cork_at_ns,
        connection.keepalive_at_ns,
        connection.linger_at_ns,
    )
    if deadline < NEVER:
        connection.arm(deadline)


def _gave_up(connection: Connection, attempts: int, most: int, now_ns: int) -> bool:
    """Whether it is time to give up; then it is done."""
    patience_ns = connection.options.tcp_user_timeout * 1_000_000
    if patience_ns and connection.state not in (State.SYN_SENT, State.SYN_RECEIVED):
        over = attempts > 0 and now_ns - connection.heard_ns >= patience_ns
    else:
        over = attempts > most
    if over:
        connection.layer.count("TCPAbortOnTimeout")
        connection.finish(connection.soft_error or Errno.ETIMEDOUT)
    return over


def _retries(connection: Connection) -> int:
    layer = connection.layer
    if connection.state is State.SYN_SENT:
        return connection.options.tcp_syncnt
    if connection.state is State.SYN_RECEIVED:
        return int(layer.setting("tcp_synack_retries"))
    return int(layer.setting("tcp_retries2" if connection.socket is not None else "tcp_orphan_retries"))


def retransmission_timeout(connection: Connection, now_ns: int) -> None:
    """RFC 6298, section 5."""
    sender = connection.sender
    sender.retransmit_at_ns = NEVER
    if connection.state in (State.SYN_SENT, State.SYN_RECEIVED):
        sender.retries += 1
        if not _gave_up(connection, sender.retries, _retries(connection), now_ns):
            sender.timeout.back_off()
            connection.layer.count("RetransSegs")
            connection.retransmits += 1
            connection.send_syn(now_ns)
        return
    if connection.state not in FLUSHING:
        return
    if sender.nxt == sender.una:
        _probe(connection, now_ns)
        return
    sender.retries += 1
    if _gave_up(connection, sender.retries, _retries(connection), now_ns):
        return
    connection.layer.count("TCPTimeouts")
    connection.path_changed()  # another connection may have learned of a smaller MTU, or the route is another one
    sender.timeout.back_off()
    sender.recovery.timed_out(now_ns, connection.stamp_clock(now_ns) if connection.stamps else None)
    if not sender.send_again(sender.una, sender.nxt, now_ns):
        sender.retransmit_at_ns = now_ns + sender.timeout.current_ns
    connection.arm(sender.retransmit_at_ns)


def _probe(connection: Connection, now_ns: int) -> None:
    """The peer's window is closed (RFC 9293, section 3.8.6.1). While it answers and we have a user, this goes on."""
    sender = connection.sender
    if sender.queue.end <= sender.nxt and sender.fin_at != sender.nxt:
        return
    if connection.socket is None and sender.timeout.current_ns >= LARGEST_NS:
        # Nobody waits for the data any more: a peer may not keep them here for ever by saying "later".
        connection.layer.count("TCPAbortOnTimeout")
        connection.abort(now_ns)
    elif not _gave_up(connection, sender.probes, _retries(connection), now_ns):
        connection.layer.count("TCPWinProbe")
        sender.probe(now_ns)


def keepalive(connection: Connection, now_ns: int) -> None:
    """RFC 9293, section 3.8.4: a segment that the peer has to answer, after a long silence."""
    options = connection.options
    connection.keepalive_at_ns = NEVER
    if not options.so_keepalive or connection.state not in (State.ESTABLISHED, State.CLOSE_WAIT):
        return
    idle_until_ns = connection.heard_ns + options.tcp_keepidle * SECOND_NS
    if connection.sender.nxt != connection.sender.una or idle_until_ns > now_ns:
        connection.keepalive_probes = 0
        connection.keepalive_at_ns = max(idle_until_ns, now_ns + SECOND_NS)
        return
    patience_ns = options.tcp_user_timeout * 1_000_000
    silent_ns = now_ns - connection.heard_ns
    if connection.keepalive_probes and (
        silent_ns >= patience_ns if patience_ns else connection.keepalive_probes >= options.tcp_keepcnt
    ):
        connection.layer.count("TCPAbortOnTimeout")
        connection.send_reset()
        connection.finish(connection.soft_error or Errno.ETIMEDOUT)
        return
    connection.keepalive_probes += 1
    connection.layer.count("TCPKeepAlive")
    connection.emit(now_ns, connection.sender.una - 1, ACK)
    connection.keepalive_at_ns = now_ns + options.tcp_keepintvl * SECOND_NS
