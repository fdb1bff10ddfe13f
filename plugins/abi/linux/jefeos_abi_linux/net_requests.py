"""ioctl(2) on sockets: the SIOC* requests by which `ifconfig`, `route`, `arp` and old libraries work (netdevice(7)).

    struct ifreq     16 bytes of name, 24 of a union: a sockaddr, flags, an int
    struct ifconf    length and pointer of an array of ifreq
    struct rtentry   for SIOCADDRT and SIOCDELRT, arpreq for the ARP cache

Changes need privilege (EPERM). What is not in the tables is ENOTTY.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, classful_length, mask_length, netmask
from jefeos.net.files import MessageFile, StreamFile
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Interface, Neighbour, NeighbourState, NetworkStack, Route

from jefeos_abi_linux.ethtool import ethtool_request
from jefeos_abi_linux.rtnetlink_messages import (
    ARPHRD_ETHER,
    DEFAULT_QUEUE_LENGTH,
    broadcast_of,
    hardware_type,
)
from jefeos_abi_linux.sockets import SOCK_DGRAM, Socket
from jefeos_abi_linux.unix_sockets import UnixSocket

if TYPE_CHECKING:
    from jefeos.proc.task import Task

SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B
SIOCGSTAMP, SIOCGSTAMPNS = 0x8906, 0x8907
SIOCATMARK, SIOCADDRT, SIOCDELRT = 0x8905, 0x890B, 0x890C
SIOCGIFNAME, SIOCGIFCONF = 0x8910, 0x8912
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCSIFADDR = 0x8913, 0x8914, 0x8915, 0x8916
SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCSIFBRDADDR = 0x8917, 0x8919, 0x891A
SIOCGIFNETMASK, SIOCSIFNETMASK, SIOCGIFMETRIC = 0x891B, 0x891C, 0x891D
SIOCGIFMTU, SIOCSIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8921, 0x8922, 0x8927, 0x8933
SIOCGIFTXQLEN, SIOCETHTOOL, SIOCGIFMAP = 0x8942, 0x8946, 0x8970
SIOCDARP, SIOCGARP, SIOCSARP = 0x8953, 0x8954, 0x8955
IFREQ_BYTES: Final = 40
NAME_BYTES: Final = 16
RTF_GATEWAY, RTF_HOST = 0x2, 0x4
ATF_COM, ATF_PERM = 0x2, 0x4
_RTENTRY: Final = struct.Struct("<8x16s16s16sH22xh6xQQ16x")


def socket_request(task: Task, file: Socket, request: int, argument: int) -> int:
    """The request, or ENOTTY."""
    if request in (SIOCOUTQ, SIOCOUTQNSD):
        return _unsent(task, file, request, argument)
    if request in (SIOCGSTAMP, SIOCGSTAMPNS):
        return _stamp(task, file, request, argument)
    stack = task.kernel.net.stack
    if request == SIOCATMARK and isinstance(file, StreamFile):
        task.mm.write_u32(argument, int(file.socket.get_option("siocatmark")))
        return 0
    if request == SIOCGIFCONF:
        return _list_interfaces(task, stack, argument)
    if request in _CHANGES or request in _OTHERS:
        if request in _CHANGES and not task.creds.privileged:
            raise KernelError(Errno.EPERM)
        if request in _OTHERS:
            return _OTHERS[request](task, stack, argument)
    elif request not in _QUESTIONS and request != SIOCETHTOOL:
        raise KernelError(Errno.ENOTTY)
    data = task.mm.read(argument, IFREQ_BYTES)
    if request == SIOCGIFNAME:
        interface = stack.interface(int.from_bytes(data[16:20], "little", signed=True))
        task.mm.write(argument, interface.name.encode().ljust(NAME_BYTES, b"\0"))
        return 0
    interface = stack.interface(data[:NAME_BYTES].partition(b"\0")[0].partition(b":")[0].decode("latin-1"))
    if request == SIOCETHTOOL:
        return ethtool_request(task, interface, int.from_bytes(data[16:24], "little"))
    if request in _CHANGES:
        _CHANGES[request](interface, data[NAME_BYTES:])
    else:
        task.mm.write(argument + NAME_BYTES, _QUESTIONS[request](interface))
    return 0


def _stamp(task: Task, file: Socket, request: int, argument: int) -> int:
    """When the last message had come (socket(7)). ENOENT if there was none."""
    if file.stamp_ns is None:
        raise KernelError(Errno.ENOENT)
    seconds, rest_ns = divmod(file.real_time_ns(file.stamp_ns), 1_000_000_000)
    task.mm.write(argument, struct.pack("<qq", seconds, rest_ns if request == SIOCGSTAMPNS else rest_ns // 1000))
    return 0


def _unsent(task: Task, file: Socket, request: int, argument: int) -> int:
    """Bytes that are under way or wait to be sent, or that wait only (tcp(7), unix(7)). Datagrams go at once."""
    if isinstance(file, StreamFile):
        if file.socket.state == "LISTEN":
            raise KernelError(Errno.EINVAL)
        unsent = file.socket.unsent_bytes
        if request == SIOCOUTQNSD:
            unsent = int(file.socket.get_option("tcp_info").get("notsent_bytes", 0))
    elif request == SIOCOUTQ and isinstance(file, MessageFile):
        unsent = 0
    elif request == SIOCOUTQ and isinstance(file, UnixSocket) and file.kind != SOCK_DGRAM:
        unsent = file.peer.held_bytes if file.peer is not None else 0
    else:
        raise KernelError(Errno.ENOTTY)
    task.mm.write_u32(argument, unsent)
    return 0


def _sockaddr(address: bytes) -> bytes:
    return struct.pack("<HH4s8x", AF_INET, 0, address)


def _prefix_length(mask: bytes) -> int:
    """The length of a network mask. EINVAL for one with holes."""
    length = mask_length(mask)
    if length is None:
        raise KernelError(Errno.EINVAL)
    return length


def _own(interface: Interface) -> tuple[bytes, int]:
    """The first IPv4 address. EADDRNOTAVAIL."""
    for own in interface.addresses:
        if len(own.address) == 4:
            return own.address, own.prefix_length
    raise KernelError(Errno.EADDRNOTAVAIL)


def _list_interfaces(task: Task, stack: NetworkStack, argument: int) -> int:
    room, _, buffer = struct.unpack("<iIQ", task.mm.read(argument, 16))
    records = b"".join(
        (interface.name.encode().ljust(NAME_BYTES, b"\0") + _sockaddr(own.address)).ljust(IFREQ_BYTES, b"\0")
        for interface in stack.interfaces()
        for own in interface.addresses
        if len(own.address) == 4
    )
    if buffer:
        records = records[: max(room, 0) // IFREQ_BYTES * IFREQ_BYTES]
        task.mm.write(buffer, records)
    task.mm.write_u32(argument, len(records))
    return 0


def _hardware_address(interface: Interface) -> bytes:
    return struct.pack("<H6s8x", hardware_type(interface), interface.mac)


def _broadcast(interface: Interface) -> bytes:
    address, length = _own(interface)
    return _sockaddr(broadcast_of(address, length) if interface.flags & InterfaceFlags.BROADCAST else bytes(4))


def _int(value: int) -> bytes:
    return value.to_bytes(4, "little")


_QUESTIONS: Final[dict[int, Callable[[Interface], bytes]]] = {
    SIOCGIFNAME: lambda interface: b"",
    SIOCGIFFLAGS: lambda interface: (int(interface.flags) & 0xFFFF).to_bytes(2, "little"),
    SIOCGIFADDR: lambda interface: _sockaddr(_own(interface)[0]),
    SIOCGIFDSTADDR: lambda interface: _sockaddr(_own(interface)[0]),
    SIOCGIFBRDADDR: _broadcast,
    SIOCGIFNETMASK: lambda interface: _sockaddr(netmask(_own(interface)[1])),
    SIOCGIFMETRIC: lambda interface: _int(0),
    SIOCGIFMTU: lambda interface: _int(interface.mtu),
    SIOCGIFHWADDR: _hardware_address,
    SIOCGIFINDEX: lambda interface: _int(interface.index),
    SIOCGIFTXQLEN: lambda interface: _int(DEFAULT_QUEUE_LENGTH),
    SIOCGIFMAP: lambda interface: bytes(24),
}


def _set_flags(interface: Interface, data: bytes) -> None:
    flags = int.from_bytes(data[:2], "little")
    interface.set_promiscuous(bool(flags & InterfaceFlags.PROMISC))
    up = bool(flags & InterfaceFlags.UP)
    if up != bool(interface.flags & InterfaceFlags.UP):
        interface.set_up(up)


def _address_in(data: bytes) -> bytes:
    if int.from_bytes(data[:2], "little") != AF_INET:
        raise KernelError(Errno.EINVAL)
    return data[4:8]


def _set_address(interface: Interface, data: bytes) -> None:
    """The address becomes the only IPv4 one; 0.0.0.0 takes it away. The interface comes up, as on Linux."""
    address = _address_in(data)
    for own in [own for own in interface.addresses if len(own.address) == 4]:
        interface.remove_address(own.address)
    if any(address):
        interface.add_address(address, classful_length(address))
        interface.set_up(True)


def _set_mask(interface: Interface, data: bytes) -> None:
    address, length = _own(interface)
    wanted = _prefix_length(_address_in(data))
    if wanted != length:
        interface.remove_address(address)
        interface.add_address(address, wanted)


def _set_broadcast(interface: Interface, data: bytes) -> None:
    """Only the one that follows from the network is kept here. EINVAL for another."""
    address, length = _own(interface)
    if _address_in(data) != broadcast_of(address, length):
        raise KernelError(Errno.EINVAL)


_CHANGES: Final[dict[int, Callable[[Interface, bytes], None]]] = {
    SIOCSIFFLAGS: _set_flags,
    SIOCSIFADDR: _set_address,
    SIOCSIFNETMASK: _set_mask,
    SIOCSIFBRDADDR: _set_broadcast,
    SIOCSIFMTU: lambda interface, data: interface.set_mtu(int.from_bytes(data[:4], "little", signed=True)),
}


def _read_route(task: Task, stack: NetworkStack, argument: int) -> Route:
    data = task.mm.read(argument, _RTENTRY.size)
    destination, gateway, mask, flags, metric, device, mtu = _RTENTRY.unpack(data)
    length = 32 if flags & RTF_HOST else _prefix_length(mask[4:8])
    way = gateway[4:8] if flags & RTF_GATEWAY else b""
    interface = 0
    if device:
        interface = stack.interface(task.mm.read_cstr(device, NAME_BYTES).decode("latin-1")).index
    elif way:
        interface = stack.route_to(way).interface
    if not interface:
        raise KernelError(Errno.ENODEV)
    return Route(destination[4:8], length, interface, way, max(metric - 1, 0), mtu=mtu & 0xFFFF)


def _change_route(add: bool) -> Callable[[Task, NetworkStack, int], int]:
    def change(task: Task, stack: NetworkStack, argument: int) -> int:
        if not task.creds.privileged:
            raise KernelError(Errno.EPERM)
        route = _read_route(task, stack, argument)
        if add:
            stack.add_route(route)
        else:
            stack.remove_route(route)
        return 0

    return change


def _arp(request: int) -> Callable[[Task, NetworkStack, int], int]:
    """struct arpreq: protocol address, hardware address, flags, mask, name of the interface."""

    def handle(task: Task, stack: NetworkStack, argument: int) -> int:
        data = task.mm.read(argument, 68)
        address = _address_in(data)
        name = data[52:68].partition(b"\0")[0].decode("latin-1")
        if request == SIOCGARP:
            for known in stack.neighbours():
                if known.address == address and name in ("", stack.interface(known.interface).name):
                    flags = ATF_COM | (ATF_PERM if known.state is NeighbourState.PERMANENT else 0)
                    hardware = struct.pack("<H6s8x", ARPHRD_ETHER, known.mac or bytes(6))
                    task.mm.write(argument + 16, hardware + _int(flags if known.mac else 0))
                    return 0
            raise KernelError(Errno.ENXIO)
        if not task.creds.privileged:
            raise KernelError(Errno.EPERM)
        interface = stack.interface(name).index if name else stack.route_to(address).interface
        if request == SIOCDARP:
            stack.remove_neighbour(address, interface)
        else:
            stack.add_neighbour(Neighbour(address, interface, data[18:24], NeighbourState.PERMANENT))
        return 0

    return handle


_OTHERS: Final[dict[int, Callable[[Task, NetworkStack, int], int]]] = {
    SIOCADDRT: _change_route(True),
    SIOCDELRT: _change_route(False),
    **{request: _arp(request) for request in (SIOCGARP, SIOCSARP, SIOCDARP)},
}
