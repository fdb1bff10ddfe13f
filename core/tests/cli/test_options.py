"""The quick way past the argument parser says exactly what the parser says, or nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from jefeos.cli import app, boot
from jefeos.cli.options import BOOT_OPTIONS, parse_plainly
from jefeos.config import OPTIONS
from jefeos.errors import UsageError

UNDERSTOOD = [
    ["/bin/true"],
    ["prog", "--help", "-x", "--", "--root", "y"],
    ["--root", "/", "ls", "-l"],
    ["--root=/", "ls"],
    ["--root", "a", "--root", "b", "ls"],
    ["--root", "--odd", "ls"],
    ["--", "--prog"],
    ["--stats", "--strict", "--trace", "--virtual-time", "--seed", "7", "x"],
    ["--mount", "a:/a", "--mount=b:/b:rw", "--env", "A=1,2", "--env", "B=", "x"],
    ["--plugins", "linux, tar", "--plugins", "host", "--without", "jsh", "x"],
    ["--trace-file", "out", "--ram", "64M", "--max-processes", "9", "--config", "c.toml", "-", "y"],
    ["--plugins", "", "x"],
]
LEFT_TO_THE_PARSER = [
    ["--help"],
    ["-h"],
    ["--bogus", "x"],
    ["--root"],
    ["--seed", "x", "y"],
    ["--seed", "-1", "y"],
    ["--stats=1", "x"],
    ["-r", "x"],
]


@pytest.mark.parametrize("arguments", UNDERSTOOD, ids=" ".join)
def test_both_ways_agree(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Any] = []

    def record(options: dict[str, Any], command: list[str]) -> int:
        parsed.append((options, list(command)))
        return 5

    monkeypatch.setattr(boot, "run_command", record)
    assert app.invoke(["run", *arguments]) == 5
    assert parse_plainly(arguments) == parsed[0]


@pytest.mark.parametrize("arguments", LEFT_TO_THE_PARSER, ids=" ".join)
def test_the_quick_way_gives_up(arguments: list[str]) -> None:
    assert parse_plainly(arguments) is None


@pytest.mark.parametrize("arguments", [["run"], ["boot", "--root"], ["run", "--seed", "x", "y"], ["nonsense"]])
def test_mistakes_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"\(see jefeos.* --help\)"):
        app.invoke(arguments)


def test_every_boot_option_is_an_option_of_the_configuration() -> None:
    names = {option.name for option in BOOT_OPTIONS}
    assert names - {"trace_file", "config"} == set(OPTIONS) - {"root_writable"}


def test_running_a_program_loads_no_argument_parser() -> None:
    script = (
        "import sys\n"
        "from jefeos.cli.entry import main\n"
        "main(['run', '--root', '/does/not/exist', 'x'])\n"
        "print([name for name in ('typer', 'click', 'rich', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
