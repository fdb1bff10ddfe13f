"""The GNU coreutils' own tests, with the host's programs: each is a script that ends with 0, 77 (skipped) or a failure.

Only those of commands that ask much of a kernel: files, directories, links, permissions, devices, processes. Those
that the package wants run by root are, the others run as nobody. Tests that are Perl programs are left out.
"""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

from suites.running import Case, Result
from suites.sources import fetch, require

FOLDERS = (
    "chgrp", "chmod", "chown", "cp", "dd", "df", "du", "id", "install", "ln", "ls", "mkdir", "mv", "readlink", "rm",
    "rmdir", "split", "tail-2", "touch",
)  # fmt: skip
#: Of the folder misc: what does more than read its input.
MISC = (
    "chroot*", "env*", "groups*", "head*", "io-errors*", "mknod*", "mktemp*", "nice*", "nohup*", "nproc*", "pathchk*",
    "printenv*", "pwd*", "realpath*", "runcon*", "selinux*", "shred*", "sort-compress*", "sort-exit*", "sort-spinlock*",
    "sort-stale*", "sort-continue*", "stat*", "stdbuf*", "stty*", "sync*", "tee*", "test-*", "timeout*", "truncate*",
    "tty*", "uniq-collate*", "user*", "usage_vs_getopt*", "wc-*", "who*", "yes*", "cat-*", "close-stdout*",
    "csplit-io*",
)  # fmt: skip
STATES = {0: "PASS", 77: "SKIPPED", 99: "ERROR"}
ENVIRONMENT = {
    "LC_ALL": "C",
    "LANG": "C",
    "srcdir": "../coreutils",
    "top_srcdir": "../coreutils",
    "CONFIG_HEADER": "../coreutils/lib/config.hin",
    "host_os": "linux-gnu",
    "host_triplet": "x86_64-pc-linux-gnu",
    "AWK": "awk",
    "EGREP": "grep -E",
    "EXEEXT": "",
    "MAKE": "make",
    "CC": "gcc",
    "PERL": "perl",
    "SHELL": "/bin/bash",
    "LOCALE_FR": "none",
    "LOCALE_FR_UTF8": "none",
}
#: The programs are the installed ones, whose version is the package's.
COMMAND = r"""
export VERSION="$(cat --version | sed -n '1s/.* //p')" fail=0
export PACKAGE_VERSION="$VERSION" abs_top_srcdir="$(cd ../coreutils; pwd)" abs_top_builddir="$PWD"
export abs_srcdir="$abs_top_srcdir" built_programs="$(cd /usr/bin; echo *)" CU_TEST_NAME="coreutils,{name}"
mkdir src; bash ../coreutils/tests/{script} 9>&2
"""


def cases() -> list[Case]:
    """A case for each script. Raises Unavailable."""
    require("bash", "perl", "gcc", "make")
    tree = fetch("coreutils")
    tests = tree / "tests"
    for_root = set(re.findall(r"tests/(\S+\.sh)", (tests / "local.mk").read_text().partition("all_tests =")[0]))
    scripts = [path for folder in FOLDERS for path in (tests / folder).glob("*.sh")]
    scripts += [path for pattern in MISC for path in (tests / "misc").glob(pattern) if path.suffix == ".sh"]
    names = sorted({str(path.relative_to(tests)) for path in scripts})
    return [
        Case(
            "coreutils", name.removesuffix(".sh"),
            COMMAND.format(name=name.replace("/", "-"), script=name), partial(_fill, tree), partial(_read, name),
            environment=ENVIRONMENT,
            as_root=name in for_root,
        )
        for name in names
    ]  # fmt: skip


def _fill(tree: Path, folder: Path) -> None:
    folder.mkdir()
    shared = folder.parent / "coreutils"
    if not shared.exists():
        shared.mkdir()
        shutil.copytree(tree / "tests", shared / "tests")
        (shared / "lib").mkdir()
        shutil.copy2(tree / "lib" / "config.hin", shared / "lib")
        shutil.copy2(tree / "init.cfg", shared)


def _read(name: str, output: str, status: int) -> dict[str, Result]:
    """What a failed test prints is not compared, only why it ended so: it is full of temporary names."""
    reasons = re.findall(r"(?:skipped test|failed test|set-up failure|hard error): .*", output)
    state = STATES.get(status, "FAIL")
    return {name: Result(state, "\n".join(dict.fromkeys(reasons)) if state != "PASS" else "")}
