"""TCP options (RFC 9293, section 3.1; RFC 7323; RFC 2018): what they look like, reading them, writing them.

    kind 0, 1          end of the list, and one byte of padding
    kind length data   all others; length counts kind and length too

A list that does not fit its header, or an option whose length is wrong, ends the reading: what came before it counts.
Options of unknown kinds are passed over. Not here: TCP Fast Open, MD5 and AO.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from attrs import define

OLDEST_SCALE: Final = 14
"""The largest window scale (RFC 7323, section 2.3); more counts as this."""
STAMPS_BYTES: Final = 12
"""Timestamps with their padding, in every segment of a connection that agreed on them."""
STAMPS_WORD: Final = 0x0101_080A
"""Two bytes of padding, kind 8, length 10."""
MOST_SACK_BLOCKS: Final = 4
_U16: Final = Struct(">H")
_PAIR: Final = Struct(">II")


class Kind(IntEnum):
    """Option kinds (IANA)."""

    END = 0
    NOP = 1
    MSS = 2
    WINDOW_SCALE = 3
    SACK_PERMITTED = 4
    SACK = 5
    TIMESTAMPS = 8


_LENGTHS: Final = {Kind.MSS: 4, Kind.WINDOW_SCALE: 3, Kind.SACK_PERMITTED: 2, Kind.TIMESTAMPS: 10}


@define
class Options:
    """What a segment's options say."""

    mss: int = 0
    """0: not given."""
    window_scale: int | None = None
    sack_permitted: bool = False
    stamp: int | None = None
    echo: int = 0
    sack: tuple[tuple[int, int], ...] = ()
    """Blocks as (left edge, right edge), in the order in which they stand."""


def parse_options(data: bytes | memoryview) -> Options:
    """Read an option list, stopping at what is malformed."""
    options = Options()
    position, end = 0, len(data)
    while position < end:
        kind = data[position]
        if kind == Kind.NOP:
            position += 1
            continue
        if kind == Kind.END or position + 2 > end:
            break
        length = data[position + 1]
        if length < 2 or position + length > end:
            break
        if _LENGTHS.get(kind, length) == length:  # type: ignore[call-overload]
            _take(options, kind, data[position + 2 : position + length])
        position += length
    return options


def _take(options: Options, kind: int, value: bytes | memoryview) -> None:
    if kind == Kind.MSS:
        options.mss = _U16.unpack(value)[0]
    elif kind == Kind.WINDOW_SCALE:
        options.window_scale = min(value[0], OLDEST_SCALE)
    elif kind == Kind.SACK_PERMITTED:
        options.sack_permitted = True
    elif kind == Kind.TIMESTAMPS:
        options.stamp, options.echo = _PAIR.unpack(value)
    elif kind == Kind.SACK and len(value) % 8 == 0 and len(value) <= 8 * MOST_SACK_BLOCKS:
        options.sack = tuple(_PAIR.iter_unpack(value))


def emit_options(options: Options) -> bytes:
    """The list, padded to whole words."""
    parts = []
    if options.mss:
        parts.append(bytes((Kind.MSS, 4)) + _U16.pack(options.mss))
    if options.sack_permitted:
        parts.append(bytes((Kind.SACK_PERMITTED, 2)))
    if options.stamp is not None:
        # RFC 7323, appendix A: behind two bytes of padding, so that the numbers lie on whole words.
        padding = b"" if options.sack_permitted else bytes((Kind.NOP, Kind.NOP))
        parts.append(padding + bytes((Kind.TIMESTAMPS, 10)) + _PAIR.pack(options.stamp, options.echo))
    elif options.sack_permitted:
        parts.append(bytes((Kind.NOP, Kind.NOP)))
    if options.window_scale is not None:
        parts.append(bytes((Kind.NOP, Kind.WINDOW_SCALE, 3, options.window_scale)))
    if options.sack:
        parts.append(emit_sack(options.sack))
    return b"".join(parts)


def emit_sack(blocks: tuple[tuple[int, int], ...]) -> bytes:
    """A SACK option behind two bytes of padding."""
    head = bytes((Kind.NOP, Kind.NOP, Kind.SACK, 2 + 8 * len(blocks)))
    return head + b"".join(_PAIR.pack(left, right) for left, right in blocks)
