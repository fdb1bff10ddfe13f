"""sock_diag(7): what `ss` asks of sockets, by NETLINK_SOCK_DIAG.

    answer(task, type, flags, body) --> by family --> inet: TCP, UDP, UDP-Lite, raw       (here)
                                                     unix, packet, netlink                (sock_diag_local.py)

A request with NLM_F_DUMP asks for all that have a state, ports and (INET_DIAG_REQ_BYTECODE) a filter program; one
without it for the one socket of an address pair. Structures and numbers: linux/sock_diag.h, linux/inet_diag.h.

A cookie, by which a socket can be asked for again, is its inode number; what has no inode (TIME-WAIT, handshakes)
has no cookie. SOCK_DESTROY and the requests of before Linux 3.3 are refused
(EOPNOTSUPP), as by a Linux that is built without them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, MAPPED_PREFIX, SocketAddress
from jefeos.net.socket import TCP_STATE_NUMBERS
from jefeos.net.stack import SocketInfo

from jefeos_abi_linux.inet_options import tcp_info_bytes
from jefeos_abi_linux.netlink import AF_NETLINK, NLM_F_DUMP
from jefeos_abi_linux.packet_sockets import AF_PACKET
from jefeos_abi_linux.rtnetlink_messages import Part, attribute, read_attributes
from jefeos_abi_linux.sock_diag_filter import SocketFilter
from jefeos_abi_linux.sockets import AF_UNIX

if TYPE_CHECKING:
    from jefeos.proc.task import Task

TCPDIAG_GETSOCK, DCCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 18, 19, 20, 21
DIAG_MEMINFO, DIAG_INFO, DIAG_CONG, DIAG_TOS, DIAG_TCLASS, DIAG_SKMEMINFO, DIAG_SHUTDOWN = 1, 2, 4, 5, 6, 7, 8
DIAG_SKV6ONLY, DIAG_MARK = 11, 15
REQUEST_BYTECODE, REQUEST_PROTOCOL = 1, 3
KINDS: Final = {6: "tcp", 17: "udp", 136: "udplite", 255: "raw"}
"""By protocol; 255 is IPPROTO_RAW and stands for raw sockets of any protocol."""
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
NO_COOKIE: Final = b"\xff" * 8
_REQUEST: Final = struct.Struct("<BBBBI")
_ID: Final = struct.Struct(">HH16s16s")
_ID_BYTES: Final = 48
_TIMERS: Final = {"on": 1, "keepalive": 2, "timewait": 3, "persist": 4}
_STATES: Final = {"UNCONN": CLOSE, "ESTABLISHED": ESTABLISHED}
_MOST: Final = 0xFFFF_FFFF


def answer(task: Task, kind: int, flags: int, body: bytes) -> Iterator[Part]:
    """See the module's text. EINVAL; ENOENT for a family or protocol that has no listing; EOPNOTSUPP."""
    from jefeos_abi_linux import sock_diag_local

    if kind in (TCPDIAG_GETSOCK, DCCPDIAG_GETSOCK, SOCK_DESTROY):
        raise KernelError(Errno.EOPNOTSUPP)
    if kind != SOCK_DIAG_BY_FAMILY or len(body) < 2:
        raise KernelError(Errno.EINVAL)
    handler = {
        AF_INET: _inet, AF_INET6: _inet, AF_UNIX: sock_diag_local.unix, AF_PACKET: sock_diag_local.packet,
        AF_NETLINK: sock_diag_local.netlink,
    }.get(body[0])  # fmt: skip
    if handler is None:
        raise KernelError(Errno.ENOENT)
    return ((SOCK_DIAG_BY_FAMILY, part) for part in handler(task, flags & NLM_F_DUMP == NLM_F_DUMP, body))


def _inet(task: Task, dump: bool, body: bytes) -> Iterator[bytes]:
    """struct inet_diag_req_v2."""
    if len(body) < _REQUEST.size + _ID_BYTES:
        raise KernelError(Errno.EINVAL)
    family, protocol, extensions, _, states = _REQUEST.unpack_from(body)
    identity = body[_REQUEST.size : _REQUEST.size + _ID_BYTES]
    attributes = read_attributes(body[_REQUEST.size + _ID_BYTES :])
    protocol = int.from_bytes(attributes.get(REQUEST_PROTOCOL, bytes([protocol])), "little")
    kind = KINDS.get(protocol)
    if kind is None:
        raise KernelError(Errno.ENOENT)
    code = attributes.get(REQUEST_BYTECODE)
    wanted = SocketFilter(code) if code is not None else None
    net = task.kernel.net
    found = [info for info in net.stack.sockets() if info.kind == kind] if net.in_use else []
    if not dump:
        return iter([_one(found, family, identity, extensions)])
    source_port, destination_port, _, _ = _ID.unpack_from(identity)
    return (
        _message(info, extensions)
        for info in found
        if info.family == family and states & 1 << state_of(info)
        and source_port in (0, info.local.port)
        and destination_port in (0, info.remote.port if info.remote is not None else 0)
        and (wanted is None or wanted.accepts(info))
    )  # fmt: skip


def _one(found: list[SocketInfo], family: int, identity: bytes, extensions: int) -> bytes:
    """The socket of an address pair; one that listens there will do. ENOENT, ESTALE for the cookie of another."""
    source_port, destination_port, source, destination = _ID.unpack_from(identity)
    for listening in (False, True):
        for info in found:
            far = info.remote
            if info.family != family or info.local.port != source_port or (far is None) != listening:
                continue
            if far is not None and (far.port, _packed(far, family)) != (destination_port, destination):
                continue
            if _packed(info.local, family) not in (source, bytes(16)):
                continue
            if identity[-8:] not in (NO_COOKIE, cookie_of(info.owner)):
                raise KernelError(Errno.ESTALE)
            return _message(info, extensions)
    raise KernelError(Errno.ENOENT)


def state_of(info: SocketInfo) -> int:
    """Linux's number."""
    return TCP_STATE_NUMBERS.get(info.state, CLOSE) if info.kind == "tcp" else _STATES.get(info.state, CLOSE)


def owner_of(owner: Any) -> tuple[int, int]:
    """User and inode; both 0 for a socket that is nobody's."""
    return owner if isinstance(owner, tuple) else (0, 0)


def cookie_of(owner: Any) -> bytes:
    """See the module's text."""
    return owner_of(owner)[1].to_bytes(8, "little")


def _packed(end: SocketAddress | None, family: int) -> bytes:
    address = end.address if end is not None else b""
    if family == AF_INET6 and len(address) == 4:
        address = MAPPED_PREFIX + address
    return address.ljust(16, b"\0")


def _message(info: SocketInfo, extensions: int) -> bytes:
    """struct inet_diag_msg and its attributes."""
    state, details, family = state_of(info), info.details, info.family
    uid, inode = owner_of(info.owner)
    remote_port = info.remote.port if info.remote is not None else 0
    head = struct.pack("<BBBB", family, state, _TIMERS.get(info.timer, 0), min(info.retransmits, 255))
    head += _ID.pack(info.local.port, remote_port, _packed(info.local, family), _packed(info.remote, family))
    head += struct.pack("<I", details.get("device", 0)) + cookie_of(info.owner)
    head += struct.pack(
        "<5I", min(-(-info.expires_ns // 1_000_000), _MOST), min(info.receive_queue, _MOST),
        min(info.send_queue, _MOST), uid & _MOST, inode & _MOST,
    )
    if info.timer == "timewait":  # there is nothing else left of it
        return head
    parts = [attribute(DIAG_SHUTDOWN, bytes([details.get("shutdown", 0)]))]

    def asked(what: int) -> bool:
        return bool(extensions & 1 << what - 1)

    if asked(DIAG_TOS):
        parts.append(attribute(DIAG_TOS, bytes([details.get("tos", 0)])))
    if family == AF_INET6:
        if asked(DIAG_TCLASS):
            parts.append(attribute(DIAG_TCLASS, bytes([details.get("tclass", 0)])))
        if state in (CLOSE, LISTEN):
            parts.append(attribute(DIAG_SKV6ONLY, bytes([details.get("v6only", 0)])))
    if asked(DIAG_MEMINFO):
        sending = info.send_queue if state != LISTEN else 0
        receiving = info.receive_queue if state != LISTEN else 0
        parts.append(attribute(DIAG_MEMINFO, struct.pack("<4I", receiving, sending, 0, sending)))
    if asked(DIAG_SKMEMINFO):
        parts.append(attribute(DIAG_SKMEMINFO, memory_bytes(info, listens=state == LISTEN)))
    if info.kind == "tcp":
        if asked(DIAG_INFO):
            parts.append(attribute(DIAG_INFO, tcp_info_bytes(info.state, _listening_info(info, state))))
        if asked(DIAG_CONG) and "congestion" in details:
            parts.append(attribute(DIAG_CONG, details["congestion"].encode() + b"\0"))
    return head + b"".join(parts)


def _listening_info(info: SocketInfo, state: int) -> Mapping[str, Any]:
    """Linux gives the queues of a listener as ``unacked`` and ``sacked``."""
    if state != LISTEN:
        return info.details
    return {**info.details, "unacked": info.receive_queue, "sacked": info.send_queue}


def memory_bytes(info: SocketInfo, *, listens: bool = False) -> bytes:
    """SK_MEMINFO_*: bytes that wait and the limits; what Linux counts besides those (its own structures) is 0 here."""
    receiving, sending = (0, 0) if listens else (info.receive_queue, info.send_queue)
    get = info.details.get
    counts = (receiving, get("rcvbuf", 0), sending, get("sndbuf", 0), 0, sending, 0, 0, get("drops", 0))
    return struct.pack("<9I", *(min(max(count, 0), _MOST) for count in counts))
