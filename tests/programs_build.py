"""Compiles the programs of tests/programs: ``NAME-KIND`` is NAME.c built with one of four compilers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
COMPILERS = {
    "glibc-static": ["gcc", "-static"],
    "glibc-dynamic": ["gcc"],
    "musl-static": ["musl-gcc", "-static"],
    "musl-dynamic": ["musl-gcc"],
}
TIMEOUT_S = 120


def build(name: str, folder: Path) -> str:
    """Compile ``NAME-KIND`` into ``folder``, once; its path. Skips without the compiler."""
    source, _, kind = name.partition("-")
    output = folder / name
    if not output.exists():
        compiler = COMPILERS[kind]
        if shutil.which(compiler[0]) is None:
            pytest.skip(f"{compiler[0]} is not installed on this host")
        subprocess.run(
            [*compiler, "-w", "-O1", "-pthread", "-o", output, PROGRAMS / f"{source}.c"], check=True, timeout=TIMEOUT_S
        )
    return str(output)
