"""/proc/sys: settings of the kernel as files (sysctl).

Most are there because libraries and programs ask for them before they choose a strategy; root may write them, and then
the new value is shown and has no effect. hostname, domainname, pid_max and the limits of fs/inotify and fs/mqueue
(which the personality that has these asks for) do have one, and so have those of net (sysctl_network). Values follow a
Linux with its defaults.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from jefeos.errors import Errno, KernelError
from jefeos.vfs.procfs.nodes import ProcFile, StaticDirectory
from jefeos.vfs.procfs.sysctl_network import NetworkSettings
from jefeos.vfs.procfs.sysctl_values import DEFAULTS, READ_ONLY

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.namespaces import SystemNames
    from jefeos.vfs.inode import Filesystem, Inode

HOST_NAME_MAX = 64
OSTYPE = b"Linux"
DEFAULT_RELEASE = b"6.1.0-jefeos"
DEFAULT_VERSION = b"#1 SMP JefeOS"

_PID_MAX_MIN = 301
_PID_MAX_LIMIT = 4194304


def release_of(kernel: Kernel) -> bytes:
    """The kernel release that uname gives."""
    release: bytes = getattr(kernel, "release", DEFAULT_RELEASE)
    return release


def version_of(kernel: Kernel) -> bytes:
    """The kernel version that uname gives."""
    version: bytes = getattr(kernel, "version", DEFAULT_VERSION)
    return version


@define
class SystemSettings:
    """The settings that are not constants."""

    kernel: Kernel
    remembered: dict[str, bytes] = field(factory=lambda: dict(DEFAULTS))
    """What was written is there to be read, by programs and by `number`."""

    def number(self, path: str) -> int:
        """The value of a setting that is one number, such as ``fs/inotify/max_user_watches``."""
        return int(self.remembered[path])

    def readers(self) -> dict[str, Callable[[], bytes]]:
        """What each of them shows."""
        return {
            "kernel/hostname": lambda: self._names().hostname,
            "kernel/domainname": lambda: self._names().domainname,
            "kernel/osrelease": lambda: release_of(self.kernel),
            "kernel/ostype": lambda: OSTYPE,
            "kernel/version": lambda: version_of(self.kernel),
            "kernel/pid_max": lambda: b"%d" % self.kernel.processes.pid_max,
            "kernel/pty/nr": lambda: b"%d" % len(self.kernel.terminals.devpts.slaves),
            "kernel/random/boot_id": lambda: self.kernel.boot_id.encode(),
            "kernel/random/uuid": self._random_uuid,
            "fs/file-nr": self._file_counts,
        }

    def writers(self) -> dict[str, Callable[[bytes], None]]:
        """What takes writes."""
        writers: dict[str, Callable[[bytes], None]] = {
            "kernel/hostname": self._set_hostname,
            "kernel/domainname": self._set_domainname,
            "kernel/pid_max": self._set_pid_max,
        }
        writers.update({path: _Setter(self.remembered, path) for path in DEFAULTS if path not in READ_ONLY})
        return writers

    def _names(self) -> SystemNames:
        """Those that the caller sees."""
        task = self.kernel.executor.current
        return task.process.names if task is not None else self.kernel.names

    def _random_uuid(self) -> bytes:
        return str(uuid.UUID(bytes=self.kernel.entropy.bytes(16), version=4)).encode()

    def _file_counts(self) -> bytes:
        tables = {id(task.files): len(task.files) for p in self.kernel.processes for task in p.tasks}
        return b"%d\t0\t9223372036854775807" % sum(tables.values())

    def _set_hostname(self, value: bytes) -> None:
        self._names().hostname = _name(value)

    def _set_pid_max(self, value: bytes) -> None:
        number = int(_like(b"0", value))
        if not _PID_MAX_MIN <= number <= _PID_MAX_LIMIT:
            raise KernelError(Errno.EINVAL)
        self.kernel.processes.pid_max = number

    def _set_domainname(self, value: bytes) -> None:
        self._names().domainname = _name(value)


def _name(value: bytes) -> bytes:
    name = value.split(b"\n")[0]
    if len(name) > HOST_NAME_MAX:
        raise KernelError(Errno.EINVAL)
    return name


def build(fs: Filesystem, kernel: Kernel, next_ino: Callable[[], int]) -> StaticDirectory:
    """The directory /proc/sys."""
    settings = kernel.settings
    readers: dict[str, Callable[[], bytes]] = {**settings.readers()}
    for path in DEFAULTS:
        readers[path] = _Getter(settings.remembered, path)
    writers = settings.writers()
    tree: dict[str, Any] = {}
    for path in sorted(readers):
        *directories, name = path.split("/")
        level = tree
        for directory in directories:
            level = level.setdefault(directory, {})
        store = writers.get(path)
        level[name] = ProcFile(
            fs, next_ino(), _line(readers[path]), mode=0o644 if store is not None else 0o444, store=store
        )
    made = _directory(fs, tree, next_ino)
    without_stack = made.nodes.get(b"net")
    made.nodes[b"net"] = NetworkSettings(fs, next_ino, kernel, "net.", without_stack)
    return made


def _directory(fs: Filesystem, tree: dict[str, Any], next_ino: Callable[[], int]) -> StaticDirectory:
    nodes: dict[bytes, Inode] = {
        name.encode(): _directory(fs, node, next_ino) if isinstance(node, dict) else node
        for name, node in tree.items()
    }
    return StaticDirectory(fs, next_ino(), nodes)


@frozen
class _Getter:
    values: dict[str, bytes]
    path: str

    def __call__(self) -> bytes:
        return self.values[self.path]


@frozen
class _Setter:
    values: dict[str, bytes]
    path: str

    def __call__(self, value: bytes) -> None:
        self.values[self.path] = _like(self.values[self.path], value)


def _like(old: bytes, value: bytes) -> bytes:
    """What replaces a value: text for text, and for numbers as many numbers or fewer. EINVAL for anything else."""
    words, before = value.split(), old.split()
    if not all(_is_number(word) for word in before):
        return value.partition(b"\n")[0]
    if not words or len(words) > len(before) or not all(_is_number(word) for word in words):
        raise KernelError(Errno.EINVAL)
    return b"\t".join(words + before[len(words) :])


def _is_number(word: bytes) -> bool:
    return word.removeprefix(b"-").isdigit()


def _line(read: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: read() + b"\n"
