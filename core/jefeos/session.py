"""What happens on the host's standard streams: ``jefeos run`` and ``jefeos boot``.

    host terminal    raw while the system runs; the guest's console does echo, editing and job control
    anything else    a file of its own (pipe, redirection), so that `jefeos run` fits into a host pipeline

A program that exists only on the host is put into a system without --root, that one file, read-only; so
``jefeos run ./hello`` needs no root for a static program. With a host folder as root the program starts in the
folder that the user is in, if that lies inside the root.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from jefeos.errors import BootError, KernelError
from jefeos.rootfs import write_file
from jefeos.tty.console import find_host_terminal, open_standard_streams

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.vfs.file import File

SHELL: Final = b"/bin/sh"
CONSOLE: Final = b"/dev/console"


def run_program(kernel: Kernel, argv: list[bytes]) -> int:
    """Run one program to its end; its status as a shell reports it. Raises KernelError if it cannot start."""
    program = argv[0]
    if kernel.config.root is None and b"/" in program:
        program = _bring_in(kernel, program)
    return _run(kernel, argv, program, _guest_cwd(kernel))


def run_console(kernel: Kernel) -> int:
    """Run init or a shell on the console to its end."""
    init = kernel.config.init
    if init is not None:
        path = init.encode()
        return _run(kernel, [path], path, b"/")
    shell = _shell(kernel)
    login = b"-" + shell.rpartition(b"/")[2]
    interactive = os.isatty(0)
    return _run(kernel, [login if interactive else shell], shell, b"/")


def _run(kernel: Kernel, argv: list[bytes], program: bytes, cwd: bytes) -> int:
    terminal = find_host_terminal(kernel.console, kernel.loop)
    environ = {"TERM": os.environ["TERM"]} if terminal is not None and os.environ.get("TERM") else None
    with terminal or contextlib.nullcontext():
        process = kernel.start(
            argv,
            program=program,
            files=standard_files(kernel),
            environ=environ,
            cwd=cwd,
            controlling_tty=terminal is not None,
        )
        return finish(kernel, process)


def finish(kernel: Kernel, process: Process) -> int:
    """Run until ``process`` has ended; its status."""
    status = kernel.run_until_exit(process)
    return status if status is not None else 0


def standard_files(kernel: Kernel) -> list[File]:
    """Files for descriptors 0, 1 and 2 on the host's own."""
    place = kernel.vfs.resolve(kernel.vfs.as_kernel(), CONSOLE)
    return open_standard_streams(kernel.console, kernel.host_streams, place.inode, place)


def _shell(kernel: Kernel) -> bytes:
    if kernel.config.root is None:
        path = kernel.plugins.first("jefeos_shell")
        if path is None:
            raise BootError(
                "there is nothing to start: no --root, and no shell plugin is installed (jefeos-shell-jsh is one)"
            )
        return str(path).encode()
    try:
        kernel.vfs.resolve(kernel.vfs.as_kernel(), SHELL)
    except KernelError as error:
        raise BootError(f"the root {kernel.config.root} has no {SHELL.decode()} ({error}): name --init") from None
    return SHELL


def _bring_in(kernel: Kernel, program: bytes) -> bytes:
    """Copy the named host program into the built-in root, at the same absolute path."""
    with contextlib.suppress(KernelError):
        kernel.vfs.resolve(kernel.vfs.as_kernel(), program)
        return program
    host = os.path.abspath(program)
    try:
        with open(host, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise KernelError(2 if isinstance(error, FileNotFoundError) else 13, os.fsdecode(program)) from None
    parts = host.strip(b"/").split(b"/")
    for count in range(1, len(parts)):
        with contextlib.suppress(KernelError):
            kernel.vfs.mkdir(kernel.vfs.as_kernel(), b"/" + b"/".join(parts[:count]), 0o755)
    write_file(kernel, host, content, 0o755 if os.access(host, os.X_OK) else 0o644)
    return host


def _guest_cwd(kernel: Kernel) -> bytes:
    root = kernel.config.root
    if root is None or not os.path.isdir(root):
        return b"/"
    relative = os.path.relpath(os.getcwd(), os.path.realpath(root))
    if relative == os.curdir or relative.startswith(os.pardir):
        return b"/"
    guest = b"/" + os.fsencode(relative.replace(os.sep, "/"))
    try:
        kernel.vfs.resolve(kernel.vfs.as_kernel(), guest, want_directory=True)
    except KernelError:
        return b"/"
    return guest
