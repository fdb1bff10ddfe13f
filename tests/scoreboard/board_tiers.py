"""The Linux ladder: programs that must run, step by step from a static binary to a distribution that boots itself.

======  =====================================================================================
tier 1  static programs of musl
tier 2  static programs of glibc
tier 3  dynamic programs of both
tier 4  Alpine's own programs, with Alpine as root and by a chroot(2) into it
tier 5  Alpine's init: to a login, respawn, restart, and a clean end
above   CPython 3.11 (Debian's, glibc) and 3.13 (musl)
======  =====================================================================================

All but tier 5 are compared with the host; the journeys of tier 5 know what they must see.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import jefeos
from attrs import evolve

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))
sys.path.insert(0, str(Path(__file__).parent.parent / "alpine"))
sys.path.insert(0, str(Path(__file__).parent.parent / "init"))
sys.path.insert(0, str(Path(__file__).parent.parent / "cpython"))
import alpine
from comparing import NO, NOT_RUN, YES, Evidence, Verdict, board, row
from journeys import JOURNEYS
from programs_build import COMPILERS, build
from python_scripts import SCRIPTS, SLOW
from pythons import DEBIAN_PYTHON, MUSL_PYTHON, musl_python
from roots import alpine_roots
from sides import Sides

ARCHIVE: Final = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
PROGRAMS: Final = {
    "hello": ["a", "b c"],
    "files": [],
    "memory": [],
    "signals": [],
    "threads": [],
    "forks": ["100"],
}
"""Programs of tests/programs, with their arguments."""
LINKAGES: Final = {
    "tier 1": ("musl-static",),
    "tier 2": ("glibc-static",),
    "tier 3": ("musl-dynamic", "glibc-dynamic"),
}
"""How they are linked in the tiers that they make up."""

PATIENCE_S: Final = 240
"""For what a Python does."""

Progress = Callable[[str], None]


def tiers_board(evidence: Evidence, progress: Progress) -> dict[str, Any]:
    """Every tier, from the lowest to the highest."""
    archive = _archive()
    rows = [
        *_compiled(evidence, progress),
        *_alpine(evidence, progress, archive),
        *_init(progress, archive),
        *_pythons(evidence, progress, archive),
    ]
    kinds = dict.fromkeys(one["kind"] for one in rows)
    tiers = {kind: all(one["state"] == YES for one in rows if one["kind"] == kind) for kind in kinds}
    return board("The Linux ladder: tiers 1 to 5, and CPython above", rows, complete=tiers)


def _archive() -> str | None:
    folder = os.environ.get("JEFEOS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data"
    path = Path(folder) / ARCHIVE
    return str(path) if path.exists() else None


def _compiled(evidence: Evidence, progress: Progress) -> Iterable[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="jefeos-tiers-") as folder:
        compiled = Path(folder, "programs")
        compiled.mkdir()
        sides = Sides(Path(folder), lambda name: build(name, compiled), stats=True)
        with sides.system:
            for tier, linkages in LINKAGES.items():
                for name in (f"{program}-{linkage}" for linkage in linkages for program in PROGRAMS):
                    progress(f"{tier} {name}")
                    yield row(name, tier, f"tests/programs/{name.partition('-')[0]}.c", _one(name, sides, evidence))


def _one(name: str, sides: Sides, evidence: Evidence) -> Verdict:
    program, _, linkage = name.partition("-")
    compiler = COMPILERS[linkage][0]
    if shutil.which(compiler) is None:
        return Verdict(NOT_RUN, f"not installed: {compiler}")
    words = [sides.program(name), *PROGRAMS[program]]
    return evidence.compare(name, sides.system, lambda: sides.on_the_host(words), lambda: sides.on_jefeos(words))


def _alpine(evidence: Evidence, progress: Progress, archive: str | None) -> Iterable[dict[str, Any]]:
    reason = _why_no_chroot(archive)
    with tempfile.TemporaryDirectory(prefix="jefeos-alpine-") as folder:
        root = Path(folder, "alpine")
        if not reason:
            alpine.unpack(str(archive), root)
        for way, before in (("root", ()), ("chroot", ("chroot", str(root)))):
            for name, script in alpine.CASES.items():
                progress(f"tier 4 {name}, {way}")
                verdict = Verdict(NOT_RUN, reason)
                if not reason:
                    with jefeos.boot(root="/" if before else archive, stats=True) as system:
                        verdict = evidence.compare(
                            f"Alpine: {name}, {way}",
                            system,
                            lambda script=script: alpine.on_the_host(script, root),
                            lambda script=script, system=system, before=before: alpine.on_jefeos(
                                script, system, *before
                            ),
                        )
                yield row(f"{name}, {way}", "tier 4", "tests/alpine/alpine.py", verdict)


def _why_no_chroot(archive: str | None) -> str:
    if archive is None:
        return f"no {ARCHIVE} (set JEFEOS_TEST_DATA)"
    return "chroot on the host needs root" if os.geteuid() != 0 else ""


def _init(progress: Progress, archive: str | None) -> Iterable[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="jefeos-init-") as folder:
        roots = alpine_roots(archive, Path(folder)) if archive is not None else {}
        for name, (root, journey) in JOURNEYS.items():
            progress(f"tier 5 {name}")
            verdict = Verdict(NOT_RUN, _why_no_chroot(archive))
            if root in roots:
                try:
                    journey(roots[root])
                    verdict = Verdict(YES)
                except AssertionError as error:
                    verdict = Verdict(NO, str(error)[:400])
            yield row(name, "tier 5", "/sbin/init", verdict)


def _pythons(evidence: Evidence, progress: Progress, archive: str | None) -> Iterable[dict[str, Any]]:
    scripts = {name: script for name, script in SCRIPTS.items() if name not in SLOW}
    with tempfile.TemporaryDirectory(prefix="jefeos-python-") as folder:
        sides = Sides(Path(folder), str, stats=True)
        with sides.system:
            reason = "" if Path(DEBIAN_PYTHON).exists() else f"not installed: {DEBIAN_PYTHON}"
            for name, script in scripts.items():
                progress(f"CPython 3.11 {name}")
                verdict = Verdict(NOT_RUN, reason)
                if not reason:
                    words = ["/bin/sh", "-c", f"PY={DEBIAN_PYTHON}\n{script}"]
                    verdict = evidence.compare(
                        f"CPython 3.11: {name}",
                        sides.system,
                        lambda words=words: evolve(sides.on_the_host(words, PATIENCE_S), files={}),  # with times
                        lambda words=words: evolve(sides.on_jefeos(words, PATIENCE_S), files={}),
                        must_work=True,
                    )
                yield row(name, "CPython 3.11", DEBIAN_PYTHON, verdict)
        root = Path(folder, "alpine")
        reason = _why_no_chroot(archive)
        if not reason:
            progress("CPython 3.13")
            reason = musl_python(alpine.unpack(str(archive), root))
        for name, script in scripts.items():
            progress(f"CPython 3.13 {name}")
            verdict = Verdict(NOT_RUN, reason)
            if not reason:
                script = f"PY={MUSL_PYTHON}\n{script}"
                with jefeos.boot(root=str(root), ram="1G", stats=True) as system:
                    verdict = evidence.compare(
                        f"CPython 3.13: {name}",
                        system,
                        lambda script=script: alpine.on_the_host(script, root, PATIENCE_S),
                        lambda script=script, system=system: alpine.on_jefeos(
                            script, system, timeout_s=PATIENCE_S
                        ),
                        must_work=True,
                    )
            yield row(name, "CPython 3.13", MUSL_PYTHON, verdict)
