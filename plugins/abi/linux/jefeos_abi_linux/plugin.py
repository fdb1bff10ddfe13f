"""Hooks of jefeos-abi-linux: the Linux x86-64 personality: system calls, structures, signal frames and ELF loading."""

from __future__ import annotations

from jefeos.hookspecs import hookimpl

JEFEOS_API = 1

__all__ = ["JEFEOS_API", "hookimpl"]
