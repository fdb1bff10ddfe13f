"""``jefeos plugins new KIND NAME``: write a package that installs, loads and passes its tests at once.

The package follows the names of the bundled ones: folder and entry point NAME, distribution ``jefeos-<kind>-NAME``,
import package ``jefeos_<kind>_NAME``. ``fs`` starts from a tiny filesystem under the conformance suite, ``kernel``
from a scheduler, the others from one hook that says the plugin is there.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from jefeos.errors import UsageError
from jefeos.plugins import KINDS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SINGULAR = {"machines": "machine", "drivers": "driver", "shells": "shell", "themes": "theme"}

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.21"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "$summary"
readme = "README.md"
requires-python = ">=3.11"
dependencies = [
    "jefeos-core>=0.1,<0.2",
]

[project.entry-points."jefeos.$kind"]
$name = "$package.plugin"

[tool.hatch.build]
dev-mode-dirs = ["."]

[tool.hatch.build.targets.wheel]
packages = ["$package"]
"""

_README = """\
# $distribution

$summary.

    pip install -e .
    jefeos plugins doctor
    pytest
"""

_PLUGIN_HEAD = '''\
"""Hooks of $distribution: what they are is in jefeos/hookspecs.py."""

from __future__ import annotations

'''

_PLUGIN_ANY = (
    _PLUGIN_HEAD
    + '''\
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

JEFEOS_API = 1


@hookimpl
def jefeos_boot(kernel: Kernel) -> None:
    kernel.log.info("$name is here")
'''
)

_TEST_ANY = '''\
"""The plugin loads."""

from __future__ import annotations

from jefeos.config import BootConfig
from jefeos.plugins import load_plugins


def test_it_loads() -> None:
    plugins = load_plugins(BootConfig(plugins=("$kind/$name",)))
    assert [info.name for info in plugins.loaded] == ["builtin", "$name"]
'''

_PLUGIN_KERNEL = (
    _PLUGIN_HEAD
    + '''\
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.sched.scheduler import Scheduler

JEFEOS_API = 1


@hookimpl
def jefeos_scheduler(name: str | None) -> Scheduler | None:
    """Answer to ``--scheduler $name`` only."""
    if name != "$name":
        return None
    from jefeos.sched.scheduler import RoundRobinScheduler

    class Mine(RoundRobinScheduler):
        name = "$name"

    return Mine()
'''
)

_TEST_KERNEL = '''\
"""The scheduler is found by its name."""

from __future__ import annotations

from jefeos.config import BootConfig
from jefeos.plugins import load_plugins


def test_it_answers_to_its_name() -> None:
    config = BootConfig(plugins=("$kind/$name",))
    plugins = load_plugins(config)
    assert plugins.first("jefeos_scheduler", name="$name", config=config).name == "$name"
    assert plugins.first("jefeos_scheduler", name=None, config=config).name != "$name"
'''

_PLUGIN_FS = (
    _PLUGIN_HEAD
    + '''\
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.vfs.fstype import FilesystemType

JEFEOS_API = 1


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos.vfs.fstype import FilesystemType
    from $package.filesystem import $class_name

    def open_source(source, *, writable, page_cache, clock):
        return $class_name(page_cache, clock)

    return [FilesystemType("$name", lambda source: source == "$name:", open_source)]
'''
)

_FILESYSTEM = '''\
"""The filesystem: files in memory for a start. Replace `Tmpfs` by your own `Filesystem` and `Inode` classes."""

from __future__ import annotations

from jefeos.vfs.tmpfs import Tmpfs


class $class_name(Tmpfs):
    """$summary."""

    name = "$name"
'''

_TEST_FS = '''\
"""The filesystem passes the suite that every filesystem of JefeOS passes."""

from __future__ import annotations

import pytest
from jefeos.testing.filesystems import FilesystemConformance
from $package.filesystem import $class_name


class TestConformance(FilesystemConformance):
    @pytest.fixture
    def filesystem(self, page_cache, clock):
        return $class_name(page_cache, clock)
'''

_FILES = {"pyproject.toml": _PYPROJECT, "README.md": _README, "$package/__init__.py": '"""$summary."""\n'}
_BY_KIND = {
    "kernel": {"$package/plugin.py": _PLUGIN_KERNEL, "tests/test_plugin.py": _TEST_KERNEL},
    "fs": {
        "$package/plugin.py": _PLUGIN_FS,
        "$package/filesystem.py": _FILESYSTEM,
        "tests/test_conformance.py": _TEST_FS,
    },
}
_ANY_KIND = {"$package/plugin.py": _PLUGIN_ANY, "tests/test_plugin.py": _TEST_ANY}


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
        "class_name": "".join(part.capitalize() for part in name.split("-")) + "Filesystem",
        "summary": f"The {word} plugin {name} for JefeOS",
    }
    for path, content in {**_FILES, **_BY_KIND.get(kind, _ANY_KIND)}.items():
        file = target / Template(path).substitute(values)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(content).substitute(values), encoding="utf-8")
    print(f"wrote {values['distribution']} to {target}; next: pip install -e {target}")
    return 0
