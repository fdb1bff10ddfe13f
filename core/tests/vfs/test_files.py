"""Open files, tmpfs storage and devfs: lifetimes, limits, times, special opens."""

from __future__ import annotations

from typing import Any

import pytest
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.vfs import flags as f
from jefeos.vfs.file import BytesFile
from jefeos.vfs.path import path_string

PAGE = 4096


def errno_of(function: Any, *arguments: Any, **keywords: Any) -> int:
    with pytest.raises(KernelError) as caught:
        function(*arguments, **keywords)
    return caught.value.errno


def put(world: Any, path: bytes, data: bytes = b"") -> None:
    file = world.vfs.open(world.root, path, f.O_WRONLY | f.O_CREAT | f.O_TRUNC, 0o644)
    file.write(data)
    file.unref()


# --- storage -----------------------------------------------------------------------------------------------


def test_frames_come_back(world: Any) -> None:
    vfs, root = world.vfs, world.root
    free = world.page_cache.frames.free_count
    file = vfs.open(root, b"/f", f.O_RDWR | f.O_CREAT, 0o644)
    file.write(b"x" * (10 * PAGE))
    assert world.page_cache.frames.free_count == free - 10
    vfs.link(root, b"/f", b"/g")
    vfs.unlink(root, b"/f")
    vfs.unlink(root, b"/g")
    assert file.stat().nlink == 0
    assert file.pread(5, 0) == b"xxxxx"  # unlinked but open
    duplicate = file.ref()
    file.unref()
    assert duplicate.pread(1, 0) == b"x"
    duplicate.unref()
    assert world.page_cache.frames.free_count == free
    put(world, b"/f", b"y" * PAGE)
    put(world, b"/g", b"z" * PAGE)
    vfs.rename(root, b"/f", b"/g")
    vfs.truncate(root, b"/g", 0)
    assert world.page_cache.frames.free_count == free


def test_frames_come_back_after_unmount(world: Any) -> None:
    free = world.page_cache.frames.free_count
    world.vfs.mkdir(world.root, b"/m", 0o755)
    world.vfs.mount(world.tmpfs(), b"/m")
    world.vfs.mkdir(world.root, b"/m/d", 0o755)
    put(world, b"/m/d/f", b"x" * 5 * PAGE)
    world.vfs.link(world.root, b"/m/d/f", b"/m/g")
    world.vfs.unmount(b"/m")
    assert world.page_cache.frames.free_count == free


def test_a_full_filesystem(world: Any) -> None:
    world.vfs.mkdir(world.root, b"/m", 0o755)
    world.vfs.mount(world.tmpfs(4 * PAGE), b"/m")
    file = world.vfs.open(world.root, b"/m/f", f.O_RDWR | f.O_CREAT, 0o644)
    assert file.write(b"x" * 6 * PAGE) == 4 * PAGE
    assert errno_of(file.write, b"y") == Errno.ENOSPC
    assert file.pwrite(b"z" * PAGE, PAGE) == PAGE  # pages that are there can be written
    status = world.vfs.statfs(world.root, b"/m")
    assert (status.blocks, status.blocks_free) == (4, 0)
    file.truncate(PAGE)
    assert world.vfs.statfs(world.root, b"/m").blocks_free == 3
    assert errno_of(file.allocate, 0, 0, 100 * PAGE) == Errno.ENOSPC


def test_holes(world: Any) -> None:
    file = world.vfs.open(world.root, b"/f", f.O_RDWR | f.O_CREAT, 0o644)
    file.pwrite(b"end", 1 << 30)
    assert file.stat().size == (1 << 30) + 3
    assert file.stat().blocks == 8
    assert file.pread(4, 1 << 29) == bytes(4)
    assert file.stat().blocks == 8
    assert errno_of(file.pwrite, b"x", f.FILE_SIZE_MAX) == Errno.EFBIG
    file.truncate(f.FILE_SIZE_MAX)
    assert file.stat().size == f.FILE_SIZE_MAX


def test_allocate(world: Any) -> None:
    file = world.vfs.open(world.root, b"/f", f.O_RDWR | f.O_CREAT, 0o644)
    file.write(b"x" * 3 * PAGE)
    file.allocate(f.FALLOC_FL_PUNCH_HOLE | f.FALLOC_FL_KEEP_SIZE, 10, PAGE)
    assert file.pread(2 * PAGE, 0) == b"x" * 10 + bytes(PAGE) + b"x" * (PAGE - 10)
    file.allocate(0, 0, 4 * PAGE)
    assert file.stat().size == 4 * PAGE
    file.allocate(f.FALLOC_FL_KEEP_SIZE, 0, 9 * PAGE)
    assert file.stat().size == 4 * PAGE
    assert errno_of(file.allocate, 0x40, 0, 1) == Errno.EOPNOTSUPP
    assert errno_of(file.allocate, 0, -1, 1) == Errno.EINVAL


def test_xattrs(world: Any) -> None:
    put(world, b"/f")
    inode = world.vfs.resolve(world.root, b"/f").inode
    someone = world.user(5)
    world.vfs.set_xattr(world.root, inode, b"user.note", b"hi", f.XATTR_CREATE, None)
    world.vfs.set_xattr(world.root, inode, b"trusted.x", b"t", 0, None)
    assert errno_of(world.vfs.set_xattr, world.root, inode, b"user.note", b"", f.XATTR_CREATE, None) == Errno.EEXIST
    assert errno_of(world.vfs.set_xattr, world.root, inode, b"user.o", b"", f.XATTR_REPLACE, None) == Errno.ENODATA
    assert errno_of(world.vfs.set_xattr, someone, inode, b"user.o", b"", 0, None) == Errno.EACCES
    assert errno_of(world.vfs.set_xattr, world.root, inode, b"other", b"", 0, None) == Errno.EOPNOTSUPP
    assert world.vfs.get_xattr(someone, inode, b"user.note") == b"hi"
    assert world.vfs.list_xattrs(someone, inode) == [b"user.note"]
    world.vfs.remove_xattr(world.root, inode, b"user.note", None)
    assert errno_of(world.vfs.get_xattr, world.root, inode, b"user.note") == Errno.ENODATA


# --- times -------------------------------------------------------------------------------------------------


def changed(world: Any, path: bytes, action: Any) -> set[str]:
    """Which of the three times ``action`` moved."""
    before = world.vfs.stat(world.root, path)
    action()
    after = world.vfs.stat(world.root, path)
    return {kind for kind in ("atime_ns", "mtime_ns", "ctime_ns") if getattr(before, kind) != getattr(after, kind)}


def test_times(world: Any) -> None:
    vfs, root = world.vfs, world.root
    vfs.mkdir(root, b"/d", 0o755)
    both = {"mtime_ns", "ctime_ns"}
    assert changed(world, b"/d", lambda: put(world, b"/d/f", b"x")) == both
    assert changed(world, b"/d", lambda: vfs.symlink(root, b"f", b"/d/l")) == both
    assert changed(world, b"/d", lambda: vfs.rename(root, b"/d/l", b"/d/k")) == both
    assert changed(world, b"/d/f", lambda: vfs.link(root, b"/d/f", b"/d/g")) == {"ctime_ns"}
    assert changed(world, b"/d/f", lambda: vfs.unlink(root, b"/d/g")) == {"ctime_ns"}
    assert changed(world, b"/d/f", lambda: vfs.chmod(root, b"/d/f", 0o600)) == {"ctime_ns"}
    assert changed(world, b"/d/f", lambda: vfs.rename(root, b"/d/f", b"/d/f2") or vfs.rename(
        root, b"/d/f2", b"/d/f")) == {"ctime_ns"}
    assert changed(world, b"/d/f", lambda: vfs.truncate(root, b"/d/f", 1)) == both
    file = vfs.open(root, b"/d/f", f.O_RDWR)
    assert changed(world, b"/d/f", lambda: file.write(b"y")) == both
    assert changed(world, b"/d/f", lambda: file.write(b"")) == set()
    assert changed(world, b"/d/f", lambda: file.pread(1, 0)) == {"atime_ns"}
    assert changed(world, b"/d/f", lambda: file.pread(1, 0)) == set()  # relatime: once for each change
    file.write(b"z")
    quiet = vfs.open(root, b"/d/f", f.O_RDONLY | f.O_NOATIME)
    assert changed(world, b"/d/f", lambda: quiet.read(1)) == set()
    assert changed(world, b"/d/f", lambda: vfs.utimens(root, b"/d/f", None, 5)) == both
    assert changed(world, b"/d/f", lambda: vfs.utimens(root, b"/d/f", None, None)) == set()
    assert changed(world, b"/d/f", lambda: vfs.utimens(root, b"/d/f", "now", None)) == {"atime_ns", "ctime_ns"}


def test_permission_to_set_times(world: Any) -> None:
    put(world, b"/f")
    someone = world.user(5)
    assert errno_of(world.vfs.utimens, someone, b"/f", "now", "now") == Errno.EACCES
    assert errno_of(world.vfs.utimens, someone, b"/f", 1, 2) == Errno.EPERM
    world.vfs.chmod(world.root, b"/f", 0o666)
    world.vfs.utimens(someone, b"/f", "now", "now")
    assert errno_of(world.vfs.utimens, someone, b"/f", "now", None) == Errno.EPERM


# --- special opens -----------------------------------------------------------------------------------------


def test_unnamed_file_and_its_first_name(world: Any) -> None:
    vfs, root = world.vfs, world.root
    free = world.page_cache.frames.free_count
    file = vfs.open(root, b"/", f.O_TMPFILE | f.O_RDWR, 0o640)
    file.write(b"x" * PAGE)
    assert file.stat().nlink == 0
    assert path_string(file.path, root.fs.root).endswith(b" (deleted)")
    vfs.link(root, b"", b"/named", source=file.path)
    assert file.stat().nlink == 1
    file.unref()
    assert vfs.stat(root, b"/named").size == PAGE
    vfs.unlink(root, b"/named")
    hidden = vfs.open(root, b"/", f.O_TMPFILE | f.O_RDWR | f.O_EXCL, 0o640)
    hidden.write(b"x")
    assert errno_of(vfs.link, root, b"", b"/named", source=hidden.path) == Errno.ENOENT
    hidden.unref()
    assert world.page_cache.frames.free_count == free
    assert errno_of(vfs.open, root, b"/", f.O_TMPFILE, 0o640) == Errno.EINVAL


def test_path_descriptors_only_name_a_place(world: Any) -> None:
    vfs, root = world.vfs, world.root
    put(world, b"/f", b"x")
    vfs.symlink(root, b"f", b"/l")
    vfs.chmod(root, b"/f", 0)
    place = vfs.open(world.user(5), b"/f", f.O_PATH | f.O_RDWR | f.O_TRUNC)
    assert place.stat().size == 1
    for call in (lambda: place.read(1), lambda: place.write(b"x"), lambda: place.seek(0, 0), lambda: place.mapping,
                 lambda: place.truncate(0), place.fsync, lambda: place.readdir_at(0), lambda: place.ioctl(0, 0)):
        assert errno_of(call) == Errno.EBADF
    link = vfs.open(root, b"/l", f.O_PATH | f.O_NOFOLLOW)
    assert vfs.readlink(root, b"", place=link.path) == b"f"
    assert errno_of(vfs.open, root, b"/l", f.O_NOFOLLOW) == Errno.ELOOP


def test_running_programs_cannot_be_written(world: Any) -> None:
    vfs, root = world.vfs, world.root
    put(world, b"/prog", b"#!")
    inode = vfs.resolve(root, b"/prog").inode
    vfs.deny_write(inode)
    assert errno_of(vfs.open, root, b"/prog", f.O_WRONLY) == Errno.ETXTBSY
    assert errno_of(vfs.truncate, root, b"/prog", 0) == Errno.ETXTBSY
    vfs.open(root, b"/prog", f.O_RDONLY).unref()
    vfs.allow_write(inode)
    writer = vfs.open(root, b"/prog", f.O_WRONLY)
    assert errno_of(vfs.deny_write, inode) == Errno.ETXTBSY
    writer.unref()
    vfs.deny_write(inode)


def test_flags_of_an_open_file(world: Any) -> None:
    file = world.vfs.open(world.root, b"/f", f.O_RDWR | f.O_CREAT | f.O_EXCL | f.O_CLOEXEC | f.O_APPEND, 0o644)
    assert file.flags == f.O_RDWR | f.O_APPEND  # as F_GETFL shows them
    file.set_flags(f.O_NONBLOCK | f.O_WRONLY | f.O_CREAT)
    assert file.flags == f.O_RDWR | f.O_NONBLOCK


def test_directories_are_read_from_a_snapshot(world: Any) -> None:
    vfs, root = world.vfs, world.root
    for number in range(10):
        put(world, b"/f%d" % number)
    directory = vfs.open(root, b"/", f.O_RDONLY | f.O_DIRECTORY)
    entries = directory.readdir_at(0)
    assert [entry.name for entry, _ in entries] == [b".", b".."] + [b"f%d" % number for number in range(10)]
    assert entries[0][0].kind == f.S_IFDIR
    position = entries[4][1]
    for number in range(10):
        vfs.unlink(root, b"/f%d" % number)
    assert [entry.name for entry, _ in directory.readdir_at(position)] == [b"f%d" % n for n in range(3, 10)]
    directory.seek(0, f.SEEK_SET)
    assert len(directory.readdir_at(0)) == 2
    assert errno_of(directory.read, 10) == Errno.EISDIR
    assert errno_of(directory.write, b"") == Errno.EBADF


def test_setgid_directory_hands_down_its_group(world: Any) -> None:
    vfs, root = world.vfs, world.root
    vfs.mkdir(root, b"/d", 0o777)
    vfs.chown(root, b"/d", 0, 60)
    vfs.chmod(root, b"/d", 0o2777)
    someone = world.user(5)
    vfs.mkdir(someone, b"/d/sub", 0o755)
    status = vfs.stat(root, b"/d/sub")
    assert (status.gid, status.mode & 0o7777) == (60, 0o2755)
    vfs.open(someone, b"/d/f", f.O_CREAT | f.O_WRONLY, 0o2755).unref()
    status = vfs.stat(root, b"/d/f")
    assert (status.gid, status.mode & 0o7777) == (60, 0o755)


def test_generated_file(world: Any) -> None:
    put(world, b"/f")
    path = world.vfs.resolve(world.root, b"/f")
    file = BytesFile(path.inode, f.O_RDONLY, path, b"0123456789")
    assert file.read(4) == b"0123"
    assert file.seek(-2, f.SEEK_END) == 8
    assert file.read(10) == b"89"
    assert file.read(10) == b""
    assert file.seek(3, f.SEEK_DATA) == 3
    assert file.seek(3, f.SEEK_HOLE) == 10
    assert errno_of(file.seek, 10, f.SEEK_DATA) == Errno.ENXIO
    assert errno_of(file.seek, -1, f.SEEK_SET) == Errno.EINVAL
    assert errno_of(file.seek, 0, 9) == Errno.EINVAL
    assert errno_of(file.write, b"x") == Errno.EBADF


def test_access_uses_the_real_ids(world: Any) -> None:
    put(world, b"/f")
    world.vfs.chmod(world.root, b"/f", 0o600)
    setuid = world.user(0)
    setuid.creds.uid, setuid.creds.gid = 5, 5
    assert errno_of(world.vfs.access, setuid, b"/f", f.R_OK) == Errno.EACCES
    world.vfs.access(setuid, b"/f", f.R_OK, effective=True)
    assert errno_of(world.vfs.access, world.root, b"/f", f.X_OK) == Errno.EACCES
    assert errno_of(world.vfs.access, world.root, b"/f", 8) == Errno.EINVAL


# --- devices -----------------------------------------------------------------------------------------------


def test_software_devices(world_with_dev: Any) -> None:
    vfs, root = world_with_dev.vfs, world_with_dev.root
    null, zero, full, random = (vfs.open(root, b"/dev/" + name, f.O_RDWR) for name in (
        b"null", b"zero", b"full", b"urandom"))
    assert (null.read(10), null.write(b"abc")) == (b"", 3)
    assert (zero.read(3), zero.write(b"abc")) == (bytes(3), 3)
    assert full.read(3) == bytes(3)
    assert errno_of(full.write, b"x") == Errno.ENOSPC
    assert random.read(3) == b"ZZZ"
    assert zero.pread(5, 1 << 40) == bytes(5)
    assert null.seek(100, 0) == 0
    assert errno_of(lambda: null.mapping) == Errno.ENODEV
    assert zero.mapping.read(0, 4) == bytes(4)
    reader = vfs.open(root, b"/dev/null", f.O_RDONLY)
    assert errno_of(reader.write, b"x") == Errno.EBADF
    status = vfs.stat(root, b"/dev/null")
    assert (status.mode, status.rdev) == (f.S_IFCHR | 0o666, f.make_device(1, 3))
    assert vfs.readlink(root, b"/dev/stdin") == b"/proc/self/fd/0"


def test_device_nodes_anywhere(world_with_dev: Any) -> None:
    vfs, root = world_with_dev.vfs, world_with_dev.root
    vfs.mknod(root, b"/zero", f.S_IFCHR | 0o666, f.make_device(1, 5))
    assert vfs.open(root, b"/zero", f.O_RDONLY).read(2) == bytes(2)
    vfs.mknod(root, b"/nothing", f.S_IFCHR | 0o666, f.make_device(250, 7))
    assert errno_of(vfs.open, root, b"/nothing", f.O_RDONLY) == Errno.ENXIO
    assert errno_of(vfs.mknod, world_with_dev.user(5), b"/dev/shm/x", f.S_IFCHR, f.make_device(1, 3)) == Errno.EPERM
    vfs.mknod(world_with_dev.user(5), b"/dev/shm/x", f.S_IFCHR, 0)  # the whiteout of overlays: for anybody
    vfs.mknod(root, b"/socket", f.S_IFSOCK | 0o666)
    assert errno_of(vfs.open, root, b"/socket", f.O_RDONLY) == Errno.ENXIO


def test_devices_come_and_go(world_with_dev: Any) -> None:
    vfs, root = world_with_dev.vfs, world_with_dev.root
    opener = vfs.devices.devices()[0].opener
    assert errno_of(vfs.stat, root, b"/dev/input/event0") == Errno.ENOENT
    assert errno_of(vfs.stat, root, b"/dev/toy") == Errno.ENOENT
    device = vfs.devices.register(b"input/event0", f.make_device(13, 64), opener)
    toy = vfs.devices.register(b"toy", f.make_device(240, 0), opener, kind=f.S_IFBLK, mode=0o660, gid=6)
    assert vfs.open(root, b"/dev/input/event0", f.O_RDONLY).read(1) == b""
    assert vfs.stat(root, b"/dev/toy").mode == f.S_IFBLK | 0o660
    with pytest.raises(UsageError):
        vfs.devices.register(b"again", f.make_device(13, 64), opener)
    for gone in (device, toy):
        vfs.devices.unregister(gone)
    assert errno_of(vfs.stat, root, b"/dev/input/event0") == Errno.ENOENT
    assert errno_of(vfs.stat, root, b"/dev/toy") == Errno.ENOENT


def test_device_numbers() -> None:
    for major, minor in ((0, 0), (1, 3), (136, 7), (4095, 255), (5000, 70000), (0xFFFFFFFF, 0xFFFFFFFF)):
        device = f.make_device(major, minor)
        assert (f.device_major(device), f.device_minor(device)) == (major, minor)


def test_nodes_and_attributes_are_bounded(world: Any) -> None:
    """They are in the host's memory: without a bound a guest filled it with links and attributes."""
    fs = world.tmpfs()
    fs.inode_limit, fs.xattr_bytes_limit = fs.inodes_used + 2, 1000
    world.vfs.mkdir(world.root, b"/m", 0o755)
    world.vfs.mount(fs, b"/m")
    for _ in range(5):  # what is removed counts no more
        world.vfs.mkdir(world.root, b"/m/d", 0o755)
        world.vfs.symlink(world.root, b"x" * 4000, b"/m/l")
        assert errno_of(world.vfs.mkdir, world.root, b"/m/e", 0o755) == Errno.ENOSPC
        assert errno_of(world.vfs.mkdir, world.root, b"/m/" + b"n" * 300, 0o755) == Errno.ENAMETOOLONG
        assert fs.root.nlink == 3
        inode = fs.root.lookup(b"d")
        inode.set_xattr(b"user.a", b"v" * 700, 0)
        inode.set_xattr(b"user.a", b"v" * 600, 0)
        assert errno_of(inode.set_xattr, b"user.b", b"v" * 300, 0) == Errno.ENOSPC
        inode.remove_xattr(b"user.a")
        inode.set_xattr(b"user.b", b"v" * 700, 0)
        world.vfs.rmdir(world.root, b"/m/d")
        world.vfs.unlink(world.root, b"/m/l")
        assert fs.xattr_bytes_used == 0
    assert world.vfs.statfs(world.root, b"/m").files_free == 2
