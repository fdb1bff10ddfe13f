"""Debian roots made by debootstrap, kept for the next run: ``python debian_roots.py init work`` makes them in advance.

::

    $JEFEOS_ROOTS or ~/.cache/jefeos-roots
        lock                     held while a root is made: several workers may want the same one
        debian-init-1a2b3c4d     a finished root; the digits are those of the recipe, so that a new one is made anew
        making/                  an unfinished one, thrown away by the next attempt

* ``init``: the minimal system with sysvinit, OpenRC, BusyBox and Python's core. Half a minute, 250 MB.
* ``work``: besides, compilers and other programs that people use. Another half minute, 900 MB.

Root logs in without a password. Roots hold no package lists, no archives and no address of the mirror that they came
from (the one that the host's apt uses). They are for reading: what runs on them is to write elsewhere, as JefeOS does
by itself, and `jail` for programs of the host.

debootstrap alone cannot make them: of ``sysv-rc | openrc`` it takes the first, then both are to be installed and
exclude each other. So it makes the minimal system, and apt, inside of it, adds the rest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SUITE: Final = "bookworm"
INIT: Final = ("openrc", "sysvinit-core", "initscripts", "busybox", "dash", "python3-minimal")
WORK: Final = (*INIT, "gcc", "libc6-dev", "make", "git", "perl", "nodejs", "gdb", "strace", "python3-venv",
               "python3-pip", "cron", "openssh-client", "rsync", "screen", "tmux", "vim", "nano", "less", "mc", "htop",
               "sudo", "expect", "procps", "file", "bc", "ed", "zip", "unzip")  # fmt: skip
PACKAGES: Final = {"init": INIT, "work": WORK}
FORMAT: Final = "1"
"""Changes when roots are to be made anew though their packages are the same."""

#: Where apt inside of the root finds what the host's apt has: names, proxies, mirrors.
_OF_THE_HOST: Final = ("etc/resolv.conf", "etc/apt/apt.conf", "etc/apt/apt.conf.d", "etc/apt/sources.list",
                       "etc/apt/sources.list.d")  # fmt: skip
_LEFT_OUT: Final = ("var/lib/apt/lists", "var/cache/apt", "var/log", "etc/resolv.conf", *_OF_THE_HOST)
_TIMEOUT_S: Final = 900


def debian_root(kind: str) -> str:
    """The folder of a root, made now if it is not there; a skip where it cannot be made."""
    import pytest  # not needed to make roots in advance

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("making a Debian root needs root on Linux")
    if shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not installed on this host")
    if not _mirror():
        pytest.skip("the host's apt has no mirror to make a Debian root from")
    try:
        return str(make_root(kind))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no Debian root: {error}\n{error.stdout[-2000:]}")


def find_root(kind: str) -> Path:
    """The folder of a root that is there. Raises FileNotFoundError."""
    root = _place(kind)
    if not root.exists():
        raise FileNotFoundError(root)
    return root


def make_root(kind: str) -> Path:
    """The folder of a root. Raises CalledProcessError with what debootstrap or apt said."""
    root = _place(kind)
    if root.exists():
        return root
    cache = root.parent
    cache.mkdir(parents=True, exist_ok=True)
    base = None if kind == "init" else make_root("init")
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            making = cache / "making"
            if making.exists():
                shutil.rmtree(making)
            if base is None:
                _run("debootstrap", "--variant=minbase", SUITE, str(making), _mirror())
            else:
                _run("cp", "-a", str(base), str(making))
            _install(making, PACKAGES[kind])
            making.rename(root)
    return root


def _place(kind: str) -> Path:
    recipe = hashlib.sha256(" ".join((FORMAT, SUITE, *PACKAGES[kind])).encode()).hexdigest()
    cache = Path(os.environ.get("JEFEOS_ROOTS") or Path.home() / ".cache" / "jefeos-roots")
    return cache / f"debian-{kind}-{recipe[:8]}"


def _install(root: Path, packages: Sequence[str]) -> None:
    for name in _OF_THE_HOST:
        here = Path("/") / name
        if here.is_dir():
            shutil.copytree(here, root / name, dirs_exist_ok=True)
        elif here.exists():
            shutil.copy(here, root / name)
    inside = ("chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service starts while it is installed
    policy.chmod(0o755)
    _run(*inside, "apt-get", "update", "-qq")
    _run(*inside, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    _run(*inside, "passwd", "-d", "root")
    policy.unlink()
    for name in _LEFT_OUT:
        left = root / name
        if left.is_dir():
            shutil.rmtree(left)
            left.mkdir()
        else:
            left.unlink(missing_ok=True)
    for name in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):
        (root / name).mkdir(parents=True)
    (root / "etc/hostname").write_text("debian\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost debian\n")


def _mirror() -> str:
    """The mirror that the host's apt uses for Debian itself."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for address in re.findall(r"^(?:deb\s|URIs:).*?(\w+:/\S+)", path.read_text(), re.MULTILINE):
            if re.search(r"/debian/?$", address):
                return str(address)
    return ""


def _run(*command: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=_TIMEOUT_S, check=True,
    )  # fmt: skip


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        try:
            print(make_root(wanted))
        except subprocess.CalledProcessError as error:
            sys.exit(f"{error}\n{error.stdout[-2000:]}")
