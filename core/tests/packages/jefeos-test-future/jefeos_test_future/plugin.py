"""A plugin written for a version of the plugin contract that this core does not have yet."""

from __future__ import annotations

JEFEOS_API = 99
