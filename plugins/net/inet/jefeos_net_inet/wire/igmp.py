"""Who listens to which group: IGMP versions 2 and 3 (RFC 2236, RFC 3376) and MLD versions 1 and 2 (RFC 2710, RFC 3810).

    IGMP query       0x11 | maximum response | checksum | group | version 3: flags, interval, sources
    IGMP report 2    0x16 | 0 | checksum | group              leave: 0x17
    IGMP report 3    0x22 | 0 | checksum | 0 | number of records | records
    MLD              the same with 16-byte groups, behind an ICMPv6 header: report 1 is type 131, report 2 type 143
    record           type | 0 | number of sources | group     (we never name sources)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from jefeos.errors import CorruptError
from jefeos.net.address import Address
from jefeos.net.checksum import checksum, ones_sum

from jefeos_net_inet.wire.icmp import IcmpMessage
from jefeos_net_inet.wire.icmpv6 import Type

PROTOCOL: Final = 2
HEADER: Final = struct.Struct("!BBH4s")
VERSION_3_BYTES: Final = 12
_MLD_1_BYTES: Final = 16
_TENTH_NS: Final = 100_000_000
_MILLISECOND_NS: Final = 1_000_000


class IgmpType(IntEnum):
    """Message types."""

    QUERY = 0x11
    REPORT_2 = 0x16
    LEAVE = 0x17
    REPORT_3 = 0x22


class Record(IntEnum):
    """Record types of reports: with an empty list of sources, EXCLUDE is "all" and INCLUDE "none"."""

    IS_EXCLUDE = 2
    TO_INCLUDE = 3
    TO_EXCLUDE = 4


class Query(NamedTuple):
    """A router asks."""

    group: Address
    """Empty: for all groups."""
    response_ns: int
    """Answer within this time."""
    is_old: bool
    """By a router that does not understand the newer reports."""


def _decoded(code: int, mantissa_bits: int) -> int:
    """Response times beyond a limit are floating point (RFC 3376, section 4.1.1)."""
    limit = 1 << (mantissa_bits + 3)
    if code < limit:
        return code
    mantissa = code & ((1 << mantissa_bits) - 1)
    return (mantissa | 1 << mantissa_bits) << ((code >> mantissa_bits & 7) + 3)


def parse_query(data: memoryview) -> Query | None:
    """An IGMP message that is a query; None for any other. Raises CorruptError."""
    if len(data) < HEADER.size:
        raise CorruptError(f"an IGMP message of {len(data)} bytes")
    if ones_sum(data) != 0xFFFF:
        raise CorruptError("an IGMP message with a wrong checksum")
    kind, code, _checksum, group = HEADER.unpack_from(data)
    if kind != IgmpType.QUERY:
        return None
    is_old = len(data) < VERSION_3_BYTES
    tenths = (code or 100) if is_old else _decoded(code, 4)
    return Query(group if any(group) else b"", tenths * _TENTH_NS, is_old)


def parse_query6(message: IcmpMessage) -> Query:
    """An MLD query. Raises CorruptError."""
    if len(message.data) < _MLD_1_BYTES:
        raise CorruptError("an MLD query that is cut off")
    group = bytes(message.data[:16])
    is_old = len(message.data) < _MLD_1_BYTES + 4
    code = message.rest >> 16
    milliseconds = code if is_old else _decoded(code, 12)
    return Query(group if any(group) else b"", milliseconds * _MILLISECOND_NS, is_old)


def emit_old(kind: int, group: Address) -> bytes:
    """A report or leave of version 2."""
    plain = HEADER.pack(kind, 0, 0, group)
    return HEADER.pack(kind, 0, checksum(plain), group)


def _records(records: Sequence[tuple[int, Address]]) -> bytes:
    return b"".join(bytes((kind, 0, 0, 0)) + group for kind, group in records)


def emit_report(records: Sequence[tuple[int, Address]]) -> bytes:
    """A report of IGMP version 3: record type and group."""
    plain = struct.pack("!BBHHH", IgmpType.REPORT_3, 0, 0, 0, len(records)) + _records(records)
    return plain[:2] + checksum(plain).to_bytes(2, "big") + plain[4:]


def report6(records: Sequence[tuple[int, Address]]) -> IcmpMessage:
    """A report of MLD version 2."""
    return IcmpMessage(Type.LISTENER_REPORT_2, 0, len(records), _records(records))


def old6(kind: int, group: Address) -> IcmpMessage:
    """A report or done of MLD version 1."""
    return IcmpMessage(kind, 0, 0, group)
