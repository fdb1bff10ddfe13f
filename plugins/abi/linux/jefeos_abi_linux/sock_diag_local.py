"""sock_diag(7) for what never leaves the machine, and for packet sockets: AF_UNIX, AF_NETLINK, AF_PACKET.

Each function takes a task, whether everything is asked for (NLM_F_DUMP) and the request, and gives the bodies of the
answers. Structures and numbers: linux/unix_diag.h, linux/netlink_diag.h, linux/packet_diag.h.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.stack import SocketInfo

from jefeos_abi_linux.netlink import AF_NETLINK, QUEUE_BYTES, NetlinkSocket, netlink_ports
from jefeos_abi_linux.packet_sockets import AF_PACKET
from jefeos_abi_linux.rtnetlink_messages import attribute
from jefeos_abi_linux.sockets import AF_UNIX, SOCK_DGRAM, SOCK_RAW
from jefeos_abi_linux.unix_sockets import BUFFER_BYTES, UnixSocket, open_unix_sockets

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task

ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
UNIX_NAME, UNIX_VFS, UNIX_PEER, UNIX_ICONS, UNIX_RQLEN, UNIX_MEMINFO, UNIX_SHUTDOWN, UNIX_UID = range(8)
SHOW_UNIX_UID: Final = 0x40
ACCEPTING: Final = 0x10000
SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED = 1, 2, 3
PACKET_INFO, PACKET_UID, PACKET_MEMINFO = 0, 5, 6
PACKET_RUNNING: Final = 0x01
SHOW_PACKET_INFO, SHOW_PACKET_MEMINFO = 0x01, 0x10
NETLINK_MEMINFO, NETLINK_GROUPS = 0, 1
SHOW_NETLINK_MEMINFO, SHOW_NETLINK_GROUPS = 0x01, 0x02
EVERY_PROTOCOL: Final = 0xFF
MOST: Final = 0xFFFF_FFFF
_UNIX_REQUEST: Final = struct.Struct("<BBHIII8s")
_OTHER_REQUEST: Final = struct.Struct("<BBHII8s")


def _memory(receiving: int, sending: int, limit: int) -> bytes:
    """SK_MEMINFO_*, as far as it is known."""
    return struct.pack("<9I", receiving, limit, sending, limit, 0, sending, 0, 0, 0)


def _cookie(inode: int) -> bytes:
    return inode.to_bytes(8, "little")


# --- AF_UNIX --------------------------------------------------------------------------------------------------


def unix(task: Task, dump: bool, body: bytes) -> Iterator[bytes]:
    """struct unix_diag_req. EINVAL, ENOENT."""
    if len(body) < _UNIX_REQUEST.size:
        raise KernelError(Errno.EINVAL)
    _, _, _, states, wanted, show, _ = _UNIX_REQUEST.unpack_from(body)
    seen = Seen(open_unix_sockets(task.kernel))
    sockets = sorted(seen.sockets.keys() - seen.unborn, key=lambda socket: socket.inode.ino)
    if dump:
        return (_unix_message(socket, show, seen) for socket in sockets if states & 1 << seen.state(socket))
    found = [_unix_message(socket, show, seen) for socket in sockets if socket.inode.ino == wanted]
    if not found:
        raise KernelError(Errno.ENOENT)
    return iter(found)


class Seen:
    """The local sockets as a listing sees them."""

    def __init__(self, sockets: dict[UnixSocket, None]) -> None:
        self.sockets = dict(sockets)
        self.unborn = {waiting for socket in sockets for waiting in socket.backlog}
        """Of them accept() has made no files yet."""
        self.peers = Counter(socket.peer for socket in sockets)
        """How many have a socket for their peer."""

    def state(self, socket: UnixSocket) -> int:
        """A datagram socket is connected as soon as another one is to it, as Linux has it."""
        if socket.listening:
            return LISTEN
        connected = socket.connected or socket.kind == SOCK_DGRAM and self.peers[socket]
        return ESTABLISHED if connected else CLOSE


def unix_lines(kernel: Kernel) -> bytes:
    """The lines of /proc/net/unix: whoever is somebody's peer has a reference more."""
    seen = Seen(open_unix_sockets(kernel))
    lines = []
    for socket in sorted(seen.sockets, key=lambda socket: socket.inode.ino):
        accepting = ACCEPTING if socket.listening else 0
        state, inode = SS_CONNECTED if seen.state(socket) == ESTABLISHED else SS_UNCONNECTED, socket.inode.ino
        if socket in seen.unborn:
            state, inode = SS_CONNECTING, 0
        name = b" " + socket.name.replace(b"\0", b"@") if socket.name else b""
        lines.append(
            b"%016x: %08X %08X %08X %04X %02X %5d%s\n"
            % (0, 2 + seen.peers[socket], 0, accepting, socket.kind, state, inode, name)
        )
    return b"".join(lines)


def _unix_message(socket: UnixSocket, show: int, seen: Seen) -> bytes:
    """struct unix_diag_msg and its attributes."""
    inode, peer, node = socket.inode.ino, socket.peer, socket.node
    peer_inode = 0 if peer is None or peer in seen.unborn else peer.inode.ino
    sending = peer.held_bytes if peer is not None and socket.kind != SOCK_DGRAM else 0
    shut = int(socket.reading_over) | int(socket.writing_over) << 1
    queues = (len(socket.backlog), socket.backlog_limit) if socket.listening else (socket.available, sending)
    parts = []

    def add(kind: int, there: object, *values: int) -> None:
        if show & 1 << kind and there:
            parts.append(attribute(kind, struct.pack(f"<{len(values)}I", *(value & MOST for value in values))))

    if show & 1 << UNIX_NAME and socket.name:
        parts.append(attribute(UNIX_NAME, socket.name))
    if node is not None:
        add(UNIX_VFS, True, node.ino, node.fs.device)
    add(UNIX_PEER, peer is not None, peer_inode)
    waiting = [one.peer.inode.ino if one.peer is not None else 0 for one in socket.backlog]
    add(UNIX_ICONS, socket.listening, *waiting)
    add(UNIX_RQLEN, True, *queues)
    if show & 1 << UNIX_MEMINFO:
        parts.append(attribute(UNIX_MEMINFO, _memory(socket.held_bytes, sending, BUFFER_BYTES)))
    if show & SHOW_UNIX_UID:
        parts.append(attribute(UNIX_UID, struct.pack("<I", socket.identity[1])))
    parts.append(attribute(UNIX_SHUTDOWN, bytes([shut])))
    head = struct.pack("<BBBxI", AF_UNIX, socket.kind, seen.state(socket), inode) + _cookie(inode)
    return head + b"".join(parts)


# --- AF_PACKET, AF_NETLINK ------------------------------------------------------------------------------------


def _read_other(dump: bool, body: bytes) -> tuple[int, int]:
    """Protocol and what to show. EINVAL; EOPNOTSUPP but for a dump, as Linux says it."""
    if len(body) < _OTHER_REQUEST.size:
        raise KernelError(Errno.EINVAL)
    if not dump:
        raise KernelError(Errno.EOPNOTSUPP)
    _, protocol, _, _, show, _ = _OTHER_REQUEST.unpack_from(body)
    return protocol, show


def packet(task: Task, dump: bool, body: bytes) -> Iterator[bytes]:
    """struct packet_diag_req."""
    protocol, show = _read_other(dump, body)
    if protocol:
        raise KernelError(Errno.EINVAL)
    net = task.kernel.net
    found = [info for info in net.stack.sockets() if info.kind == "packet"] if net.in_use else []
    return (_packet_message(info, show) for info in found)


def _packet_message(info: SocketInfo, show: int) -> bytes:
    from jefeos_abi_linux.sock_diag import memory_bytes, owner_of

    uid, inode = owner_of(info.owner)
    details = info.details
    kind = SOCK_DGRAM if details.get("cooked") else SOCK_RAW
    message = struct.pack("<BBHI", AF_PACKET, kind, details.get("protocol", 0), inode) + _cookie(inode)
    if show & SHOW_PACKET_INFO:
        message += attribute(PACKET_INFO, struct.pack(
            "<6I", details.get("interface", 0), 0, 0, 0, 0, PACKET_RUNNING if details.get("protocol") else 0
        ))
        message += attribute(PACKET_UID, struct.pack("<I", uid))
    if show & SHOW_PACKET_MEMINFO:
        message += attribute(PACKET_MEMINFO, memory_bytes(info))
    return message


def netlink(task: Task, dump: bool, body: bytes) -> Iterator[bytes]:
    """struct netlink_diag_req."""
    protocol, show = _read_other(dump, body)
    sockets = [
        socket for (own, _), socket in sorted(netlink_ports(task.kernel).items()) if protocol in (EVERY_PROTOCOL, own)
    ]
    return (_netlink_message(socket, show) for socket in sockets)


def _netlink_message(socket: NetlinkSocket, show: int) -> bytes:
    inode = socket.inode.ino
    head = struct.pack(
        "<BBBBIIII", AF_NETLINK, socket.kind, socket.protocol, CLOSE, socket.port, 0, 0, inode
    ) + _cookie(inode)
    if show & SHOW_NETLINK_MEMINFO:
        head += attribute(NETLINK_MEMINFO, _memory(socket.queued_bytes, 0, QUEUE_BYTES))
    if show & SHOW_NETLINK_GROUPS and socket.groups:
        head += attribute(NETLINK_GROUPS, socket.groups.to_bytes(8, "little"))
    return head
