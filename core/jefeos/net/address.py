"""Addresses of the internet protocols, as the kernel passes them around: packed bytes.

4 bytes are IPv4, 16 are IPv6; text is for people (`ipaddress` reads and writes it). ``b""`` is "none given".
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

from jefeos.errors import UsageError

Address: TypeAlias = bytes
AF_INET: Final = 2
AF_INET6: Final = 10
"""Families, under Linux's numbers."""
ANY4: Final = bytes(4)
ANY6: Final = bytes(16)
LOOPBACK4: Final = b"\x7f\0\0\1"
LOOPBACK6: Final = bytes(15) + b"\1"
BROADCAST4: Final = b"\xff" * 4
MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
"""An IPv4 address in IPv6 clothes (RFC 4291, section 2.5.5.2)."""


class SocketAddress(NamedTuple):
    """One end of a conversation."""

    address: Address
    port: int
    scope: int = 0
    """Index of the interface that a link-local IPv6 address belongs to; 0 for none."""
    flow: int = 0
    """IPv6 flow label."""

    def __str__(self) -> str:
        host = address_text(self.address) if self.address else "*"
        return f"[{host}]:{self.port}" if len(self.address) == 16 else f"{host}:{self.port}"


def family_of(address: Address) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if len(address) == 4 else AF_INET6


def parse_address(text: str) -> Address:
    """``10.0.2.15`` or ``fe80::1`` to bytes. Raises UsageError."""
    try:
        return ip_address(text).packed
    except ValueError:
        raise UsageError(f"{text!r} is not an IPv4 or IPv6 address") from None


def interface_identifier(mac: bytes) -> bytes:
    """Modified EUI-64 from a MAC (RFC 4291, appendix A)."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def multicast_mac(group: Address) -> bytes:
    """The address of a multicast group on Ethernet (RFC 1112, section 6.4; RFC 2464, section 7)."""
    if len(group) == 4:
        return b"\x01\0\x5e" + bytes((group[1] & 0x7F,)) + group[2:]
    return b"\x33\x33" + group[12:]


def address_text(address: Address) -> str:
    """The address as people write it."""
    return str(ip_address(address))


# --- IPv4 networks ---------------------------------------------------------------------------------------------


def netmask(prefix_length: int) -> Address:
    """``255.255.255.0`` for 24."""
    return ((0xFFFF_FFFF << 32 - prefix_length) & 0xFFFF_FFFF).to_bytes(4, "big")


def mask_length(mask: Address) -> int | None:
    """24 for ``255.255.255.0``; None for a mask with holes."""
    length = int.from_bytes(mask, "big").bit_count()
    return length if netmask(length) == mask else None


def classful_length(address: Address) -> int:
    """The prefix length of an address that came without a mask (RFC 791, section 3.2)."""
    return 8 if address[0] < 128 else 16 if address[0] < 192 else 24
