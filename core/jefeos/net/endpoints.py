"""asyncio's calls that open connections and servers, over the kernel's network stack.

`KernelLoop` has these as its ``create_connection``, ``create_server``, ``create_datagram_endpoint``, ``getaddrinfo``
and ``getnameinfo``; arguments and results are asyncio's. What belongs to the host is refused with ValueError: a
ready-made ``sock``. Sockets of the host are reached through `kernel.host` and descriptors (`add_reader`), never
from here.

TLS is asyncio's own layer over our transport, by the public ``start_tls``; `_Gate` holds back what arrives between the
handshake and the protocol's ``connection_made``.
"""

from __future__ import annotations

import asyncio
import socket as host_socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError, UsageError
from jefeos.net.address import (
    AF_INET,
    AF_INET6,
    ANY4,
    ANY6,
    LOOPBACK4,
    LOOPBACK6,
    Address,
    SocketAddress,
    family_of,
    parse_address,
)
from jefeos.net.socket import DatagramSocket, StreamSocket
from jefeos.net.transports import DatagramTransport, SocketView, StreamTransport, feed, os_error, socket_name

if TYPE_CHECKING:
    from jefeos.net.networking import Networking
    from jefeos.sched.loop import KernelLoop

HANDSHAKES_AT_ONCE: Final = 100
_LOCAL_NAMES: Final = {"localhost": (LOOPBACK6, LOOPBACK4), "ip6-localhost": (LOOPBACK6,)}
Factory = Callable[[], asyncio.BaseProtocol]


class Endpoints:
    """The network as a `KernelLoop` sees it."""

    def __init__(self, loop: KernelLoop, net: Networking) -> None:
        self.loop = loop
        self.net = net

    # --- names ---------------------------------------------------------------------------------------------

    async def addresses(self, host: str | bytes | None, family: int = 0, *, passive: bool = False) -> list[Address]:
        """The addresses of a host; of None, the ones to listen on or the loopback's. Raises socket.gaierror."""
        if host is None or host == "":
            found: Sequence[Address] = (ANY6, ANY4) if passive else (LOOPBACK6, LOOPBACK4)
        else:
            name = host.decode("ascii") if isinstance(host, bytes) else host
            try:
                found = (parse_address(name.partition("%")[0]),)
            except UsageError:
                found = _LOCAL_NAMES.get(name.rstrip(".").lower(), ())
            if not found:
                try:
                    found = await self.net.resolver.resolve(name, family)
                except KernelError as error:
                    number = host_socket.EAI_AGAIN if error.errno == Errno.EAGAIN else host_socket.EAI_NONAME
                    raise host_socket.gaierror(number, f"{name}: {error}") from None
        wanted = [address for address in found if family in (0, family_of(address))]
        if not wanted:
            raise host_socket.gaierror(host_socket.EAI_NONAME, f"{host!r} has no address of this family")
        return wanted

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0  # noqa: A002
    ) -> list[Any]:
        """As `socket.getaddrinfo`."""
        number = _port(port)
        found = await self.addresses(host, _our_family(family), passive=bool(flags & host_socket.AI_PASSIVE))
        kinds = [
            (kind, protocol)
            for kind, protocol in (
                (host_socket.SOCK_STREAM, host_socket.IPPROTO_TCP), (host_socket.SOCK_DGRAM, host_socket.IPPROTO_UDP)
            )
            if type in (0, kind) and proto in (0, protocol)
        ]
        return [
            (_host_family(address), host_socket.SocketKind(kind), protocol, "",
             socket_name(SocketAddress(address, number, _scope(self.net, host))))
            for address in found
            for kind, protocol in kinds
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """As `socket.getnameinfo`; services stay numbers."""
        host, port = sockaddr[:2]
        if flags & host_socket.NI_NUMERICHOST:
            return host, str(port)
        try:
            return await self.net.resolver.name_of(parse_address(host)), str(port)
        except KernelError as error:
            if flags & host_socket.NI_NAMEREQD:
                raise host_socket.gaierror(host_socket.EAI_NONAME, str(error)) from None
            return host, str(port)

    # --- streams -------------------------------------------------------------------------------------------

    async def create_connection(
        self, protocol_factory: Factory, host: Any = None, port: Any = None, *, ssl: Any = None, family: int = 0,
        proto: int = 0, flags: int = 0, sock: Any = None, local_addr: Any = None, server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None, interleave: int | None = None, all_errors: bool = False,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """The addresses of ``host`` are tried in turn. Raises OSError: the last one's failure."""
        _refuse(sock)
        failure: OSError | None = None
        for address in await self.addresses(host, _our_family(family)):
            socket = self.net.stack.open_stream(family_of(address))
            try:
                if local_addr is not None:
                    (local,) = (await self.addresses(local_addr[0], family_of(address)))[:1]
                    socket.bind(SocketAddress(local, _port(local_addr[1])))
                await self.connected(socket, SocketAddress(address, _port(port), _scope(self.net, host)))
                break
            except KernelError as error:
                socket.close()
                failure = os_error(error)
            except BaseException:
                socket.close()
                raise
        else:
            raise failure or OSError(f"{host!r} has no address")
        protocol = protocol_factory()
        if not ssl:
            made = self.loop.create_future()
            transport: asyncio.Transport = StreamTransport(self.loop, socket, protocol)
            self.loop.call_soon(made.set_result, None)
            await made
            return transport, protocol
        if server_hostname is None:
            if not host:
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = host
        transport = await self._wrapped(
            socket, protocol, ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout
        )
        return transport, protocol

    async def connected(self, socket: StreamSocket, address: SocketAddress) -> None:
        """Connect, and wait until that is done. Raises KernelError."""
        if socket.connect(address):
            return
        news = asyncio.Event()
        socket.changed = news.set
        while True:
            news.clear()
            if socket.pending_error:
                raise KernelError(socket.take_error())
            if socket.state not in ("SYN_SENT", "SYN_RECEIVED"):
                return
            await news.wait()

    async def _wrapped(
        self, socket: StreamSocket, protocol: asyncio.BaseProtocol, context: Any, server_hostname: str | None,
        handshake_timeout: float | None, shutdown_timeout: float | None,
        on_close: Callable[[StreamTransport], None] | None = None,
    ) -> asyncio.Transport:
        """TLS over a connected socket; the protocol hears of it once the handshake is done."""
        if context is True:
            import ssl

            context = ssl.create_default_context()
        gate = _Gate()
        plain = StreamTransport(self.loop, socket, gate, on_close)
        await gate.open
        secure = await self.loop.start_tls(
            plain, gate, context, server_side=on_close is not None, server_hostname=server_hostname,
            ssl_handshake_timeout=handshake_timeout, ssl_shutdown_timeout=shutdown_timeout,
        )
        assert secure is not None
        gate.pass_on(secure, protocol)
        return secure

    async def create_server(
        self, protocol_factory: Factory, host: Any = None, port: Any = None, *, family: int = 0, flags: int = 0,
        sock: Any = None, backlog: int = 100, ssl: Any = None, reuse_address: bool | None = None,
        reuse_port: bool | None = None, ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None, start_serving: bool = True,
    ) -> Server:
        """Listen on every address of ``host`` (all addresses of the system for None). Raises OSError."""
        _refuse(sock)
        hosts = [host] if host is None or isinstance(host, (str, bytes)) else list(host)
        wanted: list[Address] = []
        for one in hosts:
            wanted += await self.addresses(one, _our_family(family), passive=True)
        server = Server(self, protocol_factory, ssl, backlog, (ssl_handshake_timeout, ssl_shutdown_timeout))
        try:
            number = _port(port)
            for address in dict.fromkeys(wanted):
                socket = self.net.stack.open_stream(family_of(address))
                server.listeners.append(socket)
                socket.set_option("so_reuseaddr", True if reuse_address is None else reuse_address)
                if reuse_port:
                    socket.set_option("so_reuseport", True)
                if family_of(address) == AF_INET6:
                    socket.set_option("ipv6_v6only", True)
                socket.bind(SocketAddress(address, number))
                number = number or (socket.local.port if len(wanted) > 1 and host is None else 0)
        except KernelError as error:
            server.close()
            raise os_error(error) from None
        if start_serving:
            await server.start_serving()
        return server

    # --- datagrams -----------------------------------------------------------------------------------------

    async def create_datagram_endpoint(
        self, protocol_factory: Factory, local_addr: Any = None, remote_addr: Any = None, *, family: int = 0,
        proto: int = 0, flags: int = 0, reuse_port: bool | None = None, allow_broadcast: bool | None = None,
        sock: Any = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """A UDP socket. Raises OSError."""
        _refuse(sock)
        wanted = _our_family(family)
        ends: list[SocketAddress | None] = []
        for given in (local_addr, remote_addr):
            if given is None:
                ends.append(None)
                continue
            address = (await self.addresses(given[0], wanted))[0]
            wanted = family_of(address)
            ends.append(SocketAddress(address, _port(given[1]), _scope(self.net, given[0])))
        local, remote = ends
        socket: DatagramSocket = self.net.stack.open_datagram(wanted or AF_INET)
        try:
            if allow_broadcast:
                socket.set_option("so_broadcast", True)
            if reuse_port:
                socket.set_option("so_reuseport", True)
            if local is not None:
                socket.bind(local)
            if remote is not None:
                socket.connect(remote)
            elif local is None:
                socket.bind(SocketAddress(ANY6 if wanted == AF_INET6 else ANY4, 0))
        except KernelError as error:
            socket.close()
            raise os_error(error) from None
        protocol = protocol_factory()
        transport = DatagramTransport(self.loop, socket, protocol)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return transport, protocol


class Server(asyncio.AbstractServer):
    """What `create_server` gives."""

    def __init__(
        self, endpoints: Endpoints, factory: Factory, ssl: Any, backlog: int,
        timeouts: tuple[float | None, float | None],
    ) -> None:
        self._endpoints = endpoints
        self._factory = factory
        self._ssl = ssl
        self._backlog = backlog
        self._timeouts = timeouts
        self.listeners: list[StreamSocket] = []
        self._serving = False
        self._open: set[StreamTransport] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[SocketView, ...]:
        """The listening sockets, for those who want to know the port."""
        return tuple(SocketView(listener, host_socket.SOCK_STREAM) for listener in self.listeners)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._endpoints.loop

    def is_serving(self) -> bool:
        return self._serving

    async def start_serving(self) -> None:
        if self._serving:
            return
        self._serving = True
        for listener in self.listeners:
            listener.changed = partial(self._accept_soon, listener)
            try:
                listener.listen(self._backlog)
            except KernelError as error:
                self.close()
                raise os_error(error) from None

    async def serve_forever(self) -> None:
        await self.start_serving()
        self._forever = self.get_loop().create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Take no more connections; those that are open go on."""
        self._serving = False
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        self._check_ended()

    async def wait_closed(self) -> None:
        if self._open and not self._serving:
            self._ended = self._ended or self.get_loop().create_future()
            await asyncio.shield(self._ended)

    def _accept_soon(self, listener: StreamSocket) -> None:
        self.get_loop().call_soon(self._accept, listener)

    def _accept(self, listener: StreamSocket) -> None:
        while self._serving:
            try:
                socket = listener.accept()
            except KernelError:
                return
            if socket is None:
                return
            if self._ssl is None:
                self._open.add(StreamTransport(self.get_loop(), socket, self._factory(), self._closed))
            elif len(self._handshakes) >= HANDSHAKES_AT_ONCE:
                socket.abort()
            else:
                task = self.get_loop().create_task(self._handshake(socket))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, socket: StreamSocket) -> None:
        try:
            await self._endpoints._wrapped(socket, self._factory(), self._ssl, None, *self._timeouts, self._closed)
        except (TimeoutError, OSError):
            socket.abort()  # a client that speaks no TLS

    def _closed(self, transport: StreamTransport) -> None:
        self._open.discard(transport)
        self._check_ended()

    def _check_ended(self) -> None:
        if not self._serving and not self._open and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class _Gate(asyncio.Protocol):
    """Stands in for a protocol during its TLS handshake, and keeps what came for it."""

    def __init__(self) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kept: list[tuple[str, tuple[Any, ...]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # what comes now is for the TLS layer: start_tls goes on with reading
        if not self.open.done():
            self.open.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._kept.append(("data", (data,)))

    def eof_received(self) -> bool:
        self._kept.append(("eof", ()))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(exc or ConnectionResetError("the connection ended before the handshake"))
        self._kept.append(("lost", (exc,)))

    def pass_on(self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        """The handshake is done: from now on the protocol itself is called."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for what, arguments in self._kept:
            if what == "lost":
                protocol.connection_lost(*arguments)
            elif what == "eof":
                if not protocol.eof_received():  # type: ignore[attr-defined]
                    transport.close()
            else:
                feed(protocol, *arguments)


def _refuse(sock: Any) -> None:
    if sock is not None:
        raise ValueError("a socket of the host cannot be used inside of the system (sock= is not supported)")


def _port(port: Any) -> int:
    if port is None:
        return 0
    try:
        number = int(port)
    except (TypeError, ValueError):
        raise host_socket.gaierror(host_socket.EAI_SERVICE, f"{port!r} is not a port number") from None
    if not 0 <= number < 1 << 16:
        raise OverflowError("port must be 0-65535.")
    return number


def _scope(net: Networking, host: Any) -> int:
    """Interface index of ``fe80::1%eth0``. Raises socket.gaierror."""
    zone = host.partition("%")[2] if isinstance(host, str) else ""
    try:
        return net.stack.interface(int(zone) if zone.isdecimal() else zone).index if zone else 0
    except KernelError:
        raise host_socket.gaierror(host_socket.EAI_NONAME, f"{host}: there is no interface {zone!r}") from None


def _our_family(family: int) -> int:
    return AF_INET if family == host_socket.AF_INET else AF_INET6 if family == host_socket.AF_INET6 else 0


def _host_family(address: Address) -> host_socket.AddressFamily:
    return host_socket.AF_INET if len(address) == 4 else host_socket.AF_INET6
