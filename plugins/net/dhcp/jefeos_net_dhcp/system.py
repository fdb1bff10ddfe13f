"""The clients of a booted system: one for each network card, and what a lease changes beyond its interface.

The name servers of the leases go to the kernel's resolver and, where the root can be written, to /etc/resolv.conf. A
file that came with the root stays, unless it names only servers of the machine that the root comes from (127.0.0.53
and its like, as a host's own folder does), which are not there; in a root that is written through it stays always.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from jefeos.errors import KernelError
from jefeos.net.address import address_text
from jefeos.net.stack import InterfaceFlags
from jefeos.rootfs import write_file

from jefeos_net_dhcp.service import ClientService

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

    from jefeos_net_dhcp.client import Lease

RESOLV_CONF: Final = b"/etc/resolv.conf"
MOST_READ: Final = 4096
MARK: Final = b"# written by the kernel's DHCP client\n"


def start_clients(kernel: Kernel) -> None:
    """A client for each card."""
    clients: dict[str, ClientService] = {}
    kernel.dhcp_clients = clients  # type: ignore[attr-defined]
    for interface in kernel.net.stack.interfaces():
        if interface.device is None or interface.flags & InterfaceFlags.LOOPBACK:
            continue
        name = interface.name
        clients[name] = ClientService(
            kernel.net.stack, interface, kernel.loop, kernel.clock, kernel.entropy, kernel.log,
            hostname=kernel.config.hostname, changed=lambda lease: publish(kernel),
        )
        clients[name].start()
        kernel.net.on_their_way.append(clients[name].is_on_its_way)


def clients_of(kernel: Kernel) -> dict[str, ClientService]:
    """The clients by the names of their interfaces."""
    clients: dict[str, ClientService] = getattr(kernel, "dhcp_clients", {})
    return clients


def stop_clients(kernel: Kernel) -> None:
    """Give every lease back."""
    for client in clients_of(kernel).values():
        client.close()
    clients_of(kernel).clear()


def publish(kernel: Kernel) -> None:
    """Tell resolvers of the name servers of all leases."""
    leases: list[Lease] = [client.client.lease for client in clients_of(kernel).values() if client.client.lease]
    servers = list(dict.fromkeys(server for lease in leases for server in lease.name_servers))
    domains = list(dict.fromkeys(lease.domain for lease in leases if lease.domain))
    kernel.net.set_name_servers(servers, domains)
    if not servers:
        return
    text = MARK + (f"search {' '.join(domains)}\n".encode() if domains else b"")
    text += b"".join(f"nameserver {address_text(server)}\n".encode() for server in servers)
    try:
        if _may_write(kernel):
            write_file(kernel, RESOLV_CONF, text)
    except KernelError as error:
        kernel.log.info("%s is not written: %s", RESOLV_CONF.decode(), error)


def _may_write(kernel: Kernel) -> bool:
    try:
        inode = kernel.vfs.resolve(kernel.vfs.as_kernel(), RESOLV_CONF).inode
        text = bytes(inode.read(0, MOST_READ))
    except KernelError:
        return True
    if text.startswith(MARK) or not text.strip():
        return True
    servers = re.findall(rb"^[ \t]*nameserver[ \t]+(\S+)", text, re.MULTILINE)
    return not kernel.config.root_writable and bool(servers) and all(_is_loopback(server) for server in servers)


def _is_loopback(server: bytes) -> bool:
    try:
        return ip_address(server.decode("ascii", "replace")).is_loopback
    except ValueError:
        return False
