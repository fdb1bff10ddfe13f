"""The short way of the usual segment: what goes over the wire is the same to the octet as by the general way, and
whatever is not usual goes the general way."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from jefeos.net.address import AF_INET, SocketAddress
from jefeos.net.stack import Neighbour, NeighbourState
from jefeos.net.wires.lan import MOST_ANSWERS, Faults, Lan
from jefeos.testing.networks import LanOfStacks, station_address, station_mac
from jefeos_net_inet.plugin import jefeos_network_stack

sys.path.insert(0, str(Path(__file__).parent))


_TTL_AT, _DATA_AT = 22, 66


def disable_express(network: LanOfStacks) -> None:
    """Everything goes the general way."""
    for stack in network.stacks:
        for interface in stack.interfaces():
            interface._express = lambda _interface, _frame: False  # type: ignore[attr-defined]
        stack.tcp.express.lane = lambda *_: None  # type: ignore[attr-defined]


def pair(network: LanOfStacks, address: bytes | None = None) -> tuple[Any, Any]:
    """Both ends of a connection."""
    first, second = network.stacks
    listener: Any = second.open_stream(AF_INET)
    listener.bind(SocketAddress(b"", 80))
    listener.listen(5)
    client: Any = first.open_stream(AF_INET)
    client.connect(SocketAddress(address or station_address(2), 80))
    server = None
    for _ in range(200):
        network.run(0.05)
        server = server or listener.accept()
        if server is not None and client.state == "ESTABLISHED":
            break
    listener.close()
    assert server is not None
    return client, server


def hits(stack: Any) -> int:
    return int(stack.counters()["TcpExt"]["TCPHPHits"])


def conversation(seed: int, faults: Faults | None, express: bool) -> tuple[list[bytes], list[bytes], int]:
    """Two ends that say random things at random times and may answer at once; all frames, all bytes, and hits."""
    chance = random.Random(seed)
    network = LanOfStacks(jefeos_network_stack, seed=seed, faults=faults)
    if not express:
        disable_express(network)
    _, frames = network.spy()
    ends = pair(network)
    heard = [bytearray(), bytearray()]

    def answer(number: int) -> None:
        while data := ends[number].receive(100_000):
            heard[number] += data
            if data[0] & 3 == 0 and ends[number].state == "ESTABLISHED":
                ends[number].send(data[1 : 1 + data[0]])

    for number in (0, 1):
        ends[number].set_option("tcp_nodelay", chance.random() < 0.5)
        ends[number].changed = lambda number=number: answer(number)
    for step in range(60):
        one = ends[chance.randrange(2)]
        what = chance.random()
        if what < 0.75:
            one.send(chance.randbytes(chance.choice((1, 1, 20, 500, 1448, 5000, 70_000))))
        elif what < 0.8 and step > 40:
            one.send(b"!", urgent=True)
        elif what < 0.85:
            one.set_option("tcp_cork", chance.random() < 0.3)
        elif what < 0.9:
            one.set_option("ip_ttl", chance.randrange(1, 255))
        network.run(chance.choice((0, 0, 0.0001, 0.01, 0.05)))
    ends[0].shut_down(False, True)
    network.run(0.3)
    ends[1].shut_down(False, True)
    network.run(0.3)
    count = sum(hits(stack) for stack in network.stacks)
    for end in ends:
        end.close()
    network.close()
    return frames, [bytes(one) for one in heard], count


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "faults",
    [None, Faults(delay_ns=200_000), Faults(loss=0.03, reordering=0.03, duplication=0.03, corruption=0.03)],
    ids=["clean", "slow", "bad"],
)
def test_the_wire_cannot_tell(seed: int, faults: Faults | None) -> None:
    frames, heard, count = conversation(seed, faults, True)
    plain_frames, plain_heard, plain_count = conversation(seed, faults, False)
    assert heard == plain_heard
    for number, (frame, plain) in enumerate(zip(frames, plain_frames, strict=True)):
        assert frame == plain, number
    assert count and not plain_count


def test_a_conversation_goes_the_short_way_and_needs_no_acknowledgments_of_its_own() -> None:
    network = LanOfStacks(jefeos_network_stack)
    client, server = pair(network)
    _, frames = network.spy()
    before = [hits(stack) for stack in network.stacks]
    done = 0

    def answer() -> None:
        server.send(server.receive(10))

    def again() -> None:
        nonlocal done
        assert client.receive(10) == b"x"
        done += 1
        if done < 500:
            client.send(b"x")

    server.changed, client.changed = answer, again
    client.send(b"x")
    network.run(0.01)
    assert done == 500
    taken = [hits(stack) - old for stack, old in zip(network.stacks, before, strict=True)]
    assert min(taken) >= 499, "the first one finds no lane yet at the other end"
    assert len(frames) == 1000
    for end in (client, server):
        end.close()
    network.run(0.1)
    network.close()


def test_what_is_damaged_is_not_taken() -> None:
    network = LanOfStacks(jefeos_network_stack)
    client, server = pair(network)
    port, frames = network.spy()
    network.stacks[1].interface("eth0").set_up(False)
    client.send(b"hello")
    network.run(0)
    (frame,) = (one for one in frames if one[_DATA_AT:] == b"hello")
    network.stacks[1].interface("eth0").set_up(True)
    for bit in range(8 * len(frame)):
        bad = bytearray(frame)
        bad[bit // 8] ^= 1 << bit % 8
        if bit >= 8 * 14 and bit // 8 != 23:  # without a checksum for Ethernet nothing can be said of that
            port.send(bytes(bad))
    network.run(0.001)
    assert server.receive(100) is None
    port.send(frame)
    network.run(0.001)
    assert server.receive(100) == b"hello"
    for end in (client, server):
        end.close()
    network.run(0.1)
    network.close()


def test_changes_take_effect_at_once() -> None:
    network = LanOfStacks(jefeos_network_stack)
    first, second = network.stacks
    client, server = pair(network)
    _, frames = network.spy()

    def said(text: bytes) -> bytes:
        """The frame in which the client says it."""
        client.send(text)
        network.run(0.01)
        server.receive(100)
        (frame,) = [frame for frame in frames if frame[_DATA_AT:] == text]
        network.run(0.1)
        return frame

    for text in (b"one", b"two"):
        assert said(text)[_TTL_AT] == 64
    client.set_option("ip_ttl", 9)
    assert said(b"three")[_TTL_AT] == 9
    client.set_option("ip_ttl", -1)
    first.settings["net.ipv4.ip_default_ttl"] = 33
    assert said(b"four")[_TTL_AT] == 33
    other = station_mac(77)
    index = first.interface("eth0").index
    first.add_neighbour(Neighbour(station_address(2), index, other, NeighbourState.PERMANENT))
    client.send(b"five")
    network.run(0.01)
    assert next(frame for frame in frames if frame[_DATA_AT:] == b"five")[:6] == other
    first.add_neighbour(Neighbour(station_address(2), index, station_mac(2), NeighbourState.PERMANENT))
    network.run(1)
    assert server.receive(100) == b"five"
    second.interface("eth0").remove_address(station_address(2))
    before = hits(second)
    client.send(b"six")
    network.run(0.1)
    assert server.receive(100) is None and hits(second) == before
    for end in (client, server):
        end.abort()
    network.run(0.1)
    network.close()


def test_progress_confirms_the_neighbour() -> None:
    network = LanOfStacks(jefeos_network_stack)
    second = network.stacks[1]
    client, server = pair(network)  # the second has only heard the first ask
    _, frames = network.spy()
    for _ in range(80):
        client.send(b"x")
        network.run(0.05)
        server.send(server.receive(10))
        network.run(0.05)
        client.receive(10)
    states = {one.address: one.state for one in second.neighbours()}
    assert states[station_address(1)] is NeighbourState.REACHABLE
    questions = [frame for frame in frames if frame[12:14] == b"\x08\x06" and frame[28:32] != frame[38:42]]
    assert questions == [], "there was nothing but announcements"
    for end in (client, server):
        end.close()
    network.run(0.1)
    network.close()


def test_a_segment_delivers_answers_at_once_but_not_for_ever() -> None:
    """Two that answer everything would else keep the event loop for themselves."""
    turns: list[Any] = []
    lan = Lan(turns.append, lambda _delay_ns, call: turns.append(call))
    first, second = lan.port(), lan.port()
    first.receiver, second.receiver = first.send, second.send
    first.send(b"ball")
    for turn in range(1, 4):
        (call,) = turns
        turns.clear()
        call()
        assert lan.statistics.delivered == turn * (MOST_ANSWERS + 1)
