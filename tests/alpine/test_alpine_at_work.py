"""Alpine in use: processes listed, an editor at a terminal, cryptography, and (when there is AF_INET) a download.

The screen of vi is compared with what the same vi shows on the host, step by step. Alpine's small root has no
``openssl`` command: its library is put to work by a program linked with it, and the command is Debian's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))
from alpine import on_jefeos, on_the_host, unpack

if sys.platform != "linux":
    pytest.skip("needs ptys of a Linux host", allow_module_level=True)

from screens import Screen

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot on the host needs root"),
]

JEFEOS = [sys.executable, "-m", "jefeos"]
NOTE = "/tmp/note"
#: Keys, and what is new on the screen after them.
EDITING = [
    ("", "- /tmp/note 1/1 100%"),
    ("ifirst line\rsecond line\rthird\x1b", "[Modified] 3/3"),
    ("1Gyyjp", "[Modified] 3/4"),
    (":%s/line/row/\r", "second row"),
    ("Gdd", "[Modified] 3/3"),
    ("u", "[Modified] 4/4"),
    ("1G/row\r", "[Modified] 1/4"),
    ("n", "[Modified] 2/4"),
    ("ggA\tend\x1b", "row       end"),
    ("3G", "[Modified] 3/4"),
    (":nosuch\r", "'nosuch' is not implemented"),
    (":w\r", "'/tmp/note' 4L, 41C"),
]

PROCESSES = r"""
sleep 100 & sleeping=$!; sh -c 'while :; do :; done' & busy=$!
until ps -o pid,stat,comm | grep -q "^ *$sleeping  *S  *sleep$"; do sleep 0.1; done
ps -o pid,ppid,user,stat,comm | grep -c "^ *$sleeping .* root  *S  *sleep$"
ps | grep -c "$sleeping root .* sleep 100$"
top -b -n1 > t
grep -c "^ *$sleeping .* root  *S .* sleep 100$" t; grep -c "^ *$busy .* root  *R " t
head -n 4 t; kill $sleeping $busy; wait
ps -o pid | grep -cE "^ *($sleeping|$busy)$"; pidof sleep; echo $?
"""

DOWNLOAD = r"""
ifconfig lo 127.0.0.1 up
printf '#!/bin/sh\nread line; printf "HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n"\n' > serve
chmod +x serve; nc -lk -p 8080 -e ./serve &
until grep -q :1F90 /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done
wget -q -O - http://127.0.0.1:8080/x; echo $?; kill $!
"""


@pytest.fixture(scope="module")
def unpacked(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(alpine_root, tmp_path_factory.mktemp("alpine"))


def test_ps_and_top_see_who_sleeps_and_who_is_busy(
    alpine_root: str, jefeos_boot: Callable[..., jefeos.System]
) -> None:
    done = on_jefeos(PROCESSES, jefeos_boot(root=alpine_root))
    lines = done.stdout.decode().splitlines()
    assert lines[:4] == ["1"] * 4, done
    assert re.fullmatch(r"Mem: [1-9]\d*K used, [1-9]\d*K free, \d+K shrd, \d+K buff, [1-9]\d*K cached", lines[4])
    assert re.fullmatch(r"CPU: +\d+% usr +\d+% sys +\d+% nic +\d+% idle +\d+% io +\d+% irq +\d+% sirq", lines[5])
    assert re.fullmatch(r"Load average: \d+\.\d\d \d+\.\d\d \d+\.\d\d \d+/\d+ \d+", lines[6])
    assert lines[7].split() == ["PID", "PPID", "USER", "STAT", "VSZ", "%VSZ", "CPU", "%CPU", "COMMAND"]
    assert lines[8:] == ["0", "1"]


def test_vi_shows_what_it_shows_on_the_host(alpine_root: str, unpacked: Path) -> None:
    commands = {
        "host": ["chroot", str(unpacked), "/usr/bin/vi", NOTE],
        "jefeos": [*JEFEOS, "run", "--root", alpine_root, "/usr/bin/vi", NOTE],
    }
    screens: dict[str, list[str]] = {}
    for side, command in commands.items():
        with Screen(command) as screen:
            screens[side] = [screen.press(keys, shows) for keys, shows in EDITING]
            screen.child.send(":q\r")
            assert screen.ends() == 0
    for (keys, _), host, ours in zip(EDITING, screens["host"], screens["jefeos"], strict=True):
        assert ours == host, f"after {keys!r}"
    assert screens["jefeos"][-1].startswith("first row       end\nsecond row\nfirst row\nthird\n~\n")


def test_alpines_openssl_library(
    alpine_root: str,
    unpacked: Path,
    host_program: Callable[[str], str],
    jefeos_boot: Callable[..., jefeos.System],
) -> None:
    program = unpacked / "usr" / "bin" / "digest"
    command = [host_program("musl-gcc"), "-O1", "-o", program, Path(__file__).parent / "digest.c"]
    command += [unpacked / "lib" / "libcrypto.so.3", "-Wl,--allow-shlib-undefined"]
    subprocess.run(command, check=True, timeout=60)
    host = on_the_host("digest MD5 SHA256 SHA3-512 BLAKE2b512", unpacked)
    assert host.stdout.startswith(b"OpenSSL 3.3.2 ") and host.status == 0
    system = jefeos_boot(root=alpine_root)
    system.write_file("/usr/bin/digest", program.read_bytes(), 0o755)
    assert on_jefeos("digest MD5 SHA256 SHA3-512 BLAKE2b512", system) == host


def test_openssl_measures_its_speed(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    command = [host_program("openssl"), "speed", "-seconds", "1", "-bytes", "1024", "sha256"]
    host = subprocess.run(command, capture_output=True, timeout=100, check=True)
    done = jefeos_boot(root="/").run(command, timeout=100)
    assert done.status == 0
    assert done.stdout.split(b"\n")[:2] == host.stdout.split(b"\n")[:2]  # version, and when it was built
    (speed,) = re.findall(rb"(?m)^sha256 +(\d+\.\d+)k$", done.stdout)
    assert float(speed) > 100
    (seconds,) = re.findall(rb"in (\d+\.\d+)s", done.stderr)  # processor time, by times(2)
    assert 0.01 < float(seconds) < 10  # a busy host leaves us little of the second, and may be late to end it


def test_wget_from_a_server_in_the_same_system(
    alpine_root: str, jefeos_boot: Callable[..., jefeos.System]
) -> None:
    done = on_jefeos(DOWNLOAD, jefeos_boot(root=alpine_root))
    assert done.stdout == b"hello\n0\n"
