"""Images for these tests, made as a user makes them."""

from __future__ import annotations

from jefeos.cli.entry import main

KINDS = ["ntfs", "vfat", "jefefs"]


def make_disk(path: str, kind: str, *, table: str = "none", label: str = "") -> str:
    """A raw image, or a VHD by its name, with a filesystem on it or in its first partition. Gives that volume."""
    assert main(["disk", "create", path, "--size", "48M", "--table", table]) == 0
    volume = path if table == "none" else f"{path}:1"
    assert main(["disk", "mkfs", volume, "--type", kind, "--label", label]) == 0
    return volume
