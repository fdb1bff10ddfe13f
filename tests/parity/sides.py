"""Two sides on which a command is run, the host's Linux and JefeOS, and what it left there.

Both see the same programs (the host's own, through ``--root /``, which JefeOS only reads) and work in folders of
their own that have the same path: on JefeOS a host folder is mounted there, so that what it wrote is looked at from
the host.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jefeos
from attrs import frozen

sys.path.insert(0, str(Path(__file__).parent))
from commands import COMMANDS, FILES

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "linux",
    "USER": "root",
    "LOGNAME": "root",
}
TIMEOUT_S = 200
NEEDED = ("gcc", "musl-gcc", "busybox", "bash", "dash", "perl", "gawk", "sqlite3")


@frozen
class Outcome:
    """What a command wrote, its status as a shell has it, and the files that it left."""

    stdout: bytes
    stderr: bytes
    status: int
    files: dict[str, tuple[object, ...]]


def _not_polite() -> None:
    """JefeOS starts its programs with a nice value of 0, whoever started this."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


class Sides:
    """Both systems, and the place where each works. ``program`` compiles a program of tests/programs by name."""

    def __init__(self, base: Path, program: Callable[[str], str], **options: Any) -> None:
        self.program = program
        self.folder = base / "parity"
        self.other = base / "jefeos"
        self.folder.mkdir()
        self.other.mkdir()
        self.system = jefeos.boot(root="/", mount=[f"{self.other}:{self.folder}:rw"], strict=True, **options)

    def words(self, name: str) -> list[str]:
        """The argument vector of a command, its programs compiled."""
        command = COMMANDS[name]
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        for index, word in enumerate(words):
            if word.startswith("{p}/"):
                words[index] = self.program(word[4:])
        return words

    def on_the_host(self, words: list[str], timeout_s: float = TIMEOUT_S) -> Outcome:
        """Run it here, in a fresh folder."""
        fill(self.folder)
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=ENVIRONMENT,
            input=b"",
            capture_output=True,
            timeout=timeout_s,
            umask=0o022,
            check=False,
            preexec_fn=_not_polite,
        )
        status = 128 - done.returncode if done.returncode < 0 else done.returncode
        return Outcome(done.stdout, done.stderr, status, tree(self.folder))

    def on_jefeos(self, words: list[str], timeout_s: float = TIMEOUT_S) -> Outcome:
        """Run it there, in a fresh folder."""
        fill(self.other)
        done = self.system.run(words, env=ENVIRONMENT, cwd=str(self.folder), timeout=timeout_s)
        return Outcome(done.stdout, done.stderr, done.status, tree(self.other))


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
