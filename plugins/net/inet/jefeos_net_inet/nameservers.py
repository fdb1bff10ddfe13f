"""Name servers that routers advertise (RFC 8106), for as long as they say.

    advertisement --RDNSS option--> kept until its lifetime is over, renewed, or 0 --> the stack's watchers

A server of the link itself (fe80::/10) belongs to its interface. How many are kept is bounded; while there are that
many, others are not heard. Search lists (DNSSL) are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.net.address import ANY6, LOOPBACK6, MAPPED_PREFIX, Address, SocketAddress

from jefeos_net_inet.addresses import is_link_local, is_multicast
from jefeos_net_inet.neighbours import SECOND_NS
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import ndp
from jefeos_net_inet.wire.ndp import NameServer

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

PORT: Final = 53
MOST_SERVERS: Final = 8


class NameServers:
    """Those of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._ends_ns: dict[tuple[Address, int], int | None] = {}
        """By address and index of the interface, in the order in which they were heard of. None: no end."""
        self._timer: Timer | None = None

    def known(self) -> list[SocketAddress]:
        """Each once, though two links may tell of it. The scope of one of a link is its interface."""
        return list(dict.fromkeys(_place(address, interface) for address, interface in self._ends_ns))

    def heard(self, interface: InetInterface, server: NameServer) -> None:
        """A router names one."""
        address = server.address
        if is_multicast(address) or address in (ANY6, LOOPBACK6) or address.startswith(MAPPED_PREFIX):
            return
        key = (address, interface.index)
        is_new = key not in self._ends_ns
        if not server.lifetime_s:
            self._drop([] if is_new else [key])
        elif not is_new or len(self._ends_ns) < MOST_SERVERS:
            forever = server.lifetime_s == ndp.INFINITE_S
            self._ends_ns[key] = None if forever else self._stack.timers.now_ns() + server.lifetime_s * SECOND_NS
            if is_new:
                self._stack.name_server_changed(interface.index, _place(*key), gone=False)
        self._schedule()

    def forget(self, interface: InetInterface) -> None:
        """The interface went down."""
        self._drop([key for key in self._ends_ns if key[1] == interface.index])
        self._schedule()

    def _drop(self, keys: list[tuple[Address, int]]) -> None:
        for key in keys:
            del self._ends_ns[key]
            self._stack.name_server_changed(key[1], _place(*key), gone=True)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [end for end in self._ends_ns.values() if end is not None]
        if ends:
            self._timer = self._stack.timers.later(max(min(ends) - self._stack.timers.now_ns(), 0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_ns = self._stack.timers.now_ns()
        self._drop([key for key, end in self._ends_ns.items() if end is not None and end <= now_ns])
        self._schedule()

    def close(self) -> None:
        """Let go of the timer."""
        self._ends_ns.clear()
        self._schedule()


def _place(address: Address, interface: int) -> SocketAddress:
    return SocketAddress(address, PORT, interface if is_link_local(address) else 0)
