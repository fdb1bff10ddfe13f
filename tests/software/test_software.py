"""Software that nobody here wrote, at work: the same output and status on JefeOS as on the host.

The jobs are in the table of jobs.py; with them go the interpreter's own test files. At the end the kernel must have
lost no frame and no handler may have failed. A job whose programs are not installed is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.api import System
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from jobs import ENVIRONMENT, JOBS, TIMEOUT_S, on_jefeos, on_the_host

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]

CPYTHON = "/usr/bin/python3"
#: Test files of the interpreter that pass whole on the host and on JefeOS, and take seconds.
CPYTHON_TESTS = ("test_posix", "test_fcntl", "test_pty", "test_select", "test_mmap", "test_tempfile", "test_shutil",
                 "test_thread", "test_pathlib", "test_popen")  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = jefeos.boot(root="/", ram="1G", strict=True)
    yield system
    problems = finish(system)
    assert not problems, problems


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if job.slow else name for name, job in JOBS.items()]
)
def test_same_as_the_host(system: System, name: str, tmp_path: Path) -> None:
    job = JOBS[name]
    if job.missing:
        pytest.skip(f"not installed: {', '.join(job.missing)}")
    host = on_the_host(job, tmp_path)
    ours = on_jefeos(job, tmp_path, system)
    assert (ours.stdout, ours.stderr, ours.status) == (host.stdout, host.stderr, host.status)


@pytest.mark.parametrize("name", CPYTHON_TESTS)
def test_of_the_interpreter(system: System, name: str) -> None:
    run = ["/bin/sh", "-c", f"{CPYTHON} -m unittest test.{name}; exit $?"]
    host = subprocess.run(run, env=ENVIRONMENT, input=b"", capture_output=True, timeout=TIMEOUT_S, check=False)
    if b"No module named" in host.stderr:
        pytest.skip("the interpreter's tests are not installed (libpython3.11-testsuite)")
    ours = system.run(run, env=ENVIRONMENT, timeout=TIMEOUT_S)
    ran = [line for line in ours.stderr.splitlines() if line.startswith(b"Ran ")]
    assert ours.status == host.returncode, ours.stderr.decode(errors="replace")[-3000:]
    assert ran and [line.split()[1] for line in ran] == [
        line.split()[1] for line in host.stderr.splitlines() if line.startswith(b"Ran ")
    ]
