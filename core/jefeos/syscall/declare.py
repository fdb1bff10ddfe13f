"""Declaring a system call: once, with its typed signature.

    @syscall("lseek")
    def lseek(task: Task, fd: Fd, offset: Long, whence: Int) -> MaybeAwait[int]:
        ...

From that one declaration the dispatcher's decoder, the strace-style trace, the documentation and the coverage
figures are derived. A handler returns a non-negative int, raises `KernelError`, or returns a coroutine (it is an
``async def``, or hands on a `MaybeAwait`) that does one of the two.

The decoder is compiled at the first call of each system call, since a personality declares hundreds and a
program uses dozens.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from attrs import define, field, frozen

from jefeos.errors import UsageError
from jefeos.syscall.types import ArgumentKind

Handler = Callable[..., Any]
Entry = Callable[[Any, int, int, int, int, int, int], Any]
"""A compiled decoder: ``entry(task, a0, a1, a2, a3, a4, a5)``; raw registers in, the handler's result out."""

MAX_ARGUMENTS: Final = 6


@frozen
class Argument:
    """One declared argument: its name and kind."""

    name: str
    kind: ArgumentKind


@define(eq=False)
class SyscallDeclaration:
    """A system call's name, handler and typed arguments."""

    name: str
    handler: Handler
    _arguments: tuple[Argument, ...] | None = field(default=None, init=False)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments after ``task``, in register order. Raises UsageError for a malformed declaration."""
        if self._arguments is None:
            self._arguments = self._read_signature()
        return self._arguments

    @property
    def summary(self) -> str:
        """First line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    def compile(self) -> Entry:
        """Build the decoder. Its source is a single expression, so that nothing is paid for generality."""
        names = [f"a{index}" for index in range(MAX_ARGUMENTS)]
        decoded = ", ".join(
            ["task", *(argument.kind.decode(name) for argument, name in zip(self.arguments, names, strict=False))]
        )
        source = f"lambda task, {', '.join(names)}: handler({decoded})"
        return typing.cast(Entry, eval(source, {"handler": self.handler}))  # source is built from our own kinds

    def _read_signature(self) -> tuple[Argument, ...]:
        arguments = []
        parameters = list(inspect.signature(self.handler).parameters.items())
        if not parameters:
            raise UsageError(f"system call {self.name}: its handler must take the task first")
        for name, parameter in parameters[1:]:
            hint = parameter.annotation
            if isinstance(hint, str):
                try:
                    hint = eval(hint, self.handler.__globals__)  # our own source, as typing.get_type_hints does
                except NameError as error:
                    raise UsageError(f"system call {self.name}: argument {name}: {error}") from None
            kinds = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, ArgumentKind)]
            if len(kinds) != 1:
                raise UsageError(f"system call {self.name}: argument {name} has no type of jefeos.syscall.types")
            arguments.append(Argument(name, kinds[0]))
        if len(arguments) > MAX_ARGUMENTS:
            raise UsageError(f"system call {self.name}: more than {MAX_ARGUMENTS} arguments")
        return tuple(arguments)


def syscall(name: str) -> Callable[[Handler], Handler]:
    """Mark a function as the handler of the system call ``name``."""

    def mark(handler: Handler) -> Handler:
        handler.__syscall__ = SyscallDeclaration(name, handler)  # type: ignore[attr-defined]
        return handler

    return mark


def declarations(module: ModuleType) -> list[SyscallDeclaration]:
    """Every system call that ``module`` itself declares."""
    return [
        value.__syscall__
        for value in vars(module).values()
        if hasattr(value, "__syscall__") and getattr(value, "__module__", None) == module.__name__
    ]
