"""Commands that must run inside the shell, since they change or ask about the shell itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import Signal
from jefeos.sched.wait import Interrupted

from .expansion import split_for_read
from .jobs import STATUS_SIGNAL, status_of
from .messages import error_text, shown
from .parser import NAME
from .source import DescriptorSource, TextSource
from .state import Job
from .streams import Streams, inherited

if TYPE_CHECKING:
    from .shell import Shell

Builtin = Callable[["Shell", "list[bytes]", Streams], Awaitable[int]]
STATUS_USAGE = 2
QUOTE_FREE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:@%+=")


async def write(shell: Shell, streams: Streams, data: bytes) -> None:
    """Write to the builtin's own standard output."""
    descriptor = streams.table.get(1)
    if descriptor is None:
        raise KernelError(Errno.EBADF)
    await shell.proc.write(descriptor, data)


async def usage(shell: Shell, name: str, message: str) -> int:
    await shell.complain(f"{name}: {message}")
    return STATUS_USAGE


async def run_nothing(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``:`` and ``true``."""
    return 0


async def run_false(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    return 1


async def run_cd(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``cd [folder | -]``."""
    state = shell.state
    if len(arguments) > 2:
        return await usage(shell, "cd", "too many arguments")
    target = arguments[1] if len(arguments) > 1 else state.get(b"HOME")
    is_back = target == b"-"
    if is_back:
        target = state.get(b"OLDPWD")
    if not target:
        return await usage(shell, "cd", "OLDPWD not set" if is_back else "HOME not set")
    try:
        old: bytes | None = shell.proc.getcwd()
    except KernelError:
        old = None  # the folder is gone
    try:
        shell.proc.chdir(target)
    except KernelError as error:
        await shell.complain(f"cd: {shown(target)}: {error_text(error)}")
        return 1
    if old is not None:
        state.set(b"OLDPWD", old)
    state.set(b"PWD", shell.proc.getcwd())
    if is_back:
        await write(shell, streams, shell.proc.getcwd() + b"\n")
    return 0


async def run_exit(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``exit [status]``."""
    from .shell import ShellExit

    if len(arguments) > 1:
        if not arguments[1].isdigit():
            await shell.complain(f"exit: {shown(arguments[1])}: not a number")
            raise ShellExit(STATUS_USAGE)
        raise ShellExit(int(arguments[1][-18:]) & 255)
    raise ShellExit(shell.state.status)


async def run_export(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``export [name[=value]]...``; without names, what is exported."""
    state = shell.state
    if len(arguments) == 1 or arguments[1:] == [b"-p"]:
        for name in sorted(state.exported):
            value = state.values.get(name)
            await write(
                shell, streams, b"export " + name + (b"" if value is None else b"=" + quoted(value)) + b"\n"
            )
        return 0
    status = 0
    for argument in arguments[1:]:
        name, equals, value = argument.partition(b"=")
        if NAME.fullmatch(name) is None:
            await shell.complain(f"export: {shown(argument)}: not a name")
            status = STATUS_USAGE
            continue
        if equals:
            state.set(name, value)
        state.exported.add(name)
    return status


async def run_unset(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``unset name...``."""
    for name in arguments[1:]:
        if name not in (b"-v", b"--"):
            shell.state.unset(name)
    return 0


async def run_set(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``set`` lists the variables; ``set -- words`` sets the positional parameters."""
    if len(arguments) == 1:
        for name, value in sorted(shell.state.values.items()):
            await write(shell, streams, name + b"=" + quoted(value) + b"\n")
        return 0
    words = arguments[1:]
    if words[0] == b"--":
        words = words[1:]
    elif words[0][:1] in b"-+":
        return await usage(shell, "set", f"{shown(words[0])}: jsh has no options")
    shell.state.positional = words
    return 0


async def run_shift(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``shift [count]``."""
    text = arguments[1] if len(arguments) > 1 else b"1"
    if not text.isdigit() or int(text[:9]) > len(shell.state.positional):
        return await usage(shell, "shift", f"{shown(text)}: bad count")
    del shell.state.positional[: int(text)]
    return 0


async def run_read(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``read [-r] name...``: a line of standard input, split into the variables."""
    raw = arguments[1:2] == [b"-r"]
    names = arguments[1 + raw :] or [b"REPLY"]
    if 0 not in streams.table:
        raise KernelError(Errno.EBADF)
    source = DescriptorSource(shell.proc, streams.table[0])
    line = await source.line()
    while not raw and line.endswith(b"\\\n"):
        line = line[:-2] + await source.line()
    ended = line.endswith(b"\n")
    text = line.removesuffix(b"\n")
    for name in names:
        if NAME.fullmatch(name) is None:
            return await usage(shell, "read", f"{shown(name)}: not a name")
    fields = split_for_read(text, len(names), shell.state.get(b"IFS"), raw=raw)
    fields += [b""] * (len(names) - len(fields))
    for name, value in zip(names, fields, strict=True):
        shell.state.set(name, value)
    return 0 if ended else 1


async def run_dot(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``. file``: run its commands in this shell."""
    if len(arguments) < 2:
        return await usage(shell, ".", "which file?")
    descriptor = await shell.proc.open(arguments[1])
    try:
        text = await shell.proc.read_all(descriptor)
    finally:
        shell.proc.close(descriptor)
    interactive, shell.interactive = shell.interactive, False
    try:
        return await shell.run_source(TextSource(text))
    finally:
        shell.interactive = interactive


async def run_exec(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``exec command`` replaces the shell; ``exec`` with redirections only makes them the shell's own."""
    proc = shell.proc
    if len(arguments) == 1:
        wanted = {number: proc.file(source).ref() for number, source in streams.table.items()}
        for number in inherited(shell.proc):
            if number not in wanted:
                proc.close(number)
        for number, file in wanted.items():
            proc.task.files.install_at(number, file)
        return 0
    from .shell import STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, ShellExit

    environ = [name + b"=" + value for name, value in shell.state.environment().items()]
    failure = KernelError(Errno.ENOENT)
    await run_exec(shell, arguments[:1], streams)
    for path in shell.candidates(arguments[1]):
        try:
            streams.close(proc)
            await proc.kernel.lifecycle.execute(proc.task, path, arguments[1:], environ)
        except KernelError as error:
            failure = error
            if error.errno not in (Errno.ENOENT, Errno.ENOTDIR, Errno.EACCES):
                break
    await shell.complain(f"exec: {shown(arguments[1])}: {error_text(failure)}")
    raise ShellExit(STATUS_NOT_FOUND if failure.errno == Errno.ENOENT else STATUS_NOT_EXECUTABLE)


async def run_umask(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``umask [octal]``."""
    if len(arguments) == 1:
        mask = shell.proc.umask(0)
        shell.proc.umask(mask)
        await write(shell, streams, b"%04o\n" % mask)
        return 0
    try:
        shell.proc.umask(int(arguments[1], 8))
    except ValueError:
        return await usage(shell, "umask", f"{shown(arguments[1])}: not an octal number")
    return 0


async def run_wait(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``wait [pid | %job]...``: all background jobs, or the status of those named."""
    if len(arguments) == 1:
        for job in list(shell.state.jobs.values()):
            if not job.stopped:
                await _wait_for(shell, job)
        return 0
    status = 0
    for argument in arguments[1:]:
        job_or_none = _find_job(shell, argument)
        if job_or_none is None:
            await shell.complain(f"wait: {shown(argument)}: not a child of this shell")
            status = 127
        else:
            status = await _wait_for(shell, job_or_none)
    return status


async def _wait_for(shell: Shell, job: Job) -> int:
    for pid in list(job.pids):
        try:
            report = await shell.proc.wait(pid)
        except Interrupted:
            shell.proc.caught.clear()
            return STATUS_SIGNAL + Signal.SIGINT
        except KernelError:
            continue
        finally:
            if shell.interactive and shell.proc.caught:
                shell.proc.caught.clear()
        job.pids.remove(pid)
        if report is not None and pid == job.last_pid:
            job.status = status_of(report)
            await shell.tell_signal(report)
    shell.state.jobs.pop(job.number, None)
    return job.status


async def run_jobs(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``jobs``: what runs in the background or is stopped."""
    for job in list(shell.state.jobs.values()):
        if await shell.poll_job(job):
            del shell.state.jobs[job.number]
            outcome = b"Done" if job.status == 0 else b"Exit %d" % job.status
        else:
            outcome = b"Stopped" if job.stopped else b"Running"
        await write(shell, streams, b"[%d] %s  %s\n" % (job.number, outcome, job.text))
    return 0


async def run_fg(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``fg [%job]``: go on in the foreground."""
    job = await _continue(shell, arguments)
    if job is None:
        return 1
    del shell.state.jobs[job.number]
    await write(shell, streams, job.text + b"\n")
    shell.give_terminal(job.group)
    shell.proc.kill(-job.group, Signal.SIGCONT)
    return await shell.wait_foreground(job.group, job.pids, job.text)


async def run_bg(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``bg [%job]``: go on in the background."""
    job = await _continue(shell, arguments)
    if job is None:
        return 1
    job.stopped = False
    shell.proc.kill(-job.group, Signal.SIGCONT)
    await write(shell, streams, b"[%d] %s\n" % (job.number, job.text))
    return 0


async def _continue(shell: Shell, arguments: list[bytes]) -> Job | None:
    name = arguments[0].decode()
    if not shell.interactive:
        await shell.complain(f"{name}: no job control")
        return None
    jobs = shell.state.jobs
    job = _find_job(shell, arguments[1]) if len(arguments) > 1 else jobs[max(jobs)] if jobs else None
    if job is None:
        await shell.complain(f"{name}: no such job")
    return job


def _find_job(shell: Shell, text: bytes) -> Job | None:
    if text[:1] == b"%":
        return shell.state.jobs.get(int(text[1:10])) if text[1:].isdigit() else None
    if not text.isdigit():
        return None
    pid = int(text[:18])
    return next((job for job in shell.state.jobs.values() if pid in (job.last_pid, *job.pids)), None)


async def run_type(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``type name...``: what would run."""
    status = 0
    for name in arguments[1:]:
        if name in BUILTINS:
            await write(shell, streams, name + b" is a shell builtin\n")
            continue
        for path in shell.candidates(name):
            try:
                found = shell.proc.stat(path).mode
            except KernelError:
                continue
            if found & 0o111 and found & 0o170000 == 0o100000:
                await write(shell, streams, name + b" is " + path + b"\n")
                break
        else:
            await shell.complain(f"type: {shown(name)}: not found")
            status = 127
    return status


async def run_help(shell: Shell, arguments: list[bytes], streams: Streams) -> int:
    """``help``: what there is."""
    names = b" ".join(sorted(BUILTINS))
    await write(
        shell, streams, b"Builtins: " + names + b"\nOther commands are files in PATH (try: ls /bin).\n"
    )
    return 0


def quoted(value: bytes) -> bytes:
    """A value so that the shell reads it back as it is."""
    if value and all(byte in QUOTE_FREE for byte in value):
        return value
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


BUILTINS: dict[bytes, Builtin] = {
    b":": run_nothing,
    b"true": run_nothing,
    b"false": run_false,
    b"cd": run_cd,
    b"exit": run_exit,
    b"export": run_export,
    b"unset": run_unset,
    b"set": run_set,
    b"shift": run_shift,
    b"read": run_read,
    b".": run_dot,
    b"exec": run_exec,
    b"umask": run_umask,
    b"wait": run_wait,
    b"jobs": run_jobs,
    b"fg": run_fg,
    b"bg": run_bg,
    b"type": run_type,
    b"help": run_help,
}
