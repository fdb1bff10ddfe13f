"""The `jefeos` command: ``boot``, ``run``, ``plugins`` and ``bench``.

`jefeos.cli.entry` starts it and turns every expected error into one line and an exit status, `jefeos.cli.app` is the
full argument parser, and each command's work is in a module of its own, imported when that command runs. So
``jefeos --help`` loads nothing of the kernel, and ``jefeos run`` loads no argument parser (tests hold it to that).
"""

from __future__ import annotations


def main() -> int:
    """Entry point of the console script; returns the exit status."""
    from jefeos.cli.entry import main as run

    return run()
