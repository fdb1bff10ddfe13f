"""Inside of a fresh network namespace: the host's kernel and a JefeOS stack, joined by a TAP and a wire with faults.

    unshare --net python SCRIPT …         SCRIPT: run(main) with ``async def main(network)``; prints one line of JSON

    host's kernel 10.9.8.1 --TAP-- faults (core's Lan, by seed) -- WireDevice -- InetStack 10.9.8.2

Everything ends with the process: the namespace, the TAP, its addresses. `in_namespace` is the test's side of it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from jefeos.net.wiredevice import WireDevice
from jefeos.net.wires.lan import Faults, Lan
from jefeos.sched.clock import Entropy, RealClock
from jefeos.sched.loop import KernelLoop
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_tap.port import open_tap

HOST = "10.9.8.1"
OURS = "10.9.8.2"
OUR_MAC = bytes.fromhex("525400123456")
TAP = "jefetcp0"
PATIENCE_S = 200.0
"""For a scenario; below the time limit of a test."""


@define
class HostNetwork:
    """Both sides of the wire."""

    loop: KernelLoop
    stack: Any
    lan: Lan


def run(
    main: Callable[[HostNetwork], Awaitable[Any]], *, faults: Faults | None = None, mtu: int = 1500,
    router: Callable[[bytes, bool], bytes] | None = None,
) -> None:  # fmt: skip
    """Build the network, run ``main`` and print what it returns. ``router`` may change frames; True: to the host."""
    clock = RealClock()
    loop = KernelLoop(clock)

    async def body() -> Any:
        tap = open_tap(TAP, loop)
        lan = Lan(loop.call_soon, loop.call_later_ns, seed=1, faults=faults)
        bridge, port = lan.port(), lan.port()
        tap.receiver, bridge.receiver = bridge.send, tap.send
        if router is not None:
            tap.receiver = lambda frame: bridge.send(router(frame, False))
            bridge.receiver = lambda frame: tap.send(router(frame, True))
        for words in (
            f"addr add {HOST}/24 dev {TAP}", f"link set {TAP} mtu {mtu} up", "link set lo up",
        ):  # fmt: skip
            subprocess.run(["ip", *words.split()], check=True)
        stack: Any = jefeos_network_stack(loop, clock, Entropy(), logging.getLogger("stack"))
        interface = stack.add_device(WireDevice(port, OUR_MAC, mtu=mtu))
        interface.add_address(bytes(map(int, OURS.split("."))), 24)
        interface.set_up(True)
        try:
            return await main(HostNetwork(loop, stack, lan))
        finally:
            stack.close()
            tap.close()

    print(json.dumps(loop.run_until_complete(body())))


def in_namespace(
    host_program: Callable[[str], str], script: str, *arguments: str, timeout_s: float = PATIENCE_S
) -> Any:
    """Run ``script`` (a file beside this one) in a namespace of its own; gives what it printed, or skips."""
    host_program("ip")
    command = [host_program("unshare"), "--net", sys.executable, str(Path(__file__).parent / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("no right to make a network namespace")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
