"""What is mounted where: the root, the kernel's own filesystems, and what --mount names.

    /          --root through the first filesystem type that recognises it; a layered type (host folder, archive,
               disk image) gets a writable layer in memory above it; without --root, a tmpfs with the applets in /bin
    /dev       devfs, with /dev/pts and /dev/shm          /proc   procfs          /sys   sysfs
    /GUEST     each --mount HOST:GUEST[:rw]
    /mnt/sda1  each disk and partition of the machine on which a filesystem is recognised, and that is not the root

--root may also name a disk or partition of the machine, as ``sda1``.

Mount points that the root lacks are made where the root can be written, and left out with a log line elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import BootError, Errno, JefeError, KernelError, UsageError
from jefeos.kmsg import LogDevice
from jefeos.proc.program import APPLET_MARK
from jefeos.vfs.devfs import Devfs, register_memory_devices
from jefeos.vfs.overlay import OverlayFs
from jefeos.vfs.rtc import HardwareClock
from jefeos.vfs.tmpfs import Tmpfs

if TYPE_CHECKING:
    from jefeos.block.nodes import Disk
    from jefeos.kernel import Kernel
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Filesystem

_BUILTIN_FOLDERS: Final = (b"/bin", b"/dev", b"/etc", b"/home", b"/mnt", b"/proc", b"/root", b"/tmp", b"/usr", b"/var")
_BUILTIN_FILES: Final = {
    b"/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    b"/etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    b"/etc/os-release": b'NAME=JefeOS\nID=jefeos\nPRETTY_NAME="JefeOS"\n',
}


def mount_root(kernel: Kernel) -> None:
    """Mount ``/`` as the configuration says. Raises BootError with the source and what to do."""
    source = kernel.config.root
    if source is None:
        kernel.vfs.mount(Tmpfs(kernel.memory.page_cache, kernel.clock, _size_limit(kernel)), b"/", source=b"tmpfs")
        for folder in _BUILTIN_FOLDERS:
            _make_directory(kernel, folder)
        for path, content in _BUILTIN_FILES.items():
            write_file(kernel, path, content)
        return
    kernel.vfs.mount(
        open_filesystem(kernel, source, kernel.config.root_writable), b"/", source=source.encode()
    )


def mount_system(kernel: Kernel) -> None:
    """Mount the kernel's own filesystems and then what the configuration names."""
    from jefeos.vfs.procfs import ProcFilesystem
    from jefeos.vfs.procfs.sysfs import SysFilesystem

    page_cache, clock = kernel.memory.page_cache, kernel.clock
    devices = kernel.vfs.devices
    register_memory_devices(devices, kernel.entropy.bytes)
    kernel.terminals.register(devices)
    LogDevice(kernel).register(devices)
    HardwareClock(clock, kernel.loop).register(devices)
    _mount(kernel, Devfs(page_cache, clock, devices), b"/dev", b"devtmpfs")
    _mount(kernel, kernel.terminals.devpts, b"/dev/pts", b"devpts")
    _mount(kernel, Tmpfs(page_cache, clock, _size_limit(kernel), 0o1777), b"/dev/shm", b"tmpfs")
    _mount(kernel, ProcFilesystem(kernel), b"/proc", b"proc")
    _mount(kernel, SysFilesystem(clock, kernel.net), b"/sys", b"sysfs")
    for spec in kernel.config.mounts:
        filesystem = open_filesystem(kernel, spec.host, spec.writable)
        guest = spec.guest.encode()
        try:
            make_directories(kernel, guest)
            kernel.vfs.mount(filesystem, guest, source=spec.host.encode())
        except KernelError as error:
            raise BootError(f"--mount {spec}: the mount point {spec.guest} cannot be used: {error}") from None
    if kernel.config.automount and kernel.disks is not None:
        _mount_disks(kernel)


def _mount_disks(kernel: Kernel) -> None:
    """Mount what is on the disks of the machine. One that cannot be mounted is left out with a line in the log."""
    from jefeos.block.sources import recognise

    assert kernel.disks is not None
    for name, disk in kernel.disks.disks.items():
        kind = recognise(kernel.filesystem_types, disk.cache)
        if kind is None or disk.filesystem is not None:
            continue
        try:
            filesystem = _mount_disk(kernel, disk, kind, not disk.device.read_only)
        except KernelError as error:
            kernel.log.warning("%s: its %s filesystem is not mounted: %s", name, kind.name, error)
            continue
        _mount(kernel, filesystem, b"/mnt/" + name.encode(), b"/dev/" + name.encode())


def _mount_disk(kernel: Kernel, disk: Disk, kind: FilesystemType, writable: bool) -> Filesystem:
    from jefeos.block.mounting import mount_disk

    assert kernel.disks is not None
    filesystem = mount_disk(
        kernel.disks, disk, kind, writable=writable, page_cache=kernel.memory.page_cache, clock=kernel.clock
    )
    _tell_read_only(kernel, disk.device.name, filesystem, writable)
    return filesystem


def _tell_read_only(kernel: Kernel, source: str, filesystem: Filesystem, writable: bool) -> None:
    if writable and filesystem.read_only:
        kernel.log.warning("%s is mounted read-only: %s", source, filesystem.read_only_reason or "it cannot be written")


def open_filesystem(kernel: Kernel, source: str, writable: bool) -> Filesystem:
    """Open ``source`` with the first filesystem type that recognises it; layered types get their layer."""
    page_cache, clock = kernel.memory.page_cache, kernel.clock
    disk = kernel.disks.disks.get(source) if kernel.disks is not None else None
    kind = _type_on(kernel, disk) if disk is not None else _type_of(kernel, source)
    try:
        if disk is not None:
            filesystem = _mount_disk(kernel, disk, kind, writable)
        else:
            filesystem = kind.open(source, writable=writable, page_cache=page_cache, clock=clock)
            _tell_read_only(kernel, source, filesystem, writable)
    except (BootError, KernelError, UsageError) as error:
        raise BootError(f"{source} cannot be opened as {kind.name}: {error}") from None
    if kind.layered and not writable:
        return OverlayFs(filesystem, page_cache, clock, _size_limit(kernel))
    return filesystem


def _type_on(kernel: Kernel, disk: Disk) -> FilesystemType:
    from jefeos.block.sources import recognise

    kind = recognise(kernel.filesystem_types, disk.cache)
    if kind is None:
        raise BootError(f"{disk.device.name}: no filesystem plugin recognises what is on this disk")
    return kind


def _type_of(kernel: Kernel, source: str) -> FilesystemType:
    for kind in kernel.filesystem_types:
        try:
            if kind.probe(source):
                return kind
        except (OSError, JefeError):
            continue
    import os

    from jefeos.block.sources import VolumeSource, open_volume

    parsed = VolumeSource.parse(source)
    if not os.path.exists(parsed.path):
        raise BootError(f"{source}: there is no such file or folder on the host", Errno.ENOENT)
    if os.path.isfile(parsed.path) and parsed.partition is not None:
        try:
            open_volume(parsed.volume, read_only=True, lock=False).image.close()
        except UsageError as error:  # no image, or no such partition
            raise BootError(str(error)) from None
    known = ", ".join(kind.name for kind in kernel.filesystem_types) or "none (no filesystem plugin is installed)"
    raise BootError(f"{source}: no filesystem plugin recognises it; known types: {known}")


def install_applets(kernel: Kernel) -> None:
    """Make each applet a small executable file in /bin of the built-in root."""
    for name in kernel.applets:
        write_file(kernel, b"/bin/" + name.encode(), APPLET_MARK + name.encode() + b"\n", 0o755)


def write_file(kernel: Kernel, path: bytes, content: bytes, mode: int = 0o644) -> None:
    """Make a file as the kernel itself."""
    from jefeos.vfs.flags import O_CREAT, O_TRUNC, O_WRONLY

    file = kernel.vfs.open_file(kernel.vfs.as_kernel(), path, O_CREAT | O_TRUNC | O_WRONLY, mode)
    try:
        done = 0
        while done < len(content):
            written = file.write(content[done:] if done else content)
            if not isinstance(written, int):
                written.close()
                raise KernelError(Errno.EAGAIN, f"{path.decode('utf-8', 'replace')} takes no more now")
            done += written
    finally:
        file.unref()


def _size_limit(kernel: Kernel) -> int:
    """Files in memory may fill half of it, as Linux's tmpfs by default."""
    return kernel.config.ram_bytes // 2


def _mount(kernel: Kernel, filesystem: Filesystem, path: bytes, source: bytes) -> None:
    try:
        make_directories(kernel, path)
        kernel.vfs.mount(filesystem, path, source=source)
    except KernelError as error:
        kernel.log.warning("%s is not mounted: %s", path.decode(), error)


def make_directories(kernel: Kernel, path: bytes) -> None:
    """mkdir -p."""
    parts = path.strip(b"/").split(b"/")
    for count in range(1, len(parts) + 1):
        _make_directory(kernel, b"/" + b"/".join(parts[:count]))


def _make_directory(kernel: Kernel, path: bytes) -> None:
    try:
        kernel.vfs.mkdir(kernel.vfs.as_kernel(), path, 0o755 if path != b"/tmp" else 0o1777)
    except KernelError as error:
        if error.errno not in (Errno.EEXIST, Errno.EROFS):
            raise
