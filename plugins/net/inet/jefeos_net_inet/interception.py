"""What arrives for addresses that are not ours and goes to an `Interceptor`: the gateway behind a `user` wire.

UDP messages and ICMP echoes are handed over as they are; a segment of TCP goes to the TCP layer, which keeps the
connections and shows new ones as `PendingStream`. Everything else is answered as a router without a route would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.net.address import Address
from jefeos.net.stack import Interceptor

from jefeos_net_inet.packets import Packet

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

TCP: Final = 6


class Interception:
    """The interceptors of a stack, by interface."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.active: dict[int, Interceptor] = {}

    def set(self, interface: int, interceptor: Interceptor | None) -> None:
        """See `NetworkStack.intercept`."""
        if interceptor is None:
            self.active.pop(interface, None)
        else:
            self.active[interface] = interceptor

    def wants(self, interface: InetInterface) -> bool:
        """Whether foreign packets of the interface are taken."""
        return interface.index in self.active

    def proxies(self, interface: InetInterface, address: Address) -> bool:
        """Whether the interceptor of the interface stands in for an address of the link."""
        interceptor = self.active.get(interface.index)
        return interceptor is not None and address in interceptor.proxied

    def packet(self, packet: Packet) -> None:
        """A whole packet for a foreign address."""
        if packet.protocol == TCP:
            self._stack.tcp.intercepted(packet, self.active[packet.interface.index])
