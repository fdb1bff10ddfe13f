"""Hooks of jefeos-net-tools: the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet

JEFEOS_API = 1


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    from jefeos_net_tools.interfaces import arp, ifconfig, ip, route
    from jefeos_net_tools.netstat import netstat
    from jefeos_net_tools.ping import ping
    from jefeos_net_tools.wget import wget

    return {
        "arp": arp, "ifconfig": ifconfig, "ip": ip, "netstat": netstat, "ping": ping, "route": route, "wget": wget,
    }  # fmt: skip
