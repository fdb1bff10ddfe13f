"""Several users of the same files at once: part of `FilesystemConformance`.

Filesystems are called one call at a time (storage is synchronous), so "at once" is any order of calls on files that
several users hold open: readers and writers of one file, names that go while the file is open, directories that change
while somebody reads them.
"""

from __future__ import annotations

import random

import pytest

from jefeos.errors import Errno
from jefeos.testing.mounted import Mounted
from jefeos.testing.suites import FilesystemSuite, errno_of, needs
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_RDONLY, O_RDWR, S_IFREG

USERS = 4
LARGEST = 40_000


class SharingTests(FilesystemSuite):
    """See the module."""

    @needs("-read_only")
    @pytest.mark.parametrize("seed", range(4))
    def test_readers_and_writers_of_one_file(self, here: Mounted, seed: int) -> None:
        dice, model = random.Random(seed), bytearray(b"start")
        here.put(b"/f", bytes(model))
        files = [here.vfs.open_file(here.actor, b"/f", O_RDWR) for _ in range(USERS)]
        for _ in range(200):
            file, offset = dice.choice(files), dice.randrange(LARGEST)
            match dice.randrange(4):
                case 0:
                    data = dice.randbytes(dice.randrange(1, 6000))
                    assert file.pwrite(data, offset) == len(data)
                    model[:] = model.ljust(offset, b"\0")
                    model[offset : offset + len(data)] = data
                case 1 if dice.random() < 0.3:
                    file.truncate(offset)
                    model[:] = model[:offset].ljust(offset, b"\0")
                case 2 if dice.random() < 0.1:
                    file.fsync()
                case _:
                    assert file.pread(7000, offset) == bytes(model[offset : offset + 7000])
            assert file.stat().size == len(model)
        for file in files:
            file.unref()
        assert self.reopen(here).get(b"/f") == model

    @needs("-read_only")
    def test_a_file_without_a_name_works_until_it_is_closed(self, here: Mounted) -> None:
        here.put(b"/warm", b"x" * 50_000)  # tables may grow for good
        here.vfs.unlink(here.actor, b"/warm")
        here.vfs.sync()
        before = here.filesystem.statfs().blocks_free
        here.put(b"/f", b"a" * 20_000)
        files = [here.vfs.open_file(here.actor, b"/f", O_RDWR) for _ in range(2)]
        here.vfs.unlink(here.actor, b"/f")
        here.put(b"/f", b"another")
        files[0].pwrite(b"b" * 30_000, 10_000)
        assert files[1].pread(50_000, 0) == b"a" * 10_000 + b"b" * 30_000
        assert files[1].stat().nlink == 0
        files[0].fsync()
        files[0].unref()
        files[1].truncate(5)
        assert (files[1].pread(10, 0), here.get(b"/f")) == (b"aaaaa", b"another")
        files[1].unref()
        here.vfs.unlink(here.actor, b"/f")
        here.vfs.sync()
        if self.own_space:
            assert here.filesystem.statfs().blocks_free >= before - 2
        assert self.reopen(here).tree() == {}

    @needs("-read_only")
    def test_renaming_over_an_open_file(self, here: Mounted) -> None:
        here.put(b"/f", b"old contents")
        old = here.vfs.open_file(here.actor, b"/f", O_RDWR)
        for number in range(5):
            here.put(b"/tmp", b"version %d" % number)
            here.vfs.rename(here.actor, b"/tmp", b"/f")
        assert old.pread(100, 0) == b"old contents"
        old.pwrite(b"OLD", 0)
        assert here.get(b"/f") == b"version 4"
        here.vfs.sync()
        old.unref()
        assert self.reopen(here).tree() == {b"/f": (S_IFREG, b"version 4")}

    @needs("-read_only")
    def test_many_open_files_without_names(self, here: Mounted) -> None:
        files: list[File] = []
        for number in range(30):
            here.put(b"/f", b"%d" % number * 100)
            files.append(here.vfs.open_file(here.actor, b"/f", O_RDWR))
            here.vfs.unlink(here.actor, b"/f")
        for number, file in enumerate(files):
            file.pwrite(b"end", 5000)
            assert file.pread(3, 0) == (b"%d" % number * 100)[:3]
        random.Random(3).shuffle(files)
        for file in files:
            file.unref()
        assert self.reopen(here).tree() == {}

    @needs("-read_only")
    def test_a_removed_directory_that_somebody_is_in(self, here: Mounted) -> None:
        here.vfs.mkdir(here.actor, b"/d", 0o755)
        inside = here.vfs.open_file(here.actor, b"/d", O_RDONLY)
        here.vfs.rmdir(here.actor, b"/d")
        assert inside.path is not None
        gone = (Errno.ENOENT, Errno.ESTALE)
        assert errno_of(lambda: here.vfs.mkdir(here.actor, b"sub", 0o755, at=inside.path)) in gone
        assert errno_of(lambda: inside.readdir_at(0)) in gone
        inside.unref()
        here.vfs.mkdir(here.actor, b"/d", 0o755)
        assert self.reopen(here).list(b"/d") == []

    @needs("-read_only")
    def test_a_directory_changes_while_it_is_read(self, here: Mounted) -> None:
        names = [b"name%03d" % number for number in range(120)]
        for name in names:
            here.put(b"/" + name, b"")
        reader = here.vfs.open_file(here.actor, b"/", O_RDONLY)
        seen: list[bytes] = []
        position = 0
        dice = random.Random(5)
        stay = set(names)
        while found := reader.readdir_at(position)[:10]:
            seen += [entry.name for entry, _ in found]
            position = found[-1][1]
            here.put(b"/extra%d" % position, b"")
            if gone := sorted(stay - set(seen)):
                victim = dice.choice(gone)
                here.vfs.unlink(here.actor, b"/" + victim)
                stay.discard(victim)
            assert len(seen) < 1000
        reader.unref()
        assert stay <= set(seen), "a name that was there all the time was left out"
        for name in stay:
            assert seen.count(name) == 1

    @needs("-read_only")
    def test_mapped_pages_and_calls_see_one_file(self, here: Mounted) -> None:
        here.put(b"/f", b"a" * 10_000)
        file = here.vfs.open_file(here.actor, b"/f", O_RDWR)
        mapping = file.inode.mapping
        mapping.write(5000, b"mapped")
        assert file.pread(8, 4999) == b"amappeda"
        file.pwrite(b"written", 5003)
        assert mapping.read(4999, 12) == b"amapwrittena"
        file.truncate(5006)
        file.truncate(6000)
        assert mapping.read(5000, 20) == b"mapwri" + bytes(14)
        file.fsync()
        file.unref()
        assert self.reopen(here).get(b"/f") == b"a" * 5000 + b"mapwri" + bytes(994)
