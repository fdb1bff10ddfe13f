"""What a system costs the host: the memory of a booted Alpine that waits at its login."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from jefeos.testing.bench import Bench, Runner, benchmark

sys.path.insert(0, str(Path(__file__).parent.parent / "init"))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))

from expect import Terminal
from roots import INITTAB, alpine_with

ALPINE_ROOT = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
LIMIT_MB = 150
IDLE_S = 1.0


def idle_alpine_mb(archive: str, scratch: Path, kind: str) -> float:
    """Megabytes of ``kind`` (Rss, Pss) that a booted Alpine holds a second after it asked for a login."""
    root = alpine_with(archive, scratch / "alpine.tar", {"etc/inittab": INITTAB})
    with Terminal("boot", "--root", root, "--init", "/sbin/init") as terminal:
        terminal.expect("login: ")
        time.sleep(IDLE_S)
        return terminal.memory_bytes(kind) / 1e6


def _runners(bench: Bench, kind: str) -> dict[str, Runner | None]:
    shared = os.environ.get("JEFEOS_TEST_DATA") or bench.folder.resolve().parents[2] / "shared" / "data"
    archive = Path(shared) / ALPINE_ROOT
    return {"jefeos": (lambda: idle_alpine_mb(str(archive), bench.scratch, kind)) if archive.exists() else None}


@benchmark("idle booted Alpine, resident", unit="MB", limit=LIMIT_MB)
def resident(bench: Bench) -> dict[str, Runner | None]:
    return _runners(bench, "Rss")


@benchmark("idle booted Alpine, proportional", unit="MB", limit=LIMIT_MB)
def proportional(bench: Bench) -> dict[str, Runner | None]:
    return _runners(bench, "Pss")
