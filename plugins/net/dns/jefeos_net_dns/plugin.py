"""Hooks of jefeos-net-dns: the resolver of kernel services, and ``nslookup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.net.services import Resolver

JEFEOS_API = 1


@hookimpl
def jefeos_resolver(kernel: Kernel) -> Resolver:
    from jefeos_net_dns.resolver import StubResolver

    return StubResolver(kernel)


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    from jefeos.proc.applet import applet_in

    return {"nslookup": applet_in("jefeos_net_dns.applet:nslookup")}
