"""Services around a network stack that plugins provide to each other and to the kernel: names, leases.

The hooks are jefeos_resolver and jefeos_dhcp_server (hookspecs.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attrs import frozen

from jefeos.net.address import Address


class Resolver(ABC):
    """Turns names into addresses."""

    @abstractmethod
    async def resolve(self, name: str, family: int = 0) -> Sequence[Address]:
        """The addresses of a host, best first; ``family`` 0 is both.

        Raises KernelError: ENOENT if there is no such name or it has no such address, EAGAIN if no server answered.
        """

    @abstractmethod
    async def name_of(self, address: Address) -> str:
        """The host's name (PTR). Raises KernelError as `resolve` does."""

    @abstractmethod
    def set_servers(self, servers: Sequence[str], search: Sequence[str] = ()) -> None:
        """Name servers and search list, as in resolv.conf(5): one of a link is ``fe80::1%eth0``."""


@frozen
class DhcpServerConfig:
    """What a `DhcpServer` hands out."""

    first: Address
    """First and last address of the pool, IPv4."""
    last: Address
    prefix_length: int
    router: Address = b""
    """Empty: none is offered."""
    servers: tuple[Address, ...] = ()
    """Name servers."""
    domain: str = ""
    lease_s: int = 86_400


class DhcpServer(ABC):
    """A running server."""

    @abstractmethod
    def leases(self) -> dict[bytes, Address]:
        """MAC to address, of leases that have not run out."""

    @abstractmethod
    def close(self) -> None:
        """Serve no more."""
