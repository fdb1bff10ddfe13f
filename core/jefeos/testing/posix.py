"""POSIX behaviour of a filesystem, as a program sees it through the Vfs: part of `FilesystemConformance`.

What the Vfs decides by itself (permission checks, the order of errors on paths) has its own tests against the host's
Linux; here is what depends on the filesystem below: sizes, holes, link counts, times, names, big directories, space,
attributes, and that all of it is there again after mounting anew.
"""

from __future__ import annotations

import random

import pytest

from jefeos.errors import Errno
from jefeos.testing.mounted import Mounted
from jefeos.testing.suites import SECOND_NS, FilesystemSuite, errno_of, needs
from jefeos.vfs.flags import (
    O_APPEND,
    O_CREAT,
    O_RDWR,
    RENAME_NOREPLACE,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)

PAGE = 4096
EDGES = (0, 1, 511, 512, 513, 700, 1023, 1024, 4095, 4096, 4097, 8191, 65535, 65536, 65537, 200_000)
WHEN_NS = 1_500_000_002 * SECOND_NS
"""An even number of seconds after 1980, which every format can store."""


def text_of(size: int) -> bytes:
    """Bytes that repeat at no power of two."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class PosixTests(FilesystemSuite):
    """See the module."""

    # --- contents --------------------------------------------------------------------------------------------

    @needs("-read_only")
    @pytest.mark.parametrize("size", EDGES)
    def test_a_file_of_any_size_is_there_after_mounting_anew(self, here: Mounted, size: int) -> None:
        here.put(b"/f", text_of(size))
        assert here.get(b"/f") == text_of(size)
        again = self.reopen(here)
        assert again.get(b"/f") == text_of(size)
        assert again.vfs.stat(again.actor, b"/f").size == size

    @needs("-read_only")
    @pytest.mark.parametrize(("old", "new"), [(5, 0), (5, 900), (900, 5), (5000, 900), (900, 5000), (70_000, 3),
                                              (3, 70_000), (8192, 4096), (4096, 8192), (100_000, 99_999)])
    def test_cutting_and_growing(self, here: Mounted, old: int, new: int) -> None:
        here.put(b"/f", text_of(old))
        here.vfs.truncate(here.actor, b"/f", new)
        expected = text_of(old)[:new].ljust(new, b"\0")
        assert here.get(b"/f") == expected
        assert self.reopen(here).get(b"/f") == expected

    @needs("-read_only")
    def test_writing_in_small_pieces_and_backwards(self, here: Mounted) -> None:
        expected = bytearray()
        here.put(b"/f", b"")
        for start in range(0, 30_000, 777):
            piece = text_of(start % 251 + 777)[start % 251 :]
            here.write(b"/f", start, piece)
            expected[start:] = piece
        for start in range(29_000, 0, -1234):
            here.write(b"/f", start, b"back")
            expected[start : start + 4] = b"back"
        assert here.get(b"/f") == expected
        assert self.reopen(here).get(b"/f") == expected

    @needs("-read_only")
    def test_appending_goes_to_the_end(self, here: Mounted) -> None:
        here.put(b"/log", b"one\n")
        first = here.vfs.open_file(here.actor, b"/log", O_RDWR | O_APPEND)
        second = here.vfs.open_file(here.actor, b"/log", O_RDWR | O_APPEND)
        for number in range(50):
            (first, second)[number % 2].write(b"%03d\n" % number)
        first.unref()
        second.unref()
        assert here.get(b"/log") == b"one\n" + b"".join(b"%03d\n" % number for number in range(50))

    @needs("-read_only", "sparse")
    def test_holes_take_no_room_and_read_as_zeros(self, here: Mounted) -> None:
        far = min(1 << 30, self.largest_file - 4)
        here.put(b"/f", b"begin")
        before = here.filesystem.statfs().blocks_free
        here.write(b"/f", far, b"end!")
        stat = here.vfs.stat(here.actor, b"/f")
        assert (stat.size, stat.blocks * 512 < 1 << 20) == (far + 4, True)
        used = before - here.filesystem.statfs().blocks_free
        assert used * here.filesystem.statfs().block_size < 1 << 20
        again = self.reopen(here)
        file = again.vfs.open_file(again.actor, b"/f")
        assert file.pread(5, 0) == b"begin"
        assert file.pread(100, far - 50) == bytes(50) + b"end!"
        assert file.pread(PAGE, far // 2) == bytes(PAGE)
        file.unref()

    @needs("-read_only", "own_space")
    def test_space_comes_back(self, here: Mounted) -> None:
        here.put(b"/warm", b"x")  # directories and tables may grow for good
        here.vfs.unlink(here.actor, b"/warm")
        here.vfs.sync()
        before = here.filesystem.statfs()
        here.put(b"/f", text_of(300_000))
        here.vfs.sync()
        during = here.filesystem.statfs()
        if during.blocks:
            assert (before.blocks_free - during.blocks_free) * during.block_size >= 300_000
        here.vfs.truncate(here.actor, b"/f", 0)
        here.vfs.unlink(here.actor, b"/f")
        here.vfs.sync()
        assert here.filesystem.statfs().blocks_free >= before.blocks_free - 2

    # --- names and directories -------------------------------------------------------------------------------

    @needs("-read_only")
    def test_a_directory_of_many_names(self, here: Mounted) -> None:
        here.vfs.mkdir(here.actor, b"/many", 0o755)
        dice = random.Random(7)
        names = [b"file %05d %s" % (number, b"x" * dice.randrange(60)) for number in range(self.many_names)]
        dice.shuffle(names)
        for name in names:
            here.put(b"/many/" + name, name)
        assert sorted(entry.name for entry in here.list(b"/many")) == sorted(names)
        for name in names[::3]:
            here.vfs.unlink(here.actor, b"/many/" + name)
        left = sorted(set(names) - set(names[::3]))
        here = self.reopen(here)
        assert sorted(entry.name for entry in here.list(b"/many")) == left
        for name in left[::7]:
            assert here.get(b"/many/" + name) == name
        assert errno_of(lambda: here.get(b"/many/" + names[0])) == Errno.ENOENT
        for name in left:
            here.vfs.unlink(here.actor, b"/many/" + name)
        here.vfs.rmdir(here.actor, b"/many")
        assert self.reopen(here).list(b"/") == []

    @needs("-read_only")
    def test_a_deep_tree(self, here: Mounted) -> None:
        path = b""
        for depth in range(40):
            path += b"/level%d" % depth
            here.vfs.mkdir(here.actor, path, 0o755)
        here.put(path + b"/bottom", b"found")
        here = self.reopen(here)
        assert here.get(path + b"/bottom") == b"found"
        assert errno_of(lambda: here.vfs.rename(here.actor, b"/level0", path + b"/inside")) == Errno.EINVAL
        here.vfs.rename(here.actor, b"/level0/level1", b"/moved")
        assert self.reopen(here).get(b"/moved" + path[len(b"/level0/level1") :] + b"/bottom") == b"found"

    @needs("-read_only")
    def test_errors_on_names(self, here: Mounted) -> None:
        vfs, actor = here.vfs, here.actor
        here.put(b"/file", b"x")
        vfs.mkdir(actor, b"/dir", 0o755)
        here.put(b"/dir/inside", b"y")
        vfs.mkdir(actor, b"/empty", 0o755)
        calls = [
            (Errno.EEXIST, lambda: vfs.mkdir(actor, b"/file", 0o755)),
            (Errno.EEXIST, lambda: vfs.mkdir(actor, b"/dir", 0o755)),
            (Errno.ENOTDIR, lambda: vfs.rmdir(actor, b"/file")),
            (Errno.ENOTEMPTY, lambda: vfs.rmdir(actor, b"/dir")),
            (Errno.EISDIR, lambda: vfs.unlink(actor, b"/dir")),
            (Errno.ENOENT, lambda: vfs.unlink(actor, b"/missing")),
            (Errno.ENOTDIR, lambda: here.put(b"/file/below", b"")),
            (Errno.ENOENT, lambda: here.put(b"/missing/below", b"")),
            (Errno.EISDIR, lambda: vfs.rename(actor, b"/file", b"/dir")),
            (Errno.ENOTDIR, lambda: vfs.rename(actor, b"/dir", b"/file")),
            (Errno.ENOTEMPTY, lambda: vfs.rename(actor, b"/empty", b"/dir")),
            (Errno.EEXIST, lambda: vfs.rename(actor, b"/file", b"/dir/inside", RENAME_NOREPLACE)),
            (Errno.ENAMETOOLONG, lambda: here.put(b"/" + b"n" * 256, b"")),
        ]
        assert [errno_of(call) for _, call in calls] == [errno for errno, _ in calls]
        assert here.tree() == {
            b"/file": (S_IFREG, b"x"),
            b"/dir": (S_IFDIR, b""),
            b"/dir/inside": (S_IFREG, b"y"),
            b"/empty": (S_IFDIR, b""),
        }

    @needs("-read_only", "-case_sensitive")
    def test_case_is_kept_but_does_not_count(self, here: Mounted) -> None:
        here.put(b"/ReadMe.Text", b"one")
        assert here.get(b"/README.TEXT") == b"one"
        here.put(b"/readme.text", b"two")
        assert [entry.name for entry in here.list(b"/")] == [b"ReadMe.Text"]
        here.vfs.rename(here.actor, b"/ReadMe.Text", b"/README.text")
        here = self.reopen(here)
        assert [(entry.name, here.get(b"/" + entry.name)) for entry in here.list(b"/")] == [(b"README.text", b"two")]

    @needs("-read_only")
    def test_names_of_other_scripts(self, here: Mounted) -> None:
        names = ["grüße", "Ωmega", "日本語のファイル", "смешно", "emoji 🐍", "a" * 100 + "é"]
        for name in names:
            here.put(b"/" + name.encode(), name.encode())
        here = self.reopen(here)
        assert sorted(entry.name.decode() for entry in here.list(b"/")) == sorted(names)
        assert all(here.get(b"/" + name.encode()) == name.encode() for name in names)

    @needs("-read_only", "own_space")
    def test_renaming_over_a_file_replaces_it_and_frees_it(self, here: Mounted) -> None:
        here.put(b"/old", text_of(100_000))
        here.put(b"/new", b"new")
        here.vfs.sync()
        before = here.filesystem.statfs().blocks_free
        here.vfs.rename(here.actor, b"/new", b"/old")
        here.vfs.sync()
        assert here.filesystem.statfs().blocks_free >= before
        assert self.reopen(here).tree() == {b"/old": (S_IFREG, b"new")}

    # --- links -----------------------------------------------------------------------------------------------

    @needs("-read_only", "hard_links")
    def test_a_file_lives_as_long_as_one_of_its_names(self, here: Mounted) -> None:
        here.put(b"/one", b"shared")
        here.vfs.mkdir(here.actor, b"/dir", 0o755)
        here.vfs.link(here.actor, b"/one", b"/dir/two")
        here.vfs.link(here.actor, b"/one", b"/three")
        here.write(b"/dir/two", 0, b"SHARED")
        here = self.reopen(here)
        stats = [here.vfs.stat(here.actor, path) for path in (b"/one", b"/dir/two", b"/three")]
        assert [(stat.nlink, stat.ino) for stat in stats] == [(3, stats[0].ino)] * 3
        here.vfs.unlink(here.actor, b"/one")
        here.vfs.rename(here.actor, b"/three", b"/dir/two")  # two names of one file: nothing happens
        assert here.tree() == {
            b"/dir": (S_IFDIR, b""), b"/dir/two": (S_IFREG, b"SHARED"), b"/three": (S_IFREG, b"SHARED"),
        }
        here.vfs.unlink(here.actor, b"/three")
        here = self.reopen(here)
        assert (here.get(b"/dir/two"), here.vfs.stat(here.actor, b"/dir/two").nlink) == (b"SHARED", 1)
        assert errno_of(lambda: here.vfs.link(here.actor, b"/dir", b"/again")) == Errno.EPERM

    @needs("-read_only", "symlinks")
    def test_symbolic_links(self, here: Mounted) -> None:
        here.put(b"/target", b"behind")
        longest = (b"long/" * (self.longest_link // 5 + 1))[: self.longest_link]
        here.vfs.symlink(here.actor, b"target", b"/short")
        here.vfs.symlink(here.actor, longest, b"/long")
        here.vfs.symlink(here.actor, b"/", b"/loop")
        here = self.reopen(here)
        file = here.vfs.open_file(here.actor, b"/loop/loop/short")
        assert file.pread(10, 0) == b"behind"
        file.unref()
        stat = here.vfs.stat(here.actor, b"/short", follow=False)
        assert (stat.mode & S_IFMT, stat.size) == (S_IFLNK, len(b"target"))
        assert here.vfs.readlink(here.actor, b"/long") == longest
        here.vfs.rename(here.actor, b"/short", b"/long")
        assert self.reopen(here).get(b"/long") == b"target"

    @needs("-read_only", "special_files")
    def test_a_fifo_stays_a_fifo(self, here: Mounted) -> None:
        here.vfs.mknod(here.actor, b"/fifo", S_IFIFO | 0o600)
        here = self.reopen(here)
        assert here.vfs.stat(here.actor, b"/fifo").mode & S_IFMT == S_IFIFO
        here.vfs.unlink(here.actor, b"/fifo")
        assert here.list(b"/") == []

    # --- attributes ------------------------------------------------------------------------------------------

    @needs("-read_only", "keeps_times")
    def test_times_stay(self, here: Mounted) -> None:
        step = self.time_step_ns
        exact = (WHEN_NS + 123_456_789) // step * step
        here.put(b"/f", b"x")
        here.vfs.utimens(here.actor, b"/f", WHEN_NS, exact)
        here.vfs.mkdir(here.actor, b"/d", 0o755)
        here.vfs.utimens(here.actor, b"/d", WHEN_NS, WHEN_NS)
        here = self.reopen(here)
        stat = here.vfs.stat(here.actor, b"/f")
        assert (stat.atime_ns, stat.mtime_ns) == (WHEN_NS, exact)
        assert here.vfs.stat(here.actor, b"/d").mtime_ns == WHEN_NS

    @needs("-read_only")
    def test_changes_move_the_times(self, here: Mounted) -> None:
        vfs, actor = here.vfs, here.actor
        vfs.mkdir(actor, b"/d", 0o755)
        here.put(b"/d/f", b"x")
        for change in (
            lambda: here.put(b"/d/new", b""),
            lambda: vfs.unlink(actor, b"/d/new"),
            lambda: vfs.mkdir(actor, b"/d/sub", 0o755),
            lambda: vfs.rename(actor, b"/d/f", b"/d/g"),
            lambda: vfs.rmdir(actor, b"/d/sub"),
        ):
            before = vfs.stat(actor, b"/d").mtime_ns
            change()
            assert vfs.stat(actor, b"/d").mtime_ns > before
        before = vfs.stat(actor, b"/d/g").mtime_ns
        here.write(b"/d/g", 0, b"y")
        after = vfs.stat(actor, b"/d/g").mtime_ns
        vfs.truncate(actor, b"/d/g", 0)
        assert before < after < vfs.stat(actor, b"/d/g").mtime_ns

    @needs("-read_only", "keeps_mode")
    def test_permissions_stay(self, here: Mounted) -> None:
        here.put(b"/f", b"x")
        here.vfs.mkdir(here.actor, b"/d", 0o700)
        for mode in (0o000, 0o4755 if self.keeps_set_id else 0o755, 0o640, 0o777):
            here.vfs.chmod(here.actor, b"/f", mode)
            here = self.reopen(here)
            assert here.vfs.stat(here.actor, b"/f").mode == S_IFREG | mode
        assert here.vfs.stat(here.actor, b"/d").mode == S_IFDIR | 0o700

    @needs("-read_only", "keeps_owner")
    def test_owners_stay(self, here: Mounted) -> None:
        here.put(b"/f", b"x")
        here.vfs.chown(here.actor, b"/f", 1000, 65_534)
        here.vfs.chmod(here.actor, b"/", 0o777)
        somebody = here.somebody(1234)
        here.vfs.open_file(somebody, b"/mine", O_CREAT | O_RDWR, 0o666).unref()
        here = self.reopen(here)
        stats = [here.vfs.stat(here.actor, path) for path in (b"/f", b"/mine")]
        assert [(stat.uid, stat.gid) for stat in stats] == [(1000, 65_534), (1234, 1234)]

    @needs("-read_only", "xattrs")
    def test_extended_attributes(self, here: Mounted) -> None:
        vfs, actor = here.vfs, here.actor
        here.put(b"/f", b"contents")
        values = {b"user.small": b"1", b"user.empty": b"", b"user.large": text_of(3000)}
        inode = vfs.resolve(actor, b"/f").inode
        for name, value in values.items():
            vfs.set_xattr(actor, inode, name, value, 0, None)
        here = self.reopen(here)
        vfs, actor = here.vfs, here.actor
        inode = vfs.resolve(actor, b"/f").inode
        assert {name: inode.get_xattr(name) for name in inode.list_xattrs() if name.startswith(b"user.")} == values
        inode.set_xattr(b"user.small", b"longer than before", 0)
        inode.remove_xattr(b"user.large")
        here = self.reopen(here)
        inode = here.vfs.resolve(here.actor, b"/f").inode
        names = sorted(name for name in inode.list_xattrs() if name.startswith(b"user."))
        assert names == [b"user.empty", b"user.small"]
        assert (inode.get_xattr(b"user.small"), here.get(b"/f")) == (b"longer than before", b"contents")
        assert errno_of(lambda: inode.get_xattr(b"user.large")) == Errno.ENODATA
