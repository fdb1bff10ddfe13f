"""Hooks of jefeos-net-tap: the wire ``tap:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jefeos.net.wire import Port

JEFEOS_API = 1


@hookimpl
def jefeos_wires() -> dict[str, Callable[[str, AbstractEventLoop], Port]]:
    from jefeos_net_tap.port import open_tap

    return {"tap": open_tap}
