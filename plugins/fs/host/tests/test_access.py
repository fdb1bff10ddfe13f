"""The door to the host: what passes, and above all what does not. Both forms of access take every test."""

from __future__ import annotations

import inspect
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.errors import BootError, Errno, KernelError
from jefeos_fs_host.access import (
    AnchoredAccess,
    Descriptor,
    DescriptorCache,
    Folder,
    HostAccess,
    key_of,
    open_access,
)
from jefeos_fs_host.checked import CheckedAccess, check_windows_name

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="symlinks and FIFOs need a POSIX host")

FORMS: dict[str, Callable[[str], HostAccess]] = {"anchored": AnchoredAccess, "checked": CheckedAccess}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def inside(tmp_path: Path, outside: Path) -> Path:
    folder = tmp_path / "inside"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "file").write_bytes(b"content")
    (folder / "sub" / "file").write_bytes(b"in sub")
    (folder / "to_outside").symlink_to(outside)
    (folder / "to_secret").symlink_to(outside / "secret")
    (folder / "to_parent").symlink_to("..")
    return folder


@pytest.fixture(params=sorted(FORMS))
def access(request: pytest.FixtureRequest, inside: Path) -> HostAccess:
    return FORMS[request.param](str(inside))


def folder_of(access: HostAccess, *names: bytes) -> Folder:
    folder = access.top
    for name in names:
        folder = Folder(folder, name, key_of(access.status(folder, name)))
    return folder


def read(access: HostAccess, folder: Folder, name: bytes) -> bytes:
    descriptor = access.open_file(folder, name, key_of(access.status(folder, name)), write=False)
    return os.pread(descriptor.number, 1000, 0)


def refused(call: Callable[[], object]) -> Errno:
    with pytest.raises(KernelError) as caught:
        call()
    return Errno(caught.value.errno)


@pytest.mark.skipif(sys.platform != "linux", reason="other hosts may lack a call")
def test_linux_gets_the_form_without_races(inside: Path) -> None:
    assert isinstance(open_access(str(inside)), AnchoredAccess)


def test_files_and_folders_are_reached_by_single_names(access: HostAccess) -> None:
    assert read(access, access.top, b"file") == b"content"
    assert read(access, folder_of(access, b"sub"), b"file") == b"in sub"
    assert {name: kind for name, _, kind in access.scan(access.top)} == {
        b"sub": stat.S_IFDIR,
        b"file": stat.S_IFREG,
        b"to_outside": stat.S_IFLNK,
        b"to_secret": stat.S_IFLNK,
        b"to_parent": stat.S_IFLNK,
    }
    assert refused(lambda: access.status(access.top, b"missing")) == Errno.ENOENT


@pytest.mark.parametrize(
    "name", [b"", b".", b"..", b"sub/file", b"/etc/passwd", b"../outside/secret", b"a\0b"]
)
def test_what_is_not_one_name_is_refused_by_every_operation(access: HostAccess, name: bytes) -> None:
    top = access.top
    calls: list[Callable[[], object]] = [
        lambda: access.readlink(top, name),
        lambda: access.create(top, name, 0o644),
        lambda: access.mkdir(top, name, 0o755),
        lambda: access.symlink(top, name, b"x"),
        lambda: access.link(top, name, top, b"new"),
        lambda: access.link(top, b"file", top, name),
        lambda: access.unlink(top, name),
        lambda: access.rmdir(top, name),
        lambda: access.rename(top, name, top, b"new"),
        lambda: access.rename(top, b"file", top, name),
    ]
    if name:
        calls += [
            lambda: access.status(top, name),
            lambda: access.open_file(top, name, top.key, write=True),
            lambda: access.set_mode(top, name, top.key, 0o777),
            lambda: access.set_times(top, name, 0, 0),
        ]
    for call in calls:
        assert refused(call) in (Errno.EINVAL, Errno.EISDIR)


def test_symlinks_are_seen_and_never_followed(access: HostAccess, outside: Path) -> None:
    top = access.top
    assert stat.S_ISLNK(access.status(top, b"to_secret").st_mode)
    assert access.readlink(top, b"to_parent") == b".."
    link_key = key_of(access.status(top, b"to_secret"))
    assert refused(lambda: access.open_file(top, b"to_secret", link_key, write=True)) == Errno.ENXIO
    secret_key = key_of((outside / "secret").stat())
    assert refused(lambda: access.open_file(top, b"to_secret", secret_key, write=True)) == Errno.ENXIO
    for name in (b"to_outside", b"to_parent"):
        for key in (key_of(access.status(top, name)), key_of(outside.stat()), key_of(outside.parent.stat())):
            through = Folder(top, name, key)
            assert refused(lambda: access.status(through, b"secret")) == Errno.ESTALE  # noqa: B023
            assert refused(lambda: list(access.scan(through))) == Errno.ESTALE  # noqa: B023
            assert refused(lambda: access.create(through, b"new", 0o644)) == Errno.ESTALE  # noqa: B023
            assert refused(lambda: access.unlink(through, b"secret")) == Errno.ESTALE  # noqa: B023
    access.set_times(top, b"to_secret", 5, 5)
    assert (outside / "secret").stat().st_mtime_ns != 5
    with pytest.raises(KernelError):
        access.set_mode(top, b"to_secret", secret_key, 0o777)
    with pytest.raises(KernelError):
        access.set_mode(top, b"to_secret", link_key, 0o777)
    assert (outside / "secret").stat().st_mode & 0o777 != 0o777
    access.link(top, b"to_secret", top, b"again")
    assert stat.S_ISLNK(access.status(top, b"again").st_mode)
    access.unlink(top, b"to_secret")
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_folder_of_another_tree_is_refused(access: HostAccess, outside: Path) -> None:
    foreign = Folder(None, b"", key_of(outside.stat()))
    assert refused(lambda: access.status(foreign, b"secret")) == Errno.ESTALE
    assert refused(lambda: access.status(Folder(foreign, b"x", foreign.key), b"secret")) == Errno.ESTALE


def test_a_folder_swapped_for_a_symlink_leads_nowhere(
    access: HostAccess, inside: Path, outside: Path
) -> None:
    deep = folder_of(access, b"sub", b"deep")
    access.descriptors.clear()  # with one at hand, the moved folder itself would go on being used
    (inside / "sub").rename(inside / "moved")
    (outside / "deep").mkdir()
    (outside / "deep" / "secret").write_bytes(b"secret")
    (inside / "sub").symlink_to(outside)
    assert refused(lambda: access.status(deep, b"secret")) == Errno.ESTALE
    assert refused(lambda: access.create(deep, b"new", 0o644)) == Errno.ESTALE
    assert not (outside / "deep" / "new").exists()


def test_a_folder_swapped_for_another_is_stale(access: HostAccess, inside: Path) -> None:
    sub = folder_of(access, b"sub")
    access.descriptors.clear()
    (inside / "sub").rename(inside / "moved")
    (inside / "sub").mkdir()
    (inside / "sub" / "file").write_bytes(b"other")
    assert refused(lambda: access.status(sub, b"file")) == Errno.ESTALE


def test_a_file_swapped_for_another_is_stale(access: HostAccess, inside: Path, outside: Path) -> None:
    key = key_of(access.status(access.top, b"file"))
    (inside / "file").rename(inside / "kept")
    (inside / "file").symlink_to(outside / "secret")
    assert refused(lambda: access.open_file(access.top, b"file", key, write=False)) == Errno.ENXIO
    (inside / "file").unlink()
    (inside / "file").write_bytes(b"other")
    assert refused(lambda: access.open_file(access.top, b"file", key, write=False)) == Errno.ESTALE


def test_swapping_while_opening_never_escapes(access: HostAccess, inside: Path, outside: Path) -> None:
    """A host thread swaps a folder for a symlink all the time; whatever is read is never the secret."""
    (inside / "sub" / "secret").write_bytes(b"harmless")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (inside / "sub").rename(inside / "away")
            (inside / "sub").symlink_to(outside)
            (inside / "sub").unlink()
            (inside / "away").rename(inside / "sub")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(1500):
            access.descriptors.clear()
            try:
                seen.add(read(access, folder_of(access, b"sub"), b"secret"))
            except KernelError:
                pass
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"harmless"}


@pytest.mark.parametrize("write", [False, True])
def test_special_files_are_never_opened(access: HostAccess, inside: Path, write: bool) -> None:
    os.mkfifo(inside / "fifo")
    (inside / "folder").mkdir()
    for name in (b"fifo", b"folder"):
        key = key_of(access.status(access.top, name))
        assert refused(lambda: access.open_file(access.top, name, key, write=write)) == Errno.ENXIO  # noqa: B023


def test_a_fifo_slipped_in_before_the_open_does_not_hang(
    access: HostAccess, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(access.status(access.top, b"file"))
    honest = type(access)._open_now

    def late(self: HostAccess, folder: Folder, name: bytes, flags: int, mode: int = 0) -> int:
        (inside / "file").unlink()
        os.mkfifo(inside / "file")
        return honest(self, folder, name, flags, mode)

    monkeypatch.setattr(type(access), "_open_now", late)
    assert refused(lambda: access.open_file(access.top, b"file", key, write=False)) == Errno.ENXIO


def test_every_change_happens_inside(access: HostAccess, inside: Path) -> None:
    top, sub = access.top, folder_of(access, b"sub")
    old = os.umask(0o077)
    try:
        status = access.create(top, b"new", 0o664)
    finally:
        os.umask(old)
    assert stat.S_IMODE(status.st_mode) == 0o664
    assert refused(lambda: access.create(top, b"new", 0o664)) == Errno.EEXIST
    assert refused(lambda: access.create(top, b"to_secret", 0o664)) == Errno.EEXIST
    descriptor = access.open_file(top, b"new", key_of(status), write=True)
    os.pwrite(descriptor.number, b"written", 0)
    access.mkdir(sub, b"made", 0o755)
    access.rename(top, b"new", folder_of(access, b"sub", b"made"), b"renamed")
    assert (inside / "sub" / "made" / "renamed").read_bytes() == b"written"
    access.symlink(sub, b"soft", b"/etc/passwd")
    assert access.readlink(sub, b"soft") == b"/etc/passwd"
    access.link(top, b"file", sub, b"hard")
    assert (inside / "sub" / "hard").stat().st_nlink == 2
    assert refused(lambda: access.rmdir(top, b"sub")) == Errno.ENOTEMPTY
    access.set_mode(sub, b"hard", key_of(access.status(sub, b"hard")), 0o600)
    assert stat.S_IMODE((inside / "file").stat().st_mode) == 0o600
    access.set_times(sub, b"hard", 1_000_000_001, 2_000_000_002)
    assert (inside / "file").stat().st_mtime_ns == 2_000_000_002
    access.unlink(sub, b"hard")
    assert (inside / "file").stat().st_nlink == 1


def test_open_descriptors_are_bounded(access: HostAccess, inside: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    access.descriptors.limit = 10
    for index in range(50):
        (inside / f"f{index}").write_bytes(b"x")
        (inside / f"d{index}" / "e").mkdir(parents=True)
        assert read(access, access.top, b"f%d" % index) == b"x"
        list(access.scan(folder_of(access, b"d%d" % index, b"e")))
    assert len(access.descriptors) <= 10
    assert len(os.listdir("/dev/fd")) <= before + 12
    access.close()
    assert len(os.listdir("/dev/fd")) <= before


def test_a_deep_tree_needs_no_stack(access: HostAccess) -> None:
    access.descriptors.limit = 4
    if isinstance(access, CheckedAccess):
        pytest.skip("full paths end at PATH_MAX")
    folder = access.top
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        for _ in range(300):  # more than calls may now go into each other; the work grows with the square
            access.mkdir(folder, b"d", 0o755)
            folder = Folder(folder, b"d", key_of(access.status(folder, b"d")))
        access.descriptors.clear()
        access.create(folder, b"bottom", 0o644)
        access.unlink(folder, b"bottom")
        while folder.parent is not None:
            access.rmdir(folder.parent, folder.name)
            folder = folder.parent
    finally:
        sys.setrecursionlimit(limit)


def test_records_that_go_round_are_stale(access: HostAccess) -> None:
    first = Folder(None, b"a", (0, 1))
    second = Folder(first, b"b", (0, 2))
    first.parent = second
    assert refused(lambda: access.status(second, b"x")) == Errno.ESTALE


def test_a_dropped_descriptor_stays_open_while_it_is_used() -> None:
    cache = DescriptorCache(limit=1)
    read_end, write_end = os.pipe()
    kept = Descriptor(read_end)
    cache.put("read", (0, 1), kept)
    cache.put("read", (0, 2), Descriptor(write_end))
    assert cache.get("read", (0, 1)) is None
    os.fstat(kept.number)
    with pytest.raises(OSError):
        cache.clear()
        os.fstat(write_end)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_folder_that_cannot_be_used_is_a_boot_error(form: str, inside: Path) -> None:
    with pytest.raises(BootError, match="cannot use the host folder"):
        FORMS[form](str(inside / "missing"))
    with pytest.raises(BootError, match="not a folder"):
        FORMS[form](str(inside / "file"))


@pytest.mark.parametrize(
    "name", ["nul", "NUL.txt", "com1", "a:b", "a\\b", "dot.", "space ", "a?", "CON", "aux .x"]
)
def test_names_that_windows_reads_otherwise_do_not_exist(name: str) -> None:
    with pytest.raises(KernelError) as caught:
        check_windows_name(name)
    assert caught.value.errno == Errno.ENOENT


@pytest.mark.parametrize("name", ["file", "console", "common.txt", ".hidden", "a b", "null"])
def test_ordinary_names_are_ordinary_on_windows(name: str) -> None:
    check_windows_name(name)
