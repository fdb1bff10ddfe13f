"""What the tests in tests/network share: letting a booted system run, its lease, ports of the host."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from jefeos.api import System

BODY = bytes(range(256)) * 4096
"""What the web server of the fixture ``web`` serves."""


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
