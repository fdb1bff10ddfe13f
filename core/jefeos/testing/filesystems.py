"""The conformance suite of filesystem plugins: subclass `FilesystemConformance`, give it a filesystem, pass.

::

    class TestExample(FilesystemConformance):
        read_only = True                      # what the filesystem cannot do: see the class attributes

        @pytest.fixture
        def filesystem(self, page_cache, clock, tmp_path):
            make_image(tmp_path / "image", SAMPLE)          # a read-only one must hold the sample tree
            return ExampleFilesystem(tmp_path / "image", page_cache=page_cache, clock=clock)

A writable filesystem starts empty; the suite writes the sample tree through it. The tests work on the interface of
`jefeos.vfs.inode`, as the Vfs uses it: what the Vfs checks itself (permissions, ``..``, symlink loops, whether a
name exists before `create`) is not asked of a filesystem, and so not tested here.

The fixtures ``page_cache`` and ``clock`` come from this class as well: 16 MiB of memory, and a clock that moves one
second each time it is read, so that every change of a time shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from jefeos.errors import Errno
from jefeos.mm.pagecache import PageCache
from jefeos.testing.model_machine import ModelTests
from jefeos.testing.posix import PosixTests
from jefeos.testing.sharing import SharingTests
from jefeos.testing.suites import SECOND_NS, FilesystemSuite, TickingClock, errno_of, needs
from jefeos.vfs.flags import S_IFDIR, S_IFIFO, S_IFMT, S_IFREG
from jefeos.vfs.inode import PAGE_SIZE, Filesystem, Inode

__all__ = ["SAMPLE", "FilesystemConformance", "FilesystemSuite", "TickingClock", "errno_of", "needs", "plant", "walk"]

LONG_NAME = b"n" * 255
BIG = bytes(random.Random(1).randbytes(3 * PAGE_SIZE + 17))

#: The sample tree: path to contents; a tuple is a symbolic link, None a directory.
SAMPLE: dict[bytes, bytes | tuple[bytes] | None] = {
    b"empty": b"",
    b"hello.txt": b"hello, world\n",
    b"big.bin": BIG,
    b"dir": None,
    b"dir/nested": None,
    b"dir/nested/deep.txt": b"deep",
    b"dir/with space": b"space",
    b"na\xc3\xafve": b"utf-8",
    LONG_NAME: b"long",
    b"link": (b"hello.txt",),
    b"dir/up": (b"../hello.txt",),
    b"dangling": (b"/not/there",),
}


class FilesystemConformance(PosixTests, SharingTests, ModelTests):
    """What every filesystem has to do. Subclass it with a ``filesystem`` fixture; switch off what it cannot
    (`FilesystemSuite`)."""

    # --- fixtures --------------------------------------------------------------------------------------------

    @pytest.fixture
    def sample(self, filesystem: Filesystem) -> Inode:
        """The root of the sample tree."""
        if not self.read_only:
            plant(filesystem.root, self.sample_tree())
        return filesystem.root

    def sample_tree(self) -> dict[bytes, bytes | tuple[bytes] | None]:
        """The part of the sample tree that this filesystem can hold."""
        return {path: content for path, content in SAMPLE.items() if self.symlinks or not isinstance(content, tuple)}

    # --- reading ---------------------------------------------------------------------------------------------

    def test_the_root_is_a_directory(self, filesystem: Filesystem) -> None:
        assert filesystem.root.is_directory
        assert filesystem.root is filesystem.root
        assert filesystem.read_only is self.read_only

    def test_every_file_of_the_sample_reads_back(self, sample: Inode) -> None:
        for path, content in self.sample_tree().items():
            inode = walk(sample, path)
            if content is None:
                assert inode.is_directory, path
            elif isinstance(content, tuple):
                assert (inode.is_symlink, inode.readlink()) == (True, content[0]), path
            else:
                inode.refresh()
                assert (inode.is_regular, inode.size) == (True, len(content)), path
                assert inode.read(0, len(content) + 10) == content, path

    def test_readdir_and_lookup_agree(self, sample: Inode) -> None:
        for folder in (b"", b"dir", b"dir/nested"):
            prefix = folder + b"/" if folder else b""
            expected = {path[len(prefix) :] for path in self.sample_tree() if path.startswith(prefix)}
            directory = walk(sample, folder)
            entries = list(directory.readdir())
            assert sorted(entry.name for entry in entries) == sorted(name for name in expected if b"/" not in name)
            for entry in entries:
                inode = directory.lookup(entry.name)
                assert entry.ino == inode.ino
                assert entry.kind in (0, inode.mode & S_IFMT)

    def test_one_node_is_one_object(self, sample: Inode) -> None:
        hello = sample.lookup(b"hello.txt")
        assert sample.lookup(b"hello.txt") is hello
        assert walk(sample, b"dir/nested") is walk(sample, b"dir/nested")

    def test_inode_numbers_differ(self, sample: Inode) -> None:
        numbers = [walk(sample, path).ino for path in self.sample_tree()]
        assert len({*numbers, sample.ino}) == len(numbers) + 1

    @pytest.mark.parametrize("name", [b"missing", b"hello", b"hello.txt2", b"\xff\xfe", b"x" * 255])
    def test_a_missing_name_is_enoent(self, sample: Inode, name: bytes) -> None:
        assert errno_of(lambda: sample.lookup(name)) == Errno.ENOENT

    @pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 4097, 8192, len(BIG) - 1, len(BIG), len(BIG) + 5000])
    @pytest.mark.parametrize("count", [0, 1, 4096, 4097, 1 << 20])
    def test_reads_at_any_offset(self, sample: Inode, offset: int, count: int) -> None:
        assert sample.lookup(b"big.bin").read(offset, count) == BIG[offset : offset + count]

    def test_the_last_page_ends_in_zeros(self, sample: Inode, page_cache: PageCache) -> None:
        big = sample.lookup(b"big.bin")
        frame = big.mapping.page(3)
        page = bytes(page_cache.ram[frame * PAGE_SIZE : (frame + 1) * PAGE_SIZE])
        assert page == BIG[3 * PAGE_SIZE :].ljust(PAGE_SIZE, b"\0")

    def test_stat_and_statfs_are_sane(self, filesystem: Filesystem, sample: Inode) -> None:
        big = sample.lookup(b"big.bin").stat()
        assert (big.size, big.mode & S_IFMT) == (len(BIG), S_IFREG)
        assert big.nlink >= 1
        assert big.block_size > 0
        assert sample.stat().nlink >= 1
        numbers = filesystem.statfs()
        assert numbers.block_size > 0
        assert 0 < numbers.name_max <= 255
        assert 0 <= numbers.blocks_available <= numbers.blocks_free <= numbers.blocks

    # --- refusing --------------------------------------------------------------------------------------------

    @needs("read_only")
    def test_a_read_only_filesystem_refuses_every_change(self, sample: Inode) -> None:
        hello = sample.lookup(b"hello.txt")
        changes: list[Callable[[], object]] = [
            lambda: sample.create(b"new", S_IFREG | 0o644, 0, 0),
            lambda: sample.mkdir(b"new", S_IFDIR | 0o755, 0, 0),
            lambda: sample.symlink(b"new", b"target", 0, 0),
            lambda: sample.mknod(b"new", S_IFIFO | 0o644, 0, 0, 0),
            lambda: sample.link(b"new", hello),
            lambda: sample.unlink(b"hello.txt"),
            lambda: walk(sample, b"dir").rmdir(b"nested"),
            lambda: sample.rename(b"hello.txt", sample, b"new", 0),
            lambda: hello.write(0, b"x"),
            lambda: hello.truncate(0),
        ]
        assert [errno_of(change) for change in changes] == [Errno.EROFS] * len(changes)
        assert hello.read(0, 100) == SAMPLE[b"hello.txt"]

    # --- writing ---------------------------------------------------------------------------------------------

    @needs("-read_only")
    def test_a_write_past_the_end_leaves_zeros(self, root: Inode) -> None:
        file = root.create(b"f", S_IFREG | 0o644, 0, 0)
        assert file.write(10_000, b"end") == 3
        assert (file.size, file.read(0, 20_000)) == (10_003, bytes(10_000) + b"end")

    @needs("-read_only")
    def test_what_was_cut_off_does_not_come_back(self, root: Inode) -> None:
        file = root.create(b"f", S_IFREG | 0o644, 0, 0)
        file.write(0, b"x" * 9000)
        file.truncate(5000)
        file.truncate(9000)
        assert file.read(0, 9000) == b"x" * 5000 + bytes(4000)

    @needs("-read_only")
    @pytest.mark.parametrize("seed", range(5))
    def test_random_writes_and_truncations(self, root: Inode, seed: int) -> None:
        file, model, dice = root.create(b"f", S_IFREG | 0o644, 0, 0), bytearray(), random.Random(seed)
        for _ in range(150):
            offset, length = dice.randrange(20_000), dice.randrange(6000)
            if dice.random() < 0.2:
                file.truncate(offset)
                model[:] = model[:offset].ljust(offset, b"\0")
            else:
                data = dice.randbytes(length)
                assert file.write(offset, data) == length
                if length:
                    model[:] = model.ljust(offset, b"\0")
                    model[offset : offset + length] = data
            assert file.size == len(model)
            start = dice.randrange(20_000)
            assert file.read(start, 7000) == model[start : start + 7000]
        assert file.read(0, 1 << 20) == model

    @needs("-read_only")
    def test_a_page_written_through_a_mapping_is_stored_by_sync(self, root: Inode, page_cache: PageCache) -> None:
        file = root.create(b"f", S_IFREG | 0o644, 0, 0)
        file.write(0, b"a" * 6000)
        file.mapping.write(4090, b"mapped")
        file.sync()
        assert file.read(4080, 20) == b"a" * 10 + b"mapped" + b"a" * 4
        assert file.read_at(4080, 20) == b"a" * 10 + b"mapped" + b"a" * 4

    @needs("-read_only")
    def test_link_counts_of_directories(self, root: Inode) -> None:
        before = root.nlink
        sub = root.mkdir(b"sub", S_IFDIR | 0o755, 0, 0)
        sub.refresh()
        root.refresh()
        assert sub.nlink in (1, 2)
        assert root.nlink in (before, before + 1)
        sub.create(b"f", S_IFREG | 0o644, 0, 0)
        assert errno_of(lambda: root.rmdir(b"sub")) == Errno.ENOTEMPTY
        sub.unlink(b"f")
        root.rmdir(b"sub")
        root.refresh()
        assert root.nlink == before
        assert errno_of(lambda: root.lookup(b"sub")) == Errno.ENOENT

    @needs("-read_only")
    def test_an_unlinked_file_lives_while_it_is_open(self, root: Inode) -> None:
        file = root.create(b"f", S_IFREG | 0o644, 0, 0)
        file.write(0, b"still here")
        file.open_count += 1  # as the Vfs does for an open file
        root.unlink(b"f")
        assert b"f" not in [entry.name for entry in root.readdir()]
        file.write(10, b"!")
        assert file.read(0, 100) == b"still here!"
        file.open_count -= 1
        file.evict()

    @needs("-read_only")
    def test_rename_moves_and_replaces(self, sample: Inode, root: Inode) -> None:
        hello, folder = root.lookup(b"hello.txt"), root.lookup(b"dir")
        root.rename(b"hello.txt", folder, b"moved", 0)
        assert folder.lookup(b"moved") is hello
        assert errno_of(lambda: root.lookup(b"hello.txt")) == Errno.ENOENT
        folder.rename(b"moved", root, b"big.bin", 0)
        assert root.lookup(b"big.bin") is hello
        assert hello.read(0, 100) == SAMPLE[b"hello.txt"]
        root.mkdir(b"other", S_IFDIR | 0o755, 0, 0)
        assert errno_of(lambda: root.rename(b"other", root, b"dir", 0)) == Errno.ENOTEMPTY
        nested = folder.lookup(b"nested")
        folder.rename(b"nested", root, b"other", 0)
        assert root.lookup(b"other") is nested
        assert nested.lookup(b"deep.txt").read(0, 10) == b"deep"

    @needs("-read_only", "hard_links")
    def test_hard_links(self, root: Inode) -> None:
        file = root.create(b"one", S_IFREG | 0o644, 0, 0)
        root.link(b"two", file)
        file.refresh()
        assert (root.lookup(b"two") is file, file.nlink) == (True, 2)
        root.unlink(b"one")
        file.refresh()
        assert (root.lookup(b"two") is file, file.nlink) == (True, 1)

    @needs("-read_only", "special_files")
    def test_special_files(self, root: Inode) -> None:
        root.mknod(b"fifo", S_IFIFO | 0o600, 0, 0, 0)
        assert root.lookup(b"fifo").mode & S_IFMT == S_IFIFO

    @needs("-read_only")
    def test_names(self, sample: Inode, root: Inode) -> None:
        names = [b"a", b"A", b"with\nline", b"\xff\xfe", b"...", b" ", b"*?", b"m" * 255]
        if not self.any_names:
            names = [b"a", b"with space", b"m" * 255]
        for name in names:
            root.create(name, S_IFREG | 0o644, 0, 0)
        assert {entry.name for entry in root.readdir()} >= set(names)
        assert errno_of(lambda: root.create(b"m" * 256, S_IFREG | 0o644, 0, 0)) == Errno.ENAMETOOLONG

    @needs("-read_only")
    def test_attributes_stay(self, root: Inode) -> None:
        file = root.create(b"f", S_IFREG | 0o640, 0, 0)
        file.set_attributes(mode=0o751, atime_ns=5 * SECOND_NS, mtime_ns=7 * SECOND_NS)
        again = root.lookup(b"f")
        again.refresh()
        if self.keeps_mode:
            assert again.mode == S_IFREG | 0o751
        if self.keeps_times:
            assert (again.atime_ns, again.mtime_ns) == (5 * SECOND_NS, 7 * SECOND_NS)

    @needs("-read_only")
    def test_writing_changes_the_times(self, root: Inode) -> None:
        file = root.create(b"f", S_IFREG | 0o640, 0, 0)
        file.set_attributes(mtime_ns=7 * SECOND_NS)
        file.write(0, b"x")
        file.refresh()
        assert file.mtime_ns > 7 * SECOND_NS
        before_ns = root.stat().mtime_ns
        root.set_attributes(mtime_ns=9 * SECOND_NS)
        root.unlink(b"f")
        assert root.stat().mtime_ns > 9 * SECOND_NS
        assert before_ns > 9 * SECOND_NS


def walk(root: Inode, path: bytes) -> Inode:
    """The inode at a relative path, without following links."""
    inode = root
    for name in path.split(b"/") if path else []:
        inode = inode.lookup(name)
    return inode


def plant(root: Inode, tree: dict[bytes, bytes | tuple[bytes] | None]) -> None:
    """Make a tree such as `SAMPLE` under ``root``."""
    for path, content in tree.items():
        folder, _, name = path.rpartition(b"/")
        parent = walk(root, folder)
        if content is None:
            parent.mkdir(name, S_IFDIR | 0o755, 0, 0)
        elif isinstance(content, tuple):
            parent.symlink(name, content[0], 0, 0)
        else:
            inode = parent.create(name, S_IFREG | 0o644, 0, 0)
            if content:
                assert inode.write(0, content) == len(content)
