"""sock_diag: what its filter programs accept, and that bad ones and bad requests are refused, whatever their bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, MAPPED_PREFIX, SocketAddress
from jefeos.net.stack import SocketInfo
from jefeos_abi_linux.sock_diag import answer
from jefeos_abi_linux.sock_diag_filter import (
    D_COND,
    D_EQ,
    DEV_COND,
    JMP,
    NOP,
    S_COND,
    S_GE,
    S_LE,
    SocketFilter,
)


def socket(local: bytes = b"\x7f\0\0\1", port: int = 22, remote: bytes = b"", device: int = 0) -> SocketInfo:
    return SocketInfo(
        kind="tcp", family=AF_INET6 if len(local) == 16 else AF_INET, local=SocketAddress(local, port),
        remote=SocketAddress(remote, 80) if remote else None, state="ESTABLISHED", send_queue=0, receive_queue=0,
        details={"device": device},
    )


def operation(code: int, yes: int, no: int) -> bytes:
    return struct.pack("<BBH", code, yes, no)


def port_test(code: int, port: int, no: int = 12) -> bytes:
    """A comparison that ends the program: on success behind it, otherwise 4 bytes further."""
    return operation(code, 8, no) + operation(NOP, 0, port)


def host_test(code: int, family: int, length: int, port: int, address: bytes) -> bytes:
    size = 12 + len(address)
    return operation(code, size, size + 4) + struct.pack("<BBxxi", family, length, port) + address


@pytest.mark.parametrize(
    ("program", "info", "accepted"),
    [
        (port_test(S_GE, 22), socket(), True),
        (port_test(S_GE, 23), socket(), False),
        (port_test(S_LE, 21), socket(), False),
        (port_test(D_EQ, 80), socket(remote=b"\x0a\0\0\1"), True),
        (port_test(D_EQ, 80), socket(), False),
        # Between 20 and 30: two tests in a row.
        (port_test(S_GE, 20, 20) + port_test(S_LE, 30), socket(), True),
        (port_test(S_GE, 20, 20) + port_test(S_LE, 30), socket(port=31), False),
        # 22 or 443: a jump over the second test.
        (port_test(S_LE, 22, 12) + operation(JMP, 4, 12) + port_test(S_GE, 443), socket(), True),
        (port_test(S_LE, 22, 12) + operation(JMP, 4, 12) + port_test(S_GE, 443), socket(port=443), True),
        (port_test(S_LE, 22, 12) + operation(JMP, 4, 12) + port_test(S_GE, 443), socket(port=100), False),
        (host_test(S_COND, AF_INET, 8, -1, b"\x7f\0\0\0"), socket(), True),
        (host_test(S_COND, AF_INET, 8, 23, b"\x7f\0\0\0"), socket(), False),
        (host_test(S_COND, AF_INET, 8, -1, b"\x0a\0\0\0"), socket(), False),
        (host_test(S_COND, AF_INET, 8, -1, b"\x7f\0\0\0"), socket(MAPPED_PREFIX + b"\x7f\0\0\1"), True),
        (host_test(D_COND, AF_INET6, 128, -1, bytes(15) + b"\1"), socket(bytes(16), remote=bytes(15) + b"\1"), True),
        (host_test(D_COND, AF_INET6, 128, -1, bytes(15) + b"\2"), socket(bytes(16), remote=bytes(15) + b"\1"), False),
        (operation(DEV_COND, 8, 12) + struct.pack("<I", 2), socket(device=2), True),
        (operation(DEV_COND, 8, 12) + struct.pack("<I", 2), socket(), False),
    ],
)
def test_what_is_accepted(program: bytes, info: SocketInfo, accepted: bool) -> None:
    assert SocketFilter(program).accepts(info) is accepted


@pytest.mark.parametrize(
    "program",
    [
        operation(JMP, 0, 4),  # nowhere
        operation(JMP, 4, 2),
        operation(JMP, 4, 64),  # out of the program
        operation(S_GE, 8, 12),  # without its port
        operation(S_GE, 4, 12) + operation(NOP, 0, 22),  # success leads into the operand
        port_test(S_GE, 22, 4),  # and so does failure
        operation(99, 4, 8),
        host_test(S_COND, AF_INET, 33, -1, bytes(4)),
        host_test(S_COND, AF_INET6, 128, -1, bytes(4)),
        host_test(S_COND, 7, 0, -1, b""),
        port_test(S_GE, 22)[:-1],
    ],
)
def test_what_is_refused(program: bytes) -> None:
    with pytest.raises(KernelError) as error:
        SocketFilter(program)
    assert error.value.errno == Errno.EINVAL


def test_random_programs_end_or_are_refused() -> None:
    chance = random.Random(20)
    accepted = 0
    for _ in range(3000):
        words = [
            operation(chance.randrange(15), chance.choice((4, 8, 12, 16)), chance.choice((4, 8, 12, 16, 20)))
            for _ in range(chance.randrange(1, 8))
        ]
        try:
            program = SocketFilter(b"".join(words))
        except KernelError:
            continue
        accepted += 1
        assert program.accepts(socket()) in (False, True)
    assert accepted > 10


def test_random_requests_are_answered_or_refused(jefeos_boot: Callable[..., Any]) -> None:
    kernel = jefeos_boot(net="none").kernel
    stack = kernel.net.stack
    listener = stack.open_stream(AF_INET)
    listener.bind(SocketAddress(b"\x7f\0\0\1", 7000))
    listener.listen(3)
    stack.open_datagram(AF_INET6).bind(SocketAddress(bytes(16), 7001))
    stack.open_packet(cooked=True).bind_to(3, 0)
    task: Any = SimpleNamespace(kernel=kernel)
    chance = random.Random(7)
    answered = refused = 0
    for _ in range(3000):
        family, protocol = chance.choice((AF_INET, AF_INET6, 1, 16, 17, 40)), chance.choice((6, 17, 136, 255, 0))
        body = struct.pack("<BBBBI", family, protocol, chance.randrange(256), 0, 0xFFFF_FFFF)
        body += chance.randbytes(chance.choice((0, 16, 48))) + bytes(chance.choice((0, 48)))
        if len(body) >= 56 and chance.random() < 0.3:
            body = body[:56] + struct.pack("<HH", 20, 1) + chance.randbytes(16)
        for flags in (0x301, 0x1):
            try:
                answered += len(list(answer(task, chance.choice((20, 20, 20, 18, 99)), flags, body)))
            except (KernelError, CorruptError):
                refused += 1
    assert answered > 30 and refused > 100
