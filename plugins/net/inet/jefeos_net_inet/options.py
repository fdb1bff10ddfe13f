"""Options of datagram, raw and ping sockets, under Linux's names (socket(7), ip(7), ipv6(7), raw(7)): what they take.

A table says which values an option may have. Most are only kept here and read where they matter; the few that do
something when they are set (memberships, the device) are methods of the sockets. README.md lists all for users.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET6, Address

MOST_BUFFER_BYTES: Final = 1 << 29
LEAST_RECEIVE_BYTES: Final = 2304
LEAST_SEND_BYTES: Final = 4608
DISCOVER_DONT, DISCOVER_WANT, DISCOVER_DO, DISCOVER_PROBE = 0, 1, 2, 3


@frozen
class Range:
    """An integer option: its default and its limits; values beyond are EINVAL."""

    default: int
    least: int = 0
    most: int = 1


_FLAG_ON: Final = Range(1)
_FLAG: Final = Range(0)
_ANY: Final = Range(0, -(1 << 31), (1 << 32) - 1)
_HOPS: Final = Range(-1, -1, 255)
INTEGERS: Final = {
    "so_debug": _FLAG,
    "so_reuseaddr": _FLAG,
    "so_reuseport": _FLAG,
    "so_dontroute": _FLAG,
    "so_broadcast": _FLAG,
    "so_keepalive": _FLAG,
    "so_oobinline": _FLAG,
    "so_no_check": _FLAG,
    "so_timestamp": _FLAG,
    "so_timestampns": _FLAG,
    "so_acceptconn": _FLAG,
    "so_priority": _ANY,
    "so_mark": _ANY,
    "so_rcvlowat": Range(1, 0, 1 << 30),
    "so_busy_poll": Range(0, 0, 1 << 30),
    "ip_tos": Range(0, 0, 255),
    "ip_ttl": Range(-1, -1, 255),
    "ip_recvopts": _FLAG,
    "ip_retopts": _FLAG,
    "ip_pktinfo": _FLAG,
    "ip_mtu_discover": Range(DISCOVER_WANT, 0, 5),
    "ip_recverr": _FLAG,
    "ip_recvttl": _FLAG,
    "ip_recvtos": _FLAG,
    "ip_freebind": _FLAG,
    "ip_transparent": _FLAG,
    "ip_bind_address_no_port": _FLAG,
    "ip_multicast_ttl": Range(1, -1, 255),
    "ip_multicast_loop": _FLAG_ON,
    "ip_multicast_all": _FLAG_ON,
}
INTEGERS6: Final = {
    "ipv6_v6only": _FLAG,
    "ipv6_unicast_hops": _HOPS,
    "ipv6_multicast_hops": Range(1, -1, 255),
    "ipv6_multicast_loop": _FLAG_ON,
    "ipv6_multicast_if": Range(0, 0, 1 << 31),
    "ipv6_mtu_discover": Range(DISCOVER_WANT, 0, 5),
    "ipv6_recverr": _FLAG,
    "ipv6_recvpktinfo": _FLAG,
    "ipv6_2292pktinfo": _FLAG,
    "ipv6_2292hoplimit": _FLAG,
    "ipv6_recvhoplimit": _FLAG,
    "ipv6_recvtclass": _FLAG,
    "ipv6_tclass": Range(-1, -1, 255),
    "ipv6_dontfrag": _FLAG,
}
BOOLEAN: Final = frozenset(
    name for name, range_ in (*INTEGERS.items(), *INTEGERS6.items()) if range_ in (_FLAG, _FLAG_ON)
)


class Options:
    """The values of one socket. HOT options are read by `values[name]`."""

    def __init__(self, family: int, extra: dict[str, Range], defaults: dict[str, int]) -> None:
        self._ranges = {**INTEGERS, **extra}
        if family == AF_INET6:
            self._ranges |= INTEGERS6
        self.values: dict[str, Any] = {name: range_.default for name, range_ in self._ranges.items()}
        self.values |= {name: value for name, value in defaults.items() if name in self.values}
        self.values["ip_multicast_if"] = (b"", 0)
        self.values["so_bindtodevice"] = ""

    def set(self, name: str, value: Any) -> None:
        """Raises KernelError: ENOPROTOOPT, EINVAL."""
        range_ = self._ranges.get(name)
        if range_ is None:
            raise KernelError(Errno.ENOPROTOOPT)
        if not isinstance(value, int):
            raise KernelError(Errno.EINVAL)
        if name in BOOLEAN:
            value = int(bool(value))
        if not range_.least <= value <= range_.most or (name == "ip_ttl" and value == 0):
            raise KernelError(Errno.EINVAL)
        if value == -1 and name in ("ip_multicast_ttl", "ipv6_multicast_hops", "ipv6_tclass"):
            value = 0 if name == "ipv6_tclass" else 1
        self.values[name] = value

    def get(self, name: str) -> Any:
        """Raises KernelError(ENOPROTOOPT)."""
        try:
            return self.values[name]
        except KeyError:
            raise KernelError(Errno.ENOPROTOOPT) from None


@frozen
class Membership:
    """A multicast group that a socket has joined on an interface."""

    group: Address
    interface: int
