"""The test packages of ``core/tests/packages``, installed by pip into a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parent.parent / "packages"


@pytest.fixture(scope="session")
def installed_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every test package is installed as a real distribution."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--no-build-isolation", "--no-index", "--target", str(target)),
            *sorted(str(path.parent) for path in PACKAGES.glob("*/pyproject.toml")),
        ],
        check=True,
        timeout=100,
    )
    return target


@pytest.fixture
def with_packages(installed_packages: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``with_packages()`` puts the installed test packages on the module path for one test."""

    def put() -> Path:
        monkeypatch.syspath_prepend(str(installed_packages))
        return installed_packages

    return put
