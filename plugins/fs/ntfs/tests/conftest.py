"""Volumes in image files, and the tools of others that look at them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from jefeos.block.image import create_image
from jefeos.block.volume import FormatOptions
from jefeos.testing.volumes import make_image_file
from jefeos_fs_ntfs.format import NtfsFormat

Tool = Callable[..., str]
Mount = Callable[..., AbstractContextManager[Path]]
MIB = 1 << 20


@pytest.fixture
def tool() -> Tool:
    """``tool("ntfsls", "-s", image)``: what it prints. Skips where it is missing; fails unless it exits with 0."""

    def run(name: str, *arguments: object, check: bool = True) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{name} is not installed on this host")
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [path, *map(str, arguments)], capture_output=True, timeout=100, stdin=subprocess.DEVNULL, check=False,
            env=environment,
        )
        output = (done.stdout + done.stderr).decode(errors="backslashreplace")
        assert not check or done.returncode == 0, f"{name} exits with {done.returncode}: {output}"
        return output

    return run


@pytest.fixture
def ntfs_3g(tmp_path: Path, host_program: Callable[[str], str]) -> Mount:
    """``with ntfs_3g(image) as folder``: the image mounted by ntfs-3g, writable, perhaps with more options."""
    program = host_program("ntfs-3g")
    unmount = host_program("fusermount")
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse on this host")

    @contextmanager
    def mounted(image: Path, *more: str) -> Iterator[Path]:
        folder = tmp_path / "mounted"
        folder.mkdir(exist_ok=True)
        # It ends, with everything written, some time after the unmount.
        options = ",".join(("no_detach", "streams_interface=xattr", *more))
        process = subprocess.Popen([program, "-o", options, image, folder], stderr=subprocess.PIPE)
        try:
            while not folder.is_mount() and process.poll() is None:
                time.sleep(0.01)
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            yield folder
        finally:
            for _ in range(100):
                if process.poll() is not None:
                    break
                subprocess.run([unmount, "-u", folder], capture_output=True, check=False)
                time.sleep(0.05)
            process.communicate(timeout=60)

    return mounted


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """``make_image(64 << 20, cluster_bytes=512)``: an image file with a volume made by our mkfs."""

    def make(size: int = 16 * MIB, cluster_bytes: int | None = None, label: str = "", name: str = "ours.img") -> Path:
        path = tmp_path / name
        options = FormatOptions(label=label, cluster_bytes=cluster_bytes, entropy=random.Random(size).randbytes)
        make_image_file(NtfsFormat(), path, size, options)
        return path

    return make


@pytest.fixture
def make_foreign(tmp_path: Path, tool: Tool) -> Callable[..., Path]:
    """``make_foreign(64 << 20, cluster_bytes=512)``: the same by mkntfs."""

    def make(size: int = 16 * MIB, cluster_bytes: int = 4096, label: str = "", name: str = "theirs.img") -> Path:
        path = tmp_path / name
        create_image(str(path), size)
        tool("mkntfs", "-F", "-Q", "-s", 512, "-p", 0, "-H", 255, "-S", 63, "-c", cluster_bytes, "-L", label, path)
        return path

    return make
