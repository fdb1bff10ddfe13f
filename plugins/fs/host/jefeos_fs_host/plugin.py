"""Hooks of jefeos-fs-host: a folder of the host as a filesystem, read-only or writable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.mm.pagecache import PageCache
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Clock, Filesystem

JEFEOS_API = 1


def probe(source: str) -> bool:
    """Whether the source is a folder of the host."""
    return os.path.isdir(source)


def open_folder(source: str, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem:
    """Make the filesystem of a host folder. Errors: `BootError`."""
    from jefeos_fs_host.filesystem import HostFilesystem

    return HostFilesystem(source, writable, clock=clock, page_cache=page_cache)


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos.vfs.fstype import FilesystemType

    return [FilesystemType("host", probe=probe, open=open_folder, layered=True)]
