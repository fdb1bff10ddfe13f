"""System calls against the host's Linux: each program prints results and errnos; both must agree.

The programs are in the table of oracle_programs.py. Some let another process or a timer come first by a pause, which
a busy machine may make too short, on either side. So a comparison that fails is repeated with longer ones, and that
is told as a warning; what differs each time differs. When a system is shut down no frame may be missing (the fixture
looks).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from oracle_programs import PROGRAM_NAMES, TIMED_OUT, compile_program, on_jefeos, on_the_host

PAUSES = (1, 4, 16)


@pytest.mark.peer
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PROGRAM_NAMES)
def test_same_as_on_the_host(
    name: str,
    host_program: Callable[[str], str],
    jefeos_boot: Callable[..., jefeos.System],
    tmp_path: Path,
) -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("the oracle is Linux, as root")
    for slower in PAUSES:
        folder = tmp_path / str(slower)
        program = compile_program(name, host_program("gcc"), folder, slower)
        (folder / "empty").mkdir()
        host = on_the_host(program, folder / "empty")
        ours = on_jefeos(program, jefeos_boot())
        if ours == host and host.status != TIMED_OUT:
            break
        warnings.warn(f"{name} differs with pauses of {slower} times their length", stacklevel=1)
    assert ours.lines == host.lines
    assert ours.status == host.status
