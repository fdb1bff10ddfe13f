"""Sockets of a network stack: streams, datagrams, packets. They know nothing of descriptors and of waiting.

The rules of stack.py hold: nothing waits, "not now" is ``None`` or 0 and `Socket.changed` follows, errors are
KernelError with Linux's errno, and those from the network stay in `pending_error` until they are taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import IntFlag
from typing import Any, Final, NamedTuple, TypeAlias

from jefeos.net.address import Address, SocketAddress

TCP_STATE_NUMBERS: Final = {
    "ESTABLISHED": 1, "SYN_SENT": 2, "SYN_RECEIVED": 3, "FIN_WAIT_1": 4, "FIN_WAIT_2": 5, "TIME_WAIT": 6, "CLOSED": 7,
    "CLOSE_WAIT": 8, "LAST_ACK": 9, "LISTEN": 10, "CLOSING": 11,
}
"""Linux's numbers of `StreamSocket.state` (include/net/tcp_states.h)."""
Data: TypeAlias = bytes | bytearray | memoryview

class Readiness(IntFlag):
    """What can be done with a socket now."""

    READABLE = 1
    """Data, a connection to accept, the end of the stream, or an error."""
    WRITABLE = 2
    URGENT = 4
    PEER_CLOSED = 8
    """The peer sends no more."""
    HANGUP = 16
    """Both ways are over."""
    ERROR = 32


class PacketView(NamedTuple):
    """A packet as a filter sees it. Offsets are from the start of ``whole``, in bytes."""

    whole: bytes | memoryview
    start: int
    """Where the part begins that the socket's user reads."""
    network: int
    """Of the network header."""
    link: int
    """Of the link header; -1 if it is not at hand."""
    ether_type: int
    kind: int
    """Whom it is for, see `Frame.kind`."""
    interface: int
    hardware_type: int
    """ARPHRD_*."""


PacketFilter: TypeAlias = Callable[[PacketView], int]
"""How many bytes of a packet, from `PacketView.start` on, a socket is to have; 0: it is not to have it."""


class Datagram(NamedTuple):
    """A message that was received."""

    data: bytes
    source: SocketAddress
    destination: Address
    """The address it was sent to."""
    interface: int
    hop_limit: int
    """TTL."""
    traffic_class: int
    """TOS."""
    received_ns: int


class SocketError(NamedTuple):
    """An entry of the error queue (IP_RECVERR, ip(7)): an ICMP error and what it is about."""

    errno: int
    origin: int
    """SO_EE_ORIGIN_*: 2 ICMP, 3 ICMPv6, 1 local."""
    kind: int
    code: int
    info: int
    """The MTU for EMSGSIZE."""
    destination: SocketAddress
    offender: SocketAddress
    payload: bytes
    hop_limit: int = 0
    """Of the packet that told of it; 0 for a local error."""


class Socket(ABC):
    """What all sockets have in common."""

    family: int
    """AF_INET, AF_INET6; AF_PACKET for `PacketSocket`."""
    protocol: int
    """IPPROTO_*; for a packet socket the EtherType."""
    local: SocketAddress
    """``port`` 0 while it is not bound."""
    remote: SocketAddress | None
    pending_error: int
    """errno; 0 for none."""
    changed: Callable[[], None]
    """Assigned by the owner."""
    owner: Any
    """Whatever the owner likes to find again from a listing (uid, inode number)."""

    @property
    @abstractmethod
    def ready(self) -> Readiness:
        """HOT: asked at every poll."""

    @abstractmethod
    def bind(self, address: SocketAddress) -> None:
        """Port 0 finds a free one. EADDRINUSE, EADDRNOTAVAIL, EINVAL if bound already."""

    @abstractmethod
    def connect(self, address: SocketAddress) -> bool:
        """True: connected (datagrams always are). False: it is under way, `changed` tells.

        ENETUNREACH, EADDRNOTAVAIL, EISCONN, EALREADY, ECONNREFUSED and so on, also from an earlier attempt.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """connect(AF_UNSPEC)."""

    @abstractmethod
    def shut_down(self, reading: bool, writing: bool) -> None:
        """shutdown(2). ENOTCONN."""

    @abstractmethod
    def close(self) -> None:
        """The owner lets go: a stream is ended in order, or by RST if data were left unread or SO_LINGER is 0."""

    @abstractmethod
    def set_option(self, name: str, value: Any) -> None:
        """Options by Linux's names in lower case (``tcp_nodelay``, ``so_reuseaddr``, ``ip_ttl``); see `OPTIONS` of the
        stack's README for values. ENOPROTOOPT for one that this socket does not have, EINVAL for a bad value."""

    @abstractmethod
    def get_option(self, name: str) -> Any:
        """The value as `set_option` takes it, and what can only be read (``tcp_info``). ENOPROTOOPT."""

    def take_error(self) -> int:
        """SO_ERROR: the pending error, which is forgotten."""
        error, self.pending_error = self.pending_error, 0
        return error


class StreamSocket(Socket):
    """A TCP socket (RFC 9293)."""

    @property
    @abstractmethod
    def state(self) -> str:
        """RFC 9293's name with underscores: ``ESTABLISHED``, ``SYN_SENT``, ``TIME_WAIT``, ``CLOSED`` …"""

    @abstractmethod
    def listen(self, backlog: int) -> None:
        """Take connections; binds to a free port if it is not bound."""

    @abstractmethod
    def accept(self) -> StreamSocket | None:
        """The next connection, or None. EINVAL if it does not listen."""

    @abstractmethod
    def send(self, data: Data, *, more: bool = False, urgent: bool = False) -> int:
        """Queue what there is room for; gives how many bytes, 0 for "not now". The data are copied.

        EPIPE after the writing side was shut, ENOTCONN, ECONNRESET, ETIMEDOUT.
        """

    @abstractmethod
    def receive(self, count: int, *, peek: bool = False, urgent: bool = False) -> bytes | None:
        """Up to ``count`` bytes; ``b""`` at the end of the stream; None if nothing is there yet. ECONNRESET …"""

    @abstractmethod
    def abort(self) -> None:
        """End the connection by RST, and let go."""

    @property
    @abstractmethod
    def received_bytes(self) -> int:
        """In the receive queue (FIONREAD)."""

    @property
    @abstractmethod
    def unsent_bytes(self) -> int:
        """Not acknowledged yet (SIOCOUTQ)."""


class DatagramSocket(Socket):
    """A UDP socket, a raw IP socket or a ping socket (``protocol`` tells)."""

    @abstractmethod
    def send_to(
        self, data: Data, destination: SocketAddress | None = None, ancillary: Mapping[str, Any] | None = None
    ) -> int:
        """Send a message; None: to `remote` (EDESTADDRREQ). Gives its length, or 0 for "not now".

        ``ancillary`` may hold ``source`` (Address), ``interface``, ``ttl``, ``tos``. EMSGSIZE, ENETUNREACH, EACCES for
        a broadcast without SO_BROADCAST, ECONNREFUSED from an ICMP error before.
        """

    @abstractmethod
    def receive_from(self, *, peek: bool = False) -> Datagram | None:
        """The next message, or None."""

    @abstractmethod
    def next_error(self) -> SocketError | None:
        """The next entry of the error queue (with the option ``ip_recverr``), or None."""

    @property
    @abstractmethod
    def received_bytes(self) -> int:
        """In the receive queue."""

    @property
    @abstractmethod
    def next_bytes(self) -> int:
        """Length of the next message (FIONREAD)."""


class Frame(NamedTuple):
    """A frame that a packet socket received."""

    data: bytes
    """From the link header on, or after it for a cooked socket."""
    interface: int
    ether_type: int
    source: bytes
    """MAC."""
    kind: int
    """PACKET_HOST 0, BROADCAST 1, MULTICAST 2, OTHERHOST 3, OUTGOING 4."""
    received_ns: int
    whole_bytes: int
    """Its length before a filter cut it."""


class PacketSocket(Socket):
    """AF_PACKET (packet(7)): frames as they are. `local` and `remote` mean nothing here."""

    @abstractmethod
    def bind_to(self, ether_type: int, interface: int) -> None:
        """0x0003 (ETH_P_ALL) is every type, 0 none; interface 0 is every one. ENODEV, ENETDOWN."""

    @abstractmethod
    def send_frame(self, data: Data, interface: int, ether_type: int = 0, destination: bytes = b"") -> int:
        """A whole frame, or the payload for a cooked socket. Length, or 0 for "not now". ENXIO, ENETDOWN, EMSGSIZE."""

    @abstractmethod
    def receive_frame(self, *, peek: bool = False) -> Frame | None:
        """The next frame, or None."""
