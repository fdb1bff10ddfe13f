"""Records that are full to the last byte: what cannot leave them, and what then has to."""

from __future__ import annotations

import pytest
from jefeos.testing.mounted import mounted
from jefeos.testing.volumes import TestClock, image_volume, make_volume
from jefeos_fs_ntfs.format import NtfsFormat

FORMAT = NtfsFormat()


@pytest.mark.parametrize("length", [20, 200])
def test_a_directory_gets_a_longer_name_whatever_its_index_takes(length: int) -> None:
    """While it is renamed it has two names, each of which may need a record of its own; the list of them, beside an
    index that cannot leave the base record, may have no room there."""
    image = make_volume(FORMAT, 4 << 20)
    with mounted(FORMAT, image_volume(image)) as here:
        for count in range(4, 8):
            for size in range(1, 24, 2):
                names = [b"abc", b"b" * length]
                here.vfs.mkdir(here.actor, b"/" + names[0], 0o755)
                files = [b"/%s%d" % (b"f" * size, number) for number in range(count)]
                for name in files:
                    here.put(b"/" + names[0] + name, b"")
                here.vfs.rename(here.actor, b"/" + names[0], b"/" + names[1])
                assert set(here.tree()) == {b"/" + names[1], *[b"/" + names[1] + name for name in files]}
                for name in files:
                    here.vfs.unlink(here.actor, b"/" + names[1] + name)
                here.vfs.rmdir(here.actor, b"/" + names[1])
    assert not FORMAT.check(image_volume(image), repair=False, clock=TestClock()).problems
