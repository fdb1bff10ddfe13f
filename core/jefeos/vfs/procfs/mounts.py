"""The mount table as text: /proc/PID/mounts and mountinfo (proc_pid_mountinfo(5)), as one process sees it.

Mounts that lie outside of the process's root are left out, as on Linux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.vfs.flags import device_major, device_minor
from jefeos.vfs.path import Path, path_string

if TYPE_CHECKING:
    from jefeos.vfs.path import Mount
    from jefeos.vfs.vfs import Vfs

_ESCAPES = ((b"\\", b"\\134"), (b" ", b"\\040"), (b"\t", b"\\011"), (b"\n", b"\\012"), (b"#", b"\\043"))


def mounts(vfs: Vfs, root: Path) -> bytes:
    """Source, place, type and options of each mount."""
    lines = []
    for mount, place in _visible(vfs, root):
        lines.append(
            b"%s %s %s %s 0 0\n" % (_escape(mount.source), _escape(place), mount.fs.name.encode(), mount.options)
        )
    return b"".join(lines)


def mountinfo(vfs: Vfs, root: Path) -> bytes:
    """The same with ids, parents and the part of the filesystem that is mounted."""
    lines = []
    for mount, place in _visible(vfs, root):
        device = mount.fs.device
        parent = mount.parent.mount_id if mount.parent is not None else mount.mount_id
        dentry = mount.root
        names: list[bytes] = []
        while dentry.parent is not None:
            names.append(dentry.name)
            dentry = dentry.parent
        subtree = b"/" + b"/".join(reversed(names))
        writable = b"ro" if mount.fs.read_only else b"rw"
        numbers = b"%d %d %d:%d" % (mount.mount_id, parent, device_major(device), device_minor(device))
        kind, source = mount.fs.name.encode(), _escape(mount.source)
        lines.append(
            b"%s %s %s %s - %s %s %s\n"
            % (numbers, _escape(subtree), _escape(place), mount.options, kind, source, writable)
        )
    return b"".join(lines)


def _visible(vfs: Vfs, root: Path) -> list[tuple[Mount, bytes]]:
    found = []
    for mount in vfs.mounts:
        place = path_string(Path(mount, mount.root), root)
        if place.startswith(b"/"):
            found.append((mount, place))
    return found


def _escape(text: bytes) -> bytes:
    for plain, code in _ESCAPES:
        text = text.replace(plain, code)
    return text or b"none"
