"""Unpacking: every compression, streams in a row, limits, and damage that always ends in one clear error."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from jefeos.errors import BootError, CorruptError, Errno, JefeError
from jefeos_fs_tar import archive
from jefeos_fs_tar.archive import FileStore, MemoryStore, compression_of, looks_like_archive, open_archive

CONTENT = random.Random(1).randbytes(300_000) + bytes(3_000_000) + b"the end"

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


@pytest.fixture(params=sorted(COMPRESSORS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def write(folder: Path, data: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(data)
    return path


def test_every_compression_unpacks(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSORS[kind](CONTENT)
    assert compression_of(packed) == kind
    store = open_archive(write(tmp_path, packed))
    assert isinstance(store, MemoryStore)
    assert store.size == len(CONTENT)
    assert store.read(0, store.size) == CONTENT
    assert store.read(store.size - 7, 100) == b"the end"


def test_a_large_archive_goes_to_a_temporary_file(tmp_path: Path, kind: str) -> None:
    store = open_archive(write(tmp_path, COMPRESSORS[kind](CONTENT)), memory_limit_bytes=1 << 20)
    assert isinstance(store, FileStore)
    assert store.read(0, store.size) == CONTENT
    assert store.read(store.size, 10) == b""
    assert store.read(store.size - 3, 10) == b"end"
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    store.close()


def test_streams_in_a_row_are_one_archive(tmp_path: Path, kind: str) -> None:
    pack = COMPRESSORS[kind]
    data = pack(CONTENT) + pack(b"second") + pack(b"") + pack(b"third")
    assert open_archive(write(tmp_path, data)).read(len(CONTENT), 100) == b"secondthird"


@pytest.mark.parametrize("distance", range(-9, 10))
def test_a_stream_border_near_a_chunk_border_is_seen(tmp_path: Path, distance: int) -> None:
    wanted = archive.CHUNK_BYTES + distance
    filler = random.Random(2).randbytes(wanted)
    overhead = len(gzip.compress(filler, compresslevel=0)) - wanted
    first = gzip.compress(filler[: wanted - overhead], compresslevel=0)
    assert len(first) == wanted
    store = open_archive(write(tmp_path, first + gzip.compress(b"second")))
    assert store.read(store.size - 6, 6) == b"second"


def test_zero_padding_after_the_stream_is_ignored(tmp_path: Path, kind: str) -> None:
    assert open_archive(write(tmp_path, COMPRESSORS[kind](b"abc") + bytes(10_000))).size == 3


def test_a_plain_archive_is_read_as_it_is(tmp_path: Path) -> None:
    assert open_archive(write(tmp_path, CONTENT)).read(0, 1 << 30) == CONTENT
    store = open_archive(write(tmp_path, CONTENT), memory_limit_bytes=10)
    assert isinstance(store, FileStore)
    assert store.read(299_990, 20) == CONTENT[299_990:300_010]
    store.close()


def test_truncation_is_a_corrupt_error_with_its_offset(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSORS[kind](CONTENT[:5000])
    for length in [*range(6, 60), *range(60, len(packed), 97), len(packed) - 1]:
        with pytest.raises(CorruptError, match=r"offset") as caught:
            open_archive(write(tmp_path, packed[:length]))
        assert caught.value.errno == Errno.EUCLEAN
        assert "\n" not in str(caught.value)


def test_bit_flips_never_leak_a_decoders_own_error(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSORS[kind](CONTENT[:3000])
    rng = random.Random(4)
    for _ in range(300):
        damaged = bytearray(packed)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            store = open_archive(write(tmp_path, bytes(damaged)))
        except JefeError:
            continue
        store.read(0, 10)  # a flip in the magic makes it a plain file, one in a name field changes nothing


def test_a_bomb_stops_at_the_limit(tmp_path: Path, kind: str) -> None:
    bomb = COMPRESSORS[kind](bytes(50_000_000))
    assert len(bomb) < 200_000
    with pytest.raises(CorruptError, match="limit of 1000000 bytes") as caught:
        open_archive(write(tmp_path, bomb), limit_bytes=1_000_000)
    assert caught.value.errno == Errno.EFBIG


def test_a_large_plain_file_stops_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="limit"):
        open_archive(write(tmp_path, CONTENT), limit_bytes=1000)


def test_a_file_that_cannot_be_read_is_a_boot_error(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="cannot open"):
        open_archive(tmp_path / "missing.tar")
    with pytest.raises(BootError, match="cannot open"):
        open_archive(tmp_path)


def test_probing_never_raises(tmp_path: Path) -> None:
    assert looks_like_archive(write(tmp_path, gzip.compress(b"")))
    assert not looks_like_archive(write(tmp_path, b"hello"))
    assert not looks_like_archive(tmp_path)
    assert not looks_like_archive(tmp_path / "missing")
    assert not looks_like_archive(Path("/dev/null"))
