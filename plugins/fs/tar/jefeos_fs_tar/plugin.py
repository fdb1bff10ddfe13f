"""Hooks of jefeos-fs-tar: a root filesystem from a tar archive, with writes kept in memory above it."""

from __future__ import annotations

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1

__all__ = ["JEFEOS_API", "hookimpl"]
