"""flock and record locks: ranges against a model of single bytes, waiting, deadlocks, what a close drops."""

from __future__ import annotations

import random
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import Interrupted
from jefeos.vfs import flags as f
from jefeos.vfs.locks import InodeLocks, LockManager, lock_range

END = f.FILE_SIZE_MAX


class Owner:
    """A process, as far as locks know."""


@pytest.fixture
def file(world: Any) -> Any:
    return world.vfs.open(world.root, b"/locked", f.O_RDWR | f.O_CREAT, 0o644)


@pytest.fixture
def manager() -> LockManager:
    return LockManager()


def errno_of(function: Any, *arguments: Any, **keywords: Any) -> int:
    with pytest.raises(KernelError) as caught:
        function(*arguments, **keywords)
    return caught.value.errno


def test_ranges_agree_with_a_model_of_bytes(file: Any, manager: LockManager) -> None:
    rng = random.Random(7)
    owners = [Owner() for _ in range(3)]
    size = 40
    model: list[dict[Owner, int]] = [{} for _ in range(size)]
    for _ in range(4000):
        owner = rng.choice(owners)
        kind = rng.choice((f.F_RDLCK, f.F_WRLCK, f.F_UNLCK))
        start = rng.randrange(size)
        end = rng.randrange(start, size)
        stretch = model[start : end + 1]
        blocked = kind != f.F_UNLCK and any(
            other is not owner and f.F_WRLCK in (kind, held) for byte in stretch for other, held in byte.items())
        if blocked:
            assert errno_of(manager.set, file, owner, kind, start, end) == Errno.EAGAIN
            conflict = manager.test(file, owner, kind, start, end)
            assert conflict is not None
            assert conflict.owner is not owner
        else:
            assert manager.set(file, owner, kind, start, end) is None
            for byte in stretch:
                byte.pop(owner, None)
                if kind != f.F_UNLCK:
                    byte[owner] = kind
        held: list[dict[Owner, int]] = [{} for _ in range(size)]
        for record in InodeLocks.of(file.inode).records:
            for position in range(record.start, record.end + 1):
                assert record.owner not in held[position]
                held[position][record.owner] = record.kind
        assert held == model


def test_neighbours_melt(file: Any, manager: LockManager) -> None:
    owner = Owner()
    manager.set(file, owner, f.F_WRLCK, 0, 9)
    manager.set(file, owner, f.F_WRLCK, 20, 29)
    manager.set(file, owner, f.F_WRLCK, 10, 19)
    assert [(r.start, r.end) for r in InodeLocks.of(file.inode).records] == [(0, 29)]
    manager.set(file, owner, f.F_UNLCK, 5, END)
    assert [(r.start, r.end) for r in InodeLocks.of(file.inode).records] == [(0, 4)]


def test_open_mode_limits_locks(world: Any, file: Any, manager: LockManager) -> None:
    reader = world.vfs.open(world.root, b"/locked", f.O_RDONLY)
    writer = world.vfs.open(world.root, b"/locked", f.O_WRONLY)
    assert errno_of(manager.set, reader, Owner(), f.F_WRLCK, 0, 1) == Errno.EBADF
    assert errno_of(manager.set, writer, Owner(), f.F_RDLCK, 0, 1) == Errno.EBADF
    assert errno_of(manager.set, file, Owner(), 9, 0, 1) == Errno.EINVAL


def test_waiting_and_release(file: Any, manager: LockManager, start: Any) -> None:
    first, second = Owner(), Owner()
    manager.set(file, first, f.F_WRLCK, 0, 10, pid=5)
    conflict = manager.test(file, second, f.F_RDLCK, 3, 3)
    assert conflict is not None
    assert conflict.pid == 5
    waiting = start(manager.set(file, second, f.F_WRLCK, 5, 5, wait=True))
    assert not waiting.finished
    InodeLocks.of(file.inode).release_owner(first)
    assert waiting.run_while_woken().finished
    assert errno_of(manager.set, file, first, f.F_RDLCK, 5, 5) == Errno.EAGAIN


def test_deadlock_of_three(file: Any, manager: LockManager, start: Any) -> None:
    owners = [Owner() for _ in range(3)]
    for number, owner in enumerate(owners):
        manager.set(file, owner, f.F_WRLCK, number, number)
    sleepers = [start(manager.set(file, owners[n], f.F_WRLCK, n + 1, n + 1, wait=True)) for n in range(2)]
    ring = start(manager.set(file, owners[2], f.F_WRLCK, 0, 0, wait=True))
    assert isinstance(ring.error, KernelError)
    assert ring.error.errno == Errno.EDEADLK
    InodeLocks.of(file.inode).release_owner(owners[2])
    for sleeper in reversed(sleepers):
        assert sleeper.run_while_woken().finished
        InodeLocks.of(file.inode).release_owner(owners[sleepers.index(sleeper)])


def test_interrupted_waiter_is_forgotten(file: Any, manager: LockManager, start: Any) -> None:
    first, second = Owner(), Owner()
    manager.set(file, first, f.F_WRLCK, 0, 0)
    waiting = start(manager.set(file, second, f.F_WRLCK, 0, 0, wait=True))
    waiting.step(throw=Interrupted())
    assert isinstance(waiting.error, Interrupted)
    manager.set(file, second, f.F_WRLCK, 1, 1)
    again = start(manager.set(file, first, f.F_WRLCK, 1, 1, wait=True))  # no deadlock: second waits no more
    assert not again.finished


def test_flock(world: Any, file: Any, manager: LockManager, start: Any) -> None:
    other = world.vfs.open(world.root, b"/locked", f.O_RDONLY)
    assert manager.flock(file, f.LOCK_SH) is None
    assert manager.flock(other, f.LOCK_SH) is None
    assert errno_of(manager.flock, file, f.LOCK_EX | f.LOCK_NB) == Errno.EWOULDBLOCK
    # Linux gives the old lock up before it tries for the new one, so file holds nothing now.
    assert manager.flock(other, f.LOCK_EX) is None
    waiting = start(manager.flock(file, f.LOCK_EX))
    other.unref()
    assert waiting.run_while_woken().finished
    assert InodeLocks.of(file.inode).flocks == {file: f.LOCK_EX}
    assert manager.flock(file, f.LOCK_UN) is None
    assert errno_of(manager.flock, file, 77) == Errno.EINVAL


def test_open_file_locks_go_with_the_file(world: Any, file: Any, manager: LockManager) -> None:
    other = world.vfs.open(world.root, b"/locked", f.O_RDWR)
    manager.set(other, other, f.F_WRLCK, 0, END, pid=-1)
    assert errno_of(manager.set, file, file, f.F_RDLCK, 4, 4) == Errno.EAGAIN
    assert errno_of(manager.set, file, Owner(), f.F_RDLCK, 4, 4) == Errno.EAGAIN
    other.unref()
    assert manager.set(file, file, f.F_RDLCK, 4, 4) is None


def test_lock_range() -> None:
    assert lock_range(0, 10, 5) == (10, 14)
    assert lock_range(100, -10, -5) == (85, 89)
    assert lock_range(0, 7, 0) == (7, END)
    assert errno_of(lock_range, 0, -1, 5) == Errno.EINVAL
    assert errno_of(lock_range, 3, 0, -5) == Errno.EINVAL
    assert errno_of(lock_range, END, 1, 1) == Errno.EOVERFLOW
