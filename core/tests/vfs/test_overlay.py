"""The overlay: what is below shows, what is written stays above, and below nothing ever changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.vfs import flags as f
from jefeos.vfs.inode import DirEntry, Filesystem, Inode

PAGE = 4096


def put(world: Any, path: bytes, data: bytes) -> None:
    file = world.vfs.open(world.root, path, f.O_WRONLY | f.O_CREAT | f.O_TRUNC, 0o644)
    file.write(data)
    file.unref()


def get(world: Any, path: bytes) -> bytes:
    file = world.vfs.open(world.root, path, f.O_RDONLY)
    try:
        return bytes(file.read(1 << 24))
    finally:
        file.unref()


def names(world: Any, path: bytes) -> list[bytes]:
    file = world.vfs.open(world.root, path, f.O_RDONLY)
    try:
        return sorted(entry.name for entry, _ in file.readdir_at(0))[2:]
    finally:
        file.unref()


def errno_of(function: Any, *arguments: Any, **keywords: Any) -> int:
    with pytest.raises(KernelError) as caught:
        function(*arguments, **keywords)
    return caught.value.errno


def picture(world: Any, path: bytes = b"/") -> dict[bytes, Any]:
    """Everything that can be seen below ``path``."""
    seen: dict[bytes, Any] = {}
    for name in names(world, path):
        place = path.rstrip(b"/") + b"/" + name
        status = world.vfs.stat(world.root, place, follow=False)
        content = get(world, place) if status.mode & f.S_IFMT == f.S_IFREG else b""
        seen[place] = (status, content)
        if status.mode & f.S_IFMT == f.S_IFDIR:
            seen |= picture(world, place)
    return seen


@pytest.fixture
def below(world: Any) -> Any:
    vfs, root = world.vfs, world.root
    for folder in (b"/etc", b"/etc/deep", b"/usr", b"/usr/bin"):
        vfs.mkdir(root, folder, 0o755)
    put(world, b"/etc/passwd", b"root:x:0:0\n")
    put(world, b"/etc/deep/file", b"deep")
    put(world, b"/big", bytes(range(256)) * 64)
    put(world, b"/usr/bin/tool", b"#!")
    vfs.link(root, b"/usr/bin/tool", b"/usr/bin/same")
    vfs.symlink(root, b"usr/bin", b"/bin")
    return world


@pytest.fixture
def above(below: Any) -> Iterator[Any]:
    # Reading changes access times below through nobody: the overlay reads by read_at.
    before = picture(below)
    world = below.sibling(below.overlay(below.vfs.root.mount.fs))
    yield world
    after = picture(below)
    assert {path: (s.mode, s.size, s.nlink, s.mtime_ns, s.ctime_ns, c) for path, (s, c) in after.items()} == {
        path: (s.mode, s.size, s.nlink, s.mtime_ns, s.ctime_ns, c) for path, (s, c) in before.items()}


def test_shows_what_is_below(above: Any, below: Any) -> None:
    assert names(above, b"/") == [b"big", b"bin", b"etc", b"usr"]
    assert get(above, b"/bin/tool") == b"#!"
    ours, theirs = (w.vfs.stat(w.root, b"/etc/passwd") for w in (above, below))
    assert ours[1:4] == theirs[1:4]  # inode number, mode, links
    assert (ours.size, ours.mtime_ns) == (theirs.size, theirs.mtime_ns)


def test_inode_numbers_of_readdir_and_stat_agree(above: Any) -> None:
    put(above, b"/etc/new", b"")
    file = above.vfs.open(above.root, b"/etc", f.O_RDONLY)
    for entry, _ in file.readdir_at(0)[2:]:
        assert above.vfs.stat(above.root, b"/etc/" + entry.name).ino == entry.ino


def test_writing_copies_single_pages(above: Any) -> None:
    file = above.vfs.open(above.root, b"/big", f.O_RDWR)
    file.pwrite(b"changed", PAGE + 10)
    content = bytearray(bytes(range(256)) * 64)
    content[PAGE + 10 : PAGE + 17] = b"changed"
    assert file.inode.mapping.resident == 1
    assert get(above, b"/big") == content
    file.pwrite(b"end", 4 * PAGE + 5)
    assert get(above, b"/big") == bytes(content) + bytes(5) + b"end"


def test_truncation_hides_what_is_below_for_ever(above: Any) -> None:
    file = above.vfs.open(above.root, b"/big", f.O_RDWR)
    file.truncate(5000)
    file.truncate(16384)
    content = (bytes(range(256)) * 64)[:5000]
    assert get(above, b"/big") == content + bytes(16384 - 5000)


def test_written_pages_survive_reclaim(above: Any) -> None:
    file = above.vfs.open(above.root, b"/big", f.O_RDWR)
    file.pwrite(b"kept", PAGE)
    assert above.page_cache.reclaim(1000) > 0
    assert file.inode.mapping.resident == 0
    assert file.pread(4, PAGE) == b"kept"
    above.page_cache.reclaim(1000)
    file.truncate(PAGE + 2)
    file.truncate(3 * PAGE)
    assert file.pread(2 * PAGE, PAGE) == b"ke" + bytes(2 * PAGE - 2)


def test_new_files_may_be_larger_than_memory(above: Any) -> None:
    page_count = above.page_cache.frames.total + 100
    file = above.vfs.open(above.root, b"/huge", f.O_RDWR | f.O_CREAT, 0o644)
    for index in range(page_count):
        file.write(index.to_bytes(8, "little") * (PAGE // 8))
    for index in range(0, page_count, 97):
        assert file.pread(8, index * PAGE) == index.to_bytes(8, "little")
    file.truncate(PAGE + 3)
    file.truncate(4 * PAGE)
    assert file.pread(3 * PAGE, PAGE) == (1).to_bytes(8, "little")[:3] + bytes(3 * PAGE - 3)


def test_what_was_never_written_is_a_hole(above: Any) -> None:
    """Below is data; beyond it, and in new files, only what was written is, in memory or put aside."""
    file = above.vfs.open(above.root, b"/big", f.O_RDWR)
    below = file.inode.size
    file.truncate(1 << 40)
    assert file.seek(10, f.SEEK_DATA) == 10
    assert file.seek(10, f.SEEK_HOLE) == below
    assert errno_of(file.seek, below, f.SEEK_DATA) == Errno.ENXIO
    file.pread(PAGE, below + PAGE)
    assert file.seek(below, f.SEEK_HOLE) == below
    file.pwrite(b"x", below + 10 * PAGE + 5)
    for _ in range(2):
        assert file.seek(below + 1, f.SEEK_DATA) == below + 10 * PAGE
        assert file.seek(below + 10 * PAGE + 7, f.SEEK_DATA) == below + 10 * PAGE + 7
        assert file.seek(below + 10 * PAGE + 7, f.SEEK_HOLE) == below + 11 * PAGE
        assert file.seek(below + 20 * PAGE + 7, f.SEEK_HOLE) == below + 20 * PAGE + 7
        file.inode.sync()
    file.unref()


def test_space_used_below_is_counted(above: Any, below: Any) -> None:
    over, under = (w.vfs.statfs(w.root, b"/") for w in (above, below))
    assert over.blocks - over.blocks_free >= under.blocks - under.blocks_free > 0
    assert over.type == f.FilesystemMagic.OVERLAY


def test_whiteouts(above: Any) -> None:
    vfs, root = above.vfs, above.root
    vfs.unlink(root, b"/etc/passwd")
    assert errno_of(vfs.stat, root, b"/etc/passwd") == Errno.ENOENT
    assert names(above, b"/etc") == [b"deep"]
    put(above, b"/etc/passwd", b"new")
    assert get(above, b"/etc/passwd") == b"new"
    vfs.unlink(root, b"/etc/passwd")
    assert errno_of(vfs.stat, root, b"/etc/passwd") == Errno.ENOENT


def test_a_directory_made_again_is_empty(above: Any) -> None:
    vfs, root = above.vfs, above.root
    assert errno_of(vfs.rmdir, root, b"/etc") == Errno.ENOTEMPTY
    vfs.unlink(root, b"/etc/passwd")
    vfs.unlink(root, b"/etc/deep/file")
    vfs.rmdir(root, b"/etc/deep")
    vfs.rmdir(root, b"/etc")
    vfs.mkdir(root, b"/etc", 0o700)
    assert names(above, b"/etc") == []
    assert errno_of(vfs.stat, root, b"/etc/passwd") == Errno.ENOENT


@pytest.mark.parametrize("links", [1, 2])
def test_links_of_a_directory_whose_count_below_is_too_low(above: Any, links: int) -> None:
    """btrfs does not count subdirectories, and a host folder may get some after it was looked at."""
    vfs, root = above.vfs, above.root
    vfs.resolve(root, b"/etc").inode.nlink = links
    vfs.unlink(root, b"/etc/deep/file")
    vfs.rmdir(root, b"/etc/deep")
    for _ in range(3):
        vfs.rename(root, b"/usr/bin", b"/etc/bin")
        vfs.rename(root, b"/etc/bin", b"/usr/bin")
    assert vfs.stat(root, b"/etc").nlink == links


def test_renaming_a_directory_from_below(above: Any) -> None:
    vfs, root = above.vfs, above.root
    vfs.rename(root, b"/etc", b"/usr/config")
    assert names(above, b"/usr/config") == [b"deep", b"passwd"]
    assert get(above, b"/usr/config/deep/file") == b"deep"
    assert errno_of(vfs.stat, root, b"/etc") == Errno.ENOENT
    vfs.rename(root, b"/usr/config/deep", b"/usr/config/bin")
    vfs.rename(root, b"/usr/bin", b"/usr/config/bin2")
    assert names(above, b"/usr/config") == [b"bin", b"bin2", b"passwd"]
    assert errno_of(vfs.rename, root, b"/usr", b"/usr/config/x") == Errno.EINVAL


def test_renaming_over_a_name_from_below(above: Any) -> None:
    vfs, root = above.vfs, above.root
    put(above, b"/new", b"new")
    vfs.rename(root, b"/new", b"/etc/passwd")
    assert get(above, b"/etc/passwd") == b"new"
    vfs.mkdir(root, b"/empty", 0o755)
    assert errno_of(vfs.rename, root, b"/empty", b"/etc") == Errno.ENOTEMPTY
    vfs.rename(root, b"/etc/passwd", b"/big", f.RENAME_EXCHANGE)
    assert get(above, b"/big") == b"new"


def test_hard_links_below_stay_one_file(above: Any) -> None:
    vfs, root = above.vfs, above.root
    put(above, b"/usr/bin/tool", b"changed")
    assert get(above, b"/usr/bin/same") == b"changed"
    assert vfs.stat(root, b"/usr/bin/same").nlink == 2
    vfs.unlink(root, b"/usr/bin/tool")
    assert vfs.stat(root, b"/usr/bin/same").nlink == 1
    assert get(above, b"/usr/bin/same") == b"changed"


def test_attributes_change_above_only(above: Any) -> None:
    vfs, root = above.vfs, above.root
    vfs.chmod(root, b"/etc/passwd", 0o600)
    vfs.chown(root, b"/etc/passwd", 5, 6)
    vfs.utimens(root, b"/etc/passwd", 1, 2)
    status = vfs.stat(root, b"/etc/passwd")
    assert (status.mode & 0o777, status.uid, status.gid, status.atime_ns, status.mtime_ns) == (0o600, 5, 6, 1, 2)
    assert get(above, b"/etc/passwd") == b"root:x:0:0\n"


def test_unlinked_but_open_file_from_below(above: Any) -> None:
    file = above.vfs.open(above.root, b"/etc/passwd", f.O_RDONLY)
    above.vfs.unlink(above.root, b"/etc/passwd")
    assert file.read(100) == b"root:x:0:0\n"
    file.unref()


class TinyFs(Filesystem):
    """The smallest filesystem there can be: one file, and only `read_at`."""

    name = "tiny"
    read_only = True

    def __init__(self, clock: Any, page_cache: Any) -> None:
        super().__init__(clock, page_cache)
        self._root = TinyNode(self, 1, f.S_IFDIR | 0o555)

    @property
    def root(self) -> Inode:
        return self._root


class TinyNode(Inode):
    content = b"tiny " * 2000

    def lookup(self, name: bytes) -> Inode:
        if name == b"file":
            return TinyNode(self.fs, 2, f.S_IFREG | 0o444, size=len(self.content))
        raise KernelError(Errno.ENOENT)

    def readdir(self) -> list[DirEntry]:
        return [DirEntry(b"file", 2, f.S_IFREG)]

    def read_at(self, offset: int, count: int) -> bytes:
        return self.content[offset : offset + count]


def test_smallest_filesystem_alone_and_below(world: Any) -> None:
    tiny = TinyFs(world.clock, world.page_cache)
    alone = world.sibling(tiny)
    assert get(alone, b"/file") == TinyNode.content
    for call in (lambda: put(alone, b"/new", b""), lambda: put(alone, b"/file", b""),
                 lambda: alone.vfs.mkdir(alone.root, b"/d", 0o755), lambda: alone.vfs.unlink(alone.root, b"/file"),
                 lambda: alone.vfs.chmod(alone.root, b"/file", 0)):
        assert errno_of(call) == Errno.EROFS
    over = world.sibling(world.overlay(tiny))
    put(over, b"/new", b"new")
    file = over.vfs.open(over.root, b"/file", f.O_RDWR | f.O_APPEND)
    file.write(b"more")
    assert get(over, b"/file") == TinyNode.content + b"more"
    assert names(over, b"/") == [b"file", b"new"]
