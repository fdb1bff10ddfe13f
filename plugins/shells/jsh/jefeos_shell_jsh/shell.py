"""The shell itself: reads commands, expands them, starts them, waits for them.

How a pipeline runs::

    a | b > f | c      three children in one process group, joined by pipes; status is c's
    builtin            inside the shell, with the redirections only noted (`Streams`), nothing to undo
    builtin | b        the builtin runs in a child with a copy of the state: a subshell
    $(script)          a subshell that writes into a pipe

A child is started with exactly the descriptors it is to have (`Proc.spawn`), so the shell never forks and its own
descriptors never move, except by ``exec`` with redirections only.

Interactive (standard input is a terminal, or ``-i``): a prompt, each job in a process group of its own with the
terminal given to it while it is in the foreground; ^C ends the command, not the shell. Otherwise: the status of the
last command is the shell's own, and a syntax error ends it with status 2.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.proc.signals import Signal
from jefeos.sched.wait import Interrupted
from jefeos.vfs.flags import S_IFMT, S_IFREG

from . import builtins
from .expansion import ExpansionError, ListFolder, RunScript, expand_fields, expand_text
from .jobs import STATUS_SIGNAL, JobControl, status_of
from .messages import error_text, shown
from .parser import parse
from .source import LineSource, TextSource
from .state import State
from .streams import Streams, high, high_pipe, inherited
from .syntax import AndOr, IncompleteInput, Item, Pipeline, Program, ShellSyntaxError, Simple

STATUS_SYNTAX = 2
STATUS_NOT_EXECUTABLE = 126
STATUS_NOT_FOUND = 127


class ShellExit(Exception):
    """Leave the shell (``exit``, or an error that ends a script)."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class CommandFailure(Exception):
    """A command could not be started, which has been said already."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Shell(JobControl):
    """One shell process."""

    def __init__(self, proc: Proc, state: State, *, interactive: bool = False) -> None:
        super().__init__(proc, state, interactive=interactive)
        self.substitution_status: int | None = None

    # --- reading -----------------------------------------------------------------------------------------------

    async def run_source(self, source: LineSource) -> int:
        """Run everything a source gives; the status of the last command."""
        text = b""
        first_line = 1
        while True:
            if self.interactive:
                await self.report_jobs()
                await self.say(2, self.prompt(continued=bool(text)))
            try:
                line = await source.line()
            except Interrupted:
                self.proc.caught.clear()
                await self.say(2, b"\n")
                text = b""
                self.state.status = STATUS_SIGNAL + Signal.SIGINT
                continue
            text += line
            if line and text.endswith(b"\\\n") and not text.endswith(b"\\\\\n"):
                continue
            try:
                program = parse(text)
            except IncompleteInput as error:
                if line:
                    continue
                await self.complain(_at_line(error, first_line))
                self.state.status = STATUS_SYNTAX
                return STATUS_SYNTAX
            except ShellSyntaxError as error:
                await self.complain(_at_line(error, first_line))
                self.state.status = STATUS_SYNTAX
                if not self.interactive:
                    return STATUS_SYNTAX
                program = ()
            if not self.interactive:
                first_line += text.count(b"\n")
            text = b""
            await self.run_program(program)
            if not line:
                return self.state.status

    def prompt(self, continued: bool) -> bytes:
        if continued:
            return self.state.get(b"PS2") or b"> "
        prompt = self.state.get(b"PS1")
        if prompt is None:
            try:
                folder = self.proc.getcwd()
            except KernelError:
                folder = b"?"
            mark = b"#" if self.proc.task.creds.euid == 0 else b"$"
            prompt = folder + b" " + mark + b" "
        return prompt

    async def failure(self, message: str, status: int) -> CommandFailure:
        """Say why a command could not be started."""
        await self.complain(message)
        return CommandFailure(status)

    # --- lists and pipelines -----------------------------------------------------------------------------------

    async def run_program(self, program: Program) -> int:
        for item in program:
            try:
                await self.run_item(item)
            except Interrupted:
                self.proc.caught.clear()
                self.state.status = STATUS_SIGNAL + Signal.SIGINT
                if not self.interactive:
                    raise
                await self.say(2, b"\n")
                break
        return self.state.status

    async def run_item(self, item: Item) -> None:
        if item.background:
            await self.start_background(item)
            return
        await self.run_and_or(item.commands, item.source)

    async def run_and_or(self, commands: AndOr, source: bytes) -> None:
        await self.run_pipeline(commands.first, source)
        for operator, pipeline in commands.rest:
            if (self.state.status == 0) == (operator == b"&&"):
                await self.run_pipeline(pipeline, source)

    async def run_pipeline(self, pipeline: Pipeline, source: bytes) -> None:
        status = await self.pipeline_status(pipeline, source)
        self.state.status = int(status == 0) if pipeline.negated else status

    async def pipeline_status(self, pipeline: Pipeline, source: bytes) -> int:
        if len(pipeline.commands) == 1:
            command = pipeline.commands[0]
            try:
                return await self.run_simple(command, source)
            except CommandFailure as failure:
                return failure.status
        pids, status = await self.start_pipeline(pipeline)
        if not pids:
            return status
        ended = await self.wait_foreground(pids[0], pids, source)
        return ended if status < 0 else status

    async def start_background(self, item: Item) -> None:
        """One pipeline is started as it is; a longer list runs in a subshell."""
        commands = item.commands
        if commands.rest or commands.first.negated:
            pids = [self.subshell((Item(commands, source=item.source),), inherited(self.proc))]
        else:
            pids, status = await self.start_pipeline(commands.first, background=True)
            if not pids:
                self.state.status = max(status, 0)
                return
        job = self.state.new_job(pids[0], pids, item.source)
        self.state.last_background = pids[-1]
        self.state.status = 0
        if self.interactive:
            await self.say(2, b"[%d] %d\n" % (job.number, job.last_pid))

    async def start_pipeline(self, pipeline: Pipeline, background: bool = False) -> tuple[list[int], int]:
        """Start every command. Gives the pids, and the last command's status if that could not be started, else -1."""
        pids: list[int] = []
        status = -1
        group: int | None = 0 if self.interactive else None
        incoming: int | None = None
        last = len(pipeline.commands) - 1
        for index, command in enumerate(pipeline.commands):
            opened = [] if incoming is None else [incoming]
            table = inherited(self.proc)
            if incoming is not None:
                table[0] = incoming
            elif background and not self.interactive:
                await self._redirect_from_null(table, opened)
            incoming = None
            if index < last:
                incoming, outgoing = high_pipe(self.proc)
                table[1] = outgoing
                opened.append(outgoing)
            streams = Streams(table, opened)
            status = -1
            try:
                pid = await self.start_simple(command, streams, group)
                pids.append(pid)
                if group == 0:
                    group = pid
            except CommandFailure as failure:
                status = failure.status
            finally:
                streams.close(self.proc)
        return pids, status

    async def _redirect_from_null(self, table: dict[int, int], opened: list[int]) -> None:
        """A background command of a script must not eat the script's input."""
        try:
            table[0] = high(self.proc, await self.proc.open(b"/dev/null"))
        except KernelError:
            table.pop(0, None)
        else:
            opened.append(table[0])

    # --- simple commands ---------------------------------------------------------------------------------------

    async def run_simple(self, command: Simple, source: bytes) -> int:
        """A command on its own: a builtin runs here, anything else in a child that is waited for."""
        self.substitution_status = None
        arguments = self.with_jobs(await self.expand(expand_fields(command.words, self.state)))
        streams = Streams(inherited(self.proc))
        try:
            if not arguments:
                await self.redirect(command, streams)
                await self.assign(command)
                return self.substitution_status or 0
            builtin = builtins.BUILTINS.get(arguments[0])
            await self.redirect(command, streams)
            self.error_descriptor = streams.table.get(2, -1)
            if builtin is not None:
                return await self._run_builtin(builtin, command, arguments, streams)
            pid = await self._spawn(command, arguments, streams, 0 if self.interactive else None)
        finally:
            self.error_descriptor = 2
            streams.close(self.proc)
        return await self.wait_foreground(pid, [pid], source)

    async def start_simple(self, command: Simple, streams: Streams, group: int | None) -> int:
        """A command of a pipeline or in the background: always a child."""
        arguments = await self.expand(expand_fields(command.words, self.state))
        if not arguments or arguments[0] in builtins.BUILTINS:
            program = parse_simple(command)
            return self.subshell(program, streams.table, group)
        await self.redirect(command, streams)
        self.error_descriptor = streams.table.get(2, -1)
        try:
            return await self._spawn(command, arguments, streams, group)
        finally:
            self.error_descriptor = 2

    async def _run_builtin(
        self, builtin: builtins.Builtin, command: Simple, arguments: list[bytes], streams: Streams
    ) -> int:
        kept = {item.name: self.state.values.get(item.name) for item in command.assignments}
        await self.assign(command)
        try:
            return await builtin(self, arguments, streams)
        except Interrupted:
            raise
        except KernelError as error:
            await self.complain(f"{shown(arguments[0])}: {error_text(error)}")
            return 1
        finally:
            for name, value in kept.items():
                if value is None:
                    self.state.values.pop(name, None)
                else:
                    self.state.values[name] = value

    async def _spawn(
        self, command: Simple, arguments: list[bytes], streams: Streams, group: int | None
    ) -> int:
        environ = self.state.environment()
        for assignment in command.assignments:
            environ[assignment.name] = await self.expand(expand_text(assignment.value, self.state))
        name = arguments[0]
        failure: KernelError | None = None
        for path in self.candidates(name):
            try:
                return self.proc.spawn(path, arguments, environ=environ, files=streams.table, pgid=group)
            except KernelError as error:
                if error.errno == Errno.ENOEXEC:
                    text = await self._script_text(path, error)
                    return self._spawn_script(path, text, arguments, environ, streams, group)
                if error.errno not in (Errno.ENOENT, Errno.ENOTDIR):
                    failure = error
                    if error.errno != Errno.EACCES:
                        break
        if failure is None:
            reason = "No such file or directory" if b"/" in name else "not found"
            raise await self.failure(f"{shown(name)}: {reason}", STATUS_NOT_FOUND)
        raise await self.failure(f"{shown(name)}: {error_text(failure)}", STATUS_NOT_EXECUTABLE)

    async def _script_text(self, path: bytes, error: KernelError) -> bytes:
        """A file of text without ``#!`` is a script for the shell; anything else is no program."""
        descriptor = await self.proc.open(path)
        try:
            text = await self.proc.read_all(descriptor)
        finally:
            self.proc.close(descriptor)
        if b"\x00" in text[:256]:
            raise await self.failure(f"{shown(path)}: {error_text(error)}", STATUS_NOT_EXECUTABLE)
        return text

    def _spawn_script(
        self,
        path: bytes,
        text: bytes,
        arguments: list[bytes],
        environ: dict[bytes, bytes],
        streams: Streams,
        group: int | None,
    ) -> int:
        async def run(proc: Proc, argv: list[bytes]) -> int:
            state = State(name=path, pid=proc.pid, positional=arguments[1:])
            state.take_environment(environ)
            return await run_to_end(Shell(proc, state), TextSource(text))

        return self.proc.spawn_applet(run, arguments, files=streams.table, pgid=group)

    def with_jobs(self, arguments: list[bytes]) -> list[bytes]:
        """``kill %1``: the program knows no jobs, so it is given their process group (or process)."""
        if arguments[:1] != [b"kill"]:
            return arguments
        result = []
        for word in arguments:
            job = self.state.jobs.get(int(word[1:10])) if word[:1] == b"%" and word[1:].isdigit() else None
            if job is None:
                result.append(word)
            elif self.interactive:
                result.append(b"-%d" % job.group)
            else:
                result += [b"%d" % pid for pid in job.pids]
        if result[1:2] and result[1][:1] == b"-" and result[1][1:].isdigit() and len(result) == 2:
            result.insert(1, b"-TERM")  # `kill -5` alone would be a signal
        return result

    def candidates(self, name: bytes) -> list[bytes]:
        """The paths to try for a command."""
        if b"/" in name:
            return [name]
        if not name:
            return []
        path = self.state.get(b"PATH") or b""
        found = [(folder or b".") + b"/" + name for folder in path.split(b":")]
        return [candidate for candidate in found if self._is_file(candidate)]

    def _is_file(self, path: bytes) -> bool:
        """Whether a start is worth trying: each try makes a process, and uses up its number."""
        try:
            return self.proc.stat(path).mode & S_IFMT == S_IFREG
        except KernelError:
            return False

    def subshell(self, program: Program, table: dict[int, int], group: int | None = None) -> int:
        """Run commands in a child with a copy of the state."""
        state = self.state.copy()

        async def run(proc: Proc, argv: list[bytes]) -> int:
            shell = Shell(proc, state)
            try:
                return await shell.run_program(program)
            except ShellExit as leaving:
                return leaving.status

        if group is None and self.interactive:
            group = 0
        return self.proc.spawn_applet(run, [self.state.name], files=table, pgid=group)

    # --- expansion and redirection -----------------------------------------------------------------------------

    async def expand(self, expanding: Generator[Any, Any, Any]) -> Any:
        """Drive an expansion, answering its requests."""
        answer: Any = None
        try:
            while True:
                request = expanding.send(answer)
                if isinstance(request, RunScript):
                    answer = await self.output_of(request.script)
                else:
                    assert isinstance(request, ListFolder)
                    answer = await self.names_in(request.path)
        except StopIteration as done:
            return done.value
        except ExpansionError as error:
            if not self.interactive:
                await self.complain(str(error))
                raise ShellExit(STATUS_SYNTAX) from None
            raise await self.failure(str(error), STATUS_SYNTAX) from None

    async def output_of(self, script: bytes) -> bytes:
        """Command substitution."""
        reading, writing = high_pipe(self.proc)
        try:
            table = inherited(self.proc) | {1: writing}
            pid = self.subshell(parse(script), table, self.proc.process.pgid if self.interactive else None)
        finally:
            self.proc.close(writing)
        try:
            output = await self.proc.read_all(reading)
        finally:
            self.proc.close(reading)
        report = await self.proc.wait(pid)
        self.substitution_status = status_of(report) if report is not None else 0
        return output

    async def names_in(self, folder: bytes) -> list[bytes]:
        try:
            return [entry.name for entry in await self.proc.readdir(folder or b".")]
        except KernelError:
            return []

    async def assign(self, command: Simple) -> None:
        for assignment in command.assignments:
            self.state.set(assignment.name, await self.expand(expand_text(assignment.value, self.state)))

    async def redirect(self, command: Simple, streams: Streams) -> None:
        """Apply redirections in their order. Raises `CommandFailure`."""
        for redirection in command.redirections:
            target: bytes = await self.expand(expand_text(redirection.target, self.state))
            try:
                await streams.redirect(self.proc, redirection, target)
            except Interrupted:
                raise
            except KernelError as error:
                raise await self.failure(f"{shown(target)}: {error_text(error)}", 1) from None


async def run_to_end(shell: Shell, source: LineSource) -> int:
    """Run a source until it ends or the shell is left."""
    try:
        return await shell.run_source(source)
    except ShellExit as leaving:
        return leaving.status


def parse_simple(command: Simple) -> Program:
    """A program of just this command, for a subshell."""
    return (Item(AndOr(Pipeline((command,)))),)


def _at_line(error: ShellSyntaxError, first_line: int) -> str:
    """The message with the line counted from the beginning of the source."""
    return str(error).replace(f"line {error.line}:", f"line {error.line + first_line - 1}:", 1)
