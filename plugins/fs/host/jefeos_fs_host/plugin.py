"""Hooks of jefeos-fs-host: a folder of the host as a filesystem, read-only or writable."""

from __future__ import annotations

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1

__all__ = ["JEFEOS_API", "hookimpl"]
