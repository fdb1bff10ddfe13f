"""Access for hosts without directory descriptors (Windows, some others): every component is checked by hand.

Each operation looks at every folder on the way down (it must be the directory that was found there before, and no
symlink, junction or other reparse point) and only then uses the full path; an opened file is asked afterwards
whether it is the one that was looked at. See `access` for the rules and for the race that is left.

On Windows some characters and names mean more than themselves (``a:b`` is a stream of a file, ``NUL`` is a device in
any folder, a trailing dot is dropped); such names do not exist here.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator

from jefeos.errors import Errno, KernelError

from .access import (
    _FILE_FLAGS,
    Descriptor,
    Folder,
    HostAccess,
    Key,
    check_name,
    key_of,
    translated,
    type_of_entry,
)

WINDOWS_FORBIDDEN = frozenset('<>:"/\\|?*') | {chr(code) for code in range(32)}
_NUMBERED_DEVICES = {f"{kind}{digit}" for kind in ("com", "lpt") for digit in "0123456789¹²³"}
WINDOWS_DEVICES = frozenset(["con", "prn", "aux", "nul", "conin$", "conout$"]) | _NUMBERED_DEVICES


def check_windows_name(name: str) -> None:
    """Refuse names that Windows would take for something else."""
    stem = name.split(".", 1)[0].rstrip(" ").lower()
    if WINDOWS_FORBIDDEN & set(name) or name[-1] in " ." or stem in WINDOWS_DEVICES:
        raise KernelError(Errno.ENOENT)


class CheckedAccess(HostAccess):
    """By full paths, each component looked at before use."""

    def __init__(self, root: str, *, windows: bool = sys.platform == "win32") -> None:
        self.windows = windows
        super().__init__(root)

    def _folder_path(self, folder: Folder) -> str:
        path = self.root_path
        for step in self._chain(folder):
            path = os.path.join(path, self._text(step.name))
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                raise KernelError(Errno.ESTALE) from None
            if (
                not stat.S_ISDIR(status.st_mode)
                or self._is_reparse_point(status)
                or key_of(status) != step.key
            ):
                raise KernelError(Errno.ESTALE)
        return path

    def _path(self, folder: Folder, name: bytes) -> str:
        return os.path.join(self._folder_path(folder), self._text(check_name(name)))

    def _path_or_folder(self, folder: Folder, name: bytes) -> str:
        """As `_path`, and the folder itself for an empty name."""
        return self._path(folder, name) if name else self._folder_path(folder)

    def _text(self, name: bytes) -> str:
        text = os.fsdecode(name)
        if self.windows:
            check_windows_name(text)
        return text

    @staticmethod
    def _is_reparse_point(status: os.stat_result) -> bool:
        """Whether it is a Windows junction or mount point, which `S_ISLNK` does not tell."""
        attributes = getattr(status, "st_file_attributes", 0)
        return bool(attributes & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0))

    @translated
    def status(self, folder: Folder, name: bytes) -> os.stat_result:
        return os.lstat(self._path_or_folder(folder, name))

    def scan(self, folder: Folder) -> Iterator[tuple[bytes, int, int]]:
        from .access import kernel_errno

        try:
            with os.scandir(self._folder_path(folder)) as entries:
                for entry in entries:
                    yield os.fsencode(entry.name), entry.inode(), type_of_entry(entry)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None

    @translated
    def readlink(self, folder: Folder, name: bytes) -> bytes:
        target = os.fsencode(os.readlink(self._path(folder, name)))
        return target.replace(b"\\", b"/") if self.windows else target

    def _open_now(self, folder: Folder, name: bytes, flags: int, mode: int = 0) -> int:
        return os.open(self._path(folder, name), flags, mode)

    @translated
    def create(self, folder: Folder, name: bytes, mode: int) -> os.stat_result:
        path = self._path(folder, name)
        descriptor = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE_FLAGS, mode))
        status = os.fstat(descriptor.number)
        if not self.windows and stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(descriptor.number, mode)
            status = os.fstat(descriptor.number)
        self.descriptors.put("write", key_of(status), descriptor)
        return status

    @translated
    def mkdir(self, folder: Folder, name: bytes, mode: int) -> None:
        os.mkdir(self._path(folder, name), mode)

    @translated
    def mkfifo(self, folder: Folder, name: bytes, mode: int) -> None:
        if not hasattr(os, "mkfifo"):
            raise KernelError(Errno.EPERM)
        os.mkfifo(self._path(folder, name), mode)

    @translated
    def mksocket(self, folder: Folder, name: bytes, mode: int) -> None:
        if not hasattr(os, "mknod"):
            raise KernelError(Errno.EPERM)
        os.mknod(self._path(folder, name), stat.S_IFSOCK | mode)

    @translated
    def symlink(self, folder: Folder, name: bytes, target: bytes) -> None:
        os.symlink(os.fsdecode(target), self._path(folder, name))

    @translated
    def link(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None:
        source, target = self._path(folder, name), self._path(new_folder, new_name)
        if os.link in os.supports_follow_symlinks:
            os.link(source, target, follow_symlinks=False)
        elif stat.S_ISLNK(os.lstat(source).st_mode):
            raise KernelError(Errno.EPERM)
        else:
            os.link(source, target)

    @translated
    def unlink(self, folder: Folder, name: bytes) -> None:
        path = self._path(folder, name)
        if self.windows:  # an open file cannot be removed there
            self.descriptors.drop(key_of(os.lstat(path)))
        os.unlink(path)

    @translated
    def rmdir(self, folder: Folder, name: bytes) -> None:
        os.rmdir(self._path(folder, name))

    @translated
    def rename(self, folder: Folder, name: bytes, new_folder: Folder, new_name: bytes) -> None:
        os.replace(self._path(folder, name), self._path(new_folder, new_name))

    @translated
    def set_mode(self, folder: Folder, name: bytes, key: Key, mode: int) -> None:
        path = self._path_or_folder(folder, name)
        status = os.lstat(path)
        if key_of(status) != key or stat.S_ISLNK(status.st_mode):
            raise KernelError(Errno.ESTALE)
        os.chmod(path, mode)

    @translated
    def set_times(self, folder: Folder, name: bytes, atime_ns: int, mtime_ns: int) -> None:
        path = self._path_or_folder(folder, name)
        if os.utime in os.supports_follow_symlinks:
            os.utime(path, ns=(atime_ns, mtime_ns), follow_symlinks=False)
        elif not stat.S_ISLNK(os.lstat(path).st_mode):
            os.utime(path, ns=(atime_ns, mtime_ns))

    @translated
    def set_owner(self, folder: Folder, name: bytes, uid: int, gid: int) -> None:
        path = self._path_or_folder(folder, name)
        if os.chown not in os.supports_follow_symlinks:
            raise KernelError(Errno.EPERM)
        os.chown(path, uid, gid, follow_symlinks=False)
