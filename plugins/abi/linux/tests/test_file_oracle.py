"""File calls against the host's Linux: each program of programs/ prints results and errnos; both must agree.

The programs are compiled statically on the host and run in an empty directory, on the host and on JefeOS. They
touch every file call with good and bad arguments. On the host they need root (chown, mknod, chroot).
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
NAMES = ["transfer", "descriptors", "names", "paths", "events", "terminal", "sockets"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, host_program: Callable[[str], str]) -> Callable[[str], Path]:
    """``compiled(name)``: a static executable of programs/name.c."""
    compiler = host_program("gcc")
    folder = tmp_path_factory.mktemp("programs")

    def build(name: str) -> Path:
        target = folder / name
        if not target.exists():
            source = PROGRAMS / f"{name}.c"
            subprocess.run([compiler, "-w", "-O1", "-static", "-o", target, source], check=True, timeout=60)
        return target

    return build


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_host(name: str, compiled: Callable[[str], Path], tmp_path: Path) -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("the oracle is Linux, as root")
    program = compiled(name)
    host = subprocess.run([program], cwd=tmp_path, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    with jefeos.boot() as system:
        system.write_file("/program", program.read_bytes(), 0o755)
        vfs = system.kernel.vfs
        vfs.mkdir(vfs.as_kernel(), b"/work", 0o755)
        done = system.run(["/program"], cwd="/work", timeout=60)
        assert system.kernel.bugs == 0
    assert done.stdout.decode("latin-1").splitlines() == host.stdout.decode("latin-1").splitlines()
    assert done.status == host.returncode
