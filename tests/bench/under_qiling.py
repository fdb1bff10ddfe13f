"""Run a static program under Qiling and print how many seconds its run took: ``python under_qiling.py PROGRAM ARGS…``.

The peer's own Python runs this; nothing of JefeOS is imported. The time is taken here, around the run, because the
clock that Qiling 1.4.6 gives its programs is right to the second only; so the program's start-up (13 ms of a static
hello) is in it.
"""

from __future__ import annotations

import sys
import time

from qiling import Qiling
from qiling.const import QL_VERBOSE

emulator = Qiling(sys.argv[1:], "/", verbose=QL_VERBOSE.DISABLED)
started = time.perf_counter()
emulator.run()
sys.stdout.flush()
print(f"\n{time.perf_counter() - started:f}")
