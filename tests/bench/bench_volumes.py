"""NTFS and JefeFS beside ntfs-3g's tools, its FUSE mount and dissect.ntfs: large files, and folders of many names.

JefeOS is measured through the Vfs with its page cache, without a program around it; tools as processes; the FUSE mount
by the system calls of this process. Each begins with a mount and ends with everything given to the medium, but for what
the host's own disk does: the images are in its cache, and its fsync (which ntfs-3g does not call) is left out.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from jefeos.block.cache import BufferCache
from jefeos.block.image import DiskImage, ImageDevice, create_image, open_image
from jefeos.block.volume import VolumeFormat
from jefeos.sched.clock import RealClock
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.testing.mounted import Mounted, mounted
from jefeos.testing.volumes import make_image_file, new_page_cache
from jefeos.vfs.flags import O_CREAT, O_EXCL, O_RDONLY, O_WRONLY
from jefeos_fs_jefefs.format import JefeFormat
from jefeos_fs_ntfs.format import NtfsFormat

MEBIBYTE = 1 << 20
VOLUME_BYTES = 800 * MEBIBYTE
LARGE_MEBIBYTES = 256
MANY = 20_000
LOOKUPS = 2000
RAM_BYTES = 128 * MEBIBYTE
PIECE_BYTES = 64 << 10
PACKED_MEBIBYTES = 4
COMPRESSED_FOLDER = 0x810
Work = Callable[[Mounted], None]
Volume = Callable[[], Path]
FORMATS: dict[str, Callable[[], VolumeFormat]] = {"ntfs": NtfsFormat, "jefefs": JefeFormat}


class Unhurried(DiskImage):
    """An image whose flush leaves the rest to the host, as the tools beside us do."""

    def __init__(self, image: DiskImage) -> None:
        self.image = image
        self.path, self.size_bytes, self.read_only = image.path, image.size_bytes, image.read_only

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.image.read_into(offset, buffer)

    def read(self, offset: int, length: int) -> bytes:
        return self.image.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.image.write(offset, data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.image.close()


def on_volume(path: Path, kind: str, work: Work) -> float:
    """Seconds of a mount, ``work``, and the unmount."""
    image = Unhurried(open_image(str(path)))
    started = time.perf_counter()
    try:
        volume = BufferCache(ImageDevice(image))
        with mounted(FORMATS[kind](), volume, clock=RealClock(), page_cache=new_page_cache(RAM_BYTES)) as here:
            work(here)
        volume.flush()
        return time.perf_counter() - started
    finally:
        image.close()


def fresh(bench: Bench, kind: str, *before: Work) -> Path:
    """A new volume, made by mkntfs if it is there."""
    path = bench.scratch / f"{kind}.img"
    path.unlink(missing_ok=True)
    mkntfs = bench.peer("mkntfs")
    if kind == "ntfs" and mkntfs is not None:
        create_image(str(path), VOLUME_BYTES)
        subprocess.run([mkntfs, "-q", "-Q", "-F", path], check=True, capture_output=True)
    else:
        make_image_file(FORMATS[kind](), path, VOLUME_BYTES, clock=RealClock())
    for work in before:
        on_volume(path, kind, work)
    return path


def ours(bench: Bench, kind: str, work: Work, *before: Work) -> Runner:
    return lambda: on_volume(fresh(bench, kind, *before), kind, work)


def once(bench: Bench, make: Callable[[], Path]) -> Volume:
    """For what only reads: the volume is made when it is first needed, and kept."""
    made: list[Path] = []

    def volume() -> Path:
        if not made:
            made.append(make().rename(bench.scratch / f"kept-{id(made)}.img"))
        return made[0]

    return volume


def lasting(bench: Bench, kind: str, work: Work, *before: Work) -> Runner:
    """`ours` on a volume that is made once."""
    volume = once(bench, lambda: fresh(bench, kind, *before))
    return lambda: on_volume(volume(), kind, work)


# --- large files ----------------------------------------------------------------------------------------------------


def large_data() -> bytes:
    return random.Random(1).randbytes(MEBIBYTE)


def write_large(here: Mounted) -> None:
    data = large_data()
    file = here.vfs.open_file(here.actor, b"/large", O_CREAT | O_WRONLY, 0o644)
    for number in range(LARGE_MEBIBYTES):
        file.pwrite(data, number * MEBIBYTE)
    file.unref()


def write_in_pieces(here: Mounted) -> None:
    """As a file that was fetched out of order: hardly two neighbours are neighbours on the disk."""
    data = large_data()[:PIECE_BYTES]
    file = here.vfs.open_file(here.actor, b"/large", O_CREAT | O_WRONLY, 0o644)
    file.truncate(LARGE_MEBIBYTES * MEBIBYTE)
    count = LARGE_MEBIBYTES * MEBIBYTE // PIECE_BYTES
    for number in random.Random(2).sample(range(count), count):
        file.pwrite(data, number * PIECE_BYTES)
    file.unref()


def write_every_other(here: Mounted) -> None:
    """As much hole as data."""
    data = large_data()[:PIECE_BYTES]
    file = here.vfs.open_file(here.actor, b"/large", O_CREAT | O_WRONLY, 0o644)
    file.truncate(LARGE_MEBIBYTES * MEBIBYTE)
    for offset in range(0, LARGE_MEBIBYTES * MEBIBYTE, 2 * PIECE_BYTES):
        file.pwrite(data, offset)
    file.unref()


def read_large(here: Mounted) -> None:
    size = here.vfs.stat(here.actor, b"/large").size
    assert size in (LARGE_MEBIBYTES * MEBIBYTE, PACKED_MEBIBYTES * MEBIBYTE)
    file = here.vfs.open_file(here.actor, b"/large", O_RDONLY)
    for offset in range(0, size, MEBIBYTE):
        assert len(file.pread(MEBIBYTE, offset)) == MEBIBYTE  # type: ignore[arg-type]
    file.unref()


def tool(bench: Bench, name: str, arguments: Callable[[Path], list[str | Path]], volume: Volume) -> Runner | None:
    """Seconds of one of ntfs-3g's tools."""
    program = bench.peer(name)
    if program is None:
        return None

    def run() -> float:
        image = volume()
        started = time.perf_counter()
        with open(os.devnull, "wb") as sink:
            subprocess.run([program, *arguments(image)], check=True, stdout=sink, stderr=subprocess.DEVNULL)
        return time.perf_counter() - started

    return run


def dissect(volume: Volume) -> Runner | None:
    if importlib.util.find_spec("dissect.ntfs") is None:
        return None

    def run() -> float:
        from dissect.ntfs import NTFS

        with volume().open("rb") as file:
            started = time.perf_counter()
            stream = NTFS(file).mft.get("large").open()
            while stream.read(MEBIBYTE):
                pass
            return time.perf_counter() - started

    return run


def readers(bench: Bench, make: Callable[[], Path]) -> dict[str, Runner | None]:
    """Who reads ``/large`` of one volume."""
    volume = once(bench, make)
    return {
        "jefeos": lambda: on_volume(volume(), "ntfs", read_large),
        "ntfscat": tool(bench, "ntfscat", lambda image: [image, "large"], volume),
        "dissect.ntfs": dissect(volume),
    }


@benchmark("NTFS: read a file of 256 MB", unit="s", times_of=("ntfscat", 2.0))
def read_beside_ntfscat(bench: Bench) -> dict[str, Runner | None]:
    return readers(bench, partial(fresh, bench, "ntfs", write_large))


# Of a file in one piece dissect hands large reads on to the host's read(2), and of one in pieces each piece: little is
# left to be faster in beside the copying, and nobody can be ten times as fast. The figures stand here all the same.
@benchmark("NTFS: read a file of 256 MB, in Python", unit="s", times_of=("dissect.ntfs", 0.1))
def read_beside_dissect(bench: Bench) -> dict[str, Runner | None]:
    volume = once(bench, partial(fresh, bench, "ntfs", write_large))
    return {"jefeos": lambda: on_volume(volume(), "ntfs", read_large), "dissect.ntfs": dissect(volume)}


@benchmark("NTFS: read 256 MB in 4,000 pieces", unit="s", times_of=("dissect.ntfs", 0.1))
def read_pieces(bench: Bench) -> dict[str, Runner | None]:
    return readers(bench, partial(fresh, bench, "ntfs", write_in_pieces))


@benchmark("NTFS: read 256 MB, half of it holes", unit="s", times_of=("dissect.ntfs", 0.1))
def read_holes(bench: Bench) -> dict[str, Runner | None]:
    return readers(bench, partial(fresh, bench, "ntfs", write_every_other))


@benchmark("NTFS: read 4 MB, compressed", unit="s", times_of=("dissect.ntfs", 0.1))
def read_compressed(bench: Bench) -> dict[str, Runner | None]:
    if fuse(bench) is None:
        return {}
    return readers(bench, partial(with_compressed, bench))


@benchmark("NTFS: write a file of 256 MB", unit="s", times_of=("ntfscp", 2.0))
def write_beside_ntfscp(bench: Bench) -> dict[str, Runner | None]:
    source = bench.scratch / "source"
    source.write_bytes(large_data() * LARGE_MEBIBYTES)
    return {
        "jefeos": ours(bench, "ntfs", write_large),
        "ntfscp": tool(bench, "ntfscp", lambda image: ["-q", image, source, "/large"], partial(fresh, bench, "ntfs")),
    }


@benchmark("JefeFS: read a file of 256 MB", unit="s", times_of=("ours on NTFS", 1.0))
def read_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return {
        "jefeos": lasting(bench, "jefefs", read_large, write_large),
        "ours on NTFS": lasting(bench, "ntfs", read_large, write_large),
    }


@benchmark("JefeFS: write a file of 256 MB", unit="s", times_of=("ours on NTFS", 1.0))
def write_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": ours(bench, "jefefs", write_large), "ours on NTFS": ours(bench, "ntfs", write_large)}


# --- many files -----------------------------------------------------------------------------------------------------


def name(number: int) -> bytes:
    return b"A file of the folder %06d.txt" % number


def create(here: Mounted, count: int = MANY) -> None:
    here.vfs.mkdir(here.actor, b"/folder", 0o755)
    for number in range(count):
        here.vfs.open_file(here.actor, b"/folder/" + name(number), O_CREAT | O_EXCL | O_WRONLY, 0o644).unref()


def look_at(here: Mounted) -> None:
    for number in range(MANY):
        here.vfs.stat(here.actor, b"/folder/" + name(number))


def remove(here: Mounted) -> None:
    for number in range(MANY):
        here.vfs.unlink(here.actor, b"/folder/" + name(number))


def through_fuse(bench: Bench, work: Callable[[bytes], None], *before: Work) -> Runner | None:
    """Seconds of the same calls on ntfs-3g's mount of the image, mounting and unmounting included."""
    program = fuse(bench)
    if program is None:
        return None

    def run() -> float:
        image = fresh(bench, "ntfs", *before)
        started = time.perf_counter()
        with mounted_there(bench, image) as place:
            work(os.fsencode(place) + b"/folder/")
        return time.perf_counter() - started

    return run


def fuse(bench: Bench) -> str | None:
    """ntfs-3g, if it can mount here."""
    return bench.peer("ntfs-3g") if os.path.exists("/dev/fuse") else None


@contextmanager
def mounted_there(bench: Bench, image: Path, *options: str) -> Iterator[Path]:
    """ntfs-3g's mount of an image. Everything is in the image afterwards."""
    place = bench.scratch / "mnt"
    place.mkdir(exist_ok=True)
    subprocess.run([fuse(bench) or "ntfs-3g", *options, image, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        while subprocess.run(["fusermount", "-u", place], capture_output=True, check=False).returncode:
            time.sleep(0.05)
    with suppress(ProcessLookupError):
        wait_for_end_of(image)


def with_compressed(bench: Bench) -> Path:
    """A new volume with a compressed file in its root, of a text with the repetitions that logs have."""
    image = fresh(bench, "ntfs")
    dice = random.Random(3)
    words = [dice.randbytes(dice.randrange(2, 9)).hex() for _ in range(3000)]
    lines = [f"{number:08} {' '.join(dice.choices(words, k=8))}\n" for number in range(PACKED_MEBIBYTES * 12_000)]
    with mounted_there(bench, image, "-o", "compression") as place:
        (place / "packed").mkdir()  # what is made in it is compressed
        os.setxattr(place / "packed", "system.ntfs_attrib_be", COMPRESSED_FOLDER.to_bytes(4, "big"))
        (place / "packed" / "large").write_bytes("".join(lines).encode()[: PACKED_MEBIBYTES * MEBIBYTE])
        (place / "packed" / "large").rename(place / "large")
    return image


def wait_for_end_of(image: Path) -> None:
    """The FUSE process writes its last pages after the unmount has returned."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = subprocess.run(["fuser", "-s", str(image)], check=False, capture_output=True)
        if found.returncode:
            return
        time.sleep(0.02)


def create_there(folder: bytes) -> None:
    os.mkdir(folder)
    for number in range(MANY):
        os.close(os.open(folder + name(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def look_at_there(folder: bytes) -> None:
    for number in range(MANY):
        os.stat(folder + name(number))


def remove_there(folder: bytes) -> None:
    for number in range(MANY):
        os.unlink(folder + name(number))


@benchmark("NTFS: make 20,000 files in a folder", unit="s", times_of=("ntfs-3g", 2.0))
def make_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": ours(bench, "ntfs", create), "ntfs-3g": through_fuse(bench, create_there)}


@benchmark("NTFS: stat of 20,000 files, from the medium", unit="s", times_of=("ntfs-3g", 2.0))
def look_at_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lasting(bench, "ntfs", look_at, create), "ntfs-3g": through_fuse(bench, look_at_there, create)}


@benchmark("NTFS: remove 20,000 files", unit="s", times_of=("ntfs-3g", 2.0))
def remove_many(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": ours(bench, "ntfs", remove, create), "ntfs-3g": through_fuse(bench, remove_there, create)}


@benchmark("JefeFS: make 20,000 files in a folder", unit="s", times_of=("ours on NTFS", 1.0))
def make_many_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": ours(bench, "jefefs", create), "ours on NTFS": ours(bench, "ntfs", create)}


@benchmark("JefeFS: stat of 20,000 files, from the medium", unit="s", times_of=("ours on NTFS", 1.0))
def look_at_many_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return {
        "jefeos": lasting(bench, "jefefs", look_at, create),
        "ours on NTFS": lasting(bench, "ntfs", look_at, create),
    }


@benchmark("JefeFS: remove 20,000 files", unit="s", times_of=("ours on NTFS", 1.0))
def remove_many_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": ours(bench, "jefefs", remove, create), "ours on NTFS": ours(bench, "ntfs", remove, create)}


# --- lookup ---------------------------------------------------------------------------------------------------------


def lookup_in(bench: Bench, kind: str, count: int) -> Runner:
    """Microseconds to find one of ``count`` names, none of which was looked up before.

    Nothing is cached: in a small folder the first lookups read what the others need, in a large one each reads blocks
    of its own. So 1,000 names stand beside it for comparison, and 10,000 are what it is held against.
    """
    made: list[Path] = []

    def run() -> float:
        if not made:
            path = fresh(bench, kind, partial(create, count=count))
            made.append(path.rename(bench.scratch / f"{kind}-names-{count}.img"))
        dice = random.Random(count)
        wanted = [name(number) for number in dice.sample(range(count), min(count, LOOKUPS))]
        took = 0.0

        def find(here: Mounted) -> None:
            nonlocal took
            folder = here.vfs.resolve(here.actor, b"/folder").inode
            started = time.perf_counter()
            for each in wanted:
                folder.lookup(each)
            took = time.perf_counter() - started

        on_volume(made[0], kind, find)
        return took / len(wanted) * 1e6

    return run


def lookups(bench: Bench, kind: str) -> dict[str, Runner | None]:
    return {
        "jefeos": lookup_in(bench, kind, 100_000),
        "of 10,000": lookup_in(bench, kind, 10_000),
        "of 1,000": lookup_in(bench, kind, 1_000),
    }


@benchmark("NTFS: find one of 100,000 names", unit="µs", times_of=("of 10,000", 2.0))
def lookup_ntfs(bench: Bench) -> dict[str, Runner | None]:
    return lookups(bench, "ntfs")


@benchmark("JefeFS: find one of 100,000 names", unit="µs", times_of=("of 10,000", 2.0))
def lookup_jefefs(bench: Bench) -> dict[str, Runner | None]:
    return lookups(bench, "jefefs")
