"""The descriptor table against a plain model: lowest free number, limits, close-on-exec, references."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from jefeos.errors import Errno, KernelError
from jefeos.proc.files import FdTable

LIMIT = 12


class FakeFile:
    """Counts its references; can be made to fail when it is released."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.references = 1
        self.failure = failure
        self.inode = SimpleNamespace(locks=None)

    def ref(self) -> FakeFile:
        self.references += 1
        return self

    def unref(self) -> None:
        self.references -= 1
        assert self.references >= 0
        if self.references == 0 and self.failure is not None:
            raise self.failure


def new(failure: Exception | None = None) -> Any:
    return FakeFile(failure)


class TableMachine(RuleBasedStateMachine):
    """Two tables (a process and its fork) and, for each, the dictionary that it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = [FdTable(LIMIT)]
        self.models: list[dict[int, tuple[Any, bool]]] = [{}]
        self.files: list[Any] = []

    def choose(self, index: int) -> tuple[FdTable, dict[int, tuple[Any, bool]]]:
        return self.tables[index % len(self.tables)], self.models[index % len(self.models)]

    @rule(which=st.integers(0, 1), minimum=st.integers(0, LIMIT + 1), cloexec=st.booleans())
    def install(self, which: int, minimum: int, cloexec: bool) -> None:
        table, model = self.choose(which)
        file = new()
        lowest = next(number for number in range(minimum, 100) if number not in model)
        if lowest >= LIMIT:
            with pytest.raises(KernelError) as error:
                table.install(file, minimum, cloexec=cloexec)
            assert error.value.errno == Errno.EMFILE
            assert file.references == 1
            return
        assert table.install(file, minimum, cloexec=cloexec) == lowest
        model[lowest] = (file, cloexec)
        self.files.append(file)

    @rule(which=st.integers(0, 1), fd=st.integers(-1, LIMIT), cloexec=st.booleans())
    def install_at(self, which: int, fd: int, cloexec: bool) -> None:
        table, model = self.choose(which)
        file = new()
        if not 0 <= fd < LIMIT:
            with pytest.raises(KernelError):
                table.install_at(fd, file)
            return
        table.install_at(fd, file, cloexec=cloexec)
        model[fd] = (file, cloexec)
        self.files.append(file)

    @rule(which=st.integers(0, 1), fd=st.integers(0, LIMIT))
    def close(self, which: int, fd: int) -> None:
        table, model = self.choose(which)
        if fd not in model:
            with pytest.raises(KernelError) as error:
                table.close(fd)
            assert error.value.errno == Errno.EBADF
        else:
            assert table.close(fd) is model.pop(fd)[0]

    @rule(which=st.integers(0, 1), fd=st.integers(0, LIMIT - 1), on=st.booleans())
    def set_cloexec(self, which: int, fd: int, on: bool) -> None:
        table, model = self.choose(which)
        if fd in model:
            table.set_cloexec(fd, on)
            model[fd] = (model[fd][0], on)
        else:
            with pytest.raises(KernelError):
                table.set_cloexec(fd, on)

    @rule(which=st.integers(0, 1))
    def execute(self, which: int) -> None:
        table, model = self.choose(which)
        table.close_on_exec()
        for fd in [fd for fd, (_, cloexec) in model.items() if cloexec]:
            del model[fd]

    @rule()
    def fork_or_exit(self) -> None:
        if len(self.tables) == 1:
            self.tables.append(self.tables[0].copy())
            self.models.append(dict(self.models[0]))
        else:
            self.tables.pop().leave()
            self.models.pop()

    @invariant()
    def same_as_the_model(self) -> None:
        for table, model in zip(self.tables, self.models, strict=True):
            assert list(table.items()) == [(fd, model[fd][0]) for fd in sorted(model)]
            assert table.cloexec == {fd for fd, (_, cloexec) in model.items() if cloexec}
            assert len(table) == len(model)
        for file in self.files:
            assert file.references == sum(file is held for model in self.models for held, _ in model.values())


class TestTableModel(TableMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_shared_table_closes_with_its_last_user() -> None:
    table, file = FdTable(), new()
    table.install(file)
    assert table.share() is table
    table.leave()
    assert (file.references, 0 in table) == (1, True)
    table.leave()
    assert (file.references, len(table)) == (0, 0)


def test_a_lower_limit_keeps_what_is_open() -> None:
    table = FdTable()
    for _ in range(5):
        table.install(new())
    table.limit = 3
    assert len(table) == 5
    table.close(4)
    with pytest.raises(KernelError):
        table.install(new())
    table.close(1)
    assert table.install(new()) == 1


@pytest.mark.parametrize("leave", [FdTable.leave, FdTable.close_on_exec])
def test_a_file_that_fails_to_close_does_not_keep_others_open(leave: Any) -> None:
    table = FdTable()
    files = [new(), new(KernelError(Errno.EIO)), new()]
    for file in files:
        table.install(file, cloexec=True)
    leave(table)
    assert [file.references for file in files] == [0, 0, 0]
    assert len(table) == 0


def test_a_bug_in_one_release_is_reported_after_all_are_closed() -> None:
    table = FdTable()
    files = [new(ZeroDivisionError()), new()]
    for file in files:
        table.install(file)
    with pytest.raises(ZeroDivisionError):
        table.leave()
    assert [file.references for file in files] == [0, 0]
