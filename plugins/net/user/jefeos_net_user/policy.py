"""Who may be reached from behind the gateway.

    --net user               the world outside, but nothing of this machine
    --net user:host          this machine's own services too, at 10.0.2.2 (its 127.0.0.1) and at its own addresses
    --net user:restricted    nothing but the gateway's DHCP; ``--forward`` still leads in

An address is this machine's if a socket can be bound to it. Link-local addresses are refused always: in clouds the
machine's own credentials are served there. So are multicast and broadcast, and IPv4 in the clothes of IPv6.

The guests' IPv6 network is one of RFC 4193's (QEMU's, fec0::/64, is of a kind that RFC 3879 has done away with). Its
global ID is always the same, where the RFC wants a random one: it never meets another, since the gateway translates
every address, and 10.0.2.0/24 is the same everywhere too, so that one can write the host's address down. Programs go
on preferring IPv4 where a name has both kinds of address, as RFC 6724 makes them from such a network, and that is
right: the way out is translated in any case, and the host's IPv4 is what works most often.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from attrs import frozen
from jefeos.errors import ConfigError

HOST_ALIAS: Final = bytes((10, 0, 2, 2))
"""Stands for the host's loopback."""
NAME_SERVER: Final = bytes((10, 0, 2, 3))
ROUTER: Final = bytes((10, 0, 2, 1))
"""The gateway's own end, which is the router of its guests."""
FIRST_GUEST: Final = bytes((10, 0, 2, 15))
LAST_GUEST: Final = bytes((10, 0, 2, 31))
PREFIX_LENGTH: Final = 24
NETWORK6: Final = bytes.fromhex("fd6a6566656f0000") + bytes(8)
"""``fd6a:6566:656f::/64``."""
PREFIX_LENGTH6: Final = 64
HOST_ALIAS6: Final = NETWORK6[:15] + b"\2"
NAME_SERVER6: Final = NETWORK6[:15] + b"\3"
ROUTER6: Final = NETWORK6[:15] + b"\1"
PROXIED: Final = frozenset((HOST_ALIAS, NAME_SERVER, HOST_ALIAS6, NAME_SERVER6))
"""Addresses that the gateway answers for, although they are none of its own."""
_PUBLIC6: Final = IPv6Address("2000::1")
_WORDS: Final = ("host", "restricted")


@frozen
class Policy:
    """What a guest may reach."""

    host: bool = False
    restricted: bool = False

    @classmethod
    def parse(cls, text: str) -> Policy:
        """From what stands after ``user:``. Raises ConfigError."""
        words = [word for word in text.split(",") if word]
        for word in words:
            if word not in _WORDS:
                raise ConfigError(f"--net user:{text}: {word!r} is none of {', '.join(_WORDS)}")
        if len(words) == len(_WORDS):
            raise ConfigError(f"--net user:{text}: host and restricted exclude each other")
        return cls("host" in words, "restricted" in words)

    def target(self, address: bytes) -> str | None:
        """The host's address for what a guest calls ``address``; None if it may not go there."""
        if self.restricted:
            return None
        if address == HOST_ALIAS:
            return "127.0.0.1" if self.host else None
        if len(address) == 16:
            return self._target6(address)
        text = str(IPv4Address(address))
        where = IPv4Address(address)
        if where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved:
            return None
        if address[:3] == ROUTER[:3]:
            return None  # the guests' own network: nobody else is there
        if not self.host and (where.is_loopback or is_this_machine(text)):
            return None
        return text


    def _target6(self, address: bytes) -> str | None:
        if address == HOST_ALIAS6:
            return "::1" if self.host else None
        where = IPv6Address(address)
        if where.is_link_local or where.is_multicast or address[:8] == NETWORK6[:8]:
            return None
        if not any(address[:10]):  # ``::``, ``::1`` and IPv4 addresses in IPv6 ones
            return None
        text = str(where)
        return text if self.host or not is_this_machine(text) else None

    @property
    def reaches_out6(self) -> bool:
        """Whether there is a way to the world for the guests' IPv6. It may come and go with the host's."""
        return not self.restricted and host_reaches(str(_PUBLIC6))

    @property
    def has_network6(self) -> bool:
        """Whether there is anything for the guests to reach by IPv6: the world, or this machine."""
        return self.reaches_out6 or (self.host and is_this_machine("::1"))


def family_of_text(address: str) -> socket.AddressFamily:
    """AF_INET6 for an address with colons."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@lru_cache(maxsize=1024)
def is_this_machine(address: str) -> bool:
    """Whether an address is one of the host's own. (Remembered: the host's addresses seldom change.)"""
    try:
        with socket.socket(family_of_text(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def host_reaches(address: str) -> bool:
    """Whether the host has a route to an address. (Connecting a UDP socket sends nothing.)"""
    try:
        with socket.socket(family_of_text(address), socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def host_name_servers(path: str = "/etc/resolv.conf") -> list[str]:
    """The host's name servers, those with IPv4 addresses first; empty if the host does not say.

    Servers of one link (``fe80::1%eth0``) are passed over.
    """
    servers = []
    try:
        with open(path, encoding="ascii", errors="ignore") as file:
            for line in file:
                words = line.split()
                if len(words) >= 2 and words[0] == "nameserver" and "%" not in words[1]:
                    servers.append(str(ip_address(words[1])))
    except (OSError, ValueError):
        return servers
    return sorted(servers, key=lambda server: ":" in server)
