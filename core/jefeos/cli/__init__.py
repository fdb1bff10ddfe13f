"""The `jefeos` command."""

from __future__ import annotations


def main() -> int:
    """Entry point of the console script; returns the exit status."""
    from jefeos.cli.app import main as run

    return run()
