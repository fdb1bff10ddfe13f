"""``dhcp``: shows the leases of the system's network cards, and renews or gives them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.net.address import address_text

from jefeos_net_dhcp.system import clients_of

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

    from jefeos_net_dhcp.service import ClientService

USAGE: Final = b"usage: dhcp [show | renew | release] [INTERFACE]\n"
SECOND_NS: Final = 1_000_000_000


async def dhcp(proc: Proc, argv: list[bytes]) -> int:
    """``dhcp [show | renew | release] [interface]``."""
    words = [word.decode("utf-8", "replace") for word in argv[1:]]
    action = words.pop(0) if words and words[0] in ("show", "renew", "release") else "show"
    clients = clients_of(proc.kernel)
    if len(words) > 1 or words and words[0].startswith("-"):
        await proc.write(2, USAGE)
        return 2
    if words and words[0] not in clients:
        there = ", ".join(clients) or "none"
        await proc.write(2, f"dhcp: {words[0]}: no DHCP client there; there are: {there}\n".encode())
        return 1
    if not clients:
        await proc.write(2, b"dhcp: this system has no network card\n")
        return 1
    if action != "show" and not proc.task.creds.privileged:
        await proc.write(2, b"dhcp: only root may do that\n")
        return 1
    for name in words or clients:
        if action == "renew":
            clients[name].renew()
        elif action == "release":
            clients[name].stop()
        await proc.write(1, _described(name, clients[name], proc.kernel.clock.monotonic_ns()))
    return 0


def _described(name: str, service: ClientService, now_ns: int) -> bytes:
    client, lease = service.client, service.client.lease
    lines = [f"{name}: {client.state.value}"]
    if lease is not None:
        left = "for ever" if lease.forever else f"{(lease.granted_ns - now_ns) // SECOND_NS + lease.lease_s} s left"
        address = f"{address_text(lease.address)}/{lease.prefix_length}"
        lines.append(f"  address {address} from {address_text(lease.server)}, {left}")
        for label, addresses in (("router", lease.routers), ("name server", lease.name_servers)):
            lines += [f"  {label} {address_text(address)}" for address in addresses]
        if lease.domain:
            lines.append(f"  domain {lease.domain}")
    return "".join(f"{line}\n" for line in lines).encode()
