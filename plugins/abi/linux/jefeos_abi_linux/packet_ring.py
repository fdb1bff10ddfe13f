"""PACKET_RX_RING: frames that a packet socket puts where its program sees them, without a call for each (packet(7)).

    block 0                          block 1                             mmap of the socket
    | frame 0 | frame 1 | unused |   | frame 2 | frame 3 | unused |

    frame:  struct tpacket2_hdr (status, lengths, offsets, time)
            struct sockaddr_ll, at RING_ADDRESS
            room (PACKET_RESERVE), the data at `mac`, so that what follows the link header is aligned to 16 bytes

A frame whose status is 0 is the kernel's; the kernel fills it and sets TP_STATUS_USER, and the program gives it back by
writing 0. Frames are used in order, so a frame that is still the program's means that the ring is full: what arrives
then is dropped and counted. This is TPACKET_V2 of Documentation/networking/packet_mmap.rst; the other versions are
refused (EINVAL), and libpcap takes this one then. There is no ring for sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.cpu.paging import PAGE_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.structs import Struct, pad, u16, u32

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.net.socket import Frame

TPACKET_V2: Final = 1
TP_STATUS_USER, TP_STATUS_LOSING, TP_STATUS_TS_SOFTWARE = 0x1, 0x4, 1 << 29
ALIGNMENT: Final = 16
RING_ADDRESS: Final = 32
_SOCKADDR_BYTES: Final = 20
HEADER_BYTES: Final = RING_ADDRESS + _SOCKADDR_BYTES
_LEAST_LINK_BYTES: Final = 16


class RingRequest(Struct):
    """struct tpacket_req."""

    block_size: int = u32()
    block_nr: int = u32()
    frame_size: int = u32()
    frame_nr: int = u32()


class FrameHeader(Struct):
    """struct tpacket2_hdr."""

    status: int = u32()
    length: int = u32()
    snaplen: int = u32()
    mac: int = u16()
    net: int = u16()
    sec: int = u32()
    nsec: int = u32()
    vlan_tci: int = u16()
    vlan_tpid: int = u16()
    _pad = pad(4)


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT


class PacketRing:
    """A ring. EINVAL for sizes that do not fit together, ENOMEM."""

    def __init__(self, kernel: Kernel, request: RingRequest, reserved_bytes: int) -> None:
        block, frame = request.block_size, request.frame_size
        fits = (
            block and block % PAGE_SIZE == 0 and frame % ALIGNMENT == 0 and frame >= HEADER_BYTES + reserved_bytes
            and request.block_nr and block // frame * request.block_nr == request.frame_nr
        )  # fmt: skip
        if not fits:
            raise KernelError(Errno.EINVAL)
        self._block_bytes, self._frame_bytes = block, frame
        self._frames_in_block = block // frame
        self._frames = request.frame_nr
        self._reserved_bytes = reserved_bytes
        self.size_bytes = block * request.block_nr
        self._buffers = kernel.vfs.buffers
        self._buffers.claim(self.size_bytes, Errno.ENOMEM)
        self.mapping = kernel.memory.page_cache.new_mapping(None)
        self.mapping.size_bytes = self.size_bytes
        self._next = 0
        self.dropped = 0
        """Frames that found the ring full since the program asked (PACKET_STATISTICS)."""
        self._losing = False

    def _place(self, number: int) -> int:
        block, place = divmod(number % self._frames, self._frames_in_block)
        return block * self._block_bytes + place * self._frame_bytes

    def _status(self, number: int) -> int:
        return int.from_bytes(self.mapping.read(self._place(number), 4), "little")

    @property
    def is_readable(self) -> bool:
        """Whether the newest frame is the program's."""
        return self._status(self._next - 1) != 0

    def put(self, frame: Frame, link_bytes: int, name: bytes, real_ns: int) -> None:
        """A frame with the name of its sender. ``link_bytes``: of its link header; 0 for a cooked socket. HOT."""
        if self._status(self._next):
            self.dropped += 1
            self._losing = True
            return
        network = _aligned(HEADER_BYTES + self._reserved_bytes + _LEAST_LINK_BYTES)
        mac = network - link_bytes
        data = frame.data[: max(self._frame_bytes - mac, 0)]
        seconds, nanoseconds = divmod(real_ns, 1_000_000_000)
        header = FrameHeader(
            length=frame.whole_bytes, snaplen=len(data), mac=mac, net=network, sec=seconds & 0xFFFF_FFFF,
            nsec=nanoseconds,
        ).pack()
        place = self._place(self._next)
        status = TP_STATUS_USER | TP_STATUS_TS_SOFTWARE | (TP_STATUS_LOSING if self._losing else 0)
        try:
            self.mapping.write(place, (header + name).ljust(mac, b"\0") + data)
            self.mapping.write(place, status.to_bytes(4, "little"))  # last: from now on it is the program's
        except KernelError:  # there is no memory for its page
            self.dropped += 1
            return
        self._losing = False
        self._next = (self._next + 1) % self._frames

    def close(self) -> None:
        """The memory goes once no program maps it any more."""
        self.mapping.release()
        self._buffers.give_back(self.size_bytes)
