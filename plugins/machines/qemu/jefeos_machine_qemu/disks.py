"""Disk images as drives of PIIX3's IDE controller.

A file whose VHD footer is in its last sector, or a copy of it in its first, is a virtual disk; every other is raw.
QEMU writes through to the host's page cache, and a FLUSH CACHE of the guest is an fdatasync of the image.

QEMU has no read-only IDE disks. One that was asked for gets two layers on its image, which is opened for reading only:
an empty qcow2 overlay, since a disk must stand on something writable, and on that a layer that fails each write:

    ide-hd -> blkdebug: writes fail with EROFS -> qcow2, empty, in a temporary file -> the image
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final

from jefeos.bus.machine import DiskRequest
from jefeos.errors import ConfigError, Errno
from jefeos.structs import Struct, u32, u64

VHD_COOKIE: Final = b"conectix"
SECTOR_BYTES: Final = 512
IDE_DRIVES: Final = 4
CONTROLLER: Final = "ata"
CLUSTER_BITS: Final = 16
CLUSTER_BYTES: Final = 1 << CLUSTER_BITS
QCOW2_MAGIC: Final = 0x514649FB


class Qcow2Header(Struct, endian=">"):
    """The header of version 2 (docs/interop/qcow2.txt of QEMU). Offsets are in bytes and multiples of a cluster."""

    magic: int = u32(QCOW2_MAGIC)
    version: int = u32(2)
    backing_file_offset: int = u64()
    backing_file_size: int = u32()
    cluster_bits: int = u32(CLUSTER_BITS)
    disk_size: int = u64()  # "size" in the specification
    crypt_method: int = u32()
    l1_size: int = u32()
    l1_table_offset: int = u64()
    refcount_table_offset: int = u64()
    refcount_table_clusters: int = u32()
    nb_snapshots: int = u32()
    snapshots_offset: int = u64()


def drive_arguments(disks: Sequence[DiskRequest]) -> tuple[list[str], list[IO[bytes]]]:
    """QEMU's arguments for the disks, and temporary files that must live as long as it runs.

    Raises ConfigError for what cannot be had.
    """
    if len(disks) > IDE_DRIVES:
        raise ConfigError(f"QEMU's IDE controller has {IDE_DRIVES} disks, not {len(disks)}")
    arguments: list[str] = []
    overlays: list[IO[bytes]] = []
    for number, disk in enumerate(disks):
        if disk.controller != CONTROLLER:
            raise ConfigError(f"QEMU's machine has no disk controller {disk.controller!r}, only {CONTROLLER!r}")
        path = Path(disk.path).absolute()
        if not path.is_file():
            raise ConfigError(f"the disk image {disk.path} is not there, or is no file", Errno.ENOENT)
        image: dict[str, Any] = image_options(path)
        if disk.read_only:
            overlay = empty_overlay(virtual_size(path))
            overlays.append(overlay)
            image = read_only_layers(image, overlay.name)
        drive = f"if=none,id=disk{number},cache=writeback,file=json:{json.dumps(image)}"
        # the comma inside JSON is doubled, as QEMU wants it in option strings
        head, _, options = drive.partition("json:")
        arguments += ["-drive", f"{head}json:{options.replace(',', ',,')}"]
        device = f"ide-hd,drive=disk{number},bus=ide.{number // 2},unit={number % 2},write-cache=on"
        arguments += ["-device", f"{device},rerror=report,werror=report"]
    return arguments, overlays


def image_options(path: Path) -> dict[str, Any]:
    """How QEMU is to open an image."""
    file = {"driver": "file", "filename": str(path)}
    if is_vhd(path):
        # without this, QEMU rounds the size of disks of most makers to a geometry of cylinders, heads and sectors
        return {"driver": "vpc", "force_size_calc": "current_size", "file": file}
    return {"driver": "raw", "file": file}


def read_only_layers(image: dict[str, Any], overlay: str) -> dict[str, Any]:
    """The image under layers that fail each write."""
    return {
        "driver": "blkdebug",
        "inject-error": [{"event": "none", "iotype": kind, "errno": int(Errno.EROFS)} for kind in ("write", "discard")],
        "image": {
            "driver": "qcow2",
            "file": {"driver": "file", "filename": overlay},
            "backing": {**image, "read-only": True},
        },
    }


def is_vhd(path: Path) -> bool:
    """Whether an image is a VHD: fixed ones have their footer at the end, dynamic ones at both ends."""
    with path.open("rb") as file:
        if file.read(len(VHD_COOKIE)) == VHD_COOKIE:
            return True
        size = file.seek(0, 2)
        file.seek(max(0, size - SECTOR_BYTES))
        return file.read(len(VHD_COOKIE)) == VHD_COOKIE


def virtual_size(path: Path) -> int:
    """The capacity of the disk in an image, in bytes."""
    size = path.stat().st_size
    if not is_vhd(path):
        return -(-size // SECTOR_BYTES) * SECTOR_BYTES
    with path.open("rb") as file:
        file.seek(max(0, size - SECTOR_BYTES) + 48)  # "Current Size" of the footer, big-endian
        return int.from_bytes(file.read(8), "big")


def empty_overlay(size: int) -> IO[bytes]:
    """A qcow2 file without any data: header, refcount table, refcount block and L1 table, a cluster each."""
    clusters_an_entry = CLUSTER_BYTES // 8
    l1_entries = -(-size // (CLUSTER_BYTES * clusters_an_entry))
    l1_clusters = -(-l1_entries * 8 // CLUSTER_BYTES) or 1
    header = Qcow2Header(
        disk_size=size,
        l1_size=l1_entries,
        l1_table_offset=3 * CLUSTER_BYTES,
        refcount_table_offset=CLUSTER_BYTES,
        refcount_table_clusters=1,
    )
    file = NamedTemporaryFile(prefix="jefeos-overlay-", suffix=".qcow2")  # noqa: SIM115  (outlives this)
    file.write(header.pack())
    file.seek(CLUSTER_BYTES)
    file.write((2 * CLUSTER_BYTES).to_bytes(8, "big"))
    file.seek(2 * CLUSTER_BYTES)
    file.write((1).to_bytes(2, "big") * (3 + l1_clusters))
    file.truncate((3 + l1_clusters) * CLUSTER_BYTES)
    file.flush()
    return file
