"""What can be told of a connection: TCP_INFO, and the lines of ``ss`` and /proc/net/tcp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jefeos.net.address import AF_INET, AF_INET6, SocketAddress
from jefeos.net.stack import SocketInfo

from jefeos_net_inet.tcp.sequence import NEVER
from jefeos_net_inet.tcp.states import State

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.connection import Connection
    from jefeos_net_inet.tcp.socket import TcpSocket
    from jefeos_net_inet.tcp.tuning import SocketOptions

_TIMESTAMPS, _SACK, _SCALE, _ECN = 1, 2, 4, 8
_REDUCED = 2
"""TCP_CA_CWR."""
_NEVER_SENT = 0x7FFF_FFFF
_SHUT = {
    State.FIN_WAIT_1: 2, State.FIN_WAIT_2: 2, State.CLOSE_WAIT: 1, State.LAST_ACK: 3, State.CLOSING: 3
}
"""Which ways are over: 1 receiving, 2 sending."""


def tcp_info(connection: Connection | None, state: State, now_ns: int) -> dict[str, int]:
    """struct tcp_info (linux/tcp.h): its names without ``tcpi_`` and with the unit of times."""
    if connection is None or connection.receiver is None:
        return {"state": state}
    sender, receiver = connection.sender, connection.receiver
    timeout, recovery, congestion = sender.timeout, sender.recovery, sender.congestion
    segment_bytes = sender.segment_bytes
    ecn = connection.ecn
    reducing = ecn is not None and sender.una <= ecn.until and not recovery.busy
    silence_ms = max(now_ns - connection.heard_ns, 0) // 1_000_000
    return {
        "state": state,
        "ca_state": _REDUCED if reducing else recovery.phase,
        "retransmits": sender.retries,
        "probes": sender.probes or connection.keepalive_probes,
        "backoff": timeout.backoff,
        "options": (_TIMESTAMPS if connection.stamps else 0)
        | (_SACK if sender.sack else 0)
        | (_SCALE if connection.scaling else 0)
        | (_ECN if ecn is not None else 0),
        "snd_wscale": sender.scale,
        "rcv_wscale": receiver.scale,
        "rto_us": timeout.current_ns // 1000,
        "ato_us": 40_000,
        "snd_mss": segment_bytes,
        "rcv_mss": min(receiver.segment_bytes, connection.offered_mss),
        "unacked": -(-(sender.nxt - sender.una) // segment_bytes),
        "sacked": -(-recovery.scoreboard.sacked // segment_bytes),
        "lost": -(-recovery.flight.lost // segment_bytes),
        "retrans": -(-recovery.flight.repeated // segment_bytes),
        "fackets": 0,
        "last_data_sent_ms": max(now_ns - sender.last_sent_ns, 0) // 1_000_000 if sender.last_sent_ns else silence_ms,
        "last_ack_sent_ms": 0,
        "last_data_recv_ms": silence_ms,
        "last_ack_recv_ms": silence_ms,
        "pmtu": connection.path.mtu,
        "rcv_ssthresh": max(receiver.edge - receiver.nxt, 0),
        "rtt_us": timeout.smoothed_ns // 1000,
        "rttvar_us": timeout.variation_ns // 1000,
        "snd_ssthresh": min(congestion.threshold // segment_bytes, _NEVER_SENT),
        "snd_cwnd": max(congestion.window // segment_bytes, 1),
        "advmss": connection.offered_mss,
        "reordering": 3,
        "rcv_rtt_us": 0,
        "rcv_space": receiver.buffer_bytes // 2,
        "total_retrans": connection.retransmits,
        "notsent_bytes": max(sender.queue.end - sender.nxt, 0),
        "min_rtt_us": timeout.smallest_ns // 1000,
        "bytes_acked": max(sender.una - sender.initial - 1, 0),
        "bytes_received": receiver.nxt - receiver.initial - 1,
        "snd_wnd": sender.window,
        "rcv_wnd": max(receiver.edge - receiver.nxt, 0),
    }


def option_details(options: SocketOptions) -> dict[str, Any]:
    """What listings tell of a socket's options."""
    return {
        "rcvbuf": options.so_rcvbuf, "sndbuf": options.so_sndbuf, "device": options.interface, "tos": options.ip_tos,
        "tclass": max(options.ipv6_tclass, 0), "v6only": int(options.ipv6_v6only),
    }


def connection_info(connection: Connection, now_ns: int) -> SocketInfo:
    """A line for a connection, also one without a user."""
    sender, receiver = connection.sender, connection.receiver
    timer, deadline = "", NEVER
    if sender.retransmit_at_ns < NEVER:
        timer, deadline = "on" if sender.nxt > sender.una else "persist", sender.retransmit_at_ns
    elif connection.keepalive_at_ns < NEVER:
        timer, deadline = "keepalive", connection.keepalive_at_ns
    elif connection.linger_at_ns < NEVER:
        timer, deadline = "timewait", connection.linger_at_ns
    socket = connection.socket
    details = tcp_info(connection, connection.state, now_ns) | option_details(connection.options) | {
        "congestion": sender.congestion.name,
        "sndbuf": connection.send_buffer_bytes,
        "rcvbuf": receiver.buffer_bytes if receiver is not None else connection.options.so_rcvbuf,
        "shutdown": 3 if socket is None else _SHUT.get(connection.state, 0) | int(connection.shut_reading),
    }
    return SocketInfo(
        kind="tcp",
        family=socket.family if socket is not None else AF_INET if len(connection.local) == 4 else AF_INET6,
        local=SocketAddress(connection.local, connection.local_port),
        remote=SocketAddress(connection.remote, connection.remote_port),
        state=connection.state.name,
        send_queue=sender.unacknowledged,
        receive_queue=len(receiver.queue) if receiver is not None else 0,
        owner=socket.owner if socket is not None else None,
        timer=timer,
        expires_ns=max(deadline - now_ns, 0) if timer else 0,
        retransmits=sender.retries,
        details=details,
    )


def socket_info(socket: TcpSocket) -> SocketInfo:
    """A line for a socket that listens."""
    listener = socket.listener
    return SocketInfo(
        kind="tcp",
        family=socket.family,
        local=socket.local,
        remote=None,
        state=socket.state,
        send_queue=listener.backlog if listener is not None else 0,
        receive_queue=len(listener.ready) if listener is not None else 0,
        owner=socket.owner,
        details={
            **option_details(socket.options), "congestion": socket.options.tcp_congestion, "snd_cwnd": 10,
            "reordering": 3,
        },
    )


def record_info(record: Any, now_ns: int) -> SocketInfo:
    """A line for a handshake or a TIME-WAIT: objects with a key, a state and ``until_ns``."""
    local, remote, local_port, remote_port = record.key
    waiting = record.state is State.TIME_WAIT
    return SocketInfo(
        kind="tcp",
        family=AF_INET if len(local) == 4 else AF_INET6,
        local=SocketAddress(local, local_port),
        remote=SocketAddress(remote, remote_port),
        state=record.state.name,
        send_queue=0,
        receive_queue=0,
        timer="timewait" if waiting else "on",
        expires_ns=max(record.until_ns - now_ns, 0),
    )
