"""The shell on a terminal: prompt, editing, ^C, ^Z, ^D, jobs. The console runs in a child on a pseudo-terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

pexpect = pytest.importorskip("pexpect", reason="needs pexpect and a POSIX host")

BOOT = (
    "import sys; from jefeos.cli import main; sys.argv = ['jefeos', 'boot', '--ram', '64M']; sys.exit(main())"
)
LONG = "sh -c 'echo go; exec sleep 60'"


class Terminal:
    """A console with the shell on it."""

    def __init__(self) -> None:
        self.child: Any = pexpect.spawn(sys.executable, ["-c", BOOT], timeout=100, encoding="utf-8")
        self.child.expect_exact("/ # ")

    def line(self, text: str, *answers: str, prompt: str = " # ") -> None:
        """Type a line, and see these answers and then the prompt."""
        self.child.sendline(text)
        self.child.expect_exact(text + "\r\n")
        for answer in answers:
            self.child.expect_exact(answer)
        self.child.expect_exact(prompt)

    def start(self, text: str) -> None:
        """Type a line whose command says ``go`` once it runs: a key before that would be the shell's own."""
        self.child.sendline(text)
        self.child.expect_exact("\r\ngo\r\n")

    def key(self, key: str, *answers: str, prompt: str = " # ") -> None:
        """Press a key, and see these answers and then the prompt."""
        self.child.send(key)
        for answer in answers:
            self.child.expect_exact(answer)
        self.child.expect_exact(prompt)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.child.close(force=True)


def test_commands_and_the_status_of_the_shell(terminal: Terminal) -> None:
    terminal.line("echo one two", "one two\r\n")
    terminal.line("cd /tmp", prompt="/tmp # ")
    terminal.line("if", "jsh: line 1: syntax error: 'if': jsh has no compound commands\r\n")
    terminal.line("echo 'first", prompt="> ")
    terminal.line("second'", "first\r\nsecond\r\n")
    terminal.child.sendline("exit 4")
    terminal.child.expect(pexpect.EOF)
    terminal.child.close()
    assert terminal.child.exitstatus == 4


def test_interrupt_ends_the_command_and_not_the_shell(terminal: Terminal) -> None:
    terminal.start(LONG)
    terminal.key("\x03", "^C")
    terminal.line("echo $?", "130\r\n")
    terminal.start("sh -c 'echo go; exec cat' | cat")
    terminal.key("\x03", "^C")
    terminal.start("x=$(echo go >&2; sleep 60)")
    terminal.key("\x03", "^C")
    terminal.child.send("half a line")
    terminal.child.expect_exact("half a line")
    terminal.key("\x03", "^C")
    terminal.line("echo still", "still\r\n")


def test_jobs_stop_and_go_on(terminal: Terminal) -> None:
    terminal.start(LONG)
    terminal.key("\x1a", "^Z", f"[1] Stopped  {LONG}")
    terminal.line("jobs", f"[1] Stopped  {LONG}")
    terminal.line("bg", f"[1] {LONG}")
    terminal.line("jobs", f"[1] Running  {LONG}")
    terminal.line("sleep 50 &", "[2] ")
    terminal.line("kill %1", f"[1] Exit 143  {LONG}")
    terminal.child.sendline("fg")
    terminal.child.expect_exact("sleep 50\r\n")
    terminal.key("\x03", "^C")
    terminal.line("fg", "jsh: fg: no such job")


def test_end_of_input_ends_programs_and_the_shell(terminal: Terminal) -> None:
    terminal.start("sh -c 'echo go; exec cat'")
    terminal.child.sendline("typed")
    terminal.child.expect_exact("typed\r\ntyped\r\n")
    terminal.key("\x04")
    terminal.line("false")
    terminal.child.sendeof()
    terminal.child.expect(pexpect.EOF)
    terminal.child.close()
    assert terminal.child.exitstatus == 1
