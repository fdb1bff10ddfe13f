"""LZNT1: reading compressed attributes ([MS-XCA] 2.5).

A compressed attribute is a row of units, each 16 clusters of contents. On the medium a unit is all hole (zeros), all
there (stored as it is), or some clusters and then a hole (compressed):

    unit     chunk | chunk | … | 0x0000
    chunk    u16: bit 15 compressed, bits 0-11 length - 1 of what follows;  4096 bytes of contents each
    body     flag byte | 8 tokens (bit 0 first): 0 one literal byte, 1 a u16 of offset and length …

The further a chunk has come, the more bits of the u16 the offset takes and the fewer the length. Not here: compressing.
Files that are written to are expanded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError

if TYPE_CHECKING:
    from jefeos_fs_ntfs.stream import Stream

CHUNK_BYTES: Final = 4096
_COMPRESSED: Final = 0x8000
_LENGTH_MASK: Final = 0x0FFF
_SHORTEST_MATCH: Final = 3


def read_compressed(stream: Stream, offset: int, count: int) -> bytes:
    """A range of a compressed attribute, which lies within its size."""
    unit_bytes = stream.unit_clusters * stream.cluster_bytes
    first, last = offset // unit_bytes, (offset + count - 1) // unit_bytes
    data = b"".join([_read_unit(stream, number, unit_bytes) for number in range(first, last + 1)])
    start = offset - first * unit_bytes
    return data[start : start + count]


def _read_unit(stream: Stream, number: int, unit_bytes: int) -> bytes:
    covered = stream.clusters * stream.cluster_bytes
    start = number * unit_bytes
    pieces = stream.locate(start, min(unit_bytes, covered - start))
    if all(place >= 0 for place, _ in pieces):
        return stream.read_raw(start, sum([length for _, length in pieces])).ljust(unit_bytes, b"\0")
    stored = b"".join([stream.volume.cache.read(place, length) for place, length in pieces if place >= 0])
    return decompress(stored, unit_bytes) if stored else bytes(unit_bytes)


def decompress(data: bytes, size: int) -> bytes:
    """The contents of a unit of ``size`` bytes, zeros behind what it says. Raises CorruptError."""
    pieces: list[bytes] = []
    done = position = 0
    while position + 2 <= len(data) and done < size:
        header = int.from_bytes(data[position : position + 2], "little")
        if not header:
            break
        body = data[position + 2 : position + 3 + (header & _LENGTH_MASK)]
        position += 2 + len(body)
        if header & _COMPRESSED:
            chunk = _decompress_chunk(body)
        else:
            chunk = body
        if len(chunk) > CHUNK_BYTES:
            raise CorruptError("LZNT1: a chunk is longer than 4096 bytes")
        pieces.append(chunk.ljust(CHUNK_BYTES, b"\0"))
        done += CHUNK_BYTES
    return b"".join(pieces)[:size].ljust(size, b"\0")


def _decompress_chunk(body: bytes) -> bytes:
    """Whole groups of eight tokens go by the plan of their flags, literals between two matches in one piece. Hot."""
    out = bytearray()
    position, end = 0, len(body)
    done, length_bits, limit = 0, 12, 16
    while position < end:
        flags = body[position]
        position += 1
        plan, rest = _PLANS[flags]
        if position + 8 + len(plan) > end:  # the last group may be cut
            plan, rest = _cut_plan(flags, end - position)
        for literals in plan:
            if literals:
                out += body[position : position + literals]
                position += literals
                done += literals
            while done > limit:
                limit *= 2
                length_bits -= 1
            token = body[position] | body[position + 1] << 8
            position += 2
            start = done - (token >> length_bits) - 1
            if start < 0 or done > CHUNK_BYTES:
                raise CorruptError("LZNT1: a match reaches ahead of its chunk, or past its end")
            length = (token & (1 << length_bits) - 1) + _SHORTEST_MATCH
            if start + length <= done:
                out += out[start : start + length]
            else:  # it reaches into itself
                out += (out[start:] * (length // (done - start) + 1))[:length]
            done += length
        if rest:
            out += body[position : position + rest]
            position += rest
            done += rest
    return bytes(out)


def _cut_plan(flags: int, size: int) -> tuple[tuple[int, ...], int]:
    """As in `_PLANS`, for a group of which only ``size`` bytes are there."""
    before: list[int] = []
    literals = 0
    while size > 0:
        if flags & 1:
            if size < 2:
                raise CorruptError("LZNT1: a chunk ends inside of a token")
            before.append(literals)
            literals = 0
            size -= 2
        else:
            literals += 1
            size -= 1
        flags >>= 1
    return tuple(before), literals


_PLANS: Final = tuple([_cut_plan(flags, 8 + flags.bit_count()) for flags in range(256)])
"""By flags: how many literals come before each match of a group, and after the last one."""
