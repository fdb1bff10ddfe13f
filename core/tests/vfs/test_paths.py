"""Path resolution: what may be reached, and that no path string leads out of a root or into an exception."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jefeos.errors import Errno, KernelError
from jefeos.vfs import flags as f
from jefeos.vfs.inode import Inode
from jefeos.vfs.path import CACHED_CHILDREN_LIMIT, Path, path_string
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode


def errno_of(function: Any, *arguments: Any, **keywords: Any) -> int:
    with pytest.raises(KernelError) as caught:
        function(*arguments, **keywords)
    return caught.value.errno


def put(world: Any, path: bytes, data: bytes = b"", task: Any = None) -> None:
    file = world.vfs.open(task or world.root, path, f.O_WRONLY | f.O_CREAT | f.O_TRUNC, 0o644)
    file.write(data)
    file.unref()


def name_of(world: Any, path: bytes, task: Any = None) -> bytes:
    task = task or world.root
    return path_string(world.vfs.resolve(task, path), task.fs.root)


@pytest.fixture
def tree(world: Any) -> Any:
    for folder in (b"/jail", b"/jail/in", b"/jail/in/side", b"/out", b"/out/secret"):
        world.vfs.mkdir(world.root, folder, 0o755)
    put(world, b"/out/file", b"outside")
    put(world, b"/jail/file", b"inside")
    world.vfs.symlink(world.root, b"/out", b"/jail/absolute")
    world.vfs.symlink(world.root, b"../../../out", b"/jail/in/relative")
    return world


@pytest.fixture
def prisoner(tree: Any) -> Any:
    task = tree.root
    task.fs.root = task.fs.cwd = tree.vfs.resolve(task, b"/jail")
    return task


@pytest.mark.parametrize("path", [b"..", b"/..", b"../../..", b"in/../..", b"/in/side/../../../..", b"in/./.././../"])
def test_no_way_above_the_root(tree: Any, prisoner: Any, path: bytes) -> None:
    assert tree.vfs.resolve(prisoner, path) == prisoner.fs.root


@pytest.mark.parametrize("path", [b"/absolute/file", b"in/relative/file", b"../out/file", b"/in/relative"])
def test_symlinks_stay_inside(tree: Any, prisoner: Any, path: bytes) -> None:
    assert errno_of(tree.vfs.resolve, prisoner, path) == Errno.ENOENT


@settings(max_examples=400, deadline=None)
@given(path=st.lists(st.sampled_from(
    [b"..", b".", b"", b"in", b"side", b"absolute", b"relative", b"out", b"file", b"secret", b"jail"]),
    max_size=12).map(b"/".join))
def test_every_walk_ends_inside_the_root(path: bytes) -> None:
    world = _jail()
    task = world.root
    task.fs.root = world.vfs.resolve(task, b"/jail")
    task.fs.cwd = world.vfs.resolve(task, b"/in/side")
    try:
        place = world.vfs.resolve(task, path)
    except KernelError:
        return
    assert not path_string(place, task.fs.root).startswith(b"(unreachable)")


def _jail(cache: list[Any] = []) -> Any:  # noqa: B006 - made once, as hypothesis has no fixtures for each example
    if not cache:
        from jefeos.vfs.vfs import Vfs

        class Clock:
            def realtime_ns(self) -> int:
                return 1

        class World:
            vfs = Vfs(Clock(), None)

            @property
            def root(self) -> Any:
                return self.vfs.as_kernel()

        world = World()
        world.vfs.mount(Tmpfs(None, Clock()), b"/")
        for folder in (b"/jail", b"/jail/in", b"/jail/in/side", b"/out", b"/out/secret"):
            world.vfs.mkdir(world.root, folder, 0o755)
        world.vfs.symlink(world.root, b"/out", b"/jail/absolute")
        world.vfs.symlink(world.root, b"../../../out", b"/jail/in/relative")
        world.vfs.mknod(world.root, b"/jail/file", f.S_IFREG | 0o644)
        cache.append(world)
    return cache[0]


@settings(max_examples=500, deadline=None)
@given(path=st.binary(max_size=60) | st.text("/.ab\0", max_size=40).map(str.encode), other=st.binary(max_size=20))
def test_any_bytes_as_a_path(path: bytes, other: bytes) -> None:
    """Every call answers with a result or a KernelError, whatever the bytes."""
    world = _jail()
    task, vfs = world.root, world.vfs
    calls: list[Any] = [
        lambda: vfs.stat(task, path), lambda: vfs.mkdir(task, path, 0o777), lambda: vfs.rmdir(task, path),
        lambda: vfs.symlink(task, other, path), lambda: vfs.readlink(task, path), lambda: vfs.unlink(task, path),
        lambda: vfs.open(task, path, f.O_RDWR | f.O_CREAT, 0o600).unref(), lambda: vfs.rename(task, path, b"/moved"),
        lambda: vfs.unlink(task, b"/moved"), lambda: vfs.link(task, b"/jail/file", path),
        lambda: vfs.truncate(task, path, 0), lambda: vfs.directory(task, path), lambda: vfs.unlink(task, path),
    ]
    for call in calls:
        try:
            call()
        except KernelError:
            pass


def test_symlink_loops_and_limit(world: Any) -> None:
    vfs, root = world.vfs, world.root
    vfs.symlink(root, b"loop2", b"/loop1")
    vfs.symlink(root, b"loop1", b"/loop2")
    vfs.symlink(root, b"self/x", b"/self")
    for path in (b"/loop1", b"/loop2/x", b"/self", b"/self/y"):
        assert errno_of(vfs.stat, root, path) == Errno.ELOOP
    assert errno_of(vfs.open, root, b"/loop1", f.O_WRONLY | f.O_CREAT, 0o644) == Errno.ELOOP
    put(world, b"/end")
    vfs.symlink(root, b"/end", b"/s1")
    for number in range(2, 42):
        vfs.symlink(root, b"/s%d" % (number - 1), b"/s%d" % number)
    assert vfs.stat(root, b"/s40").ino == vfs.stat(root, b"/end").ino
    assert errno_of(vfs.stat, root, b"/s41") == Errno.ELOOP


def test_lengths(world: Any) -> None:
    vfs, root = world.vfs, world.root
    vfs.mkdir(root, b"/" + b"n" * 255, 0o755)
    assert errno_of(vfs.mkdir, root, b"/" + b"n" * 256, 0o755) == Errno.ENAMETOOLONG
    assert errno_of(vfs.stat, root, b"/missing/" + b"n" * 256) == Errno.ENOENT
    assert vfs.stat(root, b"/" * 4095).ino == 1
    assert errno_of(vfs.stat, root, b"/" * 4096) == Errno.ENAMETOOLONG
    assert errno_of(vfs.symlink, root, b"t" * 4096, b"/l") == Errno.ENAMETOOLONG
    vfs.symlink(root, b"t" * 4095, b"/l")
    assert errno_of(vfs.stat, root, b"/l") == Errno.ENAMETOOLONG


def test_at_directories(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    jail = vfs.resolve(root, b"/jail")
    assert vfs.resolve(root, b"file", at=jail) == vfs.resolve(root, b"/jail/file")
    assert vfs.resolve(root, b"/out/file", at=jail) == vfs.resolve(root, b"/out/file")
    not_a_directory = vfs.resolve(root, b"/jail/file")
    assert errno_of(vfs.resolve, root, b"x", at=not_a_directory) == Errno.ENOTDIR
    assert errno_of(vfs.resolve, root, b".", at=not_a_directory) == Errno.ENOTDIR
    assert errno_of(vfs.resolve, root, b"", at=jail) == Errno.ENOENT


def test_path_strings(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    assert name_of(tree, b"/") == b"/"
    assert name_of(tree, b"/jail/in/..//in/side/") == b"/jail/in/side"
    inner = tree.root
    inner.fs.root = vfs.resolve(root, b"/jail")
    assert path_string(vfs.resolve(root, b"/jail/in"), inner.fs.root) == b"/in"
    assert path_string(vfs.resolve(root, b"/out"), inner.fs.root) == b"(unreachable)/out"
    file = vfs.open(root, b"/out/file", f.O_RDONLY)
    vfs.rename(root, b"/out", b"/elsewhere")
    assert path_string(file.path, root.fs.root) == b"/elsewhere/file"
    vfs.unlink(root, b"/elsewhere/file")
    assert path_string(file.path, root.fs.root) == b"/elsewhere/file (deleted)"
    reader, _ = vfs.pipe(root)
    assert path_string(reader.path, root.fs.root) == b"pipe:[%d]" % reader.inode.ino


def test_removed_working_directory(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    root.fs.cwd = vfs.directory(root, b"/out/secret")
    vfs.rmdir(root, b"/out/secret")
    assert errno_of(put, tree, b"new", task=root) == Errno.ENOENT
    assert errno_of(vfs.mkdir, root, b"new", 0o755) == Errno.ENOENT
    assert name_of(tree, b"..", root) == b"/out"
    assert vfs.stat(root, b".").nlink == 0
    file = vfs.open(root, b".", f.O_RDONLY)
    assert errno_of(file.readdir_at, 0) == Errno.ENOENT


# --- mounts ------------------------------------------------------------------------------------------------


def test_mounts_cover_and_uncover(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    vfs.mount(tree.tmpfs(), b"/out", 0, b"first")
    assert errno_of(vfs.stat, root, b"/out/file") == Errno.ENOENT
    put(tree, b"/out/first")
    vfs.mount(tree.tmpfs(), b"/out", 0, b"second")
    assert errno_of(vfs.stat, root, b"/out/first") == Errno.ENOENT
    vfs.mkdir(root, b"/out/d", 0o755)
    assert name_of(tree, b"/out/d") == b"/out/d"
    assert name_of(tree, b"/out/d/../..") == b"/"
    assert vfs.stat(root, b"/out/..").ino == vfs.stat(root, b"/").ino
    devices = {vfs.stat(root, path).dev for path in (b"/", b"/out")}
    assert len(devices) == 2
    vfs.unmount(b"/out")
    assert vfs.stat(root, b"/out/first")
    vfs.unmount(b"/out")
    assert vfs.stat(root, b"/out/file")
    assert errno_of(vfs.unmount, b"/out") == Errno.EINVAL
    assert errno_of(vfs.unmount, b"/") == Errno.EBUSY


def test_mountpoints_are_busy(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    vfs.mount(tree.tmpfs(), b"/out/secret")
    assert errno_of(vfs.rmdir, root, b"/out/secret") == Errno.EBUSY
    assert errno_of(vfs.rename, root, b"/out/secret", b"/x") == Errno.EBUSY
    vfs.mkdir(root, b"/empty", 0o755)
    assert errno_of(vfs.rename, root, b"/empty", b"/out/secret") == Errno.EBUSY
    put(tree, b"/out/secret/f")
    assert errno_of(vfs.rename, root, b"/out/secret/f", b"/f") == Errno.EXDEV
    assert errno_of(vfs.link, root, b"/out/secret/f", b"/f") == Errno.EXDEV
    file = vfs.open(root, b"/out/secret/f", f.O_RDONLY)
    assert errno_of(vfs.unmount, b"/out/secret") == Errno.EBUSY
    file.unref()
    vfs.unmount(b"/out/secret")
    vfs.rmdir(root, b"/out/secret")


def test_read_only_mount(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    mount = vfs.mount(tree.tmpfs(), b"/out")
    put(tree, b"/out/f", b"x")
    vfs.mknod(root, b"/out/fifo", f.S_IFIFO | 0o666)
    vfs.remount(Path(mount, mount.root), int(f.MountFlags.RDONLY | f.MountFlags.NOEXEC))
    for call in (lambda: put(tree, b"/out/f"), lambda: put(tree, b"/out/g"), lambda: vfs.mkdir(root, b"/out/d", 0),
                 lambda: vfs.unlink(root, b"/out/f"), lambda: vfs.rename(root, b"/out/f", b"/out/g"),
                 lambda: vfs.chmod(root, b"/out/f", 0), lambda: vfs.truncate(root, b"/out/f", 0),
                 lambda: vfs.access(root, b"/out/f", f.W_OK), lambda: vfs.utimens(root, b"/out/f", 1, 1)):
        assert errno_of(call) == Errno.EROFS
    vfs.open(root, b"/out/fifo", f.O_RDWR).unref()  # a FIFO is not of the filesystem
    vfs.chmod(root, b"/jail/file", 0o755)
    vfs.access(root, b"/jail/file", f.X_OK)
    assert errno_of(vfs.access, root, b"/out/f", f.X_OK) == Errno.EACCES
    assert mount.options == b"ro,noexec,relatime"
    vfs.remount(Path(mount, mount.root), 0)
    put(tree, b"/out/f", b"y")
    mount.fs.read_only = True
    assert errno_of(vfs.remount, Path(mount, mount.root), 0) == Errno.EROFS
    vfs.remount(Path(mount, mount.root), int(f.MountFlags.NOEXEC), mount_only=True)
    assert mount.options == b"ro,noexec,relatime"


def test_bind_mount_of_a_directory_and_a_file(tree: Any) -> None:
    vfs, root = tree.vfs, tree.root
    vfs.bind(vfs.resolve(root, b"/out"), vfs.resolve(root, b"/jail/in/side"))
    assert name_of(tree, b"/jail/in/side/file") == b"/jail/in/side/file"
    assert name_of(tree, b"/jail/in/side/..") == b"/jail/in"
    assert errno_of(vfs.rename, root, b"/jail/in/side/file", b"/out/moved") == Errno.EXDEV
    put(tree, b"/jail/in/side/new", b"seen from both")
    assert vfs.stat(root, b"/out/new").size == 14
    vfs.bind(vfs.resolve(root, b"/out/file"), vfs.resolve(root, b"/jail/file"))
    assert vfs.stat(root, b"/jail/file").size == 7
    assert errno_of(vfs.bind, vfs.resolve(root, b"/out"), vfs.resolve(root, b"/jail/file")) == Errno.ENOTDIR


# --- dentries ----------------------------------------------------------------------------------------------


class Counting(TmpfsInode):
    lookups = 0

    def lookup(self, name: bytes) -> Inode:
        Counting.lookups += 1
        return super().lookup(name)


class CountingFs(Tmpfs):
    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        return Counting(self, self.next_ino(), mode, uid, gid, rdev=rdev)


def test_what_is_found_and_not_found_is_remembered(world: Any) -> None:
    other = world.sibling(CountingFs(world.page_cache, world.clock))
    other.vfs.mkdir(other.root, b"/d", 0o755)
    put(other, b"/d/f")
    Counting.lookups = 0
    for _ in range(5):
        other.vfs.stat(other.root, b"/d/f")
        assert errno_of(other.vfs.stat, other.root, b"/d/missing") == Errno.ENOENT
    assert Counting.lookups == 1
    put(other, b"/d/missing")
    other.vfs.unlink(other.root, b"/d/missing")
    assert errno_of(other.vfs.stat, other.root, b"/d/missing") == Errno.ENOENT


def test_filesystem_without_dentry_cache(world: Any) -> None:
    fs = CountingFs(world.page_cache, world.clock)
    fs.cacheable_dentries = False
    other = world.sibling(fs)
    vfs, root = other.vfs, other.root
    vfs.mkdir(root, b"/d", 0o755)
    vfs.mkdir(root, b"/d/e", 0o755)
    fs.root.entries[b"behind"] = fs.root.entries[b"d"]  # a change that the Vfs hears nothing of
    assert vfs.stat(root, b"/behind/e")
    root.fs.cwd = vfs.directory(root, b"/d/e")
    assert name_of(other, b"../..", root) == b"/"
    assert errno_of(vfs.rename, root, b"/d", b"/d/e/x") == Errno.EINVAL
    vfs.rename(root, b"/d/e", b"/moved")
    vfs.mount(world.tmpfs(), b"/d")
    put(other, b"/d/on-the-mount")
    assert vfs.stat(root, b"/d/on-the-mount")


def test_the_cache_of_a_directory_is_bounded(world: Any) -> None:
    vfs, root = world.vfs, world.root
    vfs.mkdir(root, b"/keep", 0o755)
    for number in range(CACHED_CHILDREN_LIMIT + 500):
        assert errno_of(vfs.stat, root, b"/no%d" % number) == Errno.ENOENT
    cached = vfs.root.dentry.children
    assert len(cached) <= CACHED_CHILDREN_LIMIT
    assert b"keep" in cached


def test_random_renames_keep_the_dentries_true(world: Any) -> None:
    """After many renames each open file's path still leads to it."""
    rng = random.Random(3)
    vfs, root = world.vfs, world.root
    places = [b"/a", b"/b", b"/c", b"/a/x", b"/b/x", b"/c/x", b"/a/x/y", b"/b/x/y"]
    files = []
    for number in range(2000):
        path = rng.choice(places)
        try:
            if rng.random() < 0.3:
                vfs.mkdir(root, path, 0o755)
            elif rng.random() < 0.3:
                name = path + b"/f%d" % number
                files.append(vfs.open(root, name, f.O_CREAT | f.O_RDWR, 0o644))
            elif rng.random() < 0.8:
                vfs.rename(root, path, rng.choice(places), rng.choice((0, 0, f.RENAME_EXCHANGE)))
            else:
                vfs.rmdir(root, path)
        except KernelError:
            pass
    assert len(files) > 100
    for file in files:
        assert vfs.resolve(root, path_string(file.path, root.fs.root)) == file.path
