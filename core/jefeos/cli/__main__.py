"""``python -m jefeos.cli`` is the same as ``python -m jefeos``."""

from __future__ import annotations

import sys

from jefeos.cli import main

sys.exit(main())
