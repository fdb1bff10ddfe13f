"""AF_PACKET for the socket calls: frames as they are on the wire, for DHCP clients, sniffers and the like (packet(7)).

    sockaddr_ll    u16 family, big-endian u16 EtherType, s32 interface, u16 ARPHRD, u8 packet type, u8 length, 8 bytes

For the privileged only. Frames come by the receive calls, or into a ring in the program's memory (packet_ring.py).
Rings for sending, fan-out and virtio's headers are ENOPROTOOPT.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.device import ETHERNET_HEADER_BYTES
from jefeos.net.files import PacketFile
from jefeos.net.socket import Frame, PacketSocket
from jefeos.vfs.flags import POLL_READABLE

from jefeos_abi_linux.inet_options import get_inet_option, set_inet_option
from jefeos_abi_linux.packet_ring import TP_STATUS_USER, TPACKET_V2, FrameHeader, PacketRing, RingRequest
from jefeos_abi_linux.rtnetlink_messages import ARPHRD_ETHER, hardware_type
from jefeos_abi_linux.socket_filters import FILTER_OPTIONS, set_filter_option
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
    from jefeos.mm.pagecache import FileMapping
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

AF_PACKET: Final = 17
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_AUXDATA = 1, 2, 5, 6, 8
PACKET_VERSION, PACKET_HDRLEN, PACKET_RESERVE = 10, 11, 12
MOST_RESERVED_BYTES: Final = 1 << 16
_SOCKADDR: Final = struct.Struct("<HHiHBB8s")
_MEMBERSHIP: Final = struct.Struct("<iHH8s")
_AUXDATA: Final = struct.Struct("<3I4H")
"""struct tpacket_auxdata: status, length, length that was kept, link and network header, VLAN."""


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
        super().__init__(kernel.vfs, socket, flags, kernel.net.stack.settle)
        self.kernel = kernel
        self.kind = kind
        self.protocol = protocol
        self.interface = 0
        self._auxiliary = False
        self._version = 0
        self._reserved_bytes = 0
        self._ring: PacketRing | None = None

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
        if level == SOL_SOCKET:
            if option in FILTER_OPTIONS:
                set_filter_option(task, self, option, value)
            else:
                set_inet_option(self.socket, level, option, value)
        elif level != SOL_PACKET:
            raise KernelError(Errno.ENOPROTOOPT)
        elif option == PACKET_AUXDATA:
            self._auxiliary = bool(option_number(value))
        elif option in (PACKET_VERSION, PACKET_RESERVE):
            self._set_layout(option, option_number(value))
        elif option == PACKET_RX_RING:
            self._set_ring(value)
        elif option in (PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP):
            if len(value) < _MEMBERSHIP.size:
                raise KernelError(Errno.EINVAL)
            index, kind, _, _ = _MEMBERSHIP.unpack_from(value)
            name = "packet_add_membership" if option == PACKET_ADD_MEMBERSHIP else "packet_drop_membership"
            self.socket.set_option(name, (index, kind))
        else:
            raise KernelError(Errno.ENOPROTOOPT)

    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        if level == SOL_SOCKET:
            common = self.common_option(option)
            return get_inet_option(self.socket, level, option) if common is None else common
        if level == SOL_PACKET and option == PACKET_STATISTICS:
            received, dropped = self.socket.get_option("packet_statistics")
            if self._ring is not None:
                dropped += self._ring.dropped
                self._ring.dropped = 0
            return struct.pack("<II", received & 0xFFFF_FFFF, dropped & 0xFFFF_FFFF)
        if level == SOL_PACKET and option == PACKET_AUXDATA:
            return int(self._auxiliary).to_bytes(4, "little")
        if level == SOL_PACKET and option in (PACKET_VERSION, PACKET_RESERVE):
            return (self._version if option == PACKET_VERSION else self._reserved_bytes).to_bytes(4, "little")
        raise KernelError(Errno.ENOPROTOOPT)

    def answer_option(self, level: int, option: int, asked: Callable[[], bytes]) -> bytes | None:
        """PACKET_HDRLEN: of the headers of a version of rings."""
        if (level, option) != (SOL_PACKET, PACKET_HDRLEN):
            return None
        if option_number(asked()) != TPACKET_V2:
            raise KernelError(Errno.EINVAL)
        return FrameHeader.size.to_bytes(4, "little")

    # --- the ring ------------------------------------------------------------------------------------------

    def _set_layout(self, option: int, number: int) -> None:
        """Before there is a ring. EBUSY, EINVAL."""
        if self._ring is not None:
            raise KernelError(Errno.EBUSY)
        if option == PACKET_VERSION and number != TPACKET_V2 or not 0 <= number < MOST_RESERVED_BYTES:
            raise KernelError(Errno.EINVAL)
        if option == PACKET_VERSION:
            self._version = number
        else:
            self._reserved_bytes = number

    def _set_ring(self, value: bytes) -> None:
        """Make one, or with no blocks take it away. EINVAL, EBUSY, ENOMEM."""
        if len(value) < RingRequest.size:
            raise KernelError(Errno.EINVAL)
        request = RingRequest.parse(value)
        if self._ring is not None:
            if request.block_nr or self._ring.mapping.users:
                raise KernelError(Errno.EBUSY)
            self._ring.close()
            self._ring = None
        elif request.block_nr:
            if self._version != TPACKET_V2:
                raise KernelError(Errno.EINVAL)
            self._ring = PacketRing(self.kernel, request, self._reserved_bytes)
        if not request.block_nr and request.frame_nr:
            raise KernelError(Errno.EINVAL)

    def _changed(self) -> None:
        ring = self._ring
        if ring is not None:
            link_bytes = ETHERNET_HEADER_BYTES if self.kind == SOCK_RAW else 0
            while not self.socket.pending_error and (frame := self.socket.receive_frame()) is not None:
                name = self._name(frame.ether_type, frame.interface, frame.kind, frame.source)
                ring.put(frame, link_bytes, name, self.real_time_ns(frame.received_ns))
        super()._changed()

    def poll(self) -> int:
        events = super().poll()
        return events | POLL_READABLE if self._ring is not None and self._ring.is_readable else events

    @property
    def mapping(self) -> FileMapping:
        """The ring's memory. EINVAL without one, as Linux says it."""
        if self._ring is None:
            raise KernelError(Errno.EINVAL)
        return self._ring.mapping

    def release(self) -> None:
        super().release()
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    # --- messages ------------------------------------------------------------------------------------------

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
        received = Received(frame.data[:count], name, len(frame.data))
        received.controls = self.stamp_controls(lambda name: bool(self.socket.get_option(name)), frame.received_ns)
        if self._auxiliary:
            network = ETHERNET_HEADER_BYTES if self.kind == SOCK_RAW else 0
            auxiliary = _AUXDATA.pack(TP_STATUS_USER, frame.whole_bytes, len(frame.data), 0, network, 0, 0)
            received.controls.append((SOL_PACKET, PACKET_AUXDATA, auxiliary))
        return received
