"""`BootConfig` from options, environment and TOML: precedence, units, and errors that say where."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from jefeos.config import MIB, BootConfig, MountSpec, parse_size
from jefeos.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64M", 64 * MIB), ("64MiB", 64 * MIB), ("1g", 1024 * MIB), ("8192 K", 8 * MIB), ("2T", 1 << 41),
        (12345, 12345), ("99", 99),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "64X", "64MM", None, True])
def test_bad_sizes(text: object) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("/a:/b", MountSpec("/a", "/b")),
        ("/a:/b:rw", MountSpec("/a", "/b", True)),
        ("/a:/b:ro", MountSpec("/a", "/b")),
        (r"C:\x:/b:rw", MountSpec(r"C:\x", "/b", True)),
        ("we:ird:/b", MountSpec("we:ird", "/b")),
    ],
)
def test_mount_specs(text: str, spec: MountSpec) -> None:
    assert MountSpec.parse(text) == spec
    assert MountSpec.parse(str(spec)) == spec


@pytest.mark.parametrize("text", ["/a", ":/b", "/a:b", "/a:rw", "x:", "\0:/b"])
def test_bad_mount_specs(text: str) -> None:
    with pytest.raises(ConfigError):
        BootConfig.make(mount=[text])


def test_root_mode() -> None:
    assert BootConfig.make(root="/x:rw") == BootConfig(root="/x", root_writable=True)
    assert BootConfig.make(root=Path("/x")) == BootConfig(root="/x")
    assert BootConfig.make(root_writable=True, root="/x").root_writable


def test_precedence_is_option_environment_file_default(tmp_path: Path) -> None:
    file = tmp_path / "boot.toml"
    file.write_text('ram = "32M"\nhostname = "file"\nseed = 1\nmount = ["/a:/b"]\nvirtual-time = true\n')
    environ = {"JEFEOS_HOSTNAME": "environ", "JEFEOS_SEED": "2", "JEFEOS_RAM": "", "JEFEOS_TEST_DATA": "x"}
    config = BootConfig.load({"seed": 3, "hostname": None}, environ, str(file))
    assert (config.ram_bytes, config.hostname, config.seed) == (32 * MIB, "environ", 3)
    assert config.mounts == (MountSpec("/a", "/b"),)
    assert config.virtual_time
    assert config.scheduler is None
    assert BootConfig.load({}, {"JEFEOS_CONFIG": str(file)}).seed == 1


def test_an_option_without_rw_takes_the_environments_rw_back() -> None:
    assert not BootConfig.load({"root": "/y"}, {"JEFEOS_ROOT": "/x:rw"}).root_writable


def test_plugin_names_from_the_environment() -> None:
    config = BootConfig.load({}, {"JEFEOS_PLUGINS": "linux, tar", "JEFEOS_WITHOUT": "jsh"})
    assert config.plugins == ("linux", "tar")
    assert config.without == ("jsh",)
    assert BootConfig.load({"plugins": []}, {}).plugins == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ram": "1K"}, "option --ram: 1K is not between"),
        ({"ram": "lots"}, "option --ram: 'lots' is not a size"),
        ({"init": "sh"}, "option --init: 'sh' is not an absolute path"),
        ({"hostname": "-x"}, "option --hostname: "),
        ({"seed": -1}, "option --seed: -1 is not between"),
        ({"max_processes": 0}, "option --max-processes"),
        ({"strict": "perhaps"}, "not a switch"),
        ({"environment": ["A"]}, "NAME=VALUE"),
        ({"colour": "red"}, "option 'colour' is unknown; there are: root"),
        ({"root": ""}, "option --root: it is empty"),
        ({"root": 5}, "option --root"),
        ({"mount": 5}, "option --mount: 5 is not a list"),
    ],
)
def test_errors_name_the_option(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BootConfig.load(options, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_name_the_variable_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment variable JEFEOS_SEED: 'x' is not a whole number"):
        BootConfig.load({}, {"JEFEOS_SEED": "x"})
    bad = tmp_path / "bad.toml"
    bad.write_text("ram = [")
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML"):
        BootConfig.load({}, {}, str(bad))
    bad.write_text("rom = 1")
    with pytest.raises(ConfigError, match=r"bad\.toml: 'rom' is unknown"):
        BootConfig.load({}, {}, str(bad))
    with pytest.raises(ConfigError, match="No such file"):
        BootConfig.load({}, {}, str(tmp_path / "none.toml"))


def test_ram_is_whole_pages() -> None:
    assert BootConfig.make(ram=16 * MIB + 5).ram_bytes == 16 * MIB


def test_environment_and_pickle() -> None:
    config = BootConfig.make(env={"A": "1"}, mount=["/a:/b"], trace="x.txt")
    assert config.environment == (("A", "1"),)
    assert config == pickle.loads(pickle.dumps(config))
    assert BootConfig.make(environment=["A=1=2"]).environment == (("A", "1=2"),)
    assert BootConfig.make(trace="yes").trace is True
