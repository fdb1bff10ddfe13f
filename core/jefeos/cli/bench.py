"""``jefeos bench``: run a suite of benchmarks and print a table (a plain one when piped), or JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jefeos.cli.plugins import print_columns
from jefeos.errors import UsageError
from jefeos.testing.bench import SUBJECT, Bench, Benchmark, Result, as_json, load_suite, measure

#: Where the suite is in a checkout, looked for from the working folder upwards.
SUITE = Path("tests") / "bench"


def bench_command(
    names: Sequence[str], *, rounds: int, only_list: bool, as_json: bool, folder: str | None
) -> int:
    """Measure the benchmarks whose names contain one of ``names``; 1 if any could not be run."""
    place = Path(folder) if folder is not None else _find_suite()
    suite = _chosen(load_suite(place), names)
    if only_list:
        print_columns([("BENCHMARK", "TO REACH"), *((one.name, one.goal or "-") for one in suite)])
        return 0
    results = []
    with tempfile.TemporaryDirectory(prefix="jefeos-bench-") as scratch:
        bench = Bench(place, Path(scratch))
        for number, one in enumerate(suite, 1):
            _progress(f"{number}/{len(suite)} {one.name}")
            results.append(measure(one, bench, rounds))
        _progress("")
    _print(results, rounds, as_json)
    for note in () if as_json else bench.notes:
        print(f"({note})")
    return 1 if any(result.note for result in results) else 0


def _find_suite() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / SUITE).is_dir():
            return folder / SUITE
    raise UsageError("no benchmark suite here: run it in a checkout, or say --folder DIR")


def _chosen(suite: list[Benchmark], names: Sequence[str]) -> list[Benchmark]:
    for name in names:
        if not any(name.lower() in one.name.lower() for one in suite):
            raise UsageError(f"no benchmark is called {name!r}; see jefeos bench --list")
    return [one for one in suite if not names or any(name.lower() in one.name.lower() for name in names)]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _print(results: Sequence[Result], rounds: int, json_wanted: bool) -> None:
    if json_wanted:
        print(json.dumps({"rounds": rounds, "results": as_json(results)}, indent=2))
        return
    header, rows = _table(results)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*header, title=f"median of {rounds}")
        for row in rows:
            table.add_row(*row, style="red" if row[-1].startswith("no") else "")
        Console().print(table)
    else:
        print_columns([header, *rows])
        print(f"(medians of {rounds})")


def _table(results: Sequence[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns: the benchmark, one for each side that any benchmark has, ratios to them, the goal, the verdict."""
    sides = list(dict.fromkeys(side for result in results for side in result.medians))
    others = [side for side in sides if side != SUBJECT]
    header = ("benchmark", "unit", *sides, *(f"x {side}" for side in others), "to reach", "reached")
    rows = []
    for result in results:
        figures = [_figure(result.medians.get(side)) for side in sides]
        ratios = [_figure(result.ratio(side)) for side in others]
        verdict = {True: "yes", False: "no", None: "-"}[result.reached]
        goal = result.benchmark.goal or "-"
        rows.append((result.benchmark.name, result.benchmark.unit, *figures, *ratios, goal, result.note or verdict))
    return header, rows


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
