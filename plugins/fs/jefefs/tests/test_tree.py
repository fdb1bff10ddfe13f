"""Trees against a dictionary, free space against a set."""

from __future__ import annotations

import random

import pytest
from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.testing.volumes import TestClock, image_volume, memory_volume
from jefeos_fs_jefefs.layout import Geometry
from jefeos_fs_jefefs.space import Space, fill
from jefeos_fs_jefefs.store import Store, open_store
from jefeos_fs_jefefs.tree import Tree, shortest_between

from .tools import new_image

TOP = b"\xff"
"""Keys of these tests begin with it: behind all those of the filesystem."""
END = b"\xff" * 40


def new_store() -> Store:
    return open_store(image_volume(new_image(16 << 20)), TestClock())


def some_key(dice: random.Random) -> bytes:
    return TOP + dice.randbytes(dice.choice((1, 2, 2, 3, 9, 30)))


def change(tree: Tree, model: dict[bytes, bytes], dice: random.Random) -> None:
    key = some_key(dice)
    if dice.random() < 0.3 and model:
        key = min((other for other in model if other >= key), default=key)
    match dice.choices(("put", "large", "remove", "range"), (60, 3, 40, 0.4))[0]:
        case "put":
            model[key] = dice.randbytes(dice.randrange(60))
            tree.put(key, model[key])
        case "large":
            model[key] = dice.randbytes(1200)
            tree.put(key, model[key])
        case "remove":
            assert tree.remove(key) == (model.pop(key, None) is not None)
        case _:
            low, high = sorted((key, TOP + dice.randbytes(1)))
            tree.remove_range(low, high)
            for other in [other for other in model if low <= other < high]:
                del model[other]


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_is_a_dictionary(seed: int) -> None:
    store, dice, model = new_store(), random.Random(seed), dict[bytes, bytes]()
    free = store.space.free_after_commit
    for number in range(4000):
        with store.changing:
            change(store.files, model, dice)
        if number % 7 == 0:
            key = some_key(dice)
            assert store.files.get(key) == model.get(key)
            below = max((other for other in model if other <= key), default=None)
            found = store.files.floor(key)
            assert found is not None
            assert (found if found[0] >= TOP else None) == ((below, model[below]) if below else None)
        if number % 250 == 0:
            store.commit()
            assert list(store.files.scan(TOP, END)) == sorted(model.items())
            low, high = sorted((some_key(dice), some_key(dice)))
            within = [pair for pair in sorted(model.items()) if low <= pair[0] < high]
            assert list(store.files.scan(low, high)) == within
            again = open_store(store.volume, TestClock())
            assert list(again.files.scan(TOP, END)) == sorted(model.items())
    assert store.files.level >= 1
    with store.changing:
        store.files.remove_range(TOP, END)
    store.commit()
    assert store.space.free_after_commit == free


def test_ascending_keys_fill_the_nodes() -> None:
    store = new_store()
    with store.changing:
        for number in range(5000):
            store.files.put(TOP + b"%08d" % number, b"v" * 20)
    store.commit()
    nodes = store.superblock.free_blocks
    assert (16 << 20) // 4096 - nodes < 5000 * 33 / 4072 * 1.1 + 60


def test_a_leaf_that_is_not_decoded_gives_the_same() -> None:
    store, dice = new_store(), random.Random(1)
    with store.changing:
        for _ in range(2000):
            store.files.put(some_key(dice), dice.randbytes(dice.randrange(40)))
    store.commit()
    there = dict(store.files.scan(TOP, END))
    wanted = [*there, *(some_key(dice) for _ in range(500)), TOP, END]
    for _ in range(2):
        store.nodes.nodes.clear()
        store.nodes._asked.clear()
        for key in wanted:
            store.nodes._asked.clear()
            assert store.files.get(key) == there.get(key)
        assert len(store.nodes.nodes) < 10  # inner nodes alone
    for key in wanted:
        assert store.files.get(key) == there.get(key)
    assert len(store.nodes.nodes) > 15


def test_shortest_separator() -> None:
    assert shortest_between(b"abcdef", b"abxyz") == b"abx"
    assert shortest_between(b"ab", b"abcd") == b"abc"


# --- free space ---------------------------------------------------------------------------------------------------


def new_space(total_blocks: int = 100_000) -> Space:
    geometry = Geometry(4096, total_blocks)
    space = Space(memory_volume(total_blocks * 4096 if total_blocks < 5000 else 4096 * 4096), geometry)
    space.make()
    return space


def test_space_is_a_set_of_blocks() -> None:
    space, dice = new_space(), random.Random(1)
    taken: set[int] = set()
    runs: list[tuple[int, int]] = []
    usable = range(space.geometry.first_data, space.geometry.data_end)
    for _ in range(3000):
        if dice.random() < 0.55:
            count = dice.choice((1, 2, 7, 64, 500))
            goal = dice.choice((0, dice.randrange(100_000)))
            if count > space.free:
                assert_full(space, count)
                continue
            for address, length in space.allocate(count, goal):
                blocks = set(range(address, address + length))
                assert not blocks & taken
                assert usable.start <= address and address + length <= usable.stop
                taken |= blocks
                runs.append((address, length))
        elif runs:
            address, length = runs.pop(dice.randrange(len(runs)))
            part = dice.randint(1, length)
            space.free_now(address, part)
            taken -= set(range(address, address + part))
            if part < length:
                runs.append((address + part, length - part))
        assert space.free == len(usable) - len(taken)
    first_free = min(set(usable) - taken)
    with pytest.raises(CorruptError, match="already"):
        space.free_now(first_free, 1)


def assert_full(space: Space, count: int) -> None:
    with pytest.raises(KernelError) as caught:
        space.allocate(count)
    assert caught.value.errno == Errno.ENOSPC


def test_every_block_can_be_given_out() -> None:
    space = new_space(3000)
    usable = space.geometry.data_end - space.geometry.first_data
    assert sum(length for _, length in space.allocate(space.free)) == usable
    assert_full(space, 1)


def test_large_requests_come_in_one_piece() -> None:
    space = new_space()
    for _ in range(200):  # holes of two blocks
        (address, _), = space.allocate(3)
        space.free_later(address, 2)
    space.commit()
    space.settle()
    space._cursors = [space.geometry.first_data] * 2
    assert len(space.allocate(2000)) <= 6


@pytest.mark.parametrize(("start", "count"), [(0, 1), (3, 5), (0, 64), (7, 65), (5, 300), (8, 128), (100, 1000)])
def test_filling_bits(start: int, count: int) -> None:
    bitmap = bytearray(256)
    assert fill(bitmap, start, count, used=True)
    assert int.from_bytes(bitmap, "little") == (1 << count) - 1 << start
    for bit in (start, start + count - 1, start + count // 2):
        before = bytes(bitmap)
        assert not fill(bitmap, bit, 1, used=True)
        assert not fill(bitmap, max(bit - 70, 0), 140, used=True)
        assert bitmap == before
    assert fill(bitmap, start, count, used=False)
    assert not any(bitmap)
