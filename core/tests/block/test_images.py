"""Disk images: contents against a model, and qemu-img as the judge of VHD files in both directions."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.image import KINDS, create_image, open_image
from jefeos.block.vhd import DEFAULT_BLOCK_BYTES, geometry
from jefeos.errors import ConfigError, KernelError, UsageError

SIZE = 7 * DEFAULT_BLOCK_BYTES + 512 * 3

kinds = pytest.mark.parametrize("kind", KINDS)


def convert(qemu_img: str, source: Path, source_format: str, target: Path, target_format: str, *options: str) -> None:
    command = [qemu_img, "convert", "-f", source_format, "-O", target_format, *options, str(source), str(target)]
    subprocess.run(command, check=True, capture_output=True)


def contents(path: Path) -> bytes:
    image = open_image(str(path), read_only=True)
    data = bytearray(image.size_bytes)
    image.read_into(0, memoryview(data))
    image.close()
    return bytes(data)


@kinds
def test_random_writes_are_read_back_also_after_reopening(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk"
    create_image(str(path), SIZE, kind)
    assert contents(path) == bytes(SIZE)
    model = bytearray(SIZE)
    generator = random.Random(5)
    for _ in range(3):
        image = open_image(str(path))
        for _ in range(200):
            length = generator.choice([1, 512, 513, 4096, 70_000])
            offset = generator.randrange(SIZE - length)
            data = generator.randbytes(length)
            image.write(offset, data)
            model[offset : offset + length] = data
            back = bytearray(length + 100)
            place = min(offset, SIZE - len(back))
            image.read_into(place, memoryview(back))
            assert back == model[place : place + len(back)]
        image.flush()
        image.close()
    assert contents(path) == model


@kinds
def test_a_new_image_is_sparse(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk"
    create_image(str(path), 1 << 30, kind)
    assert path.stat().st_blocks * 512 < 1 << 17
    image = open_image(str(path))
    image.write((1 << 30) - 512, b"e" * 512)
    image.close()
    assert path.stat().st_blocks * 512 < 1 << 17


@pytest.mark.peer
@kinds
def test_qemu_img_reads_what_we_wrote(tmp_path: Path, kind: str, host_program: Callable[[str], str]) -> None:
    qemu_img = host_program("qemu-img")
    path, raw = tmp_path / "disk", tmp_path / "raw"
    create_image(str(path), SIZE, kind)
    image = open_image(str(path))
    generator = random.Random(6)
    for _ in range(50):
        image.write(generator.randrange(SIZE - 5000), generator.randbytes(5000))
    image.close()
    convert(qemu_img, path, "raw" if kind == "raw" else "vpc", raw, "raw")
    assert raw.read_bytes() == contents(path)


@pytest.mark.peer
@pytest.mark.parametrize("options", [(), ("-o", "subformat=fixed"), ("-o", "force_size=on")])
def test_we_read_what_qemu_img_wrote(
    tmp_path: Path, options: tuple[str, ...], host_program: Callable[[str], str]
) -> None:
    qemu_img = host_program("qemu-img")
    raw, path = tmp_path / "raw", tmp_path / "disk"
    data = random.Random(8).randbytes(DEFAULT_BLOCK_BYTES) + bytes(3 * DEFAULT_BLOCK_BYTES) + b"end".ljust(512)
    raw.write_bytes(data)
    convert(qemu_img, raw, "raw", path, "vpc", *options)
    ours = contents(path)
    assert ours[: len(data)] == data
    assert not any(ours[len(data) :])


@kinds
def test_a_read_only_image_is_never_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk"
    create_image(str(path), SIZE, kind)
    before = path.read_bytes()
    image = open_image(str(path), read_only=True)
    with pytest.raises(KernelError, match="EROFS"):
        image.write(0, b"x" * 512)
    image.flush()
    image.close()
    assert path.read_bytes() == before


def test_create_never_overwrites_and_refuses_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="is there already"):
        create_image(str(path), 1 << 20)
    assert path.read_bytes() == b"precious"
    for size, kind in ((0, "raw"), (513, "raw"), (-512, "raw"), (1 << 60, "raw"), (512, "qcow2")):
        with pytest.raises(UsageError):
            create_image(str(tmp_path / "new"), size, kind)
    with pytest.raises(ConfigError, match="2040 GiB"):
        create_image(str(tmp_path / "new"), 4 << 40, "vhd")
    with pytest.raises(UsageError):
        create_image(str(tmp_path / "no" / "such"), 512)
    assert not (tmp_path / "new").exists()


def test_a_crash_before_the_new_footer_leaves_a_disk_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    create_image(str(path), SIZE, "vhd")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 512)
    assert contents(path) == bytes(SIZE)


def test_every_field_of_a_vhd_can_be_anything(tmp_path: Path) -> None:
    """Extreme and random values: the image opens and reads within itself, or is refused in one line."""
    path = tmp_path / "disk"
    create_image(str(path), SIZE, "vhd")
    image = open_image(str(path))
    image.write(0, b"data" * 128)
    image.close()
    good = path.read_bytes()
    generator = random.Random(9)
    spoilt = tmp_path / "spoilt"
    for number in range(1500):
        data = bytearray(good)
        place = generator.choice([generator.randrange(1600), len(data) - 512 + generator.randrange(512)])
        width = generator.choice([1, 2, 4, 8])
        value = generator.choice([0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), generator.getrandbits(8 * width)])
        data[place : place + width] = value.to_bytes(width, "big")
        if number % 2:  # with the checksums put right, so that more than these is looked at
            _put_checksum(data, 0, 512, 64)
            _put_checksum(data, 512, 1024, 36)
            _put_checksum(data, len(data) - 512, 512, 64)
        spoilt.write_bytes(data)
        try:
            image = open_image(str(spoilt), read_only=True)
        except ConfigError:
            continue
        try:
            buffer = memoryview(bytearray(min(image.size_bytes, 1 << 16)))
            image.read_into(0, buffer)
            image.read_into(image.size_bytes - len(buffer), buffer)
        except KernelError:
            pass
        image.close()


def _put_checksum(data: bytearray, start: int, length: int, at: int) -> None:
    part = data[start : start + length]
    part[at : at + 4] = bytes(4)
    data[start + at : start + at + 4] = (~sum(part) & 0xFFFFFFFF).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("sectors", "expected"),
    [
        (65535 * 16 * 255 + 5, (65535, 16, 255)),
        (20 * 2048, (602, 4, 17)),
        (16 * 63 * 1024 * 10, (10240, 16, 63)),
    ],
)
def test_geometry(sectors: int, expected: tuple[int, int, int]) -> None:
    cylinders, heads, per_track = geometry(sectors)
    assert (cylinders, heads, per_track) == expected
    assert cylinders * heads * per_track <= sectors
