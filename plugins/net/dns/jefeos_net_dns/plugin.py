"""Hooks of jefeos-net-dns: the resolver of kernel services, and ``nslookup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.net.services import Resolver
    from jefeos.proc.applet import Proc

JEFEOS_API = 1


@hookimpl
def jefeos_resolver(kernel: Kernel) -> Resolver:
    from jefeos_net_dns.resolver import StubResolver

    return StubResolver(kernel)


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    return {"nslookup": _nslookup}


async def _nslookup(proc: Proc, argv: list[bytes]) -> int:
    from jefeos_net_dns.applet import nslookup  # dnspython takes a while to import

    return await nslookup(proc, argv)
