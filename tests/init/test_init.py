"""Distributions boot through their own init: to a login, with respawn, shutdown, restart, and init's own end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))

if sys.platform != "linux":
    pytest.skip("needs ptys of a Linux host", allow_module_level=True)

from expect import Terminal
from journeys import JOURNEYS, PROMPT
from roots import alpine_roots

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def roots(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The roots that the journeys take, by what they are called there."""
    return alpine_roots(alpine_root, tmp_path_factory.mktemp("roots"))


@pytest.mark.parametrize("name", JOURNEYS)
def test_journey(roots: dict[str, str], name: str) -> None:
    root, journey = JOURNEYS[name]
    journey(roots[root])


def jefeos(*arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jefeos", *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("exit 7", 7, "kernel panic: init (pid 1, /bin/sh) ended with status 7"),
        ("kill -SEGV $$; echo alive; exec /bin/false", 1, "kernel panic: init (pid 1, /bin/false) ended with status 1"),
        ("sleep 100 & poweroff -f", 0, "jefeos: power down"),
        ("halt -f", 0, "jefeos: system halted"),
    ],
)
def test_how_the_system_ends(alpine_root: str, script: str, status: int, words: str) -> None:
    done = jefeos("boot", "--root", alpine_root, "--init", "/bin/sh", script=script + "\n")
    assert (done.returncode, words in done.stderr) == (status, True), done


SYSTEM_TOOLS = r"""
exec 2>&1
apk --version; apk info -e musl; top -b -n1 | grep -c '[P]ID'; ps -o comm | grep -cx ps
adduser -D bob; su bob -c 'id -un; cd; pwd'; echo bob:secret | chpasswd
cd /tmp; mkdir m n
for kind in tmpfs proc sysfs devpts; do mount -t $kind none m && grep -c "/tmp/m $kind" /proc/mounts; umount m; done
mount -t sysfs none /sys 2>&1 | grep -c busy
mount -t tmpfs none m; touch m/moved; mount --move m n; ls n; umount n
hostname one; unshare -u sh -c 'hostname two; hostname; cat /proc/sys/kernel/hostname'; hostname
echo '<3>from a program' >/dev/kmsg; dmesg -r | tail -1 | sed 's/\[.*\]/[]/'
dmesg | grep -c 'JefeOS'; dmesg -c >m.log; dmesg | wc -l
sysctl -w vm.swappiness=7
mount -t tmpfs none n; cd n; mkdir bin lib old proc; cp /bin/busybox bin; cp /lib/ld-musl* lib; cd ..
chroot n /bin/busybox ls /
cd n; pivot_root . old; /bin/busybox ls / ; /bin/busybox ls -d /old/etc; /bin/busybox umount /old/proc && echo end
"""
SYSTEM_TOOLS_SAY = """\
apk-tools 2.14.4, compiled for x86_64.
musl
1
1
bob
/home/bob
chpasswd: password for 'bob' changed
1
1
1
1
1
moved
two
two
one
<11>[] from a program
1
0
vm.swappiness = 7
bin
lib
old
proc
bin
lib
old
proc
/old/etc
end
"""


def test_system_tools(alpine_root: str) -> None:
    done = jefeos("boot", "--root", alpine_root, script=SYSTEM_TOOLS)
    assert done.stdout == SYSTEM_TOOLS_SAY
    assert done.returncode == 0, done.stderr


def test_vi_saves_a_file(alpine_root: str) -> None:
    with Terminal("boot", "--root", alpine_root) as terminal:
        terminal.expect(PROMPT)
        terminal.type("vi /tmp/note\r")
        terminal.expect("- /tmp/note")
        terminal.type("ione two")
        terminal.expect("I /tmp/note")
        terminal.type("\x1b")
        terminal.expect("- /tmp/note")  # only now: what follows an escape within 50 ms is taken as part of a key
        terminal.type(":wq\r")
        terminal.expect(PROMPT)
        terminal.type("sed s/one/three/ /tmp/note; exit\r")
        terminal.expect("three two")
        assert terminal.wait() == 0
