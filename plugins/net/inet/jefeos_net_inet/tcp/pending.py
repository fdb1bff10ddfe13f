"""A SYN to a foreign address that an interceptor was given (stack.py, `PendingStream`): it decides, now or later.

    SYN --> Pending (in the layer's table) --> Interceptor.stream(pending)
                 | accept()   SYN-ACK in the foreign name, and a socket in SYN-RECEIVED
                 | refuse()   RST, an ICMP error, or silence

While it is undecided, the peer's repetitions are swallowed. There are at most `MOST_PENDING` at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress, family_of
from jefeos.net.stack import PendingStream

from jefeos_net_inet.tcp.ecn import answer_to
from jefeos_net_inet.tcp.options import Options
from jefeos_net_inet.tcp.states import State
from jefeos_net_inet.tcp.tuning import options_from
from jefeos_net_inet.tcp.wire import RST, SYN

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.layer import Key, TcpLayer
    from jefeos_net_inet.tcp.socket import TcpSocket
    from jefeos_net_inet.tcp.wire import Segment

MOST_PENDING: Final = 1024
PATIENCE_NS: Final = 60_000_000_000


class Pending(PendingStream):
    """See the module's text."""

    state = State.SYN_RECEIVED

    def __init__(
        self, layer: TcpLayer, key: Key, segment: Segment, raw: bytes, now_ns: int, interface: int
    ) -> None:
        local, remote, local_port, remote_port = key
        self.local = SocketAddress(local, local_port)
        self.remote = SocketAddress(remote, remote_port)
        self.layer = layer
        self.key = key
        self.timer: list[Any] | None = None
        self.until_ns = now_ns + PATIENCE_NS
        self._segment = segment
        self._raw = raw
        self._interface = interface
        self._decided = False
        layer.enter(key, self)
        layer.pending += 1
        layer.timers.arm(self, self.until_ns)

    def expire(self, now_ns: int) -> None:
        """Nobody decided."""
        if not self._decided:
            self.refuse(Errno.ETIMEDOUT)

    def arrive(self, segment: Segment, now_ns: int) -> None:
        """The peer repeats itself, or gives up."""
        if segment.flags & RST and segment.sequence == self._segment.sequence + 1 & 0xFFFF_FFFF:
            self._leave()
        elif not segment.flags & SYN:
            self.layer.reset_for(self.key[0], self.key[1], segment)

    def icmp(self, errno: int, hard: bool, now_ns: int) -> None:
        """Nothing of ours went out yet."""

    def _leave(self) -> None:
        if not self._decided:
            self._decided = True
            self.layer.pending -= 1
            self.layer.remove(self.key)

    def accept(self) -> TcpSocket:
        if self._decided:
            raise KernelError(Errno.ECONNABORTED, "the peer gave up, or it was decided before")
        self._leave()
        layer, segment = self.layer, self._segment
        local, remote, local_port, remote_port = self.key
        now_ns = layer.network.now_ns()
        options = options_from(layer.settings)
        options.interface = self._interface
        socket = layer.open(family_of(local))
        socket.options = options
        initial = layer.secrets.initial_sequence(local, remote, (local_port, remote_port), now_ns)
        path = layer.network.path(remote, local, self._interface)
        theirs = segment.options or Options(stamp=segment.stamp, echo=segment.echo)
        connection = layer.passive(
            self.key, path, options, initial, segment.sequence, segment.window, theirs, answer_to(layer, segment.flags)
        )
        socket.attach(connection)
        connection.send_syn(now_ns)
        return socket

    def refuse(self, errno: int) -> None:
        if self._decided:
            return
        self._leave()
        if errno == Errno.ECONNREFUSED:
            self.layer.reset_for(self.key[0], self.key[1], self._segment)
        elif errno != Errno.ETIMEDOUT:
            self.layer.network.unreachable(self._raw, self.key[1], self.key[0], errno, self._interface)
