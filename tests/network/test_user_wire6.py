"""IPv6 through the wire `user`: over the host's ::1, and what guests are told of it where the host has it or not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jefeos.api import System
from jefeos.errors import Errno
from jefeos.net.address import SocketAddress, address_text, parse_address
from jefeos.testing.waiting import until
from jefeos_net_user import policy
from jefeos_net_user.policy import HOST_ALIAS6, NETWORK6, Policy, host_name_servers
from network_support import ask_to_reverse, free_port, in_kernel, lease, on_the_host

Boot = Callable[..., System]
ALIAS = socket.inet_ntop(socket.AF_INET6, HOST_ALIAS6)
LARGE = bytes(range(251)) * 8_000


@pytest.fixture
def echo() -> Iterator[int]:
    """Servers on the host's ::1, one port for TCP and UDP: they send back what they get."""
    try:
        stream = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"the host has no ::1: {error}")
    port = stream.getsockname()[1]
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::1", port))

    def serve_streams() -> None:
        while True:
            try:
                connection, _ = stream.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65_536):
                    connection.sendall(data)

    def serve_datagrams() -> None:
        while True:
            data, peer = datagrams.recvfrom(65_536)
            if data == b"end":
                return
            datagrams.sendto(data[::-1], peer)

    threads = [threading.Thread(target=serve, daemon=True) for serve in (serve_streams, serve_datagrams)]
    for thread in threads:
        thread.start()
    yield port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", ("::1", port))
    stream.shutdown(socket.SHUT_RDWR)
    stream.close()
    for thread in threads:
        thread.join()
    datagrams.close()


async def lease6(system: System) -> bytes:
    """Wait for the address that an advertisement gives."""
    interface = system.kernel.net.stack.interface("eth0")
    while True:
        for own in interface.addresses:
            if own.address[:8] == NETWORK6[:8] and not own.tentative:
                return own.address
        await asyncio.sleep(0.02)


def default_route6(system: System) -> bool:
    return any(len(r.destination) == 16 and not r.prefix_length for r in system.kernel.net.stack.routes())


async def send_through(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(LARGE)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


class Asking(asyncio.DatagramProtocol):
    """Waits for one message."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.answer.set_result(data)


@pytest.mark.parametrize("outside", [True, False], ids=["with IPv6", "without"])
def test_the_host_s_loopback(boot: Boot, echo: int, outside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "host_reaches", lambda address: outside)
    system = boot(net="user:host")

    async def scenario() -> None:
        await lease6(system)
        assert await send_through(ALIAS, echo) == LARGE
        transport, asking = await asyncio.get_running_loop().create_datagram_endpoint(
            Asking, remote_addr=(ALIAS, echo)
        )
        transport.sendto(b"over UDP")
        assert await asking.answer == b"PDU revo"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(ALIAS, free_port(address="::1"))

    in_kernel(system, scenario())
    assert default_route6(system) == outside
    ping = system.run(["ping", "-c", "2", "-i", "0.05", ALIAS])
    assert b"2 packets transmitted, 2 packets received" in ping.stdout, ping
    leftover = [info for info in system.kernel.net.stack.sockets() if info.kind == "tcp" and info.state != "TIME_WAIT"]
    assert not leftover


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a socket what ICMP said")
@pytest.mark.parametrize("alias", [ALIAS, "10.0.2.2"])
def test_messages_to_a_port_that_nobody_has_are_refused(boot: Boot, alias: str) -> None:
    system = boot(net="user:host")
    family = socket.AF_INET6 if ":" in alias else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("::1" if ":" in alias else "127.0.0.1", 0))
        port = nobody.getsockname()[1]

    async def scenario() -> None:
        await (lease6 if ":" in alias else lease)(system)
        ours = system.kernel.net.stack.open_datagram(family)
        ours.connect(SocketAddress(parse_address(alias), port))
        for _ in range(3):  # each time, and the messages between do not get lost
            ours.send_to(b"is there anybody?")
            while not ours.pending_error:
                await asyncio.sleep(0.01)
            assert ours.take_error() == Errno.ECONNREFUSED
            await asyncio.sleep(1.1)  # as many errors a second as a router sends to one station
        ours.close()

    in_kernel(system, scenario())


def test_this_machine_is_closed_unless_it_is_opened(boot: Boot, echo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "host_reaches", lambda address: True)
    system = boot(net="user")

    async def scenario() -> None:
        await lease6(system)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(ALIAS, echo)

    in_kernel(system, scenario())
    assert default_route6(system)


@pytest.mark.parametrize("net", ["user", "user:restricted"])
def test_nothing_is_advertised_where_nothing_can_be_reached(
    boot: Boot, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "host_reaches", lambda address: net == "user:restricted")
    system = boot(net=net)

    async def scenario() -> None:
        await lease(system)
        await asyncio.sleep(2)  # solicitations are answered within half a second

    in_kernel(system, scenario())
    addresses = [own.address for own in system.kernel.net.stack.interface("eth0").addresses if len(own.address) == 16]
    assert all(address[:2] == b"\xfe\x80" for address in addresses) and not default_route6(system)


def test_a_forward_that_listens_at_an_ipv6_address(boot: Boot, echo: int) -> None:
    port = free_port(address="::1")
    system = boot(forward=f"[::1]:{port}:80")
    ask_to_reverse(system, LARGE, ("::1", port))


@pytest.mark.parametrize("outside", [True, False], ids=["at its network's address", "at the link's"])
def test_a_forward_to_a_service_that_listens_at_ipv6_alone(
    boot: Boot, outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "host_reaches", lambda address: outside)
    port = free_port()
    system = boot(forward=[f"{port}:80", f"{port}:80/udp"])
    start = NETWORK6[:8] if outside else b"\xfe\x80"  # of the gateway's address
    peers = []

    class Reversing(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            peers.append(parse_address(addr[0]))
            self.transport.sendto(data[::-1], addr)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(parse_address(writer.get_extra_info("peername")[0]))
        writer.write((await reader.read())[::-1])
        writer.close()

    def client() -> list[bytes]:
        with socket.create_connection(("127.0.0.1", port), 30) as stream:
            stream.sendall(LARGE)
            stream.shutdown(socket.SHUT_WR)
            answers = [b"".join(iter(lambda: stream.recv(65_536), b""))]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as messages:
            messages.settimeout(30)
            messages.connect(("127.0.0.1", port))
            for data in (b"first", b"second"):
                messages.send(data)
                answers.append(messages.recv(100))
        return answers

    async def scenario() -> None:
        await lease(system)
        addresses = system.kernel.net.stack.interface("eth0").addresses
        assert await until(lambda: any(len(own.address) == 16 for own in addresses))
        assert await until(lambda: not any(own.tentative for own in addresses))
        if outside:
            here = address_text(await lease6(system))
            server = await asyncio.start_server(serve, here, 80)
        else:
            here = address_text(next(own.address for own in addresses if own.address.startswith(start))) + "%eth0"
            server = await asyncio.start_server(serve, "::", 80)  # asyncio makes that IPv6 alone
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Reversing, local_addr=(here, 80))
        assert await on_the_host(client) == [LARGE[::-1], b"tsrif", b"dnoces"]
        server.close()
        transport.close()

    in_kernel(system, scenario())
    assert [peer[: len(start)] for peer in peers] == 3 * [start]


def test_a_udp_service_that_starts_after_its_first_message(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses of the guest have refused the one who asks: the next message begins with the first one again."""
    monkeypatch.setattr(policy, "host_reaches", lambda address: True)
    port = free_port()
    system = boot(forward=[f"{port}:80/udp"])
    stack = system.kernel.net.stack

    class Answering(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"here", addr)

    async def scenario() -> None:
        await lease(system)
        await lease6(system)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as messages:
            messages.setblocking(False)
            messages.connect(("127.0.0.1", port))
            messages.send(b"is there anybody?")
            assert await until(lambda: stack.counters()["Icmp6"]["OutDestUnreachs"] >= 2)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                Answering, local_addr=("0.0.0.0", 80)
            )

            def is_answered() -> bool:
                messages.send(b"and now?")
                try:
                    return messages.recv(100) == b"here"
                except BlockingIOError:
                    return False

            assert await until(is_answered, step_s=0.2)
            transport.close()

    in_kernel(system, scenario())


def test_name_servers_of_the_lease_and_of_the_router(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "host_reaches", lambda address: True)
    system = boot(net="user")
    known, router = system.kernel.net.name_servers, socket.inet_ntop(socket.AF_INET6, policy.NAME_SERVER6)

    async def scenario() -> None:
        assert await until(lambda: len(known.servers) == 2)

    in_kernel(system, scenario())
    assert known.servers == ["10.0.2.3", router]
    listed = f"nameserver 10.0.2.3\nnameserver {router}\n".encode()
    assert system.read_file("/etc/resolv.conf").endswith(listed)
    leased = [parse_address(f"192.0.2.{number}") for number in (1, 2, 3)]
    known.set_from_leases(leased, ["lan"])
    assert known.servers == ["192.0.2.1", "192.0.2.2", router, "192.0.2.3"], "resolvers ask three"
    assert system.kernel.net.resolver.configuration() == (known.servers[:3], ["lan"])  # type: ignore[attr-defined]
    system.kernel.net.stack.interface("eth0").set_up(False)
    assert router not in known.servers
    known.set_from_leases([], [])
    assert known.servers == []
    assert b"nameserver" not in system.read_file("/etc/resolv.conf"), "what programs ask ends with it"
    assert system.kernel.net.resolver.configuration()[0] == []  # type: ignore[attr-defined]


def test_the_policy_for_ipv6() -> None:
    closed, opened, shut = Policy(), Policy.parse("host"), Policy.parse("restricted")
    assert (closed.target(HOST_ALIAS6), opened.target(HOST_ALIAS6), shut.target(HOST_ALIAS6)) == (None, "::1", None)
    never = ("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "fe80::1", "ff02::1", "fd6a:6566:656f::99")
    assert [opened.target(parse_address(text)) for text in never] == [None] * len(never)
    world = parse_address("2001:db8::1")
    assert (closed.target(world), shut.target(world)) == ("2001:db8::1", None)


def test_name_servers_with_either_kind_of_address(tmp_path: Any) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# mine\nnameserver 2001:DB8:0::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\nsearch lan\n")
    assert host_name_servers(str(path)) == ["192.0.2.1", "2001:db8::1"]


REAL = """
import subprocess, sys
from jefeos_net_user.policy import Policy
import jefeos
print(Policy().reaches_out6, Policy(host=True).has_network6)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "-6", "addr", "add", "fd00:5::1/64", "dev", "lo"], check=True)
from jefeos_net_user.policy import is_this_machine
is_this_machine.cache_clear()
print(Policy().reaches_out6, Policy(host=True).has_network6)
subprocess.run(["ip", "-6", "route", "add", "default", "dev", "lo"], check=True)
print(Policy().reaches_out6, Policy(restricted=True).reaches_out6)
"""


@pytest.mark.peer
def test_whether_the_host_has_ipv6_is_asked_of_its_routes(host_program: Callable[[str], str]) -> None:
    host_program("ip")
    command = [host_program("unshare"), "--net", sys.executable, "-c", REAL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no right to make a network namespace: {done.stderr.strip()}")
    assert done.stdout == "False False\nFalse True\nTrue False\n", done.stderr


UNREACHABLE = """
import asyncio, errno
import jefeos
from jefeos.testing.waiting import until
from jefeos_net_user import policy
policy.host_reaches = lambda address: True  # so that the guest has a default route, and the host none
system = jefeos.boot(net="user")
interface = system.kernel.net.stack.interface("eth0")

async def scenario():
    while not any(own.address[:1] == b"\\xfd" and not own.tentative for own in interface.addresses):
        await asyncio.sleep(0.02)
    try:
        await asyncio.open_connection("2001:db8::1", 80)
    except OSError as error:
        print(errno.errorcode[error.errno])

system.kernel.loop.run_until_complete(asyncio.wait_for(scenario(), 60))
system.shutdown()
"""


@pytest.mark.peer
def test_a_way_that_the_host_has_not_is_told_to_the_guest(host_program: Callable[[str], str]) -> None:
    command = [host_program("unshare"), "--net", sys.executable, "-c", UNREACHABLE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no right to make a network namespace: {done.stderr.strip()}")
    assert done.stdout == "ENETUNREACH\n", done.stderr
