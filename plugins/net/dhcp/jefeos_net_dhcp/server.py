"""A small DHCP server: one pool, no relays (RFC 2131, section 4.3), as a gateway needs it. Without I/O.

`Leases.answer` takes a message and gives the reply. The pool is bounded, and so is what is remembered: a client that
never asks again loses its place when its lease is over and the pool is short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field
from jefeos.net.address import netmask
from jefeos.net.services import DhcpServerConfig

from jefeos_net_dhcp.layout import Code, MessageType
from jefeos_net_dhcp.message import Message, seconds_option

SECOND_NS: Final = 1_000_000_000
OFFER_S: Final = 60
"""How long an offered address is kept for its client."""
DECLINED_S: Final = 3600
_NOBODY: Final = b""


@define
class _Place:
    mac: bytes
    until_ns: int


@define
class Leases:
    """The pool of a server at ``own``."""

    config: DhcpServerConfig
    own: bytes
    note: Callable[[str], None]
    _places: dict[bytes, _Place] = field(factory=dict)
    """Address to who has it."""

    def current(self, now_ns: int) -> dict[bytes, bytes]:
        """MAC to address of the leases that have not run out."""
        return {place.mac: address for address, place in self._places.items() if place.mac and place.until_ns > now_ns}

    def answer(self, message: Message, now_ns: int) -> Message | None:
        """The reply to a client's message; None if there is none to be given."""
        if message.reply:
            return None
        if message.kind is MessageType.DISCOVER:
            address = self._free_for(message, now_ns)
            if address is None:
                self.note("DHCP: no address is left")
                return None
            self._places[address] = _Place(message.mac, now_ns + OFFER_S * SECOND_NS)
            return self._reply(message, MessageType.OFFER, address)
        if message.kind is MessageType.REQUEST:
            return self._requested(message, now_ns)
        if message.kind is MessageType.RELEASE and self._has(message.client, message.mac):
            del self._places[message.client]
        elif message.kind is MessageType.DECLINE:
            address = message.address(Code.REQUESTED_ADDRESS)
            if self._has(address, message.mac):
                self._places[address] = _Place(_NOBODY, now_ns + DECLINED_S * SECOND_NS)
        elif message.kind is MessageType.INFORM:
            return self._reply(message, MessageType.ACK, bytes(4))
        return None

    def _requested(self, message: Message, now_ns: int) -> Message | None:
        if message.server not in (b"", self.own):  # it took another server's offer
            self._forget(message.mac)
            return None
        wanted = message.address(Code.REQUESTED_ADDRESS) or message.client
        if not self._in_pool(wanted) or not self._available(wanted, message.mac, now_ns):
            reply = Message(MessageType.NAK, message.xid, message.mac, True, message.flags, relay=message.relay)
            reply.options = {Code.SERVER_IDENTIFIER: self.own}
            return reply
        self._forget(message.mac)
        self._places[wanted] = _Place(message.mac, now_ns + self.config.lease_s * SECOND_NS)
        return self._reply(message, MessageType.ACK, wanted)

    def _reply(self, message: Message, kind: MessageType, address: bytes) -> Message:
        config = self.config
        reply = Message(kind, message.xid, message.mac, True, message.flags, client=message.client, yours=address)
        reply.relay = message.relay
        options: dict[int, bytes] = {Code.SERVER_IDENTIFIER: self.own}
        if any(address):
            options[Code.LEASE_TIME] = seconds_option(config.lease_s)
        options[Code.SUBNET_MASK] = netmask(config.prefix_length)
        if config.router:
            options[Code.ROUTER] = config.router
        if config.servers:
            options[Code.NAME_SERVERS] = b"".join(config.servers)
        if config.domain:
            options[Code.DOMAIN_NAME] = config.domain.encode("ascii")
        reply.options = options
        return reply

    def _free_for(self, message: Message, now_ns: int) -> bytes | None:
        """The client's own address, the one it asks for, or the first that nobody has."""
        for address, place in self._places.items():
            if place.mac == message.mac:
                return address
        wanted = message.address(Code.REQUESTED_ADDRESS)
        if wanted and self._in_pool(wanted) and self._available(wanted, message.mac, now_ns):
            return wanted
        for number in range(int.from_bytes(self.config.first, "big"), int.from_bytes(self.config.last, "big") + 1):
            address = number.to_bytes(4, "big")
            if self._available(address, message.mac, now_ns):
                return address
        return None

    def _in_pool(self, address: bytes) -> bool:
        return len(address) == 4 and self.config.first <= address <= self.config.last

    def _available(self, address: bytes, mac: bytes, now_ns: int) -> bool:
        place = self._places.get(address)
        return place is None or place.mac == mac or place.until_ns <= now_ns

    def _has(self, address: bytes, mac: bytes) -> bool:
        place = self._places.get(address)
        return place is not None and place.mac == mac

    def _forget(self, mac: bytes) -> None:
        for address in [address for address, place in self._places.items() if place.mac == mac]:
            del self._places[address]
