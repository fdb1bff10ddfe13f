"""QEMU as a process: its command line, its start, and its end under all circumstances.

The sockets to it are pairs made here, whose other ends it inherits: there is no path that anybody could connect to, or
that could stay behind. The ROM is a file only until it was read. QEMU ends

    stop()                  asked by QMP, and killed if it does not obey
    when we are killed      the kernel kills it (PR_SET_PDEATHSIG; Linux only)
    Ctrl-C in the terminal  does not reach it: it has a session of its own
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, Final

from jefeos.errors import BootError

PROGRAM: Final = "qemu-system-x86_64"
MISSING: Final = (
    f"--machine qemu needs {PROGRAM}, which is not installed (Debian, Ubuntu: apt install qemu-system-x86; "
    "Fedora: dnf install qemu-system-x86; macOS: brew install qemu)"
)
ROM_BYTES: Final = 64 * 1024
RESET_VECTOR: Final = ROM_BYTES - 16
CLI_HLT_LOOP: Final = bytes([0xFA, 0xF4, 0xEB, 0xFC])
"""QEMU's processor sleeps: ``cli; hlt``, and back if ever something wakes it."""
STOP_TIMEOUT_S: Final = 10.0
LAST_WORDS_BYTES: Final = 4096
PR_SET_PDEATHSIG: Final = 1


class QemuProcess:
    """One QEMU. Raises BootError if it cannot be started."""

    def __init__(self, arguments: Sequence[str], inherited: Sequence[socket.socket]) -> None:
        path = shutil.which(PROGRAM)
        if path is None:
            raise BootError(MISSING)
        self._rom = NamedTemporaryFile(prefix="jefeos-", suffix=".rom")  # noqa: SIM115
        self._rom.write(bytes(RESET_VECTOR) + CLI_HLT_LOOP.ljust(ROM_BYTES - RESET_VECTOR, b"\0"))
        self._rom.flush()
        self._errors: IO[bytes] = TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [path, "-bios", self._rom.name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[end.fileno() for end in inherited],
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            self._rom.close()
            self._errors.close()
            raise BootError(f"{path} cannot be started: {error.strerror}") from error
        self.pid = self._process.pid

    def started(self) -> None:
        """It has read its files."""
        self._rom.close()

    def last_words(self) -> str:
        """Why it ended, if it has: its last message, else its exit status. Empty while it runs."""
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return ""
        self._errors.seek(0)
        lines = self._errors.read(LAST_WORDS_BYTES).decode("utf-8", "replace").strip().splitlines()
        if lines:
            return lines[-1].removeprefix(f"{PROGRAM}: ")
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exit status {status}"

    def kill(self) -> None:
        """At once."""
        self._process.kill()

    def stop(self, ask: Callable[[], object]) -> None:
        """``ask`` it to quit, give it time, kill it if need be. Nothing of it is left afterwards."""
        if self._process.poll() is None:
            ask()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._rom.close()
        self._errors.close()


def _die_with_parent() -> Callable[[], None] | None:
    """What the new process does before it becomes QEMU: ask to be killed when this one dies."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died meanwhile
            os._exit(1)

    return ask
