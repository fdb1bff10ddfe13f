"""Where commands come from: a stream of lines, gathered until they are a complete command.

A shell whose input is a pipe or a file shares it with the commands it starts (``printf 'cat\\nhello\\n' | jsh``), so it
must not read past the line it runs: without a terminal it reads byte by byte, as POSIX asks (sh, STDIN).
"""

from __future__ import annotations

from typing import Protocol

from jefeos.proc.applet import Proc

LINE_LIMIT_BYTES = 1 << 20


class LineSource(Protocol):
    """Gives lines with their newline, ``b""`` at the end."""

    async def line(self) -> bytes: ...


class TextSource:
    """Lines of a text that is there as a whole: a script file, ``-c``."""

    def __init__(self, text: bytes) -> None:
        lines = text.split(b"\n")
        whole = [line + b"\n" for line in lines[:-1]]
        self._lines = iter([*whole, lines[-1]] if lines[-1] else whole)

    async def line(self) -> bytes:
        return next(self._lines, b"")


class DescriptorSource:
    """Lines of an open descriptor."""

    def __init__(self, proc: Proc, descriptor: int) -> None:
        self.proc = proc
        self.descriptor = descriptor
        self.is_terminal = proc.isatty(descriptor)

    async def line(self) -> bytes:
        if self.is_terminal:  # the line discipline gives a line at a time
            return await self.proc.read(self.descriptor, 4096)
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < LINE_LIMIT_BYTES:
            byte = await self.proc.read(self.descriptor, 1)
            if not byte:
                break
            line += byte
        return bytes(line)
