"""``python tests/scoreboard`` (``make scoreboard``): run the scoreboards, print them, and write them as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from boards import BOARDS, problems, run_boards
from tables import show

DEFAULT_OUTPUT = Path(__file__).parent.parent.parent / "build" / "scoreboard.json"


def progress(text: str) -> None:
    """What is being run, on one line of a terminal."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _listen_to_all_signals() -> None:
    """Who starts this in the background or under nohup has signals ignored, and the programs on the host, unlike those
    on JefeOS, would inherit that. A handler that does nothing is not inherited."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make scoreboard ARGS=...", description="Run the scoreboards.")
    parser.add_argument("boards", nargs="*", metavar="BOARD", help=f"{', '.join(BOARDS)} (default: all)")
    parser.add_argument("--json", type=Path, default=DEFAULT_OUTPUT, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--every-row", action="store_true", help="print every row, not only what is not a yes")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print what is in FILE and run nothing")
    options = parser.parse_args()
    unknown = [name for name in options.boards if name not in BOARDS]
    if unknown:
        parser.error(f"there is no board {', '.join(unknown)}: say {', '.join(BOARDS)}")
    if options.show is not None:
        show(json.loads(options.show.read_text(encoding="utf-8")), every_row=options.every_row)
        return 0
    _listen_to_all_signals()
    logging.getLogger("jefeos").setLevel(logging.CRITICAL)  # what programs die of is in the rows
    document = run_boards(options.boards or list(BOARDS), progress)
    progress("")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(document, every_row=options.every_row)
    print(f"written to {os.path.relpath(options.json)}")
    wrong = problems(document)
    for problem in wrong:
        print(f"this cannot be right: {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
