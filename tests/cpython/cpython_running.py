"""One test file of CPython, run by the host's Linux and by JefeOS, test by test.

    TestFile ──► run_on_host / run_on_jefeos ──► Run: {test id: Result}, seconds, how the process ended

Both sides start the same interpreter with the same program (`one_file`), environment and limits. Test ids are without
the module's name: ``TestSendfile.test_keywords``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen
from jefeos.api import ProgramTimeout, System

PYTHON = "/usr/bin/python3.11"
TESTS = "/usr/lib/python3.11/test"
PROGRAM = (Path(__file__).parent / "one_file.py").read_text(encoding="utf-8")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "TERM": "linux",
}
HOST_TEST_LIMIT_S = 90
"""For one test; a test that takes longer ends the run of its file."""
JEFEOS_TEST_LIMIT_S = 1200
FILE_LIMIT_S = 3000


@frozen
class TestFile:
    """A test file, or a part of one: ``names`` are the classes and tests that run, none for all.

    ``resources`` are those of the interpreter's test runner that the file may use beside the usual ones.
    """

    __test__ = False

    module: str
    names: Sequence[str] = ()
    without: Sequence[str] = ()
    resources: Sequence[str] = ()

    def command(self, results: str, limit_s: float) -> list[str]:
        """How to run it; the results of its tests go to the file ``results``, which must be there."""
        request = {
            "results": results,
            "limit_s": limit_s,
            "module": self.module,
            "names": list(self.names),
            "without": list(self.without),
            "resources": list(self.resources),
        }
        return [PYTHON, "-c", PROGRAM, json.dumps(request)]


@frozen
class Result:
    """How a test ended: passed, failed or skipped; or started, if it took the process with it."""

    state: str
    reason: str = ""

    @property
    def brief(self) -> str:
        """The last line of the reason, which names the error."""
        lines = self.reason.strip().splitlines()
        return lines[-1][:200] if lines else ""


@frozen
class Run:
    """What came of a test file."""

    tests: dict[str, Result]
    seconds: float
    ending: str = ""
    """How the process ended, if not as it should."""
    counts: Counter[str] = field(init=False)

    @counts.default
    def _count(self) -> Counter[str]:
        return Counter(result.state for result in self.tests.values())


def _not_polite() -> None:
    """JefeOS starts its programs with a nice value of 0, whoever started this."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def run_on_host(file: TestFile) -> Run:
    """By the Linux that this runs on."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        results.touch()
        started = time.monotonic()
        try:
            done = subprocess.run(
                file.command(str(results), HOST_TEST_LIMIT_S),
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=FILE_LIMIT_S,
                start_new_session=True,
                check=False,
                preexec_fn=_not_polite,
            )
            ending = _ending(done.returncode, done.stderr)
        except subprocess.TimeoutExpired as error:
            ending = f"not within {FILE_LIMIT_S} s: {_tail(error.stderr or b'')}"
        return Run(_parse(file, results.read_bytes()), time.monotonic() - started, ending)


def run_on_jefeos(file: TestFile, system: System) -> Run:
    """By JefeOS, as a child of a shell: programs expect a parent that is an ordinary process."""
    results = f"/tmp/results.{file.module}"
    system.write_file(results, b"")
    started = time.monotonic()
    words = ["/bin/sh", "-c", '"$@" < /dev/null; exit $?', "sh", *file.command(results, JEFEOS_TEST_LIMIT_S)]
    try:
        done = system.run(words, env=ENVIRONMENT, timeout=FILE_LIMIT_S)
        ending = _ending(done.status, done.stderr)
    except ProgramTimeout as error:
        ending = f"not within {FILE_LIMIT_S} s: {_tail(error.stderr)}"
    return Run(_parse(file, system.read_file(results)), time.monotonic() - started, ending)


def _parse(file: TestFile, lines: bytes) -> dict[str, Result]:
    prefix = f"test.{file.module}."
    tests: dict[str, Result] = {}
    for line in lines.decode(errors="replace").splitlines():
        identity, state, reason = json.loads(line)
        tests[identity.removeprefix(prefix)] = Result(state, reason)
    return tests


def _ending(status: int, errors: bytes) -> str:
    return f"status {status}: {_tail(errors)}" if status else ""


def _tail(text: bytes) -> str:
    return text.decode(errors="replace")[-2000:]
