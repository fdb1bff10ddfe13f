"""bash's own tests: each ``tests/run-NAME`` compares what the shell prints with what its authors expect.

The shell is the host's /bin/bash, with a terminal; the four helpers that the tests call are compiled from the
package. A test passes when ``run-NAME`` prints nothing but its warnings; what it prints (a diff against the expected
output) must be the same on both systems, also where it is not empty.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

from suites.running import Case, Result
from suites.sources import Unavailable, cache, fetch, require, run

#: With a terminal of its own, which some tests talk to.
COMMAND = """
cd tests; export LOCPATH=$PWD/../../locales PATH="$PWD:$PATH"
script --quiet --return --command 'exec sh ./{name}' /dev/null
"""
#: As in LOCPATH, with the name of the character set.
LOCALES = {
    "en_US.utf8": "UTF-8",
    "de_DE.utf8": "UTF-8",
    "fr_FR.iso88591": "ISO-8859-1",
    "ja_JP.sjis": "SHIFT_JIS",
    "zh_TW.big5": "BIG5",
    "zh_HK.big5hkscs": "BIG5-HKSCS",
}
#: Files of a built package that tests only read, and what serves as well.
STAND_INS = {"config.h": "config.h.in", "version.h": "version.c", "y.tab.c": "y.tab.c"}
ENVIRONMENT = {
    "THIS_SH": "/bin/bash",
    "BASH_TSTOUT": "../tmp/output",
    "BUILD_DIR": "..",
    "LC_ALL": "",
    "SHELL": "/bin/sh",
}
HELPERS = ("recho", "zecho", "printenv", "xcase")
INCLUDES = ("-include", "stdlib.h", "-include", "string.h")  # that the package's config.h would bring
SLOW = {"run-jobs": 180.0}


def cases() -> list[Case]:
    """A case for each script. Raises Unavailable."""
    require("bash", "gcc", "diff", "script", "localedef")
    tree = fetch("bash")
    helpers = _helpers(tree)
    fill = partial(_fill, tree, helpers, _locales())
    names = sorted(path.name for path in (tree / "tests").glob("run-*"))
    return [
        Case(
            "bash", name.removeprefix("run-"), COMMAND.format(name=name), fill, partial(_read, name),
            environment=ENVIRONMENT,
            timeout_s=SLOW.get(name, 60.0),
            normalise=_normalise,
        )
        for name in names
        if name not in ("run-all", "run-minimal")
    ]  # fmt: skip


def _helpers(tree: Path) -> Path:
    folder = cache() / "built" / tree.parent.name
    includes = [*INCLUDES, f"-I{tree}", f"-I{tree / 'include'}"]
    if not (folder / HELPERS[-1]).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in HELPERS:
            run(["gcc", "-w", *includes, "-o", str(folder / name), str(tree / "support" / f"{name}.c")])
    return folder


def _locales() -> Path:
    """A folder of the locales that tests use, where the host can make them."""
    folder = cache() / "locales"
    folder.mkdir(exist_ok=True)
    for name, charset in LOCALES.items():
        if not (folder / name).exists():
            with suppress(Unavailable):
                run(["localedef", "--quiet", "-c", "-i", name.partition(".")[0], "-f", charset, str(folder / name)])
    return folder


def _fill(tree: Path, helpers: Path, locales: Path, folder: Path) -> None:
    shutil.copytree(tree / "tests", folder / "tests")
    for helper in helpers.iterdir():
        shutil.copy2(helper, folder / "tests")
    for name, source in STAND_INS.items():
        shutil.copy2(tree / source, folder / name)
    if not (shared := folder.parent / "locales").exists():  # large, so once for all cases
        shutil.copytree(locales, shared)


def _read(name: str, output: str, status: int) -> dict[str, Result]:
    text = [line for line in output.splitlines() if line.strip() and not line.startswith("warning: ")]
    return {name: Result("FAIL" if text or status else "PASS", output)}


def _normalise(output: str) -> str:
    """A message about the terminal names the shell's process group."""
    return re.sub(r"(?<=process group \()\d+", "N", output.replace("\r\n", "\n"))
