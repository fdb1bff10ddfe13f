"""The `jefeos` command: ``boot``, ``run``, ``plugins`` and ``bench``.

`jefeos.cli.app` declares the commands and turns every expected error into one line and an exit status; each
command's work is in a module of its own, imported when that command runs. So ``jefeos --help`` loads the
argument parser and nothing of the kernel (a test holds it to that).
"""

from __future__ import annotations


def main() -> int:
    """Entry point of the console script; returns the exit status."""
    from jefeos.cli.app import main as run

    return run()
