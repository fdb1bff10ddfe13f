"""System calls against the host's Linux: each program prints results and errnos; both must agree.

The programs are in the table of oracle_programs.py. When a system is shut down no frame may be missing (the fixture
looks).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from oracle_programs import PROGRAM_NAMES, compile_program, on_jefeos, on_the_host


@pytest.mark.peer
@pytest.mark.parametrize("name", PROGRAM_NAMES)
def test_same_as_on_the_host(
    name: str,
    host_program: Callable[[str], str],
    jefeos_boot: Callable[..., jefeos.System],
    tmp_path: Path,
) -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("the oracle is Linux, as root")
    program = compile_program(name, host_program("gcc"), tmp_path)
    (tmp_path / "empty").mkdir()
    host = on_the_host(program, tmp_path / "empty")
    ours = on_jefeos(program, jefeos_boot())
    assert ours.lines == host.lines
    assert ours.status == host.status
