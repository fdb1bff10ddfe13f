"""Shows a document of scoreboards: rich tables on a terminal (no colour under NO_COLOR), plain ones elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from jefeos.cli.plugins import print_columns

NAMED: Final = 12
"""How many names are given of a long board's rows in one state; the document has them all."""
SHORT_BOARD: Final = 100
"""Boards of no more rows have a line for each row that is not a yes."""
YES: Final = "yes"


def show(document: dict[str, Any], *, every_row: bool = False) -> None:
    """A summary, then what is not a yes; with ``every_row`` all rows."""
    boards = document["boards"]
    summary = [[name, *_sums(board), f"{board['seconds']:.0f} s"] for name, board in boards.items()]
    _table("scoreboards", ["board", "yes", "of", "share", "otherwise", "took"], summary)
    for name, board in boards.items():
        if "figures" in board:
            _line(name, (f"{key} {value}" for key, value in board["figures"].items()))
        for run, detail in board.get("disagreed", {}).items():
            print(f"{name}: no evidence from {run}: {detail}")
        if "complete" in board:
            _line(name, (f"{tier} {YES if whole else 'no'}" for tier, whole in board["complete"].items()))
        _details(name, board, every_row)


def _line(name: str, parts: Iterable[str]) -> None:
    print(f"{name}: {', '.join(parts).replace('_', ' ')}")


def _sums(board: dict[str, Any]) -> list[str]:
    """No share where nothing ran."""
    others = ", ".join(f"{state} {count}" for state, count in board["counts"].items() if state != YES)
    ran = board["yes"] or "no" in board["counts"] or "differs" in board["counts"]
    share = f"{100 * board['yes'] / board['total']:.1f} %" if ran else "-"
    return [str(board["yes"]), str(board["total"]), share, others or "-"]


def _details(name: str, board: dict[str, Any], every_row: bool) -> None:
    rows = board["rows"]
    if every_row or len(rows) <= SHORT_BOARD:
        shown = [row for row in rows if every_row or row["state"] != YES]
        if shown:
            header = ["name", "kind", "from", "state", "detail"]
            lines = [[row[field] for field in ("name", "kind", "header", "state", "detail")] for row in shown]
            _table(f"{name}: {board['title']}", header, lines)
        return
    for state in board["counts"]:
        if state != YES:
            names = [row["name"] for row in rows if row["state"] == state]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            print(f"{name}: {state}: {', '.join(names[:NAMED])}{more}")


def _table(title: str, header: list[str], lines: list[list[str]]) -> None:
    if not sys.stdout.isatty():
        print_columns([[word.upper() for word in header], *lines])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, title=title)
    for line in lines:
        table.add_row(*(Text(word) for word in line), style="red" if "no" in line else "")
    Console().print(table)
