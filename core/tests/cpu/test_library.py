"""Loading the library, and what happens where it is missing; paging arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jefeos.cpu import bench, paging
from jefeos.cpu.unicorn import UnicornEngine, library
from jefeos.errors import BootError

from .conftest import DATA, RW, Guest


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_load_path", lambda: "libno-such-unicorn.so.2")
    with pytest.raises(BootError, match=r"pip install 'unicorn"):
        UnicornEngine(1 << 20)


def test_a_library_that_is_something_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "libunicorn.so.2"
    wrong.write_bytes(b"not a library")
    monkeypatch.setattr(library, "_load_path", lambda: str(wrong))
    with pytest.raises(BootError, match="pip install"):
        UnicornEngine(1 << 20)


def test_importing_the_engine_loads_nothing() -> None:
    code = "import sys, jefeos.cpu.unicorn as u; assert not any(m.split('.')[0] == 'unicorn' for m in sys.modules)"
    check = "; assert sys.platform != 'linux' or 'libunicorn' not in open('/proc/self/maps').read()"
    subprocess.run([sys.executable, "-c", code + check], check=True, timeout=100)


def test_canonical_addresses() -> None:
    assert paging.is_canonical(0) and paging.is_canonical((1 << 47) - 1)
    assert paging.is_canonical(0xFFFF_8000_0000_0000) and paging.is_canonical((1 << 64) - 1)
    assert not paging.is_canonical(1 << 47) and not paging.is_canonical(0xFFFF_7FFF_FFFF_FFFF)


def test_pages_spanned() -> None:
    assert [paging.pages_spanned(a, n) for a, n in ((0, 0), (0, 1), (0, 4096), (4095, 2), (1, 8192))] == [
        0,
        1,
        1,
        2,
        3,
    ]


def test_walk_folds_the_rights_of_all_levels(guest: Guest) -> None:
    frame = guest.map(DATA, RW)
    words, cr3 = guest.engine.ram_words, guest.cr3
    entry = paging.walk(words, cr3, DATA + 123)
    assert entry == (frame << paging.PAGE_SHIFT) | RW
    top = (cr3 >> 3) + paging.table_index(DATA, paging.PML4_SHIFT)
    words[top] &= ~paging.PTE_WRITE
    assert paging.walk(words, cr3, DATA) == entry & ~paging.PTE_WRITE
    words[top] = 0
    assert paging.walk(words, cr3, DATA) == 0


def test_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are printed (pytest -s); the bound is far above them and catches only a lost hot path."""
    engine = UnicornEngine(64 << 20)
    figures = bench.measure(engine, scale=20)
    engine.close()
    with capsys.disabled():
        print("\n  engine: " + ", ".join(f"{name} {ns:.0f} ns" for name, ns in figures.items()))
    assert figures["system call"] < 20_000
    assert figures["page fault"] < 40_000
