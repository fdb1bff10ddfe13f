"""The gateway behind the wire ``user``: a network stack of its own that speaks for the world outside.

    guest's card -- UserPort ~~~~ lan ~~~~ WireDevice -- stack (10.0.2.1) -- Interceptor --> the host's sockets
                                                          DHCP server, port forwards

To the guests it looks as QEMU's user network does: 10.0.2.15 and on for them, the host at 10.0.2.2, a name server at
10.0.2.3. Both are no addresses of the stack but intercepted like everything else; it only answers ARP for them. No
privilege is needed: outward there are ordinary sockets of the host.

IPv6: the gateway advertises a network of its own (policy.py says which), with the host at ::2 of it and a name server
at ::3, if there is anything to reach: the world, or this machine where the policy opens it. It calls itself a default
router only while the host has a way out by IPv6.

What may be reached is `Policy`'s to say; what may not is refused at once (TCP) or lost (UDP, echo).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import ConfigError, Errno, KernelError
from jefeos.net.address import SocketAddress, address_text, interface_identifier
from jefeos.net.services import DhcpServer, DhcpServerConfig
from jefeos.net.stack import Interceptor, NetworkStack, PendingStream, RouterAdvertisement
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan, LanPort

from jefeos_net_user.datagrams import DNS_PORT, Datagrams
from jefeos_net_user.forwards import DatagramForward, StreamForward, listen_on_host
from jefeos_net_user.policy import (
    FIRST_GUEST,
    LAST_GUEST,
    NAME_SERVER,
    NAME_SERVER6,
    NETWORK6,
    PREFIX_LENGTH,
    PREFIX_LENGTH6,
    PROXIED,
    ROUTER,
    ROUTER6,
    Policy,
)
from jefeos_net_user.streams import Outgoing, Splice

if TYPE_CHECKING:
    from jefeos.net.socket import StreamSocket
    from jefeos.net.wire import WireContext

GATEWAY_MAC: Final = bytes.fromhex("525501000202")
MOST_STREAMS: Final = 4096
DOMAIN: Final = "lan"
ROUTER_LIFETIME_S: Final = 1800
LINK_LOCAL: Final = b"\xfe\x80" + bytes(6)


def open_gateway(rest: str, context: WireContext) -> UserPort:
    """A wire with a gateway at its other end. Raises ConfigError."""
    policy = Policy.parse(rest)
    hosts: list[socket.socket] = []
    try:
        hosts.extend(listen_on_host(forward) for forward in context.forwards)
        gateway = Gateway(policy, context, hosts)
    except BaseException:
        for host in hosts:
            host.close()
        raise
    return gateway.port


class UserPort(LanPort):
    """The guest's end. Closing it ends the gateway."""

    forwards_ports = True

    def __init__(self, lan: Lan, gateway: Gateway) -> None:
        super().__init__(lan)
        self._gateway = gateway

    def close(self) -> None:
        super().close()
        self._gateway.close()


class Gateway(Interceptor):
    """See the module's text."""

    proxied = PROXIED

    def __init__(self, policy: Policy, context: WireContext, hosts: list[socket.socket]) -> None:
        loop, clock, log = context.loop, context.clock, context.log
        stack: NetworkStack | None = context.plugins.first(
            "jefeos_network_stack", loop=loop, clock=clock, entropy=context.entropy, log=log
        )
        if stack is None:
            raise ConfigError("--net user: no plugin provides a network stack (inet does)")
        self.policy = policy
        self.stack = stack
        self._loop = loop
        self._closed = False
        self._streams: set[Outgoing | Splice] = set()
        lan = Lan(loop.call_soon, loop.call_later_ns)
        self.port = UserPort(lan, self)
        lan.ports.append(self.port)
        self.interface = stack.add_device(WireDevice(lan.port(), GATEWAY_MAC))
        stack.settings["net.ipv6.conf.all.dad_transmits"] = 0  # nobody else has these addresses
        stack.settings["net.ipv6.conf.all.accept_ra"] = 0
        self.interface.add_address(ROUTER, PREFIX_LENGTH)
        self.interface.add_address(ROUTER6, PREFIX_LENGTH6)
        self.interface.set_up(True)
        stack.intercept(self.interface.index, self)
        stack.advertise(self.interface.index, self._advertisement)
        self._datagrams = Datagrams(stack, loop, policy, log)
        config = DhcpServerConfig(
            FIRST_GUEST, LAST_GUEST, PREFIX_LENGTH, b"" if policy.restricted else ROUTER,
            () if policy.restricted else (NAME_SERVER,), DOMAIN,
        )
        self._dhcp: DhcpServer | None = context.plugins.first(
            "jefeos_dhcp_server", stack=stack, interface=self.interface.index, config=config, clock=clock, log=log
        )
        if self._dhcp is None:
            log.warning("gateway: no plugin serves DHCP: set %s/%d by hand", address_text(FIRST_GUEST), PREFIX_LENGTH)
        self._forwards: list[Any] = []
        for forward, host in zip(context.forwards, hosts, strict=True):
            if forward.protocol == "tcp":
                self._forwards.append(
                    StreamForward(host, forward.guest_port, stack, loop, self.guest, self._spliced)
                )
            else:
                self._forwards.append(DatagramForward(host, forward.guest_port, stack, loop, self.guest))
            log.info("forwarding %s to port %d of the system", forward, forward.guest_port)

    def _advertisement(self) -> RouterAdvertisement | None:
        """What the guests are told of IPv6 now."""
        if not self.policy.has_network6:
            return None
        lifetime_s = ROUTER_LIFETIME_S if self.policy.reaches_out6 else 0
        return RouterAdvertisement(
            NETWORK6, PREFIX_LENGTH6, router_lifetime_s=lifetime_s, name_servers=(NAME_SERVER6,) if lifetime_s else ()
        )

    def guest(self, port: int) -> Iterator[SocketAddress]:
        """Where forwards lead to: the address of the first guest that has a lease, or the pool's first; then the IPv6
        addresses that it gives itself."""
        leases = self._dhcp.leases() if self._dhcp is not None else {}
        mac, address = min(leases.items(), key=lambda lease: lease[1], default=(b"", FIRST_GUEST))
        yield SocketAddress(address, port)
        if mac:
            yield SocketAddress(LINK_LOCAL + interface_identifier(mac), port, self.interface.index)
            if self.policy.has_network6:
                yield SocketAddress(NETWORK6[:8] + interface_identifier(mac), port)

    # --- what guests want ----------------------------------------------------------------------------------

    def stream(self, pending: PendingStream) -> None:
        target = self._stream_target(pending.local)
        if target is None or len(self._streams) >= MOST_STREAMS:
            pending.refuse(Errno.ECONNREFUSED)
            return
        outgoing = Outgoing(pending, target, self._loop, self._spliced, self._streams.discard)
        self._streams.add(outgoing)

    def _stream_target(self, local: SocketAddress) -> tuple[str, int] | None:
        if local.address in (NAME_SERVER, NAME_SERVER6):
            return self._datagrams.name_server() if local.port == DNS_PORT else None
        address = self.policy.target(local.address)
        return (address, local.port) if address is not None else None

    def _spliced(self, guest: StreamSocket, host: socket.socket) -> None:
        self._streams.add(Splice(guest, host, self._loop, self._streams.discard))

    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        self._datagrams.datagram(source, destination, data)

    def echo(self, source: bytes, destination: bytes, identifier: int, sequence: int, data: bytes) -> None:
        if destination in self.proxied:  # the gateway itself
            try:
                self.stack.send_echo_reply_as(destination, source, identifier, sequence, data)
            except KernelError:
                return
        else:
            self._datagrams.echo(source, destination, identifier, sequence, data)

    def close(self) -> None:
        """Break off what is connected, and listen no more. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for forward in self._forwards:
            forward.close()
        for stream in list(self._streams):
            if isinstance(stream, Splice):
                stream.close()
            else:
                stream.fail(None)
        self._datagrams.close()
        if self._dhcp is not None:
            self._dhcp.close()
        self.stack.close()
