"""Image files of NTFS volumes, mounted and checked by us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jefeos.block.cache import BufferCache
from jefeos.block.image import ImageDevice, open_image
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import TestClock, new_page_cache
from jefeos_fs_ntfs.format import NtfsFormat

FORMAT = NtfsFormat()


@contextmanager
def ours(image: Path, *, writable: bool = True, clock: TestClock | None = None) -> Iterator[Mounted]:
    """The image mounted by our driver; unmounted and closed at the end."""
    opened = open_image(str(image), read_only=not writable)
    try:
        volume = BufferCache(ImageDevice(opened))
        with mounted(FORMAT, volume, writable=writable, clock=clock, page_cache=new_page_cache()) as here:
            yield here
    finally:
        opened.close()


def fsck(image: Path) -> list[tuple[str, str]]:
    opened = open_image(str(image), read_only=True)
    try:
        report = FORMAT.check(BufferCache(ImageDevice(opened)), repair=False, clock=TestClock())
    finally:
        opened.close()
    return [(one.where, one.what) for one in report.problems] + [("note", note) for note in report.notes]
