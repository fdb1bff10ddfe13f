"""The host's Linux is the oracle: each command does there and on JefeOS the same, to the byte.

Compared are standard output, standard error, exit status and the files that are left. Both sides see the same
programs (the host's own, through ``--root /``, which JefeOS only reads) and work in folders of their own that have
the same path: on JefeOS a host folder is mounted there, so that what it wrote is looked at from the host.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from commands import COMMANDS, FILES

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "linux",
    "USER": "root",
    "LOGNAME": "root",
}
TIMEOUT_S = 60
NEEDED = ("gcc", "musl-gcc", "busybox", "bash", "dash", "perl", "gawk", "sqlite3")


class Sides:
    """Both systems, and the place where each works."""

    def __init__(self, base: Path, program: Callable[[str], str]) -> None:
        self.program = program
        self.folder = base / "parity"
        self.other = base / "jefeos"
        self.folder.mkdir()
        self.other.mkdir()
        self.system = jefeos.boot(root="/", mount=[f"{self.other}:{self.folder}:rw"], strict=True)

    def words(self, name: str) -> list[str]:
        """The argument vector, its programs compiled."""
        command = COMMANDS[name]
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        for index, word in enumerate(words):
            if word.startswith("{p}/"):
                words[index] = self.program(word[4:])
        return words


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Iterator[Sides]:
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("the guest's user is root: run as root to compare owners and permissions")
    sides = Sides(tmp_path_factory.mktemp("sides"), program)
    yield sides
    problems = finish(sides.system)
    assert not problems, problems


def fill(folder: Path) -> None:
    """Empty the folder and put the input files there."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """What is in a folder: type, permissions, links and content of each file."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if stat.S_ISREG(kind):
            content = path.read_bytes()
            if path.suffix in (".gz", ".tgz") or path.name.startswith("db"):
                content = None  # these hold the time or page counters; the command itself compares their content
        elif stat.S_ISLNK(kind):
            content = os.readlink(path)
        mode = stat.S_IMODE(status.st_mode)
        links = 1 if stat.S_ISDIR(kind) else status.st_nlink
        found[str(path.relative_to(folder))] = (kind, oct(mode), status.st_uid, status.st_gid, links, content)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_same_as_the_host(sides: Sides, name: str) -> None:
    words = sides.words(name)
    fill(sides.folder)
    host = subprocess.run(
        words,
        cwd=sides.folder,
        env=ENVIRONMENT,
        input=b"",
        capture_output=True,
        timeout=TIMEOUT_S,
        umask=0o022,
        check=False,
    )
    fill(sides.other)
    ours = sides.system.run(words, env=ENVIRONMENT, cwd=str(sides.folder), timeout=TIMEOUT_S)
    host_status = 128 - host.returncode if host.returncode < 0 else host.returncode
    assert (ours.stdout, ours.stderr, ours.status) == (host.stdout, host.stderr, host_status)
    assert tree(sides.other) == tree(sides.folder)


def test_the_table_is_long_enough() -> None:
    assert len(COMMANDS) >= 60
