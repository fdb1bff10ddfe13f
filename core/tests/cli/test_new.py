"""``jefeos plugins new``: what it writes installs, loads and passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jefeos.cli.new import new_command
from jefeos.errors import UsageError
from jefeos.plugins import KINDS


@pytest.mark.parametrize("kind", ["drivers", "fs", "kernel", "themes"])
def test_a_new_package_passes_its_tests_at_once(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "package"
    assert new_command(kind, "my-own", str(folder)) == 0
    assert f"jefeos-{kind.removesuffix('s') if len(kind) > 2 else kind}-my-own" in capsys.readouterr().out
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    offline = ["--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([*pip, *offline, str(folder)], timeout=100, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", "-m", "not long", "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_made(kind: str, tmp_path: Path) -> None:
    new_command(kind, "x", str(tmp_path / "x"))
    for source in (tmp_path / "x").rglob("*.py"):
        compile(source.read_text(), source, "exec")


@pytest.mark.parametrize(("kind", "name"), [("hats", "x"), ("fs", "X"), ("fs", "a_b"), ("fs", ""), ("fs", "../x")])
def test_wrong_names(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        new_command(kind, name, str(tmp_path / "x"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        new_command("fs", "x", str(tmp_path))
