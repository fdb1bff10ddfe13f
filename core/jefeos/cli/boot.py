"""``jefeos boot`` and ``jefeos run``: from options to a running system and back to an exit status."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from jefeos.config import BootConfig


def boot_command(options: dict[str, Any]) -> int:
    """Boot to the console and run until the first program ends; its exit status."""
    config = _read_config(options)
    from jefeos.kernel import boot_kernel

    kernel = boot_kernel(config)
    try:
        return kernel.run_console()
    finally:
        kernel.shutdown()


def run_command(options: dict[str, Any], command: Sequence[str]) -> int:
    """Run one program with the host's standard streams; its exit status, 128+n if signal n ended it."""
    config = _read_config(options)
    from jefeos.kernel import boot_kernel

    kernel = boot_kernel(config)
    try:
        return kernel.run_program([os.fsencode(word) for word in command])
    finally:
        kernel.shutdown()


def _read_config(options: dict[str, Any]) -> BootConfig:
    config_file = options.pop("config", None)
    return BootConfig.load(options, config_file=config_file)
