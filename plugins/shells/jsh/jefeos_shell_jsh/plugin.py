"""Hooks of jefeos-shell-jsh: a small shell and a dozen applets, for booting without a root."""

from __future__ import annotations

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1

__all__ = ["JEFEOS_API", "hookimpl"]
