"""A Debian's own programs do on JefeOS what they do on the host, in the root that debootstrap and apt made.

The host runs each script in the same root, by chroot over a layer of its own (`jail`). Outputs and statuses must be the
same to the byte, and the kernel must have lost nothing and reported no fault of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jefeos
import pytest
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from debian_cases import CASES
from debian_roots import debian_root
from jail import Outcome, on_the_host

pytestmark = [
    pytest.mark.peer,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "LC_ALL": "C.UTF-8",
    "TERM": "linux",
}
HOST_TIMEOUT_S = 120
TIMEOUT_S = 600


@pytest.mark.parametrize("name", CASES)
def test_same_as_on_the_host(name: str, tmp_path: Path) -> None:
    root = debian_root("work")
    script = f"hostname debian; umask 022; mkdir /tmp/w; cd /tmp/w\n{CASES[name]}"
    try:
        host = on_the_host(script, root, tmp_path, ENVIRONMENT, HOST_TIMEOUT_S)
    except OSError as error:
        pytest.skip(f"the host cannot lay a folder over the root: {error}")
    system = jefeos.boot(root=root, ram="1G", strict=True)
    try:
        done = system.run(["/bin/bash", "-c", script], env=ENVIRONMENT, timeout=TIMEOUT_S)
        ours = Outcome(os.fsdecode(done.stdout), os.fsdecode(done.stderr), done.status)
    finally:
        problems = finish(system)
    assert ours == host
    assert not problems, problems
