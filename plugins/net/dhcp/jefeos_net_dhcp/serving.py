"""The small server at work on an interface of a stack (for the hook jefeos_dhcp_server).

Requests come by a UDP socket on port 67. A client has no address yet, so replies go out by a packet socket: broadcast
if the client asks for it, else to its hardware address (RFC 2131, section 4.1).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, KernelError
from jefeos.net.address import AF_INET, ANY4, BROADCAST4, SocketAddress
from jefeos.net.services import DhcpServer, DhcpServerConfig

from jefeos_net_dhcp.datagram import pack
from jefeos_net_dhcp.layout import BROADCAST_FLAG, CLIENT_PORT, SERVER_PORT, MessageType
from jefeos_net_dhcp.message import Message
from jefeos_net_dhcp.server import Leases

if TYPE_CHECKING:
    from jefeos.net.stack import NetworkStack
    from jefeos.sched.clock import Clock

ETHER_TYPE_IPV4: Final = 0x0800
BROADCAST_MAC: Final = b"\xff" * 6


class Serving(DhcpServer):
    """A running server. The interface must have an IPv4 address."""

    def __init__(
        self, stack: NetworkStack, interface: int, config: DhcpServerConfig, clock: Clock, log: logging.Logger
    ) -> None:
        self._stack = stack
        self._interface = interface
        self._clock = clock
        own = next(a.address for a in stack.interface(interface).addresses if len(a.address) == 4)
        self._leases = Leases(config, own, log.info)
        self._packets = stack.open_packet(cooked=True)
        self._socket = stack.open_datagram(AF_INET)
        self._socket.set_option("so_broadcast", 1)
        self._socket.set_option("so_bindtodevice", stack.interface(interface).name)
        self._socket.bind(SocketAddress(ANY4, SERVER_PORT))
        self._socket.changed = self._receive

    def leases(self) -> dict[bytes, bytes]:
        return self._leases.current(self._clock.monotonic_ns())

    def close(self) -> None:
        self._socket.close()
        self._packets.close()

    def _receive(self) -> None:
        while True:
            try:
                datagram = self._socket.receive_from()
            except KernelError:
                continue
            if datagram is None:
                return
            try:
                message = Message.parse(datagram.data)
            except CorruptError:
                continue
            reply = self._leases.answer(message, self._clock.monotonic_ns())
            if reply is not None:
                self._send(message, reply)

    def _send(self, message: Message, reply: Message) -> None:
        everybody = bool(message.flags & BROADCAST_FLAG) or reply.kind is MessageType.NAK
        if any(message.client) and reply.kind is not MessageType.NAK:
            destination, mac = message.client, message.mac
        elif everybody:
            destination, mac = BROADCAST4, BROADCAST_MAC
        else:
            destination, mac = reply.yours, message.mac
        packet = pack(self._leases.own, destination, SERVER_PORT, CLIENT_PORT, reply.pack())
        try:
            self._packets.send_frame(packet, self._interface, ETHER_TYPE_IPV4, mac)
        except KernelError:  # the interface went down; the client asks again
            return
