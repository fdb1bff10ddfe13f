"""BusyBox's test suite, with the host's /bin/busybox and the configuration that Debian built it with.

``testsuite/runtest APPLET`` prints PASS, FAIL, SKIPPED or UNTESTED and a name for each test, and with -v the commands
and the difference of each failed one. A case is an applet; its tests are those lines. ``shell/ash_test`` and
``shell/hush_test`` are folders of shell scripts with the expected output beside each; a case is a folder, and its
runner is ours (the package's takes the words of the shell's messages for those of another program).
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

from suites.running import WHOLE_RUN, Case, Result
from suites.sources import cache, fetch, require, run

BUSYBOX = "/bin/busybox"
CONFIGURATION = "debian/config/pkg/static"
STATES = ("PASS", "FAIL", "SKIPPED", "UNTESTED")
#: Device nodes and mounts.
AS_ROOT = frozenset({"mdev", "mount", "makedevs", "cpio", "tar"})
SHELL_HELPERS = ("recho", "zecho", "printenv")
#: bc prints and reads five million numbers: half a minute of Linux, and a quarter of an hour of an emulated processor.
SLOW = {"bc": 300.0}

#: Runs the scripts of a folder; a script that ends must have printed what its .right file holds.
SHELL_RUNNER = r"""
set -a; . ../.config; set +a
PATH="$(cd ..; pwd):$PATH"; THIS_SH="$(cd ..; pwd)/SHELL"; export PATH THIS_SH
for script in *.tests; do
    name="${script%.tests}"
    [ -x "$script" ] && [ -f "$name.right" ] || continue
    "$THIS_SH" "./$script" >"../tmp/$name" 2>&1
    if diff -u "$name.right" "../tmp/$name" >"../tmp/diff"; then echo "PASS: $name"
    else echo "FAIL: $name"; cat "../tmp/diff"; fi
done
"""


def cases() -> list[Case]:
    """A case for each applet that has tests. Raises Unavailable."""
    require(BUSYBOX, "gcc")
    tree = fetch("busybox-static")
    implemented = set(run([BUSYBOX, "--list"]).split())
    suite = tree / "testsuite"
    tested = {path.stem for path in suite.glob("*.tests")} | {path.name for path in suite.iterdir() if path.is_dir()}
    fill = partial(_fill, tree, _echo(tree))
    return [
        Case(
            "busybox", applet, f"cd testsuite; ./runtest -v {applet}", fill, _read,
            environment={"ECHO": "/bin/echo", "SKIP_INTERNET_TESTS": "y", "SHELL": "/bin/sh"},
            as_root=applet in AS_ROOT,
            timeout_s=SLOW.get(applet, 120.0),
            normalise=_normalise,
        )
        for applet in sorted(tested & (implemented | {"busybox"}))
    ]  # fmt: skip


def shell_cases() -> list[Case]:
    """A case for each folder of the shell's tests. Raises Unavailable."""
    require(BUSYBOX, "gcc", "diff")
    tree = fetch("busybox-static")
    suite = tree / "shell" / "ash_test"
    helpers = cache() / "built" / tree.parent.name
    if not (helpers / SHELL_HELPERS[-1]).exists():
        helpers.mkdir(parents=True, exist_ok=True)
        for name in SHELL_HELPERS:
            run(["gcc", "-w", "-o", str(helpers / name), str(suite / f"{name}.c")])
    return [
        Case(
            "ash", folder.name.removeprefix("ash-"), f"cd {folder.name}; {SHELL_RUNNER.replace('SHELL', 'ash')}",
            partial(_fill_shell, tree, helpers, folder, "ash"), _read,
            environment={"LC_ALL": "", "LANG": ""},
            timeout_s=180.0,
            normalise=_normalise,
        )
        for folder in sorted(suite.glob("ash-*"))
    ]  # fmt: skip


def _echo(tree: Path) -> Path:
    return tree / "scripts" / "echo.c"


def _fill(tree: Path, echo: Path, folder: Path) -> None:
    shutil.copytree(tree / "testsuite", folder / "testsuite")
    (folder / "scripts").mkdir()
    shutil.copy2(echo, folder / "scripts")
    shutil.copy2(tree / CONFIGURATION, folder / ".config")
    (folder / "busybox").symlink_to(BUSYBOX)


def _fill_shell(tree: Path, helpers: Path, tests: Path, shell: str, folder: Path) -> None:
    shutil.copytree(tests, folder / tests.name)
    shutil.copy2(tree / CONFIGURATION, folder / ".config")
    (folder / shell).symlink_to(BUSYBOX)
    for helper in SHELL_HELPERS:
        shutil.copy2(helpers / helper, folder)


def _read(output: str, status: int) -> dict[str, Result]:
    """A result for each line that states one; what follows it, up to the next test, belongs to it.

    Names that occur more than once are told apart by a number.
    """
    parts: dict[str, tuple[str, list[str]]] = {WHOLE_RUN: (f"ended with {status}", [])}
    seen: Counter[str] = Counter()
    name = WHOLE_RUN
    for line in output.splitlines():
        state, separator, title = line.partition(": ")
        if separator and state in STATES:
            seen[title] += 1
            name = title if seen[title] == 1 else f"{title} ({seen[title]})"
            parts[name] = (state, [])
        elif line.startswith("======"):
            name = WHOLE_RUN
        else:
            parts[name][1].append(line)
    return {name: Result(state, "\n".join(lines)) for name, (state, lines) in parts.items()}


def _normalise(output: str) -> str:
    """The headers of a diff have times; a command of pidof's test has the process id that it expects."""
    output = re.sub(r"(?m)^((?:---|\+\+\+) \S+)\t.*$", r"\1", output)
    return re.sub(r"(?<=grep -o -w )\d+", "PID", output)
