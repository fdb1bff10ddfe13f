"""Neighbour Discovery for IPv6 (RFC 4861): who has an address, and whether somebody has ours already (RFC 4862, 5.4).

    solicitation for ours     -> advertisement, and remember who asked
    advertisement             -> the cache, if it asked; an end to a tentative address
    up                        -> link-local address --DAD--> ours; then routers (`slaac`)

Redirects are not followed. Anycast and proxies are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define
from jefeos.errors import CorruptError, KernelError
from jefeos.net.address import ANY6, Address, interface_identifier
from jefeos.net.stack import InterfaceAddress

from jefeos_net_inet.addresses import SCOPE_LINK, Kind, is_multicast
from jefeos_net_inet.neighbours import MILLISECOND_NS, Entry, NeighbourCache
from jefeos_net_inet.packets import Packet
from jefeos_net_inet.settings import number
from jefeos_net_inet.timers import Timer
from jefeos_net_inet.wire import ndp
from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type
from jefeos_net_inet.wire.ndp import AdvertisementFlag

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

ALL_NODES: Final = bytes.fromhex("ff02") + bytes(13) + b"\1"
DAD_DELAY_MS: Final = 1000
"""MAX_RTR_SOLICITATION_DELAY: the first question waits for up to this."""


@define(eq=False)
class Detection:
    """Duplicate address detection that goes on."""

    interface: InetInterface
    address: Address
    left: int
    nonce: bytes = b""
    timer: Timer | None = None


class Discovery:
    """Neighbour Discovery of a stack."""

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self.cache = NeighbourCache(stack, "ipv6", self._solicit)
        self._detections: dict[tuple[int, Address], Detection] = {}
        self.duplicates = 0
        stack.icmp6.handlers[Type.NEIGHBOUR_SOLICITATION] = self._solicited
        stack.icmp6.handlers[Type.NEIGHBOUR_ADVERTISEMENT] = self._advertised

    # --- in --------------------------------------------------------------------------------------------------

    def _solicited(self, packet: Packet, message: IcmpMessage) -> None:
        """RFC 4861, sections 7.1.1 and 7.2.3."""
        asked = ndp.parse_neighbour(message)
        interface, source = packet.interface, packet.source
        if is_multicast(asked.target):
            raise CorruptError("a solicitation for a group")
        is_probe = source == ANY6
        if is_probe and (asked.mac or packet.destination != ndp.solicited_group(asked.target)):
            raise CorruptError("a probe that is none")
        detection = self._detections.get((interface.index, asked.target))
        if detection is not None:
            if is_probe:  # somebody else wants it, too (5.4.3): neither gets it
                self._is_duplicate(detection)
            return
        is_ours = self._stack.addresses.kind6(asked.target, interface) is Kind.HOST
        if not is_ours and not self._stack.interception.proxies(interface, asked.target):
            return
        if asked.mac:
            self.cache.heard(source, interface, asked.mac, create=True)
        flags = AdvertisementFlag.OVERRIDE
        is_router = number(self._stack.settings, "net.ipv6.conf.all.forwarding")
        if is_ours and (is_router or self._stack.advertising.is_router(interface)):
            flags |= AdvertisementFlag.ROUTER
        if not is_probe:
            flags |= AdvertisementFlag.SOLICITED
        answer = ndp.advertisement(asked.target, interface.mac, flags)
        self._send(interface, answer, ALL_NODES if is_probe else source, asked.target)

    def _advertised(self, packet: Packet, message: IcmpMessage) -> None:
        """RFC 4861, sections 7.1.2 and 7.2.5; RFC 4862, section 5.4.4."""
        told = ndp.parse_neighbour(message)
        if is_multicast(told.target):
            raise CorruptError("an advertisement for a group")
        solicited = bool(told.flags & AdvertisementFlag.SOLICITED)
        if solicited and packet.kind is Kind.MULTICAST:
            raise CorruptError("an answer to everybody")
        detection = self._detections.get((packet.interface.index, told.target))
        if detection is not None:
            self._is_duplicate(detection)
            return
        if self._stack.addresses.kind6(told.target, packet.interface) is Kind.HOST:
            self.duplicates += 1  # ours was there first, and stays
            return
        entry = self.cache.answered(
            told.target, packet.interface, told.mac, override=bool(told.flags & AdvertisementFlag.OVERRIDE),
            solicited=solicited,
        )
        if entry is not None:
            was_router, entry.is_router = entry.is_router, bool(told.flags & AdvertisementFlag.ROUTER)
            if was_router and not entry.is_router:
                self._stack.slaac.is_no_router(told.target, packet.interface)

    # --- out -------------------------------------------------------------------------------------------------

    def _send(self, interface: InetInterface, message: IcmpMessage, destination: Address, source: Address) -> None:
        self._stack.icmp6.send(
            message, destination, source, interface=interface.index, hop_limit=ndp.HOP_LIMIT
        )

    def _solicit(self, entry: Entry, unicast: bool) -> None:
        interface = entry.interface
        source = self._stack.ipv6.source_for(entry.address, interface)
        destination = entry.address if unicast else ndp.solicited_group(entry.address)
        self._send(interface, ndp.solicitation(entry.address, interface.mac), destination, source)

    # --- our own addresses -----------------------------------------------------------------------------------

    def listen(self, interface: InetInterface, address: Address) -> None:
        """Hear who asks for an address of ours, until `stop`."""
        self._stack.join(interface, ndp.solicited_group(address))

    def start(self, interface: InetInterface) -> None:
        """The interface came up: a link-local address (RFC 4862, section 5.3), and detection for the others."""
        if interface.is_loopback or number(self._stack.settings, "net.ipv6.conf.all.disable_ipv6"):
            return
        address = bytes.fromhex("fe80") + bytes(6) + interface_identifier(interface.mac)
        for entry in list(interface.addresses):
            if len(entry.address) == 16:
                self.detect(interface, entry)
        if all(entry.address != address for entry in interface.addresses):
            self._stack.add_address(
                interface, InterfaceAddress(address, 64, scope=SCOPE_LINK, tentative=self.is_needed(interface))
            )

    def is_needed(self, interface: InetInterface) -> bool:
        """Whether new addresses of an interface are tentative first."""
        return not interface.is_loopback and number(self._stack.settings, "net.ipv6.conf.all.dad_transmits") > 0

    def detect(self, interface: InetInterface, entry: InterfaceAddress) -> None:
        """Ask for an address of ours, which is tentative until nobody has answered."""
        if not entry.tentative or not interface.is_up:
            return
        count = number(self._stack.settings, "net.ipv6.conf.all.dad_transmits")
        detection = Detection(interface, entry.address, count)
        self._detections[interface.index, entry.address] = detection
        delay_ns = self._stack.entropy.below(DAD_DELAY_MS) * MILLISECOND_NS
        detection.timer = self._stack.timers.later(delay_ns, self._step, detection)

    def _step(self, detection: Detection) -> None:
        interface, address = detection.interface, detection.address
        if not detection.left:
            self._detections.pop((interface.index, address), None)
            entry = next((entry for entry in interface.addresses if entry.address == address), None)
            if entry is not None:
                self._stack.addresses.replace(interface, entry, tentative=False)
                self._stack.address_usable(interface, address)
            return
        detection.left -= 1
        wait_ns = number(self._stack.settings, "net.ipv6.neigh.default.retrans_time_ms") * MILLISECOND_NS
        detection.timer = self._stack.timers.later(wait_ns, self._step, detection)
        self._send(interface, ndp.solicitation(address, b""), ndp.solicited_group(address), ANY6)

    def _is_duplicate(self, detection: Detection) -> None:
        """Somebody has the address: it is not ours (section 5.4.5)."""
        self.duplicates += 1
        interface, address = detection.interface, detection.address
        self._stack.log.warning("%s: somebody else has the address %s", interface.name, address.hex(":", 2))
        try:
            interface.remove_address(address)  # which ends the detection
        except KernelError:
            self.stop(interface, address)

    def stop(self, interface: InetInterface, address: Address) -> None:
        """The address is gone."""
        detection = self._detections.pop((interface.index, address), None)
        if detection is not None and detection.timer is not None:
            detection.timer.cancel()
        self._stack.leave(interface, ndp.solicited_group(address))

    def forget(self, interface: InetInterface) -> None:
        """The interface went down."""
        self.cache.flush(interface)
        for key, detection in list(self._detections.items()):
            if detection.interface is interface:
                del self._detections[key]
                if detection.timer is not None:
                    detection.timer.cancel()

    def close(self) -> None:
        """Let go of every timer."""
        self.cache.flush()
        for detection in self._detections.values():
            if detection.timer is not None:
                detection.timer.cancel()
        self._detections.clear()


