"""A program on a pty, and what its screen shows: the text of a terminal of 24 lines and 80 columns."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import pexpect
import pyte

PATIENCE_S = 90.0
SETTLED_S = 0.3
"""A screen that did not change for so long is finished."""


class Screen:
    """The program's terminal; leaving the ``with`` statement ends it."""

    def __init__(self, command: Sequence[str], lines: int = 24, columns: int = 80) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        environment = {**os.environ, "TERM": "linux"}
        self.child: Any = pexpect.spawn(command[0], list(command[1:]), dimensions=(lines, columns), env=environment)
        self.child.delaybeforesend = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)

    @property
    def text(self) -> str:
        """The screen's lines, without the spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: str, shows: str) -> str:
        """Type, wait until the screen has `shows` somewhere and comes to rest; its text."""
        self.child.send(keys)
        deadline = time.monotonic() + PATIENCE_S
        changed = time.monotonic()
        while shows not in self.text or time.monotonic() - changed < SETTLED_S:
            assert time.monotonic() < deadline, f"{shows!r} is not on the screen:\n{self.text}"
            if self._take():
                changed = time.monotonic()
        return self.text

    def ends(self) -> int:
        """The status of the program, after its last words."""
        deadline = time.monotonic() + PATIENCE_S
        while self.child.isalive():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
            self._take()
        return int(self.child.exitstatus if self.child.exitstatus is not None else 128 + self.child.signalstatus)

    def _take(self) -> bool:
        try:
            self.stream.feed(self.child.read_nonblocking(65536, timeout=0.05))
        except (pexpect.TIMEOUT, pexpect.EOF):
            return False
        return True
