"""Roots to boot an init from: the Alpine archive, as it is or with another inittab."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

INITTAB = b"""\
::sysinit:/bin/echo sysinit-ran
::wait:/bin/echo wait-ran
::respawn:/sbin/getty 38400 console
::restart:/sbin/init
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/echo shutdown-ran
"""
ASKING_INITTAB = b"""\
::askfirst:-/bin/sh
::ctrlaltdel:/sbin/reboot
"""


def alpine_roots(archive: str, folder: Path) -> dict[str, str]:
    """The archive as it is, and with each inittab."""
    return {
        "archive": archive,
        "inittab": alpine_with(archive, folder / "inittab.tar", {"etc/inittab": INITTAB}),
        "asking": alpine_with(archive, folder / "asking.tar", {"etc/inittab": ASKING_INITTAB}),
    }


def alpine_with(archive: str, target: Path, files: dict[str, bytes]) -> str:
    """A copy of the archive with more files at its end, which count. Root may log in without a password."""
    data = gzip.decompress(Path(archive).read_bytes())
    target.write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as old:
        shadow = old.extractfile("./etc/shadow")
        assert shadow is not None
        content = shadow.read().replace(b"root:*:", b"root::")
    with tarfile.open(target, "a") as new:
        for name, text in {"etc/shadow": content, **files}.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            new.addfile(member, io.BytesIO(text))
    return str(target)
