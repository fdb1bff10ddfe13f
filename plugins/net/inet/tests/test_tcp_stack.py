"""TCP within the whole stack: both families, lo, mapped addresses, gateways that answer for others, errors of IP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY6, LOOPBACK4, LOOPBACK6, MAPPED_PREFIX, SocketAddress
from jefeos.net.socket import Readiness
from jefeos.net.stack import Interceptor, PendingStream, Route
from jefeos.net.wires.lan import Faults
from jefeos.testing.networks import LanOfStacks, station_address
from jefeos_net_inet.plugin import jefeos_network_stack

sys.path.insert(0, str(Path(__file__).parent))

from tcp_world import Transfer

FOREIGN = bytes((203, 0, 113, 5))
DATA = bytes(range(256)) * 1000


def talk(
    network: LanOfStacks, client_stack: Any, server_stack: Any, address: bytes, client_family: int, server_family: int,
    scope: int = 0,
) -> list[Any]:  # fmt: skip
    """Both ways over a new connection; gives the names that the server saw, the client's first."""
    listener = server_stack.open_stream(server_family)
    listener.set_option("so_reuseaddr", True)  # earlier connections are in TIME-WAIT
    listener.bind(SocketAddress(b"", 80))
    listener.listen(5)
    taken: list[Transfer] = []
    names: list[Any] = []

    def accept() -> None:
        child = listener.accept()
        names.extend((child.remote, child.local))
        taken.append(Transfer(child, DATA[::-1]))

    listener.changed = accept
    socket = client_stack.open_stream(client_family)
    assert not socket.connect(SocketAddress(address, 80, scope))
    client = Transfer(socket, DATA)
    for _ in range(100):
        if taken and taken[0].done and client.done:
            break
        network.run(0.1)
    assert taken[0].received == DATA and client.received == DATA[::-1]
    socket.close()
    taken[0].socket.close()
    listener.close()
    return names


@pytest.mark.parametrize("faults", [None, Faults(loss=0.02, delay_ns=1_000_000)], ids=["clean", "lossy"])
def test_every_way_to_talk(faults: Faults | None) -> None:
    network = LanOfStacks(jefeos_network_stack, faults=faults)
    first, second = network.stacks
    network.run(4)  # link-local addresses have been checked
    talk(network, first, second, station_address(2), AF_INET, AF_INET)
    (link_local,) = [one.address for one in second.interface("eth0").addresses if len(one.address) == 16]
    index = first.interface("eth0").index
    remote, local = talk(network, first, second, link_local, AF_INET6, AF_INET6, index)
    assert (local.address, local.scope, remote.scope) == (link_local, index, index)
    talk(network, first, first, LOOPBACK4, AF_INET, AF_INET)
    talk(network, first, first, LOOPBACK6, AF_INET6, AF_INET6)
    mapped = MAPPED_PREFIX + station_address(2)
    remote, local = talk(network, first, second, mapped, AF_INET6, AF_INET6)
    assert remote.address == MAPPED_PREFIX + station_address(1) and local.address == mapped
    remote, _ = talk(network, first, second, station_address(2), AF_INET, AF_INET6)
    assert remote.address == MAPPED_PREFIX + station_address(1)
    network.run(130)
    assert not list(first.sockets()) and not list(second.sockets())
    network.close()


def test_an_ipv6_only_listener_does_not_take_ipv4() -> None:
    network = LanOfStacks(jefeos_network_stack)
    first, second = network.stacks
    listener = second.open_stream(AF_INET6)
    listener.set_option("ipv6_v6only", True)
    listener.bind(SocketAddress(ANY6, 80))
    listener.listen(1)
    other = second.open_stream(AF_INET)
    other.bind(SocketAddress(b"", 80))  # no conflict
    socket = first.open_stream(AF_INET)
    socket.connect(SocketAddress(station_address(2), 80))
    network.run(0.1)
    assert socket.take_error() == Errno.ECONNREFUSED
    for one in (listener, other, socket):
        one.close()
    network.close()


def test_nobody_answers_and_there_is_no_way() -> None:
    network = LanOfStacks(jefeos_network_stack)
    first = network.stacks[0]
    socket = first.open_stream(AF_INET)
    with pytest.raises(KernelError) as caught:
        socket.connect(SocketAddress(FOREIGN, 80))
    assert caught.value.errno == Errno.ENETUNREACH
    socket.connect(SocketAddress(station_address(77), 80))  # no such station: ARP fails
    network.run(5)
    assert socket.ready & Readiness.ERROR and socket.take_error() == Errno.EHOSTUNREACH
    with pytest.raises(KernelError) as caught:
        socket.connect(SocketAddress(bytes((224, 0, 0, 1)), 80))
    assert caught.value.errno == Errno.ENETUNREACH
    other = first.open_stream(AF_INET)
    with pytest.raises(KernelError) as caught:
        other.bind(SocketAddress(FOREIGN, 80))
    assert caught.value.errno == Errno.EADDRNOTAVAIL
    other.close()
    socket.close()
    network.close()


class Gateway(Interceptor):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.pending: list[PendingStream] = []

    def stream(self, pending: PendingStream) -> None:
        self.pending.append(pending)

    def datagram(self, source: SocketAddress, destination: SocketAddress, data: bytes) -> None:
        raise NotImplementedError

    def echo(self, source: bytes, destination: bytes, identifier: int, sequence: int, data: bytes) -> None:
        raise NotImplementedError


def behind_a_gateway() -> tuple[LanOfStacks, Any, Any, Gateway]:
    network = LanOfStacks(jefeos_network_stack)
    first, second = network.stacks
    gateway = Gateway()
    second.intercept(second.interface("eth0").index, gateway)
    first.add_route(Route(bytes(4), 0, first.interface("eth0").index, gateway=station_address(2)))
    return network, first, second, gateway


def test_a_gateway_answers_for_others() -> None:
    network, first, _, gateway = behind_a_gateway()
    socket = first.open_stream(AF_INET)
    socket.connect(SocketAddress(FOREIGN, 443))
    network.run(3.5)  # the SYN is repeated meanwhile, which the gateway need not see
    (pending,) = gateway.pending
    assert (pending.local, pending.remote.address) == (SocketAddress(FOREIGN, 443), station_address(1))
    client = Transfer(socket, DATA)
    peer = Transfer(pending.accept(), DATA[::-1])
    with pytest.raises(KernelError):
        pending.accept()
    assert socket.remote == SocketAddress(FOREIGN, 443)
    network.run(3)
    assert client.received == DATA[::-1] and peer.received == DATA
    client.socket.close()
    peer.socket.close()
    network.close()


@pytest.mark.parametrize("errno", [Errno.ECONNREFUSED, Errno.EHOSTUNREACH, Errno.ENETUNREACH, Errno.ETIMEDOUT])
def test_a_gateway_refuses(errno: Errno) -> None:
    network, first, second, gateway = behind_a_gateway()
    socket = first.open_stream(AF_INET)
    socket.set_option("tcp_syncnt", 2)
    socket.connect(SocketAddress(FOREIGN, 443))
    network.run(0.1)
    gateway.pending[0].refuse(errno)
    gateway.pending[0].refuse(errno)
    network.run(0.1)
    if errno is Errno.ECONNREFUSED:
        assert socket.take_error() == errno
    else:
        # ICMP's "no route" is soft for a handshake, as in Linux: it is tried again and the error is told at the end.
        network.run(200)
        assert socket.take_error() == errno
    assert not second.tcp.layer.pending
    socket.close()
    network.close()


def test_a_peer_that_gives_up_before_the_gateway_decides() -> None:
    network, first, second, gateway = behind_a_gateway()
    socket = first.open_stream(AF_INET)
    socket.connect(SocketAddress(FOREIGN, 443))
    network.run(0.1)
    socket.abort()
    network.run(61)
    assert not second.tcp.layer.pending and not second.tcp.layer.table
    with pytest.raises(KernelError):
        gateway.pending[0].accept()
    network.close()
