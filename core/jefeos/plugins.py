"""Plugins: found from metadata, chosen by name, loaded one by one, and never able to brick the system.

::

    discover()            entry points of installed distributions -> PluginInfo     imports no plugin
      select(...)         default set, or --plugins; less --without -> the chosen     imports no plugin
        load_plugins()    import, check JEFEOS_API, register           -> Plugins      each in its own try
          Plugins.first / collect / announce / functions                               calls hooks, guarded

Every outcome is a `PluginHealth`: one line with name, distribution, version, cause and remedy. A broken plugin
is left out and boot goes on, unless the user named it or asked for ``--strict``: then `PluginError` says that line.
Two distributions that claim one name in one kind are an error, since no one can know which is meant.

Does not: install anything, isolate plugins from each other (they are Python code with the user's rights), or
check what a plugin imports (a test of ours does that for the bundled ones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, Any

import pluggy
from attrs import define, field, frozen

from jefeos import hookspecs
from jefeos.errors import JefeError, PluginError

if TYPE_CHECKING:
    from jefeos.config import BootConfig

#: The kinds of plugin; a kind's entry points are in the group ``jefeos.<kind>``. ``kernel`` is for schedulers, memory
#: managers, system calls and observers that belong to no other kind.
KINDS = ("kernel", "abi", "machines", "drivers", "fs", "net", "shells", "themes")
GROUP_PREFIX = "jefeos."
#: Core's own defaults: always there, last to be asked, replaced by answering before them.
BUILTIN_MODULE = "jefeos.builtin"


@frozen
class PluginInfo:
    """A plugin as its metadata describes it, before any import."""

    kind: str
    name: str
    module: str
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        """``kind/name``, unambiguous where two kinds use one name."""
        return f"{self.kind}/{self.name}"

    def __str__(self) -> str:
        return f"{self.qualified} ({self.distribution} {self.version})"


@frozen
class PluginHealth:
    """How loading or calling one plugin went. ``cause`` is empty when it is well."""

    info: PluginInfo
    cause: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.cause

    def line(self) -> str:
        """One line for a terminal: name, distribution, version, then the cause and what to do."""
        if self.ok:
            return f"plugin {self.info}: ok"
        return f"plugin {self.info}: {self.cause}; {self.remedy}"


# --- finding -------------------------------------------------------------------------------------------------


def discover(path: Sequence[str] | None = None) -> list[PluginInfo]:
    """Every installed plugin, ordered by kind and name, from metadata alone.

    ``path`` replaces ``sys.path``. A distribution that ``sys.path`` offers twice counts once, its first place.
    """
    found: list[PluginInfo] = []
    seen: set[str] = set()
    for distribution in distributions() if path is None else distributions(path=list(path)):
        try:
            entries = [entry for entry in distribution.entry_points if _kind_of(entry) is not None]
        except Exception:  # an entry_points.txt that is not in the format: that distribution names no plugin
            continue
        if not entries:
            continue
        name, version = _identity(distribution)
        if name.lower().replace("_", "-") in seen:
            continue
        seen.add(name.lower().replace("_", "-"))
        found += [PluginInfo(_kind_of(entry) or "", entry.name, entry.value, name, version) for entry in entries]
    return sorted(found, key=lambda info: (KINDS.index(info.kind), info.name, info.distribution))


def duplicates(found: Iterable[PluginInfo]) -> list[tuple[PluginInfo, PluginInfo]]:
    """Pairs of plugins that claim the same kind and name."""
    first: dict[str, PluginInfo] = {}
    pairs = []
    for info in found:
        other = first.setdefault(info.qualified, info)
        if other is not info:
            pairs.append((other, info))
    return pairs


def find(found: Iterable[PluginInfo], name: str) -> list[PluginInfo]:
    """The plugins that ``name`` or ``kind/name`` stands for."""
    return [info for info in found if name in (info.name, info.qualified)]


def _kind_of(entry: EntryPoint) -> str | None:
    kind = entry.group.removeprefix(GROUP_PREFIX)
    return kind if kind != entry.group and kind in KINDS else None


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        return metadata["Name"] or "unknown", metadata["Version"] or "unknown"
    except Exception:  # a half-removed distribution has no readable METADATA; its plugin still deserves a line
        return "unknown", "unknown"


# --- choosing ------------------------------------------------------------------------------------------------


def select(
    found: Sequence[PluginInfo], names: Sequence[str] | None = None, without: Sequence[str] = ()
) -> list[PluginInfo]:
    """The plugins to load: those named (None: all), less ``without``.

    Raises `PluginError` for a name that is not installed, stands for plugins of two kinds, or is claimed by two
    distributions.
    """
    if names is None:
        chosen = list(found)
    else:
        chosen = []
        for name in names:
            chosen += [info for info in _named(found, name) if info not in chosen]
    for name in without:
        leaving = find(found, name)
        if not leaving:
            raise PluginError(f"--without {name}: {_not_installed(found, name)}")
        chosen = [info for info in chosen if info not in leaving]
    for one, other in duplicates(chosen):
        raise PluginError(duplicate_message(one, other))
    return chosen


def duplicate_message(one: PluginInfo, other: PluginInfo) -> str:
    """Names both distributions that claim one plugin name, and the ways out."""
    return (
        f"two distributions provide the plugin {one.qualified}: {one.distribution} {one.version} and "
        f"{other.distribution} {other.version}; uninstall one of them, or boot --without {one.qualified}"
    )


def _named(found: Sequence[PluginInfo], name: str) -> list[PluginInfo]:
    matches = find(found, name)
    if not matches:
        raise PluginError(f"--plugins {name}: {_not_installed(found, name)}")
    kinds = sorted({info.qualified for info in matches})
    if len(kinds) > 1:
        raise PluginError(f"--plugins {name} is ambiguous: say one of {', '.join(kinds)}")
    return matches


def _not_installed(found: Sequence[PluginInfo], name: str) -> str:
    from difflib import get_close_matches

    names = sorted({info.name for info in found})
    close = get_close_matches(name.rpartition("/")[2], names, 1)
    hint = f"did you mean {close[0]}?" if close else f"installed are {', '.join(names) or 'none'}"
    return f"no such plugin is installed; {hint}"


# --- loading -------------------------------------------------------------------------------------------------


@define(slots=False)
class Plugins:
    """The loaded plugins of one boot, and guarded calls to their hooks.

    ``report`` receives each unhealthy `PluginHealth` as it is found; the kernel sends its line to the console.
    """

    strict: bool = False
    report: Callable[[PluginHealth], None] = lambda health: None
    loaded: list[PluginInfo] = field(factory=list)
    health: list[PluginHealth] = field(factory=list)
    _named: frozenset[str] = field(factory=frozenset, alias="named")
    _manager: pluggy.PluginManager = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def load(self, info: PluginInfo) -> bool:
        """Import and register one plugin. False when it is unhealthy; raises where that is fatal."""
        from importlib import import_module

        try:
            module = import_module(info.module)
        except ImportError as error:
            missing = error.name or "a module"
            self.fail(info, f"import failed: {_one_line(error)}", f"reinstall {info.distribution} or install {missing}")
            return False
        except BaseException as error:  # SystemExit at import is the plugin's fault as well
            if isinstance(error, KeyboardInterrupt):
                raise
            self.fail(info, f"import failed: {_describe(error)}", f"upgrade or uninstall {info.distribution}")
            return False
        return self.register(info, module)

    def register(self, info: PluginInfo, module: object) -> bool:
        """Register an imported plugin module (or any object with hooks), after checking what it claims."""
        api = getattr(module, "JEFEOS_API", None)
        if api is None:
            self.fail(info, "it does not state JEFEOS_API", f"upgrade {info.distribution}, or ask its author")
            return False
        if api not in hookspecs.SUPPORTED_API_VERSIONS:
            older = isinstance(api, int) and api < hookspecs.API_VERSION
            self.fail(
                info,
                f"it is written for API {api!r}, this core has {hookspecs.API_VERSION}",
                f"upgrade {info.distribution}" if older else "upgrade jefeos-core",
            )
            return False
        problem = _problem_with_hooks(module)
        if problem is None:
            try:
                self._manager.register(module, info.qualified)
            except (pluggy.PluginValidationError, ValueError) as error:
                problem = _one_line(error)
        if problem is not None:
            if self._manager.has_plugin(info.qualified):
                self._manager.unregister(name=info.qualified)
            self.fail(info, problem, "its hooks must match jefeos/hookspecs.py")
            return False
        self.loaded.append(info)
        self.health.append(PluginHealth(info))
        return True

    def fail(self, info: PluginInfo, cause: str, remedy: str) -> None:
        """Record that a plugin is unhealthy; raise `PluginError` if the user named it or wants ``--strict``."""
        health = PluginHealth(info, cause, f"{remedy}, or boot --without {info.qualified}")
        self.health = [other for other in self.health if other.info != info] + [health]
        if self.strict or info.name in self._named or info.qualified in self._named:
            raise PluginError(health.line())
        self.report(health)

    # -- calling hooks --

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer that is not None, or None. An implementation that raises ends the boot: PluginError."""
        for info, function in self._implementations(hook, arguments):
            try:
                result = function()
            except Exception as error:
                if isinstance(error, JefeError) or info.module == BUILTIN_MODULE:
                    raise
                raise PluginError(f"plugin {info}: {hook} failed: {_describe(error)}") from error
            if result is not None:
                return result
        return None

    def collect(self, hook: str, **arguments: Any) -> list[Any]:
        """Every answer that is not None, in the order of asking. A plugin that raises is reported and left out."""
        results = []
        for info, function in self._implementations(hook, arguments):
            try:
                result = function()
            except PluginError:
                raise
            except Exception as error:
                self.fail(info, f"{hook} failed: {_describe(error)}", f"upgrade or uninstall {info.distribution}")
                continue
            if result is not None:
                results.append(result)
        return results

    announce = collect

    def functions(self, hook: str) -> list[Callable[..., Any]]:
        """The bare implementations of an announcement, to be kept and called by keyword without any guard."""
        return [implementation.function for implementation in self._ordered(hook)]

    def hooks(self) -> list[str]:
        """The names of the hooks that the loaded plugins implement."""
        names = (name for name in dir(self._manager.hook) if name.startswith("jefeos_"))
        return sorted(name for name in names if self._ordered(name))

    def info(self, name: str) -> PluginInfo | None:
        """The loaded plugin called ``name`` or ``kind/name``."""
        return next(iter(find(self.loaded, name)), None)

    def _ordered(self, hook: str) -> list[Any]:
        return list(reversed(getattr(self._manager.hook, hook).get_hookimpls()))

    def _implementations(
        self, hook: str, arguments: dict[str, Any]
    ) -> list[tuple[PluginInfo, Callable[[], Any]]]:
        by_name = {info.qualified: info for info in self.loaded}
        calls: list[tuple[PluginInfo, Callable[[], Any]]] = []
        for implementation in self._ordered(hook):
            wanted = {name: arguments[name] for name in implementation.argnames}
            calls.append((by_name[implementation.plugin_name], _bind(implementation.function, wanted)))
        return calls


def load_plugins(
    config: BootConfig,
    report: Callable[[PluginHealth], None] = lambda health: None,
    found: Sequence[PluginInfo] | None = None,
) -> Plugins:
    """Load core's defaults and the plugins that ``config`` selects; ``found`` replaces the installed ones."""
    chosen = select(discover() if found is None else found, config.plugins, config.without)
    plugins = Plugins(config.strict, report, named=frozenset(config.plugins or ()))
    plugins.load(builtin_info())
    for info in chosen:
        plugins.load(info)
    return plugins


def builtin_info() -> PluginInfo:
    """Core's own defaults, described as a plugin."""
    import jefeos

    return PluginInfo("core", "builtin", BUILTIN_MODULE, "jefeos-core", jefeos.__version__)


def _bind(function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[[], Any]:
    return lambda: function(**arguments)


def _problem_with_hooks(module: object) -> str | None:
    """What is wrong with the marked functions of a plugin, where pluggy itself would not say."""
    known = {name for name in vars(hookspecs) if name.startswith("jefeos_")}
    for name in dir(module):
        options = getattr(getattr(module, name, None), f"{hookspecs.PROJECT}_impl", None)
        if not isinstance(options, dict):
            continue
        if options.get("wrapper") or options.get("hookwrapper"):
            return f"{name} is a hook wrapper"
        if (options.get("specname") or name) not in known:
            return f"there is no hook {name}"
    return None


def _describe(error: BaseException) -> str:
    message = _one_line(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
