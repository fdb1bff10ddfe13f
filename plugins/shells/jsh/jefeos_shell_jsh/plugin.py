"""Hooks of jefeos-shell-jsh: a small shell and a few dozen applets, for booting without a root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.hookspecs import Applet

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


@hookimpl
def jefeos_applets() -> dict[str, Applet]:
    from jefeos.proc.applet import applet_in

    return {
        name: applet_in(f"jefeos_shell_jsh.{module}:{function or name}")
        for module, names in APPLETS.items()
        for name, function in names.items()
    }


@hookimpl
def jefeos_shell() -> str:
    return "/bin/jsh"
