"""The wire `user`: a system behind the embedded gateway, and the host's own network programs around it."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Callable

import pytest
from jefeos.api import System
from jefeos.errors import ConfigError
from jefeos_net_user.policy import Policy, is_this_machine
from network_support import BODY, ask_to_reverse, free_port, in_kernel, lease, on_the_host

Boot = Callable[..., System]
LARGE = bytes(range(251)) * 8_000


async def _fetch(system: System, host: str, port: int, path: str = "/body") -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2]


def test_an_address_by_dhcp_and_the_host_s_web_server(boot: Boot, web: int) -> None:
    system = boot(net="user:host")

    async def scenario() -> None:
        assert await lease(system) == bytes([10, 0, 2, 15])
        assert await _fetch(system, "10.0.2.2", web) == BODY

    in_kernel(system, scenario())
    routes = system.kernel.net.stack.routes()
    assert any(not route.prefix_length and route.gateway == bytes([10, 0, 2, 1]) for route in routes)


def test_this_machine_is_closed_unless_it_is_opened(boot: Boot, web: int) -> None:
    system = boot(net="user")

    async def scenario() -> None:
        await lease(system)
        with pytest.raises(ConnectionRefusedError):
            await _fetch(system, "10.0.2.2", web)

    in_kernel(system, scenario())


def test_a_port_that_nobody_serves_is_refused(boot: Boot) -> None:
    system = boot(net="user:host")

    async def scenario() -> None:
        await lease(system)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("10.0.2.2", free_port())

    in_kernel(system, scenario())


def test_a_forwarded_port_leads_in_and_bytes_go_both_ways(boot: Boot) -> None:
    port = free_port()
    system = boot(forward=f"{port}:80")
    assert system.kernel.config.net == "user"

    ask_to_reverse(system, LARGE, ("127.0.0.1", port))
    assert not [info for info in system.kernel.net.stack.sockets() if info.state == "ESTABLISHED"]


def test_a_forward_to_a_port_without_a_server_is_reset(boot: Boot) -> None:
    port = free_port()
    system = boot(forward=f"{port}:81")

    def client() -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            return connection.recv(1)

    async def scenario() -> None:
        await lease(system)
        with pytest.raises(ConnectionResetError):
            await on_the_host(client)

    in_kernel(system, scenario())


def test_udp_goes_out_and_comes_back_and_is_forwarded_in(boot: Boot) -> None:
    inward = free_port(socket.SOCK_DGRAM)
    system = boot(net="user:host", forward=f"{inward}:5353/udp")
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind(("127.0.0.1", 0))
    echo.settimeout(30)

    class Answering(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.transport.sendto(data.upper(), addr)  # type: ignore[attr-defined]

    class Asking(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.answer.set_result(data)

    def answer_once() -> None:
        data, sender = echo.recvfrom(1000)
        echo.sendto(data[::-1], sender)

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(30)
            client.sendto(b"in", ("127.0.0.1", inward))
            return client.recv(100)

    async def scenario() -> None:
        await lease(system)
        loop = asyncio.get_running_loop()
        answered = asyncio.ensure_future(on_the_host(answer_once))
        transport, asking = await loop.create_datagram_endpoint(
            Asking, remote_addr=("10.0.2.2", echo.getsockname()[1])
        )
        transport.sendto(b"out")
        assert await asking.answer == b"tuo"
        await answered
        await loop.create_datagram_endpoint(Answering, local_addr=("0.0.0.0", 5353))
        assert await on_the_host(ask) == b"IN"

    in_kernel(system, scenario())
    echo.close()


def test_a_service_of_the_kernel_is_reached_by_the_host_s_http_client(boot: Boot) -> None:
    port = free_port()
    system = boot(forward=f"{port}:80")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        writer.close()

    def client() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            return bytes(answer.read())

    async def scenario() -> None:
        await lease(system)
        server = await asyncio.start_server(serve, None, 80)
        for _ in range(4):
            assert await on_the_host(client) == BODY
        server.close()

    in_kernel(system, scenario())


def test_commands_of_the_shell(boot: Boot, web: int) -> None:
    system = boot(net="user:host")
    in_kernel(system, lease(system))
    ping = system.run(["ping", "-c", "3", "-i", "0.05", "-W", "60", "10.0.2.2"])
    assert (ping.status, b"3 packets transmitted, 3 packets received, 0% packet loss" in ping.stdout) == (0, True)
    fetched = system.run(["wget", "-q", "-O", "-", f"http://10.0.2.2:{web}/moved"])
    assert (fetched.status, fetched.stdout) == (0, BODY)
    assert b"inet 10.0.2.15/24 scope global dynamic eth0" in system.run(["ip", "addr"]).stdout
    assert b"default via 10.0.2.1 dev eth0 proto dhcp" in system.run(["ip", "route"]).stdout
    assert b"address 10.0.2.15/24 from 10.0.2.1" in system.run(["dhcp"]).stdout
    assert b"inet addr:10.0.2.15  Mask:255.255.255.0" in system.run(["ifconfig", "eth0"]).stdout
    assert b"10.0.2.2" in system.run(["arp"]).stdout
    lost = system.run(["ping", "-c", "1", "-W", "0.2", "10.0.2.200"])
    assert (lost.status, b"100% packet loss" in lost.stdout) == (1, True)
    nothing = system.run(["wget", "https://10.0.2.2/"])
    assert (nothing.status, nothing.stderr) == (1, b"wget: https://10.0.2.2/: only http is supported, not https\n")


@pytest.mark.parametrize(("text", "message"), [
    ("user:nothing", "'nothing' is none of host, restricted"),
    ("user:host,restricted", "exclude each other"),
])  # fmt: skip
def test_a_wrong_word_is_one_clear_line(boot: Boot, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        boot(net=text)


def test_a_port_of_the_host_that_is_taken_is_one_clear_line(boot: Boot) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--forward 127.0.0.1:{port}:80/tcp: the host cannot listen there"):
            boot(forward=f"{port}:80")


def test_the_policy() -> None:
    closed, opened, shut = Policy(), Policy.parse("host"), Policy.parse("restricted")
    loopback, cloud, world = bytes([127, 0, 0, 1]), bytes([169, 254, 169, 254]), bytes([192, 0, 2, 1])
    alias, group = bytes([10, 0, 2, 2]), bytes([224, 0, 0, 1])
    assert [closed.target(address) for address in (loopback, cloud, alias, group)] == [None] * 4
    assert (closed.target(world), shut.target(world)) == ("192.0.2.1", None)
    assert (opened.target(alias), opened.target(loopback), opened.target(cloud)) == ("127.0.0.1", "127.0.0.1", None)
    assert (is_this_machine("127.0.0.1"), is_this_machine("192.0.2.77")) == (True, False)
