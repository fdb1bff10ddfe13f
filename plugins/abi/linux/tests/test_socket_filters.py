"""Classic BPF on sockets, beside the host's Linux: which programs it takes, and what they let through."""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import sys

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.socket import PacketView
from jefeos_abi_linux.socket_filters import SO_ATTACH_FILTER, SO_DETACH_FILTER, SocketProgram

UDP_HEADER_BYTES = 8
PATIENCE_S = 60
SO_NO_CHECK = 11
CODES = (
    0x00, 0x01, 0x02, 0x03, 0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3C, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74,
    0x7C, 0x84, 0x94, 0x9C, 0xA4, 0xAC, 0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D, 0x06, 0x16, 0x07, 0x87,
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0x60, 0x61, 0xB1,
)
"""Every instruction that Linux knows."""
UNKNOWN = (0x08, 0x0D, 0x0E, 0x55, 0x8C, 0xB4, 0xC4, 0xFF, 0x100)


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


def attach(sock: socket.socket, code: bytes) -> int:
    """On the host; the errno."""
    memory = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(memory))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    except OSError as error:
        return int(error.errno or 0)
    return 0


def checked(code: bytes) -> tuple[SocketProgram | None, int]:
    """Here."""
    try:
        return SocketProgram(code), 0
    except KernelError as error:
        return None, int(error.errno)


def random_program(chance: random.Random) -> bytes:
    length = chance.randrange(1, 12)
    instructions = []
    for index in range(length):
        left = max(length - index - 1, 1)
        code = chance.choice(CODES) if chance.random() < 0.97 else chance.choice(UNKNOWN)
        k = chance.choice((0, 1, 2, 3, 8, 9, 12, 15, 16, 17, 31, 32, 0x1234, 0xFFFF_F000, 0xFFFF_F004, 0xFFFF_F002))
        if code == 0x05:
            k = chance.randrange(left + 1)
        instructions.append((code, chance.randrange(left + 1), chance.randrange(left + 1), k))
    if chance.random() < 0.95:
        instructions[-1] = chance.choice(((0x06, 0, 0, chance.randrange(64)), (0x16, 0, 0, 0)))
    return program(*instructions)


@pytest.mark.skipif(sys.platform != "linux", reason="the oracle is Linux")
def test_the_same_programs_are_taken_and_do_the_same() -> None:
    chance = random.Random(26)
    sender, receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # the sum is 0 then, and not what the host makes of it
    sender.connect(receiver.getsockname())
    port, sent_port = receiver.getsockname()[1], sender.getsockname()[1]
    taken = cut = 0
    with sender, receiver:
        for number in range(3000):
            code = random_program(chance)
            host = attach(receiver, code)
            ours, errno = checked(code)
            assert errno == host, (number, code.hex(), errno, host)
            if ours is None:
                assert host == Errno.EINVAL
                continue
            taken += 1
            data = chance.randbytes(chance.randrange(40))
            header = struct.pack(">HHHH", sent_port, port, UDP_HEADER_BYTES + len(data), 0)
            lo = 1
            view = PacketView(bytes(20) + header + data, 20, 0, -1, 0x0800, 0, lo, 772)
            kept = ours(view)
            got = data[: max(kept - UDP_HEADER_BYTES, 0)] if kept else None
            sender.send(data)
            # The host may take its time with a datagram. One that we would have dropped is then found the next time.
            receiver.settimeout(PATIENCE_S if kept else 0)
            try:
                expected: bytes | None = receiver.recv(100)
            except (BlockingIOError, TimeoutError):
                expected = None
            assert got == expected, (number, code.hex(), data.hex(), kept, expected)
            cut += expected is not None and len(expected) < len(data)
    assert taken > 300 and cut > 10, (taken, cut)


def test_what_is_known_of_a_packet_besides_its_bytes() -> None:
    frame = bytes(range(14)) + bytes(range(100, 140))
    view = PacketView(frame, 14, 14, 0, 0x0806, 3, 7, 1)

    def loaded(code: int, k: int) -> int:
        return SocketProgram(program((code, 0, 0, k & 0xFFFF_FFFF), (0x16, 0, 0, 0)))(view)

    assert [loaded(0x20, -0x1000 + what) for what in (0, 4, 8, 28, 20, 48)] == [0x0806, 3, 7, 1, 0, 0]
    assert loaded(0x28, -0x200000 + 12) == 0x0C0D
    assert loaded(0x28, -0x100000 + 2) == 0x6667
    assert loaded(0x30, 0) == 100
    assert loaded(0x20, 37) == 0  # behind the end: the program ends, and takes nothing
    assert loaded(0x80, 0) == 40
    for what in (12, 16, 52, 56, 2):
        with pytest.raises(KernelError):
            loaded(0x20, -0x1000 + what)


def test_numbers_are_those_of_the_host() -> None:
    assert getattr(socket, "SO_ATTACH_FILTER", SO_ATTACH_FILTER) == SO_ATTACH_FILTER
    assert SO_DETACH_FILTER == 27
