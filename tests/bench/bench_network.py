"""The network stack below TCP: messages and echoes between two stacks on a LAN in this process, in real time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from jefeos.net.address import AF_INET, ANY4, SocketAddress
from jefeos.net.stack import NetworkStack
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan
from jefeos.sched.clock import Entropy, RealClock
from jefeos.sched.loop import KernelLoop
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.testing.networks import station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack

MESSAGES = 20_000
BURST = 100
ROUND_TRIPS = 3000
PORT = 7000


def between_two(work: Callable[[KernelLoop, NetworkStack, NetworkStack], float]) -> float:
    """The figure of ``work(loop, first, second)`` with two stacks on a segment."""
    clock = RealClock()
    loop = KernelLoop(clock)
    lan = Lan(loop.call_soon, loop.call_later_ns)
    stacks = []
    for number in (1, 2):
        stack = jefeos_network_stack(loop, clock, Entropy(number), logging.getLogger("bench"))
        interface = stack.add_device(WireDevice(lan.port(), station_mac(number)))
        interface.add_address(station_address(number), 24)
        interface.set_up(True)
        stacks.append(stack)
    try:
        return work(loop, stacks[0], stacks[1])
    finally:
        for stack in stacks:
            stack.close()
        loop.close()


def messages(loop: KernelLoop, first: NetworkStack, second: NetworkStack) -> float:
    """1,000 bytes each, in bursts that the receiver takes at once."""
    sender, taker = first.open_datagram(AF_INET), second.open_datagram(AF_INET)
    taker.set_option("so_rcvbuf", 1 << 22)
    taker.bind(SocketAddress(ANY4, PORT))
    sender.connect(SocketAddress(station_address(2), PORT))
    data = bytes(1000)
    done = loop.create_future()
    taken = 0

    def burst() -> None:
        for _ in range(BURST):
            sender.send_to(data)

    def changed() -> None:
        nonlocal taken
        while taker.receive_from() is not None:
            taken += 1
            if not taken % BURST:
                if taken == MESSAGES:
                    done.set_result(None)
                else:
                    loop.call_soon(burst)

    taker.changed = changed
    started = time.perf_counter()
    loop.call_soon(burst)
    loop.run_until_complete(done)
    return MESSAGES / (time.perf_counter() - started)


def echoes(loop: KernelLoop, first: NetworkStack, second: NetworkStack) -> float:
    """56 bytes of data, one at a time, by a ping socket."""
    ping = first.open_ping(AF_INET)
    target = SocketAddress(station_address(2), 0)
    request = bytes((8, 0, 0, 0, 0, 0, 0, 1)) + bytes(56)
    done = loop.create_future()
    left = ROUND_TRIPS

    def answered() -> None:
        nonlocal left
        if ping.receive_from() is None:
            return
        left -= 1
        if left:
            loop.call_soon(ping.send_to, request, target)
        else:
            done.set_result(None)

    ping.changed = answered
    started = time.perf_counter()
    ping.send_to(request, target)
    loop.run_until_complete(done)
    return (time.perf_counter() - started) / ROUND_TRIPS * 1e6


@benchmark("network: UDP messages of 1,000 bytes between two stacks", unit="1/s", at_least=20_000.0)
def udp_messages(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: between_two(messages)}


@benchmark("network: ping between two stacks, there and back", unit="us", limit=100.0)
def ping_round_trip(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: between_two(echoes)}
