"""Internet addresses as the socket calls have them: struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)).

    sockaddr_in    u16 family, big-endian u16 port, 4 bytes of address, 8 of padding
    sockaddr_in6   u16 family, big-endian u16 port, u32 flow label, 16 bytes of address, u32 interface

A socket of AF_INET6 sees IPv4 peers as mapped addresses (RFC 4291, section 2.5.5.2).
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, MAPPED_PREFIX, SocketAddress

from jefeos_abi_linux.sockets import AF_UNSPEC

SOCKADDR_IN_BYTES: Final = 16
SOCKADDR_IN6_BYTES: Final = 28
_SHORTEST_IN6: Final = 24
"""Without the interface (RFC 2133)."""
_PORT_AND_FLOW: Final = struct.Struct(">HI")


def family_in(name: bytes) -> int:
    """The family of a sockaddr. EINVAL if it is too short to have one."""
    if len(name) < 2:
        raise KernelError(Errno.EINVAL)
    return int.from_bytes(name[:2], "little")


def read_inet_name(name: bytes, family: int, *, binding: bool = False) -> SocketAddress:
    """The address in a sockaddr for a socket of ``family``. EINVAL, EAFNOSUPPORT."""
    given = family_in(name)
    if family == AF_INET:
        if len(name) < SOCKADDR_IN_BYTES:
            raise KernelError(Errno.EINVAL)
        if given != AF_INET and not (given == AF_UNSPEC and (not binding or name[4:8] == ANY4)):
            raise KernelError(Errno.EAFNOSUPPORT)
        return SocketAddress(name[4:8], int.from_bytes(name[2:4], "big"))
    if given == AF_INET and not binding and len(name) >= SOCKADDR_IN_BYTES:
        return SocketAddress(MAPPED_PREFIX + name[4:8], int.from_bytes(name[2:4], "big"))
    if len(name) < _SHORTEST_IN6:
        raise KernelError(Errno.EINVAL)
    if given != AF_INET6:
        raise KernelError(Errno.EAFNOSUPPORT)
    port, flow = _PORT_AND_FLOW.unpack_from(name, 2)
    scope = int.from_bytes(name[24:28], "little") if len(name) >= SOCKADDR_IN6_BYTES else 0
    return SocketAddress(name[8:24], port, scope, flow)


def inet_name(address: SocketAddress | None, family: int) -> bytes:
    """The sockaddr of an address, in the family of the socket; of None, the unspecified one."""
    host = address.address if address is not None else b""
    port = address.port if address is not None else 0
    if family == AF_INET:
        if len(host) == 16:  # mapped
            host = host[12:]
        return b"\2\0" + port.to_bytes(2, "big") + (host or ANY4) + bytes(8)
    if len(host) == 4:
        host = MAPPED_PREFIX + host
    scope = address.scope if address is not None and (host[:1] in (b"\xfe", b"\xff")) else 0
    return b"\x0a\0" + port.to_bytes(2, "big") + bytes(4) + (host or ANY6) + scope.to_bytes(4, "little")
