"""What can be set: options of a socket under Linux's names (tcp(7), socket(7)), and the settings of the layer
(sysctl).

    option              value                       option              value
    tcp_nodelay         bool                        so_keepalive        bool
    tcp_cork            bool                        so_linger           None, or seconds (0: close by RST)
    tcp_quickack        bool                        so_reuseaddr        bool
    tcp_maxseg          88 to 32767                 so_reuseport        bool
    tcp_congestion      "cubic" or "reno"           so_sndbuf           bytes, as SO_SNDBUF shows them
    tcp_keepidle        1 to 32767 s                so_rcvbuf           the same
    tcp_keepintvl       1 to 32767 s                so_rcvlowat         bytes
    tcp_keepcnt         1 to 127                    so_oobinline        bool
    tcp_user_timeout    ms, 0: the default          so_bindtodevice     name of an interface, empty: none
    tcp_defer_accept    s, 0: off                   see KEPT            kept, without effect
    tcp_syncnt          1 to 127                    ip_ttl              1 to 255, -1: the default
    tcp_window_clamp    bytes, 0: none              ip_tos              0 to 255
    tcp_linger2         s, 0: the default           ipv6_unicast_hops   -1 to 255
    tcp_notsent_lowat   bytes, 0: none              ipv6_tclass         0 to 255
                                                    ipv6_v6only         bool, before bind
    can only be read: tcp_info (mapping), so_error, so_acceptconn, so_type, so_protocol, so_domain, siocatmark

tcp_fastopen and its like are refused with ENOPROTOOPT: Fast Open is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field
from jefeos.errors import Errno, KernelError

from jefeos_net_inet.tcp.congestion import ALGORITHMS
from jefeos_net_inet.tcp.ecn import CODEPOINTS

LARGEST_WINDOW_SCALE: Final = 14


def default_settings() -> dict[str, int | str | tuple[int, ...]]:
    """Names and values as sysctl shows them."""
    return {
        "net.ipv4.tcp_congestion_control": "cubic",
        "net.ipv4.tcp_available_congestion_control": "cubic reno",
        "net.ipv4.tcp_rmem": (4096, 131_072, 6_291_456),
        "net.ipv4.tcp_wmem": (4096, 262_144, 4_194_304),
        "net.ipv4.tcp_moderate_rcvbuf": 1,
        "net.ipv4.tcp_syn_retries": 6,
        "net.ipv4.tcp_synack_retries": 5,
        "net.ipv4.tcp_retries2": 15,
        "net.ipv4.tcp_orphan_retries": 8,
        "net.ipv4.tcp_keepalive_time": 7200,
        "net.ipv4.tcp_keepalive_intvl": 75,
        "net.ipv4.tcp_keepalive_probes": 9,
        "net.ipv4.tcp_fin_timeout": 60,
        "net.ipv4.tcp_max_syn_backlog": 1024,
        "net.ipv4.tcp_max_tw_buckets": 32_768,
        "net.ipv4.tcp_max_orphans": 8192,
        "net.ipv4.tcp_syncookies": 1,
        "net.ipv4.tcp_tw_reuse": 1,
        "net.ipv4.tcp_sack": 1,
        "net.ipv4.tcp_ecn": 2,
        "net.ipv4.tcp_ecn_fallback": 1,
        "net.ipv4.tcp_recovery": 1,
        "net.ipv4.tcp_early_retrans": 3,
        "net.ipv4.tcp_timestamps": 1,
        "net.ipv4.tcp_window_scaling": 1,
        "net.ipv4.tcp_slow_start_after_idle": 1,
        "net.ipv4.tcp_challenge_ack_limit": 10,
        "net.ipv4.ip_local_port_range": (32_768, 60_999),
        "net.core.somaxconn": 4096,
    }


@define
class SocketOptions:
    """The options of a socket; a connection that a listener accepted begins with a copy of the listener's."""

    tcp_nodelay: bool = False
    tcp_cork: bool = False
    tcp_quickack: bool = True
    tcp_maxseg: int = 0
    tcp_congestion: str = "cubic"
    tcp_keepidle: int = 7200
    tcp_keepintvl: int = 75
    tcp_keepcnt: int = 9
    tcp_user_timeout: int = 0
    tcp_defer_accept: int = 0
    tcp_syncnt: int = 6
    tcp_window_clamp: int = 0
    tcp_linger2: int = 60
    tcp_notsent_lowat: int = 0
    so_keepalive: bool = False
    so_linger: int | None = None
    so_reuseaddr: bool = False
    so_reuseport: bool = False
    so_sndbuf: int = 262_144
    so_rcvbuf: int = 131_072
    so_rcvlowat: int = 1
    so_oobinline: bool = False
    so_bindtodevice: str = ""
    interface: int = 0
    """Index of the interface that `so_bindtodevice` names, or of a link-local peer; 0: none."""
    ip_ttl: int = -1
    ip_tos: int = 0
    ipv6_unicast_hops: int = -1
    ipv6_tclass: int = 0
    ipv6_v6only: bool = False
    kept: dict[str, Any] = field(factory=dict)
    """Options of `KEPT` that were set."""
    fixed_send_buffer: bool = False
    """SO_SNDBUF was set: no auto-tuning."""
    fixed_receive_buffer: bool = False


def options_from(settings: Mapping[str, Any]) -> SocketOptions:
    """The options of a new socket."""
    return SocketOptions(
        tcp_congestion=str(settings["net.ipv4.tcp_congestion_control"]),
        tcp_keepidle=int(settings["net.ipv4.tcp_keepalive_time"]),
        tcp_keepintvl=int(settings["net.ipv4.tcp_keepalive_intvl"]),
        tcp_keepcnt=int(settings["net.ipv4.tcp_keepalive_probes"]),
        tcp_syncnt=int(settings["net.ipv4.tcp_syn_retries"]),
        tcp_linger2=int(settings["net.ipv4.tcp_fin_timeout"]),
        so_sndbuf=settings["net.ipv4.tcp_wmem"][1],
        so_rcvbuf=settings["net.ipv4.tcp_rmem"][1],
    )


_FLAGS: Final = frozenset(
    {
        "tcp_nodelay", "tcp_cork", "tcp_quickack", "so_keepalive", "so_reuseaddr", "so_reuseport",
        "so_oobinline", "ipv6_v6only",
    }
)
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "tcp_keepidle": (1, 32_767),
    "tcp_keepintvl": (1, 32_767),
    "tcp_keepcnt": (1, 127),
    "tcp_syncnt": (1, 127),
    "tcp_user_timeout": (0, 0x7FFF_FFFF),
    "tcp_defer_accept": (0, 0x7FFF_FFFF),
    "tcp_window_clamp": (0, 0x7FFF_FFFF),
    "tcp_linger2": (-1, 120),
    "tcp_notsent_lowat": (0, 0xFFFF_FFFF),
    "so_rcvlowat": (0, 0x7FFF_FFFF),
    "ip_ttl": (-1, 255),
    "ip_tos": (0, 255),
    "ipv6_unicast_hops": (-1, 255),
    "ipv6_tclass": (-1, 255),
}
_CLASSES: Final = ("ip_tos", "ipv6_tclass")
KEPT: Final = frozenset(
    {
        "so_debug", "so_broadcast", "so_dontroute", "so_priority", "so_mark", "so_timestamp",
        "so_timestampns", "so_no_check", "so_busy_poll", "ip_recverr", "ip_recvttl", "ip_recvtos",
        "ip_recvopts", "ip_pktinfo", "ip_mtu_discover", "ip_freebind", "ip_transparent",
        "ip_bind_address_no_port", "ip_multicast_ttl", "ip_multicast_loop", "ip_multicast_all",
        "ipv6_mtu_discover", "ipv6_recverr", "ipv6_recvpktinfo", "ipv6_recvhoplimit", "ipv6_recvtclass",
        "ipv6_multicast_hops", "ipv6_multicast_loop",
    }
)
"""What programs set on any socket: it is kept and given back, and has no effect on a stream."""
DEFAULT_HOPS: Final = 64
SMALLEST_BUFFER: Final = 2304
LARGEST_BUFFER: Final = 8 << 20


def set_option(options: SocketOptions, name: str, value: Any) -> None:
    """Check and set one. ENOPROTOOPT, EINVAL, ENOENT for an unknown congestion control."""
    if name in _FLAGS:
        setattr(options, name, bool(value))
    elif name in _RANGES:
        low, high = _RANGES[name]
        if not isinstance(value, int) or not low <= value <= high or (name == "ip_ttl" and value == 0):
            raise KernelError(Errno.EINVAL)
        if name in _CLASSES and value > 0:
            value &= ~CODEPOINTS  # those two bits are TCP's own
        setattr(options, name, value)
    elif name in ("so_sndbuf", "so_rcvbuf"):
        if not isinstance(value, int):
            raise KernelError(Errno.EINVAL)
        smallest = SMALLEST_BUFFER if name == "so_rcvbuf" else 2 * SMALLEST_BUFFER
        setattr(options, name, min(max(value, smallest), LARGEST_BUFFER))
        setattr(options, "fixed_send_buffer" if name == "so_sndbuf" else "fixed_receive_buffer", True)
    elif name == "tcp_maxseg":
        if not isinstance(value, int) or (value and not 88 <= value <= 32_767):
            raise KernelError(Errno.EINVAL)
        options.tcp_maxseg = value
    elif name == "so_linger":
        if value is not None and not isinstance(value, int):
            raise KernelError(Errno.EINVAL)
        options.so_linger = value
    elif name == "tcp_congestion":
        if value not in ALGORITHMS:
            raise KernelError(Errno.ENOENT, f"no congestion control {value!r}")
        options.tcp_congestion = value
    elif name in KEPT:
        options.kept[name] = value
    else:
        raise KernelError(Errno.ENOPROTOOPT)
