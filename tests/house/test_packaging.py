"""``pip install .`` installs core and every bundled plugin as distributions of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

BUILDER = "hatchling>=1.21"


@pytest.mark.timeout(600)
def test_pip_install_gives_separate_distributions(repository: Path, tmp_path: Path) -> None:
    # A copy, since a build leaves files beside the sources it builds from.
    source = tmp_path / "source"
    names = ["pyproject.toml", "hatch_build.py", "README.md", "core", "plugins"]
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    for name in names:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, source / name, ignore=ignored)
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(repository / name, source / name)
    # As the Makefile does: what builds packages goes in first and serves all of them. That they ask for no more:
    for package in source.rglob("pyproject.toml"):
        assert tomllib.loads(package.read_text())["build-system"]["requires"] == [BUILDER], package
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", BUILDER], timeout=500, check=True)
    subprocess.run([*pip, "install", "--quiet", "--no-build-isolation", "."], cwd=source, timeout=500, check=True)

    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, timeout=60, check=True)
    installed = {entry["name"] for entry in json.loads(listed.stdout) if entry["name"].startswith("jefeos")}
    assert {"jefeos", "jefeos-core", "jefeos-abi-linux", "jefeos-fs-host", "jefeos-fs-tar"} <= installed

    command = python.parent / "jefeos"
    plugins = subprocess.run([command, "plugins", "list", "--json"], capture_output=True, timeout=60, check=True)
    found = {entry["distribution"] for entry in json.loads(plugins.stdout)}
    assert found == installed - {"jefeos", "jefeos-core"}

    # One plugin can be removed alone, and the rest stays whole.
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "jefeos-fs-tar"], timeout=60, check=True)
    doctor = subprocess.run([command, "plugins", "doctor"], capture_output=True, text=True, timeout=60, check=False)
    assert doctor.returncode == 0, doctor.stdout
    assert "fs/tar" not in doctor.stdout
