"""Loss of power at any point of a workload, and what must be there afterwards.

    recording = record(FORMAT, 8 << 20, seed=1)                a workload, every write and flush of it, what was synced
    for point in crash_points(recording, 2000, seed=1):        the medium as a loss of power may leave it
        check_crash(FORMAT, point)

At a point the writes before the last flush are on the medium; of those since then none, all, the first ones, all but
one, or any subset is, in any order where they do not overlap, and one of them may be torn between sectors. The medium
of one point is the image of the recording, on which the check may write: the next point takes that back. So two
thousand points cost the writes of the recording, and the checks.

What a check asks for, whatever the filesystem promises:

  * ``fsck`` finds nothing, or (unless ``always_clean``) only what it calls harmless; repair puts that right;
  * a name that every state since the last sync has is there, and leads to a file of one of those states. What was not
    changed since then has exactly its contents;
  * a file that was synced and never removed is there under one of its names, however it was moved;
  * no name is there that was in none of those states, and everything can be read.

`Promise` says what else. A failed check names recording, seed and index, which is all that it takes to see it again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final

from attrs import Factory, define, field, frozen

from jefeos.block.cache import BufferCache
from jefeos.block.faults import FaultyImage, Written
from jefeos.block.image import SECTOR_BYTES
from jefeos.block.volume import FormatOptions, VolumeFormat
from jefeos.errors import KernelError
from jefeos.mm.pagecache import PageCache
from jefeos.testing.mounted import mounted
from jefeos.testing.operations import (
    Abilities,
    Held,
    Kind,
    Model,
    Node,
    Operation,
    Snapshot,
    everyday,
    perform,
)
from jefeos.testing.volumes import MemoryImage, TestClock, image_volume, make_volume, new_page_cache
from jefeos.vfs.flags import S_IFDIR, S_IFREG

OPERATIONS: Final = 250
CACHE_BYTES: Final = 1 << 20
"""Small, so that write-back happens between the flushes as well."""
CHECK_CACHE_BYTES: Final = 4 << 20
CHECK_RAM_BYTES: Final = 4 << 20

Tree = dict[bytes, tuple[int, bytes]]


class Promise(Enum):
    """What a filesystem promises of the changes since the last sync."""

    ATOMIC = "the tree is as it was after one of the operations since the last sync"
    CONTENTS = "each byte of a file that was being changed is an old one, a new one, or zero"
    NAMES = "a file that was being changed may have any contents"


class CrashFailure(AssertionError):
    """What was found after a loss of power is not what was promised."""


@frozen
class Moment:
    """The model after an operation."""

    begun: int
    """How many entries the history had when the operation began: none of them is of this operation."""
    ended: int
    operation: Operation | None
    state: Snapshot


@define
class Recording:
    """A workload on a volume: the image before it, each write and flush, and each state of the tree."""

    start: bytes
    history: list[Written]
    moments: list[Moment]
    """The first is the state at the start, which is synced."""
    name: str = ""

    def states_at(self, index: int) -> list[Moment]:
        """The last synced moment before entry ``index`` of the history, and those that had begun since."""
        begun = [moment for moment in self.moments if moment.begun < index or moment.ended <= index]
        synced = max(
            number for number, moment in enumerate(begun)
            if moment.operation is None or moment.operation.promises and moment.ended <= index
        )
        return begun[synced:]


@define
class CrashPoint:
    """The medium after one loss of power. It is good until the next is asked for."""

    recording: Recording
    index: int
    """How many entries of the history had been issued."""
    seed: int
    how: str
    image: MemoryImage = field(repr=False)

    def volume(self) -> BufferCache:
        """The medium, with a cache of its own."""
        return image_volume(self.image, CHECK_CACHE_BYTES)

    def __str__(self) -> str:
        of = len(self.recording.history)
        return f"{self.recording.name} after {self.index} of {of} writes, seed {self.seed}, {self.how}"


# --- recording ----------------------------------------------------------------------------------------------------


def record(
    kind: VolumeFormat,
    size_bytes: int,
    *,
    seed: int = 0,
    operations: int = OPERATIONS,
    abilities: Abilities | None = None,
    options: FormatOptions | None = None,
    workload: Callable[[Model, random.Random], Iterable[Operation]] | None = None,
    image: MemoryImage | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Recording:
    """Make a volume (or take ``image``), mount it, and do a workload to it: `everyday`, or what ``workload`` yields
    while the model follows."""
    dice = random.Random(seed)
    image = image or make_volume(kind, size_bytes, options)
    faulty = FaultyImage(image)
    start = bytes(image.data)
    model, held = Model(), Held()
    moments = [Moment(0, 0, None, model.snapshot())]
    todo = workload(model, dice) if workload else everyday(model, dice, operations, abilities)
    with mounted(kind, image_volume(faulty, cache_bytes)) as here:
        for operation in todo:
            begun = len(faulty.history)
            perform(operation, here, held)
            model.apply(operation)
            moments.append(Moment(begun, len(faulty.history), operation, model.snapshot()))
        held.close()
        if here.tree() != model.tree():
            raise AssertionError(f"without any loss of power: {_difference(here.tree(), model.tree())}")
    return Recording(start, faulty.history, moments, f"seed {seed}")


# --- points -------------------------------------------------------------------------------------------------------


def crash_points(recording: Recording, count: int, seed: int = 0) -> Iterator[CrashPoint]:
    """``count`` of them, evenly over the history, several at the same place in different ways if need be."""
    total = len(recording.history)
    indexes = [number * total // max(count - 1, 1) for number in range(count)]
    yield from _replay(recording, ((index, seed + number) for number, index in enumerate(indexes)))


def crash_point(recording: Recording, index: int, seed: int) -> CrashPoint:
    """One of them again."""
    return next(_replay(recording, [(index, seed)]))


def _replay(recording: Recording, wanted: Iterable[tuple[int, int]]) -> Iterator[CrashPoint]:
    """``wanted`` goes upwards by index."""
    image = MemoryImage(recording.start)
    history = recording.history
    flushed = 0
    for index, seed in wanted:
        for number in range(flushed, index):
            if history[number].data is None:
                for entry in history[flushed:number]:
                    if entry.data is not None:
                        image.write(entry.offset, entry.data)
                flushed = number + 1
        image.mark()
        pending = [entry for entry in history[flushed:index] if entry.data is not None]
        how = _lose_power(image, pending, random.Random(seed))
        yield CrashPoint(recording, index, seed, how, image)
        image.undo()


def _lose_power(image: MemoryImage, pending: list[Written], dice: random.Random) -> str:
    """What of the writes since the last flush gets to the medium; in words."""
    count = len(pending)
    if not count:
        return "nothing pending"
    kept = list(range(count))
    torn = -1
    match dice.randrange(6):
        case 0:
            kept, how = [], "none kept"
        case 1:
            how = "all kept"
        case 2:
            kept = kept[: dice.randrange(count)]
            how = "the first ones kept"
        case 3:
            kept.remove(dice.randrange(count))
            how = "one lost"
        case 4:
            kept = [dice.randrange(count)]
            how = "one kept"
        case _:
            kept = [number for number in kept if dice.random() < 0.5]
            how = "some kept"
    if dice.random() < 0.5:
        torn = dice.randrange(count)
        how += ", one torn"
    for number, entry in enumerate(pending):
        assert entry.data is not None
        if number == torn:
            for start in range(0, len(entry.data), SECTOR_BYTES):
                if dice.random() < 0.5:
                    image.write(entry.offset + start, entry.data[start : start + SECTOR_BYTES])
        elif number in kept:
            image.write(entry.offset, entry.data)
    return f"{how} of {count}"


# --- checks -------------------------------------------------------------------------------------------------------


@define
class Outcome:
    """What `check_crashes` saw."""

    points: int = 0
    repaired: int = 0
    """Points after which fsck had something harmless to put right."""
    problems: dict[str, int] = Factory(dict)
    """Sentences of harmless problems, and how often each was seen."""


def check_crashes(
    kind: VolumeFormat,
    recording: Recording,
    points: int,
    *,
    seed: int = 0,
    promise: Promise = Promise.CONTENTS,
    always_clean: bool = False,
    writable: bool = True,
    invented: Callable[[bytes], bool] = lambda path: False,
) -> Outcome:
    """Check that many points. ``invented`` tells which names a repair may make up (``/lost+found/…``)."""
    outcome = Outcome()
    for point in crash_points(recording, points, seed):
        harmless = check_crash(
            kind, point, promise=promise, always_clean=always_clean, writable=writable, invented=invented
        )
        outcome.points += 1
        outcome.repaired += bool(harmless)
        for text in harmless:
            outcome.problems[text] = outcome.problems.get(text, 0) + 1
    return outcome


def check_crash(
    kind: VolumeFormat,
    point: CrashPoint,
    *,
    promise: Promise = Promise.CONTENTS,
    always_clean: bool = False,
    writable: bool = True,
    invented: Callable[[bytes], bool] = lambda path: False,
) -> list[str]:
    """Check one point; gives the harmless problems that fsck found. Raises `CrashFailure`.

    fsck only looks; the volume is mounted as it is and looked at; then fsck repairs, and it is looked at again, if
    ``writable`` mounted for writing and synced, after which fsck must find it clean.
    """
    clock = TestClock()
    moments = point.recording.states_at(point.index)
    states = [moment.state for moment in moments] if promise is Promise.ATOMIC else _possible_states(moments)
    try:
        problems = kind.check(point.volume(), repair=False, clock=clock).problems
        bad = [problem for problem in problems if always_clean or not problem.harmless]
        if bad:
            raise CrashFailure(f"fsck: {bad[:5]}")
        _judge(_tree_of(kind, point.volume(), clock, writable=False), states, promise, invented)
        if problems:
            kind.check(point.volume(), repair=True, clock=clock)
            _require_clean(kind, point, clock, "after repair")
        _judge(_tree_of(kind, point.volume(), clock, writable=writable), states, promise, invented)
        if writable:
            _require_clean(kind, point, clock, "after mounting it for writing")
    except CrashFailure as failure:
        since = [moment.operation for moment in moments]
        raise CrashFailure(f"{point}: {failure}\nsince the last sync: {since}") from None
    except KernelError as error:
        raise CrashFailure(f"{point}: {error}") from error
    return [problem.what for problem in problems]


def _possible_states(moments: list[Moment]) -> list[Snapshot]:
    """The states of these moments, and those in which a file still has its name, and already what was written after the
    name was removed: contents and names reach the medium in any order."""
    states = [moments[0].state]
    for moment in moments[1:]:
        before, operation = states[-1], moment.operation
        number = before.names.get(operation.path) if operation is not None else None
        if operation is not None and operation.kind is Kind.UNLINK_OPEN and number is not None:
            old = before.nodes[number]
            late = Node(old.kind, operation.data + old.contents[len(operation.data) :])
            states.append(Snapshot(before.names, before.nodes | {number: late}))
        states.append(moment.state)
    return states


def _require_clean(kind: VolumeFormat, point: CrashPoint, clock: TestClock, when: str) -> None:
    left = kind.check(point.volume(), repair=False, clock=clock).problems
    if left:
        raise CrashFailure(f"fsck {when}: {left[:5]}")


def _tree_of(kind: VolumeFormat, volume: BufferCache, clock: TestClock, *, writable: bool) -> Tree:
    cache: PageCache = new_page_cache(CHECK_RAM_BYTES)
    with mounted(kind, volume, writable=writable, clock=clock, page_cache=cache) as here:
        tree = here.tree()
        if writable:
            here.vfs.sync()
    return tree


def _judge(tree: Tree, states: list[Snapshot], promise: Promise, invented: Callable[[bytes], bool]) -> None:
    """Raises `CrashFailure` if ``tree`` cannot come from ``states``, of which the first was synced."""
    tree = {path: found for path, found in tree.items() if not invented(path)}
    if promise is Promise.ATOMIC:
        if not any(tree == state.tree() for state in states):
            raise CrashFailure(f"the tree is none of {len(states)} states: {_difference(tree, states[0].tree())}")
        return
    for path in {path for state in states for path in state.names} | set(tree):
        _judge_name(path, tree.get(path), states, promise)
    for number in states[0].nodes:
        if all(number in state.nodes for state in states):
            _judge_number(number, tree, states, promise)


def _judge_name(path: bytes, found: tuple[int, bytes] | None, states: list[Snapshot], promise: Promise) -> None:
    numbers = {state.names.get(path) for state in states}
    if found is None:
        if None not in numbers:
            raise CrashFailure(f"{path!r} is gone")
        return
    if numbers == {None}:
        raise CrashFailure(f"{path!r} was never there")
    if not any(number is not None and _fits(found, number, states, promise) for number in numbers):
        raise CrashFailure(f"{path!r} has {_summary(found)}, which it never had")


def _judge_number(number: int, tree: Tree, states: list[Snapshot], promise: Promise) -> None:
    paths = {path for state in states for path, other in state.names.items() if other == number}
    if not any(path in tree and _fits(tree[path], number, states, promise) for path in paths):
        raise CrashFailure(f"the file of {sorted(paths)!r} is lost, though it was only moved")


def _fits(found: tuple[int, bytes], number: int, states: list[Snapshot], promise: Promise) -> bool:
    """Whether this may be node ``number`` in one of the states, or on the way between them."""
    versions = {state.nodes[number] for state in states if number in state.nodes}
    kind, contents = found
    if any((kind, contents) == (version.kind, version.contents) for version in versions):
        return True
    if kind == S_IFDIR or all(version.kind != kind for version in versions):
        return False
    removed = any(number not in state.nodes for state in states)
    if kind != S_IFREG or len(versions) == 1 and not removed and states[0].nodes.get(number) is not None:
        return False
    if promise is Promise.NAMES:
        return True
    texts = [version.contents for version in versions]
    if len(contents) > max(len(text) for text in texts):
        return False
    padded = [text.ljust(len(contents), b"\0") for text in texts]
    return all(byte == 0 or any(text[at] == byte for text in padded) for at, byte in enumerate(contents))


def _summary(found: tuple[int, bytes]) -> str:
    kind, contents = found
    return f"kind {kind:o} and {len(contents)} bytes {contents[:40]!r}"


def _difference(tree: Tree, wanted: Tree) -> str:
    missing = sorted(set(wanted) - set(tree))
    more = sorted(set(tree) - set(wanted))
    changed = [path for path in sorted(set(tree) & set(wanted)) if tree[path] != wanted[path]]
    details = [f"{path!r}: {_summary(tree[path])}, not {_summary(wanted[path])}" for path in changed[:3]]
    return f"missing {missing[:5]}, unexpected {more[:5]}, different {details}"
