"""AF_INET and AF_INET6 for the socket calls: streams, datagrams, raw and ping sockets (tcp(7), udp(7), raw(7)).

The stack's sockets do the work (`jefeos.net.socket`), `jefeos.net.files` waits, and this is names, options, control
data and flags. Raw sockets are for the privileged.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, MAPPED_PREFIX
from jefeos.net.files import DatagramFile, NetFile, StreamFile
from jefeos.net.socket import Datagram, StreamSocket

from jefeos_abi_linux.inet_names import family_in, inet_name, read_inet_name
from jefeos_abi_linux.inet_options import SOL_IP, SOL_IPV6, get_inet_option, set_inet_option
from jefeos_abi_linux.socket_filters import FILTER_OPTIONS, set_filter_option
from jefeos_abi_linux.socket_messages import control_records
from jefeos_abi_linux.sockets import (
    AF_UNSPEC,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOL_SOCKET,
    Received,
    Socket,
)

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.net.address import SocketAddress
    from jefeos.net.socket import DatagramSocket
    from jefeos.net.socket import Socket as StackSocket
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

IPPROTO_ICMP: Final = 1
IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17
IPPROTO_ICMPV6: Final = 58
IPPROTO_MAX: Final = 256
PRIVILEGED_PORTS: Final = 1024
IP_TTL, IP_TOS, IP_PKTINFO, IP_RECVERR = 2, 1, 8, 11
IPV6_RECVERR, IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS = 25, 50, 52, 67
IPV6_2292PKTINFO, IPV6_2292HOPLIMIT = 2, 8
"""As before RFC 3542: BusyBox asks so."""

_HOP_LIMITS: Final = (
    ("ip_recvttl", SOL_IP, IP_TTL), ("ipv6_recvhoplimit", SOL_IPV6, IPV6_HOPLIMIT),
    ("ipv6_2292hoplimit", SOL_IPV6, IPV6_2292HOPLIMIT),
)
"""Options that ask for the hop limit of what is received, and the control data that they ask for."""


def make_inet(task: Task, family: int, kind: int, protocol: int, flags: int) -> InetSocket:
    """socket(AF_INET or AF_INET6, …). EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, EACCES."""
    stack = task.kernel.net.stack
    kernel, uid = task.kernel, task.creds.euid
    icmp = IPPROTO_ICMP if family == AF_INET else IPPROTO_ICMPV6
    if not 0 <= protocol < IPPROTO_MAX:
        raise KernelError(Errno.EINVAL)
    if kind == SOCK_STREAM:
        if protocol not in (0, IPPROTO_TCP):
            raise KernelError(Errno.EPROTONOSUPPORT)
        return InetStream(kernel, uid, family, kind, stack.open_stream(family), flags)
    if kind == SOCK_DGRAM:
        if protocol == icmp:
            return InetDatagram(kernel, uid, family, kind, stack.open_ping(family), flags)
        return InetDatagram(kernel, uid, family, kind, stack.open_datagram(family, protocol or IPPROTO_UDP), flags)
    if kind != SOCK_RAW:
        raise KernelError(Errno.ESOCKTNOSUPPORT)
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if not protocol:
        raise KernelError(Errno.EPROTONOSUPPORT)
    return InetDatagram(kernel, uid, family, kind, stack.open_raw(family, protocol), flags)


class InetSocket(NetFile, Socket):
    """What both kinds have in common."""

    def __init__(self, kernel: Kernel, uid: int, family: int, kind: int, socket: StackSocket, flags: int) -> None:
        super().__init__(kernel.vfs, socket, flags, kernel.net.stack.settle)
        self.kernel = kernel
        self.uid = uid
        self.family = family
        self.kind = kind
        self.protocol = socket.protocol
        socket.owner = (uid, self.inode.ino)

    def bind_name(self, task: Task, name: bytes) -> int:
        address = read_inet_name(name, self.family, binding=True)
        lowest = self.kernel.net.stack.settings.get("net.ipv4.ip_unprivileged_port_start", PRIVILEGED_PORTS)
        reserved = self.kind != SOCK_RAW and isinstance(lowest, int) and 0 < address.port < lowest
        if reserved and not task.creds.privileged:
            raise KernelError(Errno.EACCES)
        self.socket.bind(address)
        return 0

    def connect_name(self, task: Task, name: bytes) -> MaybeAwait[int]:
        """AF_UNSPEC takes the peer away."""
        if family_in(name) == AF_UNSPEC:
            self.socket.disconnect()
            return 0
        return self.connect(read_inet_name(name, self.family))

    def local_name(self) -> bytes:
        return inet_name(self.socket.local, self.family)

    def peer_name_bytes(self) -> bytes:
        if self.socket.remote is None:
            raise KernelError(Errno.ENOTCONN)
        return inet_name(self.socket.remote, self.family)

    def set_option(self, task: Task, level: int, option: int, value: bytes) -> None:
        if level == SOL_SOCKET and option in FILTER_OPTIONS:
            set_filter_option(task, self, option, value)
            return
        set_inet_option(self.socket, level, option, value)

    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        common = self.common_option(option) if level == SOL_SOCKET else None
        return get_inet_option(self.socket, level, option) if common is None else common


class InetStream(InetSocket, StreamFile):
    """A TCP socket of a program."""

    socket: StreamSocket

    def connect(self, address: SocketAddress) -> MaybeAwait[int]:
        """Ends the time slice: who waits to accept gets the processor, as on Linux, before its backlog is full."""
        try:
            return super().connect(address)
        finally:
            if len(self.kernel.executor.scheduler):
                self.kernel.engine.stop()

    def listen_for(self, task: Task, backlog: int) -> None:
        self.socket.listen(backlog)

    def take_connection(self, *, nonblock: bool) -> MaybeAwait[Socket]:
        taken = self.accept_socket(nonblock=nonblock)
        return self._accepted(taken) if isinstance(taken, StreamSocket) else self._accept_later(taken)

    async def _accept_later(self, pending: Any) -> Socket:
        return self._accepted(await pending)

    def _accepted(self, socket: StreamSocket) -> InetStream:
        return InetStream(self.kernel, self.uid, self.family, SOCK_STREAM, socket, 0)

    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        """A name is looked at only if nothing is connected, and refused then."""
        nonblock = self.nonblocking or bool(flags & MSG_DONTWAIT)
        return self.send(data, nonblock=nonblock, more=bool(flags & MSG_MORE), urgent=bool(flags & MSG_OOB))

    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        if flags & MSG_ERRQUEUE:
            raise KernelError(Errno.EAGAIN)
        taken = self.receive(
            count,
            nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT),
            peek=bool(flags & MSG_PEEK),
            whole=bool(flags & MSG_WAITALL),
            urgent=bool(flags & MSG_OOB),
        )
        return Received(taken) if isinstance(taken, bytes) else _received_later(taken)


async def _received_later(pending: Any) -> Received:
    return Received(await pending)


class InetDatagram(InetSocket, DatagramFile):
    """A UDP, raw or ping socket of a program."""

    socket: DatagramSocket

    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        destination = read_inet_name(name, self.family) if name else None
        ancillary = _read_ancillary(control) if control else None
        return self.send_to(data, destination, ancillary, nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT))

    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        if flags & MSG_ERRQUEUE:
            return self._from_error_queue(count)
        peek = bool(flags & MSG_PEEK)

        def take() -> Received | None:
            message = self.socket.receive_from(peek=peek)
            return None if message is None else self._received(message, count)

        return self._take(take, nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT))

    def _received(self, message: Datagram, count: int) -> Received:
        data = message.data
        received = Received(data[:count], inet_name(message.source, self.family), len(data))
        received.controls = self._controls(message)
        return received

    def _controls(self, message: Datagram) -> list[tuple[int, int, bytes]]:
        """Control data for the options that are on."""
        on = self._on
        controls = self.stamp_controls(on, message.received_ns)
        if len(message.destination) == 4:
            if on("ip_pktinfo"):
                info = struct.pack("<I4s4s", message.interface, message.destination, message.destination)
                controls.append((SOL_IP, IP_PKTINFO, info))
            if on("ip_recvttl"):
                controls.append((SOL_IP, IP_TTL, struct.pack("<i", message.hop_limit)))
            if on("ip_recvtos"):
                controls.append((SOL_IP, IP_TOS, bytes([message.traffic_class])))
        if self.family == AF_INET6:
            address = message.destination
            if len(address) == 4:
                address = MAPPED_PREFIX + address
            for name, kind in (("ipv6_recvpktinfo", IPV6_PKTINFO), ("ipv6_2292pktinfo", IPV6_2292PKTINFO)):
                if on(name):
                    controls.append((SOL_IPV6, kind, struct.pack("<16sI", address, message.interface)))
            for name, kind in (("ipv6_recvhoplimit", IPV6_HOPLIMIT), ("ipv6_2292hoplimit", IPV6_2292HOPLIMIT)):
                if on(name):
                    controls.append((SOL_IPV6, kind, struct.pack("<i", message.hop_limit)))
            if on("ipv6_recvtclass"):
                controls.append((SOL_IPV6, IPV6_TCLASS, struct.pack("<i", message.traffic_class)))
        return controls

    def _on(self, name: str) -> bool:
        try:
            return bool(self.socket.get_option(name))
        except KernelError:  # an option of the other family
            return False

    def _from_error_queue(self, count: int) -> Received:
        """MSG_ERRQUEUE: struct sock_extended_err and the offender's name (ip(7), IP_RECVERR)."""
        error = self.socket.next_error()
        if error is None:
            raise KernelError(Errno.EAGAIN)
        body = struct.pack("<IBBBBII", error.errno, error.origin, error.kind, error.code, 0, error.info, 0)
        body += inet_name(error.offender, self.family)
        control = (SOL_IP, IP_RECVERR, body) if self.family == AF_INET else (SOL_IPV6, IPV6_RECVERR, body)
        name = inet_name(error.destination, self.family)
        controls = [control]
        for option, level, kind in _HOP_LIMITS if error.hop_limit else ():
            if self._on(option):
                controls.append((level, kind, struct.pack("<i", error.hop_limit)))
        received = Received(error.payload[:count], name, len(error.payload), controls=controls, flags=MSG_ERRQUEUE)
        if count < len(error.payload):
            received.flags |= MSG_TRUNC
        return received


def _read_ancillary(control: bytes) -> dict[str, Any]:
    """What sendmsg(2) asks for one message. EINVAL."""
    wanted: dict[str, Any] = {}
    for level, kind, body in control_records(control):
        if (level, kind) == (SOL_IP, IP_PKTINFO) and len(body) >= 12:
            wanted["interface"] = int.from_bytes(body[:4], "little")
            wanted["source"] = body[4:8] if any(body[4:8]) else b""
        elif (level, kind) == (SOL_IPV6, IPV6_PKTINFO) and len(body) >= 20:
            wanted["interface"] = int.from_bytes(body[16:20], "little")
            wanted["source"] = body[:16] if any(body[:16]) else b""
        elif (level, kind) in ((SOL_IP, IP_TTL), (SOL_IPV6, IPV6_HOPLIMIT)) and len(body) >= 4:
            wanted["ttl"] = int.from_bytes(body[:4], "little")
        elif (level, kind) in ((SOL_IP, IP_TOS), (SOL_IPV6, IPV6_TCLASS)) and body:
            wanted["tos"] = body[0]
        elif level in (SOL_IP, SOL_IPV6):
            raise KernelError(Errno.EINVAL)
    return wanted
