"""What TCP needs of the network below it, and of time and chance: `ip` implements it, tests simulate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from jefeos.net.address import Address

    from jefeos_net_inet.tcp.connection import Connection


@frozen
class Path:
    """How a destination is reached now."""

    source: Address
    """Our address on the way."""
    mtu: int
    """Path MTU: the longest IP packet, headers included."""
    interface: int = 0
    largest_segment: int = 0
    """Most bytes of IP packet that may be handed over at once to be cut further down (TSO, lo); 0: no more than the
    MTU."""


class Network(Protocol):
    """Below TCP."""

    def path(self, destination: Address, source: Address, interface: int) -> Path:
        """The way to ``destination``, from ``source`` unless that is empty, through ``interface`` unless that is 0.

        Raises KernelError(ENETUNREACH …).
        """

    def send(
        self,
        source: Address,
        destination: Address,
        header: bytes,
        payload: bytes | memoryview,
        segment_bytes: int,
        hop_limit: int,
        traffic_class: int,
        interface: int,
    ) -> bool:
        """Send a TCP segment. HOT.

        Its checksum field is zero: fill it in (wire.seal), or leave it to the device. With ``segment_bytes`` the
        payload is longer than one packet may be and is to be cut into pieces of that many octets. ``hop_limit`` 0
        is the default. False: the device has no room now; `TcpLayer.writable` will be called.
        """

    def lane(self, connection: Connection) -> Any:
        """A short way for a connection's segments (express.py: `Lane`); None if there is none."""

    def is_local(self, address: Address) -> bool:
        """Whether it is one of ours."""

    def interface_index(self, name: str) -> int:
        """Of the interface of that name. ENODEV."""

    def unreachable(
        self, segment: bytes, source: Address, destination: Address, errno: int, interface: int
    ) -> None:
        """Answer a segment from ``source`` with the ICMP error for ``errno`` (ENETUNREACH, EHOSTUNREACH)."""

    def now_ns(self) -> int:
        """The monotonic clock. HOT."""

    def random(self, count: int) -> bytes:
        """Random bytes fit for keys."""

    def schedule(self, at_ns: int) -> None:
        """Call `TcpLayer.run_timers` at that time (an earlier request that is still open may be dropped for it)."""


def is_link_local(address: Address) -> bool:
    """Whether only an interface makes it a place (RFC 4291, section 2.5.6)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
