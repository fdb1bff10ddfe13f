"""Wires: a LAN with faults by seed, sockets in QEMU's framings, the pcap tee as tcpdump reads it, checksums."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from jefeos.errors import ConfigError
from jefeos.net.checksum import checksum, ones_sum
from jefeos.net.wires.lan import Faults, Lan
from jefeos.net.wires.pcap import PcapTee
from jefeos.net.wires.sockets import (
    MOST_WAITING_BYTES,
    DatagramPort,
    StreamPort,
    connect_stream,
    open_datagram,
)
from jefeos.sched.clock import VirtualClock
from jefeos.sched.loop import KernelLoop
from jefeos.testing.waiting import until


def frames(count: int, seed: int = 1) -> list[bytes]:
    generator = random.Random(seed)
    return [
        number.to_bytes(4, "big") + generator.randbytes(generator.randrange(56, 1510))
        for number in range(count)
    ]


def in_virtual_time(body: Callable[[KernelLoop], Awaitable[None]]) -> None:
    loop = KernelLoop(VirtualClock())
    loop.run_until_complete(body(loop))
    loop.close()


# --- LAN ----------------------------------------------------------------------------------------------------------


def test_frames_go_to_all_others_in_order() -> None:
    async def body(loop: KernelLoop) -> None:
        lan = Lan(loop.call_soon, loop.call_later_ns)
        ports = [lan.port() for _ in range(3)]
        got: list[list[bytes]] = [[] for _ in ports]
        for port, list_ in zip(ports, got, strict=True):
            port.receiver = list_.append
        sent = frames(1000)
        for frame in sent:
            ports[0].send(frame)
            assert not got[1], "delivered from inside send"
        await asyncio.sleep(0.001)
        assert got == [[], sent, sent]
        ports[1].set_link(False)
        ports[0].send(sent[0])
        ports[1].send(sent[1])
        await asyncio.sleep(0.001)
        assert [len(list_) for list_ in got] == [0, 1000, 1001]

    in_virtual_time(body)


def test_faults_happen_at_their_rates_and_repeat_with_their_seed() -> None:
    faults = Faults(
        loss=0.1, duplication=0.05, corruption=0.02, reordering=0.03, delay_ns=1_000_000, jitter_ns=500_000
    )
    runs = []

    async def body(loop: KernelLoop, seed: int) -> None:
        lan = Lan(loop.call_soon, loop.call_later_ns, seed=seed, faults=faults)
        first, second = lan.port(), lan.port()
        got: list[bytes] = []
        second.receiver = got.append
        sent = frames(10_000)
        for frame in sent:
            first.send(frame)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        counted = lan.statistics
        assert counted.delivered == len(got) == 10_000 - counted.lost + counted.duplicated
        for number, rate in ((counted.lost, 0.1), (counted.duplicated, 0.05), (counted.corrupted, 0.02)):
            assert abs(number / 10_000 - rate) < 0.02
        assert counted.reordered and got != sorted(got)
        runs.append(got)

    for seed in (1, 1, 2):
        in_virtual_time(lambda loop, seed=seed: body(loop, seed))  # type: ignore[misc]
    assert runs[0] == runs[1] != runs[2]


def test_segments_pass_whole_only_where_everybody_takes_them() -> None:
    async def body(loop: KernelLoop) -> None:
        lan = Lan(loop.call_soon, loop.call_later_ns)
        first, second = lan.port(), lan.port()
        assert not first.takes_segments
        second.accepts_segments = True
        assert first.takes_segments and not second.takes_segments
        lan.faults = Faults(loss=0.5)
        assert not first.takes_segments

    in_virtual_time(body)


# --- sockets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "dgram"])
def test_both_ends_of_a_socket_wire(kind: str) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        type_ = socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
        make = StreamPort if kind == "stream" else DatagramPort
        one, other = (make(sock, loop) for sock in socket.socketpair(socket.AF_UNIX, type_))
        got: list[bytes] = []
        other.receiver = got.append
        sent = frames(2000)
        for frame in sent:
            one.send(frame)
        assert await until(lambda: len(got) >= len(sent))
        assert got == sent and not one.lost_frames
        one.close()
        one.close()
        other.close()

    asyncio.run(body())


def test_a_stream_speaks_qemu_s_framing_byte_by_byte() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        port = StreamPort(ours, loop)
        got: list[bytes] = []
        port.receiver = got.append
        port.send(b"abc" * 20)
        assert theirs.recv(100) == struct.pack(">I", 60) + b"abc" * 20
        for byte in struct.pack(">I", 5) + b"frame":
            theirs.send(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await until(lambda: bool(got))
        assert got == [b"frame"]
        changes: list[bool] = []
        port.link_changed = changes.append
        theirs.send(struct.pack(">I", 1 << 30))  # no frame is that long
        assert await until(lambda: bool(changes))
        assert changes == [False] and theirs.recv(1) == b""
        port.send(b"x" * 60)
        assert port.lost_frames == 1

    asyncio.run(body())


def test_frames_of_a_stream_come_by_turns_and_the_peer_waits() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        port = StreamPort(ours, loop)
        got: list[bytes] = []
        port.receiver = got.append
        sent = [number.to_bytes(2, "big") * 30 for number in range(1000)]
        theirs.sendall(b"".join(struct.pack(">I", 60) + frame for frame in sent))
        most = seen = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            most, seen = max(most, len(got) - seen), len(got)
        assert got == sent
        assert 0 < most <= 64  # a card's ring has 128 places or more, and its driver takes 64 at a time
        theirs.sendall((struct.pack(">I", 60) + bytes(60)) * 100)
        while len(got) == 1000:
            await asyncio.sleep(0)
        port.close()  # with frames left
        before = len(got)
        await asyncio.sleep(0.01)
        assert len(got) == before < 1100
        theirs.close()

    asyncio.run(body())


def test_datagrams_come_by_turns_and_the_peer_waits() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        theirs.setblocking(False)
        port = DatagramPort(ours, loop)
        got: list[bytes] = []
        port.receiver = got.append
        sent = [number.to_bytes(2, "big") * 30 for number in range(1000)]
        waiting = list(sent)
        most = seen = 0
        while len(got) < len(sent):
            with contextlib.suppress(BlockingIOError):
                while waiting:
                    theirs.send(waiting[0])
                    del waiting[0]
            await asyncio.sleep(0)
            most, seen = max(most, len(got) - seen), len(got)
        assert got == sent
        assert 0 < most <= 64  # see the test above
        port.close()
        theirs.close()

    asyncio.run(body())


def test_a_stream_carries_ipv4_without_a_card_s_padding() -> None:
    addresses = bytes.fromhex("020000000001 020000000002")
    acknowledgment = bytes.fromhex("4500 0028 0000 4000 4006 0000 c0000202 c0000201") + bytes(20)

    def on_the_wire(frame: bytes) -> bytes:
        loop = asyncio.new_event_loop()
        ours, theirs = socket.socketpair()
        port = StreamPort(ours, loop)
        port.send(frame)
        data = theirs.recv(5000)
        port.close()
        theirs.close()
        loop.close()
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        return data[4:]

    bare = addresses + b"\x08\x00" + acknowledgment
    assert len(bare) == 54
    for length in range(54, 61):
        assert on_the_wire(bare.ljust(length, b"\0")) == bare
    full = addresses + b"\x08\x00" + acknowledgment.replace(b"\0\x28", b"\0\x2e", 1) + b"octets"
    arp = (addresses + b"\x08\x06" + bytes(28)).ljust(60, b"\0")
    too_long, too_short = (
        (addresses + b"\x08\x00\x45\0" + said.to_bytes(2, "big") + acknowledgment[4:]).ljust(60, b"\0")
        for said in (1500, 19)
    )
    longer = bare + bytes(40)  # no card padded this one
    for frame in (full, arp, too_long, too_short, longer, bare[:16], bare[:13], b"x"):
        assert on_the_wire(frame) == frame


def test_a_peer_that_does_not_read_costs_bounded_memory() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        port = StreamPort(ours, loop)
        frame = bytes(1500)
        for _ in range(10_000):
            port.send(frame)
        assert port.lost_frames > 1000
        assert port._waiting_bytes <= MOST_WAITING_BYTES
        theirs.close()
        assert await until(lambda: not port.link_up)

    asyncio.run(body())


def test_named_sockets_and_their_errors(tmp_path: Path) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ConfigError, match="is anybody listening there"):
            connect_stream(str(tmp_path / "nobody"), loop)
        one = open_datagram(str(tmp_path / "a"), str(tmp_path / "b"), loop)
        one.send(b"x" * 60)
        assert one.lost_frames == 1
        other = open_datagram(str(tmp_path / "b"), str(tmp_path / "a"), loop)
        got: list[bytes] = []
        other.receiver = got.append
        one.send(b"y" * 60)
        assert await until(lambda: bool(got))
        assert got == [b"y" * 60]
        with pytest.raises(ConfigError):
            open_datagram(str(tmp_path / "a"), "x", loop)
        one.close()
        other.close()
        assert list(tmp_path.iterdir()) == []

    asyncio.run(body())


# --- pcap and checksums ---------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_tcpdump_reads_the_tee(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    tcpdump = host_program("tcpdump")
    path = tmp_path / "wire.pcap"

    async def body(loop: KernelLoop) -> None:
        lan = Lan(loop.call_soon, loop.call_later_ns)
        other = lan.port()
        tee = PcapTee(lan.port(), path.open("wb"), lambda: 1_700_000_000_123_456_789)
        got: list[bytes] = []
        tee.receiver = got.append
        tee.send(b"\xff" * 6 + bytes.fromhex("525400123456") + b"\x88\xb5" + bytes(46))
        other.send(bytes.fromhex("525400123456 525400abcdef 88b6") + bytes(100))
        await asyncio.sleep(0.01)
        assert len(got) == 1
        tee.close()

    in_virtual_time(body)
    command = [tcpdump, "-e", "-n", "-tt", "--time-stamp-precision=nano", "-r", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    heads = [line for line in lines if not line.startswith("\t")]
    assert (
        heads[0].startswith("1700000000.123456789 52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff")
        and "length 60" in heads[0]
    )
    assert "52:54:00:ab:cd:ef > 52:54:00:12:34:56" in heads[1] and "length 114" in heads[1]


def test_checksums_are_the_sum_of_words() -> None:
    generator = random.Random(1)
    samples = [b"", b"\0", b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\x01"]
    samples += [generator.randbytes(generator.randrange(100)) for _ in range(500)]
    for length in (256, 257, 258, 511, 512, 513, 1460, 4097, 32_767, 65_535, 65_536, 100_001):
        samples += [generator.randbytes(length), bytes(length), b"\xff" * length]
    for data in samples:
        total = sum(word for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) & 1)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert ones_sum(data) == total
        assert checksum(data) == ~total & 0xFFFF
    # the example of RFC 1071, section 3
    assert ones_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2
