"""Hooks of jefeos-fs-tar: a root filesystem from a tar archive, with writes kept in memory above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Clock, Filesystem

JEFEOS_API = 1


def probe(source: str) -> bool:
    """Whether the source is an archive, by its first bytes."""
    from pathlib import Path

    from jefeos_fs_tar.archive import looks_like_archive

    return looks_like_archive(Path(source))


def open_tar(source: str, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem:
    """Unpack and index an archive. ``writable`` is of no use here: an archive is the lower half of an overlay."""
    from jefeos_fs_tar.filesystem import TarFilesystem

    return TarFilesystem(source, clock=clock, page_cache=page_cache)


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos.vfs.fstype import FilesystemType

    return [FilesystemType("tar", probe=probe, open=open_tar, layered=True)]
