"""The programs whose output is compared with the host's Linux, and how one is compiled and run on both sides.

Each program of programs/ makes system calls with good and bad arguments and prints results and errnos. It is linked
statically, so that both sides run the same instructions. On the host it needs root (chown, mknod, chroot).
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from attrs import frozen
from jefeos.api import ProgramTimeout, System

PROGRAMS = Path(__file__).parent / "programs"
TIMEOUT_S = 120
HOST_TIMEOUT_S = 60
TIMED_OUT = 1000
"""The status of a program that did not end."""

FILE_PROGRAMS = (
    "transfer",
    "descriptors",
    "names",
    "paths",
    "events",
    "terminal",
    "packet_mode",
    "sockets",
    "file_depth",
    "inotify",
    "plain_calls",
    "mount_files",
    "mqueue",
    "namespaces",
    "aio",
)
"""About files; each runs in an empty folder."""
PROCESS_PROGRAMS = (
    "capabilities",
    "depth",
    "futex2",
    "handlers",
    "identity_ipc",
    "ipc",
    "loopback",
    "memory_calls",
    "process_calls",
    "limits",
    "residence",
    "seccomp",
    "signal_calls",
    "signal_depth",
    "storm",
    "system_calls",
    "thread_calls",
    "threading",
    "time_calls",
    "waits",
)
"""About processes; the C library's own start-up, threads and signals are part of what is tested."""
PROGRAM_NAMES = (*FILE_PROGRAMS, *PROCESS_PROGRAMS)


@frozen
class Outcome:
    """What a program showed: its lines, and its status (negative: the signal that ended it)."""

    lines: list[str]
    status: int


def compile_program(name: str, compiler: str, folder: Path, slower: int = 1) -> Path:
    """A static executable of programs/NAME.c in ``folder``, whose pauses are so many times as long."""
    folder.mkdir(exist_ok=True)
    target = folder / name
    if not target.exists():
        flags = [f"-DSLOWER={slower}", "-w", "-O1" if name in FILE_PROGRAMS else "-O0", "-static", "-pthread"]
        subprocess.run([compiler, *flags, "-o", target, PROGRAMS / f"{name}.c"], check=True, timeout=TIMEOUT_S)
    return target


def _defaults() -> None:
    """Whoever started the tests may ignore signals, as nohup does, or be nice; the system's programs start without."""
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def on_the_host(program: Path, empty_folder: Path) -> Outcome:
    """Run it here, where no other run has IPC objects of the same names."""
    cwd = empty_folder if program.name in FILE_PROGRAMS else "/"
    try:
        done = subprocess.run(
            ["unshare", "--ipc", program], cwd=cwd, capture_output=True, timeout=HOST_TIMEOUT_S,
            stdin=subprocess.DEVNULL, check=False, preexec_fn=_defaults,
        )
    except subprocess.TimeoutExpired as error:
        return Outcome(_lines(error.stdout or b""), TIMED_OUT)
    return Outcome(_lines(done.stdout), done.returncode)


def on_jefeos(program: Path, system: System) -> Outcome:
    """Run it on a system with the built-in root."""
    system.write_file("/program", program.read_bytes(), 0o755)
    system.write_file("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    vfs = system.kernel.vfs
    vfs.mkdir(vfs.as_kernel(), b"/work", 0o755)
    try:
        done = system.run(["/program"], cwd="/work" if program.name in FILE_PROGRAMS else "/", timeout=TIMEOUT_S)
    except ProgramTimeout as error:
        return Outcome(_lines(error.stdout), TIMED_OUT)
    return Outcome(_lines(done.stdout), -done.signal if done.signal is not None else done.status)


def _lines(output: bytes) -> list[str]:
    return output.decode("latin-1").splitlines()
