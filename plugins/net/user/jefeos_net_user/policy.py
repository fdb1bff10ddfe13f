"""Who may be reached from behind the gateway.

    --net user               the world outside, but nothing of this machine
    --net user:host          this machine's own services too, at 10.0.2.2 (its 127.0.0.1) and at its own addresses
    --net user:restricted    nothing but the gateway's DHCP; ``--forward`` still leads in

An address is this machine's if a socket can be bound to it. Link-local addresses are refused always: in clouds the
machine's own credentials are served there. So are multicast and broadcast.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address
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
        text = str(IPv4Address(address))
        where = IPv4Address(address)
        if where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved:
            return None
        if address[:3] == ROUTER[:3]:
            return None  # the guests' own network: nobody else is there
        if not self.host and (where.is_loopback or is_this_machine(text)):
            return None
        return text


@lru_cache(maxsize=1024)
def is_this_machine(address: str) -> bool:
    """Whether an address is one of the host's own. (Remembered: the host's addresses seldom change.)"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def host_name_servers(path: str = "/etc/resolv.conf") -> list[str]:
    """The host's name servers, IPv4 only; empty if the host does not say."""
    servers = []
    try:
        with open(path, encoding="ascii", errors="ignore") as file:
            for line in file:
                words = line.split()
                if len(words) >= 2 and words[0] == "nameserver" and ":" not in words[1]:
                    servers.append(words[1])
    except OSError:
        return []
    return servers
