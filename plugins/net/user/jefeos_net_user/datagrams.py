"""UDP and ICMP echo through the gateway.

A guest's UDP port gets one socket of the host for all its destinations of a family; what comes back is let in only
from where the guest has written to (RFC 4787: endpoint-independent mapping, address- and port-dependent filtering).
Messages to the name server's address go to the host's own one. Mappings end after a minute without traffic, and their
number is bounded: the one that was quiet for longest goes first.

On a Linux host, what ICMP says of a message that did not arrive is passed on (IP_RECVERR): a port that nobody has is
refused to the guest, too.

Echo requests go out by the host's ping sockets, which most Linux hosts give everybody (net.ipv4.ping_group_range); on
the others they are lost, and the log says so once.
"""

from __future__ import annotations

import errno as host_errno
import logging
import socket
import struct
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.checksum import checksum

from jefeos_net_user.policy import NAME_SERVER, NAME_SERVER6, Policy, family_of_text, host_name_servers

if TYPE_CHECKING:
    from jefeos.net.stack import NetworkStack
    from jefeos.sched.loop import KernelLoop

IDLE_S: Final = 60.0
SWEEP_S: Final = 10.0
MOST_MAPPINGS: Final = 512
MOST_PEERS: Final = 64
DNS_PORT: Final = 53
MOST_BYTES: Final = 65_535
TURNS: Final = 64
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129
_ECHO: Final = struct.Struct(">BBHHH")
ERROR_QUEUE: Final[int] = getattr(socket, "MSG_ERRQUEUE", 0)
"""Linux alone has it."""
_RECVERR: Final = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_ERROR: Final = struct.Struct("<IBBBBII")
"""struct sock_extended_err: errno, origin, ICMP's type and code."""
_ERROR_BYTES: Final = 512
PASSED_ON: Final = {
    host_errno.ECONNREFUSED: Errno.ECONNREFUSED, host_errno.EHOSTUNREACH: Errno.EHOSTUNREACH,
    host_errno.ENETUNREACH: Errno.ENETUNREACH,
}  # fmt: skip


@define(eq=False)
class Mapping:
    """A port of the guest and its socket on the host."""

    guest: SocketAddress
    host: socket.socket
    used_s: float
    peers: dict[tuple[str, int], SocketAddress] = field(factory=dict)
    """The host's name of each destination, and the guest's."""


@define(eq=False)
class Ping:
    """A guest's echo identifier and its ping socket."""

    host: socket.socket
    used_s: float
    guest: bytes
    destination: bytes
    identifier: int


class Datagrams:
    """The mappings of a gateway."""

    def __init__(self, stack: NetworkStack, loop: KernelLoop, policy: Policy, log: logging.Logger) -> None:
        self._stack = stack
        self._loop = loop
        self._policy = policy
        self._log = log
        self._mappings: OrderedDict[tuple[SocketAddress, int], Mapping] = OrderedDict()
        """By the guest's end and the family of the host's socket."""
        self._pings: OrderedDict[tuple[bytes, bytes, int], Ping] = OrderedDict()
        self._told: set[str] = set()
        self._timer = loop.call_later(SWEEP_S, self._sweep)

    # --- UDP -----------------------------------------------------------------------------------------------

    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        """A message of a guest."""
        target = self._target(destination)
        if target is None:
            return
        key = (source, family_of_text(target[0]))
        mapping = self._mappings.get(key)
        try:
            if mapping is None:
                mapping = self._map(key)
            if len(mapping.peers) >= MOST_PEERS and target not in mapping.peers:
                del mapping.peers[next(iter(mapping.peers))]
            mapping.peers[target] = destination
            mapping.used_s = self._loop.time()
            self._mappings.move_to_end(key)
            try:
                mapping.host.sendto(data, target)
            except OSError:  # the error of an earlier message, perhaps: it is taken, and this one goes
                self._take_errors(mapping)
                mapping.host.sendto(data, target)
        except OSError as error:
            self._log.debug("gateway: a message to %s is lost: %s", destination, error)

    def _target(self, destination: SocketAddress) -> tuple[str, int] | None:
        if destination.address in (NAME_SERVER, NAME_SERVER6):
            return self.name_server() if destination.port == DNS_PORT else None
        address = self._policy.target(destination.address)
        return (address, destination.port) if address is not None else None

    def name_server(self) -> tuple[str, int] | None:
        """Where questions go; None if the host has no server, or the policy says no."""
        servers = [] if self._policy.restricted else host_name_servers()
        if not servers:
            self._tell_once("gateway: the host names no server in /etc/resolv.conf: guests get no answers")
            return None
        return servers[0], DNS_PORT

    def _map(self, key: tuple[SocketAddress, int]) -> Mapping:
        while len(self._mappings) >= MOST_MAPPINGS:
            self._unmap(next(iter(self._mappings)))
        source, family = key
        host = socket.socket(family, socket.SOCK_DGRAM)
        host.setblocking(False)
        if ERROR_QUEUE:
            host.setsockopt(*_RECVERR[host.family], 1)
        mapping = self._mappings[key] = Mapping(source, host, self._loop.time())
        self._loop.add_reader(host, self._answered, mapping)
        return mapping

    def _answered(self, mapping: Mapping) -> None:
        for turn in range(TURNS):
            try:
                data, peer = mapping.host.recvfrom(MOST_BYTES)
            except BlockingIOError:
                if not turn:  # what woke us was no message
                    self._take_errors(mapping)
                return
            except OSError:
                self._take_errors(mapping)
                continue
            origin = mapping.peers.get(peer[:2])
            if origin is None:
                continue  # somebody the guest has not written to
            mapping.used_s = self._loop.time()
            try:
                self._stack.send_as(origin, mapping.guest, data)
            except KernelError:  # no way to the guest now
                return

    def _take_errors(self, mapping: Mapping) -> None:
        """Tell the guest what the host has heard of its messages."""
        for _ in range(TURNS if ERROR_QUEUE else 0):
            try:
                data, control, _, peer = mapping.host.recvmsg(MOST_BYTES, _ERROR_BYTES, ERROR_QUEUE)
            except OSError:
                return
            origin = mapping.peers.get(peer[:2])
            for level, kind, body in control:
                if (level, kind) != _RECVERR[mapping.host.family] or len(body) < _ERROR.size or origin is None:
                    continue
                errno = PASSED_ON.get(_ERROR.unpack_from(body)[0])
                if errno is not None:
                    with suppress(KernelError):  # no way to the guest now
                        self._stack.send_error_as(mapping.guest, origin, data, errno)

    def _unmap(self, key: tuple[SocketAddress, int]) -> None:
        host = self._mappings.pop(key).host
        self._loop.remove_reader(host)
        host.close()

    # --- ICMP ----------------------------------------------------------------------------------------------

    def echo(self, source: bytes, destination: bytes, identifier: int, sequence: int, data: bytes) -> None:
        """An echo request of a guest."""
        address = self._policy.target(destination)
        if address is None:
            return
        key = (source, destination, identifier)
        ping = self._pings.get(key)
        try:
            if ping is None:
                ping = self._open_ping(key)
            ping.used_s = self._loop.time()
            if len(destination) == 16:  # the host fills in identifier and sum
                message = _ECHO.pack(ECHO_REQUEST6, 0, 0, identifier, sequence) + data
            else:
                total = checksum(_ECHO.pack(ECHO_REQUEST, 0, 0, identifier, sequence) + data)
                message = _ECHO.pack(ECHO_REQUEST, 0, total, identifier, sequence) + data
            ping.host.sendto(message, (address, 0))
        except OSError as error:
            self._tell_once(f"gateway: echo requests are lost: {error.strerror or error} (net.ipv4.ping_group_range?)")

    def _open_ping(self, key: tuple[bytes, bytes, int]) -> Ping:
        while len(self._pings) >= MOST_MAPPINGS:
            self._close_ping(next(iter(self._pings)))
        if len(key[1]) == 16:
            host = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
        else:
            host = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        host.setblocking(False)
        ping = self._pings[key] = Ping(host, self._loop.time(), *key)
        self._loop.add_reader(host, self._echoed, ping)
        return ping

    def _echoed(self, ping: Ping) -> None:
        for _ in range(TURNS):
            try:
                data = ping.host.recv(MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            if len(data) < _ECHO.size or data[0] not in (ECHO_REPLY, ECHO_REPLY6):
                continue
            sequence = _ECHO.unpack_from(data)[4]
            try:
                self._stack.send_echo_reply_as(
                    ping.destination, ping.guest, ping.identifier, sequence, data[_ECHO.size :]
                )
            except KernelError:
                return

    def _close_ping(self, key: tuple[bytes, bytes, int]) -> None:
        host = self._pings.pop(key).host
        self._loop.remove_reader(host)
        host.close()

    # --- the end -------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        limit_s = self._loop.time() - IDLE_S
        for guest in [guest for guest, mapping in self._mappings.items() if mapping.used_s < limit_s]:
            self._unmap(guest)
        for key in [key for key, ping in self._pings.items() if ping.used_s < limit_s]:
            self._close_ping(key)
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Let go of every socket."""
        self._timer.cancel()
        for guest in list(self._mappings):
            self._unmap(guest)
        for key in list(self._pings):
            self._close_ping(key)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._log.warning("%s", text)


