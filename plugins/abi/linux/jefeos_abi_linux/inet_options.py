"""Options of internet sockets: Linux's numbers and structures to the stack's names and values, and back.

Levels and numbers: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h, linux/udp.h, linux/icmp.h. Most options
are an int; those with a structure are read and written by a function here. What the table lacks is ENOPROTOOPT.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.socket import TCP_STATE_NUMBERS

from jefeos_abi_linux.sockets import SOL_SOCKET, option_number

if TYPE_CHECKING:
    from jefeos.net.socket import Socket

SOL_IP: Final = 0
SOL_TCP: Final = 6
SOL_UDP: Final = 17
SOL_UDPLITE: Final = 136
SOL_IPV6: Final = 41
SOL_ICMPV6: Final = 58
SOL_RAW: Final = 255
SO_ERROR: Final = 4
SO_LINGER: Final = 13
SO_BINDTODEVICE: Final = 25
NOT_PACED: Final = (1 << 64) - 1
"""tcpi_max_pacing_rate without a limit."""

#: Options whose value is an int, by level and number.
INTEGERS: Final[Mapping[tuple[int, int], str]] = {
    (SOL_SOCKET, 1): "so_debug",
    (SOL_SOCKET, 2): "so_reuseaddr",
    (SOL_SOCKET, 5): "so_dontroute",
    (SOL_SOCKET, 6): "so_broadcast",
    (SOL_SOCKET, 7): "so_sndbuf",
    (SOL_SOCKET, 8): "so_rcvbuf",
    (SOL_SOCKET, 9): "so_keepalive",
    (SOL_SOCKET, 10): "so_oobinline",
    (SOL_SOCKET, 11): "so_no_check",
    (SOL_SOCKET, 12): "so_priority",
    (SOL_SOCKET, 15): "so_reuseport",
    (SOL_SOCKET, 18): "so_rcvlowat",
    (SOL_SOCKET, 29): "so_timestamp",
    (SOL_SOCKET, 30): "so_acceptconn",
    (SOL_SOCKET, 32): "so_sndbuf",
    (SOL_SOCKET, 33): "so_rcvbuf",
    (SOL_SOCKET, 35): "so_timestampns",
    (SOL_SOCKET, 36): "so_mark",
    (SOL_SOCKET, 46): "so_busy_poll",
    (SOL_IP, 1): "ip_tos",
    (SOL_IP, 2): "ip_ttl",
    (SOL_IP, 3): "ip_hdrincl",
    (SOL_IP, 6): "ip_recvopts",
    (SOL_IP, 7): "ip_retopts",
    (SOL_IP, 8): "ip_pktinfo",
    (SOL_IP, 10): "ip_mtu_discover",
    (SOL_IP, 11): "ip_recverr",
    (SOL_IP, 12): "ip_recvttl",
    (SOL_IP, 13): "ip_recvtos",
    (SOL_IP, 14): "ip_mtu",
    (SOL_IP, 15): "ip_freebind",
    (SOL_IP, 19): "ip_transparent",
    (SOL_IP, 24): "ip_bind_address_no_port",
    (SOL_IP, 33): "ip_multicast_ttl",
    (SOL_IP, 34): "ip_multicast_loop",
    (SOL_IP, 49): "ip_multicast_all",
    (SOL_IPV6, 2): "ipv6_2292pktinfo",
    (SOL_IPV6, 7): "ipv6_checksum",
    (SOL_IPV6, 8): "ipv6_2292hoplimit",
    (SOL_IPV6, 16): "ipv6_unicast_hops",
    (SOL_IPV6, 18): "ipv6_multicast_hops",
    (SOL_IPV6, 19): "ipv6_multicast_loop",
    (SOL_IPV6, 17): "ipv6_multicast_if",
    (SOL_IPV6, 23): "ipv6_mtu_discover",
    (SOL_IPV6, 24): "ipv6_mtu",
    (SOL_IPV6, 25): "ipv6_recverr",
    (SOL_IPV6, 26): "ipv6_v6only",
    (SOL_IPV6, 49): "ipv6_recvpktinfo",
    (SOL_IPV6, 51): "ipv6_recvhoplimit",
    (SOL_IPV6, 66): "ipv6_recvtclass",
    (SOL_IPV6, 67): "ipv6_tclass",
    (SOL_TCP, 1): "tcp_nodelay",
    (SOL_TCP, 2): "tcp_maxseg",
    (SOL_TCP, 3): "tcp_cork",
    (SOL_TCP, 4): "tcp_keepidle",
    (SOL_TCP, 5): "tcp_keepintvl",
    (SOL_TCP, 6): "tcp_keepcnt",
    (SOL_TCP, 7): "tcp_syncnt",
    (SOL_TCP, 8): "tcp_linger2",
    (SOL_TCP, 9): "tcp_defer_accept",
    (SOL_TCP, 10): "tcp_window_clamp",
    (SOL_TCP, 12): "tcp_quickack",
    (SOL_TCP, 18): "tcp_user_timeout",
    (SOL_TCP, 25): "tcp_notsent_lowat",
    (SOL_UDP, 1): "udp_cork",
    (SOL_UDPLITE, 10): "udplite_send_cscov",
    (SOL_UDPLITE, 11): "udplite_recv_cscov",
    (SOL_RAW, 1): "icmp_filter",
    (SOL_RAW, 7): "ipv6_checksum",
}


def _read_linger(value: bytes) -> int | None:
    """struct linger to seconds; None when it is off."""
    if len(value) < 8:
        raise KernelError(Errno.EINVAL)
    on, seconds = struct.unpack_from("<ii", value)
    return max(seconds, 0) if on else None


def _linger_bytes(value: int | None) -> bytes:
    return struct.pack("<ii", value is not None, value or 0)


def _read_text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("latin-1")


def _text_bytes(value: str) -> bytes:
    return value.encode("latin-1") + b"\0" if value else b""


def _read_membership(value: bytes) -> tuple[bytes, bytes, int]:
    """struct ip_mreq or ip_mreqn: group, address of the interface, its index."""
    if len(value) < 8:
        raise KernelError(Errno.EINVAL)
    return value[:4], value[4:8], int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0


def _read_membership6(value: bytes) -> tuple[bytes, bytes, int]:
    """struct ipv6_mreq: group and index."""
    if len(value) < 20:
        raise KernelError(Errno.EINVAL)
    return value[:16], b"", int.from_bytes(value[16:20], "little")


def _read_interface(value: bytes) -> tuple[bytes, int]:
    """struct in_addr, ip_mreq or ip_mreqn for IP_MULTICAST_IF: the address of the interface, its index."""
    if len(value) >= 12:
        return value[4:8], int.from_bytes(value[8:12], "little")
    if len(value) < 4:
        raise KernelError(Errno.EINVAL)
    return value[4:8] if len(value) >= 8 else value[:4], 0


def _interface_bytes(value: tuple[bytes, int]) -> bytes:
    return value[0] or bytes(4)


#: Options with a structure: name, reader, writer (None: it can only be set, or only be read).
STRUCTURES: Final[
    Mapping[tuple[int, int], tuple[str, Callable[[bytes], Any] | None, Callable[[Any], bytes] | None]]
] = {
    (SOL_SOCKET, SO_LINGER): ("so_linger", _read_linger, _linger_bytes),
    (SOL_SOCKET, SO_BINDTODEVICE): ("so_bindtodevice", _read_text, _text_bytes),
    (SOL_IP, 32): ("ip_multicast_if", _read_interface, _interface_bytes),
    (SOL_IP, 35): ("ip_add_membership", _read_membership, None),
    (SOL_IP, 36): ("ip_drop_membership", _read_membership, None),
    (SOL_IPV6, 20): ("ipv6_add_membership", _read_membership6, None),
    (SOL_IPV6, 21): ("ipv6_drop_membership", _read_membership6, None),
    (SOL_TCP, 13): ("tcp_congestion", _read_text, _text_bytes),
    (SOL_TCP, 11): ("tcp_info", None, None),
    (SOL_ICMPV6, 1): ("icmp6_filter", bytes, bytes),
}

def tcp_info_bytes(state: str, info: Mapping[str, int]) -> bytes:
    """struct tcp_info up to tcpi_rcv_wnd: what the stack does not know or does not do (pacing) is 0."""
    get = info.get
    first = struct.pack(
        "<8B",
        TCP_STATE_NUMBERS.get(state, TCP_STATE_NUMBERS["CLOSED"]),
        get("ca_state", 0), get("retransmits", 0), get("probes", 0), get("backoff", 0),
        get("options", 0), get("snd_wscale", 0) & 15 | (get("rcv_wscale", 0) & 15) << 4, 0,
    )
    names = (
        "rto_us", "ato_us", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
        "last_data_sent_ms", "last_ack_sent_ms", "last_data_recv_ms", "last_ack_recv_ms", "pmtu", "rcv_ssthresh",
        "rtt_us", "rttvar_us", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt_us", "rcv_space",
        "total_retrans",
    )
    words = struct.pack("<24I", *(min(max(int(get(name, 0)), 0), 0xFFFF_FFFF) for name in names))
    counts = struct.pack("<4Q", 0, NOT_PACED, max(get("bytes_acked", 0), 0), max(get("bytes_received", 0), 0))
    later = struct.pack("<6I", 0, 0, get("notsent_bytes", 0), get("min_rtt_us", 0), 0, 0)
    # Delivery rate, what limited it, deliveries, bytes sent and again, duplicates: not counted here.
    windows = struct.pack("<4Q2I2Q3I2I", *([0] * 11), get("snd_wnd", 0), get("rcv_wnd", 0))
    return first + words + counts + later + windows


def set_inet_option(socket: Socket, level: int, option: int, value: bytes) -> None:
    """setsockopt(2). ENOPROTOOPT, EINVAL."""
    name = INTEGERS.get((level, option))
    if name is not None:
        number = value[0] if len(value) == 1 and level in (SOL_IP, SOL_IPV6) else option_number(value)
        if name in ("so_sndbuf", "so_rcvbuf"):
            number = min(max(number, 0), 1 << 28) * 2  # Linux keeps as much again for its own structures, and says so
        socket.set_option(name, number)
        return
    found = STRUCTURES.get((level, option))
    if found is None or found[1] is None:
        raise KernelError(Errno.ENOPROTOOPT)
    socket.set_option(found[0], found[1](value))


def get_inet_option(socket: Socket, level: int, option: int) -> bytes:
    """getsockopt(2). ENOPROTOOPT."""
    if (level, option) == (SOL_SOCKET, SO_ERROR):
        return socket.take_error().to_bytes(4, "little")
    name = INTEGERS.get((level, option))
    if name is not None:
        return (int(socket.get_option(name)) & 0xFFFF_FFFF).to_bytes(4, "little")
    found = STRUCTURES.get((level, option))
    if found is None:
        raise KernelError(Errno.ENOPROTOOPT)
    name, _, write = found
    if name == "tcp_info":
        return tcp_info_bytes(getattr(socket, "state", "CLOSED"), socket.get_option(name))
    if write is None:
        raise KernelError(Errno.ENOPROTOOPT)
    return write(socket.get_option(name))
