"""/proc/locks: who holds which file lock (proc_locks(5)), found through the open files of all processes.

    1: POSIX  ADVISORY  WRITE 708 08:01:1234 0 EOF        kind, mode, process, file (device and inode), range

Those who wait for a lock are not listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.vfs.flags import F_WRLCK, FILE_SIZE_MAX, LOCK_EX, device_major, device_minor
from jefeos.vfs.locks import InodeLocks

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.inode import Inode


def locks(kernel: Kernel) -> bytes:
    """The text."""
    holders: dict[Inode, dict[object, int]] = {}
    for process in kernel.processes:
        for task in process.tasks:
            for _, file in task.files.items():
                if isinstance(file.inode.locks, InodeLocks):
                    owners = holders.setdefault(file.inode, {})
                    owners.setdefault(file, process.pid)
    rows: list[bytes] = []
    for inode, owners in holders.items():
        held: InodeLocks = inode.locks
        for file, mode in held.flocks.items():
            kind = b"WRITE" if mode == LOCK_EX else b"READ "
            rows.append(_row(b"FLOCK ", kind, owners.get(file, 0), inode, 0, FILE_SIZE_MAX))
        for record in held.records:
            kind = b"WRITE" if record.kind == F_WRLCK else b"READ "
            name = b"OFDLCK" if record.pid == -1 else b"POSIX "
            rows.append(_row(name, kind, record.pid, inode, record.start, record.end))
    return b"".join(b"%d: %s\n" % pair for pair in enumerate(rows, 1))


def _row(name: bytes, kind: bytes, pid: int, inode: Inode, start: int, end: int) -> bytes:
    device = inode.fs.device
    last = b"EOF" if end >= FILE_SIZE_MAX else b"%d" % end
    place = b"%02x:%02x:%d" % (device_major(device), device_minor(device), inode.ino)
    return b"%s ADVISORY  %s %d %s %d %s" % (name, kind, pid, place, start, last)
