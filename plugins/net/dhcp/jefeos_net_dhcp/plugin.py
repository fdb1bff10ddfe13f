"""Hooks of jefeos-net-dhcp: a client on each network card of a booted system, a server for gateways, and ``dhcp``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from logging import Logger

    from jefeos.hookspecs import Applet
    from jefeos.kernel import Kernel
    from jefeos.net.services import DhcpServer, DhcpServerConfig
    from jefeos.net.stack import NetworkStack
    from jefeos.sched.clock import Clock

JEFEOS_API = 1


@hookimpl
def jefeos_dhcp_server(
    stack: NetworkStack, interface: int, config: DhcpServerConfig, clock: Clock, log: Logger
) -> DhcpServer:
    from jefeos_net_dhcp.serving import Serving

    return Serving(stack, interface, config, clock, log)


@hookimpl
def jefeos_boot(kernel: Kernel) -> None:
    if kernel.net.in_use and kernel.config.net is not None:
        from jefeos_net_dhcp.system import start_clients

        start_clients(kernel)


@hookimpl
def jefeos_shutdown(kernel: Kernel) -> None:
    if kernel.net.in_use:
        from jefeos_net_dhcp.system import stop_clients

        stop_clients(kernel)


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    from jefeos.proc.applet import applet_in

    return {"dhcp": applet_in("jefeos_net_dhcp.applet:dhcp")}
