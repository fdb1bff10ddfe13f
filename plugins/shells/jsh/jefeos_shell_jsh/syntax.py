"""The shape of a jsh program: words made of parts, and commands made of words.

::

    a=1 echo "x$HOME"* 2>/dev/null | wc -l && date &

    Item(background)
      AndOr
        Pipeline [ Simple(assignments=[a=1], words=[echo, "x$HOME"*], redirections=[2>...]), Simple(wc -l) ]
        && Pipeline [ Simple(date) ]

Everything is bytes: a shell passes on what it was given, whatever its encoding. A `Word` keeps what was quoted
apart from what was not until the last step of its expansion, since quoting decides about splitting and patterns.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen


class ShellSyntaxError(Exception):
    """The text is no program. ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: syntax error: {message}")
        self.line = line


class IncompleteInput(ShellSyntaxError):
    """The text could become a program if more lines followed (an open quote, a trailing ``|``)."""


@frozen
class Text:
    """Literal bytes. ``quoted``: not a pattern, not a tilde, and there even when empty."""

    text: bytes
    quoted: bool = False


@frozen
class Parameter:
    """``$name``, ``${name}`` or ``${name<operator>argument}``; operator ``length`` is ``${#name}``."""

    name: bytes
    operator: bytes = b""
    argument: Word | None = None
    quoted: bool = False


@frozen
class Substitution:
    """``$(script)``: the output of a script in place of it."""

    script: bytes
    quoted: bool = False


Part: TypeAlias = Text | Parameter | Substitution
Word: TypeAlias = tuple[Part, ...]


@frozen
class Assignment:
    """``name=value`` before (or instead of) a command."""

    name: bytes
    value: Word


@frozen
class Redirection:
    """``descriptor operator target``: operators are ``<`` ``>`` ``>>`` ``<>`` ``>|`` ``<&`` ``>&``."""

    descriptor: int
    operator: bytes
    target: Word


@frozen
class Simple:
    """A command with its arguments. Without words, its assignments are the shell's own."""

    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]
    line: int = 0


@frozen
class Pipeline:
    """Commands joined by pipes; the status is the last one's, turned round by a leading ``!``."""

    commands: tuple[Simple, ...]
    negated: bool = False


@frozen
class AndOr:
    """Pipelines joined by ``&&`` and ``||``, evaluated from the left."""

    first: Pipeline
    rest: tuple[tuple[bytes, Pipeline], ...] = ()


@frozen
class Item:
    """One entry of a list; ``background`` if ``&`` ends it. ``source`` is its text, for messages about jobs."""

    commands: AndOr
    background: bool = False
    source: bytes = b""


Program: TypeAlias = tuple[Item, ...]
