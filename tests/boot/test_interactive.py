"""Somebody at the console of a booted system: Alpine's ash and Debian's bash, editors, pagers, raw mode.

Every step waits for what the screen must show; a program says that it runs before a key is meant for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("runs the host's own programs", allow_module_level=True)

import pexpect

pytestmark = pytest.mark.peer

JEFEOS = [sys.executable, "-m", "jefeos"]
PROMPT = "ready# "
TIMEOUT_S = 90
# Says when it runs in the foreground: a key before that would be the shell's, which edits its line in raw mode.
# No command of its own (sleep): a ^Z between dash's vfork and the exec stops the child alone, on Linux too.
LONG = (
    "sh -c 'while read -r pid name state parent group session tty front rest < /proc/$$/stat; do "
    "test $front = $group && is=running || is=waiting; test \"$is\" = \"$was\" || echo $is; was=$is; done'\r"
)
RAW_MODE = r"""
import os, sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"raw\r\n")
keys = b""
while not keys.endswith(b"q"):
    keys += os.read(0, 16)
termios.tcsetattr(0, termios.TCSADRAIN, before)
print(sorted(set(keys)), termios.tcgetattr(0) == before)
"""


class Console:
    """`jefeos` on a pty of the host."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "TERM": "linux"}
        self.child: Any = pexpect.spawn(
            JEFEOS[0],
            [*JEFEOS[1:], *arguments],
            timeout=TIMEOUT_S,
            dimensions=(30, 100),
            env=environment,
            encoding="utf-8",
        )
        self.child.delaybeforesend = None

    def type(self, text: str) -> None:
        self.child.send(text)

    def expect(self, text: str) -> str:
        self.child.expect_exact(text)
        return str(self.child.before)

    def do(self, line: str, answer: str) -> None:
        """Type a line, see its answer on lines of its own, and the prompt again."""
        self.type(line + "\r")
        self.expect("\r\n" + answer)
        self.expect(PROMPT)

    def ends(self) -> int:
        """The exit status."""
        self.child.expect(pexpect.EOF)
        self.child.wait()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)


@pytest.fixture
def console() -> Iterator[Callable[..., Console]]:
    """``console(*arguments)``; whatever still runs is ended."""
    consoles: list[Console] = []

    def start(*arguments: str) -> Console:
        consoles.append(Console(*arguments))
        return consoles[-1]

    yield start
    for each in consoles:
        each.child.close(force=True)


@pytest.fixture(params=["ash", "bash"])
def shell(
    request: pytest.FixtureRequest,
    console: Callable[..., Console],
    alpine_root: str,
    host_program: Callable[[str], str],
) -> Console:
    """A booted system at its first prompt: Alpine's ash, or the host's bash."""
    if request.param == "ash":
        started = console("boot", "--root", alpine_root)
    else:
        started = console("boot", "--root", "/")  # an --init program has no controlling terminal, as on Linux
        started.expect("# ")
        started.type(f"exec {host_program('bash')} --norc\r")
        started.expect("--norc\r\n")
    started.expect("# ")
    settings = "bind 'set enable-bracketed-paste off'; unset HISTFILE; " if request.param == "bash" else ""
    started.type(settings + "PS1='ready'\"# \"\r")
    started.expect(PROMPT)  # typed with quotes in it, so that its echo is not it
    return started


def test_echo_erase_and_end_of_input(shell: Console) -> None:
    shell.do("echo $((6*7))9\x7f", "42\r\n")
    shell.type("echo started; cat\r")
    shell.expect("\r\nstarted\r\n")
    shell.type("abx\x7fc\r")
    shell.expect("abx\b \bc\r\nabc\r\n")
    shell.type("\x04")
    shell.expect(PROMPT)
    shell.type("sh -c 'exit 6'; exit\r")
    assert shell.ends() == 6


def test_control_d_at_the_prompt_ends_the_shell(shell: Console) -> None:
    shell.do("true; echo ok", "ok\r\n")
    shell.type("\x04")
    assert shell.ends() == 0


def test_interrupt_stop_background_and_foreground(shell: Console) -> None:
    shell.type(LONG)
    shell.expect("\r\nrunning\r\n")
    shell.type("\x03")
    shell.expect(PROMPT)
    shell.do("echo status $?", "status 130\r\n")
    shell.type(LONG)
    shell.expect("\r\nrunning\r\n")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.expect(PROMPT)
    shell.do("jobs | grep -c Stopped", "1\r\n")
    shell.type("bg\r")
    shell.expect("waiting\r\n")
    shell.do("jobs | grep -c Running", "1\r\n")
    shell.type("fg; echo back\r")
    shell.expect("\r\nsh -c")
    shell.expect("\r\nrunning\r\n")
    shell.type("\x03")
    shell.expect(PROMPT)
    shell.do("jobs; echo none $?", "none ")
    shell.type("exit 5\r")
    assert shell.ends() == 5


def test_window_size_and_its_changes(shell: Console) -> None:
    shell.do("stty size", "30 100\r\n")
    shell.type("""sh -c 'trap "stty size; exit" WINCH; echo run''ning; while :; do sleep 0.1; done'\r""")
    shell.expect("\r\nrunning\r\n")
    shell.child.setwinsize(44, 111)
    shell.expect("44 111\r\n")
    shell.expect(PROMPT)
    shell.do("stty size", "44 111\r\n")


def test_pipelines_and_traps_at_the_prompt(shell: Console) -> None:
    shell.do("seq 1 2000 | sort -rn | head -n 1", "2000\r\n")
    shell.type("sh -c 'trap \"echo caught; exit 9\" INT; echo run''ning; while :; do sleep 0.1; done'\r")
    shell.expect("\r\nrunning\r\n")
    shell.type("\x03")
    shell.expect("caught")
    shell.expect(PROMPT)
    shell.do("tty; test -t 0 && test -t 1 && echo terminal", "/dev/console\r\nterminal\r\n")


def test_busybox_vi_edits_and_saves(console: Callable[..., Console], alpine_root: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("first\nsecond\n")
    vi = console("run", "--root", alpine_root, "--mount", f"{tmp_path}:/mnt:rw", "/usr/bin/vi", "/mnt/text")
    vi.expect("second")
    vi.expect("text 1/2")
    vi.type("jdd")
    vi.expect("1/1")
    vi.type("oadded line")
    vi.expect("I /mnt/text")
    vi.type("\x1b")
    vi.expect("- /mnt/text")
    vi.type(":wq\r")
    assert vi.ends() == 0
    assert (tmp_path / "text").read_text() == "first\nadded line\n"


@pytest.mark.parametrize("program", ["top", "less"])
def test_full_screen_programs_quit_on_q(
    console: Callable[..., Console], host_program: Callable[[str], str], program: str
) -> None:
    arguments = ["/proc/cpuinfo"] if program == "less" else []
    screen = console("run", "--root", "/", host_program(program), *arguments)
    screen.expect("processor" if program == "less" else "COMMAND")
    screen.expect("/proc/cpuinfo" if program == "less" else "top")
    screen.type("q")
    assert screen.ends() == 0


def test_a_program_in_raw_mode_gets_every_key(
    console: Callable[..., Console], host_program: Callable[[str], str]
) -> None:
    raw = console("run", "--root", "/", host_program("python3"), "-c", RAW_MODE)
    raw.expect("raw\r\n")
    raw.type("\x03\x1a\x04\x7f\rq")
    raw.expect(str(sorted(b"\x03\x1a\x04\x7f\rq")) + " True\r\n")
    assert raw.ends() == 0


@pytest.mark.parametrize("ending", ["exit 3\r", "kill -9 $$\r", "stty raw -echo; exit 4\r", "poweroff -f\r"])
def test_the_terminal_is_as_it_was(alpine_root: str, ending: str) -> None:
    """Settings before and after, seen from a process of the host that keeps the terminal open."""
    script = (
        "import subprocess, sys, termios\n"
        "before = termios.tcgetattr(0)\n"
        "status = subprocess.call(sys.argv[1:])\n"
        "print('same' if termios.tcgetattr(0) == before else 'different', 'after', status)\n"
    )
    command = [*JEFEOS, "boot", "--root", alpine_root]
    child = pexpect.spawn(sys.executable, ["-c", script, *command], timeout=TIMEOUT_S, encoding="utf-8")
    try:
        child.expect_exact("# ")
        child.send(ending)
        child.expect(r"(same|different) after (\d+)")
        assert child.match.group(1) == "same"
    finally:
        child.close(force=True)
