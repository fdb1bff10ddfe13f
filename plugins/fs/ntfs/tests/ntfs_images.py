"""Image files of NTFS volumes, mounted and checked by us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import TestClock, image_file, new_page_cache
from jefeos_fs_ntfs.format import NtfsFormat

FORMAT = NtfsFormat()


@contextmanager
def ours(image: Path, *, writable: bool = True, clock: TestClock | None = None) -> Iterator[Mounted]:
    """The image mounted by our driver; unmounted and closed at the end."""
    with image_file(image, writable=writable) as volume, mounted(
        FORMAT, volume, writable=writable, clock=clock, page_cache=new_page_cache()
    ) as here:
        yield here


def fsck(image: Path) -> list[tuple[str, str]]:
    with image_file(image, writable=False) as volume:
        report = FORMAT.check(volume, repair=False, clock=TestClock())
    return [(one.where, one.what) for one in report.problems] + [("note", note) for note in report.notes]
