"""The clients of a booted system: one for each network card. The kernel hears what name servers their leases give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.net.flags import InterfaceFlags

from jefeos_net_dhcp.service import ClientService

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

    from jefeos_net_dhcp.client import Lease


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
    """Tell the kernel of the name servers of all leases."""
    leases: list[Lease] = [client.client.lease for client in clients_of(kernel).values() if client.client.lease]
    servers = list(dict.fromkeys(server for lease in leases for server in lease.name_servers))
    domains = list(dict.fromkeys(lease.domain for lease in leases if lease.domain))
    kernel.net.name_servers.set_from_leases(servers, domains)
