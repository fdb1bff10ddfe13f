"""Hooks of jefeos-fs-fat32: FAT12, FAT16 and FAT32, mounted as ``vfat`` or as ``msdos``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.vfs.fstype import FilesystemType

JEFEOS_API = 1


@hookimpl
def jefeos_filesystems() -> list[FilesystemType]:
    from jefeos.block.sources import volume_type

    kinds = {"vfat": "FatFormat", "msdos": "ShortNameFormat"}
    return [volume_type(name, f"jefeos_fs_fat32.format:{kind}") for name, kind in kinds.items()]
