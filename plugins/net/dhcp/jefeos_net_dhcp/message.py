"""DHCP messages to and from bytes. Pure; what is malformed is a CorruptError.

    Message.parse(data) -> Message      options of one code that come in pieces are joined (RFC 3396)
    message.pack() -> bytes             long options are cut into pieces, and the whole is padded to 300 bytes

Options may go on in the `file` and `sname` fields (option 52); that is read, never written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from attrs import define, field
from jefeos.errors import CorruptError

from jefeos_net_dhcp.layout import (
    BOOTREPLY,
    BOOTREQUEST,
    ETHERNET,
    FOREVER_S,
    MAGIC,
    MINIMUM_BYTES,
    Code,
    Header,
    MessageType,
)

_PIECE_BYTES: Final = 255
MOST_ROUTES: Final = 64


@define
class Message:
    """A message: the fixed part, and the options by code."""

    kind: MessageType
    xid: int
    mac: bytes
    reply: bool = False
    flags: int = 0
    seconds: int = 0
    client: bytes = bytes(4)
    """ciaddr: the client's address, if it has one that works."""
    yours: bytes = bytes(4)
    """yiaddr: the address that is offered."""
    relay: bytes = bytes(4)
    options: dict[int, bytes] = field(factory=dict)

    # --- reading -------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """Read a message."""
        head = Header.parse(data)
        if head.op not in (BOOTREQUEST, BOOTREPLY) or head.htype != ETHERNET or head.hlen != 6:
            raise CorruptError(f"DHCP: op {head.op}, hardware {head.htype}, length {head.hlen}: not for Ethernet")
        if data[Header.size : Header.size + 4] != MAGIC:
            raise CorruptError("DHCP: no magic cookie, as in plain BOOTP")
        options: dict[int, bytes] = {}
        _collect(options, data[Header.size + 4 :], "options")
        overload = options.get(Code.OVERLOAD, b"\0")[:1]
        if overload and overload[0] & 1:
            _collect(options, head.file, "file")
        if overload and overload[0] & 2:
            _collect(options, head.sname, "sname")
        kind = options.pop(Code.MESSAGE_TYPE, b"")
        if len(kind) != 1 or kind[0] not in MessageType._value2member_map_:
            raise CorruptError(f"DHCP: message type {kind.hex() or 'missing'}")
        return cls(
            MessageType(kind[0]), head.xid, head.chaddr[:6], head.op == BOOTREPLY, head.flags, head.secs, head.ciaddr,
            head.yiaddr, head.giaddr, options,
        )

    def address(self, code: Code) -> bytes:
        """An option that is one address; b"" if it is not there or has another length."""
        value = self.options.get(code, b"")
        return value if len(value) == 4 else b""

    def addresses(self, code: Code) -> tuple[bytes, ...]:
        """An option that is a list of addresses."""
        value = self.options.get(code, b"")
        return tuple(value[at : at + 4] for at in range(0, len(value) - 3, 4))

    def number(self, code: Code) -> int | None:
        """An option that is a 16-bit or 32-bit number."""
        value = self.options.get(code, b"")
        return int.from_bytes(value, "big") if len(value) in (2, 4) else None

    def text(self, code: Code) -> str:
        """An option that is text; what is no printable ASCII is left out, as it may end up in a file or on a screen."""
        value = self.options.get(code, b"").rstrip(b"\0")
        return "".join(chr(byte) for byte in value if 0x20 < byte < 0x7F)

    def routes(self) -> tuple[tuple[bytes, int, bytes], ...]:
        """Classless static routes: destination, prefix length, gateway (RFC 3442). A broken list is cut there."""
        value = self.options.get(Code.CLASSLESS_ROUTES, b"")
        found: list[tuple[bytes, int, bytes]] = []
        at = 0
        while at < len(value) and len(found) < MOST_ROUTES:
            length = value[at]
            significant = (length + 7) // 8
            if length > 32 or at + 1 + significant + 4 > len(value):
                break
            destination = value[at + 1 : at + 1 + significant].ljust(4, b"\0")
            found.append((destination, length, value[at + 1 + significant : at + 5 + significant]))
            at += 5 + significant
        return tuple(found)

    @property
    def server(self) -> bytes:
        """The server identifier; b"" if there is none."""
        return self.address(Code.SERVER_IDENTIFIER)

    # --- writing -------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """The bytes of the message."""
        head = Header(
            op=BOOTREPLY if self.reply else BOOTREQUEST, htype=ETHERNET, hlen=6, xid=self.xid, secs=self.seconds,
            flags=self.flags, ciaddr=self.client, yiaddr=self.yours, siaddr=bytes(4), giaddr=self.relay,
            chaddr=self.mac.ljust(16, b"\0"), sname=bytes(64), file=bytes(128),
        )
        parts = [head.pack(), MAGIC, bytes((Code.MESSAGE_TYPE, 1, self.kind))]
        for code, value in self.options.items():
            for piece in _pieces(value):
                parts.append(bytes((code, len(piece))) + piece)
        parts.append(bytes((Code.END,)))
        return b"".join(parts).ljust(MINIMUM_BYTES, b"\0")


def seconds_option(seconds: int) -> bytes:
    """A lease or renewal time."""
    return struct.pack(">I", min(seconds, FOREVER_S))


def _pieces(value: bytes) -> Iterator[bytes]:
    yield value[:_PIECE_BYTES]
    for at in range(_PIECE_BYTES, len(value), _PIECE_BYTES):
        yield value[at : at + _PIECE_BYTES]


def _collect(options: dict[int, bytes], data: bytes, where: str) -> None:
    """Add the options of one field."""
    at = 0
    while at < len(data):
        code = data[at]
        if code == Code.END:
            return
        if code == Code.PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise CorruptError(f"DHCP {where}: option {code} at {at} goes past the end")
        options[code] = options.get(code, b"") + data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
