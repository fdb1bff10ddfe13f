"""Software that nobody here wrote, at work: the same output and status on JefeOS as on the host.

The jobs are in the table of jobs.py. At the end the kernel must have
lost no frame and no handler may have failed. A job whose programs are not installed is skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.api import System
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from jobs import JOBS, on_jefeos, on_the_host

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]


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
