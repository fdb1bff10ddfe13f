"""What UDP, raw and ping sockets do when an option is set or asked for: limits, the device, groups, filters.

`options.Options` keeps the values of those that are only looked at elsewhere. `messages.MessageSocket` is the rest of
such a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, Address, SocketAddress
from jefeos.net.socket import DatagramSocket, PacketFilter

from jefeos_net_inet.addresses import is_multicast
from jefeos_net_inet.options import (
    LEAST_RECEIVE_BYTES,
    LEAST_SEND_BYTES,
    MOST_BUFFER_BYTES,
    Membership,
    Options,
    Range,
)
from jefeos_net_inet.settings import number

if TYPE_CHECKING:
    from jefeos_net_inet.stack import InetStack


class MessageOptions(DatagramSocket):
    """See the module's text."""

    extra_options: dict[str, Range] = {}
    default_options: dict[str, int] = {}

    def __init__(self, stack: InetStack, family: int) -> None:
        if family not in (AF_INET, AF_INET6):
            raise KernelError(Errno.EAFNOSUPPORT)
        self._stack = stack
        self.family = family
        self.bound: Address = b""
        self.port = 0
        self.peer: SocketAddress | None = None
        """In wire form."""
        self._source: Address = b""
        """The address that `connect` chose."""
        self.device = 0
        self.memberships: list[Membership] = []
        self.filter: PacketFilter | None = None
        settings = stack.settings
        self.options = Options(family, self.extra_options, {
            "ipv6_v6only": number(settings, "net.ipv6.bindv6only"), **self.default_options
        })
        self._receive_limit = number(settings, "net.core.rmem_default")
        self._send_limit = number(settings, "net.core.wmem_default")

    def set_option(self, name: str, value: Any) -> None:
        if name in ("ip_add_membership", "ip_drop_membership", "ipv6_add_membership", "ipv6_drop_membership"):
            self._set_membership(name, value)
        elif name == "so_bindtodevice":
            self.device = self._stack.interface(value).index if value else 0
            self.options.values[name] = self._stack.interface(self.device).name if value else ""
        elif name == "so_rcvbuf":
            self._receive_limit = min(max(value, LEAST_RECEIVE_BYTES), MOST_BUFFER_BYTES)
        elif name == "so_sndbuf":
            self._send_limit = min(max(value, LEAST_SEND_BYTES), MOST_BUFFER_BYTES)
        elif name == "so_attach_filter":
            self.filter = value
        elif name == "ip_multicast_if":
            self._set_multicast_interface(*value)
        elif name == "ipv6_multicast_if" and self.family == AF_INET6 and value:
            self.options.set(name, self._stack.interface(value).index)
        elif name == "ipv6_v6only" and (self.port or self.bound):
            raise KernelError(Errno.EINVAL)
        else:
            self.options.set(name, value)

    def _set_multicast_interface(self, address: Address, index: int) -> None:
        if index:
            self._stack.interface(index)
        elif any(address):
            owner = self._stack.addresses.owner(address)
            if owner is None:
                raise KernelError(Errno.EADDRNOTAVAIL)
            index = owner.index
        self.options.values["ip_multicast_if"] = (address if any(address) else b"", index)

    def _set_membership(self, name: str, value: Any) -> None:
        group, address, index = value
        is_v6 = name.startswith("ipv6")
        if is_v6 and self.family != AF_INET6:
            raise KernelError(Errno.ENOPROTOOPT)
        if len(group) != (16 if is_v6 else 4) or not is_multicast(group):
            raise KernelError(Errno.EINVAL)
        interface = self._stack.group_interface(group, address, index)
        membership = Membership(group, interface)
        if "_drop_" in name:
            if membership not in self.memberships:
                raise KernelError(Errno.EADDRNOTAVAIL)
            self.memberships.remove(membership)
            self._stack.leave_group(membership)
            return
        if membership in self.memberships:
            raise KernelError(Errno.EADDRINUSE)
        if len(self.memberships) >= number(self._stack.settings, "net.ipv4.igmp_max_memberships"):
            raise KernelError(Errno.ENOBUFS)
        self._stack.join_group(membership)
        self.memberships.append(membership)

    def get_option(self, name: str) -> Any:
        if name == "so_rcvbuf":
            return self._receive_limit
        if name == "so_sndbuf":
            return self._send_limit
        if name == "so_error":
            return self.take_error()
        if name == "so_attach_filter":
            return self.filter
        if name in ("ip_mtu", "ipv6_mtu"):
            if self.peer is None:
                raise KernelError(Errno.ENOTCONN)
            return self._stack.ip(self.peer.address).path(self.peer.address, self.bound or self._source).mtu
        value = self.options.get(name)
        if value == -1 and name == "ip_ttl":
            return number(self._stack.settings, "net.ipv4.ip_default_ttl")
        if value == -1 and name == "ipv6_unicast_hops":
            return number(self._stack.settings, "net.ipv6.conf.all.hop_limit")
        return max(value, 0) if name == "ipv6_tclass" else value
