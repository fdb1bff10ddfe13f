"""What to boot: `BootConfig`, and how it is put together from options, environment and a TOML file.

One list, `OPTIONS`, names everything that can be set. Each option has the same meaning in four places, and the
first of them that sets it wins::

    Python / command line     root="alpine.tar.gz"     --root alpine.tar.gz
    environment               JEFEOS_ROOT=alpine.tar.gz
    TOML file (--config)      root = "alpine.tar.gz"
    default                   None: the built-in root with jsh

Values may come typed (TOML, Python) or as text (environment, command line); either way the same reader checks
them, and what is wrong ends in one `ConfigError` that names the option, where it came from, and what is expected.

Does not: look whether the root exists or which filesystem opens it (the kernel asks the filesystem types).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from jefeos.errors import ConfigError

if TYPE_CHECKING:
    from jefeos.inject.spec import Fault
    from jefeos.net.wires.lan import Faults

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

DEFAULT_RAM_BYTES = 256 * MIB
#: Below this, page tables, the engine's reserved frames and one libc do not fit.
MINIMUM_RAM_BYTES = 8 * MIB
#: The engine loads 32 bits of CR3, so page tables must lie below this.
MAXIMUM_RAM_BYTES = 4 * GIB
PAGE_BYTES = 4096

DEFAULT_MAX_PROCESSES = 4096
#: Linux's PID_MAX_LIMIT on 64-bit machines.
MAXIMUM_PROCESSES = 4 * MIB

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


@frozen
class MountSpec:
    """A host source mounted in the guest: ``HOST:GUEST[:rw]``, read-only unless ``:rw``."""

    host: str
    guest: str
    writable: bool = False

    @classmethod
    def parse(cls, text: str) -> MountSpec:
        """Read ``HOST:GUEST[:rw|:ro]``. HOST may hold colons (``C:\\data``); GUEST is absolute."""
        rest, writable = split_mode(text)
        host, separator, guest = rest.rpartition(":")
        if not separator or not host:
            raise ConfigError(f"{text!r} is not HOST:GUEST[:rw]")
        if not guest.startswith("/"):
            raise ConfigError(f"{text!r}: the guest path {guest!r} is not absolute")
        return cls(host, guest, writable)

    def __str__(self) -> str:
        return f"{self.host}:{self.guest}{':rw' if self.writable else ''}"


@frozen
class DiskSpec:
    """A disk image that the machine has as a disk: ``IMAGE[:ro]``."""

    path: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> DiskSpec:
        """Read ``IMAGE[:ro|:rw]``; a disk can be written unless it says otherwise."""
        path = text.removesuffix(":rw").removesuffix(":ro")
        return cls(path, text.endswith(":ro"))

    def __str__(self) -> str:
        return f"{self.path}{':ro' if self.read_only else ''}"


@frozen
class Forward:
    """A port of the host that leads to one of the system: ``[ADDRESS:]PORT:GUESTPORT[/udp]``."""

    host_port: int
    guest_port: int
    protocol: str = "tcp"
    host_address: str = "127.0.0.1"
    """Where the host listens; only this machine reaches 127.0.0.1."""

    @classmethod
    def parse(cls, text: str) -> Forward:
        """Read it; an IPv6 address stands in brackets."""
        rest, _, protocol = text.partition("/")
        address, _, host = rest.rpartition(":")[0].rpartition(":")
        guest = rest.rpartition(":")[2]
        if protocol not in ("", "tcp", "udp"):
            raise ConfigError(f"{text!r}: the protocol is tcp or udp, not {protocol!r}")
        try:
            host_port, guest_port = int(host), int(guest)
        except ValueError:
            raise ConfigError(f"{text!r} is not [ADDRESS:]PORT:GUESTPORT[/udp], as 2222:22") from None
        if not all(0 < port < 1 << 16 for port in (host_port, guest_port)):
            raise ConfigError(f"{text!r}: ports are from 1 to 65535")
        if address:
            from ipaddress import ip_address

            try:
                address = str(ip_address(address.strip("[]")))
            except ValueError:
                raise ConfigError(f"{text!r}: {address!r} is not an address of the host") from None
        return cls(host_port, guest_port, protocol or "tcp", address or "127.0.0.1")

    def __str__(self) -> str:
        return f"{self.host_address}:{self.host_port}:{self.guest_port}/{self.protocol}"


@frozen
class BootConfig:
    """Everything a boot depends on. Values only: no open files, so that it pickles and compares."""

    #: Host folder or archive that becomes ``/``; None for the built-in root.
    root: str | None = None
    #: Writes go to ``root`` itself instead of to memory above it.
    root_writable: bool = False
    #: Guest path of the first program; None for the root's init or /bin/sh, or the shell plugin.
    init: str | None = None
    #: Restarting the system (reboot(2)) ends ``jefeos boot`` too.
    no_reboot: bool = False
    mounts: tuple[MountSpec, ...] = ()
    ram_bytes: int = DEFAULT_RAM_BYTES
    #: Names of the plugins to load, ``name`` or ``kind/name``; None for all that are installed.
    plugins: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    #: Any unhealthy plugin ends the boot.
    strict: bool = False
    #: Name of the scheduler, of the memory manager; None for the default.
    scheduler: str | None = None
    memory_manager: str | None = None
    #: Name of the machine that has the devices; None for the simulated one.
    machine: str | None = None
    disks: tuple[DiskSpec, ...] = ()
    #: Filesystems on the machine's disks are mounted under /mnt.
    automount: bool = True
    #: The wire of the network card, ``KIND`` or ``KIND:REST``; ``auto`` for ``user`` if there is one; None for no card.
    net: str | None = None
    #: What frames suffer on the wire, both ways.
    net_faults: Faults | None = None
    #: Ports of the host that lead into the system, for wires that can do it.
    forwards: tuple[Forward, ...] = ()
    #: Model of the network card.
    nic: str = "e1000"
    #: Host file that gets what passes on the wire.
    pcap: str | None = None
    #: False, True (standard error), or the host file to write the system-call trace to.
    trace: bool | str = False
    #: Report counts of system calls, faults and switches at the end.
    stats: bool = False
    virtual_time: bool = False
    #: Seed of everything random; None draws one from the host.
    seed: int | None = None
    #: What is made to fail, as `jefeos.inject.spec` says.
    inject: tuple[Fault, ...] = ()
    hostname: str = "jefeos"
    #: Environment of the first program; None for a small default.
    environment: tuple[tuple[str, str], ...] | None = field(default=None)
    #: Most processes and threads that may exist at once; more fail with EAGAIN.
    max_processes: int = DEFAULT_MAX_PROCESSES

    @classmethod
    def make(cls, **options: Any) -> BootConfig:
        """From options as a caller writes them (``ram="64M"``, ``mount=["a:/a"]``); see `OPTIONS`."""
        return _apply(cls(), options, "option")

    @classmethod
    def load(
        cls,
        options: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        config_file: str | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> BootConfig:
        """Layer ``options`` over ``environ`` (JEFEOS_*) over the TOML file over ``defaults`` over `BootConfig`'s own.

        None in ``options`` means not given.
        """
        environ = os.environ if environ is None else environ
        config = _apply(cls(), defaults or {}, "default")
        config_file = config_file or environ.get("JEFEOS_CONFIG") or None
        if config_file is not None:
            config = _apply(config, _read_toml(config_file), f"{config_file}:")
        # As elsewhere on Unix, a variable that is set to nothing counts as not set.
        from_environ = {name: environ[variable(name)] for name in OPTIONS if environ.get(variable(name))}
        config = _apply(config, from_environ, "environment variable", variable)
        return _apply(config, options or {}, "option", lambda name: f"--{name.replace('_', '-')}")


def variable(option: str) -> str:
    """The environment variable of an option: ``virtual_time`` gives ``JEFEOS_VIRTUAL_TIME``."""
    return f"JEFEOS_{option.upper()}"


def parse_size(value: Any) -> int:
    """Bytes from ``268435456``, ``"256M"``, ``"1GiB"``; K, M, G and T are powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ConfigError(f"{value!r} is not a size such as 64M or 1G")
    return int(match[1]) * _UNITS[match[2].upper()]


def split_mode(text: str) -> tuple[str, bool]:
    """Split a trailing ``:rw`` or ``:ro`` off; returns the rest and whether it is writable."""
    if text.endswith(":rw"):
        return text[:-3], True
    return text.removesuffix(":ro"), False


# --- readers: from what a person writes to the fields they set -------------------------------------------------


def _read_root(value: Any) -> dict[str, Any]:
    if value is None:
        return {"root": None, "root_writable": False}
    root, writable = split_mode(_text(os.fspath(value)))
    return {"root": root, "root_writable": writable}


def _read_ram(value: Any) -> dict[str, Any]:
    size = parse_size(value)
    if not MINIMUM_RAM_BYTES <= size <= MAXIMUM_RAM_BYTES:
        raise ConfigError(f"{value} is not between {MINIMUM_RAM_BYTES // MIB}M and {MAXIMUM_RAM_BYTES // GIB}G")
    return {"ram_bytes": size - size % PAGE_BYTES}


def _read_mounts(value: Any) -> dict[str, Any]:
    specs = [spec if isinstance(spec, MountSpec) else MountSpec.parse(_text(spec)) for spec in _items(value)]
    return {"mounts": tuple(specs)}


def _read_disks(value: Any) -> dict[str, Any]:
    return {
        "disks": tuple(
            spec if isinstance(spec, DiskSpec) else DiskSpec.parse(_text(os.fspath(spec))) for spec in _items(value)
        )
    }


def _read_net(value: Any) -> dict[str, Any]:
    spec = _text(value)
    if spec == "none":
        return {"net": None}
    return {"net": spec}


def _read_net_faults(value: Any) -> dict[str, Any]:
    from jefeos.net.wires.faulty import parse_faults
    from jefeos.net.wires.lan import Faults

    return {"net_faults": value if isinstance(value, Faults) else parse_faults(_text(value))}


def _read_forwards(value: Any) -> dict[str, Any]:
    return {
        "forwards": tuple(item if isinstance(item, Forward) else Forward.parse(_text(item)) for item in _items(value))
    }


def _read_init(value: Any) -> dict[str, Any]:
    path = _text(value)
    if not path.startswith("/"):
        raise ConfigError(f"{path!r} is not an absolute path in the guest")
    return {"init": path}


def _read_trace(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"trace": value}
    text = _text(os.fspath(value))
    if text.lower() in _TRUE:
        return {"trace": True}
    return {"trace": False if text.lower() in _FALSE else text}


def _read_seed(value: Any) -> dict[str, Any]:
    return {"seed": _integer(value, 0, (1 << 64) - 1)}


def _read_inject(value: Any) -> dict[str, Any]:
    from jefeos.inject.spec import parse_faults

    return {"inject": parse_faults(value)}


def _read_hostname(value: Any) -> dict[str, Any]:
    name = _text(value)
    if _HOSTNAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is not a host name (letters, digits, '-' and '.', up to 64)")
    return {"hostname": name}


def _read_environment(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        pairs = [(_text(name), _text(text)) for name, text in value.items()]
    else:
        split = [_text(item).partition("=") for item in _items(value)]
        if any(not name or not equals for name, equals, _ in split):
            raise ConfigError("each entry is NAME=VALUE")
        pairs = [(name, text) for name, _, text in split]
    return {"environment": tuple(pairs)}


def _read_processes(value: Any) -> dict[str, Any]:
    return {"max_processes": _integer(value, 1, MAXIMUM_PROCESSES)}


def _text_option(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: _text(value)}


def _names_option(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: tuple(_text(item) for item in _items(value))}


def _flag_option(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: _flag(value)}


#: Every option, by its name in Python and TOML, with the reader that gives the fields it sets.
OPTIONS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "root": _read_root,
    "root_writable": _flag_option("root_writable"),
    "init": _read_init,
    "no_reboot": _flag_option("no_reboot"),
    "mount": _read_mounts,
    "ram": _read_ram,
    "plugins": _names_option("plugins"),
    "without": _names_option("without"),
    "strict": _flag_option("strict"),
    "scheduler": _text_option("scheduler"),
    "memory_manager": _text_option("memory_manager"),
    "machine": _text_option("machine"),
    "disk": _read_disks,
    "no_automount": lambda value: {"automount": not _flag(value)},
    "net": _read_net,
    "net_faults": _read_net_faults,
    "forward": _read_forwards,
    "nic": _text_option("nic"),
    "pcap": _text_option("pcap"),
    "trace": _read_trace,
    "stats": _flag_option("stats"),
    "virtual_time": _flag_option("virtual_time"),
    "seed": _read_seed,
    "inject": _read_inject,
    "hostname": _read_hostname,
    "environment": _read_environment,
    "max_processes": _read_processes,
}

#: Other spellings, for callers from Python who think of the field.
_ALIASES = {"mounts": "mount", "disks": "disk", "forwards": "forward", "ram_bytes": "ram", "env": "environment"}


def _apply(
    config: BootConfig, options: Mapping[str, Any], source: str, spell: Callable[[str], str] = str
) -> BootConfig:
    values: dict[str, Any] = {}
    for given, value in options.items():
        name = given.replace("-", "_")
        name = _ALIASES.get(name, name)
        if name not in OPTIONS:
            raise ConfigError(f"{source} {given!r} is unknown; there are: {', '.join(OPTIONS)}")
        values[name] = value
    changes: dict[str, Any] = {}
    for name, reader in OPTIONS.items():  # in this order: root_writable has the last word over root
        value = values.get(name)
        if value is None:
            continue
        try:
            changes.update(reader(value))
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"{source} {spell(name)}: {error}") from None
    return evolve(config, **changes) if changes else config


def _read_toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{value!r} is not text")
    if not value or "\0" in value:
        raise ConfigError("it is empty" if not value else f"{value!r} holds a NUL")
    return value


def _items(value: Any) -> list[Any]:
    """A list from a list, or from text with commas."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, Iterable):
        return list(value)
    raise ConfigError(f"{value!r} is not a list")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ConfigError(f"{value!r} is not a switch (1 or 0, true or false, yes or no, on or off)")
    return text in _TRUE


def _integer(value: Any, low: int, high: int) -> int:
    try:
        number = value if isinstance(value, int) else int(_text(value), 0)
    except ValueError:
        raise ConfigError(f"{value!r} is not a whole number") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise ConfigError(f"{value!r} is not between {low} and {high}")
    return number
