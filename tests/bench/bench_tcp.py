"""TCP: transfers, round trips and connections between stacks, on a LAN in this process and over simulated cards."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jefeos.bus.machine import NicRequest
from jefeos.errors import JefeError
from jefeos.net.address import AF_INET, ANY4, LOOPBACK4, SocketAddress
from jefeos.net.device import NetDevice
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan
from jefeos.sched.clock import Entropy, RealClock
from jefeos.sched.loop import KernelLoop
from jefeos.testing.bench import Bench, Runner, benchmark
from jefeos.testing.machines import plugin_drivers, plugin_machine, start
from jefeos.testing.networks import station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack

#: Names a Python that can import PyTCP.
PYTCP_PYTHON = "JEFEOS_PYTCP_PYTHON"
HOST_PEER = Path(__file__).parents[1] / "network" / "tcp_host_peer.py"
PORT = 80
TOTAL = 200_000_000
PIECE = bytes(65_536)
ROUND_TRIPS = 3000
CONNECTIONS = 500
Work = Callable[[KernelLoop, Any, Any, bytes], float]


def on_a_lan(work: Work) -> float:
    """``work(loop, first, second, the second's address)`` with two stacks on a segment."""
    loop = KernelLoop(RealClock())
    lan = Lan(loop.call_soon, loop.call_later_ns)
    stacks = [make_stack(loop, number, WireDevice(lan.port(), station_mac(number))) for number in (1, 2)]
    return finish(loop, stacks, work)


def over_cards(work: Work, cards: int) -> float:
    """The same with an E1000 on a simulated machine for the first stack, or for both."""
    loop = KernelLoop(RealClock())
    lan = Lan(loop.call_soon, loop.call_later_ns)
    machines, stacks = [], []

    async def bring_up() -> None:
        for number in (1, 2):
            if number > cards:
                stacks.append(make_stack(loop, number, WireDevice(lan.port(), station_mac(number))))
                continue
            machine = plugin_machine("simulated", nics=[NicRequest("e1000", station_mac(number), lan.port())])
            machines.append(machine)
            manager = start(machine, plugin_drivers("e1000"), loop)
            (card,) = [thing for thing in manager.published if isinstance(thing, NetDevice)]
            while not card.link_up:
                await asyncio.sleep(0.01)
            stacks.append(make_stack(loop, number, card))

    try:
        loop.run_until_complete(bring_up())
        return finish(loop, stacks, work)
    finally:
        for machine in machines:
            machine.stop()


def make_stack(loop: KernelLoop, number: int, device: NetDevice) -> Any:
    stack = jefeos_network_stack(loop, RealClock(), Entropy(number), logging.getLogger("bench"))
    interface = stack.add_device(device)
    interface.add_address(station_address(number), 24)
    interface.set_up(True)
    return stack


def finish(loop: KernelLoop, stacks: list[Any], work: Work) -> float:
    try:
        return work(loop, stacks[0], stacks[1], station_address(2))
    finally:
        for stack in stacks:
            stack.close()
        loop.close()


def connect(loop: KernelLoop, first: Any, listener: Any, address: bytes) -> tuple[Any, Any]:
    """Both ends of a new connection."""
    done = loop.create_future()
    listener.changed = lambda: done.done() or done.set_result(None)
    client = first.open_stream(AF_INET)
    client.connect(SocketAddress(address, PORT))
    loop.run_until_complete(done)
    return client, listener.accept()


def listen(second: Any) -> Any:
    listener = second.open_stream(AF_INET)
    listener.bind(SocketAddress(ANY4, PORT))
    listener.listen(1024)
    return listener


def transfer(loop: KernelLoop, first: Any, second: Any, address: bytes) -> float:
    """MB/s from the first to the second."""
    client, server = connect(loop, first, listen(second), address)
    done = loop.create_future()
    sent = taken = 0

    def send() -> None:
        nonlocal sent
        while sent < TOTAL:
            count = client.send(PIECE)
            if not count:
                return
            sent += count

    def take() -> None:
        nonlocal taken
        while data := server.receive(1 << 18):
            taken += len(data)
        if taken >= TOTAL and not done.done():
            done.set_result(None)

    client.changed, server.changed = send, take
    started = time.perf_counter()
    send()
    loop.run_until_complete(done)
    return taken / 1e6 / (time.perf_counter() - started)


def through_lo(loop: KernelLoop, first: Any, second: Any, address: bytes) -> float:
    """The same within one stack."""
    return transfer(loop, first, first, LOOPBACK4)


def exchange(loop: KernelLoop, client: Any, server: Any) -> float:
    """Microseconds there and back, for one octet."""
    done = loop.create_future()
    left = ROUND_TRIPS

    def answer() -> None:
        data = server.receive(100)
        if data:
            server.send(data)

    def again() -> None:
        nonlocal left
        if client.receive(100):
            left -= 1
            if left:
                client.send(b"x")
            else:
                done.set_result(None)

    client.changed, server.changed = again, answer
    started = time.perf_counter()
    client.send(b"x")
    loop.run_until_complete(done)
    return (time.perf_counter() - started) / ROUND_TRIPS * 1e6


def round_trip(loop: KernelLoop, first: Any, second: Any, address: bytes) -> float:
    return exchange(loop, *connect(loop, first, listen(second), address))


def among(count: int) -> Runner:
    """A round trip while ``count`` connections are open: made at first use, they live as long as the process."""

    @functools.cache
    def made() -> tuple[KernelLoop, list[Any]]:
        loop = KernelLoop(RealClock())
        lan = Lan(loop.call_soon, loop.call_later_ns)
        first, second = (make_stack(loop, number, WireDevice(lan.port(), station_mac(number))) for number in (1, 2))
        listener = listen(second)
        return loop, [connect(loop, first, listener, station_address(2)) for _ in range(count)]

    def run() -> float:
        loop, pairs = made()
        return exchange(loop, *pairs[count // 2])

    return run


def connections(loop: KernelLoop, first: Any, second: Any, address: bytes) -> float:
    """Opened and closed, one after another, in a second."""
    listener = listen(second)
    started = time.perf_counter()
    for _ in range(CONNECTIONS):
        client, server = connect(loop, first, listener, address)
        client.close()
        server.close()
    return CONNECTIONS / (time.perf_counter() - started)


@benchmark("tcp: between two stacks on a LAN", unit="MB/s", at_least=150.0)
def lan_transfer(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: on_a_lan(transfer)}


@benchmark("tcp: from an E1000 with TSO to a stack on the wire", unit="MB/s", at_least=100.0)
def card_transfer(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: over_cards(transfer, 1)}


@benchmark("tcp: between two E1000s, received in frames of 1,500", unit="MB/s")
def cards_transfer(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: over_cards(transfer, 2)}


@benchmark("tcp: through lo", unit="MB/s")
def lo_transfer(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: on_a_lan(through_lo)}


@benchmark("tcp: one octet there and back", unit="us", limit=100.0)
def tcp_round_trip(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: on_a_lan(round_trip)}


@benchmark("tcp: there and back, 1,000 connections open", unit="us", times_of=("with 10", 1.3))
def among_a_thousand(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": among(1000), "with 10": among(10)}


@benchmark("tcp: there and back, 10,000 connections open", unit="us", times_of=("with 10", 1.3))
def among_ten_thousand(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": among(10_000), "with 10": among(10)}


@benchmark("tcp: connections opened and closed", unit="1/s")
def tcp_connections(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: on_a_lan(connections)}


@benchmark("tcp: to the host's kernel over a TAP, frames of 1,500", unit="MB/s")
def tap_transfer(bench: Bench) -> dict[str, Runner | None]:
    unshare = bench.peer("unshare")
    if unshare is None or os.geteuid():
        raise JefeError("a network namespace needs root and unshare")
    ours = [unshare, "--net", sys.executable, str(HOST_PEER), "transfer", "client", "out", "30", "{}"]
    other = os.environ.get(PYTCP_PYTHON)
    theirs = [unshare, "--net", other, str(Path(__file__).with_name("under_pytcp.py")), "1"] if other else None

    def last_line(command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        return done.stdout.splitlines()[-1]

    return {
        "jefeos": lambda: float(json.loads(last_line(ours))["megabytes_a_second"]),
        "pytcp": (lambda: float(last_line(theirs))) if theirs is not None else None,
    }
