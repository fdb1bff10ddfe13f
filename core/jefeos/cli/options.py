"""The boot options of the command line, declared once for every command that boots a system.

`takes_boot_options` adds them to a command's signature and hands the command one dict, in the words of
`jefeos.config.OPTIONS`. Options that were not given are None there, so that environment and TOML can speak.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

_Text = str | None
_Texts = list[str] | None
_Flag = bool | None
_Number = int | None


def _option(kind: Any, flag: str, metavar: str | None, text: str) -> Any:
    return Annotated[kind, typer.Option(flag, metavar=metavar, help=text, show_default=False)]


#: Parameter name (the name in `jefeos.config.OPTIONS`) to its annotated type.
BOOT_OPTIONS: dict[str, Any] = {
    "root": _option(_Text, "--root", "TAR|DIR[:rw]", "Root filesystem; writes stay in memory unless :rw."),
    "init": _option(_Text, "--init", "PROG", "First program (default: the root's init or /bin/sh)."),
    "mount": _option(_Texts, "--mount", "HOST:GUEST[:rw]", "Mount a host folder or archive. Repeatable."),
    "ram": _option(_Text, "--ram", "SIZE", "Physical memory, as 64M or 1G (default 256M)."),
    "plugins": _option(_Texts, "--plugins", "NAMES", "Load only these plugins (default: all installed)."),
    "without": _option(_Texts, "--without", "NAMES", "Leave these plugins out."),
    "strict": _option(_Flag, "--strict", None, "Any unhealthy plugin ends the boot."),
    "scheduler": _option(_Text, "--scheduler", "NAME", "Scheduler to use."),
    "memory_manager": _option(_Text, "--memory-manager", "NAME", "Memory manager to use."),
    "trace": _option(_Flag, "--trace", None, "Print every system call, as strace does, to standard error."),
    "trace_file": _option(_Text, "--trace-file", "FILE", "Write that trace to a file of the host."),
    "stats": _option(_Flag, "--stats", None, "Print counts of calls, faults and switches at the end."),
    "virtual_time": _option(_Flag, "--virtual-time", None, "A clock that jumps instead of waiting."),
    "seed": _option(_Number, "--seed", "N", "Seed of everything random."),
    "hostname": _option(_Text, "--hostname", "NAME", "Host name of the system."),
    "environment": _option(_Texts, "--env", "NAME=VALUE", "Set a variable for the first program. Repeatable."),
    "max_processes": _option(_Number, "--max-processes", "N", "Most processes and threads at once."),
    "config": _option(_Text, "--config", "FILE", "TOML file with any of these options."),
}

#: Lists given as one comma-separated value; a repeated option adds to them.
_COMMA_LISTS = ("plugins", "without")


def takes_boot_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give ``command(options, …)`` the boot options; ``options`` replaces its first parameter."""

    def wrapper(**arguments: Any) -> int:
        given = {name: arguments.pop(name) for name in BOOT_OPTIONS}
        return command(_in_config_words(given), **arguments)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    boot = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in BOOT_OPTIONS.items()
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = own + boot
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # How inspect is told of a made-up signature; typer reads it from there.
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


def _in_config_words(given: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {name: value if value != [] else None for name, value in given.items()}
    for name in _COMMA_LISTS:
        if options[name] is not None:
            options[name] = [item.strip() for text in options[name] for item in text.split(",") if item.strip()]
    trace_file = options.pop("trace_file")
    options["trace"] = trace_file or options["trace"]
    return options
