"""Random sequences of operations against a model, shrunk by hypothesis: part of `FilesystemConformance`.

The names come from a small pool, so that most sequences run into names that are there, missing, of the wrong kind or
full; the model says what is to happen, errors included. After each sequence the whole tree is compared, mounted anew,
and compared again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from jefeos.errors import Errno
from jefeos.testing.mounted import Mounted
from jefeos.testing.operations import Abilities, Held, Kind, Model, Operation, everyday, perform
from jefeos.testing.suites import FilesystemSuite, errno_of, needs
from jefeos.vfs.flags import S_IFDIR

NAMES: Final = ("a", "b", "long name with spaces and a dot.text", "d", "e")
EXAMPLES, STEPS = 25, 30
LONG_EXAMPLES: Final = 1000
SIZES: Final = (0, 1, 500, 700, 1024, 4096, 5000, 20_000)


class ModelTests(FilesystemSuite):
    """See the module."""

    @needs("-read_only")
    def test_operations_against_a_model(self, here: Mounted) -> None:
        self._run(here, EXAMPLES)

    @needs("-read_only")
    @pytest.mark.long
    @pytest.mark.timeout(3600)
    def test_operations_against_a_model_at_length(self, here: Mounted) -> None:
        self._run(here, LONG_EXAMPLES)

    @needs("-read_only")
    @pytest.mark.parametrize("seed", range(3))
    def test_everyday_work(self, here: Mounted, seed: int) -> None:
        """Longer sequences that succeed, with files kept open after their names are gone."""
        model, held = Model(), Held()
        abilities = Abilities(hard_links=self.hard_links, symlinks=self.symlinks)
        for operation in everyday(model, random.Random(seed), 250, abilities):
            perform(operation, here, held)
            model.apply(operation)
        assert here.tree() == model.tree()
        held.close()
        assert self.reopen(here).tree() == model.tree()

    def _run(self, here: Mounted, examples: int) -> None:
        pytest.importorskip("hypothesis", reason="the state machine needs hypothesis")
        from hypothesis import HealthCheck, settings
        from hypothesis.stateful import run_state_machine_as_test

        settings_of_run = settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples == EXAMPLES,
        )
        holder = [here]
        machine = _machine(holder, self.reopen, hard_links=self.hard_links, symlinks=self.symlinks)
        run_state_machine_as_test(machine, settings=settings_of_run)


def expected_errors(model: Model, operation: Operation) -> set[Errno]:
    """What an operation on the model's tree may fail with; empty if it succeeds."""
    kind, path, other = operation.kind, operation.path, operation.other
    made = kind in (Kind.PUT, Kind.MKDIR, Kind.SYMLINK)
    errors = _errors_on_the_way(model, path)
    if kind in (Kind.RENAME, Kind.LINK):
        errors |= _errors_on_the_way(model, other)
    if errors:
        return errors | ({Errno.ENOENT} if not made and path not in model.names else set())
    is_directory = path in model.names and model.node(path).kind == S_IFDIR
    if path not in model.names:
        return set() if made else {Errno.ENOENT}
    match kind:
        case Kind.MKDIR | Kind.SYMLINK:
            return {Errno.EEXIST}
        case Kind.PUT | Kind.WRITE | Kind.TRUNCATE | Kind.UNLINK:
            return {Errno.EISDIR} if is_directory else set()
        case Kind.RMDIR:
            return {Errno.ENOTDIR} if not is_directory else {Errno.ENOTEMPTY} if model.below(path) else set()
        case Kind.LINK:
            return {Errno.EEXIST} if other in model.names else {Errno.EPERM} if is_directory else set()
        case Kind.RENAME:
            return _errors_of_rename(model, path, other, is_directory)
    return set()


def _errors_on_the_way(model: Model, path: bytes) -> set[Errno]:
    parts = path.split(b"/")[1:-1]
    for count in range(1, len(parts) + 1):
        folder = b"/" + b"/".join(parts[:count])
        if folder not in model.names:
            return {Errno.ENOENT}
        if model.node(folder).kind != S_IFDIR:
            return {Errno.ENOTDIR}
    return set()


def _errors_of_rename(model: Model, path: bytes, other: bytes, is_directory: bool) -> set[Errno]:
    if other.startswith(path + b"/"):
        return {Errno.EINVAL}
    if path.startswith(other + b"/"):
        return {Errno.ENOTEMPTY, Errno.EISDIR}
    if other not in model.names or model.names[other] == model.names[path]:
        return set()
    onto_directory = model.node(other).kind == S_IFDIR
    if is_directory and not onto_directory:
        return {Errno.ENOTDIR}
    if onto_directory and not is_directory:
        return {Errno.EISDIR}
    return {Errno.ENOTEMPTY} if onto_directory and model.below(other) else set()


def _machine(holder: list[Mounted], reopen: Callable[[Mounted], Mounted], *, hard_links: bool, symlinks: bool) -> Any:
    """The state machine over one filesystem, which each run empties first. ``holder`` has the mount of now."""
    from hypothesis import strategies
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

    names = strategies.sampled_from(NAMES)
    paths = strategies.lists(names, min_size=1, max_size=3).map(lambda parts: ("/" + "/".join(parts)).encode())
    links = strategies.sampled_from((b"/link one", b"/link two"))
    sizes = strategies.sampled_from(SIZES)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()
            holder[0].clear()

        def do(self, operation: Operation) -> None:
            wanted = expected_errors(self.model, operation)
            got = errno_of(lambda: perform(operation, holder[0]))
            assert got in wanted if wanted else got is None, (operation, got, wanted)
            if got is None:
                self.model.apply(operation)

        @rule(path=paths, size=sizes, fill=strategies.integers(0, 255))
        def put(self, path: bytes, size: int, fill: int) -> None:
            self.do(Operation(Kind.PUT, path, data=bytes([fill]) * size))

        @rule(path=paths, offset=sizes, size=sizes)
        def write(self, path: bytes, offset: int, size: int) -> None:
            self.do(Operation(Kind.WRITE, path, offset=offset, data=(b"0123456789" * (size // 10 + 1))[:size]))

        @rule(path=paths, size=sizes)
        def truncate(self, path: bytes, size: int) -> None:
            self.do(Operation(Kind.TRUNCATE, path, offset=size))

        @rule(path=paths)
        def mkdir(self, path: bytes) -> None:
            self.do(Operation(Kind.MKDIR, path))

        @rule(path=paths)
        def rmdir(self, path: bytes) -> None:
            self.do(Operation(Kind.RMDIR, path))

        @rule(path=paths)
        def unlink(self, path: bytes) -> None:
            self.do(Operation(Kind.UNLINK, path))

        @rule(path=paths, other=paths)
        def rename(self, path: bytes, other: bytes) -> None:
            self.do(Operation(Kind.RENAME, path, other))

        @precondition(lambda self: hard_links)
        @rule(path=paths, other=paths)
        def link(self, path: bytes, other: bytes) -> None:
            self.do(Operation(Kind.LINK, path, other))

        @precondition(lambda self: symlinks)
        @rule(path=links, size=strategies.sampled_from((1, 60, 300)))
        def symlink(self, path: bytes, size: int) -> None:
            self.do(Operation(Kind.SYMLINK, path, b"t" * size))

        @rule()
        def sync(self) -> None:
            holder[0].vfs.sync()

        @rule()
        def look(self) -> None:
            assert holder[0].tree() == self.model.tree()

        @rule()
        def mount_anew(self) -> None:
            holder[0] = reopen(holder[0])
            assert holder[0].tree() == self.model.tree()

        def teardown(self) -> None:
            assert holder[0].tree() == self.model.tree()

    return Machine
