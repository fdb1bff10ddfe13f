"""A theme called twin; the other test package of that name is a different distribution."""

from __future__ import annotations

JEFEOS_API = 1
