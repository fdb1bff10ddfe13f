"""Conformance of network drivers: subclass, say how to make a machine with the card, and the driver is tested on it.

    class TestMyCard(NetDriverConformance):
        def make_machine(self, mac: bytes, port: Port) -> Machine:
            machine = bare_machine()
            machine.add(MyCardModel(mac, port))
            return machine

        def make_drivers(self) -> list[Driver]:
            return [MyDriver()]

The card is plugged into a clean `Lan` with one other end, and both ends are looked at. The same suite runs on any
machine.
"""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from attrs import define, field

from jefeos.bus.driver import DeviceManager, Driver
from jefeos.bus.machine import Machine
from jefeos.bus.simulated import DeviceModel
from jefeos.net.checksum import checksum, ones_sum
from jefeos.net.device import ETHERNET_HEADER_BYTES, Features, NetDevice, Offload
from jefeos.net.wire import Port
from jefeos.net.wires.lan import Lan, LanPort
from jefeos.testing.machines import bare_machine, start
from jefeos.testing.waiting import PATIENCE_S, until

MAC: Final = bytes.fromhex("525400123456")
PEER_MAC: Final = bytes.fromhex("525400abcdef")
BROADCAST: Final = b"\xff" * 6
ETHERTYPE: Final = b"\x88\xb5"  # for local experiments (IEEE 802)
MINIMUM, MAXIMUM = 60, 1514
_IP_BYTES, _TCP_BYTES = 20, 20
_HEADERS: Final = ETHERNET_HEADER_BYTES + _IP_BYTES + _TCP_BYTES

M = TypeVar("M", bound=DeviceModel)
N = TypeVar("N", bound=NetDevice)


@define
class NicRig:
    """A machine that runs, with one card, and the other end of its wire."""

    machine: Machine
    manager: DeviceManager
    card_port: LanPort
    peer: LanPort
    arrived: list[bytes] = field(factory=list)
    """Frames that came out at the other end."""
    received: list[bytes] = field(factory=list)
    """Frames that the driver delivered."""

    @property
    def nic(self) -> NetDevice:
        """The card. Fails the test if it is not the only one."""
        (nic,) = [thing for thing in self.manager.published if isinstance(thing, NetDevice)]
        return nic

    def listen(self) -> None:
        """Collect what both sides get, from now on."""
        self.arrived.clear()
        self.received.clear()
        self.nic.receiver = self.received.append
        self.peer.receiver = self.arrived.append

    async def send(self, frame: bytes, offload: Offload | None = None) -> None:
        """Transmit, waiting for room as a protocol stack would."""
        while not self.nic.transmit(frame, offload):
            await asyncio.sleep(0.0002)

    async def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Let everything run until ``condition`` holds."""
        return await until(condition, patience_s, 0.0005)

    async def settle(self) -> None:
        """Time for a frame that should not come."""
        await asyncio.sleep(0.05)


def frame_to(destination: bytes, size: int, generator: random.Random, source: bytes = PEER_MAC) -> bytes:
    """A frame of ``size`` bytes with random contents."""
    return destination + source + ETHERTYPE + generator.randbytes(size - ETHERNET_HEADER_BYTES)


def run_with_card(
    make_machine: Callable[[bytes, Port], Machine],
    drivers: list[Driver],
    test: Callable[[NicRig], Awaitable[None]],
) -> None:
    """Run ``test`` in an event loop, with a card on one end of a clean `Lan`; afterwards nothing may be left over."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        lan = Lan(loop.call_soon, lambda delay_ns, callback: loop.call_later(delay_ns / 1e9, callback))
        port, peer = lan.port(), lan.port()
        machine = make_machine(MAC, port)
        try:
            rig = NicRig(machine, start(machine, drivers, loop), port, peer)
            assert await rig.until(lambda: rig.nic.link_up), "the link does not come up"
            rig.listen()
            await test(rig)
            rig.manager.unbind_all()
            assert not machine.dma.block_count, "the driver kept DMA memory"
        finally:
            machine.stop()

    asyncio.run(body())


def run_with_model(
    make_model: Callable[[bytes, Port], M],
    driver: Driver,
    kind: type[N],
    test: Callable[[NicRig, M, N], Awaitable[None]],
) -> None:
    """`run_with_card` on the simulated machine; ``test`` also gets the model of the card, and the nic as a ``kind``."""
    models: list[M] = []

    def make_machine(mac: bytes, port: Port) -> Machine:
        models.append(make_model(mac, port))
        machine = bare_machine()
        machine.add(models[0])
        return machine

    async def body(rig: NicRig) -> None:
        nic = rig.nic
        assert isinstance(nic, kind)
        await test(rig, models[0], nic)

    run_with_card(make_machine, [driver], body)


class NetDriverConformance:
    """A network driver on a machine with one card."""

    frames = 50_000
    """Frames each way in the longest test."""
    burst = 32
    """Frames that are sent before the other side gets a turn."""
    reports_link = True
    """Whether the driver can see that the wire was pulled out (QEMU's 21143 always says that it is in)."""
    counts_drops = True
    """Whether the hardware tells how many frames it lost (QEMU's 21143 does not)."""
    drops_when_full = True
    """Whether the hardware loses frames when it has no descriptor (QEMU holds them back instead)."""

    @abstractmethod
    def make_machine(self, mac: bytes, port: Port) -> Machine:
        """A machine, not started, with one card."""

    @abstractmethod
    def make_drivers(self) -> list[Driver]:
        """The driver under test."""

    def run(self, test: Callable[[NicRig], Awaitable[None]]) -> None:
        """Run ``test`` with a rig in an event loop; afterwards nothing may be left over."""
        run_with_card(self.make_machine, self.make_drivers(), test)

    def test_the_address_is_the_card_s(self) -> None:
        async def test(rig: NicRig) -> None:
            assert rig.nic.mac == MAC

        self.run(test)

    def test_frames_of_every_size_pass_both_ways(self) -> None:
        async def test(rig: NicRig) -> None:
            generator = random.Random(1)
            out = [frame_to(PEER_MAC, size, generator, MAC) for size in range(MINIMUM, MAXIMUM + 1)]
            for frame in out:
                await rig.send(frame)
            assert await rig.until(lambda: len(rig.arrived) == len(out))
            assert rig.arrived == out
            for number, size in enumerate(range(MINIMUM, MAXIMUM + 1), 1):
                frame = frame_to(MAC, size, generator)
                rig.peer.send(frame)
                if not number % self.burst:
                    assert await rig.until(lambda number=number: len(rig.received) == number)  # type: ignore[misc]
                    assert rig.received[-1] == frame
            statistics = rig.nic.statistics
            assert (statistics.tx_packets, statistics.tx_bytes) == (len(out), sum(map(len, out)))

        self.run(test)

    def test_short_frames_are_padded(self) -> None:
        async def test(rig: NicRig) -> None:
            generator = random.Random(2)
            frames = [frame_to(PEER_MAC, size, generator, MAC) for size in (14, 15, 42, 59)]
            for frame in frames:
                await rig.send(frame)
            assert await rig.until(lambda: len(rig.arrived) == len(frames))
            assert rig.arrived == [frame.ljust(MINIMUM, b"\0") for frame in frames]

        self.run(test)

    def test_none_is_lost_or_reordered_under_load(self) -> None:
        async def test(rig: NicRig) -> None:
            generator = random.Random(3)
            sizes = [generator.randrange(MINIMUM, MAXIMUM + 1) for _ in range(997)]
            filler = generator.randbytes(MAXIMUM)

            def frame(number: int, to: bytes, source: bytes) -> bytes:
                head = to + source + ETHERTYPE + number.to_bytes(4, "big")
                return head + filler[: sizes[number % len(sizes)] - len(head)]

            def in_order(frames: list[bytes], to: bytes, source: bytes, first: int) -> bool:
                return all(got == frame(first + index, to, source) for index, got in enumerate(frames))

            done_out = done_in = 0
            while done_out < self.frames:
                for number in range(done_out, min(done_out + self.burst, self.frames)):
                    await rig.send(frame(number, PEER_MAC, MAC))
                    rig.peer.send(frame(number, MAC, PEER_MAC))
                done_out = min(done_out + self.burst, self.frames)
                assert await rig.until(
                    lambda want=done_out - done_in: min(len(rig.arrived), len(rig.received)) >= want  # type: ignore[misc]
                ), f"of {done_out} frames each way {done_in + len(rig.received)} came in"
                assert in_order(rig.arrived, PEER_MAC, MAC, done_in)
                assert in_order(rig.received, MAC, PEER_MAC, done_in)
                done_in = done_out
                rig.arrived.clear()
                rig.received.clear()
            statistics = rig.nic.statistics
            assert (statistics.rx_packets, statistics.tx_packets) == (self.frames, self.frames)
            assert not statistics.rx_errors and not statistics.rx_dropped and not statistics.rx_fifo_errors

        self.run(test)

    def test_filters(self) -> None:
        group, other_group = bytes.fromhex("01005e000001"), bytes.fromhex("01005e7f1234")
        stranger = bytes.fromhex("525400999999")

        async def test(rig: NicRig) -> None:
            generator = random.Random(4)

            async def passes(destination: bytes) -> bool:
                rig.received.clear()
                frame = frame_to(destination, 100, generator)
                marker = frame_to(MAC, 100, generator)
                rig.peer.send(frame)
                rig.peer.send(marker)
                assert await rig.until(lambda: marker in rig.received)
                return frame in rig.received

            assert await passes(BROADCAST)
            assert not await passes(stranger)
            assert not await passes(group)
            rig.nic.set_multicast([group])
            assert await passes(group)
            assert not await passes(other_group)
            rig.nic.set_promiscuous(True)
            assert await passes(stranger) and await passes(other_group)
            rig.nic.set_promiscuous(False)
            assert not await passes(stranger) and await passes(group)
            rig.nic.set_multicast([])
            assert not await passes(group)

        self.run(test)

    def test_the_link_goes_down_and_comes_up(self) -> None:
        async def test(rig: NicRig) -> None:
            if not self.reports_link:  # then that must be so: the flag hides no working hardware
                rig.card_port.set_link(False)
                assert not await rig.until(lambda: not rig.nic.link_up, 1.0)
                return
            heard: list[bool] = []
            rig.nic.link_changed = heard.append
            generator = random.Random(5)
            for _ in range(3):
                rig.card_port.set_link(False)
                assert await rig.until(lambda: not rig.nic.link_up)
                rig.peer.send(frame_to(MAC, 100, generator))
                assert rig.nic.transmit(frame_to(PEER_MAC, 100, generator, MAC))  # dropped, as on a cable that is out
                await rig.settle()
                assert not rig.received and not rig.arrived
                rig.card_port.set_link(True)
                assert await rig.until(lambda: rig.nic.link_up)
                await rig.send(frame_to(PEER_MAC, 100, generator, MAC))
                rig.peer.send(frame_to(MAC, 100, generator))
                assert await rig.until(lambda: bool(rig.received and rig.arrived))
                rig.listen()
            assert heard == [False, True] * 3

        self.run(test)

    def test_an_overrun_is_counted_and_passes(self) -> None:
        async def test(rig: NicRig) -> None:
            generator = random.Random(6)
            frames = [frame_to(MAC, 100, generator) for _ in range(2000)]
            for frame in frames:
                rig.peer.send(frame)  # all in one go: the driver gets no turn in between
            if self.drops_when_full:
                assert await rig.until(lambda: bool(rig.received))
                await rig.settle()
            else:
                assert await rig.until(lambda: len(rig.received) == len(frames))
            lost = len(frames) - len(rig.received)
            assert bool(lost) is self.drops_when_full
            assert rig.nic.statistics.rx_fifo_errors == lost or not self.counts_drops
            rest = iter(frames)
            assert all(frame in rest for frame in rig.received), "reordered"
            rig.received.clear()
            rig.peer.send(frames[0])
            assert await rig.until(lambda: rig.received == [frames[0]])

        self.run(test)

    def test_checksums_are_filled_in(self) -> None:
        async def test(rig: NicRig) -> None:
            if not rig.nic.features & Features.TX_CHECKSUM:
                return
            generator = random.Random(7)
            for payload_bytes in (0, 1, 2, 7, 1000, 1459, 1460):
                frame = tcp_frame(generator.randbytes(payload_bytes), length_in_sum=True)
                await rig.send(frame, Offload(34, 16))
            assert await rig.until(lambda: len(rig.arrived) == 7)
            for frame in rig.arrived:
                check_tcp(frame)

        self.run(test)

    def test_large_segments_are_cut(self) -> None:
        async def test(rig: NicRig) -> None:
            if not rig.nic.features & Features.TSO:
                return
            generator = random.Random(8)
            for payload_bytes, mss in ((3000, 1460), (60_000, 1460), (1461, 1460), (10_000, 536)):
                rig.listen()
                payload = generator.randbytes(payload_bytes)
                await rig.send(tcp_frame(payload, length_in_sum=False), Offload(34, 16, mss, _HEADERS))
                wanted = -(-payload_bytes // mss)
                assert await rig.until(lambda wanted=wanted: len(rig.arrived) == wanted)  # type: ignore[misc]
                data = b""
                for number, frame in enumerate(rig.arrived):
                    check_tcp(frame)
                    assert int.from_bytes(frame[38:42], "big") == 1000 + len(data)
                    assert int.from_bytes(frame[18:20], "big") == (0xFFFE + number) & 0xFFFF
                    is_last = number == wanted - 1
                    assert frame[47] == (0x19 if is_last else 0x10)  # FIN and PSH only on the last
                    length = int.from_bytes(frame[16:18], "big")
                    data += frame[_HEADERS : ETHERNET_HEADER_BYTES + length]
                assert data == payload

        self.run(test)

    def test_unbinding_and_binding_again_leaks_nothing(self) -> None:
        async def test(rig: NicRig) -> None:
            device = next(iter(rig.manager.bindings))
            free = rig.machine.dma.free_bytes
            generator = random.Random(9)
            for _ in range(5):
                rig.manager.unbind(device)
                assert not rig.manager.published and not rig.machine.dma.block_count
                rig.peer.send(frame_to(MAC, 100, generator))  # nobody is there to receive it
                await asyncio.sleep(0.002)
                assert rig.manager.bind(device)
                assert rig.machine.dma.free_bytes == free
                assert await rig.until(lambda: rig.nic.link_up)
                rig.listen()
                out, back = frame_to(PEER_MAC, 200, generator, MAC), frame_to(MAC, 300, generator)
                await rig.send(out)
                rig.peer.send(back)
                # What came while nobody was there may have been kept somewhere on the way.
                assert await rig.until(lambda back=back: bool(rig.arrived) and back in rig.received)  # type: ignore[misc]
                assert (rig.arrived, rig.received[-1:]) == ([out], [back])

        self.run(test)


def tcp_frame(payload: bytes, *, length_in_sum: bool) -> bytes:
    """A TCP segment over IPv4 whose checksum field holds the pseudo-header's sum (RFC 9293, 3.1)."""
    ip = bytearray(_IP_BYTES)
    ip[0], ip[8], ip[9] = 0x45, 64, 6
    ip[2:4] = ((_IP_BYTES + _TCP_BYTES + len(payload)) & 0xFFFF).to_bytes(2, "big")
    ip[4:6] = (0xFFFE).to_bytes(2, "big")
    ip[12:20] = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    ip[10:12] = checksum(ip).to_bytes(2, "big")
    tcp = bytearray(_TCP_BYTES)
    tcp[0:4] = (1024).to_bytes(2, "big") + (80).to_bytes(2, "big")
    tcp[4:8] = (1000).to_bytes(4, "big")
    tcp[12], tcp[13] = 0x50, 0x19
    length = _TCP_BYTES + len(payload) if length_in_sum else 0
    tcp[16:18] = ones_sum(ip[12:20], 6 + length).to_bytes(2, "big")
    return PEER_MAC + MAC + b"\x08\x00" + bytes(ip) + bytes(tcp) + payload


def check_tcp(frame: bytes) -> None:
    """Assert that both checksums of a TCP frame are right."""
    total = int.from_bytes(frame[16:18], "big")
    packet = frame[ETHERNET_HEADER_BYTES : ETHERNET_HEADER_BYTES + total]
    assert ones_sum(packet[:_IP_BYTES]) == 0xFFFF, "the IP checksum is wrong"
    segment = packet[_IP_BYTES:]
    assert ones_sum(segment, ones_sum(packet[12:20], 6 + len(segment))) == 0xFFFF, "the TCP checksum is wrong"
