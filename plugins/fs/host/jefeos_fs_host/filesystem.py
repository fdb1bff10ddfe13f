"""A folder of the host as a filesystem.

Model: an inode is a host file, known by (device, inode number), together with the place where it was last found: a
name in a `Folder`. Nothing is read before it is asked for, and nothing stays open for long: contents are reached
through a bounded set of recently used descriptors (`access`), reopened by name and checked to be the same file.

Rules:

* The host owns the truth. Names are looked up anew each time (``cacheable_dentries`` is off), attributes are read
  anew before they are reported, and a file that the host changed loses its cached pages the next time it is looked
  at. What a program has mapped or read before is not taken back.
* Owner and mode are the host's. New files belong to the host user that runs the kernel; a chown that the host
  refuses is EPERM. Set-user-id and set-group-id bits never reach the host's files: a guest must not be able to
  leave a program behind that runs with the rights of whoever runs the kernel.
* Devices, FIFOs and sockets of the host are shown with their types, and opening them is refused. A FIFO or socket
  that the guest makes is one on the host too, but only its name: what goes through it stays in the guest.
* Other filesystems of the host below the folder are plain directories of this one. Its /proc, /sys and /dev are
  shown empty: their contents are the host's own state, and the kernel mounts its own over them.
* A file that the guest removes while it uses it stays usable, as POSIX wants it; one that a host program removes
  gives ESTALE once its descriptor is gone.

Not supported: extended attributes, device nodes made by the guest (EPERM), O_TMPFILE,
RENAME_EXCHANGE, locks shared with host programs.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from jefeos.errors import KernelError
from jefeos.vfs.flags import FilesystemMagic
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat

from .access import Folder, HostAccess, Key, kernel_errno, key_of, open_access
from .inode import HostInode

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache

# Files whose pages may stay cached while nobody uses them. Each costs about a kilobyte besides its pages.
IDLE_MAPPINGS_LIMIT = 4096
HOST_STATE_FOLDERS = ("/proc", "/sys", "/dev")
# Inode numbers of other host filesystems below the folder are told apart by their upper bits.
DEVICE_INDEX_SHIFT = 48
INODE_MASK = (1 << 64) - 1


class HostFilesystem(Filesystem):
    """The files below ``folder`` of the host. See the module's docstring.

    Errors: `BootError` when the folder cannot be used.
    """

    name = "host"
    cacheable_dentries = False
    no_access_times = True

    def __init__(
        self, folder: str, writable: bool = False, *, clock: Clock, page_cache: PageCache | None = None
    ) -> None:
        super().__init__(clock, page_cache)
        self.read_only = not writable
        self.access: HostAccess = open_access(folder)
        self.inodes: WeakValueDictionary[Key, HostInode] = WeakValueDictionary()
        self.own_fifos: set[Key] = set()  # made by the guest; only these can be opened
        self.mapped: OrderedDict[HostInode, None] = OrderedDict()
        self._device_indexes = {self.access.top.key[0]: 0}
        self._sealed_devices = _host_state_devices() - {self.access.top.key[0]}
        self._is_host_root = os.path.dirname(self.access.root_path) == self.access.root_path
        self._root = self.inode_of(self.access.top, b"", self.access.status(self.access.top, b""))

    @property
    def root(self) -> HostInode:
        return self._root

    def inode_of(self, folder: Folder, name: bytes, status: os.stat_result) -> HostInode:
        """The one object for the file that was just seen as ``name`` in ``folder``."""
        key = key_of(status)
        inode = self.inodes.get(key)
        if inode is None or stat.S_IFMT(inode.mode) != stat.S_IFMT(status.st_mode):
            inode = HostInode(self, folder, name, status)
            self.inodes[key] = inode
        else:
            inode.found(folder, name, status)
        return inode

    def number_of(self, device: int, inode_number: int) -> int:
        """An inode number that no other file below the folder has, as long as the host's take up to 48 bits."""
        index = self._device_indexes.setdefault(device, len(self._device_indexes))
        return (inode_number ^ index << DEVICE_INDEX_SHIFT) & INODE_MASK

    def is_sealed(self, folder: Folder) -> bool:
        """Whether the directory holds the host's own state and is shown empty."""
        if folder.key[0] in self._sealed_devices:
            return True
        return self._is_host_root and folder.parent is self.access.top and b"/" + folder.name in _SEALED_NAMES

    def mapping_used(self, inode: HostInode) -> None:
        """``inode`` has cached pages now; files that nobody uses give theirs back when there are too many."""
        self.mapped[inode] = None
        self.mapped.move_to_end(inode)
        excess = len(self.mapped) - IDLE_MAPPINGS_LIMIT
        if excess > 0:
            for candidate in list(self.mapped)[: excess + IDLE_MAPPINGS_LIMIT // 8]:
                if candidate.is_idle:
                    candidate.release_pages()

    def statfs(self) -> FilesystemStat:
        if not hasattr(os, "statvfs"):
            return super().statfs()
        try:
            host = os.statvfs(self.access.root_path)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None
        return FilesystemStat(
            type=FilesystemMagic.EXT4,
            block_size=host.f_frsize,
            blocks=host.f_blocks,
            blocks_free=host.f_bfree,
            blocks_available=host.f_bavail,
            files=host.f_files,
            files_free=host.f_ffree,
            name_max=host.f_namemax,
            fsid=self.device,
        )

    def sync(self) -> None:
        for inode in list(self.mapped):
            inode.sync()

    def unmount(self) -> None:
        self.sync()
        for inode in list(self.mapped):
            inode.release_pages()
        self.access.close()


_SEALED_NAMES = frozenset(os.fsencode(path) for path in HOST_STATE_FOLDERS)


def _host_state_devices() -> set[int]:
    """The device numbers of the host's /proc, /sys and /dev, where they are filesystems of their own."""
    devices = set()
    try:
        root_device = os.stat("/").st_dev
        for path in HOST_STATE_FOLDERS:
            if os.path.isdir(path):
                devices.add(os.stat(path).st_dev)
    except OSError:
        return set()
    return devices - {root_device}
