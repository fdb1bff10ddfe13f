"""Applets that read and write text."""

from __future__ import annotations

import re

from jefeos.errors import KernelError
from jefeos.proc.applet import Proc

from ..messages import shown
from .common import Chunks, Inputs, Lines, checked, fail, number, options

ESCAPES = {
    ord("a"): b"\a", ord("b"): b"\b", ord("f"): b"\f", ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t",
    ord("v"): b"\v", ord("\\"): b"\\", ord("e"): b"\x1b",
}  # fmt: skip
LINES_DEFAULT = 10
HEXDUMP_ROW_BYTES = 16


@checked
async def cat(proc: Proc, argv: list[bytes]) -> int:
    """``cat [file...]``."""
    _, paths = options(argv, b"u")
    failed: list[bytes] = []
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        try:
            async for data in Chunks(proc, descriptor):
                await proc.write(1, data)
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
    return int(bool(failed))


async def echo(proc: Proc, argv: list[bytes]) -> int:
    """``echo [-n] [-e] [word...]``."""
    words = argv[1:]
    newline, escapes = True, False
    while words and words[0] in (b"-n", b"-e", b"-ne", b"-en"):
        newline = newline and b"n" not in words[0]
        escapes = escapes or b"e" in words[0]
        words.pop(0)
    text = b" ".join(words)
    if escapes:
        text, stopped = unescape(text)
        newline = newline and not stopped
    await proc.write(1, text + (b"\n" if newline else b""))
    return 0


def unescape(text: bytes) -> tuple[bytes, bool]:
    """Backslash escapes of echo and printf; True if ``\\c`` ended the output."""
    result = bytearray()
    position = 0
    while position < len(text):
        byte = text[position]
        position += 1
        if byte != ord("\\") or position >= len(text):
            result.append(byte)
            continue
        code = text[position]
        position += 1
        if code == ord("c"):
            return bytes(result), True
        if code in b"01234567":
            digits = re.compile(rb"0?[0-7]{1,3}").match(text, position - 1)
            assert digits is not None
            result.append(int(digits[0], 8) & 255)
            position = digits.end()
        elif code in ESCAPES:
            result += ESCAPES[code]
        else:
            result += bytes([byte, code])
    return bytes(result), False


async def printf(proc: Proc, argv: list[bytes]) -> int:
    """``printf format [argument...]``: %s %b %d %i %u %o %x %X %c %%, with flags, width and precision."""
    if len(argv) < 2:
        await proc.write(2, b"printf: needs a format\n")
        return 2
    arguments = argv[2:]
    output = bytearray()
    status = 0
    while True:
        before = len(arguments)
        text, bad = _format_once(argv[1], arguments)
        output += text
        if bad is not None:
            await proc.write(2, f"printf: {shown(bad)}: not a number\n".encode())
            status = 1
        if not arguments or len(arguments) == before:
            break
    await proc.write(1, bytes(output))
    return status


_CONVERSION = re.compile(rb"%([-+ #0]*)([0-9]*)(?:\.([0-9]*))?([sbdiuoxXc%])")


def _format_once(template: bytes, arguments: list[bytes]) -> tuple[bytes, bytes | None]:
    result = bytearray()
    bad: bytes | None = None
    position = 0
    while position < len(template):
        match = _CONVERSION.match(template, position)
        if match is None:
            end = template.find(b"%", position + 1)
            end = len(template) if end < 0 else end
            result += unescape(template[position:end])[0]
            position = end
            continue
        position = match.end()
        flags, width, precision, kind = match[1], match[2][:6], match[3], match[4]
        if kind == b"%":
            result += b"%"
            continue
        argument = arguments.pop(0) if arguments else b""
        if kind in b"sbc":
            text = unescape(argument)[0] if kind == b"b" else argument[:1] if kind == b"c" else argument
            if precision is not None:
                text = text[: int(precision[:6] or b"0")]
            pad = b" " * (int(width or b"0") - len(text))
            result += text + pad if b"-" in flags else pad + text
            continue
        try:
            value = int(argument, 0) if argument else 0
        except ValueError:
            value, bad = 0, argument
        conversion = "d" if kind in b"diu" else kind.decode()
        point = "" if precision is None else "." + (precision[:4].decode() or "0")
        spec = "%" + flags.decode() + width.decode() + point + conversion
        result += (spec % value).encode()
    return bytes(result), bad


@checked
async def head(proc: Proc, argv: list[bytes]) -> int:
    """``head [-n lines] [-c bytes] [file...]``."""
    if len(argv) > 1 and argv[1][:1] == b"-" and argv[1][1:].isdigit():
        argv = [argv[0], b"-n", argv[1][1:], *argv[2:]]
    found, paths = options(argv, b"", b"nc")
    lines = number(found.get("n", b"%d" % LINES_DEFAULT), "number of lines")
    size = number(found["c"], "number of bytes") if "c" in found else None
    failed: list[bytes] = []
    first = True
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        if len(paths) > 1:
            await proc.write(1, (b"" if first else b"\n") + b"==> " + path + b" <==\n")
        first = False
        try:
            left = lines if size is None else size
            while left > 0:
                data = await proc.read(descriptor)
                if not data:
                    break
                if size is not None:
                    data = data[:left]
                    left -= len(data)
                else:
                    pieces = data.split(b"\n")
                    if len(pieces) > left:
                        data = b"\n".join(pieces[:left]) + b"\n"
                    left -= min(len(pieces) - 1, left)
                await proc.write(1, data)
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
    return int(bool(failed))


@checked
async def tail(proc: Proc, argv: list[bytes]) -> int:
    """``tail [-n lines] [file...]``."""
    if len(argv) > 1 and argv[1][:1] == b"-" and argv[1][1:].isdigit():
        argv = [argv[0], b"-n", argv[1][1:], *argv[2:]]
    found, paths = options(argv, b"", b"n")
    count = number(found.get("n", b"%d" % LINES_DEFAULT), "number of lines")
    failed: list[bytes] = []
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        try:
            kept: list[bytes] = []
            async for line in Lines(proc, descriptor):
                kept.append(line)
                if len(kept) > 2 * count + 64:
                    del kept[: len(kept) - count]
            await proc.write(1, b"".join(kept[-count:] if count else []))
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
    return int(bool(failed))


@checked
async def wc(proc: Proc, argv: list[bytes]) -> int:
    """``wc [-lwc] [file...]``."""
    found, paths = options(argv, b"lwc")
    wanted = [letter for letter in "lwc" if letter in found or not found]
    totals = {"l": 0, "w": 0, "c": 0}
    failed: list[bytes] = []
    rows: list[tuple[dict[str, int], bytes]] = []
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        counts = {"l": 0, "w": 0, "c": 0}
        in_word = False
        try:
            async for data in Chunks(proc, descriptor):
                counts["l"] += data.count(b"\n")
                counts["c"] += len(data)
                words = len(data.split())
                if in_word and words and not data[:1].isspace():
                    words -= 1
                counts["w"] += words
                in_word = not data[-1:].isspace()
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
            continue
        rows.append((counts, path))
        for letter in totals:
            totals[letter] += counts[letter]
    if len(paths) > 1:
        rows.append((totals, b"total"))
    single = len(rows) == 1 and len(wanted) == 1
    width = 0 if single else max((len(str(c[x])) for c, _ in rows for x in wanted), default=0)
    if not paths and len(wanted) > 1:
        width = 7  # the size of standard input is not known beforehand
    for counts, path in rows:
        text = " ".join(f"{counts[letter]:>{width}}" for letter in wanted).encode()
        await proc.write(1, text + (b" " + path if paths else b"") + b"\n")
    return int(bool(failed))


@checked
async def hexdump(proc: Proc, argv: list[bytes]) -> int:
    """``hexdump [-C] [-n length] [file...]``: bytes and text, as ``hexdump -C`` shows them."""
    found, paths = options(argv, b"Cv", b"n")
    left = number(found["n"], "length") if "n" in found else 1 << 62
    failed: list[bytes] = []
    offset = 0
    rest = b""
    previous: bytes | None = None
    repeated = False
    async for path, descriptor in Inputs(proc, argv[0], paths, failed):
        try:
            async for data in Chunks(proc, descriptor):
                rest += data[:left]
                left -= len(data[:left])
                lines = []
                while len(rest) >= HEXDUMP_ROW_BYTES:
                    row, rest = rest[:HEXDUMP_ROW_BYTES], rest[HEXDUMP_ROW_BYTES:]
                    if row == previous and "v" not in found:
                        if not repeated:
                            lines.append("*\n")
                        repeated = True
                    else:
                        lines.append(_hexdump_row(offset, row))
                        repeated = False
                    previous = row
                    offset += HEXDUMP_ROW_BYTES
                await proc.write(1, "".join(lines).encode())
                if left <= 0:
                    break
        except KernelError as error:
            await fail(proc, argv[0], path, error)
            failed.append(path)
    last = (_hexdump_row(offset, rest) if rest else "") + (
        f"{offset + len(rest):08x}\n" if offset or rest else ""
    )
    await proc.write(1, last.encode())
    return int(bool(failed))


def _hexdump_row(offset: int, row: bytes) -> str:
    pairs = [f"{byte:02x}" for byte in row] + ["  "] * (HEXDUMP_ROW_BYTES - len(row))
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{offset:08x}  {' '.join(pairs[:8])}  {' '.join(pairs[8:])}  |{text}|\n"
