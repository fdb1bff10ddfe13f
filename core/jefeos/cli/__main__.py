"""``python -m jefeos.cli`` is the same as ``python -m jefeos``."""

from __future__ import annotations

import jefeos.__main__  # noqa: F401 - importing it runs the command
