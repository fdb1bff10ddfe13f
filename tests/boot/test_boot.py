"""`jefeos boot` and `jefeos run` with real roots: the acceptance commands, init, mounts, roots, statuses, observers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.testing.programs import exits, kills_itself

JEFEOS = [sys.executable, "-m", "jefeos"]


def jefeos(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*JEFEOS, *map(str, arguments)], input=stdin, capture_output=True, timeout=200)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Names, modes, times and contents under a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"%o" % path.lstat().st_mode,
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


# --- the acceptance command ---------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize("options", [(), ("--virtual-time", "--seed", "3"), ("--scheduler", "fair"), ("--ram", "64M")])
def test_alpine_runs_the_lines_that_it_is_given(alpine_root: str, options: tuple[str, ...]) -> None:
    lines = b"cat /etc/alpine-release\nls / | wc -l\nexit 7\n"
    done = jefeos("boot", "--root", alpine_root, *options, stdin=lines)
    assert (done.stdout, done.stderr, done.returncode) == (b"3.20.3\n17\n", b"", 7)


def test_the_built_in_root_runs_lines_too() -> None:
    lines = b"echo one | cat\nls / | wc -l\nmkdir /tmp/d && cd /tmp/d && pwd\nfalse\nexit 7\necho never\n"
    done = jefeos("boot", stdin=lines)
    assert (done.stderr, done.returncode) == (b"", 7)
    first, count, folder = done.stdout.split(b"\n")[:3]
    assert (first, folder) == (b"one", b"/tmp/d")
    assert int(count) >= 8


@pytest.mark.parametrize(("lines", "status"), [(b"", 0), (b"true\n", 0), (b"false\n", 1), (b"no-such-command\n", 127)])
def test_the_last_status_at_the_end_of_input(lines: bytes, status: int) -> None:
    done = jefeos("boot", stdin=lines)
    assert (done.stdout, done.returncode) == (b"", status)


def test_a_boot_imports_no_applet() -> None:
    script = (
        "import sys, jefeos\n"
        "system = jefeos.boot(net='user')\n"
        "applets = system.kernel.applets\n"
        "print({applet.place for applet in applets.values() if applet.place.partition(':')[0] in sys.modules})\n"
        "print({name for name, applet in applets.items() if not callable(applet.load())})\n"
        "print({'jsh', 'ls', 'ping', 'dhcp', 'nslookup'} - set(applets))\n"
        "system.shutdown()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=200)
    assert (done.stdout, done.stderr) == (b"set()\n" * 3, b"")


def test_a_boot_without_a_network_imports_none() -> None:
    script = (
        "import sys, jefeos\n"
        "system = jefeos.boot(root='/')\n"
        "early = {name for name in sys.modules if name.startswith('jefeos_net_') and '.' in name}\n"
        "print({name for name in early if not name.endswith('.plugin')}, 'jefeos.net.stack' in sys.modules)\n"
        "system.shutdown()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=200)
    assert (done.stdout, done.stderr) == (b"set() False\n", b"")


# --- init, mounts, roots ------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_init_is_pid_1_and_adopts_orphans(alpine_root: str, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_text(
        "#!/bin/sh\necho init is $$\n"
        "(sh -c 'until grep \"PPid:.1$\" /proc/$$/status; do sleep 0.1; done; touch /tmp/seen' &)\n"
        "until test -e /tmp/seen; do sleep 0.1; done\n"
        "kill -9 1\necho survived\nexit 3\n"
    )
    init.chmod(0o755)
    done = jefeos("boot", "--root", alpine_root, "--mount", f"{tmp_path}:/mnt", "--init", "/mnt/init")
    assert done.stdout.startswith(b"init is 1\nPPid:\t1\n")
    assert done.stdout.endswith(b"\nsurvived\n")
    assert done.returncode == 3
    assert done.stderr == b"" or done.stderr.startswith(b"jefeos: kernel panic: init (pid 1")


@pytest.mark.peer
def test_a_missing_init(alpine_root: str) -> None:
    done = jefeos("boot", "--root", alpine_root, "--init", "/no/init")
    assert done.returncode in (125, 127)
    assert done.stderr.count(b"\n") == 1
    assert b"/no/init" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.peer
@pytest.mark.parametrize("writable", [False, True])
def test_mounts(alpine_root: str, tmp_path: Path, writable: bool) -> None:
    (tmp_path / "from-the-host").write_text("hello\n")
    before = snapshot(tmp_path)
    script = "cd /data/deep; cat from-the-host; echo guest > made; cat made; rm from-the-host; ls"
    suffix = ":rw" if writable else ""
    done = jefeos("run", "--root", alpine_root, "--mount", f"{tmp_path}:/data/deep{suffix}", "/bin/sh", "-c", script)
    assert done.stdout == b"hello\nguest\nmade\n"  # read-only folders take writes in memory
    if writable:
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
        assert (tmp_path / "made").read_bytes() == b"guest\n"
    else:
        assert snapshot(tmp_path) == before


@pytest.mark.peer
@pytest.mark.parametrize("writable", [False, True])
def test_a_folder_as_root(host_program: Callable[[str], str], tmp_path: Path, writable: bool) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "busybox").write_bytes(Path(host_program("busybox")).read_bytes())
    (root / "bin" / "busybox").chmod(0o755)
    (root / "file").write_text("old\n")
    before = snapshot(root)
    script = "cat /file; echo new > /file; mkdir /d; echo x > /d/f; rm /file; mv /d /e; ls /; ls /proc/1 >&2 && echo p"
    done = jefeos("run", "--root", f"{root}{':rw' if writable else ''}", "/bin/busybox", "sh", "-c", script)
    words = done.stdout.split()
    assert words[0] == b"old" and words[-1] == b"p" and b"e" in words and b"file" not in words
    if writable:
        assert not (root / "file").exists()
        assert (root / "e" / "f").read_bytes() == b"x\n"
    else:
        assert snapshot(root) == before


# --- what run passes on -------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_every_exit_status_of_a_child(alpine_root: str) -> None:
    """One boot, all 256: what a shell in the guest sees."""
    script = "i=0; while [ $i -lt 256 ]; do (exit $i); [ $? = $i ] || echo wrong $i; i=$((i+1)); done; exit 255"
    done = jefeos("run", "--root", alpine_root, "/bin/sh", "-c", script)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 255)


@pytest.mark.parametrize("status", [0, 1, 2, 125, 126, 127, 128, 255, 256])
def test_exit_statuses_on_the_host(tmp_path: Path, status: int) -> None:
    program = tmp_path / "program"
    program.write_bytes(exits(status))
    program.chmod(0o755)
    assert jefeos("run", program).returncode == status & 0xFF


@pytest.mark.parametrize("signo", [1, 2, 3, 6, 9, 13, 14, 15, 33, 64])
def test_signals_on_the_host(tmp_path: Path, signo: int) -> None:
    program = tmp_path / "program"
    program.write_bytes(kills_itself(signo))
    program.chmod(0o755)
    done = jefeos("run", program)
    dumps = signo in (signal.SIGQUIT, signal.SIGABRT)
    line = f"jefeos: {program}: killed by {signal.Signals(signo).name}\n" if dumps else ""
    assert (done.returncode, done.stderr.decode()) == (128 + signo, line)


# --- observers ----------------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_trace_and_stats_of_a_real_program(alpine_root: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    script = "echo hi | cat; exit 4"
    done = jefeos("run", "--root", alpine_root, "--stats", "--trace-file", trace, "/bin/sh", "-c", script)
    assert (done.stdout, done.returncode) == (b"hi\n", 4)
    text = trace.read_text()
    for wanted in ('execve("/bin/cat"', 'write(1, "hi\\n", 3)', "pipe", "exit_group(4)", "+++ exited with 4 +++"):
        assert wanted in text
    assert "[pid " in text
    statistics = done.stderr.decode().splitlines()
    assert " system calls, " in statistics[0]
    counts = {words[1]: int(words[0]) for words in map(str.split, statistics[1:]) if len(words) == 2}
    assert counts["execve"] >= 1 and counts["exit_group"] == 3


@pytest.mark.peer
def test_virtual_time_repeats_a_traced_run(alpine_root: str, tmp_path: Path) -> None:
    """One seed: the same trace, addresses and times included. Another seed: other addresses, the same output."""
    script = "date; for i in 1 2 3; do (sleep 0.$i; echo $i $$) & done; "
    script += "head -c 8 /dev/urandom | od -x; sleep 1000; wait"
    runs = []
    for number, seed in enumerate((5, 5, 6)):
        trace = tmp_path / f"trace{number}"
        options = ("--virtual-time", "--seed", seed, "--trace-file", trace)
        done = jefeos("run", "--root", alpine_root, *options, "/bin/sh", "-c", script)
        assert (done.returncode, done.stderr) == (0, b"")
        runs.append((done.stdout, trace.read_text()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert runs[0][1] != runs[2][1]


@pytest.mark.peer
def test_alarms_in_virtual_time_come_in_order(host_program: Callable[[str], str]) -> None:
    script = (
        "$SIG{ALRM} = sub { print 'alarm '; alarm 100 if $n++ < 2 }; $| = 1; alarm 100;"
        "for (1..5) { my $slept = sleep 70; print \"$slept \" }"
    )
    done = jefeos("run", "--root", "/", "--virtual-time", host_program("perl"), "-e", script)
    assert (done.stdout, done.returncode) == (b"70 alarm 30 70 alarm 30 70 ", 0)
