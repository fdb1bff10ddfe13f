"""Numbers that nobody else can guess: initial sequence numbers (RFC 6528), timestamp offsets, SYN cookies (RFC 4987).

    ISN = clock of 4 µs + F(addresses, ports, key)

so that a port pair that is used again starts above where it ended. Timestamps of a pair of hosts share an offset,
so that they grow from connection to connection (RFC 7323, section 7.1).

    cookie = F(addresses, ports, peer's ISN, minute) with the minute in the top 5 bits and the MSS class in 3 more

A cookie remembers the MSS only: a connection made from one has no window scaling, SACK or timestamps.
"""

from __future__ import annotations

from hashlib import blake2s
from struct import Struct
from typing import TYPE_CHECKING, Final

from jefeos_net_inet.tcp.sequence import MASK

if TYPE_CHECKING:
    from jefeos.net.address import Address

KEY_BYTES: Final = 32
ISN_TICK_NS: Final = 4_000
MINUTE_NS: Final = 64_000_000_000
COOKIE_MINUTES: Final = 2
"""How old a cookie may be."""
COOKIE_SIZES: Final = (536, 1024, 1220, 1300, 1380, 1440, 1460, 8960)
_PORTS: Final = Struct(">HHQ")


class Secrets:
    """The key of one stack."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _hash(self, purpose: bytes, local: Address, remote: Address, numbers: bytes = b"") -> int:
        digest = blake2s(local + remote + numbers, key=self._key, digest_size=8, person=purpose).digest()
        return int.from_bytes(digest, "big")

    def initial_sequence(self, local: Address, remote: Address, ports: tuple[int, int], now_ns: int) -> int:
        """Where a connection begins to count."""
        return (self._hash(b"isn", local, remote, _PORTS.pack(*ports, 0)) + now_ns // ISN_TICK_NS) & MASK

    def stamp_offset(self, local: Address, remote: Address) -> int:
        """Added to the clock of timestamps."""
        return self._hash(b"stamps", local, remote) & MASK

    def cookie(
        self, local: Address, remote: Address, ports: tuple[int, int], sequence: int, mss: int, now_ns: int
    ) -> int:
        """An ISN that says everything that has to be remembered."""
        size = max((index for index, one in enumerate(COOKIE_SIZES) if one <= mss), default=0)
        return self._cookie(local, remote, ports, sequence, now_ns // MINUTE_NS, size)

    def _cookie(
        self, local: Address, remote: Address, ports: tuple[int, int], sequence: int, minute: int, size: int
    ) -> int:
        numbers = _PORTS.pack(*ports, (sequence & MASK) << 16 | (minute & 0xFF) << 8 | size)
        return (minute & 31) << 27 | size << 24 | self._hash(b"cookie", local, remote, numbers) & 0xFF_FFFF

    def read_cookie(
        self, local: Address, remote: Address, ports: tuple[int, int], sequence: int, cookie: int, now_ns: int
    ) -> int:
        """The MSS that a cookie remembers; 0 if it is none of ours, or too old."""
        now_minute = now_ns // MINUTE_NS
        size = cookie >> 24 & 7
        for minute in range(now_minute, max(now_minute - COOKIE_MINUTES, -1), -1):
            if self._cookie(local, remote, ports, sequence, minute, size) == cookie:
                return COOKIE_SIZES[size]
        return 0
