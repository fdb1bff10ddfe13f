"""``jefeos run`` and ``jefeos boot`` as processes: statuses, streams, folders, signals, the terminal."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from jefeos.testing.programs import MOV_EDI, call, elf, exits, kills_itself

JEFEOS = [sys.executable, "-m", "jefeos"]
SYS_WRITE = 1
#: push '!'; mov rsi, rsp; mov edx, 1; write(1, …); jmp .
SAYS_IT_SPINS = elf(
    b"\x6a!\x48\x89\xe6\xba\x01\0\0\0" + MOV_EDI + b"\x01\0\0\0" + call(SYS_WRITE) + b"\xeb\xfe"
)


def jefeos(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*JEFEOS, *arguments], input=stdin, capture_output=True, timeout=200, cwd=cwd)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[bytes, str], str]:
    """``program(image, name)``: an executable file of the host."""

    def make(image: bytes, name: str = "program") -> str:
        path = tmp_path / name
        path.write_bytes(image)
        path.chmod(0o755)
        return str(path)

    return make


@pytest.mark.parametrize("status", [0, 1, 42, 126, 255])
def test_exit_status(program: Callable[..., str], status: int) -> None:
    assert jefeos("run", program(exits(status))).returncode == status


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal_is_128_and_its_number(program: Callable[..., str], signo: int) -> None:
    assert jefeos("run", program(kills_itself(signo))).returncode == 128 + signo


def test_a_crash_is_told_in_one_line(program: Callable[..., str]) -> None:
    wild = program(elf(b"\xa1" + (0x123456789).to_bytes(8, "little")))  # movabs eax, [0x123456789]
    done = jefeos("run", wild)
    line = f"jefeos: {wild}: killed by SIGSEGV at address 0x123456789\n"
    assert (done.returncode, done.stderr.decode()) == (139, line)


def test_not_found_is_127(tmp_path: Path) -> None:
    done = jefeos("run", "--root", str(tmp_path), "/none")
    assert (done.returncode, done.stderr) == (127, b"jefeos: /none: not found\n")
    done = jefeos("run", "none")
    assert done.returncode == 127
    assert b"built-in system" in done.stderr


def test_not_runnable_is_126(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no program")
    (tmp_path / "text").chmod(0o644)
    (tmp_path / "junk").write_bytes(b"\x7fELFjunk")
    (tmp_path / "junk").chmod(0o755)
    denied = jefeos("run", "--root", str(tmp_path), "/text")
    assert (denied.returncode, denied.stderr) == (126, b"jefeos: /text: permission denied\n")
    junk = jefeos("run", "--root", str(tmp_path), "/junk")
    assert (junk.returncode, junk.stderr) == (126, b"jefeos: /junk: not a program that this system can run\n")
    folder = jefeos("run", "--root", str(tmp_path), "/")
    assert folder.returncode == 126


def test_a_folder_root_is_not_changed_unless_rw(program: Callable[..., str], tmp_path: Path) -> None:
    program(exits(0))
    before = {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]}
    assert jefeos("run", "--root", str(tmp_path), "/program").returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]} == before


def test_a_relative_program_is_found_from_the_working_folder(program: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    os.rename(program(exits(9)), folder / "p")
    assert jefeos("run", "--root", str(tmp_path), "./p", cwd=folder).returncode == 9
    assert jefeos("run", "./p", cwd=folder).returncode == 9
    assert jefeos("run", "--root", str(folder), "/p", cwd=tmp_path).returncode == 9


def test_boot_runs_init_and_passes_its_status_on(program: Callable[..., str], tmp_path: Path) -> None:
    os.rename(program(exits(3)), tmp_path / "init")
    assert jefeos("boot", "--root", str(tmp_path)).returncode == 3
    program(exits(4), "other")
    assert jefeos("boot", "--root", str(tmp_path), "--init", "/other").returncode == 4


def test_a_root_without_a_first_program(tmp_path: Path) -> None:
    done = jefeos("boot", "--root", str(tmp_path))
    assert done.returncode == 125
    assert done.stderr.endswith(b"has neither /init nor /bin/sh: say --init PROG\n")


@pytest.mark.parametrize("root", ["/does/not/exist", __file__])
def test_a_root_that_cannot_be_mounted(root: str) -> None:
    done = jefeos("boot", "--root", root)
    assert done.returncode == 125
    assert done.stderr.startswith(b"jefeos: " + root.encode())
    assert done.stderr.count(b"\n") == 1


def test_stats_count_calls_and_name_the_unknown(program: Callable[..., str]) -> None:
    done = jefeos("run", "--stats", program(kills_itself(0)))
    assert done.returncode == 0
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("jefeos: 3 system calls, 1 processes")
    assert sorted(line.split() for line in lines[1:]) == [["1", "exit"], ["1", "getpid"], ["1", "kill"]]


def test_trace_to_standard_error_and_to_a_file(program: Callable[..., str], tmp_path: Path) -> None:
    path = program(exits(6))
    traced = jefeos("run", "--trace", path)
    assert traced.returncode == 6
    assert b"exit(6)" in traced.stderr
    assert b"+++ exited with 6 +++" in traced.stderr
    file = tmp_path / "trace.txt"
    quiet = jefeos("run", "--trace-file", str(file), path)
    assert (quiet.returncode, quiet.stderr) == (6, b"")
    assert "exit(6)" in file.read_text()
    assert jefeos("run", "--trace-file", str(tmp_path / "no" / "where"), path).returncode == 125


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("signo", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_hosts_signals_end_a_spinning_program(program: Callable[..., str], signo: int, status: int) -> None:
    process = subprocess.Popen(
        [*JEFEOS, "run", program(SAYS_IT_SPINS)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs inherit it ignored
    )
    try:
        assert process.stdout is not None and process.stdout.read(1) == b"!"
        process.send_signal(signo)
        _, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert (process.returncode, errors) == (status, b"")


def test_a_closed_reader_of_our_output(program: Callable[..., str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*JEFEOS, "plugins", "list"], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode in (1, 141), done.stderr) == (True, b"")  # typer says 1


# --- with real programs ------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_alpine_script_on_standard_input(alpine_root: str) -> None:
    done = jefeos("boot", "--root", alpine_root, stdin=b"cat /etc/alpine-release\nls / | wc -l\nexit 7\n")
    assert (done.returncode, done.stderr) == (7, b"")
    release, count = done.stdout.split()
    assert release == b"3.20.3"
    assert int(count) >= 17


@pytest.mark.peer
def test_programs_get_their_options_untouched(alpine_root: str) -> None:
    done = jefeos("run", "--root", alpine_root, "/bin/echo", "--root", "-h", "--", "--help", "")
    assert done.stdout == b"--root -h -- --help \n"


@pytest.mark.peer
def test_environment_and_streams(alpine_root: str) -> None:
    script = 'echo "$GREETING"; cat; echo err >&2'
    done = jefeos("run", "--root", alpine_root, "--env", "GREETING=a=b", "/bin/sh", "-c", script, stdin=b"in\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"a=b\nin\n", b"err\n", 0)


@pytest.mark.peer
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_the_console_on_a_terminal(alpine_root: str) -> None:
    child = pexpect.spawn(JEFEOS[0], [*JEFEOS[1:], "boot", "--root", alpine_root], timeout=100, dimensions=(31, 99))
    child.expect(b"# ")
    child.sendline(b"stty size; tty")
    child.expect(b"31 99\r\n/dev/console\r\n")
    child.sendline(b"(echo started; exec sleep 1000)")  # in the foreground already: a ^C before that is the shell's
    child.expect(b"\nstarted")
    child.sendintr()
    child.expect(b"# ")
    child.sendline(b"echo status=$?")
    child.expect(b"status=130")
    child.sendline(b"(echo again; exec sleep 1001)")
    child.expect(b"\nagain")
    child.send(b"\x1a")
    child.expect(b"Stopped")
    child.sendline(b"kill -9 %1; wait; echo cooked; cat")  # what comes before that is edited by the shell
    child.expect(b"\ncooked")
    child.send(b"abx\x7fc\r")
    child.expect(b"\nabc\r\n")
    child.setwinsize(50, 120)
    child.send(b"\x04")
    child.expect(b"# ")
    child.sendline(b"stty size; exit 5")
    child.expect(b"50 120")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 5


@pytest.mark.peer
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_the_terminal_is_given_back(alpine_root: str, tmp_path: Path) -> None:
    """The settings after the run are those of before, also when the run was terminated."""
    script = tmp_path / "both.sh"
    run = " ".join([*JEFEOS, "boot", "--root", alpine_root])
    script.write_text(
        f"stty -a > {tmp_path}/before\n{run}\nstty -a > {tmp_path}/after\n"
        f"sh -c 'echo $$ > {tmp_path}/pid; exec {run}'; echo ended=$?\nstty -a > {tmp_path}/killed\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    child = pexpect.spawn("/bin/sh", [str(script)], timeout=100, dimensions=(24, 80))
    child.expect(b"# ")
    child.sendline(b"exit")
    child.expect(b"# ")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    child.expect(b"ended=143")
    child.expect(pexpect.EOF)
    child.wait()
    before = (tmp_path / "before").read_bytes()
    assert b"icanon" in before
    assert (tmp_path / "after").read_bytes() == before
    assert (tmp_path / "killed").read_bytes() == before


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_standard_stream_is_no_file_of_jefeos(number: int) -> None:
    """Without this, descriptor 0 was the kernel's own epoll: ``jefeos run cat <&-`` hung."""
    words = ["cat"] if number == 0 else ["echo", "hi"]
    command = [sys.executable, "-c", f"import os, sys; os.close({number}); os.execv(sys.argv[1], sys.argv[1:])"]
    done = subprocess.run([*command, *JEFEOS, "run", *words], capture_output=True, timeout=100)
    assert done.returncode == (1 if number == 1 else 0)
    assert done.stderr == (b"echo: Bad file descriptor\n" if number == 1 else b"")
    assert done.stdout == (b"hi\n" if number == 2 else b"")
    listing = subprocess.run([*command, *JEFEOS, "plugins", "list"], capture_output=True, timeout=100)
    assert (listing.returncode, listing.stderr) == (0, b"")
