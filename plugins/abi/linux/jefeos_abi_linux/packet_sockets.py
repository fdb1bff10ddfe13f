"""AF_PACKET for the socket calls: frames as they are on the wire, for DHCP clients, sniffers and the like (packet(7)).

    sockaddr_ll    u16 family, big-endian u16 EtherType, s32 interface, u16 ARPHRD, u8 packet type, u8 length, 8 bytes

For the privileged only. Rings (PACKET_RX_RING), fan-out and filters in the kernel (SO_ATTACH_FILTER) are ENOPROTOOPT.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.files import PacketFile
from jefeos.net.socket import Frame, PacketSocket

from jefeos_abi_linux.rtnetlink import ARPHRD_ETHER, hardware_type
from jefeos_abi_linux.sockets import (
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    Received,
    Socket,
    option_number,
)

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

AF_PACKET: Final = 17
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_STATISTICS, PACKET_AUXDATA = 1, 2, 6, 8
PACKET_MR_PROMISC: Final = 1
SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_BROADCAST = 4, 7, 8, 6
_SOCKADDR: Final = struct.Struct("<HHiHBB8s")
_MEMBERSHIP: Final = struct.Struct("<iHH8s")


def make_packet(task: Task, family: int, kind: int, protocol: int, flags: int) -> PacketSocketFile:
    """socket(AF_PACKET, …): ``protocol`` is an EtherType in network byte order. EPERM, ESOCKTNOSUPPORT."""
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if kind not in (SOCK_RAW, SOCK_DGRAM):
        raise KernelError(Errno.ESOCKTNOSUPPORT)
    socket = task.kernel.net.stack.open_packet(cooked=kind == SOCK_DGRAM)
    made = PacketSocketFile(task.kernel, kind, protocol, socket, flags)
    socket.owner = (task.creds.euid, made.inode.ino)
    socket.bind_to(_swapped(protocol), 0)
    return made


def _swapped(number: int) -> int:
    """A 16-bit number in the other byte order."""
    return (number & 0xFF) << 8 | number >> 8 & 0xFF


class PacketSocketFile(PacketFile, Socket):
    """A packet socket of a program."""

    family = AF_PACKET

    def __init__(self, kernel: Kernel, kind: int, protocol: int, socket: PacketSocket, flags: int) -> None:
        super().__init__(kernel.vfs, socket, flags)
        self.kernel = kernel
        self.kind = kind
        self.protocol = protocol
        self.interface = 0
        self._promiscuous: set[int] = set()

    def bind_name(self, task: Task, name: bytes) -> int:
        ether_type, interface, _ = self._read_name(name)
        self.socket.bind_to(ether_type or _swapped(self.protocol), interface)
        self.interface, self.protocol = interface, _swapped(ether_type) or self.protocol
        return 0

    @staticmethod
    def _read_name(name: bytes) -> tuple[int, int, bytes]:
        """EtherType, interface and hardware address."""
        if len(name) < 12:
            raise KernelError(Errno.EINVAL)
        family, ether_type, interface, _, _, length, address = _SOCKADDR.unpack(name.ljust(_SOCKADDR.size, b"\0")[:20])
        if family != AF_PACKET:
            raise KernelError(Errno.EINVAL)
        return _swapped(ether_type), interface, address[: min(length, 8)]

    def connect_name(self, task: Task, name: bytes) -> MaybeAwait[int]:
        raise KernelError(Errno.EOPNOTSUPP)

    def _name(self, ether_type: int, interface: int, kind: int, mac: bytes) -> bytes:
        hardware = ARPHRD_ETHER
        if interface:
            try:
                hardware = hardware_type(self.kernel.net.stack.interface(interface))
            except KernelError:  # it is gone
                hardware = ARPHRD_ETHER
        return _SOCKADDR.pack(AF_PACKET, _swapped(ether_type), interface, hardware, kind, len(mac), mac)

    def local_name(self) -> bytes:
        mac = self.kernel.net.stack.interface(self.interface).mac if self.interface else b""
        return self._name(_swapped(self.protocol), self.interface, 0, mac)

    def peer_name_bytes(self) -> bytes:
        raise KernelError(Errno.EOPNOTSUPP)

    def set_option(self, task: Task, level: int, option: int, value: bytes) -> None:
        if level == SOL_SOCKET and option in (SO_SNDBUF, SO_RCVBUF, SO_BROADCAST):
            option_number(value)
            return
        if level != SOL_PACKET or option not in (PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP):
            raise KernelError(Errno.ENOPROTOOPT)
        if len(value) < _MEMBERSHIP.size:
            raise KernelError(Errno.EINVAL)
        index, kind, _, _ = _MEMBERSHIP.unpack_from(value)
        interface = self.kernel.net.stack.interface(index)
        if kind == PACKET_MR_PROMISC:
            on = option == PACKET_ADD_MEMBERSHIP
            interface.set_promiscuous(on)
            (self._promiscuous.add if on else self._promiscuous.discard)(index)

    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        common = self.common_option(option) if level == SOL_SOCKET else None
        if common is not None:
            return common
        if (level, option) == (SOL_SOCKET, SO_ERROR):
            return self.socket.take_error().to_bytes(4, "little")
        if level == SOL_PACKET and option == PACKET_STATISTICS:
            received, dropped = self.socket.get_option("packet_statistics")
            return struct.pack("<II", received & 0xFFFF_FFFF, dropped & 0xFFFF_FFFF)
        raise KernelError(Errno.ENOPROTOOPT)

    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        ether_type, interface, mac = self._read_name(name) if name else (_swapped(self.protocol), self.interface, b"")
        if not interface:
            raise KernelError(Errno.ENXIO)
        return self._send_message(
            lambda: self.socket.send_frame(data, interface, ether_type, mac),
            len(data),
            nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT),
        )

    def write(self, data: bytes) -> MaybeAwait[int]:
        interface, ether_type = self.interface, _swapped(self.protocol)
        if not interface:
            raise KernelError(Errno.ENXIO)
        return self._send_message(
            lambda: self.socket.send_frame(data, interface, ether_type), len(data), nonblock=self.nonblocking
        )

    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        peek = bool(flags & MSG_PEEK)

        def take() -> Received | None:
            frame = self.socket.receive_frame(peek=peek)
            return None if frame is None else self._received(frame, count)

        return self._take(take, nonblock=self.nonblocking or bool(flags & MSG_DONTWAIT))

    def _received(self, frame: Frame, count: int) -> Received:
        name = self._name(frame.ether_type, frame.interface, frame.kind, frame.source)
        return Received(frame.data[:count], name, len(frame.data))

    def release(self) -> None:
        for index in self._promiscuous:
            try:
                self.kernel.net.stack.interface(index).set_promiscuous(False)
            except KernelError:  # it is gone
                continue
        super().release()
