"""``--trace`` against strace: the same program on both, line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

PROGRAM = Path(__file__).parent / "programs" / "traced.c"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def comparable(lines: list[str]) -> list[str]:
    """From the first mkdir on; addresses and process ids made equal, columns closed up."""
    start = next(index for index, line in enumerate(lines) if line.startswith("mkdir("))
    found = []
    for line in lines[start:]:
        line = re.sub(r"\) +=", ") =", ADDRESS.sub("ADDRESS", line))
        line = re.sub(r"^(kill)\(\d+", r"\1(PID", line)
        line = re.sub(r"^(getpid\(\)) = \d+", r"\1 = PID", line)
        line = re.sub(r"(S_IFDIR.*st_size)=\d+", r"\1=SIZE", line)
        found.append(line)
    return found


@pytest.mark.peer
def test_same_as_strace(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("strace is Linux's")
    program = tmp_path / "traced"
    subprocess.run([host_program("gcc"), "-w", "-static", "-o", program, PROGRAM], check=True, timeout=60)
    log = tmp_path / "log"
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "LC_ALL": "C"}
    command = [host_program("strace"), "-o", log, program]
    subprocess.run(command, cwd=work, env=environment, timeout=60, check=False)
    if not log.exists() or "mkdir(" not in log.read_text():
        pytest.skip("strace may not trace on this host")
    lines: list[str] = []
    with jefeos.boot(trace_output=lines.append) as system:
        system.write_file("/program", program.read_bytes(), 0o755)
        vfs = system.kernel.vfs
        vfs.mkdir(vfs.as_kernel(), b"/work", 0o755)
        assert system.run(["/program"], cwd="/work", timeout=60).status == 3
    expected = comparable(log.read_text().splitlines())
    assert len(expected) > 35
    assert comparable(lines) == expected
