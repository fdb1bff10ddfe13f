"""What the tested interpreter runs: one of its own test files, with the result of each test on a line of a file.

    python -c THIS '{"results": PATH, "limit_s": 60, "module": "test_os", "names": [], "without": [], "resources": []}'

A line is JSON: [test id, state, reason], the state one of passed, failed, skipped. They are appended as the tests end,
so that a crash or a hang loses only what had not run; the test that is running has its line ("started") before it
starts, and the last line of an id counts. A failed subtest fails its test; expected failures pass and unexpected
successes fail, as in the interpreter's own runner. A test that takes longer than ``limit_s`` ends the process.

``names`` are classes or tests of the module to which the run is limited, ``without`` are left out, ``resources`` are
what its tests may use beside `RESOURCES`. The same limits
of resources hold on every system: some tests scale with them. Only the standard library is there.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import unittest
from collections.abc import Iterator
from typing import Any

RESOURCES = ["cpu", "subprocess", "decimal"]  # what tests may use; not: network, largefile, walltime, gui
OPEN_FILES = (1024, 4096)  # soft and hard, the kernel's own defaults


class Recorder(unittest.TestResult):
    """Writes the lines."""

    def __init__(self, path: str, limit_s: float) -> None:
        super().__init__()
        self.path = path
        self.limit_s = limit_s
        self.failed_subtests: dict[str, str] = {}

    def record(self, test: Any, state: str, reason: str = "") -> None:
        with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps([test.id(), state, reason]) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.record(test, "started")
        faulthandler.dump_traceback_later(self.limit_s, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        reason = self.failed_subtests.pop(test.id(), None)
        if reason is not None:
            self.record(test, "failed", reason)
        super().stopTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.record(test, "passed")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.record(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.record(test, "failed", "unexpected success")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.record(test, "skipped", str(reason))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.record(test, "failed", self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            text = f"{subtest}: {self._exc_info_to_string(err, subtest)}"
            self.failed_subtests[test.id()] = self.failed_subtests.get(test.id(), "") + text


class WholeModule(unittest.TestCase):
    """Stands for a module that skips itself when it is imported."""

    def __init__(self, name: str) -> None:
        super().__init__("id")
        self.name = name

    def id(self) -> str:
        return self.name


def each_test(suite: unittest.TestSuite) -> Iterator[Any]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each_test(test)
        else:
            yield test


def main(request: dict[str, Any]) -> None:
    for signo in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):  # whoever started this may ignore them
        signal.signal(signo, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hard = min(OPEN_FILES[1], resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES[0], hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from test import support

    support.use_resources = RESOURCES + request["resources"]
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    module = f"test.{request['module']}"
    recorder = Recorder(request["results"], request["limit_s"])
    left_out = tuple(f"{module}.{name}." for name in request["without"])
    try:
        names = [f"{module}.{name}" for name in request["names"]] or [module]
        suite = unittest.defaultTestLoader.loadTestsFromNames(names)
        if left_out:
            tests = [test for test in each_test(suite) if not f"{test.id()}.".startswith(left_out)]
            suite = unittest.TestSuite(tests)
        suite.run(recorder)
        support.reap_children()
    except unittest.SkipTest as skip:
        recorder.record(WholeModule(module), "skipped", str(skip))
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
