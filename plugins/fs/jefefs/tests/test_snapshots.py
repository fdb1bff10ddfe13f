"""Snapshots: what they keep, what they cost, how they go, from inside and outside, and through losses of power."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from attrs import define, frozen
from jefeos.block.faults import FaultyImage
from jefeos.errors import Errno, KernelError
from jefeos.testing.crash import CrashPoint, Moment, Recording, crash_points
from jefeos.testing.mounted import Mounted
from jefeos.testing.operations import Held, Kind, Model, Operation, everyday, perform
from jefeos.testing.suites import errno_of
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, new_page_cache
from jefeos.vfs.flags import O_RDONLY, S_IFDIR
from jefeos_fs_jefefs.snapshots import SnapshotTable

from .tools import FORMAT, mount, new_image, open_image, require_clean

Tree = dict[bytes, tuple[int, bytes]]


def snapshot(here: Mounted, name: bytes) -> None:
    here.vfs.mkdir(here.actor, b"/.snapshots/" + name, 0o755)


def delete(here: Mounted, name: bytes) -> None:
    here.vfs.rmdir(here.actor, b"/.snapshots/" + name)


def names(here: Mounted) -> list[bytes]:
    return [entry.name for entry in here.list(b"/.snapshots")]


def tree_of(here: Mounted, name: bytes) -> Tree:
    prefix = b"/.snapshots/" + name
    return {path[len(prefix) :]: found for path, found in here.tree(prefix).items()}


def free_blocks(here: Mounted) -> int:
    here.vfs.sync()
    return here.vfs.statfs(here.actor, b"/").blocks_free


@pytest.fixture
def image() -> MemoryImage:
    return new_image()


@pytest.fixture
def here(image: MemoryImage) -> Mounted:
    return mount(image)


def change_much(here: Mounted, seed: int, count: int = 60) -> None:
    """Random operations on whatever is there."""
    model = Model()
    here.clear()
    for operation in everyday(model, random.Random(seed), count):
        perform(operation, here)
        model.apply(operation)


def test_a_snapshot_keeps_everything_as_it_was(image: MemoryImage, here: Mounted) -> None:
    kept: dict[bytes, Tree] = {}
    for number in range(5):
        change_much(here, number)
        name = b"s%d" % number
        snapshot(here, name)
        kept[name] = here.tree()
        assert {key: tree_of(here, key) for key in kept} == kept
    here.unmount()
    require_clean(image)
    again = mount(image)
    assert names(again) == sorted(kept)
    assert {key: tree_of(again, key) for key in kept} == kept


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_all_space_comes_back_in_whatever_order_they_go(
    image: MemoryImage, here: Mounted, order: tuple[int, ...]
) -> None:
    before = free_blocks(here)
    kept: dict[int, Tree] = {}
    for number in range(4):
        change_much(here, number)
        snapshot(here, b"s%d" % number)
        kept[number] = here.tree()
    for number in order:
        delete(here, b"s%d" % number)
        del kept[number]
        require_clean(image)
        assert {key: tree_of(here, b"s%d" % key) for key in kept} == kept
    here.clear()
    assert before - free_blocks(here) <= 1
    here.unmount()
    require_clean(image)


def test_a_snapshot_costs_what_changes(here: Mounted) -> None:
    here.put(b"/large", bytes(random.Random(1).randbytes(1 << 20)))
    before = free_blocks(here)
    snapshot(here, b"s")
    assert before - free_blocks(here) <= 2
    here.write(b"/large", 0, b"x" * 100_000)
    assert 25 <= before - free_blocks(here) <= 35
    here.vfs.unlink(here.actor, b"/large")
    assert before - free_blocks(here) <= 35
    delete(here, b"s")
    assert free_blocks(here) >= before + 250


def test_the_view_does_not_show_and_cannot_be_written(here: Mounted) -> None:
    here.put(b"/f", b"old")
    here.vfs.symlink(here.actor, b"f", b"/l")
    snapshot(here, b"s")
    here.put(b"/f", b"new")
    assert [entry.name for entry in here.list(b"/")] == [b"f", b"l"]
    inside = b"/.snapshots/s/f"
    assert (here.get(inside), here.get(b"/.snapshots/s/l")) == (b"old", b"f")
    vfs, actor = here.vfs, here.actor
    refused: list[Callable[[], object]] = [
        lambda: here.put(inside, b"x"),
        lambda: here.put(b"/.snapshots/s/new", b"x"),
        lambda: vfs.unlink(actor, inside),
        lambda: vfs.chmod(actor, inside, 0o600),
        lambda: vfs.truncate(actor, inside, 0),
        lambda: vfs.mkdir(actor, b"/.snapshots/s/d", 0o755),
    ]
    assert [errno_of(call) for call in refused] == [Errno.EROFS] * len(refused)
    assert errno_of(lambda: vfs.rename(actor, inside, b"/moved")) in (Errno.EROFS, Errno.EXDEV)
    assert errno_of(lambda: vfs.link(actor, inside, b"/linked")) in (Errno.EROFS, Errno.EXDEV)
    assert errno_of(lambda: vfs.rmdir(actor, b"/.snapshots")) == Errno.EBUSY
    assert errno_of(lambda: here.put(b"/.snapshots/file", b"")) == Errno.EPERM
    live, kept = vfs.stat(actor, b"/f"), vfs.stat(actor, inside)
    assert live.ino != kept.ino
    assert vfs.stat(actor, b"/.snapshots/s").mode & S_IFDIR


def test_names_and_errors(here: Mounted) -> None:
    snapshot(here, b"s" * 255)
    assert errno_of(lambda: snapshot(here, b"s" * 255)) == Errno.EEXIST
    assert errno_of(lambda: snapshot(here, b"s" * 256)) == Errno.ENAMETOOLONG
    assert errno_of(lambda: delete(here, b"none")) == Errno.ENOENT
    assert errno_of(lambda: here.get(b"/.snapshots/none/f")) == Errno.ENOENT
    somebody = here.somebody(1000)
    assert errno_of(lambda: here.vfs.mkdir(somebody, b"/.snapshots/mine", 0o755)) == Errno.EACCES


def test_one_with_open_files_stays(here: Mounted) -> None:
    here.put(b"/f", b"old")
    snapshot(here, b"s")
    file = here.vfs.open_file(here.actor, b"/.snapshots/s/f", O_RDONLY)
    assert errno_of(lambda: delete(here, b"s")) == Errno.EBUSY
    here.put(b"/f", b"new")
    assert file.pread(10, 0) == b"old"
    file.unref()
    delete(here, b"s")
    assert names(here) == []


def test_rolling_back(image: MemoryImage, here: Mounted) -> None:
    change_much(here, 1)
    snapshot(here, b"first")
    first = here.tree()
    change_much(here, 2)
    snapshot(here, b"second")
    second = here.tree()
    change_much(here, 3)
    here.unmount()
    volume, clock = image_volume(image), TestClock()
    assert errno_of(lambda: FORMAT.roll_back(volume, b"first", clock)) == Errno.EBUSY
    assert errno_of(lambda: FORMAT.roll_back(volume, b"none", clock)) == Errno.ENOENT
    FORMAT.roll_back(volume, b"second", clock)
    require_clean(image)
    with_second = mount(image)
    assert with_second.tree() == second
    change_much(with_second, 4)
    assert tree_of(with_second, b"second") == second
    with_second.unmount()
    require_clean(image)
    volume = image_volume(image)
    FORMAT.delete_snapshot(volume, b"second", clock)
    FORMAT.roll_back(volume, b"first", clock)
    require_clean(image)
    again = mount(image)
    assert (again.tree(), tree_of(again, b"first")) == (first, first)
    delete(again, b"first")
    again.clear()
    again.unmount()
    require_clean(image)


def test_from_outside(image: MemoryImage, here: Mounted) -> None:
    here.put(b"/f", b"old")
    here.unmount()
    volume, clock = image_volume(image), TestClock()
    FORMAT.create_snapshot(volume, b"s", clock)
    later = mount(image)
    later.put(b"/f", b"new")
    later.unmount()
    volume = image_volume(image)
    assert [item.name for item in FORMAT.snapshots(volume)] == [b"s"]
    assert FORMAT.describe(volume)["snapshots"] == "s"
    filesystem = FORMAT.open(volume, writable=True, page_cache=new_page_cache(), clock=clock).open_snapshot(b"s")
    looked = Mounted.of(filesystem)
    assert (filesystem.read_only, looked.get(b"/f")) == (True, b"old")
    assert errno_of(lambda: looked.put(b"/f", b"x")) == Errno.EROFS
    FORMAT.delete_snapshot(volume, b"s", clock)
    assert FORMAT.snapshots(volume) == []
    require_clean(image)


# --- loss of power ------------------------------------------------------------------------------------------------


@frozen
class State:
    """Live files and snapshots."""

    tree: Tree
    snapshots: dict[bytes, Tree]


@define
class Workload:
    """Everyday changes, with snapshots made and deleted, and each state on the way."""

    image: MemoryImage
    dice: random.Random

    def record(self, operations: int) -> Recording:
        faulty = FaultyImage(self.image)
        start = bytes(self.image.data)
        here = Mounted.of(FORMAT.open(image_volume(faulty, 1 << 20), writable=True, page_cache=new_page_cache(),
                                      clock=TestClock()))
        model, held = Model(), Held()
        snapshots: dict[bytes, Tree] = {}
        synced = Operation(Kind.SYNC)
        moments = [Moment(0, 0, None, State({}, {}))]
        for number, operation in enumerate(everyday(model, self.dice, operations)):
            begun = len(faulty.history)
            choice = self.dice.random()
            if choice < 0.08:
                snapshot(here, b"s%d" % number)
                snapshots = {**snapshots, b"s%d" % number: model.tree()}
                operation = synced
            elif choice < 0.14 and snapshots:
                name = self.dice.choice(sorted(snapshots))
                delete(here, name)
                snapshots = {key: tree for key, tree in snapshots.items() if key != name}
                operation = synced
            else:
                perform(operation, here, held)
                model.apply(operation)
            moments.append(Moment(begun, len(faulty.history), operation, State(model.tree(), snapshots)))
        held.close()
        found = {name: tree_of(here, name) for name in names(here)}
        assert State(here.tree(), found) == moments[-1].state, "without any loss of power"
        return Recording(start, faulty.history, moments, "with snapshots")


def check(point: CrashPoint) -> None:
    states = [moment.state for moment in point.recording.states_at(point.index)]
    report = FORMAT.check(point.volume(), repair=False, clock=TestClock())
    assert report.problems == (), (str(point), report.problems[:3])
    here = mount(point.image)
    found = State(here.tree(), {name: tree_of(here, name) for name in names(here)})
    assert found in states, str(point)
    here.unmount()
    require_clean(point.image)


def lose_power(seed: int, points: int) -> None:
    recording = Workload(new_image(4 << 20), random.Random(seed)).record(120)
    for point in crash_points(recording, points, seed):
        check(point)


def test_loss_of_power_with_snapshots() -> None:
    lose_power(1, 120)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 20))
def test_loss_of_power_with_snapshots_at_length(seed: int) -> None:
    lose_power(seed, 200)


def test_an_interrupted_deletion_goes_on(
    image: MemoryImage, here: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_much(here, 1)
    snapshot(here, b"s")
    change_much(here, 2)
    here.unmount()
    filesystem = open_image(image)
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotTable, "_bury", lambda table, snapshot: None)  # power fails here
        filesystem.store.snapshots.delete(b"s")
    assert filesystem.store.snapshots.listed() == []
    report = FORMAT.check(image_volume(image), repair=False, clock=TestClock())
    assert (report.problems, len(report.notes)) == ((), 1)
    assert FORMAT.snapshots(image_volume(image)) == []
    with_less = open_image(image, writable=False).statfs().blocks_free
    assert open_image(image).statfs().blocks_free > with_less
    require_clean(image)


def test_a_snapshot_is_no_way_around_a_full_volume(image: MemoryImage, here: Mounted) -> None:
    """What only snapshots use is not freed by deleting files; deleting them always works."""
    snapshot_number = 0
    with pytest.raises(KernelError, match="ENOSPC"):
        while True:
            here.put(b"/f", random.Random(snapshot_number).randbytes(500_000))
            snapshot(here, b"s%d" % snapshot_number)
            snapshot_number += 1
    assert snapshot_number > 5
    here.vfs.unlink(here.actor, b"/f")
    assert errno_of(lambda: here.put(b"/g", b"x" * 700_000)) == Errno.ENOSPC
    for name in names(here):
        delete(here, name)
    here.put(b"/g", b"x" * 700_000)
    here.unmount()
    require_clean(image)
