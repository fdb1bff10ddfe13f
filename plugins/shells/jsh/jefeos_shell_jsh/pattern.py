"""Shell patterns: ``*``, ``?`` and ``[...]`` (POSIX.1-2017, Shell Command Language, 2.13). Pure.

A pattern is compiled to a list of steps, one for each byte it wants: a set of bytes, or `STAR`. Matching goes back
only to the last star, so that it takes time proportional to pattern times text at worst, whatever the pattern.
Bytes, not characters: ``?`` is one byte, as in dash.
"""

from __future__ import annotations

from collections.abc import Iterable

STAR = None
Step = frozenset[int] | None
Pattern = list[Step]
# Bytes with the mark whether they were quoted (and so stand for themselves).
Marked = list[tuple[int, bool]]

ANY = frozenset(range(256))
_CLASSES = {
    b"alpha": frozenset(range(65, 91)) | frozenset(range(97, 123)),
    b"digit": frozenset(range(48, 58)),
    b"alnum": frozenset(range(48, 58)) | frozenset(range(65, 91)) | frozenset(range(97, 123)),
    b"upper": frozenset(range(65, 91)),
    b"lower": frozenset(range(97, 123)),
    b"space": frozenset(b" \t\n\v\f\r"),
    b"blank": frozenset(b" \t"),
    b"punct": frozenset(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    b"print": frozenset(range(32, 127)),
    b"graph": frozenset(range(33, 127)),
    b"cntrl": frozenset(range(32)) | {127},
    b"xdigit": frozenset(b"0123456789abcdefABCDEF"),
}
_SINGLE = [frozenset([byte]) for byte in range(256)]
MAGIC = frozenset(b"*?[")


def mark(chunks: Iterable[tuple[bytes, bool]]) -> Marked:
    """Bytes of (text, quoted) chunks, each with its mark."""
    return [(byte, quoted) for text, quoted in chunks for byte in text]


def has_magic(marked: Marked) -> bool:
    """Whether anything in it is not taken literally."""
    return any(not quoted and byte in MAGIC for byte, quoted in marked)


def compile_pattern(marked: Marked) -> Pattern:
    """Compile; a ``[`` without its ``]`` stands for itself."""
    pattern: Pattern = []
    position = 0
    while position < len(marked):
        byte, quoted = marked[position]
        position += 1
        if quoted or byte not in MAGIC:
            pattern.append(_SINGLE[byte])
        elif byte == ord("*"):
            if not pattern or pattern[-1] is not STAR:
                pattern.append(STAR)
        elif byte == ord("?"):
            pattern.append(ANY)
        else:
            bracket = _bracket(marked, position)
            if bracket is None:
                pattern.append(_SINGLE[byte])
            else:
                accepted, position = bracket
                pattern.append(accepted)
    return pattern


def _bracket(marked: Marked, position: int) -> tuple[frozenset[int], int] | None:
    """The set after a ``[``, and where it ends."""
    end = len(marked)
    inverted = position < end and marked[position] in ((ord("!"), False), (ord("^"), False))
    if inverted:
        position += 1
    accepted: set[int] = set()
    first = True
    while position < end:
        byte, quoted = marked[position]
        if byte == ord("]") and not quoted and not first:
            return (ANY - accepted if inverted else frozenset(accepted)), position + 1
        first = False
        if (
            byte == ord("[")
            and not quoted
            and position + 1 < end
            and marked[position + 1] == (ord(":"), False)
        ):
            close = _find(marked, b":]", position + 2)
            name = bytes(item[0] for item in marked[position + 2 : close]) if close > 0 else b""
            if name in _CLASSES:
                accepted |= _CLASSES[name]
                position = close + 2
                continue
        if position + 2 < end and marked[position + 1] == (ord("-"), False):
            last, last_quoted = marked[position + 2]
            if last != ord("]") or last_quoted:
                accepted |= set(range(byte, last + 1))
                position += 3
                continue
        accepted.add(byte)
        position += 1
    return None


def _find(marked: Marked, wanted: bytes, start: int) -> int:
    for position in range(start, len(marked) - len(wanted) + 1):
        if all(marked[position + offset] == (byte, False) for offset, byte in enumerate(wanted)):
            return position
    return -1


def matches(pattern: Pattern, text: bytes) -> bool:
    """Whether the whole text fits the pattern."""
    at = position = 0
    star = -1
    star_position = 0
    while position < len(text):
        if at < len(pattern):
            step = pattern[at]
            if step is STAR:
                star, star_position = at, position
                at += 1
                continue
            if text[position] in step:
                at += 1
                position += 1
                continue
        if star < 0:
            return False
        star_position += 1
        position = star_position
        at = star + 1
    while at < len(pattern) and pattern[at] is STAR:
        at += 1
    return at == len(pattern)
