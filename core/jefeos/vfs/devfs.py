"""devfs: /dev, and the devices that are only software.

A tmpfs (programs may make files in it) whose device nodes follow the `DeviceRegistry`. ``null zero full random
urandom`` are registered here by `register_memory_devices`; ttys and consoles register themselves. ``fd``, ``stdin``,
``stdout`` and ``stderr`` are symlinks into /proc/self/fd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.devices import Device, DeviceRegistry
from jefeos.vfs.file import File
from jefeos.vfs.flags import POLL_READABLE, POLL_WRITABLE, S_IFDIR, S_IFMT, make_device
from jefeos.vfs.inode import Clock, Inode, OpenContext
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping, PageCache
    from jefeos.vfs.path import Path

RandomBytes = Callable[[int], bytes]

_MEMORY_MAJOR = 1
_NULL, _ZERO, _FULL, _RANDOM, _URANDOM = 3, 5, 7, 8, 9
_LARGEST_READ_BYTES = 1 << 24

_SYMLINKS = ((b"fd", b"/proc/self/fd"), (b"stdin", b"/proc/self/fd/0"), (b"stdout", b"/proc/self/fd/1"),
             (b"stderr", b"/proc/self/fd/2"))


class Devfs(Tmpfs):
    """/dev. Directories ``pts`` and ``shm`` are there to mount on."""

    name = "devtmpfs"

    def __init__(self, page_cache: PageCache | None, clock: Clock, devices: DeviceRegistry) -> None:
        super().__init__(page_cache, clock)
        for name, target in _SYMLINKS:
            self.root.symlink(name, target, 0, 0)
        self.root.mkdir(b"pts", S_IFDIR | 0o755, 0, 0)
        self.root.mkdir(b"shm", S_IFDIR | 0o1777, 0, 0)
        devices.listen(self)

    def device_added(self, device: Device) -> None:
        """Makes the node, and directories on the way (``input/event0``)."""
        if not device.name:
            return
        *directories, name = device.name.split(b"/")
        directory: TmpfsInode = self.root
        for part in directories:
            below = directory.entries.get(part)
            if below is None:
                made = directory.mkdir(part, S_IFDIR | 0o755, 0, 0)
                assert isinstance(made, TmpfsInode)
                below = made
            directory = below
        directory.mknod(name, device.kind | device.mode, device.rdev, 0, device.gid)
        self._forget(device.name)

    def device_removed(self, device: Device) -> None:
        """Takes the node away, if it is still the device's."""
        *directories, name = device.name.split(b"/")
        directory = self.root
        for part in directories:
            if part not in directory.entries:
                return
            directory = directory.entries[part]
        node = directory.entries.get(name)
        if node is not None and node.rdev == device.rdev and node.mode & S_IFMT == device.kind:
            directory.unlink(name)
            self._forget(device.name)

    def _forget(self, name: bytes) -> None:
        """The cached dentry of a name that changed under the Vfs (most often a negative one) has to go."""
        dentry = self.root_dentry
        *directories, last = name.split(b"/")
        for part in directories:
            if dentry is None:
                return
            below = dentry.children.get(part)
            if below is not None and below.inode is None:
                del dentry.children[part]
            dentry = below
        if dentry is not None:
            dentry.children.pop(last, None)


class NullFile(File):
    """/dev/null: reads nothing, takes everything."""

    def read(self, count: int) -> bytes:
        self._require(self.readable)
        return b""

    def write(self, data: bytes) -> int:
        self._require(self.writable)
        return len(data)

    def pread(self, count: int, offset: int) -> bytes:
        data = self.read(count)
        assert isinstance(data, bytes)
        return data

    def pwrite(self, data: bytes, offset: int) -> int:
        written = self.write(data)
        assert isinstance(written, int)
        return written

    def seek(self, offset: int, whence: int) -> int:
        return 0

    @staticmethod
    def _require(allowed: bool) -> None:
        if not allowed:
            raise KernelError(Errno.EBADF)


class ZeroFile(NullFile):
    """/dev/zero: endless zeros. Mapping it gives anonymous memory."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, page_cache: PageCache | None) -> None:
        super().__init__(inode, flags, path)
        self._page_cache = page_cache

    def read(self, count: int) -> bytes:
        self._require(self.readable)
        return bytes(min(count, _LARGEST_READ_BYTES))

    @property
    def mapping(self) -> FileMapping:
        if self._page_cache is None:
            raise KernelError(Errno.ENODEV)
        mapping = self._page_cache.new_mapping(None)
        mapping.release()  # nobody owns it: it lives as long as it is mapped
        return mapping


class FullFile(NullFile):
    """/dev/full: endless zeros to read, no room to write."""

    def read(self, count: int) -> bytes:
        self._require(self.readable)
        return bytes(min(count, _LARGEST_READ_BYTES))

    def write(self, data: bytes) -> int:
        self._require(self.writable)
        raise KernelError(Errno.ENOSPC)


class RandomFile(NullFile):
    """/dev/random and /dev/urandom, from the kernel's one source of entropy. What is written changes nothing."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, random_bytes: RandomBytes) -> None:
        super().__init__(inode, flags, path)
        self._random_bytes = random_bytes

    def read(self, count: int) -> bytes:
        self._require(self.readable)
        return self._random_bytes(min(count, _LARGEST_READ_BYTES))

    def poll(self) -> int:
        return POLL_READABLE | POLL_WRITABLE  # always; but unlike its sisters it may be asked by epoll


class MemoryDevices:
    """Openers of the software devices. An object rather than closures, so that the registry can be pickled."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.random_bytes = random_bytes

    def register(self, devices: DeviceRegistry) -> None:
        """Registers them all under Linux's numbers (Documentation/admin-guide/devices.txt)."""
        for name, minor, opener in ((b"null", _NULL, self.open_null), (b"zero", _ZERO, self.open_zero),
                                    (b"full", _FULL, self.open_full), (b"random", _RANDOM, self.open_random),
                                    (b"urandom", _URANDOM, self.open_random)):
            devices.register(name, make_device(_MEMORY_MAJOR, minor), opener)

    def open_null(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """null"""
        return NullFile(inode, flags, context.path)

    def open_zero(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """zero"""
        return ZeroFile(inode, flags, context.path, context.vfs.page_cache)

    def open_full(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """full"""
        return FullFile(inode, flags, context.path)

    def open_random(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """random, urandom"""
        return RandomFile(inode, flags, context.path, self.random_bytes)


def register_memory_devices(devices: DeviceRegistry, random_bytes: RandomBytes) -> None:
    """null, zero, full, random and urandom; ``random_bytes`` is the kernel's entropy."""
    MemoryDevices(random_bytes).register(devices)
