"""``python -m suites``: see campaign.py."""

from __future__ import annotations

import argparse
import sys

from suites.campaign import SUITES, quick_selection, run_suite, table

parser = argparse.ArgumentParser(prog="suites", description="Packages' test suites, on JefeOS and on the host.")
parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="which (default: all)")
parser.add_argument("--quick", action="store_true", help="only the selection of the normal test run")
arguments = parser.parse_args()
selection = quick_selection() if arguments.quick else {}
outcomes = []
for name in arguments.suites or SUITES:
    outcomes.append(
        run_suite(name, selection.get(name, ()) if arguments.quick else None, lambda line: print(line, file=sys.stderr))
    )
print(table(outcomes))
sys.exit(any(outcome.complaints() for outcome in outcomes))
