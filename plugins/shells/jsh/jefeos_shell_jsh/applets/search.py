"""grep, and POSIX regular expressions in terms of the standard library's."""

from __future__ import annotations

import re

from jefeos.errors import KernelError
from jefeos.proc.applet import Proc

from ..messages import shown
from .common import Inputs, Lines, UsageFailure, checked, fail, options


@checked
async def grep(proc: Proc, argv: list[bytes]) -> int:
    """``grep [-EFcilnqvhH] pattern [file...]``: 0 if a line fits, 1 if none does, 2 for an error."""
    found, words = options(argv, b"EFGcilnqvhHs", b"e")
    if "e" not in found and not words:
        raise UsageFailure("needs a pattern")
    text = found["e"] if "e" in found else words.pop(0)
    expression = _expression(text, found)
    failed: list[bytes] = []
    named = ("H" in found or len(words) > 1) and "h" not in found
    matched = False
    async for path, descriptor in Inputs(proc, argv[0], words, failed):
        label = b"(standard input)" if path == b"-" else path
        prefix = label + b":" if named else b""
        count = line_number = 0
        try:
            async for line in Lines(proc, descriptor):
                line_number += 1
                content = line.removesuffix(b"\n")
                if (expression.search(content) is None) != ("v" in found):
                    continue
                count += 1
                if "q" in found:
                    return 0
                if "l" in found:
                    break
                if "c" not in found:
                    numbered = b"%d:" % line_number if "n" in found else b""
                    await proc.write(1, prefix + numbered + content + b"\n")
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
        if "l" in found and count:
            await proc.write(1, label + b"\n")
        elif "c" in found:
            await proc.write(1, prefix + b"%d\n" % count)
        matched = matched or count > 0
    return 2 if failed else int(not matched)


def _expression(text: bytes, found: dict[str, bytes]) -> re.Pattern[bytes]:
    """A POSIX expression in the standard library's syntax. Basic ones turn ``\\(`` and ``(`` round."""
    if "F" in found:
        text = b"|".join(re.escape(part) for part in text.split(b"\n"))
    else:
        text = translate_expression(text, extended="E" in found)
    try:
        return re.compile(text, re.IGNORECASE if "i" in found else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageFailure(f"bad pattern: {error}") from None


def translate_expression(text: bytes, *, extended: bool) -> bytes:
    """Basic or extended regular expression (POSIX.1-2017, XBD 9) to Python's."""
    swapped = b"(){}|+?"
    result = bytearray()
    position = 0
    while position < len(text):
        byte = text[position : position + 1]
        if byte == b"[":
            end = _bracket_end(text, position)
            result += _bracket_text(text[position:end])
            position = end
            continue
        if byte == b"\\" and position + 1 < len(text):
            following = text[position + 1 : position + 2]
            if following in swapped and not extended:
                result += following
            elif following in b"<>":
                result += rb"\b"
            elif following.isalnum():
                result += b"\\" + following if following in b"bBwWsS123456789" else following
            else:
                result += b"\\" + following
            position += 2
            continue
        starts = position == 0 or result.endswith((b"(", b"|", b"^"))
        if byte == b"*" and starts:
            result += b"\\*"
        elif byte in swapped and not extended:
            result += b"\\" + byte
        elif (
            byte == b"^" and not extended and position > 0 and not text[:position].endswith((b"\\(", b"\\|"))
        ):
            result += b"\\^"
        elif byte == b"$" and not extended and position < len(text) - 1 and text[position + 1 : position + 3] not in (
            b"\\)", b"\\|",
        ):  # fmt: skip
            result += b"\\$"
        else:
            result += byte
        position += 1
    return bytes(result)


def _bracket_end(text: bytes, start: int) -> int:
    position = start + 1
    if text[position : position + 1] == b"^":
        position += 1
    if text[position : position + 1] == b"]":
        position += 1
    while position < len(text) and text[position] != ord("]"):
        if text.startswith(b"[:", position):
            close = text.find(b":]", position)
            position = close + 1 if close > 0 else position
        position += 1
    if position >= len(text):
        raise UsageFailure("bad pattern: a [ has no ]")
    return position + 1


_CLASS_TEXTS = {
    b"alpha": rb"a-zA-Z", b"digit": rb"0-9", b"alnum": rb"a-zA-Z0-9", b"upper": rb"A-Z", b"lower": rb"a-z",
    b"space": rb"\s", b"blank": rb" \t", b"xdigit": rb"0-9a-fA-F", b"punct": rb"!-/:-@\[-`{-~",
    b"print": rb" -~", b"graph": rb"!-~", b"cntrl": rb"\x00-\x1f\x7f",
}  # fmt: skip


def _bracket_text(bracket: bytes) -> bytes:
    inverted = bracket[1:2] == b"^"
    body = bracket[1 + inverted : -1]
    result = b""
    while body:
        if body[:2] == b"[:":
            name, _, body = body[2:].partition(b":]")
            if name not in _CLASS_TEXTS:
                raise UsageFailure(f"bad pattern: no class {shown(name)}")
            result += _CLASS_TEXTS[name]
            continue
        result += b"\\" + body[:1] if body[:1] in b"\\[]^&~|" else body[:1]
        body = body[1:]
    return b"[" + (b"^" if inverted else b"") + result + b"]"
