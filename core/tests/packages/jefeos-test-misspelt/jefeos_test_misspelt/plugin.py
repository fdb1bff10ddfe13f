"""A plugin with a hook that does not exist: a spelling mistake must not pass in silence."""

from __future__ import annotations

from typing import Any

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1


@hookimpl
def jefeos_filesystem() -> list[Any]:
    return []
