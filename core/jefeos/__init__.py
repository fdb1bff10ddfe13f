"""JefeOS: an operating-system kernel in Python that runs real x86-64 Linux programs.

    import jefeos

    with jefeos.boot(root="alpine.tar.gz") as os:
        done = os.run(["/bin/ls", "/"], timeout=5)
        print(done.status, done.stdout)

The names below are loaded at first use: ``import jefeos`` itself stays cheap, because every start of the
command line and every plugin import passes through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jefeos.api import Completed, System, boot
    from jefeos.config import BootConfig, MountSpec
    from jefeos.errors import BootError, ConfigError, JefeError, KernelError, PluginError, UsageError

__version__ = "0.1.0"

__all__ = [
    "BootConfig",
    "BootError",
    "Completed",
    "ConfigError",
    "JefeError",
    "KernelError",
    "MountSpec",
    "PluginError",
    "System",
    "UsageError",
    "__version__",
    "boot",
]

_HOMES = {
    "jefeos.api": ("Completed", "System", "boot"),
    "jefeos.config": ("BootConfig", "MountSpec"),
    "jefeos.errors": ("BootError", "ConfigError", "JefeError", "KernelError", "PluginError", "UsageError"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'jefeos' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
