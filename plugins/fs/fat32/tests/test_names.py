"""Names: which are one, how they are spelled on disk, and what the Vfs makes of that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jefeos.block.cache import BufferCache
from jefeos.block.volume import FormatOptions
from jefeos.errors import Errno, KernelError
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import TestClock, memory_volume
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_RDWR
from jefeos_fs_fat32 import names
from jefeos_fs_fat32.format import FatFormat
from jefeos_fs_fat32.slots import scan

SIZE = 4 << 20


@pytest.fixture
def volume() -> BufferCache:
    volume = memory_volume(SIZE)
    FatFormat().make(volume, FormatOptions(), TestClock())
    return volume


@pytest.fixture
def here(volume: BufferCache) -> Iterator[Mounted]:
    with mounted(FatFormat(), volume) as here:
        yield here


def listed(here: Mounted, path: bytes = b"/") -> list[bytes]:
    return [entry.name for entry in here.list(path)]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("README.TXT", b"README  TXT"),
        ("A", b"A          "),
        ("12345678.ABC", b"12345678ABC"),
        ("readme.txt", None),
        ("README.TEXT", None),
        ("A.B.C", None),
        (".PROFILE", None),
        ("A B", None),
        ("Ä", None),
        ("123456789", None),
    ],
)
def test_what_a_short_name_can_say(text: str, short: bytes | None) -> None:
    assert names.exact_short(text) == short


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("readme.txt", b"README  TXT"),
        ("A long file name.text", b"ALONGF~1TEX"),
        (".profile", b"PROFIL~1   "),
        ("a+b.c", b"A_B~1   C  "),
        ("über.txt", b"_BER~1  TXT"),
        ("a.b.c", b"AB~1    C  "),
        ("...", b"_~1        "),
    ],
)
def test_the_short_name_made_for_a_long_one(text: str, short: bytes) -> None:
    assert names.make_short(text, set()) == short


def test_many_like_names_get_different_short_names() -> None:
    taken: set[bytes] = set()
    for number in range(3000):
        short = names.make_short(f"holiday picture {number}.jpeg", taken)
        assert short not in taken
        assert names.is_valid_short(short)
        taken.add(short)


def test_the_checksum_is_that_of_the_specification() -> None:
    # The long name "The quick brown.fox" of the specification's example has the short name THEQUI~1.FOX.
    assert names.checksum(b"THEQUI~1FOX") == 0x07


@pytest.mark.parametrize("text", ["a", "exactly13char", "fourteen chars", "ü" * 255, "x" * 255, "\U0001f600 smile"])
def test_long_names_survive_the_slots(text: str) -> None:
    short = names.make_short(text, set())
    (found,) = scan(names.long_slots(text, short) + short + bytes([0x20]) + bytes(20) + bytes(32)).entries
    assert (found.text, found.short, found.first) == (text, short, 0)


def test_a_name_is_found_in_any_case_and_keeps_its_own(here: Mounted) -> None:
    here.put(b"/ReadMe.txt", b"1")
    assert here.get(b"/README.TXT") == here.get(b"/readme.txt") == here.get(b"/readme.txt.") == b"1"
    with pytest.raises(KernelError) as caught:
        here.vfs.open(here.actor, b"/readme.TXT", O_CREAT | O_EXCL | O_RDWR)
    assert caught.value.errno == Errno.EEXIST
    here.put(b"/README.txt", b"22")
    assert listed(here) == [b"ReadMe.txt"]
    assert here.get(b"/ReadMe.txt") == b"22"


def test_a_long_name_is_found_by_its_short_one(here: Mounted) -> None:
    here.put(b"/A long file name", b"1")
    assert here.get(b"/alongf~1") == b"1"
    here.put(b"/A long file name too", b"2")
    assert here.get(b"/ALONGF~2") == b"2"


def test_what_was_removed_in_one_spelling_is_gone_in_all(here: Mounted) -> None:
    here.put(b"/Name", b"1")
    assert here.get(b"/NAME") == here.get(b"/name") == b"1"
    here.vfs.unlink(here.actor, b"/nAME")
    for spelling in (b"/Name", b"/NAME", b"/name"):
        with pytest.raises(KernelError) as caught:
            here.get(spelling)
        assert caught.value.errno == Errno.ENOENT
    here.put(b"/NAME", b"2")  # what was not found is not remembered under another spelling
    assert here.get(b"/Name") == b"2"


def test_rename_can_change_the_case_alone(here: Mounted, volume: BufferCache) -> None:
    here.put(b"/Name", b"1")
    here.vfs.mkdir(here.actor, b"/Folder", 0o755)
    here.vfs.sync()
    here.vfs.rename(here.actor, b"/Name", b"/NAME")
    here.vfs.rename(here.actor, b"/folder", b"/fOLDER")
    assert sorted(listed(here)) == [b"NAME", b"fOLDER"]
    here.vfs.sync()
    assert FatFormat().check(volume, repair=False, clock=TestClock()).clean
    with mounted(FatFormat(), volume, writable=False) as again:
        assert sorted(again.tree()) == [b"/NAME", b"/fOLDER"]


def test_the_working_directory_has_one_name(here: Mounted) -> None:
    here.vfs.mkdir(here.actor, b"/Folder", 0o755)
    assert here.vfs.resolve(here.actor, b"/FOLDER").dentry is here.vfs.resolve(here.actor, b"/Folder").dentry
    here.vfs.rename(here.actor, b"/FOLDER", b"/Other")
    assert listed(here) == [b"Other"]


@pytest.mark.parametrize(
    ("name", "errno"),
    [(b"a:b", Errno.EINVAL), (b"a?", Errno.EINVAL), (b"a\x01", Errno.EINVAL), (b"\xff", Errno.EINVAL)],
)
def test_names_that_cannot_be(here: Mounted, name: bytes, errno: Errno) -> None:
    with pytest.raises(KernelError) as caught:
        here.put(b"/" + name, b"")
    assert caught.value.errno == errno


def test_msdos_has_short_names_in_lower_case(volume: BufferCache) -> None:
    with mounted(FatFormat(), volume) as here:
        here.put(b"/A long name", b"1")
    with mounted(FatFormat(long_names=False), volume) as here:
        assert listed(here) == [b"alongn~1"]
        here.put(b"/New.Txt", b"2")
        with pytest.raises(KernelError) as caught:
            here.put(b"/too long for this", b"")
        assert caught.value.errno == Errno.EINVAL
    with mounted(FatFormat(), volume) as here:
        assert listed(here) == [b"A long name", b"NEW.TXT"]


def test_lower_case_flags_of_windows_nt_are_read(volume: BufferCache) -> None:
    with mounted(FatFormat(), volume) as here:
        here.put(b"/NAME.TXT", b"1")
        offset = here.filesystem.root.slots.offset_of(0)  # type: ignore[attr-defined]
    volume.write(offset + 12, bytes([0x08]))
    with mounted(FatFormat(), volume) as here:
        assert listed(here) == [b"name.TXT"]


def test_a_long_name_wins_over_the_short_name_of_another(volume: BufferCache) -> None:
    with mounted(FatFormat(), volume) as here:
        here.put(b"/Long name one", b"1")  # LONGNA~1
        here.put(b"/longna~2", b"2")  # LONGNA~2
        place = here.filesystem.root.slots.offset_of(0)  # type: ignore[attr-defined]
    data = volume.read(place, 512)
    # As another system may have done it: the second file's long name is the short one of the first.
    slots = data[:64] + names.long_slots("longna~1", b"LONGNA~2   ") + b"LONGNA~2   " + data[3 * 32 + 11 : 4 * 32]
    volume.write(place, slots.ljust(512, b"\0"))
    with mounted(FatFormat(), volume) as here:
        assert listed(here) == [b"Long name one", b"longna~1"]
        assert here.get(b"/longna~1") == here.get(b"/LONGNA~2") == b"2"
        assert here.get(b"/long name one") == b"1"
