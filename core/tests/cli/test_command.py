"""The `jefeos` command as a user types it: one-line errors, exit statuses, cheap help, plugin listings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Modules that no help text needs; each costs a good part of the quarter second that `jefeos --help` may take.
HEAVY = ("asyncio", "unicorn", "rich", "attr", "pluggy", "jefeos.kernel", "importlib.metadata")


def jefeos(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jefeos", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("JEFEOS_")} | (env or {}),
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["boot", "--colour", "red"], 2, "No such option: --colour"),
        (["boot", "--ram"], 2, "--ram"),
        (["boot", "--ram", "lots"], 2, "option --ram: 'lots' is not a size"),
        (["boot", "--mount", "/a"], 2, "option --mount: '/a' is not HOST:GUEST[:rw]"),
        (["boot", "--seed", "x"], 2, "--seed"),
        (["boot", "--config", "/does/not/exist"], 2, "No such file"),
        (["run"], 2, "Missing argument"),
        (["run", "--bogus", "/bin/true"], 2, "No such option: --bogus"),
        (["conquer"], 2, "No such command"),
        (["boot", "--plugins", "linus"], 125, "no such plugin is installed; did you mean linux?"),
        (["boot", "--without", "linus"], 125, "no such plugin is installed; did you mean linux?"),
        (["plugins", "list", "--kind", "hat"], 2, "there is no such kind"),
        (["plugins", "show", "hat"], 2, "no plugin 'hat' is installed"),
        (["bench", "no-such-benchmark", "--folder", "."], 2, ""),
    ],
)
def test_errors_are_one_line_and_have_their_status(arguments: list[str], status: int, message: str) -> None:
    done = jefeos(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert done.stderr.startswith("jefeos: ")
    assert done.stderr.count("\n") == 1


def test_configuration_errors_come_from_the_environment_too() -> None:
    done = jefeos("boot", env={"JEFEOS_RAM": "1K"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("jefeos: environment variable JEFEOS_RAM: 1K is not between")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["plugins"], ["boot", "-h"], ["run", "--help"], ["--version"]])
def test_help_is_on_standard_output(arguments: list[str]) -> None:
    done = jefeos(*arguments)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: jefeos" if "--version" not in arguments else "jefeos 0.")


@pytest.mark.parametrize("module", ["jefeos", "jefeos.cli"])
def test_the_package_runs_as_the_command(module: str) -> None:
    command = [sys.executable, "-m", module, "plugins", "show", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.partition(":")[0]) == (2, "", "jefeos")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from jefeos.cli import main\n"
        "assert main() == 0\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.rstrip().endswith("HEAVY []")


def test_importing_jefeos_loads_nothing_heavy() -> None:
    script = f"import sys, jefeos; print([name for name in {HEAVY!r} + ('typer',) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_plugins_list() -> None:
    done = jefeos("plugins", "list")
    assert done.returncode == 0
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["KIND", "NAME", "DISTRIBUTION", "VERSION"]
    assert ["abi", "linux", "jefeos-abi-linux"] in [row.split()[:3] for row in rows]


def test_plugins_list_as_json_and_by_kind() -> None:
    listed = json.loads(jefeos("plugins", "list", "--json", "--kind", "fs").stdout)
    assert {entry["kind"] for entry in listed} == {"fs"}
    assert {"host", "tar"} <= {entry["name"] for entry in listed}
    assert jefeos("plugins", "list", "--kind", "themes", "--json").stdout.strip() == "[]"


def test_plugins_show() -> None:
    done = jefeos("plugins", "show", "fs/host")
    assert done.returncode == 0
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("hook"))
    assert rows["distribution"].startswith("jefeos-fs-host ")
    assert rows["health"] == "ok"


def test_plugins_doctor_on_a_sound_house() -> None:
    done = jefeos("plugins", "doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all is well\n")
    assert "FAIL" not in done.stdout


def test_plugins_with_a_broken_one_beside(tmp_path: Path) -> None:
    metadata = tmp_path / "jefeos_ruin-3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jefeos-ruin\nVersion: 3\n")
    (metadata / "entry_points.txt").write_text("[jefeos.fs]\nruin = jefeos_ruin.plugin\ntar = jefeos_ruin.plugin\n")
    env = {"PYTHONPATH": str(tmp_path)}
    listed = jefeos("plugins", "list", env=env)
    assert listed.returncode == 0
    assert "jefeos-ruin" in listed.stdout
    assert "two distributions provide the plugin fs/tar" in listed.stderr
    shown = jefeos("plugins", "show", "ruin", env=env)
    assert shown.returncode == 1
    assert "No module named 'jefeos_ruin'" in shown.stdout
    doctor = jefeos("plugins", "doctor", env=env)
    assert doctor.returncode == 1
    assert "FAIL  plugin fs/ruin (jefeos-ruin 3): import failed" in doctor.stdout
    assert "FAIL  two distributions provide the plugin fs/tar" in doctor.stdout
    assert "2 problems found" in doctor.stdout
