"""A program of the host inside of a Debian root, as the oracle: by chroot, in namespaces of its own, over the root.

::

    overlay: lower = the kept root (only read), upper = a folder of the test      /proc  of a new pid namespace
                                                                                  /dev   tmpfs with the usual nodes
What is written goes to the test's folder and away with it; processes that are left end with the namespace.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

#: Runs as pid 1 of the namespaces with the arguments ROOT FOLDER SCRIPT.
_ENTER: Final = """
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" || exit 125
cd "$2/root" || exit 125
mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount -t tmpfs tmpfs dev
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7; mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0; mkdir dev/pts dev/shm; ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd; for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "dev/${n#*:}"; done
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts; mount -t tmpfs -o mode=1777 tmpfs dev/shm
exec chroot . /bin/bash -c "$3"
"""


@frozen
class Outcome:
    """What a script wrote, and its status as a shell has it."""

    stdout: str
    stderr: str
    status: int


def on_the_host(script: str, root: str, folder: Path, environment: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run it in the root. Raises TimeoutExpired; OSError where the host has no overlay filesystem."""
    inner = ["setsid", "-w", "sh", "-c", _ENTER, "sh", root, str(folder), script]
    command = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", *inner]
    done = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
    )
    if done.returncode == 125:
        raise OSError(done.stderr.decode(errors="replace"))
    return Outcome(_text(done.stdout), _text(done.stderr), done.returncode)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "surrogateescape")
