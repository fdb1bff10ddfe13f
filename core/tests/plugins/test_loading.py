"""Loading plugins and calling their hooks: one broken plugin is one line, and never more."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jefeos import hookspecs
from jefeos.config import BootConfig
from jefeos.errors import PluginError
from jefeos.hookspecs import hookimpl
from jefeos.plugins import PluginHealth, PluginInfo, Plugins, builtin_info, discover, load_plugins

UNWELL = ("broken", "future", "misspelt")


def info(name: str, kind: str = "fs") -> PluginInfo:
    return PluginInfo(kind, name, f"{name}.plugin", f"jefeos-fs-{name}", "1.0")


def plugin(api: int = 1, **hooks: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(JEFEOS_API=api, **{name: hookimpl(function) for name, function in hooks.items()})


def test_broken_plugins_are_one_line_each_and_the_rest_loads(with_packages: Callable[..., Path]) -> None:
    with_packages()
    lines: list[str] = []
    config = BootConfig.make(without=["twin", "linux", "host", "tar", "jsh"])
    plugins = load_plugins(config, lambda health: lines.append(health.line()))
    assert {"builtin", "failing"} <= {loaded.name for loaded in plugins.loaded}
    assert len(lines) == len(UNWELL)
    assert all("\n" not in line for line in lines)
    broken, future, misspelt = lines
    assert "kernel/broken (jefeos-test-broken 1.0)" in broken
    assert "No module named 'jefeos_module_that_is_not_there'" in broken
    assert "install jefeos_module_that_is_not_there, or boot --without kernel/broken" in broken
    assert "jefeos-test-future 2.0" in future
    assert "written for API 99, this core has 1; upgrade jefeos-core" in future
    assert "there is no hook jefeos_filesystem" in misspelt


@pytest.mark.parametrize("name", UNWELL)
def test_a_broken_plugin_that_was_named_is_fatal(with_packages: Callable[..., Path], name: str) -> None:
    with_packages()
    with pytest.raises(PluginError, match=f"jefeos-test-{name}"):
        load_plugins(BootConfig.make(plugins=[name]))


def test_strict_makes_any_broken_plugin_fatal(with_packages: Callable[..., Path]) -> None:
    with_packages()
    with pytest.raises(PluginError, match="jefeos-test-broken"):
        load_plugins(BootConfig.make(without=["twin"], strict=True))


def test_duplicate_names_end_the_boot(with_packages: Callable[..., Path]) -> None:
    with_packages()
    with pytest.raises(PluginError, match=r"jefeos-test-twin-one 1\.0 and jefeos-test-twin-other 1\.0"):
        load_plugins(BootConfig())


def test_only_named_plugins_are_imported(with_packages: Callable[..., Path]) -> None:
    with_packages()
    plugins = load_plugins(BootConfig.make(plugins=["failing"]))
    assert [loaded.name for loaded in plugins.loaded] == ["builtin", "failing"]


def test_a_hook_that_raises_is_reported_and_left_out(with_packages: Callable[..., Path]) -> None:
    with_packages()
    reports: list[PluginHealth] = []
    others = {found.qualified for found in discover() if found.name not in ("failing", "builtin")}
    plugins = load_plugins(BootConfig.make(without=sorted(others)), reports.append)
    plugins.register(info("good"), plugin(jefeos_filesystems=lambda: ["good"]))
    assert plugins.collect("jefeos_filesystems") == [["good"]]
    assert "RuntimeError: the disk of this plugin is on fire" in reports[-1].line()
    assert [health.ok for health in plugins.health if health.info.name == "failing"] == [False]


def test_a_hook_of_a_named_plugin_that_raises_is_fatal(with_packages: Callable[..., Path]) -> None:
    with_packages()
    plugins = load_plugins(BootConfig.make(plugins="failing"))
    with pytest.raises(PluginError, match="on fire"):
        plugins.collect("jefeos_filesystems")


def test_first_result_asks_the_last_registered_first_and_core_last() -> None:
    plugins = Plugins()
    plugins.register(info("core"), plugin(jefeos_shell=lambda: "/bin/core"))
    plugins.register(info("silent"), plugin(jefeos_shell=lambda: None))
    assert plugins.first("jefeos_shell") == "/bin/core"
    plugins.register(info("late"), plugin(jefeos_shell=lambda: "/bin/late"))
    assert plugins.first("jefeos_shell") == "/bin/late"


def test_a_first_result_hook_that_raises_ends_the_boot_with_its_plugins_name() -> None:
    def fail() -> None:
        raise ZeroDivisionError("oops")

    plugins = Plugins()
    plugins.register(info("odd"), plugin(jefeos_shell=fail))
    with pytest.raises(PluginError, match=r"fs-odd 1\.0\): jefeos_shell failed: ZeroDivisionError: oops"):
        plugins.first("jefeos_shell")


def test_hooks_get_only_the_arguments_they_ask_for() -> None:
    plugins = Plugins()
    calls: list[Any] = []
    plugins.register(info("a"), plugin(jefeos_boot=lambda: calls.append("none")))
    plugins.register(info("b"), plugin(jefeos_boot=lambda kernel: calls.append(kernel)))
    plugins.announce("jefeos_boot", kernel="K")
    assert calls == ["K", "none"]
    assert len(plugins.functions("jefeos_boot")) == 2


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        (SimpleNamespace(), "does not state JEFEOS_API"),
        (plugin(0), "written for API 0"),
        (plugin(jefeos_boot=lambda kernel, extra: None), "extra"),
        (plugin(jefeos_unheard_of=lambda: None), "no hook jefeos_unheard_of"),
    ],
    ids=["no api", "old api", "extra argument", "unknown hook"],
)
def test_a_plugin_that_does_not_fit_is_not_registered(module: object, cause: str) -> None:
    reports: list[PluginHealth] = []
    plugins = Plugins(report=reports.append)
    assert plugins.register(info("odd"), module) is False
    assert cause in reports[0].cause
    assert plugins.loaded == []
    assert plugins.hooks() == []


def test_every_hook_says_when_and_what_an_error_does() -> None:
    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith("jefeos_")}
    assert len(specs) >= 10
    for name, function in specs.items():
        document = function.__doc__ or ""
        assert "When:" in document, name
        assert "error" in document.lower(), name


def test_core_defaults_implement_the_three_replaceable_parts() -> None:
    plugins = Plugins()
    assert plugins.load(builtin_info())
    assert {"jefeos_scheduler", "jefeos_memory_manager", "jefeos_syscall_table"} <= set(plugins.hooks())


def test_the_documentation_names_every_hook(repository: Path) -> None:
    text = (repository / "docs" / "plugins.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(jefeos_\w+)`", text.partition("## The hooks")[2].partition("## Rules")[0]))
    assert documented == {name for name in vars(hookspecs) if name.startswith("jefeos_")}
