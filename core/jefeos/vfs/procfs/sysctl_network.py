"""/proc/sys/net: the settings of the network stack (`NetworkStack.settings`), by their dotted names.

The first look at one makes the stack, as the first socket does: what is written before there is any socket holds.
Without a stack's plugin there is what `sysctl` shows else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.inode import DirEntry, Filesystem, Inode
from jefeos.vfs.procfs.nodes import ProcDirectory, ProcFile

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

Setting = int | str | tuple[int, ...]


class NetworkSettings(ProcDirectory):
    """The settings whose names begin with ``prefix``."""

    def __init__(
        self, fs: Filesystem, next_ino: Callable[[], int], kernel: Kernel, prefix: str, otherwise: Inode | None
    ) -> None:
        super().__init__(fs, next_ino())
        self._kernel = kernel
        self._next_ino = next_ino
        self._prefix = prefix
        self._otherwise = otherwise
        self._nodes: dict[bytes, Inode] = {}

    def _settings(self) -> dict[str, Setting] | None:
        try:
            return self._kernel.net.stack.settings
        except KernelError:  # no plugin has a stack
            return None

    def lookup(self, name: bytes) -> Inode:
        settings = self._settings()
        if settings is None:
            if self._otherwise is None:
                raise KernelError(Errno.ENOENT)
            return self._otherwise.lookup(name)
        if b"." in name:  # between names of directories there are slashes
            raise KernelError(Errno.ENOENT)
        if name not in self._nodes:
            path = self._prefix + name.decode("ascii", "replace")
            if path in settings:
                self._nodes[name] = self._file(path)
            elif any(other.startswith(path + ".") for other in settings):
                self._nodes[name] = NetworkSettings(self.fs, self._next_ino, self._kernel, path + ".", None)
            else:
                raise KernelError(Errno.ENOENT)
        return self._nodes[name]

    def readdir(self) -> Iterable[DirEntry]:
        settings = self._settings()
        if settings is None:
            return self._otherwise.readdir() if self._otherwise is not None else []
        start = len(self._prefix)
        names = {path[start:].partition(".")[0] for path in settings if path.startswith(self._prefix)}
        nodes = [(name.encode(), self.lookup(name.encode())) for name in sorted(names)]
        return [DirEntry(name, node.ino, node.kind) for name, node in nodes]

    def _file(self, path: str) -> ProcFile:
        def read() -> bytes:
            return text_of((self._settings() or {}).get(path, "")) + b"\n"

        def write(value: bytes) -> None:
            settings = self._settings()
            if settings is not None and path in settings:
                settings[path] = parsed(settings[path], value)

        return ProcFile(self.fs, self._next_ino(), read, mode=0o644, store=write)


def text_of(value: Setting) -> bytes:
    """A setting as sysctl shows it."""
    if isinstance(value, tuple):
        return b"\t".join(b"%d" % number for number in value)
    return str(value).encode()


def parsed(old: Setting, value: bytes) -> Setting:
    """What is written, as a value of the same kind. EINVAL."""
    if isinstance(old, str):
        return value.partition(b"\n")[0].decode("utf-8", "replace").strip()
    try:
        numbers = tuple(int(word) for word in value.split())
    except ValueError:
        raise KernelError(Errno.EINVAL) from None
    if isinstance(old, int):
        if len(numbers) != 1:
            raise KernelError(Errno.EINVAL)
        return numbers[0]
    if not numbers or len(numbers) > len(old):
        raise KernelError(Errno.EINVAL)
    return numbers + old[len(numbers) :]
