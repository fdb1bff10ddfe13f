"""``jefeos plugins``: list (imports nothing), show (imports one plugin), doctor (tries everything)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from jefeos.errors import UsageError
from jefeos.plugins import (
    KINDS,
    PluginHealth,
    PluginInfo,
    Plugins,
    builtin_info,
    discover,
    duplicate_message,
    duplicates,
    find,
)

MINIMUM_PYTHON = (3, 11)
#: Enough for the engine to start in; doctor runs nothing on it.
DOCTOR_RAM_BYTES = 16 << 20


def list_command(kind: str | None, *, as_json: bool) -> int:
    """Print the installed plugins, one line each or as JSON."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind}: there is no such kind; there are {', '.join(KINDS)}")
    found = [info for info in discover() if kind in (None, info.kind)]
    if as_json:
        fields = ("kind", "name", "distribution", "version", "module")
        print(json.dumps([{name: getattr(info, name) for name in fields} for info in found], indent=2))
    else:
        rows = [(info.kind, info.name, info.distribution, info.version) for info in found]
        print_columns([("KIND", "NAME", "DISTRIBUTION", "VERSION"), *rows])
    for one, other in duplicates(found):
        print(f"jefeos: {duplicate_message(one, other)}", file=sys.stderr)
    return 0


def show_command(name: str) -> int:
    """Print what is known of one plugin; 1 if it does not load."""
    matches = find([builtin_info(), *discover()], name)
    if not matches:
        raise UsageError(f"no plugin {name!r} is installed; see jefeos plugins list")
    status = 0
    for index, info in enumerate(matches):
        if index:
            print()
        health, hooks = _try_loading(info)
        print_columns(_description(info, health, hooks))
        status = status if health.ok else 1
    return status


def doctor_command() -> int:
    """Check the parts a boot needs, one line each; 1 if any of them fails."""
    failures = 0
    for ok, line in [_check_python(), _check_engine(), *_check_plugins(), _check_terminal()]:
        print(f"{'ok  ' if ok else 'FAIL'}  {line}")
        failures += not ok
    print(f"{failures} problem{'s' if failures != 1 else ''} found" if failures else "all is well")
    return 1 if failures else 0


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns, the last one ragged."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _try_loading(info: PluginInfo) -> tuple[PluginHealth, list[str]]:
    plugins = Plugins()
    plugins.load(info)
    return plugins.health[-1], plugins.hooks()


def _description(info: PluginInfo, health: PluginHealth, hooks: list[str]) -> list[tuple[str, str]]:
    rows = [("name", info.name), ("kind", info.kind), ("distribution", f"{info.distribution} {info.version}")]
    try:
        about = metadata.metadata(info.distribution)
        rows.append(("summary", about["Summary"] or ""))
        rows += [("requires", line) for line in about.get_all("Requires-Dist") or []]
    except metadata.PackageNotFoundError:
        pass
    module = sys.modules.get(info.module)
    rows += [("module", info.module), ("file", getattr(module, "__file__", None) or "not loaded")]
    rows += [("hook", hook) for hook in hooks]
    rows.append(("health", "ok" if health.ok else f"{health.cause}; {health.remedy}"))
    return rows


def _check_python() -> tuple[bool, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < MINIMUM_PYTHON or sys.maxsize < 1 << 32:
        return False, f"python {version}: JefeOS needs a 64-bit Python 3.11 or later"
    return True, f"python {version}"


def _check_engine() -> tuple[bool, str]:
    try:
        from jefeos.cpu.unicorn import UnicornEngine

        engine = UnicornEngine(DOCTOR_RAM_BYTES)
        name = engine.name
        engine.close()
    except Exception as error:  # whatever a native library does when it is not at home here
        cause = " ".join(str(error).split()) or type(error).__name__
        return False, f"CPU engine: {cause}; reinstall jefeos-core and unicorn"
    return True, f"CPU engine: {name}"


def _check_plugins() -> list[tuple[bool, str]]:
    found = [builtin_info(), *discover()]
    results = []
    clashing: list[PluginInfo] = []
    for one, other in duplicates(found):
        results.append((False, duplicate_message(one, other)))
        clashing += [one, other]
    for info in found:
        if info in clashing:
            continue
        health, _ = _try_loading(info)
        results.append((health.ok, health.line().removesuffix(": ok")))
    return results


def _check_terminal() -> tuple[bool, str]:
    """Never a failure: without a terminal, boot reads lines from standard input."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        return True, "terminal: none; boot will run the lines of standard input"
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError as error:
        return True, f"terminal: size unknown ({error.strerror})"
    return True, f"terminal: {os.environ.get('TERM', 'TERM is not set')}, {size.columns}x{size.lines}"
