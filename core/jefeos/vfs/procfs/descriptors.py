"""/proc/PID/fd and fdinfo: the open descriptors of a process as magic links and as text.

A link leads to the very file that is open, even if its name is gone or it never had one (a pipe): opening
/proc/self/fd/N opens the inode anew. Permission bits of the links show how the descriptor may be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import O_CLOEXEC, S_IFLNK, S_IFREG
from jefeos.vfs.inode import DirEntry, Inode
from jefeos.vfs.path import Path, path_string
from jefeos.vfs.procfs.nodes import ProcDirectory, ProcFile, ProcLink

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task
    from jefeos.vfs.file import File
    from jefeos.vfs.procfs.filesystem import ProcFilesystem

_LINK_SIZE = 64
_READ_MODE = 0o500
_WRITE_MODE = 0o300
_LARGEST_DESCRIPTOR_DIGITS = 10


def descriptor_path(fs: ProcFilesystem, file: File) -> Path:
    """Where an open file is: its path, or a made-up one for what has none."""
    if file.path is not None:
        return file.path
    return fs.kernel.vfs.anonymous_path(file.inode, file.label)


def _parse(name: bytes) -> int:
    if not name.isdigit() or len(name) > _LARGEST_DESCRIPTOR_DIGITS or (name[:1] == b"0" and name != b"0"):
        raise KernelError(Errno.ENOENT)
    return int(name)


class _Descriptors(ProcDirectory):
    """What both directories share. Without a ``task`` (zombies, the kernel's own process) they are empty."""

    fs: ProcFilesystem
    entry_kind: int

    def __init__(self, fs: ProcFilesystem, ino: int, process: Process, task: Task | None, *, mode: int) -> None:
        super().__init__(fs, ino, mode=mode, uid=process.creds.euid, gid=process.creds.egid)
        self.process = process
        self.task = task

    def file(self, name: bytes) -> tuple[int, File]:
        """The open file that a name stands for. ENOENT."""
        descriptor = _parse(name)
        self.fs.check_inspect(self.process)
        if self.task is None or descriptor not in self.task.files:
            raise KernelError(Errno.ENOENT)
        return descriptor, self.task.files.get(descriptor)

    def readdir(self) -> Iterable[DirEntry]:
        self.fs.check_inspect(self.process)
        if self.task is None:
            return []
        return [DirEntry(b"%d" % fd, self.ino + 1 + fd, self.entry_kind) for fd, _ in self.task.files.items()]


class DescriptorDirectory(_Descriptors):
    """/proc/PID/fd."""

    entry_kind = S_IFLNK

    def refresh(self) -> None:
        self.size = len(self.task.files) if self.task is not None else 0

    def lookup(self, name: bytes) -> Inode:
        descriptor, file = self.file(name)
        target = _Target(self.fs, file)
        mode = (_READ_MODE if file.readable else 0) | (_WRITE_MODE if file.writable else 0)
        return ProcLink(self.fs, self.ino + 1 + descriptor, target.text, lead=target.place, mode=mode,
                        uid=self.uid, gid=self.gid, size=_LINK_SIZE)


@frozen
class _Target:
    """What a descriptor's link says and where it leads."""

    fs: ProcFilesystem
    file: File

    def text(self) -> bytes:
        return path_string(descriptor_path(self.fs, self.file), self.fs.viewer_root())

    def place(self) -> Path:
        return descriptor_path(self.fs, self.file)


class DescriptorInfoDirectory(_Descriptors):
    """/proc/PID/fdinfo."""

    entry_kind = S_IFREG

    def lookup(self, name: bytes) -> Inode:
        descriptor, file = self.file(name)
        return ProcFile(self.fs, self.ino + 1 + descriptor, lambda: self._info(descriptor, file), mode=0o400,
                        uid=self.uid, gid=self.gid)

    def _info(self, descriptor: int, file: File) -> bytes:
        closing = self.task is not None and descriptor in self.task.files.cloexec
        flags = file.flags | (O_CLOEXEC if closing else 0)
        place = descriptor_path(self.fs, file)
        return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (
            file.position, flags, place.mount.mount_id, file.inode.ino,
        )  # fmt: skip
