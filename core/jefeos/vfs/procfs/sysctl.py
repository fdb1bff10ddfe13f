"""/proc/sys: settings of the kernel as files (sysctl).

Most are there because libraries and programs ask for them before they choose a strategy; root may write them, and then
the new value is shown and has no effect. hostname, domainname, pid_max and the limits of fs/inotify and fs/mqueue
(which the personality that has these asks for) do have one. Values follow a Linux with its
defaults.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from jefeos.errors import Errno, KernelError
from jefeos.vfs.procfs.nodes import ProcFile, StaticDirectory

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.namespaces import SystemNames
    from jefeos.vfs.inode import Filesystem, Inode

HOST_NAME_MAX = 64
OSTYPE = b"Linux"
DEFAULT_RELEASE = b"6.1.0-jefeos"
DEFAULT_VERSION = b"#1 SMP JefeOS"

_CONSTANTS: Mapping[str, bytes] = {
    "kernel/cap_last_cap": b"40",
    "kernel/core_pattern": b"core",
    "kernel/core_uses_pid": b"0",
    "kernel/dmesg_restrict": b"0",
    "kernel/kptr_restrict": b"0",
    "kernel/msgmax": b"8192",
    "kernel/msgmnb": b"16384",
    "kernel/msgmni": b"32000",
    "kernel/ngroups_max": b"65536",
    "kernel/overflowgid": b"65534",
    "kernel/overflowuid": b"65534",
    "kernel/panic": b"0",
    "kernel/perf_event_paranoid": b"2",
    "kernel/printk": b"4\t4\t1\t7",
    "kernel/pty/max": b"4096",
    "kernel/random/entropy_avail": b"256",
    "kernel/random/poolsize": b"256",
    "kernel/randomize_va_space": b"2",
    "kernel/seccomp/actions_avail": b"",
    "kernel/sem": b"32000\t1024000000\t500\t32000",
    "kernel/shmall": b"18446744073692774399",
    "kernel/shmmax": b"18446744073692774399",
    "kernel/shmmni": b"4096",
    "kernel/tainted": b"0",
    "kernel/threads-max": b"32768",
    "kernel/unprivileged_bpf_disabled": b"2",
    "kernel/yama/ptrace_scope": b"0",
    "vm/dirty_background_ratio": b"10",
    "vm/dirty_ratio": b"20",
    "vm/max_map_count": b"65530",
    "vm/min_free_kbytes": b"1024",
    "vm/mmap_min_addr": b"65536",
    "vm/nr_hugepages": b"0",
    "vm/overcommit_kbytes": b"0",
    "vm/overcommit_memory": b"1",
    "vm/overcommit_ratio": b"50",
    "vm/swappiness": b"60",
    "fs/aio-max-nr": b"65536",
    "fs/dentry-state": b"0\t0\t45\t0\t0\t0",
    "fs/file-max": b"9223372036854775807",
    "fs/inode-nr": b"0\t0",
    "fs/inotify/max_queued_events": b"16384",
    "fs/inotify/max_user_instances": b"128",
    "fs/inotify/max_user_watches": b"65536",
    "fs/mqueue/msg_default": b"10",
    "fs/mqueue/msg_max": b"10",
    "fs/mqueue/msgsize_default": b"8192",
    "fs/mqueue/msgsize_max": b"8192",
    "fs/mqueue/queues_max": b"256",
    "fs/nr_open": b"1048576",
    "fs/pipe-max-size": b"1048576",
    "fs/pipe-user-pages-hard": b"0",
    "fs/pipe-user-pages-soft": b"16384",
    "fs/protected_hardlinks": b"0",
    "fs/protected_symlinks": b"0",
    "fs/suid_dumpable": b"0",
    "net/core/somaxconn": b"4096",
    "net/ipv4/ip_local_port_range": b"32768\t60999",
    "net/ipv6/bindv6only": b"0",
}


_READ_ONLY: Set[str] = frozenset((
    "kernel/cap_last_cap", "kernel/ngroups_max", "kernel/random/entropy_avail", "kernel/random/poolsize",
    "kernel/seccomp/actions_avail", "fs/dentry-state", "fs/inode-nr",
))  # fmt: skip
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
    remembered: dict[str, bytes] = field(factory=lambda: dict(_CONSTANTS))
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
        writers.update({path: _Setter(self.remembered, path) for path in _CONSTANTS if path not in _READ_ONLY})
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
    for path in _CONSTANTS:
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
    return _directory(fs, tree, next_ino)


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
