"""One case of a foreign test suite, run by the host's Linux and by JefeOS from the same files, and the two compared.

A `Case` is a command in a copy of the suite's tree. Both sides get that copy under the same path, the same
environment, identity, empty standard input, no terminal, and a file for their output. JefeOS sees the host's root
read-only with its own writes above it in memory, so it goes first and leaves nothing for the host to find.

A suite reads the output into a `Result` for each of its tests: a state such as PASS or FAIL, and all that was printed
about it. Two systems agree on a test if both are the same, so a test that fails on both must fail in the same way.
What legitimately differs between two runs on one system is made equal first by the suite's `normalise`.
"""

from __future__ import annotations

import difflib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jefeos
from attrs import field, frozen
from jefeos.api import ProgramTimeout, System

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "TZ": "UTC",
    "USER": "nobody",
    "LOGNAME": "nobody",
}
NOBODY = 65534
TIMEOUT_S = 60.0
#: JefeOS computes on an emulated processor and the machine may be busy.
SLOWER = 10
TIMED_OUT = -1
#: The name of what is known about a case beside its tests.
WHOLE_RUN = "(the run)"
DIFF_LINES = 30


@frozen
class Result:
    """How one test ended, and what was printed about it."""

    state: str
    detail: str = ""


#: Of a test that one side has and the other does not.
MISSING = Result("MISSING")


@frozen
class Case:
    """One command of a suite and how to read what it prints."""

    suite: str
    name: str
    #: Run by /bin/sh in `folder`.
    command: str
    #: Fills the folder (a path that does not exist yet) with what the command needs.
    fill: Callable[[Path], None]
    #: From the output and exit status to the result of each test.
    read: Callable[[str, int], dict[str, Result]]
    environment: Mapping[str, str] = field(factory=dict)
    as_root: bool = False
    timeout_s: float = TIMEOUT_S
    #: Makes output equal that may differ between two runs.
    normalise: Callable[[str], str] = lambda text: text


@frozen
class Side:
    """What a case did on one system."""

    results: dict[str, Result]
    seconds: float


@frozen
class Difference:
    """A test that did not end in the same way."""

    suite: str
    case: str
    test: str
    host: Result
    jefeos: Result

    @property
    def states(self) -> str:
        """In brief."""
        if self.host.state == self.jefeos.state:
            return f"{self.host.state} on both, in different ways"
        return f"{self.host.state} on the host, {self.jefeos.state} on JefeOS"

    def __str__(self) -> str:
        texts = [side.detail.splitlines() for side in (self.host, self.jefeos)]
        changes = list(difflib.unified_diff(*texts, "host", "jefeos", lineterm="", n=2))[:DIFF_LINES]
        return "\n    ".join([f"{self.suite}/{self.case}: {self.test}: {self.states}", *changes])


def words_of(case: Case, folder: Path) -> list[str]:
    """The command line that both systems run; started as root unless the host has none."""
    outer = f'cd "{folder}" && exec "$@" </dev/null >"{folder}.out" 2>&1'
    words = ["/bin/sh", "-c", outer, "sh"]
    if not case.as_root:
        words += ["/usr/sbin/chroot", f"--userspec={NOBODY}:{NOBODY}", "--groups=", "--skip-chdir", "/"]
    return [*words, "/bin/sh", "-c", case.command]


def environment_of(case: Case, folder: Path) -> dict[str, str]:
    """All of the environment, on both systems."""
    return {**ENVIRONMENT, "HOME": f"{folder}/tmp", "TMPDIR": f"{folder}/tmp", **case.environment}


def prepare(case: Case, scratch: Path) -> Path:
    """A fresh folder of a case, writable for the identity that the case runs as."""
    folder = scratch / f"{case.suite}-{case.name.replace('/', '-')}"
    case.fill(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    if not case.as_root:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return folder


def on_jefeos(case: Case, folder: Path, system: System) -> Side:
    """Run a case on JefeOS. Its writes stay in the system."""
    start = time.monotonic()
    try:
        done = system.run(
            words_of(case, folder), env=environment_of(case, folder), timeout=case.timeout_s * SLOWER
        )
        status = done.status
    except ProgramTimeout:
        status = TIMED_OUT
    seconds = time.monotonic() - start
    output = system.read_file(f"{folder}.out").decode(errors="backslashreplace")
    system.run(["/bin/rm", "-rf", str(folder), f"{folder}.out"])
    return _side(case, output.replace(str(folder), "FOLDER"), status, seconds)


def on_host(case: Case, folder: Path) -> Side:
    """Run a case on the host's Linux. Processes that it leaves in its session are killed."""
    start = time.monotonic()
    words = ["/usr/bin/env", "--default-signal", *words_of(case, folder)]  # nothing ignored, as of nohup
    if case.as_root:  # what it mounts is seen by nobody else
        words = ["/usr/bin/unshare", "--mount", *words]
    process = subprocess.Popen(
        words, env=environment_of(case, folder), stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        status = process.wait(case.timeout_s)
        status = 128 - status if status < 0 else status
    except subprocess.TimeoutExpired:
        status = TIMED_OUT
    finally:
        _end_session(process.pid)
        process.wait()
    seconds = time.monotonic() - start
    output = Path(f"{folder}.out").read_text(errors="backslashreplace")
    return _side(case, output.replace(str(folder), "FOLDER"), status, seconds)


def both(case: Case, scratch: Path, system: System) -> tuple[Side, Side]:
    """What a case does on the host and on JefeOS, in ``scratch``.

    A second run of the case needs another scratch folder: in the eyes of JefeOS, which removed what it made, the
    first one's folder is gone, whatever the host puts there.
    """
    scratch.mkdir(mode=0o755, exist_ok=True)
    folder = prepare(case, scratch)
    try:
        ours = on_jefeos(case, folder, system)
        return on_host(case, folder), ours
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.out").unlink(missing_ok=True)


def compare(case: Case, host: Side, ours: Side) -> list[Difference]:
    """The tests of a case that did not end in the same way."""
    pairs = {
        test: (host.results.get(test, MISSING), ours.results.get(test, MISSING))
        for test in {**host.results, **ours.results}
    }
    return [
        Difference(case.suite, case.name, test, *pair) for test, pair in pairs.items() if pair[0] != pair[1]
    ]


def boot() -> System:
    """The system that cases run in, named like the host, which the host's files may know by its name."""
    return jefeos.boot(root="/", ram="1G", strict=True, hostname=socket.gethostname())


def _side(case: Case, output: str, status: int, seconds: float) -> Side:
    results = case.read(case.normalise(output), status)
    if status == TIMED_OUT:
        results[WHOLE_RUN] = Result("TIMED OUT")
    return Side(results, seconds)


def _end_session(session: int) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
