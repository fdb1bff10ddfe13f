"""Bad wires in virtual time, by seed: messages whole and in fragments, echoes, neighbours that come and go.

What arrives is what was sent, and never a mixture; nothing is left in the stacks at the end (`LanOfStacks.close`).
"""

from __future__ import annotations

import random

import pytest
from jefeos.net.address import AF_INET, AF_INET6, ANY6, SocketAddress
from jefeos.net.checksum import ones_sum
from jefeos.net.wires.lan import Faults
from jefeos.testing.networks import LanOfStacks, station_address
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_inet.stack import InetStack

SHORT, LONG = 12, 1000
PORT = 7000


def link_local(stack: InetStack) -> bytes:
    return next(entry.address for entry in stack.interface("eth0").addresses if entry.address[:2] == b"\xfe\x80")


def simulate(seed: int) -> tuple[int, int]:
    """Sent and received messages of one run."""
    draw = random.Random(seed)
    faults = Faults(
        loss=draw.choice((0.0, 0.01, 0.05, 0.2)), duplication=draw.choice((0.0, 0.05)),
        corruption=draw.choice((0.0, 0.02)), reordering=draw.choice((0.0, 0.2)),
        delay_ns=draw.choice((0, 1_000_000, 200_000_000)), jitter_ns=draw.choice((0, 5_000_000)),
    )  # fmt: skip
    stations = draw.randrange(2, 6)
    network = LanOfStacks(jefeos_network_stack, stations, seed=seed, faults=faults)
    stacks = [stack for stack in network.stacks if isinstance(stack, InetStack)]
    network.run(5.0)
    sockets = []
    for stack in stacks:
        socket = stack.open_datagram(AF_INET6)
        socket.set_option("so_rcvbuf", 1 << 24)
        socket.bind(SocketAddress(ANY6, PORT))
        sockets.append(socket)
    sent: set[bytes] = set()
    for number in range(60):
        here, there = draw.sample(range(stations), 2)
        size = draw.choice((0, 10, 500, 1472, 1473, 5000, 30_000))
        data = number.to_bytes(4, "big") + random.Random(number).randbytes(size)
        near = [entry for entry in stacks[there].interface(2).addresses if entry.address[:2] == b"\xfe\x80"]
        six = draw.random() < 0.5 and near != []
        if six:
            target = SocketAddress(link_local(stacks[there]), PORT, 2)
        else:
            target = SocketAddress(b"\0" * 10 + b"\xff\xff" + station_address(there + 1), PORT)
        sockets[here].send_to(data, target)
        sent.add(data)
        waits = any(entry.waiting for entry in stacks[here].arp.cache.entries.values())
        if draw.random() < 0.1 and not waits:  # what waits for an answer would be lost with the question
            stacks[here].arp.cache.flush()
        network.run(draw.choice((0.0, 0.01, 2.0, 40.0)))
    network.run(10.0)
    received = []
    for socket in sockets:
        while (message := socket.receive_from()) is not None:
            received.append(message.data)
        socket.close()
    strange = set(received) - sent
    assert faults.corruption or not strange, "a message arrived that nobody sent"
    for data in strange:  # two flipped bits can cancel out in the sum, which is all that guards a message
        assert any(len(data) == len(one) and ones_sum(data) == ones_sum(one) for one in sent)
    assert len(strange) <= 1
    if not (faults.loss or faults.corruption):
        assert set(received) == sent
    if not (faults.duplication or faults.corruption):
        assert len(received) == len(set(received))
    network.run(70.0)
    for stack in stacks:
        assert not stack.ipv4.reassembler.used_bytes and not stack.ipv6.reassembler.used_bytes
        assert not any(entry.waiting for entry in stack.arp.cache.entries.values())
    network.close()
    return len(sent), len(set(received))


@pytest.mark.parametrize("seed", range(SHORT))
def test_messages_on_bad_wires(seed: int) -> None:
    sent, received = simulate(seed)
    assert received > sent // 4


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_messages_on_bad_wires_for_long() -> None:
    for seed in range(SHORT, LONG):
        simulate(seed)


def test_a_run_repeats_with_its_seed() -> None:
    assert simulate(5) == simulate(5)


def test_loss_on_the_way_to_an_answer_costs_retries_only() -> None:
    """With a fifth of all frames lost, three questions find most neighbours, and pings tell the rate of loss."""
    network = LanOfStacks(jefeos_network_stack, seed=3, faults=Faults(loss=0.2))
    first = network.stacks[0]
    network.run(5.0)
    ping = first.open_ping(AF_INET)
    answered = 0
    for sequence in range(400):
        ping.send_to(bytes((8, 0, 0, 0, 0, 0)) + sequence.to_bytes(2, "big"), SocketAddress(station_address(2), 0))
        network.run(0.5)
        while ping.receive_from() is not None:
            answered += 1
    assert 0.5 < answered / 400 < 0.78, "0.8 times 0.8 of them come through"
    ping.close()
    network.close()
