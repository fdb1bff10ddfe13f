"""Our network stack on a tap device, the host's kernel at the other end. Run it inside a network namespace of its own:

    unshare --net python host_scenarios.py NAME        prints "done" if the scenario NAME went as it should

Ours is 10.9.8.2 and fd00:9::2, the host's end of the wire jefetap0 with 10.9.8.1 and fd00:9::1.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY4, ANY6, SocketAddress, parse_address
from jefeos.net.stack import NetworkStack, Route
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Lan
from jefeos.sched.clock import RealClock
from jefeos.sched.loop import KernelLoop

sys.path.insert(0, str(Path(__file__).parent))

from host_routers import routers_advertise, the_host_redirects_us, we_advertise
from host_world import (
    HOST4,
    HOST6,
    IP_RECVTTL,
    MAC,
    OURS4,
    PATIENCE_S,
    SIZES,
    TAP,
    UDPLITE,
    UDPLITE_SEND_CSCOV,
    World,
    host_socket,
)  # fmt: skip

# --- echoes -------------------------------------------------------------------------------------------------------


async def the_host_pings_us(world: World) -> None:
    """Small, fragmented and many; both families."""
    for target in ("10.9.8.2", "fd00:9::2"):
        for size, count in ((56, 3), (1472, 2), (8000, 3), (40_000, 2), (65_000, 2)):
            output = await world.run(
                "ping", "-n", "-c", str(count), "-i", "0.05", "-W", "30", "-s", str(size), target
            )
            assert f"{count} received, 0% packet loss" in output, output
        output = await world.run("ping", "-n", "-q", "-c", "300", "-i", "0.002", "-W", "30", target)
        assert "300 received, 0% packet loss" in output, output
    local = next(one.address for one in world.interface.addresses if one.address[:2] == b"\xfe\x80")
    output = await world.run(
        "ping", "-n", "-c", "2", "-i", "0.05", f"{socket.inet_ntop(socket.AF_INET6, local)}%{TAP}"
    )
    assert "2 received" in output, output


async def we_ping_the_host(world: World) -> None:
    """By ping sockets, whole and in fragments."""
    for family, kind, target in ((AF_INET, 8, HOST4), (AF_INET6, 128, HOST6)):
        ours = world.stack.open_ping(family)
        for sequence, size in enumerate(SIZES):
            data = (
                bytes((kind, 0, 0, 0, 0, 0))
                + sequence.to_bytes(2, "big")
                + bytes(index & 255 for index in range(size))
            )
            assert ours.send_to(data, SocketAddress(target, 0)) == len(data)
            answer = await world.receive(ours)
            assert answer.data[0] == (0 if family == AF_INET else 129)
            assert answer.data[4:6] == ours.local.port.to_bytes(2, "big")
            assert answer.data[6:] == data[6:] and answer.source.address == target
        ours.close()


# --- UDP ----------------------------------------------------------------------------------------------------------


async def messages_go_both_ways(world: World) -> None:
    """Every size, both families, and an IPv4 peer of a dual-stack socket."""
    dual = world.stack.open_datagram(AF_INET6)
    dual.set_option("so_rcvbuf", 1 << 20)
    dual.bind(SocketAddress(ANY6, 7000))
    for family, theirs, ours in (
        (socket.AF_INET, "10.9.8.1", "10.9.8.2"),
        (socket.AF_INET6, "fd00:9::1", "fd00:9::2"),
    ):
        host = host_socket(family, theirs, 7001)
        for size in SIZES:
            data = bytes((size + index) & 255 for index in range(size))
            host.sendto(data, (ours, 7000))
            message = await world.receive(dual)
            assert message.data == data and message.source.port == 7001
            assert message.destination == parse_address(ours)
            dual.send_to(data, message.source)
            back, where = await world.loop.sock_recvfrom(host, 65_536)
            assert back == data and where[:2] == (ours, 7000), (size, where)
        host.close()
    dual.close()


async def header_fields_arrive(world: World) -> None:
    """TTL, TOS and their like, in both directions."""
    host = host_socket(socket.AF_INET, "10.9.8.1")
    host.setsockopt(socket.SOL_IP, IP_RECVTTL, 1)
    host.setsockopt(socket.SOL_IP, socket.IP_RECVTOS, 1)
    host.setsockopt(socket.SOL_IP, socket.IP_TTL, 9)
    host.setsockopt(socket.SOL_IP, socket.IP_TOS, 0x10)
    ours = world.stack.open_datagram(AF_INET)
    ours.set_option("ip_ttl", 33)
    ours.set_option("ip_tos", 0x28)
    where = SocketAddress(HOST4, host.getsockname()[1])
    for ancillary, expected in (({}, (33, 0x28)), ({"ttl": 44, "tos": 0x20}, (44, 0x20))):
        ours.send_to(b"x", where, ancillary)
        await world.until(lambda: select.select([host], [], [], 0)[0], "a message")
        _, controls, _, name = host.recvmsg(100, 200)
        values = {kind: int.from_bytes(data[:4], "little") for _, kind, data in controls}
        assert (values[socket.IP_TTL], values[socket.IP_TOS]) == expected, values
    host.sendto(b"y", name)
    message = await world.receive(ours)
    assert (message.hop_limit, message.traffic_class) == (9, 0x10)
    ours.close()
    host.close()


async def lightly_checked_messages(world: World) -> None:
    """UDP-Lite with every coverage, both ways; the host checks what we sum up, and we what it does."""
    for family, ours_family, theirs, ours_text in (
        (socket.AF_INET, AF_INET, HOST4, "10.9.8.2"),
        (socket.AF_INET6, AF_INET6, HOST6, "fd00:9::2"),
    ):
        ours = world.stack.open_datagram(ours_family, UDPLITE)
        ours.bind(SocketAddress(ANY4 if ours_family == AF_INET else ANY6, 7400))
        host = socket.socket(family, socket.SOCK_DGRAM, UDPLITE)
        host.setblocking(False)
        host.bind((socket.inet_ntop(family, theirs), 7401))
        for coverage in (0, 8, 9, 20, 1000):
            for size in (0, 1, 100, 3000):
                data = bytes((index * 3) & 255 for index in range(size))
                ours.set_option("udplite_send_cscov", coverage)
                host.setsockopt(UDPLITE, UDPLITE_SEND_CSCOV, coverage)
                host.sendto(data, (ours_text, 7400))
                message = await world.receive(ours)
                assert message.data == data
                ours.send_to(data, message.source)
                assert await world.loop.sock_recv(host, 65_536) == data
        ours.set_option("udplite_recv_cscov", 20)
        host.setsockopt(UDPLITE, UDPLITE_SEND_CSCOV, 10)
        host.sendto(bytes(100), (ours_text, 7400))  # it covers less than was asked for
        host.setsockopt(UDPLITE, UDPLITE_SEND_CSCOV, 20)
        host.sendto(b"covers enough", (ours_text, 7400))
        assert (await world.receive(ours)).data == b"covers enough"
        host.close()
        ours.close()


async def refused(world: World) -> None:
    """A closed port is ECONNREFUSED for a connected socket, at both ends and in both families."""
    for family, ours_family, theirs, ours_text in (
        (socket.AF_INET, AF_INET, HOST4, "10.9.8.2"),
        (socket.AF_INET6, AF_INET6, HOST6, "fd00:9::2"),
    ):
        host = socket.socket(family, socket.SOCK_DGRAM)
        host.connect((ours_text, 9))
        host.send(b"x")
        await world.until(
            lambda host=host: host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == Errno.ECONNREFUSED,
            "a refusal of the host",
        )
        host.close()
        ours = world.stack.open_datagram(ours_family)
        ours.connect(SocketAddress(theirs, 9))
        ours.send_to(b"x")
        await world.until(lambda ours=ours: ours.pending_error, "a refusal")
        assert ours.take_error() == Errno.ECONNREFUSED
        ours.set_option("ip_recverr" if family == socket.AF_INET else "ipv6_recverr", 1)
        ours.send_to(b"payload")
        await world.until(lambda ours=ours: ours.pending_error, "a refusal")
        entry = ours.next_error()
        assert entry is not None and entry.errno == Errno.ECONNREFUSED and entry.payload == b"payload"
        assert entry.hop_limit == 64 and entry.offender.address == theirs
        assert entry.destination == SocketAddress(theirs, 9)
        ours.close()


async def raw_sockets_hear(world: World) -> None:
    """A raw socket sees the host's echo requests with their header, a packet socket their frames."""
    raw = world.stack.open_raw(AF_INET, 1)
    tap = world.stack.open_packet(cooked=False)
    tap.bind_to(0x0800, 0)
    await world.run("ping", "-n", "-c", "1", "-s", "100", "10.9.8.2")
    message = await world.receive(raw)
    assert message.data[0] == 0x45 and message.data[20] == 8 and len(message.data) == 128
    frame = tap.receive_frame()
    assert frame is not None and frame.data[14:] == message.data and frame.data[:6] == MAC
    # an answer made by hand, with a header of our own
    hand = world.stack.open_raw(AF_INET, 255)
    udp = (7777).to_bytes(2, "big") + (7778).to_bytes(2, "big") + (8 + 5).to_bytes(2, "big") + b"\0\0hello"
    header = bytes.fromhex("4500000000004000") + b"\x40\x11\0\0" + OURS4 + HOST4
    host = host_socket(socket.AF_INET, "10.9.8.1", 7778)
    hand.send_to(header + udp, SocketAddress(HOST4, 0))
    data, where = await world.loop.sock_recvfrom(host, 100)
    assert data == b"hello" and where == ("10.9.8.2", 7777)
    host.close()
    for ours in (raw, tap, hand):
        ours.close()


async def multicast_both_ways(world: World) -> None:
    """Groups of both families; the host's kernel sees our membership as a host on its link would."""
    host = host_socket(socket.AF_INET, "", 7100)
    group = parse_address("239.1.2.3")
    host.setsockopt(socket.SOL_IP, socket.IP_ADD_MEMBERSHIP, group + HOST4)
    host.setsockopt(socket.SOL_IP, socket.IP_MULTICAST_IF, HOST4)
    ours = world.stack.open_datagram(AF_INET)
    ours.bind(SocketAddress(ANY4, 7100))
    ours.set_option("ip_multicast_all", 0)
    ours.set_option("ip_multicast_loop", 0)
    host.sendto(b"not yet", ("239.1.2.3", 7100))
    host.sendto(b"to us alone", ("10.9.8.2", 7100))
    assert (await world.receive(ours)).data == b"to us alone"
    ours.set_option("ip_add_membership", (group, OURS4, 0))
    host.sendto(b"to all", ("239.1.2.3", 7100))
    message = await world.receive(ours)
    assert message.data == b"to all" and message.destination == group and message.hop_limit == 1
    ours.set_option("ip_multicast_ttl", 4)
    ours.set_option("ip_multicast_if", (OURS4, 0))
    ours.send_to(b"from us", SocketAddress(group, 7100))
    while (received := await world.loop.sock_recvfrom(host, 100))[0] != b"from us":
        assert received[1][0] == "10.9.8.1"  # its own, looped back
    ours.close()
    host.close()


# --- the way there --------------------------------------------------------------------------------------------------


async def behind_us(world: World, mtu: int = 1500) -> NetworkStack:
    """Another stack on a segment that our stack routes to: 10.20.0.2 and fd00:20::2."""
    lan = Lan(world.loop.call_soon, world.loop.call_later_ns)
    inside = world.stack.add_device(WireDevice(lan.port(), bytes.fromhex("020000000001"), mtu=mtu))
    inside.add_address(parse_address("10.20.0.1"), 24)
    inside.add_address(parse_address("fd00:20::1"), 64)
    inside.set_up(True)
    other = world.new_stack()
    other.settings["net.ipv6.conf.all.dad_transmits"] = 0
    far = other.add_device(WireDevice(lan.port(), bytes.fromhex("020000000002"), mtu=mtu))
    far.add_address(parse_address("10.20.0.2"), 24)
    far.add_address(parse_address("fd00:20::2"), 64)
    far.set_up(True)
    other.add_route(Route(ANY4, 0, far.index, parse_address("10.20.0.1")))
    other.add_route(Route(ANY6, 0, far.index, parse_address("fd00:20::1")))
    world.stack.settings["net.ipv4.ip_forward"] = 1
    world.stack.settings["net.ipv6.conf.all.forwarding"] = 1
    await world.run("ip", "route", "add", "10.20.0.0/24", "via", "10.9.8.2")
    await world.run("ip", "-6", "route", "add", "fd00:20::/64", "via", "fd00:9::2")
    return other


async def traceroute_through_us(world: World) -> None:
    """Two hops by UDP and by ICMP; an address that nobody has is unreachable, and so is a network."""
    other = await behind_us(world)
    for target, router, far in (("10.20.0.2", "10.9.8.2", "-4"), ("fd00:20::2", "fd00:9::2", "-6")):
        for method in ("-U", "-I"):
            output = await world.run("traceroute", far, method, "-n", "-q", "1", "-w", "30,0,0", target)
            hops = re.findall(r"^ *\d+ +(\S+) ", output, re.MULTILINE)
            assert hops == [router, target], output
    assert "2 received" in await world.run("ping", "-c", "2", "-i", "0.1", "-s", "9000", "10.20.0.2")
    assert "2 received" in await world.run("ping", "-c", "2", "-i", "0.1", "-s", "9000", "fd00:20::2")
    output = await world.run("ping", "-n", "-c", "1", "-W", "30", "10.20.0.77", check=False)
    assert "From 10.9.8.2 icmp_seq=1 Destination Host Unreachable" in output, output
    await world.run("ip", "route", "add", "10.99.0.0/24", "via", "10.9.8.2")
    output = await world.run("ping", "-n", "-c", "1", "-W", "30", "10.99.0.1", check=False)
    assert "From 10.9.8.2 icmp_seq=1 Destination Net Unreachable" in output, output
    other.close()


async def the_path_is_narrow(world: World) -> None:
    """The host learns the MTU of a segment behind us, and so do we from the host's side of a narrower wire."""
    other = await behind_us(world, 1300)
    output = await world.run(
        "ping", "-n", "-c", "1", "-M", "do", "-s", "1400", "-W", "30", "10.20.0.2", check=False
    )
    assert "Frag needed and DF set (mtu = 1300)" in output or "mtu=1300" in output, output
    output = await world.run(
        "ping", "-n", "-c", "1", "-M", "do", "-s", "1400", "-W", "30", "fd00:20::2", check=False
    )
    assert "Packet too big: mtu=1300" in output or "mtu=1300" in output, output
    assert "1 received" in await world.run("ping", "-c", "1", "-s", "1400", "10.20.0.2")
    assert "1 received" in await world.run("ping", "-c", "1", "-s", "5000", "fd00:20::2")
    # The other way: a large message of ours over a route that the host says is narrower.
    far = other.open_datagram(AF_INET)
    far.set_option("ip_mtu_discover", 2)
    with pytest.raises(KernelError) as caught:  # longer than the link's MTU
        far.send_to(bytes(1400), SocketAddress(HOST4, 7200))
    assert caught.value.errno == Errno.EMSGSIZE
    far.close()
    other.close()


# --- neighbours and addresses ---------------------------------------------------------------------------------------


async def who_has_what(world: World) -> None:
    """The caches of both sides, probes, and what happens if the host has our address."""
    await world.run("ping", "-c", "1", "10.9.8.2")
    neighbours = await world.run("ip", "neigh", "show", "dev", TAP)
    assert "10.9.8.2 lladdr 52:54:00:12:34:56" in neighbours, neighbours
    link = await world.run("ip", "-o", "link", "show", TAP)
    host_mac = bytes.fromhex(link.split("link/ether ")[1][:17].replace(":", ""))
    assert any(one.address == HOST4 and one.mac == host_mac for one in world.stack.neighbours())
    found: list[bytes | None] = []
    world.interface.probe(HOST4, found.append)
    world.interface.probe(parse_address("10.9.8.200"), found.append)
    await world.until(lambda: len(found) == 2, "the end of two probes")
    assert found == [host_mac, None]
    world.stack.settings["net.ipv6.conf.all.dad_transmits"] = 1
    await world.run("ip", "-6", "addr", "add", "fd00:9::77/64", "dev", TAP, "nodad")
    world.interface.add_address(parse_address("fd00:9::77"), 64)
    world.interface.add_address(parse_address("fd00:9::78"), 64)

    def ours() -> dict[int, bool]:
        return {
            one.address[-1]: one.tentative for one in world.interface.addresses if one.prefix_length == 64
        }

    assert ours()[0x77] and ours()[0x78]
    await world.until(lambda: 0x77 not in ours() and not ours()[0x78], "the end of two detections")
    # The host looks for an address that we have, and asks often, as we may be busy: it must find it, and keep off.
    await world.run("sysctl", "-qw", f"net.ipv6.conf.{TAP}.dad_transmits=50")
    await world.run("ip", "-6", "addr", "add", "fd00:9::78/64", "dev", TAP)
    while not re.search(r"fd00:9::78/64 .*dadfailed", await world.run("ip", "-6", "addr", "show", "dev", TAP)):
        await asyncio.sleep(0.05)  # for ever if it does not: the test has a time limit


async def streams_both_ways(world: World) -> None:
    """A megabyte each way over TCP, both families, so that the layers below are seen to carry it."""
    payload = bytes(range(256)) * 4096
    for family, address in ((AF_INET, HOST4), (AF_INET6, HOST6)):
        kind = socket.AF_INET if family == AF_INET else socket.AF_INET6
        listener = socket.create_server((socket.inet_ntop(kind, address), 7300), family=kind)
        listener.setblocking(False)
        stream = world.stack.open_stream(family)
        stream.connect(SocketAddress(address, 7300))
        peer, _ = await world.loop.sock_accept(listener)
        got = bytearray()
        sent = 0
        echoing = asyncio.ensure_future(_echo_by_host(world.loop, peer))
        end = world.loop.time() + PATIENCE_S
        while len(got) < len(payload) and world.loop.time() < end:
            if sent < len(payload) and stream.state == "ESTABLISHED":
                sent += stream.send(memoryview(payload)[sent : sent + 65_536])
            while (data := stream.receive(1 << 20)) is not None and data:
                got += data
            await asyncio.sleep(0.001)
        assert bytes(got) == payload, (sent, len(got), stream.state)
        stream.close()
        await echoing
        listener.close()


async def _echo_by_host(loop: KernelLoop, peer: socket.socket) -> None:
    while data := await loop.sock_recv(peer, 65_536):
        await loop.sock_sendall(peer, data)
    peer.close()


SCENARIOS: dict[str, Callable[[World], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        the_host_pings_us,
        we_ping_the_host,
        messages_go_both_ways,
        lightly_checked_messages,
        header_fields_arrive,
        refused,
        raw_sockets_hear,
        multicast_both_ways,
        traceroute_through_us,
        the_path_is_narrow,
        who_has_what,
        routers_advertise,
        the_host_redirects_us,
        we_advertise,
        streams_both_ways,
    )
}


def main(name: str) -> None:
    clock = RealClock()
    loop = KernelLoop(clock)

    async def body() -> None:
        world = World(loop, clock)
        try:
            await world.set_up()
            await SCENARIOS[name](world)
        finally:
            world.close()

    loop.run_until_complete(body())
    loop.close()
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
