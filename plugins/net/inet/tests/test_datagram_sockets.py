"""UDP sockets side by side with the host's, on loopback: the same calls, the same outcomes. And what only we see."""

from __future__ import annotations

import errno
import itertools
import socket as host
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import (
    AF_INET,
    AF_INET6,
    ANY4,
    ANY6,
    LOOPBACK4,
    LOOPBACK6,
    SocketAddress,
    parse_address,
)
from jefeos.net.socket import Readiness
from jefeos.testing.networks import LanOfStacks, station_address
from jefeos_net_inet.plugin import jefeos_network_stack

HOST_FAMILY = {AF_INET: host.AF_INET, AF_INET6: host.AF_INET6}


@pytest.fixture
def network() -> Iterator[LanOfStacks]:
    made = LanOfStacks(jefeos_network_stack)
    made.run(3.0)
    yield made
    made.close()


def number_of(error: Exception) -> str:
    code = error.errno if isinstance(error, OSError) else int(error.errno)  # type: ignore[attr-defined]
    return errno.errorcode[code or 0]


class Ours:
    """A socket of the stack, by the calls that the cases make."""

    def __init__(self, network: LanOfStacks, family: int) -> None:
        self.network = network
        self.socket = network.stacks[0].open_datagram(family)

    def option(self, name: str, value: int) -> None:
        self.socket.set_option(name, value)

    def bind(self, address: str, port: int) -> None:
        self.socket.bind(SocketAddress(parse_address(address), port))

    def connect(self, address: str, port: int) -> None:
        self.socket.connect(SocketAddress(parse_address(address), port))

    def send(self, data: bytes, where: tuple[str, int] | None = None) -> int:
        target = SocketAddress(parse_address(where[0]), where[1]) if where else None
        sent = self.socket.send_to(data, target)
        self.network.run(0.05)
        return sent

    def receive(self) -> bytes:
        message = self.socket.receive_from()
        if message is None:
            raise KernelError(Errno.EAGAIN)
        return message.data

    def shut(self, reading: bool, writing: bool) -> None:
        self.socket.shut_down(reading, writing)

    def disconnect(self) -> None:
        self.socket.disconnect()

    def port(self) -> int:
        return self.socket.local.port

    def name(self) -> str:
        return str(self.socket.local).rpartition(":")[0].strip("[]")

    def close(self) -> None:
        self.socket.close()


class Theirs:
    """A socket of the host."""

    OPTIONS = {
        "so_reuseaddr": (host.SOL_SOCKET, host.SO_REUSEADDR), "so_reuseport": (host.SOL_SOCKET, host.SO_REUSEPORT),
        "so_broadcast": (host.SOL_SOCKET, host.SO_BROADCAST), "ipv6_v6only": (host.IPPROTO_IPV6, host.IPV6_V6ONLY),
        "ip_ttl": (host.SOL_IP, host.IP_TTL), "ip_tos": (host.SOL_IP, host.IP_TOS),
        "ip_multicast_ttl": (host.SOL_IP, host.IP_MULTICAST_TTL), "ip_mtu_discover": (host.SOL_IP, 10),
        "ipv6_unicast_hops": (host.IPPROTO_IPV6, host.IPV6_UNICAST_HOPS),
    }  # fmt: skip

    def __init__(self, _network: LanOfStacks, family: int, patience_s: float) -> None:
        self.socket = host.socket(HOST_FAMILY[family], host.SOCK_DGRAM)
        self.socket.settimeout(patience_s)

    def option(self, name: str, value: int) -> None:
        self.socket.setsockopt(*self.OPTIONS[name], value)

    def bind(self, address: str, port: int) -> None:
        self.socket.bind((address, port))

    def connect(self, address: str, port: int) -> None:
        self.socket.connect((address, port))

    def send(self, data: bytes, where: tuple[str, int] | None = None) -> int:
        return self.socket.sendto(data, where) if where else self.socket.send(data)

    def receive(self) -> bytes:
        try:
            return self.socket.recv(70_000)
        except TimeoutError:
            raise OSError(errno.EAGAIN, "") from None

    def shut(self, reading: bool, writing: bool) -> None:
        self.socket.shutdown(host.SHUT_RDWR if reading and writing else host.SHUT_RD if reading else host.SHUT_WR)

    def disconnect(self) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.connect(self.socket.fileno(), bytes(16), 16)

    def port(self) -> int:
        return self.socket.getsockname()[1]

    def name(self) -> str:
        return str(ip_address(self.socket.getsockname()[0]))

    def close(self) -> None:
        self.socket.close()


Maker = Callable[[LanOfStacks, int], Ours | Theirs]


def played(make: Maker, network: LanOfStacks, case: Callable[[Any], Iterator[Any]]) -> list[Any]:
    """The outcomes of a case: what each step gives, or the error's name."""
    sockets: list[Any] = []

    def new(family: int = AF_INET) -> Any:
        sockets.append(make(network, family))
        return sockets[-1]

    outcomes = []
    try:
        for step in case(new):
            try:
                outcomes.append(step())
            except (OSError, KernelError) as error:
                outcomes.append(number_of(error))
    finally:
        for socket in sockets:
            socket.close()
    return outcomes


def assert_as_on_the_host(network: LanOfStacks, case: Callable[[Any], Iterator[Any]], told: object = None) -> None:
    """Up to three times, with other ports of the host, which is shared, and with more patience for its answers."""
    for patience_s in (0.05, 1, 10):
        ours, theirs = played(Ours, network, case), played(partial(Theirs, patience_s=patience_s), network, case)
        if ours == theirs:
            break
    assert ours == theirs, told


Step = Callable[[], Any]


def sharing(first: tuple[int, str, dict[str, int]], second: tuple[int, str, dict[str, int]]) -> Callable[..., Any]:
    """Two sockets want one port."""

    def case(new: Any) -> Iterator[Step]:
        port = 0
        for family, address, options in (first, second):
            socket = new(family)
            for name, value in options.items():
                socket.option(name, value)
            yield lambda socket=socket, address=address, port=port: socket.bind(address, port)
            port = port or socket.port()

    return case


ADDRESSES = [(AF_INET, "0.0.0.0"), (AF_INET, "127.0.0.1"), (AF_INET, "127.0.0.2"), (AF_INET6, "::"), (AF_INET6, "::1"),
             (AF_INET6, "::ffff:127.0.0.1")]  # fmt: skip
OPTIONS = [{}, {"so_reuseaddr": 1}, {"so_reuseport": 1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_who_may_share_a_port(network: LanOfStacks, options: dict[str, int]) -> None:
    """Every pair of addresses, with options on both sides, on the second only, and with IPV6_V6ONLY."""
    for first, second in itertools.product(ADDRESSES, repeat=2):
        for mine, extra in ((options, {}), ({}, {}), (options, {"ipv6_v6only": 1})):
            cases = []
            for (family, address), chosen in ((first, mine), (second, options)):
                only = extra if family == AF_INET6 and "ffff" not in address else {}
                cases.append((family, address, {**chosen, **only}))
            case = sharing(cases[0], cases[1])
            assert_as_on_the_host(network, case, cases)


def basics(new: Any) -> Iterator[Step]:
    """Names, peers, errors of state."""
    server, client = new(), new()
    server.bind("127.0.0.1", 0)
    yield lambda: server.bind("127.0.0.1", 0)
    yield lambda: client.send(b"to nobody")
    half = new()
    yield lambda: half.shut(True, True)
    yield lambda: half.send(b"x", ("127.0.0.1", server.port()))
    yield lambda: client.send(b"hello", ("127.0.0.1", server.port()))
    yield server.receive
    yield client.name
    yield lambda: client.connect("127.0.0.1", server.port())
    yield client.name
    yield lambda: client.send(b"")
    yield server.receive
    yield lambda: client.send(b"x" * 65_507)
    yield lambda: len(server.receive())
    yield lambda: client.send(b"x" * 65_508)
    yield lambda: server.send(b"back", ("127.0.0.1", client.port()))
    yield client.receive
    yield lambda: client.shut(False, True)
    yield lambda: client.send(b"after the end")
    yield client.disconnect
    yield client.name
    yield lambda: server.send(b"x", ("127.0.0.1", 0))


def refusals(new: Any) -> Iterator[Step]:
    """ECONNREFUSED: once, at the next call, and only for a connected socket."""
    gone, client = new(), new()
    gone.bind("127.0.0.1", 0)
    port = gone.port()
    gone.close()
    yield lambda: client.send(b"x", ("127.0.0.1", port))
    yield lambda: client.send(b"x", ("127.0.0.1", port))
    yield lambda: client.connect("127.0.0.1", port)
    yield lambda: client.send(b"x")
    yield client.receive
    yield client.receive
    yield lambda: client.send(b"x")
    yield lambda: client.send(b"x")
    yield lambda: client.send(b"x")


def strangers(new: Any) -> Iterator[Step]:
    """A connected socket hears its peer alone, and the best socket of a port gets the message."""
    everywhere, exact, peer, other = new(), new(), new(), new()
    everywhere.option("so_reuseaddr", 1)
    exact.option("so_reuseaddr", 1)
    everywhere.bind("0.0.0.0", 0)
    port = everywhere.port()
    exact.bind("127.0.0.1", port)
    peer.bind("127.0.0.1", 0)
    other.bind("127.0.0.1", 0)
    yield lambda: peer.send(b"one", ("127.0.0.1", port))
    yield exact.receive
    yield everywhere.receive
    yield lambda: peer.send(b"two", ("127.0.0.2", port))
    yield everywhere.receive
    yield lambda: exact.connect("127.0.0.1", peer.port())
    yield lambda: other.send(b"three", ("127.0.0.1", port))
    yield exact.receive
    yield everywhere.receive
    yield lambda: peer.send(b"four", ("127.0.0.1", port))
    yield exact.receive


def families(new: Any) -> Iterator[Step]:
    """IPv4 through an IPv6 socket, and where that ends."""
    dual, old, only = new(AF_INET6), new(AF_INET), new(AF_INET6)
    dual.bind("::", 0)
    old.bind("127.0.0.1", 0)
    yield lambda: old.send(b"to both", ("127.0.0.1", dual.port()))
    yield dual.receive
    yield lambda: dual.send(b"mapped", ("::ffff:127.0.0.1", old.port()))
    yield old.receive
    only.option("ipv6_v6only", 1)
    yield lambda: only.send(b"x", ("::ffff:127.0.0.1", old.port()))
    yield lambda: only.connect("::ffff:127.0.0.1", old.port())
    yield lambda: dual.connect("::ffff:127.0.0.1", old.port())
    yield dual.name
    yield lambda: new(AF_INET6).bind("2001:db8::99", 0)
    yield lambda: new(AF_INET).bind("203.0.113.9", 0)
    yield lambda: dual.option("ipv6_v6only", 1)


def values(new: Any) -> Iterator[Step]:
    """Which values an option takes."""
    socket = new(AF_INET)
    for name, tried in (
        ("ip_ttl", (1, 255, 256, 0, -1, -2)), ("ip_tos", (0, 0x10)), ("ip_multicast_ttl", (0, 255, 256, -1, -2)),
        ("ip_mtu_discover", (0, 3, 5, 6, -1)),
    ):  # fmt: skip
        for value in tried:
            yield lambda name=name, value=value: socket.option(name, value)
    socket6 = new(AF_INET6)
    for value in (-1, 0, 255, 256, -2):
        yield lambda value=value: socket6.option("ipv6_unicast_hops", value)


@pytest.mark.parametrize("case", [basics, refusals, strangers, families, values], ids=lambda case: case.__name__)
def test_as_on_the_host(network: LanOfStacks, case: Callable[[Any], Iterator[Any]]) -> None:
    assert_as_on_the_host(network, case)


# --- what the host's loopback cannot show ------------------------------------------------------------------------


def test_broadcasts(network: LanOfStacks) -> None:
    first, second = network.stacks
    sender, taker, third = first.open_datagram(AF_INET), second.open_datagram(AF_INET), second.open_datagram(AF_INET)
    for socket in (taker, third):
        socket.set_option("so_reuseaddr", 1)
        socket.bind(SocketAddress(ANY4, 7000))
    own = first.open_datagram(AF_INET)
    own.bind(SocketAddress(ANY4, 7000))
    where = SocketAddress(station_address(255), 7000)
    with pytest.raises(KernelError) as caught:
        sender.send_to(b"x", where)
    assert caught.value.errno == Errno.EACCES
    sender.set_option("so_broadcast", 1)
    for target in (where, SocketAddress(b"\xff" * 4, 7000)):
        sender.send_to(b"everybody", target, {"interface": 2})
        network.run(0.1)
        for socket in (taker, third, own):
            message = socket.receive_from()
            assert message is not None and (message.data, message.destination) == (b"everybody", target.address)
    for socket in (sender, taker, third, own):
        socket.close()


def test_dhcp_before_there_is_an_address(network: LanOfStacks) -> None:
    """Bound to a device, a socket speaks from 0.0.0.0 to everybody and hears the answer to everybody."""
    stack = network.stacks[0]
    stack.interface("eth0").remove_address(station_address(1))
    _, frames = network.spy()
    client = stack.open_datagram(AF_INET)
    client.set_option("so_bindtodevice", "eth0")
    client.set_option("so_broadcast", 1)
    client.bind(SocketAddress(ANY4, 68))
    server = network.stacks[1].open_datagram(AF_INET)
    server.set_option("so_broadcast", 1)
    server.bind(SocketAddress(ANY4, 67))
    client.send_to(b"discover", SocketAddress(b"\xff" * 4, 67))
    network.run(0.1)
    assert frames[-1][26:34] == ANY4 + b"\xff" * 4
    asked = server.receive_from()
    assert asked is not None and asked.source == SocketAddress(ANY4, 68)
    server.send_to(b"offer", SocketAddress(b"\xff" * 4, 68), {"interface": 2})
    network.run(0.1)
    answer = client.receive_from()
    assert answer is not None and answer.data == b"offer" and answer.interface == 2
    client.close()
    server.close()


def test_groups_of_ipv6(network: LanOfStacks) -> None:
    first, second = network.stacks
    group = parse_address("ff15::1234")
    _, frames = network.spy()
    taker, sender = second.open_datagram(AF_INET6), first.open_datagram(AF_INET6)
    taker.bind(SocketAddress(ANY6, 7000))
    sender.set_option("ipv6_multicast_if", 2)
    sender.send_to(b"early", SocketAddress(group, 7000))
    network.run(0.1)
    assert taker.receive_from() is None
    taker.set_option("ipv6_add_membership", (group, b"", 2))
    network.run(2.0)
    reports = [frame for frame in frames if frame[38:54] == parse_address("ff02::16") and group in frame]
    assert len(reports) == 2, "a join is told twice"
    sender.send_to(b"hello", SocketAddress(group, 7000))
    network.run(0.1)
    message = taker.receive_from()
    assert message is not None and (message.data, message.destination, message.hop_limit) == (b"hello", group, 1)
    with pytest.raises(KernelError) as caught:
        taker.set_option("ipv6_add_membership", (group, b"", 2))
    assert caught.value.errno == Errno.EADDRINUSE
    taker.set_option("ipv6_drop_membership", (group, b"", 2))
    sender.send_to(b"late", SocketAddress(group, 7000))
    network.run(2.0)
    assert taker.receive_from() is None
    sender.close()
    taker.close()
    assert group not in second.interface("eth0").groups  # type: ignore[attr-defined]


def test_the_queue_is_bounded_and_everybody_wakes(network: LanOfStacks) -> None:
    first, second = network.stacks
    taker, sender = second.open_datagram(AF_INET), first.open_datagram(AF_INET)
    taker.bind(SocketAddress(ANY4, 7000))
    taker.set_option("so_rcvbuf", 10_000)
    woken: list[int] = []
    taker.changed = lambda: woken.append(1)
    for _ in range(100):
        sender.send_to(bytes(488), SocketAddress(station_address(2), 7000))
    network.run(0.1)
    assert len(woken) == 10 and second.counters()["Udp"]["RcvbufErrors"] == 90
    assert taker.ready & Readiness.READABLE and taker.received_bytes == 4880 and taker.next_bytes == 488
    assert taker.receive_from(peek=True) == taker.receive_from(peek=True)
    for _ in range(10):
        taker.receive_from()
    assert taker.receive_from() is None and not taker.ready & Readiness.READABLE
    taker.close()
    sender.close()


def test_a_message_to_myself_wakes_only_after_the_call(network: LanOfStacks) -> None:
    stack = network.stacks[0]
    for family, address in ((AF_INET, LOOPBACK4), (AF_INET6, LOOPBACK6), (AF_INET, station_address(1))):
        socket = stack.open_datagram(family)
        socket.bind(SocketAddress(address, 7000))
        inside: list[bool] = []
        sending = False
        socket.changed = lambda: inside.append(sending)  # noqa: B023
        sending = True
        socket.send_to(b"me", SocketAddress(address, 7000))
        sending = False
        network.run(0.1)
        message = socket.receive_from()
        assert message is not None and message.source == SocketAddress(address, 7000) and inside == [False]
        socket.close()


def test_sockets_leave_nothing(network: LanOfStacks) -> None:
    stack = network.stacks[0]
    before = len(list(stack.sockets()))
    for number in range(300):
        socket = stack.open_datagram(AF_INET6 if number % 2 else AF_INET)
        socket.connect(SocketAddress(LOOPBACK6 if number % 2 else LOOPBACK4, 1 + number))
        socket.send_to(b"x")
        network.run(0.001)
        socket.close()
        socket.close()
    assert len(list(stack.sockets())) == before
    assert not stack.udp.ports and not stack.udp._connected  # type: ignore[attr-defined]
