"""FAT volumes beside mtools and pyfatfs, on the same image: many files in one folder, and large files.

JefeOS is measured through the Vfs, without a program around it; mtools as a process; everything ends with a flush.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jefeos.block.cache import BufferCache
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.block.volume import FormatOptions
from jefeos.sched.clock import RealClock
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import make_image_file, new_page_cache
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_RDONLY, O_WRONLY
from jefeos_fs_fat32.format import FatFormat

MEBIBYTE = 1 << 20
VOLUME_BYTES = 600 * MEBIBYTE
LARGE_BYTES = 64 * MEBIBYTE
FEW = 500
MANY = 20_000
Work = Callable[[Mounted], None]


def name(number: int) -> str:
    return f"File {number:06}.txt"  # three slots: a directory has 65,536


def jefeos(image: Path, work: Work, before: Work | None = None) -> Runner:
    """Seconds of ``work`` on a new volume, the last flush included."""

    def run() -> float:
        image.unlink(missing_ok=True)
        create_image(str(image), VOLUME_BYTES)
        disk = open_image(str(image))
        try:
            volume = BufferCache(ImageDevice(disk))
            FatFormat().make(volume, FormatOptions(), RealClock())
            with mounted(FatFormat(), volume, clock=RealClock(), page_cache=new_page_cache(128 * MEBIBYTE)) as here:
                here.vfs.mkdir(here.actor, b"/folder", 0o755)
                if before is not None:
                    before(here)
                    here.vfs.sync()
            volume = BufferCache(ImageDevice(disk))
            with mounted(FatFormat(), volume, clock=RealClock(), page_cache=new_page_cache(128 * MEBIBYTE)) as here:
                started = time.perf_counter()
                work(here)
                here.vfs.sync()
                return time.perf_counter() - started
        finally:
            disk.close()

    return run


def on_fresh_image(
    bench: Bench, image: Path, *command: str | Path, before: tuple[str | Path, ...] = ()
) -> Runner | None:
    """Seconds of a command on a new volume; None if mtools are not installed."""
    if bench.peer("mcopy") is None or bench.peer("mkfs.fat") is None:
        return None

    def run() -> float:
        image.unlink(missing_ok=True)
        create_image(str(image), VOLUME_BYTES)
        subprocess.run(["mkfs.fat", image], check=True, capture_output=True)
        subprocess.run(["mmd", "-i", image, "::/folder"], check=True, capture_output=True)
        if before:
            subprocess.run(before, check=True, capture_output=True)
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started

    return run


def pyfatfs(image: Path, work: Callable[[Any], None], before: Callable[[Any], None] | None = None) -> Runner | None:
    """Seconds of ``work`` with pyfatfs; None if it is not installed."""
    if importlib.util.find_spec("pyfatfs") is None:
        return None

    def run() -> float:
        from pyfatfs.PyFatFS import PyFatFS

        image.unlink(missing_ok=True)
        make_image_file(FatFormat(), image, VOLUME_BYTES, clock=RealClock())
        theirs = PyFatFS(str(image))
        theirs.makedir("/folder")
        if before is not None:
            before(theirs)
        started = time.perf_counter()
        work(theirs)
        theirs.close()
        return time.perf_counter() - started

    return run


def create(count: int) -> Work:
    def work(here: Mounted) -> None:
        for number in range(count):
            path = b"/folder/" + name(number).encode()
            here.vfs.open_file(here.actor, path, O_CREAT | O_EXCL | O_WRONLY, 0o644).unref()

    return work


def look_at(count: int) -> Work:
    def work(here: Mounted) -> None:
        for number in range(count):
            here.vfs.stat(here.actor, b"/folder/" + name(number).encode())

    return work


def remove(count: int) -> Work:
    def work(here: Mounted) -> None:
        for number in range(count):
            here.vfs.unlink(here.actor, b"/folder/" + name(number).encode())

    return work


def source_folder(bench: Bench, count: int) -> list[Path]:
    folder = bench.scratch / f"files{count}"
    folder.mkdir(exist_ok=True)
    paths = [folder / name(number) for number in range(count)]
    for path in paths:
        path.touch()
    return paths


@benchmark(f"FAT: make {FEW} files in a folder", unit="s", times_of=("pyfatfs", 0.2))
def make_few(bench: Bench) -> dict[str, Runner | None]:
    image = bench.scratch / "fat.img"

    def theirs(volume: Any) -> None:
        for number in range(FEW):
            volume.create(f"/folder/{name(number)}")

    return {
        "jefeos": jefeos(image, create(FEW)),
        "mtools": on_fresh_image(bench, image, "mcopy", "-i", image, *source_folder(bench, FEW), "::/folder"),
        "pyfatfs": pyfatfs(image, theirs),
    }


@benchmark("FAT: make 20,000 files in a folder", unit="s")
def make_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": jefeos(bench.scratch / "fat.img", create(MANY))}


@benchmark("FAT: stat of 20,000 files, from the medium", unit="s")
def look_at_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": jefeos(bench.scratch / "fat.img", look_at(MANY), create(MANY))}


@benchmark("FAT: remove 20,000 files", unit="s")
def remove_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": jefeos(bench.scratch / "fat.img", remove(MANY), create(MANY))}


def large_source(bench: Bench) -> Path:
    path = bench.scratch / "large"
    if not path.exists():
        path.write_bytes(os.urandom(LARGE_BYTES))
    return path


def write_large(data: bytes) -> Work:
    def work(here: Mounted) -> None:
        file = here.vfs.open_file(here.actor, b"/large", O_CREAT | O_WRONLY, 0o644)
        for offset in range(0, LARGE_BYTES, MEBIBYTE):
            file.pwrite(data[offset : offset + MEBIBYTE], offset)
        file.unref()

    return work


def read_large(here: Mounted) -> None:
    file = here.vfs.open_file(here.actor, b"/large", O_RDONLY)
    for offset in range(0, LARGE_BYTES, MEBIBYTE):
        file.pread(MEBIBYTE, offset)
    file.unref()


@benchmark("FAT: write a file of 64 MB", unit="s", times_of=("mtools", 4.0))
def large_write(bench: Bench) -> dict[str, Runner | None]:
    image, source = bench.scratch / "fat.img", large_source(bench)
    data = source.read_bytes()
    return {
        "jefeos": jefeos(image, write_large(data)),
        "mtools": on_fresh_image(bench, image, "mcopy", "-i", image, source, "::/large"),
        "pyfatfs": pyfatfs(image, lambda volume: volume.writebytes("/large", data)),
    }


@benchmark("FAT: read a file of 64 MB", unit="s", times_of=("mtools", 4.0))
def large_read(bench: Bench) -> dict[str, Runner | None]:
    image, source = bench.scratch / "fat.img", large_source(bench)
    data = source.read_bytes()
    into = bench.scratch / "copied"
    return {
        "jefeos": jefeos(image, read_large, write_large(data)),
        "mtools": on_fresh_image(
            bench, image, "mcopy", "-n", "-o", "-i", image, "::/large", into,
            before=("mcopy", "-i", image, source, "::/large"),
        ),
        "pyfatfs": pyfatfs(
            image, lambda volume: volume.readbytes("/large"), lambda volume: volume.writebytes("/large", data)
        ),
    }
