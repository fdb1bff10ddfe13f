"""`jefeos` in front of a person: line editing, job control, full-screen programs, window changes, nested terminals."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if sys.platform != "linux" or not shutil.which("busybox"):
    pytest.skip("needs a Linux host with busybox, whose programs are run", allow_module_level=True)

from expect import Terminal

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
# Says when it runs, and when it goes on: a key before that would be the shell's, which edits its line in raw mode.
# No command of its own (sleep): a ^Z between dash's vfork and the exec stops the child alone, on Linux too.
LONG_COMMAND = "sh -c 'trap \"echo goes on\" CONT; echo started; while :; do :; done'\r"
SHELL = ("run", "--root", "/", "--env", "PS1=ready# ", "--env", "HISTFILE=", BUSYBOX, "sh")


def test_shell_with_job_control_and_exit_status() -> None:
    with Terminal(*SHELL) as terminal:
        terminal.expect("ready# ")
        terminal.type("tty; stty size; echo $((6*7)))\x7f\r")
        assert "/dev/console\r\n30 100\r\n42\r\n" in terminal.expect("42\r\nready# ") + "42\r\n"
        terminal.type(LONG_COMMAND)
        terminal.expect("\nstarted")
        terminal.type("\x03")
        terminal.expect("ready# ")
        terminal.type(LONG_COMMAND)
        terminal.expect("\nstarted")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("ready# ")
        terminal.type("trap 'echo stopped it' INT; fg; echo gone\r")
        terminal.expect("\ngoes on")
        terminal.type("\x03")
        terminal.expect("gone\r\n")
        terminal.expect("ready# ")
        terminal.type("echo started; cat\r")
        terminal.expect("\nstarted")
        terminal.type("abd\x7fc\r\x04")
        terminal.expect("abd\b \bc\r\nabc\r\n")
        terminal.expect("ready# ")
        terminal.type("exit 7\r")
        assert terminal.wait() == 7
        assert terminal.settings_restored


def test_background_job_may_not_read() -> None:
    with Terminal(*SHELL) as terminal:
        terminal.expect("ready# ")
        terminal.type("cat &\r")
        terminal.expect("ready# ")
        terminal.type("until jobs >/tmp/jobs; grep Stopped /tmp/jobs; do sleep 0.1; done\r")
        terminal.expect("Stopped (tty input)")
        terminal.type("kill -9 %1; exit 4\r")
        terminal.expect("exit 4\r\n")
        terminal.type("exit 4\r")  # some shells warn of the stopped job first
        assert terminal.wait() == 4


def test_window_change() -> None:
    with Terminal(*SHELL) as terminal:
        terminal.expect("ready# ")
        terminal.type("""sh -c 'trap "stty size; exit 0" WINCH; echo started; while :; do sleep 0.1; done'\r""")
        terminal.expect("\nstarted")
        terminal.resize(44, 111)
        terminal.expect("44 111")
        terminal.type("exit\r")
        terminal.wait()


def test_full_screen_editor(tmp_path: Path) -> None:
    target = tmp_path / "written"
    target.write_text("old\n")
    with Terminal("run", "--root", "/", "--mount", f"{tmp_path}:/mnt:rw", BUSYBOX, "vi", "/mnt/written") as terminal:
        terminal.expect("old")
        terminal.type("cwnew text")
        terminal.expect("I /mnt/written")
        terminal.type("\x1b")
        terminal.expect("- /mnt/written")
        terminal.type(":wq\r")
        assert terminal.wait() == 0
    assert target.read_text() == "new text\n"


@pytest.mark.skipif(not shutil.which("top"), reason="no procps on this host")
def test_procps_top_until_q() -> None:
    with Terminal("run", "--root", "/", shutil.which("top") or "top") as terminal:
        terminal.expect("load average")
        terminal.expect("COMMAND")
        terminal.expect("top")
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.settings_restored


@pytest.mark.skipif(not shutil.which("script"), reason="no script(1) on this host")
def test_nested_terminal() -> None:
    with Terminal("run", "--root", "/", "script", "-q", "-c", "tty; exit 3", "-e", "/dev/null") as terminal:
        terminal.expect("/dev/pts/0\r\n")
        assert terminal.wait() == 3
        assert terminal.settings_restored


def test_output_redirected_input_from_the_terminal(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, Terminal("run", "--root", "/", BUSYBOX, "cat", stdout=out) as terminal:
        terminal.wait_until_raw()
        terminal.type("typed\r\x04")
        assert terminal.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"typed\n"
    assert b"typed\r\n" in terminal.screen  # the echo


def test_terminated_from_outside_restores_the_terminal() -> None:
    with Terminal(*SHELL) as terminal:
        terminal.expect("ready# ")
        os.kill(terminal.child.pid, signal.SIGTERM)
        assert terminal.wait() in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert terminal.settings_restored


def test_hang_up_ends_the_system() -> None:
    terminal = Terminal(*SHELL)
    terminal.expect("ready# ")
    os.close(terminal.master)
    os.close(terminal.slave)
    try:
        assert terminal.child.wait(timeout=90) is not None
    finally:
        terminal.child.kill()
        terminal.child.wait()
