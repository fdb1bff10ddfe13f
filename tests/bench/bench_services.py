"""A booted system on the wire `user`: transfers with the host, and a web server that is a service of the kernel.

The host's side runs on a thread, as another process would; wrk, where it is installed, asks the web server.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jefeos
from jefeos.errors import JefeError
from jefeos.testing.bench import Bench, Runner, benchmark

TOTAL = 100_000_000
PIECE = bytes(1 << 20)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
CONNECTIONS = 16
SECONDS = 3
Scenario = Callable[[int], Awaitable[float]]


class Web(asyncio.Protocol):
    """Answers each request that is whole with the same words, as long as the client likes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        data = self.waiting + data
        count = data.count(b"\r\n\r\n")
        self.waiting = data.rpartition(b"\r\n\r\n")[2]
        if count:
            self.transport.write(ANSWER * count)


def in_a_system(scenario: Scenario) -> float:
    """``scenario(host's port)`` in a system whose port 80 is behind that one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with jefeos.boot(forward=f"{port}:80") as system:
        kernel = system.kernel
        interface = kernel.net.stack.interface("eth0")

        async def run() -> float:
            while not any(len(own.address) == 4 for own in interface.addresses):
                await asyncio.sleep(0.02)
            return await scenario(port)

        return float(kernel.loop.run_until_complete(run()))


async def inward(port: int) -> float:
    """From the host into the system."""
    arrived = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 20):
            pass
        writer.close()
        arrived.set_result(time.perf_counter())

    def send() -> float:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            started = time.perf_counter()
            for _ in range(TOTAL // len(PIECE)):
                connection.sendall(PIECE)
        return started

    server = await asyncio.start_server(take, None, 80)
    started = await asyncio.get_running_loop().run_in_executor(None, send)
    megabytes = TOTAL // len(PIECE) * len(PIECE) / 1e6
    finished = await arrived
    server.close()
    return megabytes / float(finished - started)


async def outward(port: int) -> float:
    """From the system to the host."""

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(TOTAL // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
        writer.close()

    def take() -> float:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            started = time.perf_counter()
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
        return total / 1e6 / (time.perf_counter() - started)

    server = await asyncio.start_server(give, None, 80)
    rate = await asyncio.get_running_loop().run_in_executor(None, take)
    server.close()
    return rate


@benchmark("wire user: from the host into the system", unit="MB/s", at_least=50.0)
def user_inward(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: in_a_system(inward)}


@benchmark("wire user: from the system to the host", unit="MB/s", at_least=50.0)
def user_outward(bench: Bench) -> dict[str, Runner | None]:
    return {"jefeos": lambda: in_a_system(outward)}


@benchmark("web server in the kernel, asked by wrk through the wire user", unit="1/s", at_least=3000.0)
def web_requests(bench: Bench) -> dict[str, Runner | None]:
    wrk = bench.peer("wrk")
    if wrk is None:
        raise JefeError("wrk is not installed")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s"]

    async def ask(port: int) -> float:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Web, None, 80)

        def run() -> str:
            done = subprocess.run(
                [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=60, check=True
            )
            return done.stdout

        printed = await loop.run_in_executor(None, run)
        server.close()
        found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
        if found is None or "Socket errors" in printed:
            raise JefeError(f"wrk says: {printed.strip()}")
        return float(found[1])

    return {"jefeos": lambda: in_a_system(ask)}
