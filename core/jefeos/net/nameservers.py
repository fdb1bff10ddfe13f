"""Name servers of the system: what leases and routers say, for the kernel's resolver and for programs.

    leases (set_from_leases) ---+--> the resolver of kernel services
    the stack's routers --------+--> /etc/resolv.conf, where the root can be written

Those of leases come first, but leave a place for what routers advertise (RFC 8106, section 5.3.1), as resolvers ask
no more than three. A resolv.conf that came with the root stays, unless it names only servers of the machine that the
root comes from (127.0.0.53 and its like, as a host's own folder does), which are not there; in a root that is written
through it stays always. One of ours names nobody when there is nobody left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from jefeos.errors import KernelError
from jefeos.net.address import Address, SocketAddress, address_text

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.net.services import Resolver
    from jefeos.net.stack import NetworkStack

RESOLV_CONF: Final = b"/etc/resolv.conf"
MOST_READ: Final = 4096
MARK: Final = b"# written by the kernel, as leases and routers say\n"
LEASED_FIRST: Final = 2


class NameServers:
    """See the module's text."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._leased: list[str] = []
        self._search: list[str] = []
        self._advertised: list[str] = []
        self.resolver: Resolver | None = None
        """Who is told, once it is there."""

    @property
    def servers(self) -> list[str]:
        """All, the best first, as resolv.conf(5) has them: one of a link is ``fe80::1%eth0``."""
        leased = self._leased
        return list(dict.fromkeys((*leased[:LEASED_FIRST], *self._advertised, *leased[LEASED_FIRST:])))

    def set_from_leases(self, servers: Sequence[Address], search: Sequence[str]) -> None:
        """What all leases together say now."""
        self._leased, self._search = [address_text(server) for server in servers], list(search)
        self._publish()

    def set_from_routers(self, stack: NetworkStack) -> None:
        """What routers advertise now."""
        self._advertised = [_text(stack, server) for server in stack.name_servers]
        self._publish()

    def tell(self, resolver: Resolver) -> None:
        """Here is the resolver."""
        self.resolver = resolver
        if self.servers:
            resolver.set_servers(self.servers, self._search)

    def _publish(self) -> None:
        servers = self.servers
        if self.resolver is not None:
            self.resolver.set_servers(servers, self._search)
        from jefeos.rootfs import write_file

        text = MARK + (f"search {' '.join(self._search)}\n".encode() if self._search else b"")
        text += b"".join(f"nameserver {server}\n".encode() for server in servers)
        try:
            if self._may_write():
                write_file(self._kernel, RESOLV_CONF, text)
        except KernelError as error:
            self._kernel.log.info("%s is not written: %s", RESOLV_CONF.decode(), error)

    def _may_write(self) -> bool:
        text = self._written()
        if text.startswith(MARK):
            return True
        if not self.servers:
            return False
        if not text.strip():
            return True
        servers = re.findall(rb"^[ \t]*nameserver[ \t]+(\S+)", text, re.MULTILINE)
        writable = self._kernel.config.root_writable
        return not writable and bool(servers) and all(_is_loopback(server) for server in servers)

    def _written(self) -> bytes:
        """The beginning of resolv.conf; nothing if there is none."""
        vfs = self._kernel.vfs
        try:
            return bytes(vfs.resolve(vfs.as_kernel(), RESOLV_CONF).inode.read(0, MOST_READ))
        except KernelError:
            return b""


def _text(stack: NetworkStack, server: SocketAddress) -> str:
    zone = f"%{stack.interface(server.scope).name}" if server.scope else ""
    return address_text(server.address) + zone


def _is_loopback(server: bytes) -> bool:
    try:
        return ip_address(server.decode("ascii", "replace")).is_loopback
    except ValueError:
        return False
