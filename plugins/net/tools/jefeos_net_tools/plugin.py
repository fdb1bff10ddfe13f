"""Hooks of jefeos-net-tools: the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet

JEFEOS_API = 1

APPLETS = {
    "interfaces": ("arp", "ifconfig", "ip", "route"),
    "netstat": ("netstat",),
    "ping": ("ping",),
    "wget": ("wget",),
}


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    from jefeos.proc.applet import applet_in

    return {name: applet_in(f"jefeos_net_tools.{module}:{name}") for module, names in APPLETS.items() for name in names}
