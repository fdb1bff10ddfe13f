"""Hooks of jefeos-fs-fat32: FAT12, FAT16 and FAT32, mounted as ``vfat`` or as ``msdos``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.vfs.fstype import FilesystemType

JEFEOS_API = 1


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos_fs_fat32.format import filesystem_types

    return filesystem_types()
