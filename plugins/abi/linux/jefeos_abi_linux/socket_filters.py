"""SO_ATTACH_FILTER: classic BPF programs that say which packets a socket receives, and how much of each.

    setsockopt --struct sock_fprog--> SocketProgram (checked) --> the stack's socket, as its `PacketFilter`
    a packet --> the program --> 0: not for this socket; n: its first n bytes

A program loads bytes of the packet from where the socket's user will read it: the link header for a raw packet socket,
the network header for a cooked one, the UDP or ICMP header for those. Offsets from -0x200000 and from -0x100000 on
count from the link and the network header, those from -0x1000 on are what Linux knows of a packet besides its bytes
(Documentation/networking/filter.rst): protocol, kind, interface, marks and VLAN tags (0 here: tags stay in the frame);
netlink attributes and random numbers are not there (EINVAL).

TCP, local and netlink sockets take no filters (ENOPROTOOPT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.socket import PacketView

from jefeos_abi_linux.bpf import COMMON, INSTRUCTION, LD_W_ABS, MAX_INSTRUCTIONS, MOD, X_SOURCE, BpfProgram
from jefeos_abi_linux.sockets import option_number

if TYPE_CHECKING:
    from jefeos.net.files import NetFile
    from jefeos.proc.task import Task

SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER = 26, 27, 44
LD_H_ABS, LD_B_ABS = 0x28, 0x30
LD_W_IND, LD_H_IND, LD_B_IND = 0x40, 0x48, 0x50
LDX_B_MSH: Final = 0xB1
_SIZES: Final = {LD_W_ABS: 4, LD_H_ABS: 2, LD_B_ABS: 1, LD_W_IND: 4, LD_H_IND: 2, LD_B_IND: 1}
_INDIRECT: Final = frozenset((LD_W_IND, LD_H_IND, LD_B_IND))
LINK_OFFSET, NETWORK_OFFSET, ANCILLARY_OFFSET = -0x200000, -0x100000, -0x1000
AD_PROTOCOL, AD_PKTTYPE, AD_IFINDEX, AD_MARK, AD_QUEUE, AD_HATYPE, AD_RXHASH, AD_CPU = 0, 4, 8, 20, 24, 28, 32, 36
AD_ALU_XOR_X, AD_VLAN_TAG, AD_VLAN_TAG_PRESENT, AD_VLAN_TPID = 40, 44, 48, 60
_ALWAYS_0: Final = frozenset((AD_MARK, AD_QUEUE, AD_RXHASH, AD_CPU, AD_VLAN_TAG, AD_VLAN_TAG_PRESENT, AD_VLAN_TPID))
_ANCILLARY: Final = _ALWAYS_0 | {AD_PROTOCOL, AD_PKTTYPE, AD_IFINDEX, AD_HATYPE, AD_ALU_XOR_X}
FILTER_OPTIONS: Final = frozenset((SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER))
_FPROG_BYTES: Final = 16
_SIGN: Final = 1 << 31


class SocketProgram(BpfProgram):
    """A program over a `PacketView`."""

    known = COMMON | {*_SIZES, LDX_B_MSH, MOD, MOD | X_SOURCE}

    def __call__(self, view: PacketView) -> int:
        """How many bytes of the packet are for the socket. HOT while there is one."""
        return self.interpret(view)

    def is_good_load(self, code: int, k: int) -> bool:
        """Any offset; but a direct one in the range of what is known besides has to be something that is."""
        offset = _signed(k)
        return code in _INDIRECT or code == LDX_B_MSH or not ANCILLARY_OFFSET <= offset < 0 or (
            offset - ANCILLARY_OFFSET in _ANCILLARY
        )

    def load(self, code: int, k: int, a: int, x: int, over: PacketView) -> int:
        offset = _signed(k)
        if code == LDX_B_MSH:
            return (_bytes_at(over, offset, 1)[0] & 0xF) << 2
        if code in _INDIRECT:
            offset = _signed(k + x & 0xFFFF_FFFF)
        elif ANCILLARY_OFFSET <= offset < 0:
            return _known_of(over, offset - ANCILLARY_OFFSET, a, x)
        return int.from_bytes(_bytes_at(over, offset, _SIZES[code]), "big")

    def length_of(self, over: PacketView) -> int:
        return len(over.whole) - over.start


def _signed(k: int) -> int:
    return (k ^ _SIGN) - _SIGN


def _bytes_at(view: PacketView, offset: int, size: int) -> bytes | memoryview:
    """Bytes of a packet. IndexError where there are none."""
    start = offset + view.start
    if offset < 0:
        if offset >= NETWORK_OFFSET:
            start = offset - NETWORK_OFFSET + view.network
        elif offset >= LINK_OFFSET and view.link >= 0:
            start = offset - LINK_OFFSET + view.link
        else:
            raise IndexError
    if start + size > len(view.whole):
        raise IndexError
    return view.whole[start : start + size]


def _known_of(view: PacketView, what: int, a: int, x: int) -> int:
    """What is known of a packet besides its bytes."""
    if what == AD_ALU_XOR_X:
        return a ^ x
    if what in _ALWAYS_0:
        return 0
    return {
        AD_PROTOCOL: view.ether_type, AD_PKTTYPE: view.kind, AD_IFINDEX: view.interface, AD_HATYPE: view.hardware_type
    }[what]  # fmt: skip


def read_filter(task: Task, value: bytes) -> SocketProgram:
    """The program of a struct sock_fprog. EINVAL, EFAULT."""
    if len(value) != _FPROG_BYTES:
        raise KernelError(Errno.EINVAL)
    count, address = int.from_bytes(value[:2], "little"), int.from_bytes(value[8:], "little")
    if not 0 < count <= MAX_INSTRUCTIONS:
        raise KernelError(Errno.EINVAL)
    return SocketProgram(task.mm.read(address, count * INSTRUCTION.size))


def set_filter_option(task: Task, file: NetFile, option: int, value: bytes) -> None:
    """One of FILTER_OPTIONS. EPERM once the filter is locked, ENOENT where there is none to detach."""
    socket = file.socket
    locked = getattr(file, "filter_is_locked", False)
    number = option_number(value)
    if option == SO_LOCK_FILTER:
        if locked and not number:
            raise KernelError(Errno.EPERM)
        socket.get_option("so_attach_filter")  # does it take filters?
        file.filter_is_locked = locked or bool(number)  # type: ignore[attr-defined]
        return
    program = read_filter(task, value) if option == SO_ATTACH_FILTER else None
    if locked:
        raise KernelError(Errno.EPERM)
    if program is None and socket.get_option("so_attach_filter") is None:
        raise KernelError(Errno.ENOENT)
    socket.set_option("so_attach_filter", program)
