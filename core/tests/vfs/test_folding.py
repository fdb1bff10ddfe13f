"""A filesystem to which names that differ in case are one: what the Vfs remembers of them."""

from __future__ import annotations

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.testing.mounted import Mounted
from jefeos.testing.volumes import TestClock, new_page_cache
from jefeos.vfs.flags import RENAME_NOREPLACE, S_IFREG
from jefeos.vfs.inode import Inode
from jefeos.vfs.tmpfs import Tmpfs, TmpfsInode


class FoldingInode(TmpfsInode):
    """Finds names in any case."""

    def stored_name(self, name: bytes) -> bytes:
        return next((entry for entry in self.entries if entry.lower() == name.lower()), name)

    def lookup(self, name: bytes) -> Inode:
        return super().lookup(self.stored_name(name))

    def unlink(self, name: bytes) -> None:
        super().unlink(self.stored_name(name))

    def rename(self, name: bytes, new_directory: Inode, new_name: bytes, flags: int) -> None:
        super().rename(self.stored_name(name), new_directory, new_name, flags)


class FoldingTmpfs(Tmpfs):
    folds_names = True

    def new_inode(self, mode: int, uid: int, gid: int, rdev: int = 0) -> TmpfsInode:
        return FoldingInode(self, self.next_ino(), mode, uid, gid, rdev=rdev)


@pytest.fixture
def here() -> Mounted:
    return Mounted.of(FoldingTmpfs(new_page_cache(), TestClock()))


def is_there(here: Mounted, path: bytes) -> bool:
    try:
        return here.vfs.stat(here.actor, path).mode & S_IFREG == S_IFREG
    except KernelError as error:
        if error.errno != Errno.ENOENT:
            raise
        return False


def test_one_name_has_one_dentry(here: Mounted) -> None:
    here.put(b"/Name", b"1")
    dentries = {here.vfs.resolve(here.actor, path).dentry for path in (b"/Name", b"/NAME", b"/name", b"/Name")}
    assert [dentry.name for dentry in dentries] == [b"Name"]


def test_what_is_not_there_is_not_remembered(here: Mounted) -> None:
    assert not is_there(here, b"/name")
    here.put(b"/NAME", b"1")
    assert is_there(here, b"/name")


def test_what_is_removed_is_gone_in_every_spelling(here: Mounted) -> None:
    here.put(b"/Name", b"1")
    assert is_there(here, b"/NAME")
    here.vfs.unlink(here.actor, b"/name")
    assert not any(is_there(here, path) for path in (b"/Name", b"/NAME", b"/name"))


def test_rename_to_another_case_is_a_change(here: Mounted) -> None:
    here.put(b"/Name", b"1")
    here.vfs.rename(here.actor, b"/Name", b"/NAME")
    assert [entry.name for entry in here.list(b"/")] == [b"NAME"]
    assert here.vfs.resolve(here.actor, b"/name").dentry.name == b"NAME"
    with pytest.raises(KernelError) as caught:
        here.vfs.rename(here.actor, b"/NAME", b"/name", RENAME_NOREPLACE)
    assert caught.value.errno == Errno.EEXIST


def test_the_working_directory_follows_a_rename_in_another_spelling(here: Mounted) -> None:
    here.vfs.mkdir(here.actor, b"/Folder", 0o755)
    place = here.vfs.directory(here.actor, b"/FOLDER")
    here.vfs.rename(here.actor, b"/folder", b"/Other")
    assert place.name_bytes() == b"Other"
