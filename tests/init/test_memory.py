"""An idle booted Alpine is no burden to its host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("reads the host's /proc", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from bench_memory import LIMIT_MB, idle_alpine_mb


@pytest.mark.peer
def test_an_idle_alpine_stays_below_its_limit(alpine_root: str, tmp_path: Path) -> None:
    assert idle_alpine_mb(alpine_root, tmp_path, "Rss") < LIMIT_MB
