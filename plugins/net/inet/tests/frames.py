"""Frames for tests: built by the wire formats, which test_wire.py holds against scapy."""

from __future__ import annotations

from jefeos.net.address import Address
from jefeos.testing.networks import station_address, station_mac
from jefeos_net_inet.wire import ethernet, icmp, icmpv6, ipv4, ipv6, udp
from jefeos_net_inet.wire.ethernet import EtherType
from jefeos_net_inet.wire.icmp import IcmpMessage

OURS, THEIRS = station_address(1), station_address(2)
OURS6 = bytes.fromhex("fe80000000000000") + bytes.fromhex("000000fffe000001")
THEIRS6 = bytes.fromhex("fe80000000000000") + bytes.fromhex("000000fffe000002")


def frame4(
    protocol: int, payload: bytes, *, source: Address = THEIRS, destination: Address = OURS, fragment: int = 0,
    identification: int = 1, hop_limit: int = 64, mac: bytes | None = None,
) -> bytes:  # fmt: skip
    """An IPv4 packet from station 2 to station 1."""
    header = ipv4.emit(len(payload), 0, identification, fragment, hop_limit, protocol, source, destination)
    return ethernet.emit(mac or station_mac(1), station_mac(2), EtherType.IPV4) + header + payload


def frame6(
    protocol: int, payload: bytes, *, source: Address = THEIRS6, destination: Address = OURS6, hop_limit: int = 64,
    mac: bytes | None = None,
) -> bytes:  # fmt: skip
    """An IPv6 packet from station 2 to station 1."""
    header = ipv6.emit(len(payload), 0, 0, hop_limit, protocol, source, destination)
    return ethernet.emit(mac or station_mac(1), station_mac(2), EtherType.IPV6) + header + payload


def echo4(size: int = 8, identifier: int = 7, sequence: int = 1) -> bytes:
    """An echo request."""
    return icmp.emit(IcmpMessage(icmp.Type.ECHO, 0, identifier << 16 | sequence, bytes(size)))


def message6(message: IcmpMessage, source: Address = THEIRS6, destination: Address = OURS6) -> bytes:
    """An ICMPv6 message as a payload."""
    return icmpv6.emit(message, source, destination)


def udp4(port: int, data: bytes, source_port: int = 4000) -> bytes:
    """A UDP message from station 2 to station 1."""
    return udp.emit(THEIRS, OURS, source_port, port, data) + data


def udp6(port: int, data: bytes, source_port: int = 4000) -> bytes:
    """The same over IPv6."""
    return udp.emit(THEIRS6, OURS6, source_port, port, data) + data
