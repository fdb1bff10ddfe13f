"""A plugin that cannot be imported: one of its modules is missing."""

from __future__ import annotations

import jefeos_module_that_is_not_there

JEFEOS_API = 1

__all__ = ["jefeos_module_that_is_not_there"]
