"""The smaller files of /proc/PID: namespaces, scheduling, the current system call, memory as a file.

    ns/NAME    a link whose text names the namespace, ``uts:[4026531838]``: equal texts, same namespace
    mem        the address space: pread and pwrite at an address
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import File
from jefeos.vfs.flags import S_IFLNK, S_IFREG, SEEK_CUR, SEEK_SET
from jefeos.vfs.inode import AnonymousInode, DirEntry, Filesystem, Inode, OpenContext
from jefeos.vfs.procfs.nodes import ProcDirectory, ProcLink, ProcNode

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task
    from jefeos.vfs.path import Path
    from jefeos.vfs.procfs.filesystem import ProcFilesystem

_FIRST_NAMESPACE = 4026531834
_NAMESPACES = (b"time", b"cgroup", b"pid", b"user", b"uts", b"ipc", b"mnt", b"net")  # in the order of Linux's numbers
_ALIASES = {b"pid_for_children": b"pid", b"time_for_children": b"time"}
_OWN_NAMESPACES = 4026532000  # where those begin that were made later
_EACH_KIND = 1 << 20
_LARGEST_PIECE = 1 << 20


class NamespaceDirectory(ProcDirectory):
    """/proc/PID/ns."""

    fs: ProcFilesystem

    def __init__(self, fs: ProcFilesystem, ino: int, process: Process) -> None:
        super().__init__(fs, ino, mode=0o511, uid=process.creds.euid, gid=process.creds.egid)
        self.process = process

    def lookup(self, name: bytes) -> Inode:
        kind = _ALIASES.get(name, name)
        if kind not in _NAMESPACES:
            raise KernelError(Errno.ENOENT)
        self.fs.check_inspect(self.process)
        target, number = self._target(kind)
        label = b"%s:[%d]" % (kind, number)
        vfs = self.fs.kernel.vfs
        return ProcLink(
            self.fs, self.ino + 1 + _NAMESPACES.index(kind), lambda: label, uid=self.uid, gid=self.gid,
            lead=lambda: vfs.anonymous_path(NamespaceInode(vfs.anonymous_fs, number, kind, target), label),
        )  # fmt: skip

    def _target(self, kind: bytes) -> tuple[object, int]:
        """What the namespace is made of, and its number."""
        kernel = self.fs.kernel
        number = _FIRST_NAMESPACE + _NAMESPACES.index(kind)
        if kind == b"uts":
            names = self.process.names
            return names, number if names is kernel.names else _OWN_NAMESPACES + names.serial
        if kind == b"mnt" and self.process.tasks:
            top = kernel.vfs.top_of(self.process.tasks[0].fs.root.mount)
            return top, number if not top.namespace else _OWN_NAMESPACES + _EACH_KIND + top.namespace
        return None, number

    def readdir(self) -> Iterable[DirEntry]:
        return [DirEntry(name, self.ino + 1, S_IFLNK) for name in sorted((*_NAMESPACES, *_ALIASES))]


class NamespaceInode(AnonymousInode):
    """What an open ns/NAME is a file of: for setns(2). ``target``: the system names, or the mount at the top."""

    def __init__(self, fs: Filesystem, number: int, namespace: bytes, target: object) -> None:
        super().__init__(fs, number, S_IFREG | 0o444)
        self.namespace = namespace
        self.target = target

    def open(self, flags: int, context: OpenContext) -> File:
        return File(self, flags, context.path)


class MemoryNode(ProcNode):
    """/proc/PID/mem."""

    fs: ProcFilesystem

    def __init__(self, fs: ProcFilesystem, ino: int, process: Process) -> None:
        super().__init__(fs, ino, S_IFREG | 0o600, process.creds.euid, process.creds.egid)
        self.process = process

    def open(self, flags: int, context: OpenContext) -> File:
        self.fs.check_inspect(self.process)
        return MemoryFile(self, flags, context.path)


class MemoryFile(File):
    """An open mem: what it shows is the address space at the time of the call, nothing after the end."""

    inode: MemoryNode

    def __init__(self, inode: MemoryNode, flags: int, path: Path | None) -> None:
        super().__init__(inode, flags, path)
        self._task = inode.process.tasks[0] if inode.process.tasks else None

    def seek(self, offset: int, whence: int) -> int:
        if whence not in (SEEK_SET, SEEK_CUR):
            raise KernelError(Errno.EINVAL)
        self.position = (offset if whence == SEEK_SET else self.position + offset) & (1 << 64) - 1
        return self.position

    def read(self, count: int) -> bytes:
        data = self.pread(count, self.position)
        self.position += len(data)
        return data

    def write(self, data: bytes) -> int:
        written = self.pwrite(data, self.position)
        self.position += written
        return written

    def pread(self, count: int, offset: int) -> bytes:
        if not self.readable:
            raise KernelError(Errno.EBADF)
        task = self._task
        if task is None or task.dead or task.mm is None:
            return b""
        try:
            return task.mm.read(offset, min(count, _LARGEST_PIECE))
        except KernelError:
            raise KernelError(Errno.EIO) from None

    def pwrite(self, data: bytes, offset: int) -> int:
        if not self.writable:
            raise KernelError(Errno.EBADF)
        task = self._task
        if task is None or task.dead or task.mm is None:
            return 0
        try:
            task.mm.write(offset, data)
        except KernelError:
            raise KernelError(Errno.EIO) from None
        return len(data)


def schedstat(process: Process) -> bytes:
    """schedstat: time on the processor and waiting for it in nanoseconds, time slices. Waiting is not measured."""
    usage = process.usage
    return b"%d 0 %d\n" % (usage.time_ns, usage.voluntary_switches + usage.involuntary_switches)


def current_call(task: Task | None) -> bytes:
    """syscall: number of the call that the thread waits in; its arguments and registers are not kept."""
    if task is None or task.is_current or task.syscall_number < 0:
        return b"running\n"
    return b"%d 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n" % task.syscall_number

