"""The TCP header (RFC 9293, section 3.1): layout, checked reading, writing, checksum.

     0               2               4               8              12      14      16      18      20
    | source port   | destination   | sequence      | acknowledgment| off,  | window| check | urgent| options, data
    |               | port          |               |               | flags |       | sum   | ptr   |

`parse` gives None for what is no segment: shorter than its header says, or a data offset below five words. It does
not look at the checksum, which needs addresses: `verify` does. HOT: parse and the two writers run once for each
segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from struct import Struct
from typing import Final, NamedTuple

from jefeos.net.checksum import ones_sum

from jefeos_net_inet.tcp.options import STAMPS_BYTES, STAMPS_WORD, Options, parse_options

HEADER_BYTES: Final = 20
LONGEST_HEADER_BYTES: Final = 60
CHECKSUM_OFFSET: Final = 16
PROTOCOL: Final = 6
HEADER: Final = Struct(">HHIIHHHH")
"""Source port, destination port, sequence, acknowledgment, offset and flags, window, checksum, urgent pointer."""
HEADER_WITH_STAMPS: Final = Struct(">HHIIHHHHIII")
_SHORT_BYTES: Final = 2048
_PORTS: Final = Struct(">HH")
_PSEUDO4: Final = Struct(">4s4sBBH")
_PSEUDO6: Final = Struct(">16s16sIBBH")
_STAMPS: Final = Struct(">III")
_U16: Final = Struct(">H")


class Flags(IntFlag):
    """Control bits."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
"""The same as plain integers, for the hot path: arithmetic of `IntFlag` is slow."""


class Segment(NamedTuple):
    """A segment that was read; numbers are those of the wire."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    urgent: int
    stamp: int | None
    """TSval; None without the option."""
    echo: int
    options: Options | None
    """None if there are none, or nothing but timestamps."""
    payload: bytes | memoryview
    congested: bool = False
    """A router marked the packet (ECN)."""


def parse(data: bytes | memoryview) -> Segment | None:
    """Read a segment. HOT."""
    length = len(data)
    if length < HEADER_BYTES:
        return None
    source, destination, sequence, acknowledgment, offset_flags, window, _checksum, urgent = HEADER.unpack_from(data)
    header_bytes = (offset_flags >> 12) * 4
    if header_bytes < HEADER_BYTES or header_bytes > length:
        return None
    stamp, echo, options = None, 0, None
    if header_bytes > HEADER_BYTES:
        word = -1
        if header_bytes == HEADER_BYTES + STAMPS_BYTES:
            word, stamp, echo = _STAMPS.unpack_from(data, HEADER_BYTES)
        if word != STAMPS_WORD:
            options = parse_options(data[HEADER_BYTES:header_bytes])
            stamp, echo = options.stamp, options.echo
    return Segment(
        source, destination, sequence, acknowledgment, offset_flags & 0xFF, window, urgent, stamp, echo, options,
        data[header_bytes:],
    )  # fmt: skip


def emit(
    source_port: int,
    destination_port: int,
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    urgent: int = 0,
    options: bytes = b"",
) -> bytes:
    """A header with its checksum zero; ``options`` is whole words."""
    offset_flags = (HEADER_BYTES + len(options)) << 10 | flags
    numbers = (sequence & 0xFFFF_FFFF, acknowledgment & 0xFFFF_FFFF)
    return HEADER.pack(source_port, destination_port, *numbers, offset_flags, window, 0, urgent) + options


def pseudo_header(source: bytes, destination: bytes, length: int) -> bytes:
    """What is summed besides the segment (RFC 9293, section 3.1; RFC 8200, section 8.1)."""
    if len(source) == 4:
        return _PSEUDO4.pack(source, destination, 0, PROTOCOL, length & 0xFFFF)
    return _PSEUDO6.pack(source, destination, length, 0, 0, PROTOCOL)


def seal(source: bytes, destination: bytes, header: bytes, payload: bytes | memoryview) -> bytes:
    """The header with its checksum filled in. HOT."""
    length = len(header) + len(payload)
    if length < _SHORT_BYTES:  # one sum over a copy costs less than three
        total = ones_sum(b"".join((pseudo_header(source, destination, length), header, payload)))
    else:
        total = ones_sum(payload, ones_sum(pseudo_header(source, destination, length) + header))
    return header[:CHECKSUM_OFFSET] + _U16.pack(~total & 0xFFFF) + header[CHECKSUM_OFFSET + 2 :]


def partial_checksum(
    source: bytes, destination: bytes, header: bytes, payload_bytes: int, segment_bytes: int
) -> bytes:
    """The header with the pseudo header's sum in the checksum's place, for a device that does the rest. HOT.

    Where the device cuts the segment the sum lacks the length, which it adds to each piece.
    """
    total = ones_sum(pseudo_header(source, destination, 0 if segment_bytes else len(header) + payload_bytes))
    return header[:CHECKSUM_OFFSET] + _U16.pack(total) + header[CHECKSUM_OFFSET + 2 :]


def verify(source: bytes, destination: bytes, data: bytes | memoryview) -> bool:
    """Whether the checksum of a segment is right. HOT."""
    length = len(data)
    pseudo = pseudo_header(source, destination, length)
    if length < _SHORT_BYTES:
        return ones_sum(b"".join((pseudo, data))) == 0xFFFF
    return ones_sum(data, ones_sum(pseudo)) == 0xFFFF


def cut(header: bytes, payload: bytes | memoryview, segment_bytes: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
    """Cut a large segment where the device cannot: headers and payloads, FIN and PSH on the last one only."""
    fields = HEADER.unpack_from(header)
    for start in range(0, len(payload), segment_bytes):
        piece = payload[start : start + segment_bytes]
        flags = fields[4] if start + segment_bytes >= len(payload) else fields[4] & ~(FIN | PSH)
        numbers = ((fields[2] + start) & 0xFFFF_FFFF, fields[3], flags)
        yield HEADER.pack(*fields[:2], *numbers, *fields[5:]) + header[HEADER_BYTES:], piece


def quoted_ports_and_sequence(data: bytes | memoryview) -> tuple[int, int, int] | None:
    """Source port, destination port and sequence from the eight bytes that an ICMP error quotes; None if shorter."""
    if len(data) < 8:
        return None
    source, destination = _PORTS.unpack_from(data)
    return source, destination, int.from_bytes(data[4:8], "big")
