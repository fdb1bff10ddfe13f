"""What the tests in tests/network share: letting a booted system run, its lease, ports of the host."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jefeos.api import System

BODY = bytes(range(256)) * 4096
"""What the web server of the fixture ``web`` serves."""


PATIENCE_S = 100
"""For what takes a moment, and longer on a busy machine."""

_ports = random.Random(os.getpid())


def in_kernel(system: System, what: Awaitable[Any], timeout_s: float = PATIENCE_S) -> Any:
    """Let the system run until ``what`` is done."""
    return system.kernel.loop.run_until_complete(asyncio.wait_for(what, timeout_s))


async def lease(system: System) -> bytes:
    """Wait for the address that DHCP gives; the address."""
    interface = system.kernel.net.stack.interface("eth0")
    while True:
        for own in interface.addresses:
            if len(own.address) == 4:
                return own.address
        await asyncio.sleep(0.02)


async def on_the_host(call: Callable[..., Any], *arguments: Any) -> Any:
    """A call that waits for the system, on a thread of the host, while the system runs."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


def free_port(kind: int = socket.SOCK_STREAM, address: str = "127.0.0.1") -> int:
    """A port of ``address`` that nobody has, and that nobody gets from the host before it is used.

    The host hands ports out from 32768; of those below, processes of the tests try others each.
    """
    while True:
        port = _ports.randrange(10_000, 32_000)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port


def wait_for_port(port: int) -> None:
    """Until a program of the host listens there: by the host's table, as a connection might be one too many."""
    wanted = f":{port:04X} 00000000:0000 0A"  # the state LISTEN
    end = time.monotonic() + PATIENCE_S
    while wanted not in Path("/proc/net/tcp").read_text():
        assert time.monotonic() < end, f"nobody listens on port {port}"
        time.sleep(0.02)


def ask_to_reverse(system: System, data: bytes, address: tuple[str, int]) -> None:
    """A service on port 80 of the system turns what it was sent around, for a client of the host at ``address``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read()  # until the client's half-close
        writer.write(received[::-1])
        await writer.drain()
        writer.close()

    def client() -> bytes:
        with socket.create_connection(address, 30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    async def scenario() -> None:
        await lease(system)
        server = await asyncio.start_server(serve, None, 80)
        assert await on_the_host(client) == data[::-1]
        server.close()

    in_kernel(system, scenario())
