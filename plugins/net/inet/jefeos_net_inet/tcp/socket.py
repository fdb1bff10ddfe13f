"""A TCP socket as the kernel sees it (`jefeos.net.socket.StreamSocket`): fresh, listening, or with a connection.

It translates between the user's view (addresses of its family, options, errno, readiness) and `Connection`, which
knows none of these. A socket that fails to connect may try again; one that is closed is gone from the layer at
once, while its connection may live on until the peer has everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.net.address import (
    AF_INET,
    AF_INET6,
    ANY4,
    ANY6,
    BROADCAST4,
    LOOPBACK4,
    LOOPBACK6,
    MAPPED_PREFIX,
    Address,
    SocketAddress,
)
from jefeos.net.socket import Data, Readiness, StreamSocket

from jefeos_net_inet.tcp.connection import Connection
from jefeos_net_inet.tcp.info import tcp_info
from jefeos_net_inet.tcp.listener import Listener
from jefeos_net_inet.tcp.network import is_link_local
from jefeos_net_inet.tcp.states import SENDING, Event, State
from jefeos_net_inet.tcp.timewait import TimeWait
from jefeos_net_inet.tcp.tuning import DEFAULT_HOPS, KEPT, options_from, set_option
from jefeos_net_inet.tcp.wire import PROTOCOL

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.layer import TcpLayer
    from jefeos_net_inet.tcp.tuning import SocketOptions

_UNCONNECTED = (State.CLOSED, State.SYN_SENT, State.SYN_RECEIVED)
_KEEPALIVE = ("so_keepalive", "tcp_keepidle")


class TcpSocket(StreamSocket):
    """See the module's text."""

    def __init__(self, layer: TcpLayer, family: int) -> None:
        if family not in (AF_INET, AF_INET6):
            raise KernelError(Errno.EAFNOSUPPORT)
        self.layer = layer
        self.family = family
        self.protocol = PROTOCOL
        self.options: SocketOptions = options_from(layer.settings)
        self.connection: Connection | None = None
        self.listener: Listener | None = None
        self.bound_address: Address = b""
        self.bound_port = 0
        """0 while bind() was not called."""
        self.pending_error = 0
        self.changed = _nothing
        self.owner: Any = None
        self._wildcard: Address = ANY4 if family == AF_INET else ANY6
        self._connected = False
        """connect() has reported success."""
        self._holds_port = False
        self._closed = False
        layer.sockets_open += 1

    # --- names ------------------------------------------------------------------------------------------------

    def _outer(self, address: Address, port: int) -> SocketAddress:
        if self.family == AF_INET6 and len(address) == 4:
            address = MAPPED_PREFIX + address
        scope = self.options.interface if is_link_local(address) else 0
        return SocketAddress(address or self._wildcard, port, scope)

    def _inner(self, address: Address) -> Address:
        """On the wire: ``b""`` for any of both families."""
        if not address:
            address = self._wildcard
        if self.family == AF_INET:
            if len(address) != 4:
                raise KernelError(Errno.EAFNOSUPPORT)
            return address
        if len(address) == 4:
            address = MAPPED_PREFIX + address
        if address == ANY6:
            return ANY6 if self.options.ipv6_v6only else b""
        if address.startswith(MAPPED_PREFIX):
            if self.options.ipv6_v6only:
                raise KernelError(Errno.EADDRNOTAVAIL)
            return address[12:]
        return address

    @property
    def local(self) -> SocketAddress:  # type: ignore[override]
        connection = self.connection
        if connection is not None:
            return self._outer(connection.local, connection.local_port)
        return self._outer(self.bound_address, self.bound_port)

    @property
    def remote(self) -> SocketAddress | None:  # type: ignore[override]
        connection = self.connection
        if connection is None or connection.is_over:
            return None
        return self._outer(connection.remote, connection.remote_port)

    @property
    def state(self) -> str:
        return self._state.name

    @property
    def _state(self) -> State:
        if self.listener is not None:
            return State.LISTEN
        return self.connection.state if self.connection is not None else State.CLOSED

    # --- opening ----------------------------------------------------------------------------------------------

    def bind(self, address: SocketAddress) -> None:
        if self.bound_port or self.connection is not None or self.listener is not None:
            raise KernelError(Errno.EINVAL)
        inner = self._inner(address.address)
        if any(inner) and not self.layer.network.is_local(inner):
            raise KernelError(Errno.EADDRNOTAVAIL)
        self._bind(inner, address.port)

    def _bind(self, address: Address, port: int) -> None:
        self.bound_address = address
        self.bound_port = self.layer.ports.bind(self, address, port)
        self._holds_port = True

    def listen(self, backlog: int) -> None:
        if self.connection is not None and not self.connection.is_over:
            raise KernelError(Errno.EINVAL)
        most = int(self.layer.setting("somaxconn"))
        backlog = min(backlog, most) if backlog >= 0 else most
        if self.listener is not None:
            self.listener.backlog = backlog
            return
        if not self.bound_port:
            self._bind(self._inner(b""), 0)
        if not self.layer.ports.may_listen(self):
            raise KernelError(Errno.EADDRINUSE)
        self.connection = None
        self.listener = Listener(self, backlog)
        self.layer.listeners.setdefault((self.bound_address, self.bound_port), []).append(self)

    def _stop_listening(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            name = (self.bound_address, self.bound_port)
            group = self.layer.listeners[name]
            group.remove(self)
            if not group:
                del self.layer.listeners[name]
            listener.close(self.layer.network.now_ns())

    def accept(self) -> TcpSocket | None:
        if self.listener is None:
            raise KernelError(Errno.EINVAL)
        return self.listener.ready.popleft() if self.listener.ready else None

    def child(self, connection: Connection, link: int) -> TcpSocket:
        """The socket of a connection that this one accepts; ``link`` is the interface of a link-local peer, or 0."""
        child = TcpSocket(self.layer, self.family)
        child.options = connection.options = evolve(self.options)
        child.options.interface = link or self.options.interface
        child.attach(connection)
        return child

    def attach(self, connection: Connection) -> None:
        """A connection that exists already."""
        self.connection = connection
        connection.socket = self
        self.bound_address, self.bound_port = connection.local, connection.local_port
        self._connected = True

    def connect(self, address: SocketAddress) -> bool:
        connection = self.connection
        if self.listener is not None:
            raise KernelError(Errno.EISCONN)
        if self.pending_error:
            error = self.take_error()
            if not self._connected:
                self.disconnect()
            raise KernelError(Errno(error))
        if connection is not None and not connection.is_over:
            if connection.state in (State.SYN_SENT, State.SYN_RECEIVED):
                raise KernelError(Errno.EALREADY)
            if self._connected:
                raise KernelError(Errno.EISCONN)
            self._connected = True
            return True
        remote = self._inner(address.address)
        if not any(remote):
            remote = LOOPBACK6 if self.family == AF_INET6 else LOOPBACK4
        if remote == BROADCAST4 or (remote[0] & 0xF0 == 0xE0 if len(remote) == 4 else remote[0] == 0xFF):
            raise KernelError(Errno.ENETUNREACH)
        source = self.bound_address if any(self.bound_address) else b""
        if source and len(source) != len(remote):
            raise KernelError(Errno.EINVAL if self.family == AF_INET else Errno.ENETUNREACH)
        self._connected = False
        self._open(remote, address.port, source, self.options.interface or address.scope)
        return False

    def _open(self, remote: Address, remote_port: int, source: Address, interface: int) -> None:
        """RFC 9293, section 3.10.1, active."""
        layer = self.layer
        now_ns = layer.network.now_ns()
        path = layer.network.path(remote, source, interface)
        local = path.source

        def is_free(port: int) -> bool:
            thing = layer.table.get((local, remote, port, remote_port))
            if thing is None:
                return True
            return type(thing) is TimeWait and bool(layer.setting("tcp_tw_reuse")) and thing.may_be_reused(now_ns)

        port = self.bound_port or layer.ports.for_connection(is_free)
        if self.bound_port and not is_free(port):
            raise KernelError(Errno.EADDRNOTAVAIL)
        key = (local, remote, port, remote_port)
        initial = layer.secrets.initial_sequence(local, remote, (port, remote_port), now_ns)
        old = layer.table.get(key)
        if old is not None:  # a TIME-WAIT that may be reused: count on from where it ended
            initial = old.send_next + 0xFFFF & 0xFFFF_FFFF
            layer.remove(key)
        if interface:
            self.options.interface = interface
        connection = Connection(layer, (local, port), (remote, remote_port), path, self.options, initial)
        connection.step(Event.ACTIVE_OPEN)
        connection.socket = self
        self.connection = connection
        layer.enter(key, connection)
        connection.send_syn(now_ns)

    # --- data -------------------------------------------------------------------------------------------------

    def send(self, data: Data, *, more: bool = False, urgent: bool = False) -> int:
        connection = self.connection
        if connection is None or self.pending_error or connection.shut_writing or connection.state not in SENDING:
            return self._cannot_send()
        return connection.send(data, more, urgent, self.layer.network.now_ns())

    def _cannot_send(self) -> int:
        if self.pending_error:
            raise KernelError(Errno(self.take_error()))
        connection = self.connection
        if connection is None or connection.shut_writing or connection.is_over:
            raise KernelError(Errno.EPIPE)
        connection.stalled = True  # the handshake goes on
        return 0

    def receive(self, count: int, *, peek: bool = False, urgent: bool = False) -> bytes | None:
        connection = self.connection
        if connection is None or self.listener is not None:
            raise KernelError(Errno(self.take_error()) if self.pending_error else Errno.ENOTCONN)
        receiver = connection.receiver
        if urgent:
            return self._receive_urgent(connection, peek)
        if receiver is not None:
            queue = receiver.queue
            if queue.end > queue.start:
                if peek:
                    at = receiver.urgent_at
                    return queue.peek(min(count, at - queue.start) if at is not None and at > queue.start else count)
                return connection.read(count, self.layer.network.now_ns())
        if self.pending_error:
            raise KernelError(Errno(self.take_error()))
        if connection.is_over or connection.shut_reading:
            return b""
        if receiver is not None and receiver.fin_at is not None and receiver.nxt > receiver.fin_at:
            return b""
        return None

    def _receive_urgent(self, connection: Connection, peek: bool) -> bytes | None:
        """MSG_OOB (recv(2)): the one urgent octet."""
        receiver = connection.receiver
        if receiver is None or self.options.so_oobinline or not receiver.urgent_end:
            raise KernelError(Errno.EINVAL)
        octet = receiver.urgent_octet
        if octet is None:
            if receiver.nxt >= receiver.urgent_end:
                raise KernelError(Errno.EINVAL)  # it was read before
            return None
        if not peek:
            receiver.urgent_octet = None
        return bytes((octet,))

    @property
    def received_bytes(self) -> int:
        connection = self.connection
        return len(connection.receiver.queue) if connection is not None and connection.receiver is not None else 0

    @property
    def unsent_bytes(self) -> int:
        return self.connection.sender.unacknowledged if self.connection is not None else 0

    # --- ending -----------------------------------------------------------------------------------------------

    def shut_down(self, reading: bool, writing: bool) -> None:
        now_ns = self.layer.network.now_ns()
        if self.listener is not None:
            if reading:
                self._stop_listening()
            return
        connection = self.connection
        if connection is None or connection.is_over:
            raise KernelError(Errno.ENOTCONN)
        if connection.state is State.SYN_SENT:
            connection.abort(now_ns)
            return
        if reading:
            connection.shut_reading = True
        if writing and not connection.shut_writing:
            connection.shut(now_ns)

    def close(self) -> None:
        self._let_go()
        connection = self.connection
        if connection is not None:
            connection.close(self.layer.network.now_ns())

    def abort(self) -> None:
        self._let_go()
        connection = self.connection
        if connection is not None:
            connection.socket = None
            connection.abort(self.layer.network.now_ns())

    def _let_go(self) -> None:
        self.changed = _nothing
        self._stop_listening()
        if not self._closed:
            self._closed = True
            self.layer.sockets_open -= 1
        self._release_port()

    def _release_port(self) -> None:
        if self._holds_port:
            self._holds_port = False
            self.layer.ports.release(self)

    def disconnect(self) -> None:
        self._stop_listening()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.socket = None
            connection.abort(self.layer.network.now_ns())
            if not self._holds_port:
                self.bound_address, self.bound_port = b"", 0
        self.pending_error = 0
        self._connected = False

    # --- what happened ----------------------------------------------------------------------------------------

    def connection_changed(self) -> None:
        """The connection has news; an error is taken over once. HOT."""
        connection = self.connection
        if connection is not None and connection.error:
            self.pending_error, connection.error = connection.error, 0
        self.changed()

    @property
    def ready(self) -> Readiness:
        return _READINESS[self._ready_bits()]

    def _ready_bits(self) -> int:
        bits = 32 if self.pending_error else 0
        if self.listener is not None:
            return bits | (1 if self.listener.ready else 0)
        connection = self.connection
        if connection is None:
            return bits | 16 | 2
        receiver = connection.receiver
        if receiver is None and not connection.is_over:
            return bits  # SYN-SENT
        if connection.is_over:
            return bits | 1 | 2 | 8 | 16
        ended = receiver.fin_at is not None and receiver.nxt > receiver.fin_at
        queue = receiver.queue
        if ended or connection.shut_reading:
            bits |= 1 | 8
            if connection.shut_writing:
                bits |= 16
        elif queue.end - queue.start >= self.options.so_rcvlowat and queue.end > queue.start:
            bits |= 1
        if bits & 32:
            bits |= 1
        if receiver.urgent_octet is not None or (receiver.urgent_end and receiver.nxt < receiver.urgent_end):
            bits |= 4
        if connection.shut_writing:
            return bits | 2
        if connection.state not in _UNCONNECTED:
            sending = connection.sender.queue
            if 3 * (sending.end - sending.start) <= 2 * connection.send_buffer_bytes:
                bits |= 2
            else:
                connection.stalled = True  # whoever looks may go on to wait for it
        return bits

    # --- options ----------------------------------------------------------------------------------------------

    def set_option(self, name: str, value: Any) -> None:
        if name.startswith("ipv6_") and self.family != AF_INET6:
            raise KernelError(Errno.ENOPROTOOPT)
        if name == "ipv6_v6only" and self.bound_port:
            raise KernelError(Errno.EINVAL)
        if name == "so_bindtodevice":
            self.options.interface = self.layer.network.interface_index(value) if value else 0
            self.options.so_bindtodevice = value
            if self.connection is not None:
                self.connection.lane = None
            return
        set_option(self.options, name, value)
        connection = self.connection
        if connection is None or connection.is_over or connection.receiver is None:
            return
        now_ns = self.layer.network.now_ns()
        connection.lane = None  # hop limit and traffic class are laid out in it
        if name in _KEEPALIVE:
            connection.keepalive_changed(now_ns)
        elif name in ("tcp_nodelay", "tcp_cork") and connection.state in SENDING:
            connection.sender.transmit(now_ns)
        elif name == "so_rcvbuf":
            connection.receiver.resize(self.options.so_rcvbuf)
        elif name == "tcp_quickack":
            connection.receiver.quick_left = 1 << 30 if value else 0
        elif name == "tcp_maxseg":
            connection.sender.resize(*connection.sizes())
        elif name == "tcp_congestion":
            connection.sender.change_congestion(value)

    def get_option(self, name: str) -> Any:
        connection = self.connection
        if name == "tcp_info":
            return tcp_info(connection, self._state, self.layer.network.now_ns())
        if name == "tcp_maxseg" and connection is not None and connection.receiver is not None:
            return connection.sender.segment_bytes
        if name == "siocatmark":
            receiver = connection.receiver if connection is not None else None
            return receiver is not None and receiver.urgent_at == receiver.queue.start
        readable: dict[str, Callable[[], Any]] = {
            "so_error": self.take_error,
            "so_acceptconn": lambda: self.listener is not None,
            "so_type": lambda: 1,
            "so_protocol": lambda: PROTOCOL,
            "so_domain": lambda: self.family,
        }
        if name in readable:
            return readable[name]()
        if name in ("ip_mtu", "ipv6_mtu"):
            if connection is None or connection.is_over:
                raise KernelError(Errno.ENOTCONN)
            return connection.path.mtu
        if name in KEPT:
            return self.options.kept.get(name, 0)
        if name in ("ip_ttl", "ipv6_unicast_hops") and getattr(self.options, name) < 0:
            return DEFAULT_HOPS
        if not name.startswith(("so_", "tcp_", "ip")) or not hasattr(self.options, name):
            raise KernelError(Errno.ENOPROTOOPT)
        return getattr(self.options, name)


_READINESS = [Readiness(bits) for bits in range(64)]
"""Making a flag from bits costs more than finding it."""


def _nothing() -> None:
    """Nobody listens."""
