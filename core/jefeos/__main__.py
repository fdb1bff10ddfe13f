"""``python -m jefeos`` is the `jefeos` command, where the script is not on the PATH."""

from __future__ import annotations

import sys

from jefeos.cli import main

sys.exit(main())
