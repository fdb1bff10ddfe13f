"""The house rules that a machine can check: who imports whom, how long files are, what may not be written down."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_FILE_LINES = 500
SOURCE_SUFFIXES = (".py", ".c", ".h", ".S", ".s", ".sh")
#: Absolute paths of somebody's machine: home folders, and workspaces of build machines.
MACHINE_PATH = re.compile(r"/(?:home|Users)/[a-z]\w*/|/root/\.|/work/(?:main|shared)\b|\b[A-Z]:\\Users\\")


def tracked_files(root: Path) -> list[Path]:
    """Files that git knows, or every file outside hidden and build folders where this is no clone."""
    try:
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=60, check=True)
        paths = [root / name.decode() for name in done.stdout.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in root.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if path.is_file()]


def packages(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("plugins/*/*/pyproject.toml"))


def imported_names(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def project(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def import_package(folder: Path) -> str:
    (package,) = (path.parent.name for path in folder.glob("jefeos_*/__init__.py"))
    return package


def test_no_plugin_imports_another(repository: Path) -> None:
    folders = packages(repository)
    assert len(folders) >= 4
    names = {import_package(folder): folder for folder in folders}
    for package, folder in names.items():
        for source in folder.rglob("*.py"):
            foreign = {name.partition(".")[0] for name in imported_names(source)} & (names.keys() - {package})
            assert not foreign, f"{source.relative_to(repository)} imports {foreign}"


def test_core_imports_no_plugin(repository: Path) -> None:
    for source in (repository / "core" / "jefeos").rglob("*.py"):
        plugins = [name for name in imported_names(source) if name.startswith("jefeos_")]
        assert not plugins, f"{source.relative_to(repository)} imports {plugins}"


def test_only_the_cpu_folder_knows_the_engine_library(repository: Path) -> None:
    sources = [*(repository / "core" / "jefeos").rglob("*.py"), *(repository / "plugins").rglob("jefeos_*/**/*.py")]
    for source in sources:
        if (repository / "core" / "jefeos" / "cpu") not in source.parents:
            assert "unicorn" not in {name.partition(".")[0] for name in imported_names(source)}, source


def test_names_of_folder_distribution_package_and_entry_point_agree(repository: Path) -> None:
    singular = {"machines": "machine", "drivers": "driver", "shells": "shell", "themes": "theme"}
    for folder in packages(repository):
        kind, name = folder.parent.name, folder.name
        word = singular.get(kind, kind)
        about = project(folder)
        assert about["name"] == f"jefeos-{word}-{name}"
        assert import_package(folder) == f"jefeos_{word}_{name.replace('-', '_')}"
        assert about["entry-points"] == {f"jefeos.{kind}": {name: f"{import_package(folder)}.plugin"}}
        assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# jefeos-{word}-{name}")


def test_development_requirements_list_every_package(repository: Path) -> None:
    lines = (repository / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.removeprefix("-e ./") for line in lines if line.startswith("-e ")}
    assert listed == {"core", *(folder.relative_to(repository).as_posix() for folder in packages(repository))}


def test_no_source_file_is_too_long(repository: Path) -> None:
    for path in tracked_files(repository):
        if path.suffix in SOURCE_SUFFIXES:
            lines = path.read_bytes().count(b"\n")
            assert lines <= LONGEST_FILE_LINES, f"{path.relative_to(repository)} has {lines} lines"


def test_every_module_says_what_it_is(repository: Path) -> None:
    roots = [repository / "core" / "jefeos", *(folder / import_package(folder) for folder in packages(repository))]
    for source in (path for root in roots for path in root.rglob("*.py")):
        assert ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))), source.relative_to(repository)


def test_no_path_of_a_machine_is_written_down(repository: Path) -> None:
    for path in tracked_files(repository):
        if path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        match = MACHINE_PATH.search(text)
        assert match is None, f"{path.relative_to(repository)} holds {match[0] if match else ''}"


#: Host calls that Unix alone has; core may name them only inside functions that are called on Unix.
UNIX_ONLY = {"fcntl", "termios", "pty", "tty", "resource", "pwd", "grp", "syslog"}


def test_core_needs_no_unix_module_to_import(repository: Path) -> None:
    for source in (repository / "core" / "jefeos").rglob("*.py"):
        module = ast.parse(source.read_text(encoding="utf-8"))
        for node in module.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not UNIX_ONLY & set(names), f"{source.relative_to(repository)} imports {names} at the top"


@pytest.mark.parametrize("name", ["core", "abi/linux", "fs/host", "fs/tar", "shells/jsh"])
def test_the_metapackage_names_every_package(repository: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", repository / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metadata: dict[str, list[str]] = {}
    module.BundledPackages(str(repository), {}).update(metadata)
    folder = repository / (name if name == "core" else f"plugins/{name}")
    assert f"{project(folder)['name']} @ {folder.as_uri()}" in metadata["dependencies"]
    assert len(metadata["dependencies"]) == 1 + len(packages(repository))
