"""The scoreboards tell the truth: what failed is a no, what did not run is not a yes, and a call is tested by a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jefeos
import pexpect
import pytest

sys.path.insert(0, str(Path(__file__).parent))

if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("gcc"):
    pytest.skip("compares with Linux, as root, with programs that gcc makes", allow_module_level=True)

from board_calls import REFUSED, UNTESTED, calls_board
from board_work import work_board
from boards import BOARDS, FORMAT, problems, run_boards
from comparing import NO, NOT_RUN, YES, Evidence
from jobs import Job, Outcome

pytestmark = pytest.mark.peer


def silent(_text: str) -> None:
    pass


def rows(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in board["rows"]}


def document(**boards: dict[str, Any]) -> dict[str, Any]:
    return {**run_boards([], silent), "boards": {name: {**board, "seconds": 0.0} for name, board in boards.items()}}


@pytest.fixture(scope="module")
def work() -> tuple[dict[str, Any], Evidence]:
    evidence = Evidence()
    jobs = {
        "agrees": Job("sh", "echo one | tr a-z A-Z; exit 3"),
        "differs": Job("sh", "echo same; uname -v | cksum"),
        "status": Job("sh", 'exit "$(uname -v | cksum | cut -c1-2)"'),
        "hangs": Job("sh", 'case "$(uname -v)" in *JefeOS*) exec sleep 1000;; esac', timeout_s=2),
        "lacking": Job("no-such-program-here sh", "echo never"),
    }
    return work_board(evidence, silent, jobs), evidence


def test_a_job_is_what_its_run_gave(work: tuple[dict[str, Any], Evidence]) -> None:
    board, evidence = work
    states = {name: row["state"] for name, row in rows(board).items()}
    assert states == {"agrees": YES, "differs": NO, "status": NO, "hangs": NO, "lacking": NOT_RUN}
    assert rows(board)["differs"]["detail"].startswith("stdout, line 2: ")
    assert "did not end within 2 s" in rows(board)["hangs"]["detail"]
    assert rows(board)["lacking"]["detail"] == "not installed: no-such-program-here"
    assert (board["total"], board["yes"], board["counts"]) == (5, 1, {YES: 1, NO: 3, NOT_RUN: 1})
    assert (evidence.runs, evidence.agreed, set(evidence.disagreed)) == (4, 1, {"differs", "status", "hangs"})
    proofs = {name for names in evidence.succeeded.values() for name in names}
    assert proofs == {"agrees"}  # what disagreed proves nothing


def test_what_fails_on_the_host_shows_nothing_where_it_must_work(jefeos_system: jefeos.System) -> None:
    evidence = Evidence()
    failed = Outcome(b"", b"no such module\n", 1)
    verdict = evidence.compare("both fail", jefeos_system, lambda: failed, lambda: failed, must_work=True)
    assert (verdict.state, verdict.detail) == (NOT_RUN, "does not work on the host: no such module")
    assert evidence.runs == 0


def test_a_kernel_bug_is_a_no_whatever_was_printed(jefeos_system: jefeos.System) -> None:
    done = Outcome(b"", b"", 0)

    def breaks() -> Outcome:
        jefeos_system.kernel.bugs += 1
        return done

    verdict = Evidence().compare("breaks", jefeos_system, lambda: done, breaks)
    jefeos_system.kernel.bugs = 0
    assert verdict.state == NO


def test_calls_are_tested_by_the_programs_that_ran() -> None:
    board = calls_board(Evidence(), silent, programs=["descriptors"], commands=[])
    found = rows(board)
    assert {found[name]["state"] for name in ("read", "close", "dup3", "exit_group")} == {YES}
    assert found["dup3"]["runs"] == ["descriptors.c"]
    assert found["timer_create"]["state"] == UNTESTED  # declared and doing something, but not in that program
    assert (found["swapon"]["state"], found["swapon"]["implemented"]) == (REFUSED, False)
    assert (found["create_module"]["state"], found["create_module"]["declared"]) == (NO, False)
    figures = board["figures"]
    assert figures["numbers"] == board["total"] == len(found)
    assert figures["implemented"] + figures["refused"] == figures["declared"]
    assert figures["tested"] == board["yes"] <= figures["implemented"]
    assert (figures["runs_compared"], figures["runs_agreed"]) == (1, 1)


def test_without_a_run_nothing_is_a_yes() -> None:
    board = calls_board(Evidence(), silent, programs=[], commands=[])
    assert (board["yes"], board["figures"]["tested"]) == (0, 0)


def test_a_document_whose_sums_are_wrong_is_noticed(work: tuple[dict[str, Any], Evidence]) -> None:
    good = document(work=work[0])
    assert good["format"] == FORMAT and good["host"]["system"].startswith("Linux")
    assert problems(json.loads(json.dumps(good))) == []
    assert problems(document(work={**work[0], "yes": 2})) == ["work: its sums are not those of its rows"]
    row = {**work[0]["rows"][1], "state": YES}
    assert len(problems(document(work={**work[0], "rows": [*work[0]["rows"][:1], row, *work[0]["rows"][2:]]}))) == 2
    assert problems({**good, "version": 2}) == ["it is not a scoreboard of this version"]


@pytest.mark.parametrize("no_color", [False, True])
def test_the_table_on_a_terminal(work: tuple[dict[str, Any], Evidence], tmp_path: Path, no_color: bool) -> None:
    file = tmp_path / "board.json"
    file.write_text(json.dumps(document(work=work[0])))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    child = pexpect.spawn(
        sys.executable,
        [str(Path(__file__).parent), "--show", str(file)],
        env=environment | ({"NO_COLOR": "1"} if no_color else {}),
        dimensions=(40, 160),
        encoding="utf-8",
        timeout=100,
    )
    shown = child.read()
    assert "20.0 %" in shown and "┃" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*31m", shown)) is not no_color  # red


def test_the_table_when_piped_and_the_boards_by_name(work: tuple[dict[str, Any], Evidence], tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    file.write_text(json.dumps(document(work=work[0])))
    command = [sys.executable, str(Path(__file__).parent)]
    done = subprocess.run([*command, "--show", file], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["BOARD", "YES", "OF", "SHARE", "OTHERWISE", "TOOK"]
    assert lines[1].split()[:5] == ["work", "1", "5", "20.0", "%"]
    assert "\x1b" not in done.stdout
    assert [line.split()[0] for line in lines[3:]] == ["differs", "status", "hangs", "lacking"]
    wrong = subprocess.run([*command, "nonsense"], capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, "there is no board nonsense" in wrong.stderr) == (2, True)
    assert set(BOARDS) == {"tiers", "work", "calls", "posix", "cpython"}
