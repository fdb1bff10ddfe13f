"""The DHCP client as a state machine, without I/O: messages and time go in, actions come out (RFC 2131, section 4.4).

                 offer             ack, nobody has it           T1              T2
    SELECTING ---------> REQUESTING --> CHECKING --> BOUND ---------> RENEWING -----> REBINDING
        ^  ^                | nak           | taken: DECLINE             | nak, expiry    | nak, expiry
        |  +----------------+               v wait 10 s                  v                v
        +---------------------------------------------------------------------------------+
    REBOOTING: asks for the address of an earlier lease first, and falls back to SELECTING.

Rules
  * A reply counts only with our transaction id and hardware address, and only in a state that waits for it. An OFFER
    or ACK is taken whole or not at all: address, server, lease time and mask are checked before anything changes.
  * In REQUESTING only the server whose offer we took may answer, with ACK or NAK; in RENEWING only the lease's server.
    In REBINDING any server may ACK, but only the lease's may refuse. In REBOOTING any server may do either: nothing is
    configured yet, and no server is known.
  * Nothing is bound before the address was probed (RFC 5227); if somebody has it, DECLINE and begin again after 10 s.
  * Retransmission doubles from 4 s to 64 s, each time with ±1 s by chance (section 4.1).

`Client.next_ns` says when `tick` is due. Times are nanoseconds of any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

from attrs import define, field, frozen
from jefeos.errors import CorruptError
from jefeos.net.address import classful_length, mask_length

from jefeos_net_dhcp.layout import BROADCAST_FLAG, FOREVER_S, MAXIMUM_BYTES, Code, MessageType
from jefeos_net_dhcp.message import Message

SECOND_NS: Final = 1_000_000_000
FIRST_RETRY_S: Final = 4
LAST_RETRY_S: Final = 64
REQUEST_TRIES: Final = 4
REBOOT_TRIES: Final = 2
DECLINE_WAIT_S: Final = 10
LEAST_RENEW_WAIT_S: Final = 60
SHORTEST_LEASE_S: Final = 10
"""A server that offers less is not taken seriously: its clients would do nothing but renew."""
WANTED: Final = bytes((
    Code.SUBNET_MASK, Code.ROUTER, Code.NAME_SERVERS, Code.DOMAIN_NAME, Code.INTERFACE_MTU, Code.BROADCAST,
    Code.LEASE_TIME, Code.SERVER_IDENTIFIER, Code.RENEWAL_TIME, Code.REBINDING_TIME, Code.CLASSLESS_ROUTES,
))  # fmt: skip


class State(Enum):
    """RFC 2131, figure 5."""

    STOPPED = "stopped"
    REBOOTING = "rebooting"
    SELECTING = "selecting"
    REQUESTING = "requesting"
    CHECKING = "checking"
    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"
    WAITING = "waiting"
    """After a conflict, before it begins again."""


@frozen
class Lease:
    """What a server granted."""

    address: bytes
    prefix_length: int
    server: bytes
    granted_ns: int
    """When the request was sent that was acknowledged: the lease counts from there."""
    lease_s: int
    renew_s: int
    rebind_s: int
    routers: tuple[bytes, ...] = ()
    name_servers: tuple[bytes, ...] = ()
    domain: str = ""
    mtu: int | None = None
    routes: tuple[tuple[bytes, int, bytes], ...] = ()

    @property
    def forever(self) -> bool:
        """It never runs out."""
        return self.lease_s == FOREVER_S


@frozen
class Send:
    """Send ``message``: to ``destination`` from the lease's address, or broadcast from 0.0.0.0 if it is empty."""

    message: Message
    destination: bytes = b""


@frozen
class Probe:
    """Ask the link whether somebody has ``address``, and tell `Client.probed`."""

    address: bytes


@frozen
class Bind:
    """The lease is ours: configure the interface. Also after each renewal."""

    lease: Lease
    renewed: bool


@frozen
class Unbind:
    """The address is not ours any more: take it away at once."""

    lease: Lease
    why: str


@frozen
class Note:
    """Something for the log."""

    text: str


Action: TypeAlias = Send | Probe | Bind | Unbind | Note


@define
class Client:
    """One interface's client."""

    mac: bytes
    random: Callable[[int], bytes]
    """Gives that many random bytes."""
    hostname: str = ""
    state: State = State.STOPPED
    lease: Lease | None = None
    next_ns: int | None = None
    xid: int = 0
    _offer: Message | None = None
    _pending: Lease | None = None
    _started_ns: int = 0
    _sent_ns: int = 0
    _tries: int = 0
    _earlier: bytes = b""
    _actions: list[Action] = field(factory=list)

    # --- what goes in --------------------------------------------------------------------------------------

    def start(self, now_ns: int, earlier: bytes = b"") -> list[Action]:
        """The link is up. ``earlier`` is an address that we had before."""
        self._earlier = earlier
        if earlier:
            self._enter(State.REBOOTING, now_ns)
            self._send_request(now_ns)
        else:
            self._select(now_ns)
        return self._taken()

    def stop(self, now_ns: int, *, release: bool) -> list[Action]:
        """Give up; with ``release`` tell the server."""
        lease, self.lease = self.lease, None
        if lease is not None:
            if release:
                options = {Code.SERVER_IDENTIFIER: lease.server, Code.CLIENT_IDENTIFIER: b"\1" + self.mac}
                message = Message(
                    MessageType.RELEASE, self._number(4), self.mac, client=lease.address,
                    options={int(code): value for code, value in options.items()},
                )
                self._actions.append(Send(message, lease.server))
            self._actions.append(Unbind(lease, "released"))
        self.state, self.next_ns, self._offer, self._pending = State.STOPPED, None, None, None
        return self._taken()

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed."""
        if self.next_ns is None or now_ns < self.next_ns:
            return []
        if self.state is State.WAITING:
            self._select(now_ns)
        elif self.state is State.SELECTING:
            self._send_discover(now_ns)
        elif self.state in (State.REQUESTING, State.REBOOTING):
            limit = REQUEST_TRIES if self.state is State.REQUESTING else REBOOT_TRIES
            if self._tries >= limit:
                self._select(now_ns)
            else:
                self._send_request(now_ns)
        elif self.state is not State.CHECKING:
            self._age(now_ns)
        return self._taken()

    def received(self, data: bytes, now_ns: int) -> list[Action]:
        """A message from the server's port. What is not for us, or makes no sense, is ignored."""
        try:
            message = Message.parse(data)
        except CorruptError as error:
            self._actions.append(Note(f"ignored: {error}"))
            return self._taken()
        if message.reply and message.xid == self.xid and message.mac == self.mac:
            if message.kind is MessageType.OFFER:
                self._offered(message, now_ns)
            elif message.kind is MessageType.ACK:
                self._acknowledged(message, now_ns)
            elif message.kind is MessageType.NAK:
                self._refused(message, now_ns)
        return self._taken()

    def probed(self, taken_by: bytes | None, now_ns: int) -> list[Action]:
        """The answer to `Probe`: the MAC of whoever has the address, or None."""
        lease, self._pending = self._pending, None
        if self.state is not State.CHECKING or lease is None:
            return []
        if taken_by is None:
            self._bind(lease, now_ns, renewed=False)
        else:
            self._actions.append(Note(f"{_dotted(lease.address)} is in use by {taken_by.hex(':')}: declined"))
            options = {Code.REQUESTED_ADDRESS: lease.address, Code.SERVER_IDENTIFIER: lease.server}
            self._actions.append(Send(self._message(MessageType.DECLINE, options, now_ns)))
            self._earlier = b""
            self._enter(State.WAITING, now_ns)
            self.next_ns = now_ns + DECLINE_WAIT_S * SECOND_NS
        return self._taken()

    # --- states --------------------------------------------------------------------------------------------

    def _enter(self, state: State, now_ns: int) -> None:
        self.state = state
        self._tries = 0
        if state in (State.REBOOTING, State.SELECTING, State.RENEWING):
            self.xid = self._number(4)
            self._started_ns = now_ns

    def _select(self, now_ns: int) -> None:
        self._offer = self._pending = None
        self._enter(State.SELECTING, now_ns)
        self._send_discover(now_ns)

    def _offered(self, message: Message, now_ns: int) -> None:
        if self.state is not State.SELECTING:
            return
        if self._lease_of(message, now_ns) is None:
            self._actions.append(Note("an offer without address, server or mask is ignored"))
            return
        self._offer = message
        self._enter(State.REQUESTING, now_ns)
        self._send_request(now_ns)

    def _acknowledged(self, message: Message, now_ns: int) -> None:
        if self.state not in (State.REQUESTING, State.REBOOTING, State.RENEWING, State.REBINDING):
            return
        lease = self._lease_of(message, self._sent_ns)
        if lease is None or not self._trusted(message) or lease.address != self._wanted():
            self._actions.append(Note("an acknowledgement that fits nothing we asked for is ignored"))
            return
        if self.state in (State.RENEWING, State.REBINDING):
            self._bind(lease, now_ns, renewed=True)
            return
        self._pending = lease
        self.state, self.next_ns = State.CHECKING, None
        self._actions.append(Probe(lease.address))

    def _refused(self, message: Message, now_ns: int) -> None:
        if self.state not in (State.REQUESTING, State.REBOOTING, State.RENEWING, State.REBINDING):
            return
        if not self._trusted(message) or not message.server:
            self._actions.append(Note("a refusal from a server that we did not ask is ignored"))
            return
        self._actions.append(Note(f"{_dotted(message.server)} refuses {_dotted(self._wanted())}"))
        self._lose("the server refused it", now_ns)

    def _trusted(self, message: Message) -> bool:
        """Whether the sender is the one whose answer we wait for."""
        if self.state is State.REQUESTING:
            return self._offer is not None and message.server == self._offer.server
        if self.state is State.RENEWING or self.state is State.REBINDING and message.kind is MessageType.NAK:
            return self.lease is not None and message.server == self.lease.server
        return bool(message.server)

    def _wanted(self) -> bytes:
        if self.state is State.REQUESTING and self._offer is not None:
            return self._offer.yours
        return self.lease.address if self.lease is not None else self._earlier

    def _bind(self, lease: Lease, now_ns: int, *, renewed: bool) -> None:
        self.lease, self._earlier, self._offer = lease, lease.address, None
        self.state = State.BOUND
        self.next_ns = None if lease.forever else lease.granted_ns + lease.renew_s * SECOND_NS
        self._actions.append(Bind(lease, renewed))

    def _age(self, now_ns: int) -> None:
        """T1, T2 and the end of the lease."""
        lease = self.lease
        assert lease is not None
        rebind_ns = lease.granted_ns + lease.rebind_s * SECOND_NS
        end_ns = lease.granted_ns + lease.lease_s * SECOND_NS
        if now_ns >= end_ns:
            self._lose("its time is over", now_ns)
            return
        if self.state is State.BOUND:
            self._enter(State.RENEWING, now_ns)
        if self.state is State.RENEWING and now_ns >= rebind_ns:
            self._enter(State.REBINDING, now_ns)
        self._send_request(now_ns)
        limit_ns = rebind_ns if self.state is State.RENEWING else end_ns
        wait_ns = max((limit_ns - now_ns) // 2, LEAST_RENEW_WAIT_S * SECOND_NS)
        self.next_ns = min(now_ns + wait_ns, limit_ns)

    def _lose(self, why: str, now_ns: int) -> None:
        lease, self.lease, self._earlier = self.lease, None, b""
        if lease is not None:
            self._actions.append(Unbind(lease, why))
        self._select(now_ns)

    # --- messages ------------------------------------------------------------------------------------------

    def _send_discover(self, now_ns: int) -> None:
        self._actions.append(Send(self._message(MessageType.DISCOVER, {Code.PARAMETERS: WANTED}, now_ns)))
        self._retry(now_ns)

    def _send_request(self, now_ns: int) -> None:
        options: dict[Code, bytes] = {Code.PARAMETERS: WANTED}
        destination = client = b""
        if self.state in (State.REQUESTING, State.REBOOTING):
            options[Code.REQUESTED_ADDRESS] = self._wanted()
        if self.state is State.REQUESTING and self._offer is not None:
            options[Code.SERVER_IDENTIFIER] = self._offer.server
        if self.lease is not None and self.state in (State.RENEWING, State.REBINDING):
            client = self.lease.address
            destination = self.lease.server if self.state is State.RENEWING else b""
        message = self._message(MessageType.REQUEST, options, now_ns)
        message.client = client or bytes(4)
        self._sent_ns = now_ns
        self._actions.append(Send(message, destination))
        self._retry(now_ns)

    def _message(self, kind: MessageType, options: dict[Code, bytes], now_ns: int) -> Message:
        every: dict[int, bytes] = {Code.CLIENT_IDENTIFIER: b"\1" + self.mac}
        every.update(options)
        if kind is not MessageType.DECLINE:
            every[Code.MAXIMUM_SIZE] = MAXIMUM_BYTES.to_bytes(2, "big")
            if self.hostname:
                every[Code.HOST_NAME] = self.hostname.encode("ascii", "ignore")[:255]
        seconds = min((now_ns - self._started_ns) // SECOND_NS, 0xFFFF)
        return Message(kind, self.xid, self.mac, flags=BROADCAST_FLAG, seconds=seconds, options=every)

    def _retry(self, now_ns: int) -> None:
        wait_s = min(FIRST_RETRY_S << self._tries, LAST_RETRY_S)
        self._tries += 1
        jitter_ns = self._number(4) % (2 * SECOND_NS) - SECOND_NS
        self.next_ns = now_ns + wait_s * SECOND_NS + jitter_ns

    def _lease_of(self, message: Message, sent_ns: int) -> Lease | None:
        """The lease that an OFFER or ACK grants; None if it is not complete or cannot be meant."""
        lease_s, server, mask = message.number(Code.LEASE_TIME), message.server, message.address(Code.SUBNET_MASK)
        prefix_length = mask_length(mask) if mask else classful_length(message.yours)
        if lease_s is None or lease_s < SHORTEST_LEASE_S or not server or prefix_length is None:
            return None
        if not _usable(message.yours):
            return None
        rebind_s = message.number(Code.REBINDING_TIME)
        if rebind_s is None or not 0 < rebind_s < lease_s:
            rebind_s = lease_s * 7 // 8
        renew_s = message.number(Code.RENEWAL_TIME)
        if renew_s is None or not 0 < renew_s < rebind_s:
            renew_s = min(lease_s // 2, rebind_s - 1)
        return Lease(
            message.yours, prefix_length, server, sent_ns, lease_s, renew_s, rebind_s,
            tuple(router for router in message.addresses(Code.ROUTER) if _usable(router)),
            message.addresses(Code.NAME_SERVERS), message.text(Code.DOMAIN_NAME), message.number(Code.INTERFACE_MTU),
            message.routes(),
        )

    def _number(self, size: int) -> int:
        return int.from_bytes(self.random(size), "big")

    def _taken(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


def _usable(address: bytes) -> bool:
    """Whether a host can have it: not 0/8, 127/8, multicast or reserved."""
    return address[0] not in (0, 127) and address[0] < 224


def _dotted(address: bytes) -> str:
    return ".".join(str(byte) for byte in address)
