"""Workload truth: real programs end to end, from the table of tests/software, each beside the host."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jefeos

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "software"))
from comparing import NOT_RUN, Evidence, Verdict, board, row
from jobs import JOBS, Job, on_jefeos, on_the_host


def work_board(
    evidence: Evidence, progress: Callable[[str], None], jobs: Mapping[str, Job] = JOBS
) -> dict[str, Any]:
    """Each job on a system of its own."""
    rows = []
    for number, (name, job) in enumerate(jobs.items(), 1):
        progress(f"work {number}/{len(jobs)} {name}")
        rows.append(row(name, "job", job.needed, _run(name, job, evidence)))
    return board("Real programs, end to end, as on the host", rows)


def _run(name: str, job: Job, evidence: Evidence) -> Verdict:
    if job.missing:
        return Verdict(NOT_RUN, f"not installed: {', '.join(job.missing)}")
    with (
        tempfile.TemporaryDirectory(prefix="jefeos-job-") as folder,
        jefeos.boot(root="/", ram="1G", stats=True) as system,
    ):
        place = Path(folder)
        return evidence.compare(
            name, system, lambda: on_the_host(job, place), lambda: on_jefeos(job, place, system)
        )
