"""Distributions boot through their own init: to a login, with respawn, shutdown, restart, and init's own end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))

if sys.platform != "linux":
    pytest.skip("needs ptys of a Linux host", allow_module_level=True)

import expect
from expect import Terminal
from roots import ASKING_INITTAB, INITTAB, alpine_with, make_debian

pytestmark = pytest.mark.peer
PROMPT = "# \x1b[6n"


@pytest.fixture(scope="module")
def root(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return alpine_with(alpine_root, tmp_path_factory.mktemp("root"), {"etc/inittab": INITTAB})


@pytest.fixture(scope="module")
def asking_root(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return alpine_with(alpine_root, tmp_path_factory.mktemp("asking"), {"etc/inittab": ASKING_INITTAB})


def boot(root: str, *options: str) -> Terminal:
    return Terminal("boot", "--root", root, "--init", "/sbin/init", *options)


def log_in(terminal: Terminal) -> None:
    terminal.expect("login: ")
    terminal.type("root\r")
    terminal.expect(PROMPT)


def test_login_respawn_orphans_and_poweroff(root: str) -> None:
    with boot(root) as terminal:
        assert "sysinit-ran\r\n" in terminal.expect("wait-ran")
        log_in(terminal)
        terminal.type("tty; ps -o pid,ppid,comm; exit\r")
        shown = terminal.expect("login: ")
        assert "/dev/console" in shown
        assert "1     0 init" in shown
        terminal.type("root\r")  # getty came back
        terminal.expect(PROMPT)
        # A child that outlives its parent becomes init's, and init reaps it.
        terminal.type("(sh -c 'sleep 1; exit 3' & echo $! >/tmp/pid)\r")
        terminal.expect(PROMPT)
        terminal.type('ps -o pid,ppid | grep " $(cat /tmp/pid) "\r')
        terminal.expect(" 1\r\n")
        terminal.type("sleep 1.2; test -e /proc/$(cat /tmp/pid) && echo left || echo reaped\r")
        terminal.expect("\nreaped")
        terminal.type("poweroff\r")
        terminal.expect("shutdown-ran")
        terminal.expect("SIGKILL to all processes")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0
        assert terminal.settings_restored


def test_askfirst_job_control_and_restart(asking_root: str) -> None:
    with boot(asking_root) as terminal:
        terminal.expect("activate this console.")
        terminal.type("\x03\r")  # nobody's interrupt: init leads no session on the console
        terminal.expect(PROMPT)
        terminal.type("sh -c 'echo started; exec sleep 100'\r")
        terminal.expect("\nstarted")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("reboot\r")
        terminal.expect("jefeos: restarting")
        terminal.expect("activate this console.")
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type("halt -f\r")
        terminal.expect("jefeos: system halted")
        assert terminal.wait() == 0


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_signals_to_init_restart(asking_root: str, signal: str) -> None:
    with boot(asking_root, "--no-reboot") as terminal:
        terminal.expect("activate this console.")
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type(f"kill -KILL 1; kill -STOP 1; kill -{signal} 1\r")
        terminal.expect("system reboot")
        terminal.expect("restart asked for, not done")
        assert terminal.wait() == 0


def test_the_archive_as_it_is_comes_to_its_login(alpine_root: str) -> None:
    with boot(alpine_root) as terminal:
        assert "/sbin/openrc" in terminal.expect("(/dev/tty1)")  # named by its inittab, not in the archive
        terminal.expect("login: ")


def jefeos(*arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jefeos.cli", *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
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
        terminal.type("ione two\x1b")
        time.sleep(0.3)  # vi takes what follows an escape within 50 ms as part of a key
        terminal.type(":wq\r")
        terminal.expect(PROMPT)
        terminal.type("sed s/one/three/ /tmp/note; exit\r")
        terminal.expect("three two")
        assert terminal.wait() == 0


@pytest.mark.long
def test_debian_boots_through_sysvinit_and_openrc(
    host_program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expect, "PATIENCE_S", 120.0)
    with boot(make_debian(host_program("debootstrap"), tmp_path / "debian")) as terminal:
        terminal.expect("INIT: version")
        terminal.expect("OpenRC")
        terminal.expect("Entering runlevel: 2")
        terminal.expect("login: ")
        terminal.type("root\r")
        terminal.expect(":~# ")
        terminal.type("runlevel; python3 -c 'print(6*7)'; rc-status | grep -c started\r")
        terminal.expect("N 2\r\n42\r\n3\r\n")
        terminal.type("poweroff\r")
        terminal.expect("INIT: Switching to runlevel: 0")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0
