"""What sysctl calls net.*: names and defaults of Linux, in a plain dict that may be written at any time.

Whoever needs a setting reads it when needed. TCP adds its own (``net.ipv4.tcp_*``). Per-interface trees are reduced
to ``conf.all`` and ``conf.default``.
"""

from __future__ import annotations

from typing import Final

Settings = dict[str, int | str | tuple[int, ...]]

DEFAULTS: Final[Settings] = {
    "net.core.rmem_default": 212_992,
    "net.core.rmem_max": 212_992,
    "net.core.wmem_default": 212_992,
    "net.core.wmem_max": 212_992,
    "net.core.somaxconn": 4096,
    "net.ipv4.ip_forward": 0,
    "net.ipv4.ip_default_ttl": 64,
    "net.ipv4.ip_local_port_range": (32_768, 60_999),
    "net.ipv4.ip_unprivileged_port_start": 1024,
    "net.ipv4.ip_nonlocal_bind": 0,
    "net.ipv4.ping_group_range": (0, 2_147_483_647),
    "net.ipv4.ipfrag_time": 30,
    "net.ipv4.ipfrag_high_thresh": 4_194_304,
    "net.ipv4.ipfrag_max_dist": 64,
    "net.ipv4.icmp_echo_ignore_all": 0,
    "net.ipv4.icmp_echo_ignore_broadcasts": 1,
    "net.ipv4.icmp_ratelimit": 1000,
    "net.ipv4.icmp_msgs_per_sec": 1000,
    "net.ipv4.icmp_msgs_burst": 50,
    "net.ipv4.igmp_max_memberships": 20,
    "net.ipv4.conf.all.accept_redirects": 1,
    "net.ipv4.conf.all.arp_notify": 1,
    "net.ipv4.route.mtu_expires": 600,
    "net.ipv4.route.min_pmtu": 552,
    "net.ipv4.neigh.default.gc_thresh3": 1024,
    "net.ipv4.neigh.default.unres_qlen": 101,
    "net.ipv4.neigh.default.base_reachable_time_ms": 30_000,
    "net.ipv4.neigh.default.delay_first_probe_time": 5,
    "net.ipv4.neigh.default.retrans_time_ms": 1000,
    "net.ipv4.neigh.default.mcast_solicit": 3,
    "net.ipv4.neigh.default.ucast_solicit": 3,
    "net.ipv6.bindv6only": 0,
    "net.ipv6.ip6frag_time": 60,
    "net.ipv6.ip6frag_high_thresh": 4_194_304,
    "net.ipv6.icmp.echo_ignore_all": 0,
    "net.ipv6.icmp.ratelimit": 1000,
    "net.ipv6.route.mtu_expires": 600,
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.all.forwarding": 0,
    "net.ipv6.conf.all.hop_limit": 64,
    "net.ipv6.conf.all.accept_ra": 1,
    "net.ipv6.conf.all.accept_redirects": 1,
    "net.ipv6.conf.all.autoconf": 1,
    "net.ipv6.conf.all.dad_transmits": 1,
    "net.ipv6.conf.all.router_solicitations": 3,
    "net.ipv6.conf.all.router_solicitation_interval": 4,
    "net.ipv6.conf.all.max_addresses": 16,
    "net.ipv6.neigh.default.gc_thresh3": 1024,
    "net.ipv6.neigh.default.unres_qlen": 101,
    "net.ipv6.neigh.default.base_reachable_time_ms": 30_000,
    "net.ipv6.neigh.default.delay_first_probe_time": 5,
    "net.ipv6.neigh.default.retrans_time_ms": 1000,
    "net.ipv6.neigh.default.mcast_solicit": 3,
    "net.ipv6.neigh.default.ucast_solicit": 3,
}


def number(settings: Settings, name: str) -> int:
    """A setting that is one number; its default if somebody wrote nonsense."""
    value = settings.get(name, 0)
    if isinstance(value, int):
        return value
    default = DEFAULTS.get(name, 0)
    return default if isinstance(default, int) else 0


def port_range(settings: Settings) -> tuple[int, int]:
    """First and last of the ports that are given out."""
    value = settings.get("net.ipv4.ip_local_port_range")
    if isinstance(value, tuple) and len(value) == 2 and 1 <= value[0] <= value[1] <= 65_535:
        return value[0], value[1]
    return 32_768, 60_999
