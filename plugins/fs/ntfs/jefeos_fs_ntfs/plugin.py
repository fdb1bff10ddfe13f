"""Hooks of jefeos-fs-ntfs: NTFS 3.1, reading and writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.vfs.fstype import FilesystemType

JEFEOS_API = 1


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos.block.sources import volume_type

    return [volume_type("ntfs", "jefeos_fs_ntfs.format:NtfsFormat")]
