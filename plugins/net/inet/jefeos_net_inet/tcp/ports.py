"""Who has which port: bound sockets, connections, and free ports for those who do not care (RFC 6056).

Rules are Linux's. A port can be shared by sockets whose addresses do not overlap; else by sockets that all have
SO_REUSEADDR while none of them listens, or all SO_REUSEPORT. Connections (TIME-WAIT too) on a port keep others from
binding it without SO_REUSEADDR. connect() without bind() needs only a pair of addresses and ports that is new.

An address here is ``b""`` for "any, of both families", or four or sixteen bytes, zeros for "any of this family".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from jefeos.errors import Errno, KernelError

if TYPE_CHECKING:
    from jefeos.net.address import Address

    from jefeos_net_inet.tcp.socket import TcpSocket


@define
class PortUse:
    """One port."""

    sockets: list[TcpSocket] = field(factory=list)
    """Bound by bind() or listen()."""
    connections: int = 0
    """In the layer's table with this local port."""


def overlap(one: Address, other: Address) -> bool:
    """Whether something could be for both."""
    if one == other or not one or not other:
        return True
    return len(one) == len(other) and (not any(one) or not any(other))


class Ports:
    """See the module's text. ``random(count)`` gives random bytes."""

    def __init__(self, random: Callable[[int], bytes], setting: Callable[[str], Any]) -> None:
        self._uses: dict[int, PortUse] = {}
        self._random = random
        self._setting = setting

    def __len__(self) -> int:
        return len(self._uses)

    def connections_came(self, port: int, count: int) -> None:
        """A connection with this local port came (1) or went (-1)."""
        use = self._uses.setdefault(port, PortUse())
        use.connections += count
        if not use.connections and not use.sockets:
            del self._uses[port]

    def bind(self, socket: TcpSocket, address: Address, port: int) -> int:
        """Give ``socket`` the port, or a free one for 0. EADDRINUSE."""
        if not port:
            port = self._free(lambda number: number not in self._uses)
        elif not self._may_bind(socket, address, port):
            raise KernelError(Errno.EADDRINUSE)
        self._uses.setdefault(port, PortUse()).sockets.append(socket)
        return port

    def _may_bind(self, socket: TcpSocket, address: Address, port: int) -> bool:
        use = self._uses.get(port)
        if use is None:
            return True
        ours = socket.options
        for other in use.sockets:
            if other is socket or not overlap(address, other.bound_address):
                continue
            theirs = other.options
            if ours.interface and theirs.interface and ours.interface != theirs.interface:
                continue
            shared = ours.so_reuseaddr and theirs.so_reuseaddr and other.listener is None
            if not shared and not (ours.so_reuseport and theirs.so_reuseport):
                return False
        return not use.connections or ours.so_reuseaddr or ours.so_reuseport

    def may_listen(self, socket: TcpSocket) -> bool:
        """Whether no other socket listens there already."""
        use = self._uses.get(socket.bound_port)
        return use is None or all(
            other is socket
            or other.listener is None
            or not overlap(socket.bound_address, other.bound_address)
            or (socket.options.so_reuseport and other.options.so_reuseport)
            for other in use.sockets
        )

    def release(self, socket: TcpSocket) -> None:
        """The socket lets go of its port."""
        use = self._uses.get(socket.bound_port)
        if use is not None and socket in use.sockets:
            use.sockets.remove(socket)
            if not use.sockets and not use.connections:
                del self._uses[socket.bound_port]

    def for_connection(self, is_free: Callable[[int], bool]) -> int:
        """A port for connect(): nobody bound it, and ``is_free`` says that the pair is new. EADDRNOTAVAIL."""

        def usable(port: int) -> bool:
            use = self._uses.get(port)
            return (use is None or not use.sockets) and is_free(port)

        return self._free(usable, Errno.EADDRNOTAVAIL)

    def _free(self, usable: Callable[[int], bool], error: Errno = Errno.EADDRINUSE) -> int:
        low, high = self._setting("ip_local_port_range")
        count = high - low + 1
        start = int.from_bytes(self._random(4), "big")
        for step in range(count):
            port: int = low + (start + step) % count
            if usable(port):
                return port
        raise KernelError(error)
