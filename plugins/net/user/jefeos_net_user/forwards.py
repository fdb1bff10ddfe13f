"""Ports of the host that lead to a guest (``--forward 2222:22``), TCP and UDP.

The host listens where the user said, by default at 127.0.0.1 alone. A connection is taken at once and connected to the
guest from the gateway's own address. If the guest refuses, its other addresses are tried, as a service may listen at
IPv6 alone; if it refuses at all, the connection is reset. UDP: each outside address gets a port of the gateway, for a
minute after its last message; an ICMP error before the first answer sends the last message to the next address.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import define
from jefeos.config import Forward
from jefeos.errors import ConfigError, KernelError
from jefeos.net.address import SocketAddress, family_of
from jefeos.net.socket import DatagramSocket, Readiness, StreamSocket

from jefeos_net_user.streams import reset

if TYPE_CHECKING:
    from jefeos.net.stack import NetworkStack
    from jefeos.sched.loop import KernelLoop

BACKLOG: Final = 1024
ACCEPTS_A_TURN: Final = 64
IDLE_S: Final = 60.0
SWEEP_S: Final = 10.0
MOST_PEERS: Final = 256
MOST_BYTES: Final = 65_535

Guest = Callable[[int], Iterator[SocketAddress]]
"""Gives the places of a port at the guest that ports lead to, the likeliest first."""


def listen_on_host(forward: Forward) -> socket.socket:
    """The host's socket of a forward. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in forward.host_address else socket.AF_INET
    kind = socket.SOCK_STREAM if forward.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if forward.protocol == "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((forward.host_address, forward.host_port))
        if forward.protocol == "tcp":
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"--forward {forward}: the host cannot listen there: {error.strerror or error}") from None
    return made


class StreamForward:
    """A TCP port."""

    def __init__(
        self, host: socket.socket, port: int, stack: NetworkStack, loop: KernelLoop, guest: Guest,
        connected: Callable[[StreamSocket, socket.socket], None],
    ) -> None:
        self._host = host
        self._port = port
        self._stack = stack
        self._loop = loop
        self._guest = guest
        self._connected = connected
        self._waiting: dict[StreamSocket, tuple[socket.socket, Iterator[SocketAddress]]] = {}
        """With where to try next."""
        loop.add_reader(host, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                outside, _ = self._host.accept()
            except OSError:  # nobody more now, or no descriptor left
                return
            outside.setblocking(False)
            outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect(outside, self._guest(self._port))

    def _connect(self, outside: socket.socket, places: Iterator[SocketAddress]) -> None:
        for place in places:
            try:
                inside = self._stack.open_stream(family_of(place.address))
            except KernelError:
                break
            inside.changed = lambda inside=inside: self._loop.call_soon(self._look, inside)  # type: ignore[misc]
            try:
                connected = inside.connect(place)
            except KernelError:
                inside.close()
                continue
            self._waiting[inside] = outside, places
            if connected:
                self._look(inside)
            return
        reset(outside)

    def _look(self, inside: StreamSocket) -> None:
        if inside not in self._waiting:
            return
        if inside.pending_error or inside.ready & Readiness.HANGUP and inside.state == "CLOSED":
            self._connect(*self._give_up(inside))
        elif inside.state not in ("SYN_SENT", "SYN_RECEIVED"):
            self._connected(inside, self._waiting.pop(inside)[0])

    def _give_up(self, inside: StreamSocket) -> tuple[socket.socket, Iterator[SocketAddress]]:
        waiting = self._waiting.pop(inside)
        inside.changed = _nothing
        inside.close()
        return waiting

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._host)
        self._host.close()
        for inside in list(self._waiting):
            reset(self._give_up(inside)[0])


@define(eq=False)
class _Peer:
    places: Iterator[SocketAddress]
    inside: DatagramSocket
    used_s: float
    unanswered: bytes | None = b""
    """The last message, until the guest has answered one."""


class DatagramForward:
    """A UDP port."""

    def __init__(self, host: socket.socket, port: int, stack: NetworkStack, loop: KernelLoop, guest: Guest) -> None:
        self._host = host
        self._port = port
        self._stack = stack
        self._loop = loop
        self._guest = guest
        self._peers: OrderedDict[Any, _Peer] = OrderedDict()
        self._timer = loop.call_later(SWEEP_S, self._sweep)
        loop.add_reader(host, self._arrived)

    def _arrived(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                data, outside = self._host.recvfrom(MOST_BYTES)
            except OSError:
                return
            peer = self._peers.get(outside)
            try:
                if peer is None:
                    peer = self._open(outside)
                peer.used_s = self._loop.time()
                self._peers.move_to_end(outside)
                if peer.unanswered is not None:
                    peer.unanswered = data
                peer.inside.send_to(data)
            except KernelError:  # the guest does not listen (yet): UDP promises nothing
                continue

    def _open(self, outside: Any) -> _Peer:
        while len(self._peers) >= MOST_PEERS:
            self._close_peer(next(iter(self._peers)))
        places = self._guest(self._port)
        peer = self._peers[outside] = _Peer(places, self._socket_to(next(places), outside), self._loop.time())
        return peer

    def _socket_to(self, place: SocketAddress, outside: Any) -> DatagramSocket:
        inside = self._stack.open_datagram(family_of(place.address))
        try:
            inside.connect(place)
        except KernelError:
            inside.close()
            raise
        inside.changed = lambda: self._answered(inside, outside)
        return inside

    def _answered(self, inside: DatagramSocket, outside: Any) -> None:
        while (peer := self._peers.get(outside)) is not None and peer.inside is inside:
            try:
                message = inside.receive_from()
                if message is None:
                    return
                peer.unanswered = None
                self._host.sendto(message.data, outside)
            except KernelError:
                self._try_next(peer, outside)
            except OSError:
                return

    def _try_next(self, peer: _Peer, outside: Any) -> None:
        """There is nobody at that address of the guest: perhaps at another. If not, the next message begins anew."""
        if peer.unanswered is None:
            return
        for place in peer.places:
            try:
                inside = self._socket_to(place, outside)
            except KernelError:
                continue
            peer.inside.close()
            peer.inside = inside
            with suppress(KernelError):
                inside.send_to(peer.unanswered)
            return
        self._close_peer(outside)

    def _sweep(self) -> None:
        limit_s = self._loop.time() - IDLE_S
        for outside in [outside for outside, peer in self._peers.items() if peer.used_s < limit_s]:
            self._close_peer(outside)
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    def _close_peer(self, outside: Any) -> None:
        self._peers.pop(outside).inside.close()

    def close(self) -> None:
        """Listen no more."""
        self._timer.cancel()
        self._loop.remove_reader(self._host)
        self._host.close()
        for outside in list(self._peers):
            self._close_peer(outside)


def _nothing() -> None:
    """Nobody waits."""
