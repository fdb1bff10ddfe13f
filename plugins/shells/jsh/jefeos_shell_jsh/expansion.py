"""From words to fields: parameters, substitutions, splitting, file names, quote removal.

Follows POSIX.1-2017, Shell Command Language, 2.6, in its order::

    word --> fragments (text; quoted? split?) --> fields of (text, quoted) chunks --> patterns --> bytes

Sans-I/O: the functions are generators. Where they need the world they yield a request and are sent its answer:
`RunScript` (the output of a script, bytes) and `ListFolder` (the names in a folder; none if it cannot be read).
The caller (`shell`, or a test) decides how that happens.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from . import pattern
from .syntax import Parameter, Substitution, Text, Word

DEFAULT_IFS = b" \t\n"
IFS_WHITESPACE = b" \t\n"

Chunk = tuple[bytes, bool]  # text, quoted
Field = list[Chunk]


@frozen
class RunScript:
    """Run a script and answer with what it wrote to standard output."""

    script: bytes


@frozen
class ListFolder:
    """List a folder (``b""``: the working directory) and answer with its names."""

    path: bytes


Request: TypeAlias = RunScript | ListFolder
Expanding: TypeAlias = Generator[Request, Any, "list[bytes]"]
ExpandingText: TypeAlias = Generator[Request, Any, bytes]


class ExpansionError(Exception):
    """``${name:?message}`` of a missing parameter, or a bad assignment in an expansion."""


class Variables(Protocol):
    """What expansion asks of the shell's state."""

    positional: list[bytes]

    def get(self, name: bytes) -> bytes | None:
        """A variable or special parameter (``? $ ! # -`` and digits); None if it is not set."""
        ...

    def set(self, name: bytes, value: bytes) -> None: ...


@frozen
class _Fragment:
    text: bytes
    quoted: bool = False
    split: bool = False  # subject to field splitting
    breaks: bool = False  # a border between fields, whatever IFS is ("$@")


_BREAK = _Fragment(b"", breaks=True)


def expand_fields(words: Iterable[Word], variables: Variables) -> Expanding:
    """All expansions: the fields that a command gets as arguments."""
    result: list[bytes] = []
    for word in words:
        if len(word) == 1 and isinstance(word[0], Text) and not word[0].quoted and not _special(word[0].text):
            result.append(word[0].text)  # the common case
            continue
        fragments = yield from _fragments(word, variables)
        for chunks in split_fields(fragments, variables.get(b"IFS")):
            result += yield from expand_names(chunks)
    return result


def expand_text(word: Word, variables: Variables) -> ExpandingText:
    """Expansion without splitting and file names: values of assignments and targets of redirections."""
    fragments = yield from _fragments(word, variables)
    return _joined(fragments)


def expand_pattern(word: Word, variables: Variables) -> Generator[Request, Any, pattern.Pattern]:
    """Expansion of a word that is a pattern (``${name%pattern}``)."""
    fragments = yield from _fragments(word, variables)
    return pattern.compile_pattern(pattern.mark((item.text, item.quoted) for item in fragments))


def _special(text: bytes) -> bool:
    return text[:1] == b"~" or any(byte in pattern.MAGIC for byte in text)


def _joined(fragments: list[_Fragment]) -> bytes:
    return b"".join(b" " if item.breaks else item.text for item in fragments)


# --- parameters ------------------------------------------------------------------------------------------------


def _fragments(word: Word, variables: Variables) -> Generator[Request, Any, list[_Fragment]]:
    fragments: list[_Fragment] = []
    for index, part in enumerate(word):
        if isinstance(part, Text):
            text = part.text
            if index == 0 and not part.quoted and text[:1] == b"~":
                is_whole = len(word) == 1 or b"/" in text
                fragments += _tilde(text, variables) if is_whole else [_Fragment(text)]
            else:
                fragments.append(_Fragment(text, part.quoted))
        elif isinstance(part, Substitution):
            output = yield RunScript(part.script)
            output = output.rstrip(b"\n").replace(b"\x00", b"")
            fragments.append(_Fragment(output, part.quoted, split=not part.quoted))
        else:
            fragments += yield from _parameter(part, variables)
    return fragments


def _tilde(text: bytes, variables: Variables) -> list[_Fragment]:
    """``~`` and ``~/...`` are the home directory; other users' homes are not known here."""
    head, slash, rest = text.partition(b"/")
    home = variables.get(b"HOME")
    if head != b"~" or home is None:
        return [_Fragment(text)]
    return [_Fragment(home, quoted=True), _Fragment(slash + rest)]


def _parameter(part: Parameter, variables: Variables) -> Generator[Request, Any, list[_Fragment]]:
    name, operator, quoted = part.name, part.operator, part.quoted
    if name in (b"@", b"*") and not operator:
        return _all_positional(name, quoted, variables)
    value = b" ".join(variables.positional) if name in (b"@", b"*") else variables.get(name)
    if operator == b"length":
        count = len(variables.positional) if name in (b"@", b"*") else len(value or b"")
        return [_Fragment(b"%d" % count, quoted, split=not quoted)]
    missing = value is None or (operator.startswith(b":") and not value)
    argument = part.argument or ()
    if operator in (b"-", b":-"):
        if missing:
            return _as_expanded((yield from _fragments(argument, variables)), quoted)
    elif operator in (b"=", b":="):
        if missing:
            if not name[:1].isalpha() and name[:1] != b"_":
                raise ExpansionError(f"{name.decode('latin-1')}: cannot be assigned to")
            value = yield from expand_text(argument, variables)
            variables.set(name, value)
    elif operator in (b"?", b":?"):
        if missing:
            message = yield from expand_text(argument, variables)
            shown = message.decode("utf-8", "replace") or "parameter not set"
            raise ExpansionError(f"{name.decode('latin-1')}: {shown}")
    elif operator in (b"+", b":+"):
        if missing:
            return [_Fragment(b"", quoted, split=not quoted)]
        return _as_expanded((yield from _fragments(argument, variables)), quoted)
    elif operator:
        trimmed = yield from expand_pattern(argument, variables)
        value = trim(value or b"", operator, trimmed)
    return [_Fragment(value or b"", quoted, split=not quoted)]


def _as_expanded(fragments: list[_Fragment], quoted: bool) -> list[_Fragment]:
    """The argument of an operator in place of its parameter: its unquoted text is split like a value."""
    if quoted:
        return fragments or [_Fragment(b"", quoted=True)]
    return [
        item if item.quoted or item.breaks else _Fragment(item.text, split=True) for item in fragments
    ] or [_Fragment(b"", split=True)]


def _all_positional(name: bytes, quoted: bool, variables: Variables) -> list[_Fragment]:
    positional = variables.positional
    if quoted and name == b"*":
        separators = variables.get(b"IFS")
        joint = b" " if separators is None else separators[:1]
        return [_Fragment(joint.join(positional), quoted=True)]
    fragments: list[_Fragment] = []
    for index, value in enumerate(positional):
        if index:
            fragments.append(_BREAK)
        fragments.append(_Fragment(value, quoted, split=not quoted))
    return fragments


def trim(value: bytes, operator: bytes, trimmed: pattern.Pattern) -> bytes:
    """``%`` and ``%%`` take the smallest and the largest fitting end off, ``#`` and ``##`` the beginning."""
    lengths = range(len(value) + 1)
    for length in lengths if len(operator) == 1 else reversed(lengths):
        if operator[:1] == b"%":
            if pattern.matches(trimmed, value[len(value) - length :]):
                return value[: len(value) - length]
        elif pattern.matches(trimmed, value[:length]):
            return value[length:]
    return value


# --- splitting -------------------------------------------------------------------------------------------------


def split_fields(fragments: Iterable[_Fragment], separators: bytes | None) -> list[Field]:
    """Split what expansions gave at IFS. White space of IFS in a row is one separator and vanishes at the ends;
    any other byte of it ends a field, even an empty one."""
    ifs = DEFAULT_IFS if separators is None else separators
    fields: list[Field] = []
    current: Field | None = None
    after_space = False  # white space has just ended a field: a separator that follows belongs to it
    for item in fragments:
        if item.breaks:
            if current is not None:
                fields.append(current)
            current = None
            after_space = False
        elif not item.split:
            if item.text or item.quoted:
                current = [] if current is None else current
                current.append((item.text, item.quoted))
                after_space = False
        else:
            plain = bytearray()
            for byte in item.text:
                if byte not in ifs:
                    plain.append(byte)
                    continue
                if plain:
                    current = [] if current is None else current
                    current.append((bytes(plain), False))
                    plain.clear()
                    after_space = False
                if byte in IFS_WHITESPACE:
                    if current is not None:
                        fields.append(current)
                        current = None
                        after_space = True
                elif current is not None or not after_space:
                    fields.append(current or [])
                    current = None
                    after_space = False
                else:
                    after_space = False
            if plain:
                current = [] if current is None else current
                current.append((bytes(plain), False))
                after_space = False
    if current is not None:
        fields.append(current)
    return fields


def split_for_read(line: bytes, count: int, separators: bytes | None, *, raw: bool) -> list[bytes]:
    """Split a line for ``read`` with ``count`` names: the last one gets what is left, separators and all.

    Unless ``raw``, a backslash keeps the byte after it from being a separator, and goes.
    """
    ifs = frozenset(DEFAULT_IFS if separators is None else separators)
    rest = list(line) if raw else _without_backslashes(line)

    space = ifs & frozenset(IFS_WHITESPACE)

    def skip(position: int) -> int:
        while position < len(rest) and rest[position] in space:
            position += 1
        return position

    fields: list[list[int]] = []
    position = skip(0)
    while len(fields) < count - 1 and position < len(rest):
        end = next((index for index in range(position, len(rest)) if rest[index] in ifs), len(rest))
        fields.append(rest[position:end])
        position = skip(end)
        if position < len(rest) and rest[position] in ifs:
            position = skip(position + 1)
    last = _stripped_end(rest[position:], space)
    if last and last[-1] in ifs and not any(byte in ifs for byte in last[:-1]):
        last = _stripped_end(last[:-1], space)  # a separator that only ends the last field
    return [bytes(byte & 255 for byte in field) for field in [*fields, last]]


def _without_backslashes(line: bytes) -> list[int]:
    """The bytes of a line, those after a backslash raised above 255, where no separator is."""
    result: list[int] = []
    position = 0
    while position < len(line):
        if line[position] == ord("\\") and position + 1 < len(line):
            position += 1
            result.append(line[position] + 256)
        else:
            result.append(line[position])
        position += 1
    return result


def _stripped_end(field: list[int], space: frozenset[int]) -> list[int]:
    end = len(field)
    while end and field[end - 1] in space:
        end -= 1
    return field[:end]


# --- file names ------------------------------------------------------------------------------------------------


def expand_names(field: Field) -> Expanding:
    """The files that a field fits, sorted; the field itself if it is no pattern or fits none."""
    marked = pattern.mark(field)
    literal = bytes(byte for byte, _ in marked)
    if not pattern.has_magic(marked):
        return [literal]
    components: list[pattern.Marked] = [[]]
    for byte, quoted in marked:
        if byte == ord("/"):
            components.append([])
        else:
            components[-1].append((byte, quoted))
    found = yield from _walk(b"", components)
    return sorted(found) or [literal]


def _walk(prefix: bytes, components: list[pattern.Marked]) -> Expanding:
    """Paths below ``prefix`` that fit the components."""
    component, rest = components[0], components[1:]
    if not pattern.has_magic(component):
        # Literal components are joined up to the next pattern; whether they exist shows when that is listed.
        path = prefix + bytes(byte for byte, _ in component)
        if rest:
            return (yield from _walk(path + b"/", rest))
        folder, _, name = path.rpartition(b"/")
        names = yield ListFolder(folder + b"/" if b"/" in path else b"")
        return [path] if name in names or name in (b"", b".", b"..") and names else []
    compiled = pattern.compile_pattern(component)
    wants_hidden = component[0][0] == ord(".")
    result: list[bytes] = []
    names = yield ListFolder(prefix)
    for name in names:
        if (name[:1] != b"." or wants_hidden) and pattern.matches(compiled, name):
            if rest:
                result += yield from _walk(prefix + name + b"/", rest)
            else:
                result.append(prefix + name)
    return result
