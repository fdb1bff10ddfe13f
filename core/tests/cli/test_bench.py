"""The benchmark harness on suites made up for the test: medians, goals, missing peers, failures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jefeos.errors import JefeError, UsageError
from jefeos.testing.bench import QILING_PYTHON, Bench, Benchmark, Result, load_suite, measure

SUITE = '''
from jefeos.testing.bench import Bench, benchmark

@benchmark("quick", unit="s", limit=60)
def quick(bench: Bench):
    return {"jefeos": bench.whole("PYTHON", "-c", "pass"), "absent": bench.whole(bench.peer("no-such-peer"), "x")}

@benchmark("failing", unit="s")
def failing(bench: Bench):
    return {"jefeos": bench.printed("PYTHON", "-c", "raise SystemExit(3)")}
'''


def constant(*figures: float) -> Benchmark:
    queue = list(figures)
    return Benchmark("c", "s", lambda bench: {"jefeos": lambda: queue.pop(0), "native": lambda: 2.0, "qemu": None})


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "bench_one.py").write_text(SUITE.replace("PYTHON", Path(sys.executable).as_posix()))
    return tmp_path


def test_median_and_ratio(tmp_path: Path) -> None:
    result = measure(constant(9.0, 1.0, 3.0), Bench(tmp_path, tmp_path), 3)
    assert result.medians == {"jefeos": 3.0, "native": 2.0}
    assert result.ratio("native") == 1.5
    assert result.ratio("qemu") is None
    assert result.reached is None


@pytest.mark.parametrize(
    ("limit", "times_of", "reached"),
    [
        (3.0, None, True),
        (2.9, None, False),
        (None, ("qemu", 1.5), True),
        (None, ("qemu", 1.4), False),
        (None, ("none", 9.0), None),
    ],
)
def test_goals(limit: float | None, times_of: tuple[str, float] | None, reached: bool | None) -> None:
    benchmark = Benchmark("g", "s", lambda bench: {}, limit, times_of)
    assert Result(benchmark, {"jefeos": 3.0, "qemu": 2.0}).reached is reached


def test_printed_takes_the_last_word(tmp_path: Path) -> None:
    run = Bench(tmp_path, tmp_path).printed(sys.executable, "-c", "print('took', 1.5)", scale=2)
    assert run is not None
    assert run() == 3.0


def test_first_line_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    program = "import sys, time; print(input(), flush=True); time.sleep(0.5)"
    run = Bench(tmp_path, tmp_path).first_line(sys.executable, "-c", program, stdin=b"hello\n")
    assert run is not None

    def waited_s() -> float:
        started = time.perf_counter()
        figure = run()
        return time.perf_counter() - started - figure

    assert any(waited_s() > 0.4 for _ in range(10))  # a busy host may read the line late, but not always


@pytest.mark.parametrize("program", ["pass", "print('x'); raise SystemExit(3)"])
def test_first_line_of_a_program_that_fails(tmp_path: Path, program: str) -> None:
    run = Bench(tmp_path, tmp_path).first_line(sys.executable, "-c", program)
    assert run is not None
    with pytest.raises(JefeError, match="ended with status"):
        run()


def test_qiling_is_left_out_with_a_note_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, tmp_path)
    monkeypatch.delenv(QILING_PYTHON, raising=False)
    assert bench.printed(*bench.qiling(), "program") is None
    monkeypatch.setenv(QILING_PYTHON, "/no/such/python")
    assert bench.whole(*bench.qiling(), "program") is None
    assert len(bench.notes) == 1
    (tmp_path / "qiling.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(QILING_PYTHON, sys.executable)
    assert bench.qiling() == (sys.executable, str(tmp_path / "under_qiling.py"))


def test_a_missing_suite_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no benchmark suite"):
        load_suite(tmp_path / "none")


def test_command_prints_a_plain_table_when_piped_and_json(suite: Path) -> None:
    command = [sys.executable, "-m", "jefeos", "bench", "--folder", str(suite), "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    header, quick, failing, _ = done.stdout.splitlines()
    assert header.split()[:3] == ["benchmark", "unit", "jefeos"]
    assert quick.split()[-1] == "yes"
    assert "ended with status 3" in failing
    done = subprocess.run([*command, "--json", "quick"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0
    (result,) = json.loads(done.stdout)["results"]
    assert result["reached"] is True
    assert list(result["medians"]) == ["jefeos"]


def test_command_lists(suite: Path) -> None:
    command = [sys.executable, "-m", "jefeos", "bench", "--folder", str(suite), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[1].split() == ["quick", "60", "s"]
