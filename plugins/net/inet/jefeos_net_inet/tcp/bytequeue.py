"""A queue of octets with sequence numbers: what was sent and not acknowledged, what arrived and was not read.

    start                                          end
      | chunk | chunk |    chunk     | small writes |        chunks keep what they were given, without a copy
              ^ slice(position, count)

Large pieces are kept as they come (they must not change afterwards). So is a small one as long as it is alone, which is
the usual case of a conversation; further ones are collected with it in a bytearray, so that a peer who sends single
octets costs memory like everybody else. Finding a position is a bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

SMALL_BYTES: Final = 2048
"""Pieces below this are copied together."""
COLLECTED_BYTES: Final = 16384
"""A collection stops growing here."""
_TRIM: Final = 32

Chunk = bytes | bytearray | memoryview


class ByteQueue:
    """Octets ``start`` to ``end`` (exclusive)."""

    __slots__ = ("_chunks", "_head", "_starts", "end", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self._chunks: list[Chunk] = []
        self._starts: list[int] = []
        self._head = 0
        """Chunks before this one are spent."""

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data: bytes | memoryview) -> None:
        """Add at the end. HOT."""
        length = len(data)
        chunks = self._chunks
        if length < SMALL_BYTES:
            if not length:
                return
            if len(chunks) > self._head:
                last = chunks[-1]
                if type(last) is bytearray:
                    if len(last) < COLLECTED_BYTES:
                        last += data
                        self.end += length
                        return
                elif len(last) < SMALL_BYTES:
                    chunks[-1] = bytearray(last) + data
                    self.end += length
                    return
            elif chunks:
                self._clear()
            if type(data) is not bytes:
                data = bytes(data)
        chunks.append(data)
        self._starts.append(self.end)
        self.end += length

    def slice(self, position: int, count: int) -> bytes | memoryview:
        """``count`` octets from ``position`` on, all of which are there; it stays valid. HOT."""
        index = bisect_right(self._starts, position, self._head) - 1
        chunk = self._chunks[index]
        offset = position - self._starts[index]
        if offset + count <= len(chunk):
            if type(chunk) is bytearray:
                return bytes(chunk[offset : offset + count])
            if count == len(chunk):
                return chunk  # type: ignore[return-value]
            return memoryview(chunk)[offset : offset + count]
        parts: list[Chunk] = []
        while count:
            chunk = self._chunks[index]
            part = memoryview(chunk)[offset : offset + count] if offset or count < len(chunk) else chunk
            parts.append(part)
            count -= len(part)
            offset = 0
            index += 1
        return b"".join(parts)

    def discard(self, position: int) -> None:
        """Forget what lies before ``position``. HOT."""
        self.start = position
        chunks, starts, head = self._chunks, self._starts, self._head
        if position == self.end:
            if chunks:
                self._clear()
            return
        count = len(chunks)
        while head < count and starts[head] + len(chunks[head]) <= position:
            chunks[head] = b""
            head += 1
        if head > _TRIM or head == count:
            del chunks[:head], starts[:head]
            head = 0
        self._head = head

    def _clear(self) -> None:
        self._chunks.clear()
        self._starts.clear()
        self._head = 0

    def take(self, count: int) -> bytes:
        """The first octets, at most ``count``, removed. HOT."""
        length = self.end - self.start
        if count >= length:
            count = length
            chunks = self._chunks
            if len(chunks) == 1 and type(data := chunks[0]) is bytes and len(data) == length:
                self.start = self.end
                self._clear()
                return data
        if not count:
            return b""
        data = self.slice(self.start, count)
        self.discard(self.start + count)
        return data if type(data) is bytes else bytes(data)

    def peek(self, count: int) -> bytes:
        """The first octets, at most ``count``."""
        count = min(count, self.end - self.start)
        return bytes(self.slice(self.start, count)) if count else b""

    def cut(self, position: int) -> int:
        """Take one octet out of the middle (urgent data) and give its value; those before it move up by one."""
        chunks, starts = self._chunks, self._starts
        index = bisect_right(starts, position, self._head) - 1
        chunk, offset = chunks[index], position - starts[index]
        value = chunk[offset]
        left, right = chunk[:offset], chunk[offset + 1 :]
        chunks[index : index + 1] = [left, right]
        starts.insert(index + 1, position + 1)
        for one in range(self._head, index + 1):
            starts[one] += 1
        self.start += 1
        return value
