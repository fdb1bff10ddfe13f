"""The only door to the host's files: operations on names inside one folder, from which nothing leads out.

Model::

    guest path --(Vfs: '..', symlinks, mounts)--> HostInode --> Folder + name --> this module --> host

A `Folder` is a directory that was reached from the top by single names, each checked not to be a symlink; it
remembers which directory (device and inode number) was found there. An operation is one name in one folder. Rules:

* No path of more than one component, no ``..`` and no symlink is ever given to the host to resolve. A symlink is
  a thing whose text can be read; the guest's own Vfs resolves it against the guest's root.
* Only regular files are opened, and only after a look that says so; after the open, the descriptor itself is asked
  again. A device or FIFO that was slipped in between is closed unread (``O_NONBLOCK`` keeps that from hanging).
* A name that now means something else than what was found there before is ESTALE, never the other thing.

Two forms: `AnchoredAccess` walks with directory descriptors (``openat`` and ``O_NOFOLLOW``: no race by anybody
can lead outside); `CheckedAccess` is for hosts without them and checks each component before use and the result
after it. Between these two moments another *host* program could swap a directory for a symlink; the guest cannot.

A directory that a host program moves out of the folder while the guest stands in it stays usable to the guest, as
a working directory would to any process. Nothing above or beside it becomes so.
"""

from __future__ import annotations

import errno as host_errno
import functools
import os
import stat
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from attrs import define, field
from jefeos.errors import BootError, Errno, KernelError

# (st_dev, st_ino): which file it is
Key = tuple[int, int]

OPEN_DESCRIPTORS_LIMIT = 128
FOLDER_DEPTH_LIMIT = 4096
NAME_LIMIT_BYTES = 255

_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_FILE_FLAGS = (
    _CLOEXEC
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER_FLAGS = _CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
_WALK_FLAGS = _FOLDER_FLAGS | getattr(
    os, "O_PATH", os.O_RDONLY
)  # O_PATH walks through execute-only directories

P = ParamSpec("P")
R = TypeVar("R")


def kernel_errno(error: OSError) -> Errno:
    """The Linux number for a host error, by its symbolic name (the numbers differ between systems)."""
    name = host_errno.errorcode.get(error.errno or 0, "")
    return Errno.__members__.get(name, Errno.EIO)


def translated(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the host's errors into the kernel's."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None
        except (ValueError, UnicodeError):  # a NUL, or bytes that the host's names cannot hold
            raise KernelError(Errno.EILSEQ) from None

    return call


def key_of(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino


@define(eq=False)
class Folder:
    """A directory inside the exported folder: one name in its parent (None for the top), and which one it was."""

    parent: Folder | None
    name: bytes
    key: Key


class Descriptor:
    """An open host descriptor that closes itself with its last reference."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()


@define
class DescriptorCache:
    """The most recently used descriptors, a bounded number of them.

    Whoever took a descriptor out keeps it open by holding the object, whatever is dropped from here meanwhile.
    """

    limit: int = OPEN_DESCRIPTORS_LIMIT
    _entries: OrderedDict[tuple[str, Key], Descriptor] = field(factory=OrderedDict)

    def get(self, purpose: str, key: Key) -> Descriptor | None:
        descriptor = self._entries.get((purpose, key))
        if descriptor is not None:
            self._entries.move_to_end((purpose, key))
        return descriptor

    def put(self, purpose: str, key: Key, descriptor: Descriptor) -> None:
        self._entries[purpose, key] = descriptor
        while len(self._entries) > self.limit:
            self._entries.popitem(last=False)

    def drop(self, key: Key) -> None:
        for purpose in ("folder", "read", "write"):
            self._entries.pop((purpose, key), None)

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class HostAccess(ABC):
    """Operations on one name in one folder. Errors: `KernelError` with the host's errno, ESTALE for what moved."""

    def __init__(self, root: str) -> None:
        self.descriptors = DescriptorCache()
        self.root_path = os.path.realpath(root)
        try:
            status = os.stat(self.root_path)
        except OSError as error:
            raise BootError(
                f"cannot use the host folder {root}: {error.strerror}", kernel_errno(error)
            ) from None
        if not stat.S_ISDIR(status.st_mode):
            raise BootError(f"cannot use the host folder {root}: it is not a folder", Errno.ENOTDIR)
        self.top = Folder(None, b"", key_of(status))

    # --- to be provided ----------------------------------------------------------------------------------------

    @abstractmethod
    def status(self, folder: Folder, name: bytes) -> os.stat_result:
        """What is there, symlinks themselves. ``name`` may be empty: the folder itself."""

    @abstractmethod
    def scan(self, folder: Folder) -> Iterator[tuple[bytes, int, int]]:
        """(name, inode number, type bits or 0) of every entry, read from the host as they are asked for."""

    @abstractmethod
    def readlink(self, folder: Folder, name: bytes) -> bytes: ...

    @abstractmethod
    def create(self, folder: Folder, name: bytes, mode: int) -> os.stat_result:
        """A new regular file; its writable descriptor goes to the cache."""

    @abstractmethod
    def mkdir(self, folder: Folder, name: bytes, mode: int) -> None: ...

    @abstractmethod
    def mkfifo(self, folder: Folder, name: bytes, mode: int) -> None: ...

    @abstractmethod
    def mksocket(self, folder: Folder, name: bytes, mode: int) -> None:
        """The name of a socket, behind which the host has nobody."""

    @abstractmethod
    def symlink(self, folder: Folder, name: bytes, target: bytes) -> None: ...

    @abstractmethod
    def link(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None: ...

    @abstractmethod
    def unlink(self, folder: Folder, name: bytes) -> None: ...

    @abstractmethod
    def rmdir(self, folder: Folder, name: bytes) -> None: ...

    @abstractmethod
    def rename(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None: ...

    @abstractmethod
    def set_mode(self, folder: Folder, name: bytes, key: Key, mode: int) -> None: ...

    @abstractmethod
    def set_times(self, folder: Folder, name: bytes, atime_ns: int, mtime_ns: int) -> None: ...

    @abstractmethod
    def set_owner(self, folder: Folder, name: bytes, uid: int, gid: int) -> None: ...

    @abstractmethod
    def _open_now(self, folder: Folder, name: bytes, flags: int, mode: int = 0) -> int:
        """A descriptor of a name that was just checked."""

    # --- files -------------------------------------------------------------------------------------------------

    @translated
    def open_file(self, folder: Folder, name: bytes, key: Key, *, write: bool) -> Descriptor:
        """An open descriptor of the regular file ``key``, kept among the recent ones.

        Errors: ESTALE when the name means another file by now, ENXIO when that is no regular file.
        """
        cached = self.descriptors.get("write", key) or (None if write else self.descriptors.get("read", key))
        if cached is not None:
            return cached
        self._expect(self.status(folder, name), key)
        access = os.O_RDWR if write else os.O_RDONLY
        descriptor = Descriptor(self._open_now(folder, name, access | _FILE_FLAGS))
        self._expect(os.fstat(descriptor.number), key)
        self.descriptors.put("write" if write else "read", key, descriptor)
        return descriptor

    @staticmethod
    def _expect(status: os.stat_result, key: Key) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise KernelError(Errno.ENXIO)
        if key_of(status) != key:
            raise KernelError(Errno.ESTALE)

    def close(self) -> None:
        """Give every descriptor back."""
        self.descriptors.clear()

    def _chain(self, folder: Folder) -> list[Folder]:
        """The folders from below the top down to ``folder``. Moves on the host could make the records go round."""
        chain: list[Folder] = []
        while folder.parent is not None:
            chain.append(folder)
            if len(chain) > FOLDER_DEPTH_LIMIT:
                raise KernelError(Errno.ESTALE)
            folder = folder.parent
        if folder is not self.top:
            raise KernelError(Errno.ESTALE)
        return chain[::-1]


def check_name(name: bytes) -> bytes:
    """Refuse what is not one name. The Vfs never sends such; nothing below may depend on that."""
    if not name or name in (b".", b"..") or b"/" in name or b"\x00" in name:
        raise KernelError(Errno.EINVAL)
    if len(name) > NAME_LIMIT_BYTES:
        raise KernelError(Errno.ENAMETOOLONG)
    return name


def type_of_entry(entry: os.DirEntry[Any]) -> int:
    """The type bits of a directory entry as far as they cost no further look; 0 for the rare kinds."""
    try:
        if entry.is_symlink():
            return stat.S_IFLNK
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
    except OSError:
        pass
    return 0


class AnchoredAccess(HostAccess):
    """With directory descriptors: each step is ``openat(parent, name, O_NOFOLLOW | O_DIRECTORY)``."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._top_descriptor = Descriptor(os.open(self.root_path, _FOLDER_FLAGS | os.O_RDONLY))
        self.top.key = key_of(os.fstat(self._top_descriptor.number))

    @staticmethod
    def is_supported() -> bool:
        """Whether this host has every call that is needed."""
        needed = {
            os.open,
            os.stat,
            os.readlink,
            os.mkdir,
            os.symlink,
            os.link,
            os.unlink,
            os.rmdir,
            os.rename,
        }
        return needed <= os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_NOFOLLOW")

    def _folder(self, folder: Folder) -> Descriptor:
        """A descriptor of the folder: a recent one, or a walk from the nearest recent one above it."""
        if folder.parent is None:
            if folder is not self.top:
                raise KernelError(Errno.ESTALE)
            return self._top_descriptor
        cached = self.descriptors.get("folder", folder.key)
        if cached is not None:
            return cached
        chain = self._chain(folder)
        current = self._top_descriptor
        start = 0
        for index in range(len(chain) - 2, -1, -1):
            above = self.descriptors.get("folder", chain[index].key)
            if above is not None:
                current, start = above, index + 1
                break
        for step in chain[start:]:
            try:
                current = Descriptor(os.open(step.name, _WALK_FLAGS, dir_fd=current.number))
            except OSError as error:
                gone = error.errno in (host_errno.ENOENT, host_errno.ENOTDIR, host_errno.ELOOP)
                raise KernelError(Errno.ESTALE if gone else kernel_errno(error)) from None
            if key_of(os.fstat(current.number)) != step.key:
                raise KernelError(Errno.ESTALE)
        self.descriptors.put("folder", folder.key, current)
        return current

    @translated
    def status(self, folder: Folder, name: bytes) -> os.stat_result:
        descriptor = self._folder(folder)
        if not name:
            return os.fstat(descriptor.number)
        return os.stat(check_name(name), dir_fd=descriptor.number, follow_symlinks=False)

    def scan(self, folder: Folder) -> Iterator[tuple[bytes, int, int]]:
        try:
            walk = self._folder(folder)
            readable = Descriptor(os.open(b".", _FOLDER_FLAGS | os.O_RDONLY, dir_fd=walk.number))
            with os.scandir(readable.number) as entries:
                for entry in entries:
                    yield os.fsencode(entry.name), entry.inode(), type_of_entry(entry)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None

    @translated
    def readlink(self, folder: Folder, name: bytes) -> bytes:
        return os.readlink(check_name(name), dir_fd=self._folder(folder).number)

    def _open_now(self, folder: Folder, name: bytes, flags: int, mode: int = 0) -> int:
        return os.open(check_name(name), flags, mode, dir_fd=self._folder(folder).number)

    @translated
    def create(self, folder: Folder, name: bytes, mode: int) -> os.stat_result:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
        descriptor = Descriptor(self._open_now(folder, name, flags, mode))
        status = os.fstat(descriptor.number)
        if stat.S_IMODE(status.st_mode) != mode:  # the host's umask took something away
            os.fchmod(descriptor.number, mode)
            status = os.fstat(descriptor.number)
        self.descriptors.put("write", key_of(status), descriptor)
        return status

    @translated
    def mkdir(self, folder: Folder, name: bytes, mode: int) -> None:
        os.mkdir(check_name(name), mode, dir_fd=self._folder(folder).number)

    @translated
    def mkfifo(self, folder: Folder, name: bytes, mode: int) -> None:
        os.mkfifo(check_name(name), mode, dir_fd=self._folder(folder).number)

    @translated
    def mksocket(self, folder: Folder, name: bytes, mode: int) -> None:
        os.mknod(check_name(name), stat.S_IFSOCK | mode, dir_fd=self._folder(folder).number)

    @translated
    def symlink(self, folder: Folder, name: bytes, target: bytes) -> None:
        os.symlink(target, check_name(name), dir_fd=self._folder(folder).number)

    @translated
    def link(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None:
        source, target = self._folder(folder), self._folder(new_folder)
        os.link(
            check_name(name),
            check_name(new_name),
            src_dir_fd=source.number,
            dst_dir_fd=target.number,
            follow_symlinks=False,
        )

    @translated
    def unlink(self, folder: Folder, name: bytes) -> None:
        os.unlink(check_name(name), dir_fd=self._folder(folder).number)

    @translated
    def rmdir(self, folder: Folder, name: bytes) -> None:
        os.rmdir(check_name(name), dir_fd=self._folder(folder).number)

    @translated
    def rename(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None:
        source, target = self._folder(folder), self._folder(new_folder)
        os.rename(check_name(name), check_name(new_name), src_dir_fd=source.number, dst_dir_fd=target.number)

    @translated
    def set_mode(self, folder: Folder, name: bytes, key: Key, mode: int) -> None:
        """Where there is no chmod that refuses symlinks (Linux), the file is pinned by a descriptor first."""
        walk = self._folder(folder)
        if os.chmod in os.supports_follow_symlinks and os.chmod in os.supports_dir_fd:
            where = check_name(name) if name else b"."
            if key_of(os.stat(where, dir_fd=walk.number, follow_symlinks=False)) != key:
                raise KernelError(Errno.ESTALE)
            os.chmod(where, mode, dir_fd=walk.number, follow_symlinks=False)
            return
        flags = _CLOEXEC | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
        pinned = Descriptor(os.open(check_name(name) if name else b".", flags, dir_fd=walk.number))
        if key_of(os.fstat(pinned.number)) != key:
            raise KernelError(Errno.ESTALE)
        if hasattr(os, "O_PATH"):
            os.chmod(f"/proc/self/fd/{pinned.number}", mode)
        else:
            os.fchmod(pinned.number, mode)

    @translated
    def set_times(self, folder: Folder, name: bytes, atime_ns: int, mtime_ns: int) -> None:
        walk = self._folder(folder)
        where = check_name(name) if name else b"."
        os.utime(where, ns=(atime_ns, mtime_ns), dir_fd=walk.number, follow_symlinks=False)

    @translated
    def set_owner(self, folder: Folder, name: bytes, uid: int, gid: int) -> None:
        walk = self._folder(folder)
        os.chown(check_name(name) if name else b".", uid, gid, dir_fd=walk.number, follow_symlinks=False)

    def close(self) -> None:
        super().close()
        self._top_descriptor.close()


def open_access(root: str) -> HostAccess:
    """The best form of access that this host allows."""
    if AnchoredAccess.is_supported():
        return AnchoredAccess(root)
    from .checked import CheckedAccess

    return CheckedAccess(root)
