"""``jsh [-i] [-c commands [name [argument...]] | file [argument...]]``: the applet."""

from __future__ import annotations

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.proc.signals import Signal

from .messages import error_text, shown
from .shell import STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, STATUS_SYNTAX, Shell, run_to_end
from .source import DescriptorSource, LineSource, TextSource
from .state import State


async def main(proc: Proc, argv: list[bytes]) -> int:
    """Run as a program: the status of the last command."""
    state = State(name=argv[0].removeprefix(b"-").rpartition(b"/")[2] or b"jsh", pid=proc.pid)
    state.take_environment(proc.environ)
    try:
        state.set(b"PWD", proc.getcwd())
    except KernelError:
        pass
    interactive = False
    words = argv[1:]
    source: LineSource | None = None
    while words and words[0][:1] == b"-" and len(words[0]) > 1:
        option = words.pop(0)
        if option == b"--":
            break
        if option == b"-i":
            interactive = True
        elif option == b"-c":
            if not words:
                await proc.write(2, b"jsh: -c: which commands?\n")
                return STATUS_SYNTAX
            source = TextSource(words.pop(0))
            if words:
                state.name = words.pop(0)
            break
        elif option not in (b"-l", b"-s"):
            await proc.write(2, f"jsh: {shown(option)}: unknown option\n".encode())
            return STATUS_SYNTAX
    if source is None and words:
        path = words.pop(0)
        try:
            source = TextSource(await read_script(proc, path))
        except KernelError as error:
            await proc.write(2, f"jsh: {shown(path)}: {error_text(error)}\n".encode())
            return STATUS_NOT_FOUND if error.errno == Errno.ENOENT else STATUS_NOT_EXECUTABLE
        state.name = path
    state.positional = words
    if source is None:
        source = DescriptorSource(proc, 0)
        interactive = interactive or (source.is_terminal and proc.isatty(2))
    if interactive:
        proc.ignore(Signal.SIGTTOU, Signal.SIGTTIN, Signal.SIGTSTP, Signal.SIGQUIT, Signal.SIGTERM)
        proc.catch(Signal.SIGINT)
    return await run_to_end(Shell(proc, state, interactive=interactive), source)


async def read_script(proc: Proc, path: bytes) -> bytes:
    """A script file as a whole."""
    descriptor = await proc.open(path)
    try:
        return await proc.read_all(descriptor)
    finally:
        proc.close(descriptor)
