"""Two systems in two processes on one LAN: commands of one reach a service of the other, on a good and a bad wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.net.address import parse_address
from network_support import in_kernel

Boot = Callable[..., System]
BODY = bytes(range(256)) * 400
SCRIPT = """\
ifconfig eth0 10.1.0.2/24
ping -c 3 10.1.0.1
wget -O - http://10.1.0.1/ | wc -c
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("faults", [[], ["--net-faults", "loss=5%,delay=5ms,duplication=3%", "--seed", "1"]], ids=str)
def test_two_systems_on_a_lan(boot: Boot, tmp_path: Path, faults: list[str]) -> None:
    system = boot(net=f"lan:{tmp_path}/lan")
    interface = system.kernel.net.stack.interface("eth0")
    interface.add_address(parse_address("10.1.0.1"), 24)

    async def scenario() -> tuple[bytes, bytes]:
        server = await asyncio.start_server(answer, "10.1.0.1", 80)
        command = [sys.executable, "-m", "jefeos", "boot", "--net", f"lan:{tmp_path}/lan", *faults]
        other = await asyncio.get_running_loop().run_in_executor(
            None, lambda: subprocess.run(command, input=SCRIPT.encode(), capture_output=True, timeout=200, check=False)
        )
        server.close()
        return other.stdout, other.stderr

    out, complaints = in_kernel(system, scenario(), timeout_s=220)
    assert str(len(BODY)).encode() in out, complaints
    assert b"3 packets transmitted, " in out
    if not faults:
        assert b" 0% packet loss" in out
    system.shutdown()
    assert list((tmp_path / "lan").iterdir()) == []
