"""Device numbers and what opens them.

A device node is only a number (``rdev``); wherever such a node is, in devfs or made with mknod, opening it asks
this registry. Drivers register an *opener*, a function from the inode, the open flags and the context to an open file
(or a coroutine, if opening may wait). Registering also makes the node in every devfs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from jefeos.errors import Errno, KernelError, UsageError
from jefeos.vfs.file import File
from jefeos.vfs.flags import S_IFCHR, S_IFMT
from jefeos.vfs.inode import Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.sched.wait import MaybeAwait


class Opener(Protocol):
    """Opens a device. ``context.path`` is the place of the node."""

    def __call__(self, inode: Inode, flags: int, context: OpenContext) -> MaybeAwait[File]: ...


@frozen
class Device:
    """A registered device. ``name`` is its place below /dev, b"" for one that gets no node there."""

    name: bytes
    rdev: int
    opener: Opener
    kind: int = S_IFCHR
    mode: int = 0o666
    gid: int = 0


class DeviceListener(Protocol):
    """Hears of devices that come and go: devfs."""

    def device_added(self, device: Device) -> None: ...
    def device_removed(self, device: Device) -> None: ...


class DeviceRegistry:
    """All devices, by type and number."""

    def __init__(self) -> None:
        self._devices: dict[tuple[int, int], Device] = {}
        self._listeners: list[DeviceListener] = []

    def register(self, name: bytes, rdev: int, opener: Opener, *, kind: int = S_IFCHR, mode: int = 0o666,
                 gid: int = 0) -> Device:
        """Adds a device; its node appears in devfs if it has a name. The number must be free."""
        if (kind, rdev) in self._devices:
            raise UsageError(f"device number {rdev:#x} is taken by {self._devices[kind, rdev].name!r}", Errno.EBUSY)
        device = Device(name, rdev, opener, kind, mode, gid)
        self._devices[kind, rdev] = device
        for listener in self._listeners:
            listener.device_added(device)
        return device

    def unregister(self, device: Device) -> None:
        """Takes a device away. Open files on it go on."""
        self._devices.pop((device.kind, device.rdev), None)
        for listener in self._listeners:
            listener.device_removed(device)

    def listen(self, listener: DeviceListener) -> None:
        """Tells ``listener`` of every device, those that are here first."""
        self._listeners.append(listener)
        for device in self._devices.values():
            listener.device_added(device)

    def devices(self) -> list[Device]:
        """All of them (/proc/devices)."""
        return list(self._devices.values())

    def open(self, inode: Inode, flags: int, context: OpenContext) -> MaybeAwait[File]:
        """Opens the device of a node. ENXIO if nobody serves its number."""
        device = self._devices.get((inode.mode & S_IFMT, inode.rdev))
        if device is None:
            raise KernelError(Errno.ENXIO)
        return device.opener(inode, flags, context)
