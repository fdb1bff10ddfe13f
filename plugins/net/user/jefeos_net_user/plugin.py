"""Hooks of jefeos-net-user: the wire ``user`` (``--net user``, ``user:host``, ``user:restricted``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.net.wire import Port, WireContext, WireOpener

JEFEOS_API = 1


@hookimpl
def jefeos_wires() -> dict[str, WireOpener]:
    return {"user": open_user}


def open_user(rest: str, context: WireContext) -> Port:
    """``user``, with words after it separated by commas: see `jefeos_net_user.policy.Policy`."""
    from jefeos_net_user.gateway import open_gateway

    return open_gateway(rest, context)
