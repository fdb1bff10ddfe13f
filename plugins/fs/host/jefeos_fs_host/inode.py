"""A file of the host as an inode: where it was last found, what was last seen of it, and its contents.

See `filesystem` for the model and the rules. Contents go through the page cache; ``_seen`` is the mtime and size that
the cached pages belong to, and a look that shows another pair drops them. A change that a host program makes within one
tick of the host's clock, and that leaves the size as it was, is not seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    O_ACCMODE,
    O_PATH,
    O_RDONLY,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFREG,
    make_device,
)
from jefeos.vfs.inode import DirEntry, Inode, OpenContext

from .access import Descriptor, Folder, kernel_errno, key_of

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.file import File

    from .filesystem import HostFilesystem

SET_ID_BITS = stat.S_ISUID | stat.S_ISGID
ZERO_CHUNK = 1 << 16  # bytes written at once where a hole is punched


class HostInode(Inode):
    """A file of the host. Attributes are those of the last look at it."""

    fs: HostFilesystem

    def __init__(self, fs: HostFilesystem, folder: Folder, name: bytes, status: os.stat_result) -> None:
        super().__init__(fs, fs.number_of(status.st_dev, status.st_ino), status.st_mode, time_ns=0)
        self.key = key_of(status)
        self._place = (folder, name)
        self._pinned: Descriptor | None = None  # of a file whose name the guest removed
        self._seen: tuple[int, int] | None = None  # mtime and size that the cached pages belong to
        self._blocks = 0
        self._folder: Folder | None = None
        if self.is_directory:
            self._folder = folder if not name else Folder(folder, name, self.key)
        if stat.S_IFMT(status.st_mode) in (S_IFCHR, S_IFBLK):
            self.rdev = make_device(os.major(status.st_rdev), os.minor(status.st_rdev))
        self.adopt(status)

    # --- attributes --------------------------------------------------------------------------------------------

    def found(self, folder: Folder, name: bytes, status: os.stat_result) -> None:
        """The file was seen (again) at this place."""
        if name:
            self._place = (folder, name)
            if self._folder is not None:
                self._folder.parent, self._folder.name = folder, name
        self.adopt(status)

    def adopt(self, status: os.stat_result) -> None:
        """Take over the host's attributes, and forget pages that they show to be out of date."""
        self.mode = status.st_mode
        self.uid = status.st_uid
        self.gid = status.st_gid
        self.nlink = status.st_nlink
        self.atime_ns = status.st_atime_ns
        self.mtime_ns = status.st_mtime_ns
        self.ctime_ns = status.st_ctime_ns
        self.btime_ns = min(status.st_ctime_ns, status.st_mtime_ns)
        self._blocks = getattr(status, "st_blocks", (status.st_size + 511) // 512)
        seen = (status.st_mtime_ns, status.st_size)
        mapping = self._mapping
        if mapping is not None and self._seen is not None and seen != self._seen:
            if status.st_size < self.size:
                mapping.truncate(status.st_size)
            mapping.invalidate()
        self._seen = seen
        self.size = status.st_size
        if mapping is not None:
            mapping.size_bytes = self.size

    def refresh(self) -> None:
        try:
            self.adopt(self._status())
        except KernelError as error:
            # Removed by a host program: keep what was known, as for an open file without a name.
            if error.errno not in (Errno.ENOENT, Errno.ESTALE, Errno.ENOTDIR):
                raise

    def _status(self) -> os.stat_result:
        """The host's attributes now. Raises ESTALE when the name means another file by now."""
        if self._pinned is not None:
            return os.fstat(self._pinned.number)
        if self._folder is not None:
            status = self.fs.access.status(self._folder, b"")
        else:
            status = self.fs.access.status(*self._place)
        if key_of(status) != self.key:
            raise KernelError(Errno.ESTALE)
        return status

    @property
    def blocks(self) -> int:
        return self._blocks

    def set_attributes(
        self,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        self._writable()
        access = self.fs.access
        folder, name = (self._folder, b"") if self._folder is not None else self._place
        self._status()  # the place must still hold this file
        if (uid is not None and uid != self.uid) or (gid is not None and gid != self.gid):
            try:
                access.set_owner(folder, name, -1 if uid is None else uid, -1 if gid is None else gid)
            except KernelError:
                raise KernelError(Errno.EPERM) from None
        if mode is not None:
            access.set_mode(folder, name, self.key, self._host_mode(mode))
        if atime_ns is not None or mtime_ns is not None:
            status = self._status()
            access.set_times(
                folder,
                name,
                status.st_atime_ns if atime_ns is None else atime_ns,
                status.st_mtime_ns if mtime_ns is None else mtime_ns,
            )
        self._seen = None
        self.refresh()

    def _host_mode(self, mode: int) -> int:
        """The permission bits that a host file may get; a directory's set-group-id bit only passes its group on."""
        mode = stat.S_IMODE(mode)
        return mode & ~stat.S_ISUID if self.is_directory else mode & ~SET_ID_BITS

    def _writable(self) -> None:
        if self.fs.read_only:
            raise KernelError(Errno.EROFS)

    # --- directories -------------------------------------------------------------------------------------------

    def _own_folder(self, *, change: bool = False) -> Folder:
        if self._folder is None:
            raise KernelError(Errno.ENOTDIR)
        if change:
            self._writable()
            if self.fs.is_sealed(self._folder):
                raise KernelError(Errno.EACCES)
        return self._folder

    def lookup(self, name: bytes) -> HostInode:
        folder = self._own_folder()
        if self.fs.is_sealed(folder):
            raise KernelError(Errno.ENOENT)
        return self.fs.inode_of(folder, name, self.fs.access.status(folder, name))

    def readdir(self) -> Iterator[DirEntry]:
        folder = self._own_folder()
        if self.fs.is_sealed(folder):
            return
        device = self.key[0]
        for name, inode_number, kind in self.fs.access.scan(folder):
            yield DirEntry(name, self.fs.number_of(device, inode_number), kind)

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> HostInode:
        folder = self._own_folder(change=True)
        status = self.fs.access.create(folder, name, stat.S_IMODE(mode) & ~SET_ID_BITS)
        return self.fs.inode_of(folder, name, status)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> HostInode:
        folder = self._own_folder(change=True)
        mode = stat.S_IMODE(mode) & ~stat.S_ISUID
        self.fs.access.mkdir(folder, name, mode)
        inode = self._changed_lookup(name)
        if (stat.S_IMODE(inode.mode) ^ mode) & ~stat.S_ISGID:  # the host's umask took something away
            inode.set_attributes(mode=mode | inode.mode & stat.S_ISGID)
        return inode

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> HostInode:
        self.fs.access.symlink(self._own_folder(change=True), name, target)
        return self._changed_lookup(name)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> HostInode:
        if stat.S_IFMT(mode) in (0, S_IFREG):
            return self.create(name, mode, uid, gid)
        kind, mode = stat.S_IFMT(mode), stat.S_IMODE(mode) & ~SET_ID_BITS
        if kind == stat.S_IFSOCK:  # a guest's socket: the inode remembers it, the host has only the name
            self.fs.access.mksocket(self._own_folder(change=True), name, mode)
            return self._changed_lookup(name)
        if kind != stat.S_IFIFO:
            self._writable()
            raise KernelError(Errno.EPERM)
        self.fs.access.mkfifo(self._own_folder(change=True), name, mode)
        inode = self._changed_lookup(name)
        self.fs.own_fifos.add(inode.key)
        return inode

    def link(self, name: bytes, inode: Inode) -> None:
        folder = self._own_folder(change=True)
        if not isinstance(inode, HostInode) or inode.fs is not self.fs:
            raise KernelError(Errno.EXDEV)
        inode._status()
        self.fs.access.link(*inode._place, folder, name)
        self.refresh()
        inode.refresh()

    def unlink(self, name: bytes) -> None:
        folder = self._own_folder(change=True)
        removed = self._known_child(folder, name)
        self._keep_usable(folder, name)
        self.fs.access.unlink(folder, name)
        if removed is not None:
            removed._lost_a_name()
        self.refresh()

    def rmdir(self, name: bytes) -> None:
        folder = self._own_folder(change=True)
        removed = self._known_child(folder, name)
        self.fs.access.rmdir(folder, name)
        if removed is not None:
            removed.nlink = 0
            self.fs.access.descriptors.drop(removed.key)
        self.refresh()

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        folder = self._own_folder(change=True)
        if not isinstance(new_directory, HostInode) or new_directory.fs is not self.fs:
            raise KernelError(Errno.EXDEV)
        if flags:
            raise KernelError(Errno.EINVAL)
        new_folder = new_directory._own_folder(change=True)
        moved = self._known_child(folder, name)
        new_directory._keep_usable(new_folder, new_name)
        replaced = new_directory._known_child(new_folder, new_name)
        self.fs.access.rename(folder, name, new_folder, new_name)
        if replaced is not None and replaced is not moved:
            if replaced.is_directory:
                replaced.nlink = 0
            else:
                replaced._lost_a_name()
        if moved is not None and moved is not replaced:
            moved._place = (new_folder, new_name)
            if moved._folder is not None:
                moved._folder.parent, moved._folder.name = new_folder, new_name
            moved.refresh()
        self.refresh()
        new_directory.refresh()

    def _changed_lookup(self, name: bytes) -> HostInode:
        inode = self.lookup(name)
        self.refresh()
        return inode

    def _known_child(self, folder: Folder, name: bytes) -> HostInode | None:
        """The inode behind a name, if anybody holds it."""
        try:
            return self.fs.inodes.get(key_of(self.fs.access.status(folder, name)))
        except KernelError:
            return None

    def _keep_usable(self, folder: Folder, name: bytes) -> None:
        """A name is about to go: a file that is in use keeps a descriptor of its own from now on."""
        inode = self._known_child(folder, name)
        if inode is None or not inode.is_regular or inode._pinned is not None:
            return
        if not (inode.open_count or inode._mapping is not None):
            return
        for write in (True, False) if not self.fs.read_only else (False,):
            try:
                inode._pinned = self.fs.access.open_file(folder, name, inode.key, write=write)
                return
            except KernelError:
                continue

    def _lost_a_name(self) -> None:
        if self._pinned is not None:
            self.adopt(os.fstat(self._pinned.number))
        else:
            self.nlink = max(self.nlink - 1, 0)

    # --- contents ----------------------------------------------------------------------------------------------

    def readlink(self) -> bytes:
        if not self.is_symlink:
            raise KernelError(Errno.EINVAL)
        return self.fs.access.readlink(*self._place)

    def _descriptor(self, *, write: bool = False) -> Descriptor:
        if self._pinned is not None:
            return self._pinned
        try:
            return self.fs.access.open_file(*self._place, self.key, write=write)
        except KernelError as error:
            if error.errno in (Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP):
                raise KernelError(Errno.ESTALE) from None
            raise

    @property
    def mapping(self) -> FileMapping:
        mapping = super().mapping
        self.fs.mapping_used(self)
        return mapping

    def read(self, offset: int, count: int) -> bytes:
        if offset + count > self.size:
            self.refresh()  # a host program may have appended
        return super().read(offset, count)

    def read_at(self, offset: int, count: int) -> bytes:
        descriptor = self._descriptor()
        try:
            return _pread(descriptor.number, count, offset)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None

    def write_at(self, offset: int, data: bytes) -> None:
        self._writable()
        descriptor = self._descriptor(write=True)
        try:
            _pwrite(descriptor.number, data, offset)
            self._changed_here(descriptor)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None

    def set_size(self, size: int) -> None:
        self._writable()
        descriptor = self._descriptor(write=True)
        try:
            os.ftruncate(descriptor.number, size)
            self._changed_here(descriptor)
        except OSError as error:
            raise KernelError(kernel_errno(error)) from None

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """fallocate(2). What is reserved is what the host reserves; the other modes work on the bytes alone."""
        if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            raise KernelError(Errno.EOPNOTSUPP)
        if mode & FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP)
        self._writable()
        end = offset + length
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            for start in range(offset, min(end, self.size), ZERO_CHUNK):
                self.write(start, bytes(min(ZERO_CHUNK, end - start, self.size - start)))
        if mode & FALLOC_FL_KEEP_SIZE or end <= self.size:
            return
        if hasattr(os, "posix_fallocate"):
            descriptor = self._descriptor(write=True)
            try:
                os.posix_fallocate(descriptor.number, offset, length)
            except OSError as error:
                raise KernelError(kernel_errno(error)) from None
        self.truncate(end)

    def _changed_here(self, descriptor: Descriptor) -> None:
        """The guest itself changed the file: its cached pages belong to the mtime and size of now."""
        status = os.fstat(descriptor.number)
        self._seen = (status.st_mtime_ns, status.st_size)

    def sync(self) -> None:
        super().sync()
        if self.is_regular and not self.fs.read_only:
            descriptor = self.fs.access.descriptors.get("write", self.key)
            if descriptor is not None:  # none: nothing was written lately
                try:
                    os.fsync(descriptor.number)
                except OSError as error:
                    raise KernelError(kernel_errno(error)) from None

    # --- opening and the end -----------------------------------------------------------------------------------

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        kind = stat.S_IFMT(self.mode)
        if kind == stat.S_IFIFO and self.key in self.fs.own_fifos:
            return super().open(flags, context)  # the guest's pipe: the host's FIFO is only its name
        if kind not in (S_IFREG, S_IFDIR, S_IFLNK) and not flags & O_PATH:
            raise KernelError(Errno.EACCES if kind in (S_IFCHR, S_IFBLK) else Errno.ENXIO)
        if (
            kind == S_IFREG and not flags & O_PATH
        ):  # so that open, not a later read, tells what the host refuses
            self._descriptor(write=flags & O_ACCMODE != O_RDONLY)
        return super().open(flags, context)

    @property
    def is_idle(self) -> bool:
        """Nobody has the file open or mapped, and nothing waits to be written."""
        mapping = self._mapping
        return not self.open_count and (mapping is None or not (mapping.users or mapping.dirty))

    def release_pages(self) -> None:
        """Give the cached pages back; they can be read again."""
        self.fs.mapped.pop(self, None)
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            mapping.release()

    def evict(self) -> None:
        mapping = self._mapping
        self.release_pages()
        self.fs.access.descriptors.drop(self.key)
        if mapping is None or not mapping.users:  # a program that still maps the file may touch further pages
            self._pinned = None


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)


def _pwrite(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    if not hasattr(os, "pwrite"):
        os.lseek(descriptor, offset, os.SEEK_SET)
    while view:
        written = os.pwrite(descriptor, view, offset) if hasattr(os, "pwrite") else os.write(descriptor, view)
        view = view[written:]
        offset += written
