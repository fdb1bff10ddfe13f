"""The commands and their arguments, as typer declares them. Errors of usage become `UsageError`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from jefeos.cli.disk_app import disk
from jefeos.cli.options import BOOT_OPTIONS, in_config_words
from jefeos.errors import UsageError

_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False, "pretty_exceptions_enable": False}
_TYPES: dict[str, Any] = {"text": str | None, "texts": list[str] | None, "number": int | None, "flag": bool | None}

app = typer.Typer(
    name="jefeos",
    help="A kernel in Python that runs real x86-64 Linux programs, every part a plugin.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **_PLAIN,
)
plugins = typer.Typer(help="List, show and check plugins.", **_PLAIN)
app.add_typer(plugins, name="plugins")
app.add_typer(disk, name="disk")

#: The base of what the argument parser raises, wherever this release of typer keeps it.
_ParserError: type[Exception] = typer.BadParameter.__mro__[1]


def invoke(arguments: Sequence[str]) -> int:
    """Parse and run a command line; its exit status. Raises UsageError, and what the command raises."""
    if list(arguments) in ([], ["plugins"], ["disk"]):
        arguments = [*arguments, "--help"]
    try:
        return int(app(args=list(arguments), prog_name="jefeos", standalone_mode=False) or 0)
    except _ParserError as error:
        message = error.format_message().strip() if hasattr(error, "format_message") else str(error)
        raise UsageError(f"{message} (see {_help_of(error)})") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the parser ends with status 1 then, which says nothing
            raise end.__context__ from None
        raise


def takes_boot_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give ``command(options, …)`` the boot options; ``options`` replaces its first parameter."""

    def wrapper(**arguments: Any) -> int:
        given = {option.name: arguments.pop(option.name) for option in BOOT_OPTIONS}
        return command(in_config_words(given), **arguments)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    for option in BOOT_OPTIONS:
        info = typer.Option(option.flag, metavar=option.metavar, help=option.help, show_default=False)
        parameters.append(
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_TYPES[option.kind], info],
            )
        )
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # How inspect is told of a made-up signature; typer reads it from there.
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


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

    128+n for a program that signal n ended; 126 if it cannot be run, 127 if it is not there. The system ends with
    it, and so does what it left running. What follows PROG belongs to it: options of jefeos stand before.
    """
    from jefeos.cli.boot import run_command

    return run_command(options, command)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Benchmarks (default: all).")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Runs of each; the median counts.")] = 5,
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
