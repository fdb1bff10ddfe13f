"""Runs each probe on JefeOS and on the host's Linux, each as a process of its own, and compares.

Both sides see the same programs (the host's files, through ``--root /``) and work in /dev/shm, a tmpfs on either, in
a folder a probe. Compared are standard output, standard error and the status. States of an interface:

==============  ==================================================================
yes             the probe ran on JefeOS and gave the host's result
differs         it ran on both, with different results
libc-has-not    no C library here has the function: neither glibc nor musl
host-has-not    the utility is not installed on this host
no-probe        nobody has written one
==============  ==================================================================

``python tests/scoreboard/posix/posix_board.py [NAME ...]`` prints what is not a yes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import jefeos
from attrs import frozen
from jefeos.api import ProgramTimeout

sys.path.insert(0, str(Path(__file__).parent))
from posix_build import build_all, scripts
from posix_list import Interface, explained_differences, interfaces

ENVIRONMENT = {
    # cssc's SCCS is beside the others.
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/x86_64-linux-gnu/cssc",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC0",
    "TERM": "vt100",
    "USER": "root",
    "LOGNAME": "root",
    "PWD": "",
}
INPUT = b"first line\nsecond line\n"
TIMEOUT_S = 100
#: How much of an output that differs is kept.
KEPT_BYTES = 2000


@frozen
class Outcome:
    """What a process did."""

    status: int | None
    output: bytes
    errors: bytes


@frozen
class Probe:
    """A program to run: a compiled probe, or a script."""

    name: str
    argv: list[str]
    library: str


def collect(folder: Path, wanted: Collection[Interface]) -> tuple[dict[tuple[str, str], Probe], set[str]]:
    """The probes of these interfaces, and the names that are written but that no C library here has."""
    probes: dict[tuple[str, str], Probe] = {}
    programs, lacking = build_all(folder, {interface.name for interface in wanted})
    for program in programs:
        for name in program.names:
            probes.setdefault(("c", name), Probe(name, [str(program.path), name], program.library))
    written = scripts()
    for interface in wanted:
        if interface.key[0] == "shell" and interface.name in written:
            script = f"mkdir -p u-{interface.name} && cd u-{interface.name} || exit 99\n{written[interface.name]}"
            probes[interface.key] = Probe(interface.name, ["/bin/sh", "-c", script], "sh")
    return probes, lacking


def is_installed(utility: str) -> bool:
    """Whether the host has it, as a program or in one of its shells."""
    if shutil.which(utility, path=ENVIRONMENT["PATH"]):
        return True
    words = [["/bin/sh", "-c", f"command -v {utility}"], ["/bin/bash", "-c", f"command -v {utility}"]]
    return any(shutil.which(shell[0]) and not subprocess.run(shell, capture_output=True).returncode for shell in words)


def run_on_host(probe: Probe, folder: str) -> Outcome:
    polite = os.getpriority(os.PRIO_PROCESS, 0)  # of whoever started this; JefeOS starts its programs with 0
    argv = ["nice", "-n", str(-polite), *probe.argv] if polite else probe.argv
    try:
        done = subprocess.run(
            argv,
            input=INPUT,
            capture_output=True,
            timeout=TIMEOUT_S,
            cwd=folder,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, b"", b"timed out")
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_on_jefeos(system: Any, probe: Probe, folder: str) -> Outcome:
    try:
        done = system.run(probe.argv, input=INPUT, timeout=TIMEOUT_S, cwd=folder, env=ENVIRONMENT)
    except ProgramTimeout:
        return Outcome(None, b"", b"timed out")
    return Outcome(-done.signal if done.signal else done.status, done.stdout, done.stderr)


def run(names: Collection[str] = (), **boot: Any) -> dict[str, Any]:
    """Run the probes of these interfaces (all where none is named) and say of each what came of it."""
    started = time.monotonic()
    wanted = [interface for interface in interfaces() if not names or interface.name in names]
    explained = explained_differences()
    with tempfile.TemporaryDirectory(prefix="posix-") as built, tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        probes, lacking = collect(Path(built), wanted)
        with ThreadPoolExecutor(1) as host, jefeos.boot(**{"root": "/", **boot}) as system:
            # The host goes through them in the same order, beside JefeOS.
            outcomes = {
                interface.key: host.submit(run_on_host, probes[interface.key], place)
                for interface in wanted
                if interface.key in probes
            }
            second = f"{place}/second"
            Path(second).mkdir()
            system.run(["/bin/mkdir", "-p", second], timeout=TIMEOUT_S)
            rows = [attrs.asdict(interface) for interface in wanted]
            for interface, row in zip(wanted, rows, strict=True):
                if interface.kind == "utility" and not is_installed(interface.name):
                    row |= {"state": "host-has-not", "detail": ""}
                elif interface.key not in probes:
                    lacks = interface.key[0] == "c" and interface.name in lacking
                    row |= {"state": "libc-has-not" if lacks else "no-probe", "detail": ""}
                else:
                    probe, reason = probes[interface.key], explained.get(interface.key, "")
                    row |= judge(probe, outcomes[interface.key].result(), system, place, reason)
                    if row["state"] == "differs" and not reason:
                        # On a loaded machine a probe can be overtaken: what differs twice differs.
                        again = host.submit(run_on_host, probe, second).result()
                        row |= judge(probe, again, system, second, reason) | {"again": True}
    return {"rows": rows, "counts": dict(Counter(row["state"] for row in rows)), "seconds": time.monotonic() - started}


def judge(probe: Probe, host: Outcome, system: Any, place: str, reason: str) -> dict[str, Any]:
    """Run it on JefeOS too, and compare. ``reason`` is why it may differ, if that is known."""
    started = time.monotonic()
    ours = run_on_jefeos(system, probe, place)
    seconds = round(time.monotonic() - started, 3)
    if ours == host and host.status is not None:
        return {"state": "yes", "libc": probe.library, "seconds": seconds, "detail": ""}
    return {
        "state": "differs",
        "libc": probe.library,
        "seconds": seconds,
        "detail": reason,
        "host": shown(host),
        "jefeos": shown(ours),
    }


def shown(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "stdout": outcome.output[:KEPT_BYTES].decode(errors="replace"),
        "stderr": outcome.errors[:KEPT_BYTES].decode(errors="replace"),
    }


def board() -> dict[str, Any]:
    """The scoreboard, in the form that all of them have."""
    result = run()
    return {
        "title": "POSIX.1-2024",
        "total": len(result["rows"]),
        "yes": result["counts"].get("yes", 0),
        "mandatory": sum(row["mandatory"] for row in result["rows"]),
        "mandatory_yes": sum(row["mandatory"] and row["state"] == "yes" for row in result["rows"]),
        "counts": result["counts"],
        "seconds": round(result["seconds"], 1),
        "rows": result["rows"],
    }


def main(names: list[str]) -> None:
    result = run(names)
    for row in result["rows"]:
        if row["state"] == "yes" or (row["state"] == "no-probe" and not names):
            continue
        print(row["state"], row["header"], row["name"], row["detail"])
        for side in ("host", "jefeos"):
            if side in row:
                print("   ", side, json.dumps(row[side]))
    slowest = sorted(result["rows"], key=lambda row: -row.get("seconds", 0))[:8]
    print("slowest:", ", ".join(f"{row['name']} {row.get('seconds', 0):.1f} s" for row in slowest))
    print(result["counts"], f"{result['seconds']:.1f} s")


if __name__ == "__main__":
    if shutil.which("gcc") is None:
        sys.exit("gcc is not installed on this host")
    main(sys.argv[1:])
