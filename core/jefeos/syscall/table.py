"""The system-call table: number to decoder, for each personality.

A personality fills one `SyscallTable` at boot (``jefeos_register_syscalls`` lets plugins add to it); after that
the dispatcher indexes a plain list. A number without a handler answers ENOSYS and is counted, so that
``--stats`` can say what a program missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from jefeos.errors import Errno, PluginError
from jefeos.syscall.declare import Entry, Handler, SyscallDeclaration

if TYPE_CHECKING:
    from jefeos.proc.task import Task

TABLE_SIZE: Final = 1024
"""Numbers 0 … 1023; anything above answers ENOSYS."""


class Screen(Protocol):
    """What stands before the table for a thread whose calls are filtered (seccomp).

    The dispatcher indexes it as it would index ``entries``, with any number. Nobody pays for it who has none.
    """

    mode: int
    """What /proc/PID/status says: 1 strict, 2 filtered."""
    filters: int
    """How many filters are in it."""

    def __getitem__(self, number: int) -> Entry:
        """The decoder to be called instead of the one in the table."""
        ...

    def for_child(self, child: Task) -> Screen:
        """The screen of a thread that this one's thread has made."""
        ...


class SyscallTable:
    """Numbers, declarations and compiled entries of one personality.

    ``entries`` is what the dispatcher indexes; it is one list object for the table's whole life, so that it can
    be kept in a local name.
    """

    def __init__(self, personality: str, names: Mapping[str, int]) -> None:
        self.personality = personality
        self.numbers = dict(names)
        self.declared: dict[int, SyscallDeclaration] = {}
        self.unknown: Counter[int] = Counter()
        self.entries: list[Entry] = [self._unknown_entry(number) for number in range(TABLE_SIZE)]

    def add(
        self, call: SyscallDeclaration | Handler, number: int | None = None, *, replace: bool = False
    ) -> None:
        """Bind a declaration (or a function marked with ``@syscall``) to its number.

        The number is looked up by name unless given. Raises PluginError for an unknown name without a number,
        a number outside the table, or one that is taken (unless ``replace``).
        """
        declaration = call if isinstance(call, SyscallDeclaration) else getattr(call, "__syscall__", None)
        if not isinstance(declaration, SyscallDeclaration):
            raise PluginError(f"{call!r} is not a system call: mark it with @syscall(name)")
        number = self.numbers.get(declaration.name) if number is None else number
        if number is None:
            raise PluginError(
                f"system call {declaration.name}: {self.personality} has no number for it; pass number="
            )
        if not 0 <= number < TABLE_SIZE:
            raise PluginError(f"system call {declaration.name}: number {number} is not in 0..{TABLE_SIZE - 1}")
        if number in self.declared and not replace:
            raise PluginError(
                f"system call number {number}: {declaration.name} clashes with {self.declared[number].name};"
                " pass replace=True to take it over"
            )
        self.numbers[declaration.name] = number
        self.declared[number] = declaration
        self.entries[number] = self._first_call_entry(number, declaration)

    def add_all(self, declared: Iterable[SyscallDeclaration]) -> None:
        """Bind many by name."""
        for declaration in declared:
            self.add(declaration)

    def name(self, number: int) -> str:
        """The name of a number, from its declaration or the personality's list; ``syscall_N`` otherwise."""
        if number in self.declared:
            return self.declared[number].name
        for name, known in self.numbers.items():
            if known == number:
                return name
        return f"syscall_{number}"

    def count_unknown(self, number: int) -> int:
        """Count a call that has no handler; gives the -ENOSYS that it answers."""
        if number in self.unknown or len(self.unknown) < TABLE_SIZE:
            self.unknown[number] += 1
        return -Errno.ENOSYS

    def _unknown_entry(self, number: int) -> Entry:
        return lambda task, *_: self.count_unknown(number)

    def _first_call_entry(self, number: int, declaration: SyscallDeclaration) -> Entry:
        def first_call(task: Any, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int) -> Any:
            entry = self.entries[number] = declaration.compile()
            return entry(task, a0, a1, a2, a3, a4, a5)

        return first_call
