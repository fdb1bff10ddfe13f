"""``jefeos plugins new KIND NAME``: write a package that installs, loads and passes its tests at once.

The package follows the names of the bundled ones: folder and entry point NAME, distribution ``jefeos-<kind>-NAME``,
import package ``jefeos_<kind>_NAME``. ``fs`` starts from a tiny filesystem and ``drivers`` from a small network card,
model and driver, both under their conformance suites; ``kernel`` from a scheduler, the others from one hook that says
the plugin is there. The files are templates below templates/: common, and one folder for a kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

from jefeos.errors import UsageError
from jefeos.plugins import KINDS

PACKAGE_FOLDER: Final = "PACKAGE"
SUFFIX: Final = ".tmpl"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SINGULAR = {"machines": "machine", "drivers": "driver", "shells": "shell", "themes": "theme"}


def new_command(kind: str, name: str, folder: str | None) -> int:
    """Write the package into ``folder`` (default: NAME in the working folder), which must not exist."""
    if kind not in KINDS:
        raise UsageError(f"{kind} is no kind of plugin; there are {', '.join(KINDS)}")
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is no plugin name: lower-case letters, digits and single hyphens")
    target = Path(folder or name)
    if target.exists():
        raise UsageError(f"{target} is there already")
    word = _SINGULAR.get(kind, kind)
    values = {
        "kind": kind,
        "name": name,
        "distribution": f"jefeos-{word}-{name}",
        "package": f"jefeos_{word}_{name.replace('-', '_')}",
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "summary": f"The {word} plugin {name} for JefeOS",
    }
    for path, content in _templates(kind):
        file = target / path.replace(PACKAGE_FOLDER, values["package"], 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(content).substitute(values), encoding="utf-8")
    print(f"wrote {values['distribution']} to {target}; next: pip install -e {target}")
    return 0


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    """The files of a package: paths, in which PACKAGE stands for its name, and texts, with ``$name`` and so on."""
    templates = files("jefeos.cli") / "templates"
    own = templates / kind
    for folder in (templates / "common", own if own.is_dir() else templates / "any"):
        yield from _below(folder, "")


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield prefix + entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")
