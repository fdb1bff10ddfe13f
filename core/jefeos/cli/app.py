"""The commands and their arguments, and what an error looks like.

Exit statuses::

    0…255   of the program, or of the last command; 128+n when signal n ended it
    1       a check failed (plugins doctor, plugins show)
    2       wrong usage or configuration
    125     the system could not be booted
    126     the program was found but cannot be run          127   the program was not found

Every error is one line on standard error that starts with ``jefeos:``, a bug of JefeOS included; with JEFEOS_DEBUG=1
in the environment a bug shows its traceback.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from jefeos.cli.options import takes_boot_options
from jefeos.errors import BootError, Errno, JefeError, KernelError, PluginError, UsageError

STATUS_FAILED = 1
STATUS_USAGE = 2
STATUS_BOOT = 125
STATUS_NOT_RUNNABLE = 126
STATUS_NOT_FOUND = 127
STATUS_INTERRUPTED = 130
STATUS_BROKEN_PIPE = 141

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False, "pretty_exceptions_enable": False}

app = typer.Typer(
    name="jefeos",
    help="A kernel in Python that runs real x86-64 Linux programs, every part a plugin.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **_PLAIN,
)
plugins = typer.Typer(help="List, show and check plugins.", **_PLAIN)
app.add_typer(plugins, name="plugins")

#: The base of what the argument parser raises, wherever this release of typer keeps it.
_ParserError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status and never raises an expected error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in ([], ["plugins"]):
        arguments = [*arguments, "--help"]
    try:
        status = app(args=arguments, prog_name="jefeos", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except _ParserError as error:
        message = error.format_message().strip() if hasattr(error, "format_message") else str(error)
        return _fail(f"{' '.join(message.split())} (see {_help_of(error)})", STATUS_USAGE)
    except KernelError as error:
        return _fail(error.args[0] or str(error), status_of(error))
    except JefeError as error:
        return _fail(str(error), status_of(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output is gone; keep the interpreter from complaining when it flushes at exit.
            sys.stdout = None
            return STATUS_BROKEN_PIPE
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", STATUS_BOOT)
    except (KeyboardInterrupt, typer.Abort):
        return STATUS_INTERRUPTED
    except Exception as error:
        if os.environ.get("JEFEOS_DEBUG"):
            raise
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"internal error: {cause} (a bug; JEFEOS_DEBUG=1 shows where)", STATUS_BOOT)


def status_of(error: JefeError) -> int:
    """The exit status that tells a script what kind of failure this was."""
    if isinstance(error, UsageError):
        return STATUS_USAGE
    if isinstance(error, (BootError, PluginError)):
        return STATUS_BOOT
    if isinstance(error, KernelError):
        return STATUS_NOT_FOUND if error.errno in (Errno.ENOENT, Errno.ENOTDIR) else STATUS_NOT_RUNNABLE
    return STATUS_BOOT


def _fail(message: str, status: int) -> int:
    print(f"jefeos: {' '.join(message.split())}", file=sys.stderr)
    return status


def _help_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else 'jefeos'} --help"


def _print_version(wanted: bool) -> None:
    if wanted:
        import jefeos

        print(f"jefeos {jefeos.__version__}")
        raise typer.Exit


@app.callback()
def _jefeos(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
@takes_boot_options
def boot(options: dict[str, Any]) -> int:
    """Boot to a console; exits with the last command's status.

    With --root, its init or /bin/sh; without, the built-in root and jsh. When standard input is not a terminal,
    its lines are run, and the system shuts down at their end.
    """
    from jefeos.cli.boot import boot_command

    return boot_command(options)


@app.command(context_settings={"allow_interspersed_args": False})
@takes_boot_options
def run(
    options: dict[str, Any],
    command: Annotated[
        list[str], typer.Argument(metavar="PROG", help="Program of the guest, then its arguments.")
    ],
) -> int:
    """Run one program with the host's standard streams and pass its exit status on.

    128+n for a program that signal n ended; 126 if it cannot be run, 127 if it is not there. What follows PROG
    belongs to the program: options of jefeos stand before it.
    """
    from jefeos.cli.boot import run_command

    return run_command(options, command)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Benchmarks (default: all).")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Runs of each; the median counts.")] = 3,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    folder: Annotated[str | None, typer.Option("--folder", metavar="DIR", help="Where the suite is.")] = None,
) -> int:
    """Measure the system, beside native and qemu-user where they are installed."""
    from jefeos.cli.bench import bench_command

    return bench_command(names or [], rounds=rounds, only_list=list_, as_json=json, folder=folder)


@plugins.command("list")
def plugins_list(
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only plugins of this kind.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> int:
    """List what is installed, from metadata alone: no plugin is imported."""
    from jefeos.cli.plugins import list_command

    return list_command(kind, as_json=json)


@plugins.command("show")
def plugins_show(name: Annotated[str, typer.Argument(metavar="NAME", help="name or kind/name")]) -> int:
    """Show one plugin: where it comes from, what it hooks into, whether it loads."""
    from jefeos.cli.plugins import show_command

    return show_command(name)


@plugins.command("doctor")
def plugins_doctor() -> int:
    """Check Python, the CPU engine, every plugin and the terminal."""
    from jefeos.cli.plugins import doctor_command

    return doctor_command()


@plugins.command("new")
def plugins_new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of plugin: fs, kernel, shells, ...")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name on the command line.")],
    folder: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Where to (default: ./NAME).")] = None,
) -> int:
    """Write a package for a new plugin that installs, loads and passes its tests."""
    from jefeos.cli.new import new_command

    return new_command(kind, name, folder)
