"""Somebody at a terminal: runs `jefeos` on a pty of the host, waits for what it prints and types."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Any

PATIENCE_S = 90.0


class Terminal:
    """A host terminal with ``python -m jefeos`` in front of it."""

    def __init__(self, *arguments: str, stdout: Any = None, patience_s: float | None = None) -> None:
        self.patience_s = patience_s if patience_s is not None else PATIENCE_S
        self.master, self.slave = os.openpty()
        self.resize(30, 100)
        self.settings_before = termios.tcgetattr(self.slave)
        self.screen = b""
        self._seen = 0
        self.child = subprocess.Popen(
            [sys.executable, "-m", "jefeos", *arguments],
            stdin=self.slave,
            stdout=stdout if stdout is not None else self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "linux", "PS1": "ready# "},
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        child = getattr(self, "child", None)
        if child is not None:  # the pty is not its controlling terminal: nobody else tells it
            child.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str) -> str:
        """Wait until `text` appears after what was seen before; gives everything up to it."""
        wanted = text.encode()
        deadline = time.monotonic() + self.patience_s
        while True:
            at = self.screen.find(wanted, self._seen)
            if at >= 0:
                passed = self.screen[self._seen : at]
                self._seen = at + len(wanted)
                return passed.decode(errors="replace")
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"{text!r} did not appear after {self.screen[self._seen:]!r}"
            if select.select([self.master], [], [], min(remaining, 0.2))[0]:
                self.screen += os.read(self.master, 65536)
            else:
                assert self.child.poll() is None, f"ended with {self.child.returncode}: {self.screen!r}"

    def wait(self) -> int:
        """The exit status, reading along."""
        deadline = time.monotonic() + self.patience_s
        while self.child.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.screen[-500:]!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.screen += os.read(self.master, 65536)
        return self.child.returncode

    def wait_until_raw(self) -> None:
        """Until `jefeos` has the terminal: what is typed before is edited by the host."""
        deadline = time.monotonic() + self.patience_s
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            assert time.monotonic() < deadline, "the terminal was not taken"
            time.sleep(0.02)

    def memory_bytes(self, kind: str = "Rss") -> int:
        """What `jefeos` holds of the host's memory: resident (Rss), or with what it shares divided up (Pss)."""
        with open(f"/proc/{self.child.pid}/smaps_rollup") as rollup:
            line = next(line for line in rollup if line.startswith(f"{kind}:"))
        return int(line.split()[1]) * 1024

    @property
    def settings_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.settings_before
