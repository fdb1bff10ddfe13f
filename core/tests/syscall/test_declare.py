"""Declared system calls: decoding of each type, wrong declarations, and the table that holds them."""

from __future__ import annotations

import types
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jefeos.errors import Errno, KernelError, PluginError, UsageError
from jefeos.syscall import types as kinds
from jefeos.syscall.declare import declarations, syscall
from jefeos.syscall.table import TABLE_SIZE, SyscallTable
from jefeos.syscall.types import PATH_MAX, CStr, Fd, Flags, Int, Long, Mode, Path, Size, UInt, ULong, UserPtr

U64 = (1 << 64) - 1
ZEROS = (0,) * 6


def c_int(value: int, bits: int, signed: bool) -> int:
    """What C makes of a register."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


@syscall("everything")
def everything(task: Any, fd: Fd, i: Int, u: UInt, long: Long, ulong: ULong, size: Size) -> Any:
    """Decodes six numbers.

    More text."""
    return fd, i, u, long, ulong, size


@syscall("others")
def others(task: Any, pointer: UserPtr, flags: Flags, mode: Mode) -> Any:
    return pointer, flags, mode


@syscall("strings")
def strings(task: Any, path: Path, text: CStr) -> Any:
    return path, text


@syscall("nothing")
def nothing(task: Any) -> int:
    return 0


raw = st.one_of(st.integers(0, U64), st.sampled_from([0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, U64]))


@given(st.lists(raw, min_size=6, max_size=6))
def test_numbers_are_decoded_as_c_does(registers: list[int]) -> None:
    entry = everything.__syscall__.compile()  # type: ignore[attr-defined]
    shapes = [(32, True), (32, True), (32, False), (64, True), (64, False), (64, False)]
    assert entry(None, *registers) == tuple(
        c_int(value, *shape) for value, shape in zip(registers, shapes, strict=True)
    )
    entry = others.__syscall__.compile()  # type: ignore[attr-defined]
    shapes = [(64, False), (32, False), (32, False)]
    assert entry(None, *registers) == tuple(
        c_int(value, *shape) for value, shape in zip(registers, shapes, strict=False)
    )


def test_strings_are_read_before_the_handler_runs() -> None:
    reads = []

    def read_cstr(address: int, limit: int) -> bytes:
        reads.append((address, limit))
        if address == 0:
            raise KernelError(Errno.EFAULT)
        return b"at %d" % address

    task = SimpleNamespace(mm=SimpleNamespace(read_cstr=read_cstr))
    entry = strings.__syscall__.compile()  # type: ignore[attr-defined]
    assert entry(task, 5, 6, 0, 0, 0, 0) == (b"at 5", b"at 6")
    assert reads == [(5, PATH_MAX), (6, PATH_MAX)]
    with pytest.raises(KernelError) as error:
        entry(task, 5, 0, 0, 0, 0, 0)
    assert error.value.errno == Errno.EFAULT


def test_what_a_declaration_tells() -> None:
    declaration = everything.__syscall__  # type: ignore[attr-defined]
    assert [(argument.name, argument.kind.name) for argument in declaration.arguments] == [
        ("fd", "fd"),
        ("i", "int"),
        ("u", "uint"),
        ("long", "long"),
        ("ulong", "ulong"),
        ("size", "size"),
    ]
    assert declaration.summary == "Decodes six numbers."
    assert nothing.__syscall__.arguments == ()  # type: ignore[attr-defined]
    assert nothing.__syscall__.summary == ""  # type: ignore[attr-defined]


def test_the_declarations_of_a_module_are_its_own() -> None:
    module = types.ModuleType("module")
    namespace = {"syscall": syscall, "__name__": "module", "everything": everything}
    exec('@syscall("own")\ndef own(task): ...\nnumber = 7', namespace)
    vars(module).update(namespace)
    assert [declaration.name for declaration in declarations(module)] == ["own"]


def test_wrong_declarations_are_clear_errors() -> None:
    @syscall("untyped")
    def untyped(task: Any, fd) -> int:  # type: ignore[no-untyped-def]
        return 0

    @syscall("plain")
    def plain(task: Any, fd: int) -> int:
        return 0

    @syscall("misspelt")
    def misspelt(task: Any, fd: Fdd) -> int:  # type: ignore[name-defined]  # noqa: F821
        return 0

    @syscall("crowded")
    def crowded(task: Any, a: Int, b: Int, c: Int, d: Int, e: Int, f: Int, g: Int) -> int:
        return 0

    @syscall("taskless")
    def taskless() -> int:
        return 0

    expected = {
        untyped: "system call untyped: argument fd has no type of jefeos.syscall.types",
        plain: "system call plain: argument fd has no type of jefeos.syscall.types",
        misspelt: "system call misspelt: argument fd: name 'Fdd' is not defined",
        crowded: "system call crowded: more than 6 arguments",
        taskless: "system call taskless: its handler must take the task first",
    }
    for handler, message in expected.items():
        with pytest.raises(UsageError) as error:
            handler.__syscall__.compile()
        assert str(error.value) == message


# --- the table ----------------------------------------------------------------------------------------------------


@pytest.fixture
def table() -> SyscallTable:
    return SyscallTable("test", {"everything": 3, "nothing": 5, "unwritten": 9})


def test_binding_by_name_and_by_number(table: SyscallTable) -> None:
    entries = table.entries
    table.add(nothing)
    table.add(others, 700)
    assert table.entries is entries  # dispatchers keep the list
    assert entries[5](None, *ZEROS) == 0
    assert entries[700](None, 1, 2, 3, 0, 0, 0) == (1, 2, 3)
    assert [table.name(number) for number in (5, 700, 9, 10)] == ["nothing", "others", "unwritten", "syscall_10"]


def test_an_entry_is_compiled_at_its_first_call_only(table: SyscallTable) -> None:
    table.add(nothing)
    first = table.entries[5]
    first(None, *ZEROS)
    assert table.entries[5] is not first
    compiled = table.entries[5]
    compiled(None, *ZEROS)
    assert table.entries[5] is compiled


def test_what_cannot_be_added(table: SyscallTable) -> None:
    cases: list[tuple[Any, int | None, str]] = [
        (lambda task: 0, None, "is not a system call: mark it with @syscall"),
        (others, None, "system call others: test has no number for it; pass number="),
        (others, TABLE_SIZE, f"number {TABLE_SIZE} is not in 0..{TABLE_SIZE - 1}"),
        (others, -1, "number -1 is not in"),
    ]
    for call, number, message in cases:
        with pytest.raises(PluginError, match=message.replace("(", r"\(")):
            table.add(call, number)


def test_a_clash_is_an_error_unless_replaced(table: SyscallTable) -> None:
    table.add(nothing)
    with pytest.raises(PluginError, match="number 5: others clashes with nothing; pass replace=True"):
        table.add(others, 5)
    assert table.entries[5](None, *ZEROS) == 0
    table.add(others, 5, replace=True)
    assert table.entries[5](None, 1, 2, 3, 0, 0, 0) == (1, 2, 3)
    assert table.name(5) == "others"


def test_replacing_while_a_first_call_is_under_way(table: SyscallTable) -> None:
    """A handler that replaces itself is not put back by the call that runs it."""

    @syscall("nothing")
    def replaces(task: Any) -> int:
        table.add(others, 5, replace=True)
        return 1

    table.add(replaces)
    assert table.entries[5](None, *ZEROS) == 1
    assert table.entries[5](None, 1, 2, 3, 0, 0, 0) == (1, 2, 3)


def test_unknown_numbers_are_counted_within_bounds(table: SyscallTable) -> None:
    assert table.entries[10](None, *ZEROS) == -Errno.ENOSYS
    for number in range(5000, 5000 + 2 * TABLE_SIZE):  # a hostile program cannot fill the kernel's memory
        assert table.count_unknown(number) == -Errno.ENOSYS
    table.count_unknown(10)
    assert table.unknown[10] == 2
    assert len(table.unknown) == TABLE_SIZE


def test_every_kind_is_one_of_the_modules() -> None:
    found = {value.__metadata__[0].name for value in vars(kinds).values() if hasattr(value, "__metadata__")}
    expected = {"fd", "int", "uint", "flags", "mode", "long", "ulong", "size", "pointer", "string", "path"}
    assert found == expected
