"""Calls within bounds, and damage by seed: the kits tell apart what they are to tell apart."""

from __future__ import annotations

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.testing.bounds import BoundsBroken, bounded
from jefeos.testing.volumes import MemoryImage, corrupt, damage, memory_volume


def test_an_answer_and_an_error_are_both_answers() -> None:
    def fail() -> int:
        raise KernelError(Errno.EIO, "sector 3")

    assert bounded(lambda: 7) == 7
    answer = bounded(fail)
    assert isinstance(answer, KernelError) and answer.errno == Errno.EIO


def test_a_loop_without_end_is_cut() -> None:
    def loop() -> None:
        while True:
            try:
                sum(range(100))
            except Exception:
                pass

    with pytest.raises(BoundsBroken, match="within"):
        bounded(loop, seconds=0.2)


def test_memory_in_proportion_to_a_claim_is_found() -> None:
    with pytest.raises(BoundsBroken, match="MemoryError"):
        bounded(lambda: bytearray(1 << 40), memory_bytes=64 << 20)
    with pytest.raises(BoundsBroken, match="MemoryError"):
        bounded(lambda: len(bytes(512 << 20)), memory_bytes=64 << 20)
    assert bounded(lambda: len(bytes(1 << 20)), memory_bytes=64 << 20) == 1 << 20


def test_bugs_are_no_answers() -> None:
    with pytest.raises(BoundsBroken, match="mounting raised IndexError"):
        bounded(lambda: [][1], what="mounting")


def test_damage_repeats_and_stays_in_its_ranges() -> None:
    ranges = [(100, 200), (1000, 1010)]
    touched = set()
    for seed in range(300):
        assert damage(4096, seed, ranges) == damage(4096, seed, ranges)
        for piece in damage(4096, seed, ranges):
            assert any(start <= piece.offset and piece.offset + len(piece.data) <= end for start, end in ranges)
            touched.update(range(piece.offset, piece.offset + len(piece.data)))
    assert touched == {*range(100, 200), *range(1000, 1010)}
    assert corrupt(bytes(4096), 5) != bytes(4096)


def test_writes_to_a_memory_image_can_be_taken_back() -> None:
    image = MemoryImage(bytes(range(256)) * 8)
    before = bytes(image.data)
    image.mark()
    image.write(100, b"abc")
    image.write(101, b"xyz" * 50)
    assert bytes(image.data) != before
    image.undo()
    assert bytes(image.data) == before
    volume = memory_volume(1 << 20)
    volume.write(5000, b"there")
    assert volume.read(4999, 7) == b"\0there\0"
