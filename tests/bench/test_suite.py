"""The suite can be trusted to run: every benchmark prepares its programs, and what runs natively gives a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.testing.bench import Bench, Benchmark, load_suite

SUITE = load_suite(Path(__file__).parent)


@pytest.mark.peer
@pytest.mark.parametrize("benchmark", SUITE, ids=lambda one: one.name)
def test_benchmark(benchmark: Benchmark, host_program: Callable[[str], str], tmp_path: Path) -> None:
    host_program("gcc")
    sides = benchmark.prepare(Bench(Path(__file__).parent, tmp_path))
    assert "jefeos" in sides
    native = sides.get("native")
    if native is not None:
        assert native() > 0
