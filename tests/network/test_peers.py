"""DHCP, DNS and TCP of a booted system against programs that none of us wrote: dnsmasq, QEMU's network, passt."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jefeos.api import System
from network_support import BODY, PATIENCE_S, in_kernel, lease

Boot = Callable[..., System]
HostProgram = Callable[[str], str]


async def _body(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /body HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


def seen_beside_dnsmasq(host_program: HostProgram, script: str, *arguments: str) -> dict[str, Any]:
    """What one of our scripts says in a network namespace of its own."""
    host_program("dnsmasq"), host_program("ip")
    if os.geteuid():
        pytest.skip("no right to make a network namespace")
    path = Path(__file__).with_name(script)
    command = [host_program("unshare"), "--net", sys.executable, str(path), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.mark.peer
def test_leases_and_names_of_dnsmasq(host_program: HostProgram) -> None:
    seen = seen_beside_dnsmasq(host_program, "dhcp_peer.py")
    assert seen["bound"] and seen["renewed"] and seen["moved"]
    assert seen["address"].startswith("10.7.0.5") or seen["address"] == "10.7.0.60"
    assert (seen["server"], seen["servers"], seen["domain"]) == ("10.7.0.1", ["10.7.0.1"], "test")
    assert seen["name"] == seen["searched"] == ["10.7.0.9"]
    assert seen["alias"] == ["fd00::9"]
    assert "no such name" in seen["missing"]
    assert seen["long"] == 20  # it did not fit into a datagram: asked for again by TCP
    assert len(seen["only"]) == 1 and seen["only"][0].startswith("10.7.0.1")  # the refused address is gone
    assert "3 packets received, 0% packet loss" in seen["ping"]
    assert "name.test\tA\t10.7.0.9" in seen["nslookup"]
    assert "nameserver 10.7.0.1" in seen["resolv.conf"]


@pytest.mark.peer
@pytest.mark.parametrize("option", ["fd00:7::1", "fe80::"], ids=["of its network", "of the link"])
def test_the_name_server_that_a_router_advertises(host_program: HostProgram, option: str) -> None:
    seen = seen_beside_dnsmasq(host_program, "router_peer.py", option)
    assert seen["advertised"] and seen["name"] == ["fd00:7::9"]
    assert seen["long"] == 20  # by TCP
    server = option if option == "fd00:7::1" else r"fe80::[0-9a-f:]+%eth0"  # dnsmasq puts its own there
    assert re.search(rf"^nameserver {server}$", seen["resolv.conf"], re.MULTILINE), seen["resolv.conf"]
    assert re.search(rf"^Server: {server}$", seen["nslookup"], re.MULTILINE), seen["nslookup"]
    assert "name.test\tAAAA\tfd00:7::9" in seen["nslookup"]


@pytest.mark.peer
def test_qemu_s_network_with_qemu_s_card(host_program: HostProgram, boot: Boot, web: int) -> None:
    host_program("qemu-system-x86_64")
    system = boot(machine="qemu", net="qemu-user:open")

    async def scenario() -> None:
        assert await lease(system) == bytes([10, 0, 2, 15])
        assert await _body("10.0.2.2", web) == BODY

    in_kernel(system, scenario())


@pytest.mark.peer
def test_passt(host_program: HostProgram, boot: Boot, web: int) -> None:
    passt = host_program("passt")
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o777)  # it gives its rights up before it makes its socket
    path = f"{folder}/socket"
    process = subprocess.Popen([passt, "-f", "-s", path, "-4", "-t", "none", "-u", "none"], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE_S
        while not os.path.exists(path) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr is not None else b""
            pytest.skip(f"passt does not run here: {said.decode()[-200:]}")
        system = boot(net=f"stream:{path}")

        async def scenario() -> None:
            await lease(system)
            routes = system.kernel.net.stack.routes()
            (router,) = [route.gateway for route in routes if not route.prefix_length and len(route.destination) == 4]
            assert await _body(".".join(map(str, router)), web) == BODY  # the router stands for the host's loopback

        in_kernel(system, scenario())
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
