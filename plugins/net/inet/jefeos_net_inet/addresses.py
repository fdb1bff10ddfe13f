"""Which addresses are ours: on each interface, and all of them for the question "is this packet for us?".

IPv4 addresses belong to the host: a packet for any of them is taken on any interface (RFC 1122, section 3.3.4.2, the
weak model, as on Linux). Link-local IPv6 addresses belong to their interface. A tentative address (RFC 4862) is
nobody's yet: it is listed, and nothing is sent from it or taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import ANY4, BROADCAST4, Address
from jefeos.net.stack import InterfaceAddress

from jefeos_net_inet.timers import Timer

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

SCOPE_GLOBAL, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
MOST_ADDRESSES: Final = 256
"""Of an interface."""
_LINK_LOCAL4: Final = b"\xa9\xfe"


class Kind(IntEnum):
    """Whom a packet or frame is for, under the numbers of PACKET_*."""

    HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER = 3


def is_multicast(address: Address) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    return address[0] == 0xFF if len(address) == 16 else 0xE0 <= address[0] < 0xF0


def is_link_local(address: Address) -> bool:
    """fe80::/10 or 169.254.0.0/16."""
    if len(address) == 16:
        return address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return address[:2] == _LINK_LOCAL4


def scope_of(address: Address) -> int:
    """RT_SCOPE_* of an address."""
    if is_link_local(address):
        return SCOPE_LINK
    is_loopback = address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\1"
    return SCOPE_HOST if is_loopback else SCOPE_GLOBAL


def network_of(address: Address, prefix_length: int) -> Address:
    """The address with its host bits zero."""
    shift = len(address) * 8 - prefix_length
    return (int.from_bytes(address, "big") >> shift << shift).to_bytes(len(address), "big")


def broadcast_of(address: Address, prefix_length: int) -> Address:
    """The directed broadcast address of an IPv4 network."""
    host = (1 << (32 - prefix_length)) - 1
    return (int.from_bytes(address, "big") | host).to_bytes(4, "big")


def shared_bits(one: Address, other: Address) -> int:
    """Length of the longest prefix that two addresses share."""
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return len(one) * 8 - difference.bit_length()


class AddressBook:
    """All addresses of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._timer: Timer | None = None
        self._owners: dict[Address, list[InetInterface]] = {}
        self._broadcasts: dict[Address, int] = {}

    # --- questions -------------------------------------------------------------------------------------------

    def kind4(self, address: Address, interface: InetInterface) -> Kind:
        """Whom an IPv4 packet that came in on ``interface`` is for. HOT."""
        if address in self._owners:
            return Kind.HOST
        if address == BROADCAST4 or address in self._broadcasts or address == ANY4:
            return Kind.BROADCAST
        if 0xE0 <= address[0] < 0xF0:
            return Kind.MULTICAST
        if address[0] == 127 and interface.is_loopback:
            return Kind.HOST
        return Kind.OTHER

    def kind6(self, address: Address, interface: InetInterface) -> Kind:
        """The same for IPv6. HOT."""
        owners = self._owners.get(address)
        if owners is not None:
            return Kind.HOST if interface in owners or not is_link_local(address) else Kind.OTHER
        return Kind.MULTICAST if address[0] == 0xFF else Kind.OTHER

    def is_ours(self, address: Address, interface: int = 0) -> bool:
        """Whether a socket may use the address (``interface`` 0: any)."""
        owners = self._owners.get(address)
        if owners is None:
            return len(address) == 4 and address[0] == 127
        return not interface or not is_link_local(address) or any(one.index == interface for one in owners)

    def is_broadcast(self, address: Address) -> bool:
        """255.255.255.255, or the directed broadcast of a network that we are on."""
        return address == BROADCAST4 or (address in self._broadcasts and address not in self._owners)

    def owner(self, address: Address) -> InetInterface | None:
        """The interface that has the address."""
        owners = self._owners.get(address)
        return owners[0] if owners else None

    def usable(
        self, interface: InetInterface | None, address_bytes: int
    ) -> Iterator[tuple[InetInterface, InterfaceAddress]]:
        """Addresses of a family that packets can be sent from: of one interface, or of all that are up."""
        for one in [interface] if interface is not None else self._stack.interface_list:
            if one.is_up:
                for entry in one.addresses:
                    if len(entry.address) == address_bytes and not entry.tentative:
                        yield one, entry

    # --- changes ---------------------------------------------------------------------------------------------

    def add(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        """Raises KernelError: EEXIST, EINVAL, ENOBUFS."""
        address = entry.address
        is_v4 = len(address) == 4
        if len(address) not in (4, 16) or not 0 <= entry.prefix_length <= len(address) * 8:
            raise KernelError(Errno.EINVAL)
        if is_multicast(address) or not any(address) or address == BROADCAST4:
            raise KernelError(Errno.EINVAL)
        if any(other.address == address for other in interface.addresses):
            raise KernelError(Errno.EEXIST)
        if len(interface.addresses) >= MOST_ADDRESSES:
            raise KernelError(Errno.ENOBUFS)
        interface.addresses.append(entry)
        if not entry.tentative:
            self._own(interface, entry)
        if is_v4 and entry.prefix_length < 31 and not interface.is_loopback:
            for broadcast in self._broadcasts_of(entry):
                self._broadcasts[broadcast] = self._broadcasts.get(broadcast, 0) + 1
        self._changed(interface, entry)

    def _own(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        self._owners.setdefault(entry.address, []).append(interface)

    @staticmethod
    def _broadcasts_of(entry: InterfaceAddress) -> tuple[Address, Address]:
        """The directed broadcast, and the network itself, which is the old form of it (RFC 1122, 3.3.6)."""
        return (
            broadcast_of(entry.address, entry.prefix_length), network_of(entry.address, entry.prefix_length)
        )

    def replace(self, interface: InetInterface, old: InterfaceAddress, **changes: Any) -> InterfaceAddress:
        """The same address with other lifetimes, or no longer tentative."""
        new = evolve(old, **changes)
        interface.addresses[interface.addresses.index(old)] = new
        if old.tentative and not new.tentative:
            self._own(interface, new)
        self._changed(interface, new)
        return new

    def remove(self, interface: InetInterface, address: Address) -> InterfaceAddress:
        """Raises KernelError(EADDRNOTAVAIL)."""
        for entry in interface.addresses:
            if entry.address == address:
                break
        else:
            raise KernelError(Errno.EADDRNOTAVAIL)
        interface.addresses.remove(entry)
        owners = self._owners.get(address, [])
        if interface in owners:
            owners.remove(interface)
            if not owners:
                del self._owners[address]
        if len(address) == 4 and entry.prefix_length < 31 and not interface.is_loopback:
            for broadcast in self._broadcasts_of(entry):
                self._broadcasts[broadcast] -= 1
                if not self._broadcasts[broadcast]:
                    del self._broadcasts[broadcast]
        self._changed(interface, entry, gone=True)
        return entry

    def _changed(self, interface: InetInterface, entry: InterfaceAddress, gone: bool = False) -> None:
        self._stack.address_changed(interface, entry, gone)
        self._schedule()

    # --- lifetimes -------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [
            entry.valid_until_ns
            for interface in self._stack.interface_list
            for entry in interface.addresses
            if entry.valid_until_ns is not None
        ]
        if ends:
            now_ns = self._stack.timers.now_ns()
            self._timer = self._stack.timers.later(max(min(ends) - now_ns, 0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_ns = self._stack.timers.now_ns()
        for interface in list(self._stack.interface_list):
            for entry in list(interface.addresses):
                if entry.valid_until_ns is not None and entry.valid_until_ns <= now_ns:
                    interface.remove_address(entry.address)
        self._schedule()

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
