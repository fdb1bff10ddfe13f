"""Fixtures of the tests of the network as a whole: booted systems on a wire, and the host's side of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jefeos
import pytest
from jefeos.api import System

BODY = bytes(range(256)) * 4096


@pytest.fixture
def boot() -> Iterator[Callable[..., System]]:
    """``boot(net="user", ...)``: a system that is shut down at the end of the test."""
    systems: list[System] = []

    def make(**options: Any) -> System:
        systems.append(jefeos.boot(**options))
        return systems[-1]

    yield make
    for system in systems:
        system.shutdown()


def in_kernel(system: System, what: Awaitable[Any], timeout_s: float = 60) -> Any:
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


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/body")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *words: Any) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[int]:
    """A web server on the host's 127.0.0.1; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()
