"""Disks and network cards: driver, bus and model or QEMU's device, without a program in front of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from jefeos.block.cache import BufferCache
from jefeos.block.device import BlockDevice
from jefeos.block.image import create_image
from jefeos.bus.machine import DiskRequest, NicRequest
from jefeos.net.device import NetDevice, Offload
from jefeos.net.wires.lan import Lan, LanPort
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.testing.machines import plugin_drivers, plugin_machine, start
from jefeos.testing.nics import MAC, PEER_MAC, frame_to, tcp_frame

MIB = 1 << 20
DISK_MIB = 64
PIECE = MIB
FRAMES = 20_000
BURST = 64
SEGMENT_BYTES = 60_000
SEGMENTS = 500


def on_both_machines(bench: Bench, measure: Callable[[str], float]) -> dict[str, Runner | None]:
    """The simulated machine is JefeOS's own; QEMU's is for comparison."""
    has_qemu = bench.peer("qemu-system-x86_64") is not None
    return {"jefeos": lambda: measure("simulated"), "qemu-devices": (lambda: measure("qemu")) if has_qemu else None}


# --- disk -----------------------------------------------------------------------------------------------------------


def with_disk(bench: Bench, machine_name: str, work: Callable[[BufferCache], float]) -> float:
    image = Path(bench.scratch) / "disk.img"
    if not image.exists():
        create_image(str(image), DISK_MIB * MIB)
    machine = plugin_machine(machine_name, [DiskRequest(str(image))])
    try:
        manager = start(machine, plugin_drivers("ata"))
        (disk,) = [thing for thing in manager.published if isinstance(thing, BlockDevice)]
        result = work(BufferCache(disk))
        manager.unbind_all()
        return result
    finally:
        machine.stop()


def read_disk(cache: BufferCache) -> float:
    for number in range(DISK_MIB):  # the host has the image in its cache afterwards
        cache.read(number * PIECE, PIECE)
    cache.forget()
    started = time.perf_counter()
    for number in range(DISK_MIB):
        cache.read(number * PIECE, PIECE)
    return DISK_MIB * MIB / 1e6 / (time.perf_counter() - started)


def write_disk(cache: BufferCache) -> float:
    """What the host's own fsync takes at the end is its disk's business, and left out."""
    data = bytes(range(256)) * (PIECE // 256)
    started = time.perf_counter()
    for number in range(DISK_MIB):
        cache.write(number * PIECE, data)
        cache.write_back()
    return DISK_MIB * MIB / 1e6 / (time.perf_counter() - started)


@benchmark("disk: read in order, through the buffer cache", unit="MB/s", at_least=400.0)
def disk_read(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_disk(bench, machine, read_disk))


@benchmark("disk: write in order, through the buffer cache", unit="MB/s", at_least=400.0)
def disk_write(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_disk(bench, machine, write_disk))


# --- network --------------------------------------------------------------------------------------------------------


def with_card(machine_name: str, model: str, work: Callable[[NetDevice, LanPort], Awaitable[float]]) -> float:
    async def body() -> float:
        loop = asyncio.get_running_loop()
        lan = Lan(loop.call_soon, lambda delay_ns, callback: loop.call_later(delay_ns / 1e9, callback))
        port, peer = lan.port(), lan.port()
        machine = plugin_machine(machine_name, nics=[NicRequest(model, MAC, port)])
        try:
            manager = start(machine, plugin_drivers(model), loop)
            (nic,) = [thing for thing in manager.published if isinstance(thing, NetDevice)]
            while not nic.link_up:
                await asyncio.sleep(0.01)
            return await work(nic, peer)
        finally:
            machine.stop()

    return asyncio.run(body())


async def send_frames(nic: NetDevice, peer: LanPort) -> float:
    import random

    frame = frame_to(PEER_MAC, 60, random.Random(1), MAC)
    arrived = 0

    def count(_frame: bytes) -> None:
        nonlocal arrived
        arrived += 1

    peer.receiver = count
    started = time.perf_counter()
    for number in range(FRAMES):
        while not nic.transmit(frame):
            await asyncio.sleep(0)
        if not number % BURST:
            await asyncio.sleep(0)
    while arrived < FRAMES:
        await asyncio.sleep(0)
    return FRAMES / (time.perf_counter() - started)


async def receive_frames(nic: NetDevice, peer: LanPort) -> float:
    import random

    frame = frame_to(MAC, 60, random.Random(1))
    arrived = 0

    def count(_frame: bytes) -> None:
        nonlocal arrived
        arrived += 1

    nic.receiver = count
    started = time.perf_counter()
    sent = 0
    while arrived < FRAMES:
        while sent < FRAMES and sent - arrived < BURST:
            peer.send(frame)
            sent += 1
        await asyncio.sleep(0)
    return FRAMES / (time.perf_counter() - started)


async def send_segments(nic: NetDevice, peer: LanPort) -> float:
    segment = tcp_frame(bytes(SEGMENT_BYTES), length_in_sum=False)
    offload = Offload(34, 16, 1460, 54)
    peer.accepts_segments = True
    arrived = 0

    def count(frame: bytes) -> None:
        nonlocal arrived
        arrived += len(frame) - 54

    peer.receiver = count
    started = time.perf_counter()
    for _ in range(SEGMENTS):
        while not nic.transmit(segment, offload):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    while arrived < SEGMENTS * SEGMENT_BYTES:
        await asyncio.sleep(0)
    return SEGMENTS * SEGMENT_BYTES / 1e6 / (time.perf_counter() - started)


@benchmark("e1000: frames of 64 bytes out", unit="frames/s", at_least=60_000.0)
def frames_out(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_card(machine, "e1000", send_frames))


@benchmark("e1000: frames of 64 bytes in", unit="frames/s", at_least=60_000.0)
def frames_in(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_card(machine, "e1000", receive_frames))


@benchmark("e1000: TCP segments out, with TSO", unit="MB/s", at_least=300.0)
def segments_out(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_card(machine, "e1000", send_segments))


@benchmark("tulip: frames of 64 bytes out", unit="frames/s")
def tulip_frames_out(bench: Bench) -> dict[str, Runner | None]:
    return on_both_machines(bench, lambda machine: with_card(machine, "tulip", send_frames))
