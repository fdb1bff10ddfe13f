"""The host folder as inodes: contents, freshness, lifetimes, and what the guest must not do."""

from __future__ import annotations

import gc
import mmap
import os
import socket
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.pagecache import PageCache
from jefeos.vfs.flags import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    O_RDONLY,
    O_RDWR,
    FileKind,
)
from jefeos_fs_host import filesystem
from jefeos_fs_host.filesystem import HostFilesystem, HostInode
from jefeos_fs_host.plugin import jefeos_filesystems

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="compares with a POSIX host")

CLOCK = SimpleNamespace(realtime_ns=lambda: 1_000_000_000)
RAM_BYTES = 4 << 20


@pytest.fixture
def page_cache() -> PageCache:
    ram = memoryview(mmap.mmap(-1, RAM_BYTES))
    return PageCache(FrameAllocator(ram, 0), ram)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    return tmp_path


@pytest.fixture
def fs(folder: Path, page_cache: PageCache) -> HostFilesystem:
    return HostFilesystem(str(folder), True, clock=CLOCK, page_cache=page_cache)


def refused(call: Any, *arguments: Any, **named: Any) -> Errno:
    with pytest.raises(KernelError) as caught:
        call(*arguments, **named)
    return Errno(caught.value.errno)


def content(inode: HostInode) -> bytes:
    return inode.read(0, 1 << 20)


def test_attributes_are_the_hosts(fs: HostFilesystem, folder: Path) -> None:
    for name, kind in (("sub", FileKind.DIRECTORY), ("file", FileKind.REGULAR), ("link", FileKind.SYMLINK)):
        inode, host = fs.root.lookup(name.encode()), (folder / name).lstat()
        seen = inode.stat()
        assert inode.kind == kind
        assert (seen.mode, seen.uid, seen.gid, seen.nlink, seen.size, seen.blocks, seen.mtime_ns, seen.ino) == (
            host.st_mode, host.st_uid, host.st_gid, host.st_nlink, host.st_size, host.st_blocks,
            host.st_mtime_ns, host.st_ino,
        )  # fmt: skip
    assert fs.root.lookup(b"link").readlink() == b"file"
    assert {entry.name: FileKind(entry.kind) for entry in fs.root.readdir()} == {
        b"sub": FileKind.DIRECTORY,
        b"file": FileKind.REGULAR,
        b"link": FileKind.SYMLINK,
    }


def test_one_file_is_one_inode(fs: HostFilesystem, folder: Path) -> None:
    os.link(folder / "file", folder / "sub" / "hard")
    first = fs.root.lookup(b"file")
    assert fs.root.lookup(b"file") is first
    assert fs.root.lookup(b"sub").lookup(b"hard") is first
    del first
    gc.collect()
    assert len(fs.inodes) <= 2


def test_writes_reach_the_host_at_once(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.create(b"new", 0o100640, 0, 0)
    assert inode.write(0, b"hello") == 5
    assert inode.write(5000, b"far") == 3
    assert (folder / "new").read_bytes() == b"hello" + bytes(4995) + b"far"
    assert content(inode) == (folder / "new").read_bytes()
    inode.truncate(3)
    assert (folder / "new").read_bytes() == b"hel"
    assert content(inode) == b"hel"
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640
    inode.sync()


def test_changes_of_the_host_are_seen(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    assert content(inode) == b"content"
    with (folder / "file").open("ab") as file:
        file.write(b" and more")
    assert content(inode) == b"content and more"
    (folder / "file").write_bytes(b"CONTENT AND MORE")
    os.utime(folder / "file", ns=(1, 1))
    inode.refresh()
    assert content(inode) == b"CONTENT AND MORE"
    (folder / "fresh").write_bytes(b"x")
    assert fs.root.lookup(b"fresh").size == 1
    (folder / "fresh").unlink()
    assert refused(fs.root.lookup, b"fresh") == Errno.ENOENT


def test_a_change_of_the_host_after_a_write_of_the_guest_is_seen(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.create(b"shared", 0o100644, 0, 0)
    inode.write(0, b"guest")
    assert content(inode) == b"guest"
    (folder / "shared").write_bytes(b"host!")
    os.utime(folder / "shared", ns=(1, 1))
    assert content(fs.root.lookup(b"shared")) == b"host!"
    inode.write(5, b" guest")
    assert content(inode) == b"host! guest"
    assert (folder / "shared").read_bytes() == b"host! guest"


def test_a_removed_file_in_use_stays_usable(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    inode.open_count += 1
    fs.root.unlink(b"file")
    assert not (folder / "file").exists()
    assert inode.nlink == 0
    fs.access.descriptors.clear()
    assert content(inode) == b"content"
    assert inode.write(7, b"!") == 1
    inode.refresh()
    assert (inode.size, inode.nlink) == (8, 0)
    before = len(os.listdir("/dev/fd"))
    inode.open_count -= 1
    inode.evict()
    assert len(os.listdir("/dev/fd")) == before - 1


def test_a_replaced_file_in_use_stays_usable(fs: HostFilesystem, folder: Path) -> None:
    old, new = fs.root.lookup(b"file"), fs.root.create(b"new", 0o100644, 0, 0)
    new.write(0, b"new content")
    old.open_count += 1
    fs.root.rename(b"new", fs.root, b"file", 0)
    fs.access.descriptors.clear()
    assert content(old) == b"content"
    assert old.nlink == 0
    assert fs.root.lookup(b"file") is new
    assert content(new) == b"new content"


def test_a_file_removed_by_the_host_is_stale(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    (folder / "file").unlink()
    assert refused(inode.read, 0, 10) == Errno.ESTALE
    inode.refresh()


def test_one_of_two_names_goes(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    fs.root.lookup(b"sub").link(b"hard", inode)
    assert inode.nlink == 2
    content(inode)
    fs.root.unlink(b"file")
    fs.access.descriptors.clear()
    assert inode.nlink == 1
    assert content(inode) == b"content"


def test_a_moved_folder_takes_its_files_along(fs: HostFilesystem, folder: Path) -> None:
    sub = fs.root.mkdir(b"a", 0o40755, 0, 0)
    inode = sub.create(b"f", 0o100644, 0, 0)
    inode.write(0, b"moved")
    fs.root.rename(b"a", fs.root.lookup(b"sub"), b"b", 0)
    fs.access.descriptors.clear()
    assert content(inode) == b"moved"
    sub.create(b"g", 0o100644, 0, 0)
    assert (folder / "sub" / "b" / "g").exists()
    assert sorted(entry.name for entry in sub.readdir()) == [b"f", b"g"]


def test_directories_come_and_go(fs: HostFilesystem, folder: Path) -> None:
    old = os.umask(0o077)
    try:
        made = fs.root.mkdir(b"made", 0o40777, 0, 0)
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "made").stat().st_mode) == 0o777
    links = fs.root.nlink
    fs.root.rmdir(b"made")
    assert made.nlink == 0
    assert fs.root.nlink == links - 1
    (folder / "sub" / "x").write_bytes(b"")
    assert refused(fs.root.rmdir, b"sub") == Errno.ENOTEMPTY


def test_attributes_can_be_set(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    inode.set_attributes(mode=0o4751, mtime_ns=123_456_789_012_345_678)
    host = (folder / "file").stat()
    assert stat.S_IMODE(host.st_mode) == 0o751
    assert host.st_mtime_ns == 123_456_789_012_345_678
    assert inode.mode == host.st_mode
    fs.root.lookup(b"sub").set_attributes(mode=0o2770, atime_ns=5_000_000_000)
    host = (folder / "sub").stat()
    assert (stat.S_IMODE(host.st_mode), host.st_atime_ns) == (0o2770, 5_000_000_000)
    fs.root.lookup(b"link").set_attributes(mtime_ns=7_000_000_000)
    assert (folder / "link").lstat().st_mtime_ns == 7_000_000_000


def test_an_owner_that_the_host_refuses_is_eperm(fs: HostFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    inode = fs.root.lookup(b"file")
    inode.set_attributes(uid=inode.uid, gid=inode.gid)

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(13, "no")

    monkeypatch.setattr(os, "chown", refuse)
    assert refused(inode.set_attributes, uid=inode.uid + 1) == Errno.EPERM


def test_read_only_means_it(folder: Path, page_cache: PageCache) -> None:
    fs = HostFilesystem(str(folder), clock=CLOCK, page_cache=page_cache)
    root, inode = fs.root, fs.root.lookup(b"file")
    for call in (
        lambda: root.create(b"n", 0o100644, 0, 0),
        lambda: root.mkdir(b"n", 0o40755, 0, 0),
        lambda: root.symlink(b"n", b"x", 0, 0),
        lambda: root.mknod(b"n", 0o10644, 0, 0, 0),
        lambda: root.link(b"n", inode),
        lambda: root.unlink(b"file"),
        lambda: root.rmdir(b"sub"),
        lambda: root.rename(b"file", root, b"n", 0),
        lambda: inode.write(0, b"x"),
        lambda: inode.truncate(0),
        lambda: inode.set_attributes(mode=0o600),
    ):
        assert refused(call) == Errno.EROFS
    assert content(inode) == b"content"
    assert sorted(path.name for path in folder.iterdir()) == ["file", "link", "sub"]


def test_special_files_are_shown_and_not_opened(fs: HostFilesystem, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    for name, kind in ((b"fifo", FileKind.FIFO), (b"socket", FileKind.SOCKET)):
        inode = fs.root.lookup(name)
        assert inode.kind == kind
        for flags in (O_RDONLY, O_RDWR):
            assert refused(inode.open, flags, None) == Errno.ENXIO
        assert refused(inode.read_at, 0, 10) == Errno.ENXIO
    listener.close()


def test_devices_of_the_host_are_shown_and_not_opened(page_cache: PageCache) -> None:
    fs = HostFilesystem("/dev", clock=CLOCK, page_cache=page_cache)
    inode = fs.root.lookup(b"null")
    assert inode.kind == FileKind.CHARACTER_DEVICE
    assert inode.rdev == 0x103
    assert refused(inode.open, O_RDONLY, None) == Errno.EACCES
    assert refused(inode.read_at, 0, 1) == Errno.ENXIO


def test_the_guest_makes_no_devices(fs: HostFilesystem) -> None:
    for mode in (0o020666, 0o060660):
        assert refused(fs.root.mknod, b"n", mode, 0x103, 0, 0) == Errno.EPERM
    assert fs.root.mknod(b"n", 0o100644, 0, 0, 0).is_regular


def test_a_socket_of_the_guest_is_a_name(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.mknod(b"s", 0o140600, 0, 0, 0)
    assert inode.kind == FileKind.SOCKET
    assert (folder / "s").is_socket()
    assert fs.root.lookup(b"s") is inode  # where the kernel's own socket is remembered
    client = socket.socket(socket.AF_UNIX)
    with pytest.raises(ConnectionRefusedError):
        client.connect(str(folder / "s"))
    client.close()


def test_fallocate(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    inode.allocate(0, 4, 96)
    assert inode.size == 100
    inode.allocate(FALLOC_FL_KEEP_SIZE, 0, 1000)
    assert inode.size == 100
    inode.allocate(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1, 2)
    inode.allocate(FALLOC_FL_ZERO_RANGE, 5, 200)
    assert (folder / "file").read_bytes() == b"c\0\0te" + bytes(200)
    assert inode.read(0, 6) == b"c\0\0te\0"
    assert refused(inode.allocate, FALLOC_FL_PUNCH_HOLE, 0, 1) == Errno.EOPNOTSUPP


def test_the_state_of_the_host_is_hidden(page_cache: PageCache) -> None:
    fs = HostFilesystem("/", clock=CLOCK, page_cache=page_cache)
    for name in (b"proc", b"sys", b"dev"):
        directory = fs.root.lookup(name)
        assert directory.is_directory
        assert list(directory.readdir()) == []
        assert refused(directory.lookup, b"self") == Errno.ENOENT
        assert refused(directory.lookup, b"null") == Errno.ENOENT
    assert fs.root.lookup(b"etc").lookup(b"passwd").is_regular
    assert fs.statfs().blocks > 0


def test_links_between_filesystems_are_refused(
    fs: HostFilesystem, folder: Path, page_cache: PageCache
) -> None:
    other = HostFilesystem(str(folder / "sub"), True, clock=CLOCK, page_cache=page_cache)
    inode = fs.root.lookup(b"file")
    assert refused(other.root.link, b"n", inode) == Errno.EXDEV
    assert refused(fs.root.rename, b"file", other.root, b"n", 0) == Errno.EXDEV
    assert refused(fs.root.rename, b"file", fs.root, b"n", 2) == Errno.EINVAL


def test_a_file_replaced_by_another_kind_is_a_new_inode(fs: HostFilesystem, folder: Path) -> None:
    inode = fs.root.lookup(b"file")
    (folder / "file").unlink()
    (folder / "file").symlink_to("/etc/passwd")
    replaced = fs.root.lookup(b"file")
    assert replaced is not inode
    assert replaced.is_symlink
    assert refused(inode.read_at, 0, 10) in (Errno.ESTALE, Errno.ENXIO)


def test_pages_of_idle_files_are_given_back(
    fs: HostFilesystem, folder: Path, page_cache: PageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "IDLE_MAPPINGS_LIMIT", 20)
    kept = fs.root.lookup(b"file")
    kept.open_count += 1
    content(kept)
    for index in range(100):
        (folder / f"f{index}").write_bytes(b"x" * 5000)
        assert len(content(fs.root.lookup(b"f%d" % index))) == 5000
    assert len(page_cache.mappings()) <= 22
    assert kept in fs.mapped
    gc.collect()
    assert len(fs.inodes) <= 30
    fs.unmount()
    assert page_cache.cached_pages == 0


def test_a_big_folder_is_listed_lazily(fs: HostFilesystem, folder: Path) -> None:
    for index in range(2000):
        (folder / "sub" / str(index)).touch()
    entries = iter(fs.root.lookup(b"sub").readdir())
    next(entries)
    assert len(fs.inodes) <= 2
    assert sum(1 for _ in entries) == 1999


def test_the_type_recognises_folders(folder: Path) -> None:
    (kind,) = jefeos_filesystems()
    assert kind.name == "host"
    assert kind.layered
    assert kind.probe(str(folder))
    assert not kind.probe(str(folder / "file"))
    fs = kind.open(str(folder), writable=False, page_cache=None, clock=CLOCK)
    assert fs.read_only
