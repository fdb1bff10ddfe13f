"""Fixtures for terminals."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The helper module beside this file, importable as `tty_kernels` under pytest's importlib mode.
_spec = importlib.util.spec_from_file_location("tty_kernels", Path(__file__).with_name("kernels.py"))
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["tty_kernels"] = _module
_spec.loader.exec_module(_module)


@pytest.fixture
def kernel() -> Iterator[Any]:
    kernel = _module.FakeKernel()
    yield kernel
    kernel.loop.close()
