"""A plugin that loads well and then fails when a hook of it is called."""

from __future__ import annotations

from typing import Any

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1


@hookimpl
def jefeos_filesystems() -> list[Any]:
    raise RuntimeError("the disk of this plugin is on fire")
