"""Hooks of jefeos-shell-jsh: a small shell and a few dozen applets, for booting without a root."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attrs import frozen
from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet
    from jefeos.proc.applet import Proc

JEFEOS_API = 1

APPLETS = {
    "main": {"jsh": "main", "sh": "main"},
    "applets.files": dict.fromkeys(["ls", "cp", "mv", "rm", "mkdir", "rmdir", "touch", "ln", "chmod"], ""),
    "applets.text": dict.fromkeys(["cat", "echo", "printf", "head", "tail", "wc", "hexdump"], ""),
    "applets.search": {"grep": "grep"},
    "applets.conditions": {"test": "test", "[": "test"},
    "applets.system": dict.fromkeys(
        ["pwd", "true", "false", "env", "sleep", "kill", "uname", "ps", "mount", "free", "date", "seq", "tee", "yes",
         "sync", "sort"], ""
    ),
}  # fmt: skip


@frozen
class LazyApplet:
    """An applet whose module is imported when it first runs, so that booting does not wait for it."""

    module: str
    function: str

    async def __call__(self, proc: Proc, argv: list[bytes]) -> int:
        applet: Any = getattr(import_module(f"jefeos_shell_jsh.{self.module}"), self.function)
        status: int = await applet(proc, argv)
        return status


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    return {
        name: LazyApplet(module, function or name)
        for module, names in APPLETS.items()
        for name, function in names.items()
    }


@hookimpl
def jefeos_shell() -> str:
    return "/bin/jsh"
