"""Finding and choosing plugins: from metadata alone, by name, with clashes told apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jefeos.errors import PluginError
from jefeos.plugins import PluginInfo, discover, duplicates, find, select


def info(qualified: str, distribution: str = "d", version: str = "1") -> PluginInfo:
    kind, name = qualified.split("/")
    return PluginInfo(kind, name, f"{name}.plugin", distribution, version)


FOUND = [info("abi/linux"), info("fs/host"), info("fs/tar"), info("net/ssh"), info("shells/ssh")]


def test_discover_reads_metadata_of_installed_packages(installed_packages: Path) -> None:
    found = discover([str(installed_packages)])
    assert info_of(found, "kernel/future") == ("jefeos_test_future.plugin", "jefeos-test-future", "2.0")
    assert info_of(found, "kernel/broken")[1] == "jefeos-test-broken"
    assert [entry.kind for entry in found] == sorted((entry.kind for entry in found), key=kind_order)


def test_discover_imports_no_plugin(installed_packages: Path) -> None:
    script = (
        "import sys\n"
        "from jefeos.plugins import discover\n"
        "assert any(info.name == 'broken' for info in discover())\n"
        "print(*[name for name in sys.modules if name.startswith(('jefeos_', 'unicorn'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(installed_packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_a_distribution_found_twice_counts_once(installed_packages: Path) -> None:
    folder = str(installed_packages)
    assert discover([folder, folder]) == discover([folder])


def test_duplicates_names_both_distributions(installed_packages: Path) -> None:
    pairs = duplicates(discover([str(installed_packages)]))
    assert [(one.distribution, other.distribution) for one, other in pairs] == [
        ("jefeos-test-twin-one", "jefeos-test-twin-other")
    ]


def test_select_default_is_everything() -> None:
    assert select(FOUND) == FOUND


def test_select_named_in_the_order_given() -> None:
    assert [chosen.qualified for chosen in select(FOUND, ["tar", "abi/linux", "tar"])] == ["fs/tar", "abi/linux"]


def test_select_nothing() -> None:
    assert select(FOUND, []) == []


def test_without() -> None:
    assert find(select(FOUND, None, ["fs/host", "tar"]), "host") == []
    assert len(select(FOUND, None, ["fs/host", "tar"])) == 3


@pytest.mark.parametrize(
    ("names", "without", "message"),
    [
        (["linus"], [], r"--plugins linus: .* did you mean linux\?"),
        (["ssh"], [], r"ambiguous: say one of net/ssh, shells/ssh"),
        (None, ["zzz"], r"--without zzz: .* installed are host, linux, ssh, tar"),
    ],
)
def test_select_errors(names: list[str] | None, without: list[str], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        select(FOUND, names, without)


def test_duplicate_name_is_an_error_naming_both_and_without_is_the_way_out() -> None:
    found = [*FOUND, info("fs/tar", "impostor", "3")]
    with pytest.raises(PluginError, match=r"fs/tar: d 1 and impostor 3; .*--without fs/tar"):
        select(found)
    assert all(chosen.name != "tar" for chosen in select(found, None, ["tar"]))
    assert [chosen.name for chosen in select(found, ["linux"])] == ["linux"]


def info_of(found: list[PluginInfo], qualified: str) -> tuple[str, str, str]:
    (match,) = find(found, qualified)
    return match.module, match.distribution, match.version


def kind_order(kind: str) -> int:
    from jefeos.plugins import KINDS

    return KINDS.index(kind)
