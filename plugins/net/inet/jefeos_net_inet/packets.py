"""What the layers hand to each other: packets that came in, and paths for those that go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import define
from jefeos.net.address import Address

from jefeos_net_inet.addresses import Kind

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.neighbours import Entry


@define(eq=False)
class Packet:
    """An IP packet that arrived, whole."""

    source: Address
    destination: Address
    protocol: int
    payload: memoryview
    """What follows the IP header (and its extensions)."""
    whole: memoryview
    """From the IP header on: what an ICMP error quotes and a raw socket of IPv4 reads."""
    hop_limit: int
    traffic_class: int
    interface: InetInterface
    kind: Kind
    """Whom it is for."""
    to_group: bool
    """Whether the frame was a broadcast or multicast: nobody may be sent an ICMP error for it."""
    checksum_good: bool
    """Whether the device has verified what is above IP."""
    received_ns: int


@define(eq=False)
class Path:
    """How packets get to a destination. Valid until the next change of addresses or routes: ask again for each."""

    source: Address
    destination: Address
    interface: InetInterface
    next_hop: Address
    kind: Kind
    mtu: int
    """Of the whole path, as far as it is known."""
    mac: bytes | None
    """The next station, where nobody needs to be asked for it."""
    neighbour: Entry | None = None
    is_local: bool = False
    """Through ``lo`` to ourselves."""


class Problem(NamedTuple):
    """An ICMP error about a packet of ours, for the protocol that sent it."""

    source: Address
    """Ours: the source of the packet that failed."""
    destination: Address
    payload: memoryview
    """As much of the packet behind its IP header as the error quotes; at least 8 bytes."""
    errno: int
    is_hard: bool
    """Whether a connected socket is to fail by it, without having asked for errors (RFC 1122, section 4.2.3.9)."""
    origin: int
    kind: int
    code: int
    info: int
    """The MTU for EMSGSIZE, the pointer of a parameter problem."""
    offender: Address
    interface: int
    hop_limit: int
    """Of the error's own packet; 0 if nobody sent one."""
