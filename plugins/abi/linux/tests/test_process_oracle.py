"""Process calls against the host's Linux: each program of programs/ prints results and errnos; both must agree.

Compiled statically (glibc) on the host; the C library's own start-up, threads and signals are part of what is tested.
On the host they need root. When a system is shut down no frame may be missing (the fixture looks).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

PROGRAMS = Path(__file__).parent / "programs"
NAMES = [
    "handlers",
    "ipc",
    "memory_calls",
    "process_calls",
    "signal_calls",
    "storm",
    "system_calls",
    "thread_calls",
    "threading",
    "time_calls",
]
TIMEOUT_S = 120


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_host(
    name: str,
    host_program: Callable[[str], str],
    jefeos_boot: Callable[..., jefeos.System],
    tmp_path: Path,
) -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("the oracle is Linux, as root")
    program = tmp_path / name
    command = [host_program("gcc"), "-w", "-O0", "-static", "-pthread", "-o", program, PROGRAMS / f"{name}.c"]
    subprocess.run(command, check=True, timeout=60)
    host = subprocess.run([program], cwd="/", capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    system = jefeos_boot()
    system.write_file("/program", program.read_bytes(), 0o755)
    system.write_file("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    done = system.run(["/program"], timeout=TIMEOUT_S)
    assert done.stdout.decode("latin-1").splitlines() == host.stdout.decode("latin-1").splitlines()
    assert done.status == host.returncode
