"""Files of the newer mount calls: a mount in no place yet, and the making of a filesystem (fsopen(2)).

    fsopen ──> ContextFile ── fsconfig: options ── CMD_CREATE ──> fsmount ──> MountFile ── move_mount ──> a place
    open_tree(OPEN_TREE_CLONE) ────────────────────────────────────────────────^
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import PathFile
from jefeos.vfs.flags import O_PATH, O_RDWR
from jefeos.vfs.path import Mount, Path

from jefeos_abi_linux.events import AnonymousFile

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.inode import Filesystem
    from jefeos.vfs.vfs import Vfs


class MountFile(PathFile):
    """An O_PATH file on a mount that is in no tree: closed before it was put into one, the mount ends."""

    def __init__(self, vfs: Vfs, mount: Mount) -> None:
        super().__init__(Path(mount, mount.root).inode, O_PATH, Path(mount, mount.root))
        self._vfs = vfs
        self._mount = mount

    def release(self) -> None:
        super().release()
        self._vfs.dissolve(self._mount)


class ContextFile(AnonymousFile):
    """fsopen(2) and fspick(2): what a filesystem shall be like, and then the filesystem."""

    def __init__(self, kernel: Kernel, kind: str, picked: Mount | None = None) -> None:
        super().__init__(kernel, O_RDWR, b"anon_inode:[fscontext]")
        self.vfs = kernel.vfs
        self.kind = kind
        self.picked = picked
        """The mount to be changed (fspick)."""
        self.source: bytes | None = None
        self.options: dict[bytes, bytes] = {}
        self.read_only = False
        self.filesystem: Filesystem | None = None
        self.mounted = False

    def release(self) -> None:
        if self.filesystem is not None and not self.mounted:
            self.vfs.let_go(self.filesystem)
        super().release()

    def read(self, count: int) -> bytes:
        raise KernelError(Errno.ENODATA)  # no messages
