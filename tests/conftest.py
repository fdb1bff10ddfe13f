"""Fixtures of the tests that cross plugins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs_build import build


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """``program("hello-musl-static")``: the path of a compiled program of tests/programs, or a skip."""
    folder = tmp_path_factory.mktemp("programs")
    return lambda name: build(name, folder)
