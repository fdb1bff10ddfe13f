"""Random sequences of file operations, run on the host's Linux and on JefeOS: results, errnos and trees agree.

The host's side runs in a child process, in a chroot on a new folder, and changes between root and another user as
the sequence says. Ours runs on tmpfs and on an overlay above a tree that was there before. Needs root on Linux.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path as HostPath
from typing import Any

import pytest
from jefeos.errors import KernelError
from jefeos.vfs import flags as f

sys.path.insert(0, str(HostPath(__file__).parent))

from file_operations import FIRST_TREE, Operation, a_sequence

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="the oracle is Linux, and chroot needs root"
)

SEEDS = 60


# --- the host's side ---------------------------------------------------------------------------------------


class Host:
    """The operations as system calls of the host. Runs in a process of its own, inside a chroot."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.libc = ctypes.CDLL(None, use_errno=True)

    def run(self, operation: Operation) -> Any:
        try:
            return getattr(self, operation[0])(*operation[1:])
        except OSError as error:
            return ("errno", error.errno)

    def put(self, path: bytes, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, data)
        os.close(fd)

    def open(self, slot: int, path: bytes, flags: int, mode: int) -> None:
        fd = os.open(path, flags, mode)
        self.close(slot)
        self.slots[slot] = fd

    def close(self, slot: int) -> None:
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def fd(self, slot: int) -> int:
        return self.slots.get(slot, 9999)

    def read(self, slot: int, count: int) -> bytes:
        return os.read(self.fd(slot), count)

    def write(self, slot: int, data: bytes) -> int:
        return os.write(self.fd(slot), data)

    def pread(self, slot: int, count: int, offset: int) -> bytes:
        return os.pread(self.fd(slot), count, offset)

    def pwrite(self, slot: int, data: bytes, offset: int) -> int:
        return os.pwrite(self.fd(slot), data, offset)

    def lseek(self, slot: int, offset: int, whence: int) -> Any:
        if whence == f.SEEK_END and slot in self.slots and os.fstat(self.slots[slot]).st_mode & f.S_IFMT == f.S_IFDIR:
            return None  # every filesystem has its own idea of a directory's end
        return os.lseek(self.fd(slot), offset, whence)

    def ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self.fd(slot), size)

    def fstat(self, slot: int) -> Any:
        return shown(os.fstat(self.fd(slot)))

    def fchmod(self, slot: int, mode: int) -> None:
        os.fchmod(self.fd(slot), mode)

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(path)

    def unlink(self, path: bytes) -> None:
        os.unlink(path)

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, path)

    def link(self, old: bytes, new: bytes, follow: bool) -> None:
        result = self.libc.linkat(-100, old, -100, new, 0x400 if follow else 0)
        self.check(result)

    def rename(self, old: bytes, new: bytes, flags: int) -> None:
        self.check(self.libc.renameat2(-100, old, -100, new, flags))

    @staticmethod
    def check(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), "")

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: bytes, uid: int, gid: int, follow: bool) -> None:
        os.chown(path, uid, gid, follow_symlinks=follow)

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(path, size)

    def stat(self, path: bytes, follow: bool) -> Any:
        return shown(os.stat(path, follow_symlinks=follow))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(path)

    def access(self, path: bytes, mode: int, effective: bool) -> int:
        # The C library's own check for AT_EACCESS may differ from the kernel's: ask faccessat2 directly.
        self.check(self.libc.syscall(439, -100, path, mode, 0x200 if effective else 0))
        return 0

    def listdir(self, path: bytes) -> list[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        finally:
            os.close(fd)

    def utime(self, path: bytes, times: tuple[int, int] | None) -> Any:
        os.utime(path, ns=times) if times else os.utime(path)
        status = os.stat(path)
        return (status.st_atime_ns, status.st_mtime_ns) if times else None

    def mkfifo(self, path: bytes, mode: int) -> None:
        os.mkfifo(path, mode)

    def chdir(self, path: bytes) -> None:
        os.chdir(path)

    def umask(self, mask: int) -> None:
        os.umask(mask)

    def user(self, uid: int) -> None:
        os.setresuid(0, 0, 0)
        os.setresgid(uid, uid, uid)
        os.setgroups([50] if uid else [])
        os.setresuid(uid, uid, 0)

    def getcwd(self) -> Any:
        buffer = ctypes.create_string_buffer(8192)
        length = self.libc.syscall(79, buffer, 8192)
        if length < 0:
            raise OSError(ctypes.get_errno(), "")
        return buffer.value

    def tree(self) -> Any:
        return sorted(self.walk(b"/"))

    def walk(self, top: bytes) -> Iterator[Any]:
        for name in os.listdir(top):
            path = os.path.join(top, name)
            status = os.lstat(path)
            content: Any = None
            if status.st_mode & f.S_IFMT == f.S_IFREG:
                content = HostPath(os.fsdecode(path)).read_bytes()
            elif status.st_mode & f.S_IFMT == f.S_IFLNK:
                content = os.readlink(path)
            yield path, shown(status), content or b""
            if status.st_mode & f.S_IFMT == f.S_IFDIR:
                yield from self.walk(path)


def shown(status: os.stat_result) -> tuple[int, ...]:
    size = status.st_size if status.st_mode & f.S_IFMT in (f.S_IFREG, f.S_IFLNK) else -1
    return (status.st_mode, status.st_nlink, status.st_uid, status.st_gid, size)


def run_on_host(operations: list[Operation]) -> list[Any]:
    """The results of the operations in a chroot of a child process."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as answers:
        os.chmod(folder, 0o755)
        child = os.fork()
        if child == 0:
            try:
                os.chroot(folder)
                os.chdir("/")
                host = Host()
                pickle.dump([host.run(operation) for operation in operations], answers)
                answers.flush()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        answers.seek(0)
        results: list[Any] = pickle.load(answers)
        for name in os.listdir(folder):  # names that rmtree's own checks might trip over
            os.chmod(os.path.join(folder, name), 0o700, follow_symlinks=False) if not os.path.islink(
                os.path.join(folder, name)) else None
        return results


# --- our side ----------------------------------------------------------------------------------------------


class Ours:
    """The same operations through the Vfs."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.vfs = world.vfs
        self.vfs.protected_hardlinks = HostPath("/proc/sys/fs/protected_hardlinks").read_text().strip() == "1"
        self.task = world.root
        self.slots: dict[int, Any] = {}

    def run(self, operation: Operation) -> Any:
        try:
            return getattr(self, operation[0])(*operation[1:])
        except KernelError as error:
            return ("errno", int(error.errno))

    def put(self, path: bytes, data: bytes) -> None:
        file = self.vfs.open(self.task, path, f.O_WRONLY | f.O_CREAT, 0o644)
        file.write(data)
        file.unref()

    def open(self, slot: int, path: bytes, flags: int, mode: int) -> None:
        file = self.vfs.open(self.task, path, flags, mode)
        self.close(slot)
        self.slots[slot] = file

    def close(self, slot: int) -> None:
        if slot in self.slots:
            self.slots.pop(slot).unref()

    def file(self, slot: int) -> Any:
        if slot not in self.slots:
            raise KernelError(9)
        file = self.slots[slot]
        # A write drops set-id bits if the writer is not privileged; we judge whoever opened the file.
        file.unprivileged = self.task.creds if self.task.creds.fsuid else None
        return file

    def read(self, slot: int, count: int) -> bytes:
        return self.file(slot).read(count)

    def write(self, slot: int, data: bytes) -> int:
        return self.file(slot).write(data)

    def pread(self, slot: int, count: int, offset: int) -> bytes:
        if offset < 0:  # the system-call layer's, before it looks at the descriptor
            raise KernelError(22)
        return self.file(slot).pread(count, offset)

    def pwrite(self, slot: int, data: bytes, offset: int) -> int:
        if offset < 0:  # the system-call layer's, before it looks at the descriptor
            raise KernelError(22)
        return self.file(slot).pwrite(data, offset)

    def lseek(self, slot: int, offset: int, whence: int) -> Any:
        if whence == f.SEEK_END and slot in self.slots and self.slots[slot].inode.is_directory:
            return None
        return self.file(slot).seek(offset, whence)

    def ftruncate(self, slot: int, size: int) -> None:
        if size < 0:
            raise KernelError(22)
        self.file(slot).truncate(size)

    def fstat(self, slot: int) -> Any:
        return our_shown(self.file(slot).stat())

    def fchmod(self, slot: int, mode: int) -> None:
        file = self.file(slot)
        if file.flags & f.O_PATH:
            raise KernelError(9)
        self.vfs.set_mode(self.task, file.inode, mode, file.path)

    def mkdir(self, path: bytes, mode: int) -> None:
        self.vfs.mkdir(self.task, path, mode)

    def rmdir(self, path: bytes) -> None:
        self.vfs.rmdir(self.task, path)

    def unlink(self, path: bytes) -> None:
        self.vfs.unlink(self.task, path)

    def symlink(self, target: bytes, path: bytes) -> None:
        self.vfs.symlink(self.task, target, path)

    def link(self, old: bytes, new: bytes, follow: bool) -> None:
        self.vfs.link(self.task, old, new, follow=follow)

    def rename(self, old: bytes, new: bytes, flags: int) -> None:
        self.vfs.rename(self.task, old, new, flags)

    def chmod(self, path: bytes, mode: int) -> None:
        self.vfs.chmod(self.task, path, mode)

    def chown(self, path: bytes, uid: int, gid: int, follow: bool) -> None:
        self.vfs.chown(self.task, path, uid, gid, follow=follow)

    def truncate(self, path: bytes, size: int) -> None:
        self.vfs.truncate(self.task, path, size)

    def stat(self, path: bytes, follow: bool) -> Any:
        return our_shown(self.vfs.stat(self.task, path, follow=follow))

    def readlink(self, path: bytes) -> bytes:
        return self.vfs.readlink(self.task, path)

    def access(self, path: bytes, mode: int, effective: bool) -> int:
        self.vfs.access(self.task, path, mode, effective=effective)
        return 0

    def listdir(self, path: bytes) -> list[bytes]:
        file = self.vfs.open(self.task, path, f.O_RDONLY | f.O_DIRECTORY)
        try:
            return sorted(entry.name for entry, _ in file.readdir_at(0) if entry.name not in (b".", b".."))
        finally:
            file.unref()

    def utime(self, path: bytes, times: tuple[int, int] | None) -> Any:
        self.vfs.utimens(self.task, path, *(times or ("now", "now")))
        status = self.vfs.stat(self.task, path)
        return (status.atime_ns, status.mtime_ns) if times else None

    def mkfifo(self, path: bytes, mode: int) -> None:
        self.vfs.mknod(self.task, path, mode | f.S_IFIFO)

    def chdir(self, path: bytes) -> None:
        self.task.fs.cwd = self.vfs.directory(self.task, path)

    def umask(self, mask: int) -> None:
        self.task.fs.umask = mask

    def user(self, uid: int) -> None:
        fs = self.task.fs
        self.task = self.world.user(uid, groups=(50,) if uid else ())
        self.task.fs = fs

    def getcwd(self) -> bytes:
        from jefeos.vfs.path import path_string

        if self.task.fs.cwd.dentry.deleted:
            raise KernelError(2)
        return path_string(self.task.fs.cwd, self.task.fs.root)

    def tree(self) -> Any:
        return sorted(self.walk(b"/"))

    def walk(self, top: bytes) -> Iterator[Any]:
        for name in self.listdir(top):
            path = os.path.join(top, name)
            status = self.vfs.stat(self.task, path, follow=False)
            content: Any = None
            if status.mode & f.S_IFMT == f.S_IFREG:
                file = self.vfs.open(self.task, path, f.O_RDONLY)
                content = file.read(1 << 20)
                file.unref()
            elif status.mode & f.S_IFMT == f.S_IFLNK:
                content = self.vfs.readlink(self.task, path)
            yield path, our_shown(status), content or b""
            if status.mode & f.S_IFMT == f.S_IFDIR:
                yield from self.walk(path)


def our_shown(status: Any) -> tuple[int, ...]:
    size = status.size if status.mode & f.S_IFMT in (f.S_IFREG, f.S_IFLNK) else -1
    return (status.mode, status.nlink, status.uid, status.gid, size)


# --- the comparison ----------------------------------------------------------------------------------------


def compare(seed: int, ours: Ours, operations: list[Operation], expected: list[Any], skip: int = 0) -> None:
    for number, (operation, theirs) in enumerate(zip(operations[skip:], expected[skip:], strict=True), skip):
        mine = ours.run(operation)
        assert mine == theirs, (
            f"seed {seed}, operation {number}: {repr(operation)[:200]}: ours {repr(mine)[:200]}, "
            f"Linux {repr(theirs)[:200]}")
    for slot in list(ours.slots):
        ours.close(slot)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_same_as_linux(seed: int, new_world: Callable[[], Any]) -> None:
    operations = a_sequence(seed)
    expected = run_on_host(operations)

    world = new_world()
    compare(seed, Ours(world), operations, expected)

    below = new_world()
    preparation = Ours(below)
    for operation in FIRST_TREE:
        preparation.run(operation)
    above = below.sibling(below.overlay(below.vfs.root.mount.fs))
    compare(seed, Ours(above), operations, expected, skip=len(FIRST_TREE))
