"""Hooks of jefeos-net-tap: the wire ``tap:NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.net.wire import WireOpener

JEFEOS_API = 1


@hookimpl
def jefeos_wires() -> dict[str, WireOpener]:
    from jefeos_net_tap.port import open_tap

    return {"tap": lambda rest, context: open_tap(rest, context.loop)}
