"""A network namespace with the host's kernel at one end of a tap device and our stack at the other."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from jefeos.net.address import parse_address
from jefeos.net.socket import Datagram, DatagramSocket
from jefeos.net.stack import Interface, NetworkStack
from jefeos.net.wiredevice import WireDevice
from jefeos.sched.clock import Entropy, RealClock
from jefeos.sched.loop import KernelLoop
from jefeos.testing.waiting import until
from jefeos_net_inet.plugin import jefeos_network_stack
from jefeos_net_tap.port import open_tap

TAP = "jefetap0"
MAC = bytes.fromhex("525400123456")
HOST4, OURS4 = parse_address("10.9.8.1"), parse_address("10.9.8.2")
HOST6, OURS6 = parse_address("fd00:9::1"), parse_address("fd00:9::2")
SIZES = (0, 1, 56, 1472, 1473, 4000, 20_000, 60_000)
PATIENCE_S = 60.0
IP_RECVTTL = 12
UDPLITE, UDPLITE_SEND_CSCOV = 136, 10


class World:
    """The namespace: the host's end, and our stack."""

    def __init__(self, loop: KernelLoop, clock: RealClock) -> None:
        self.loop = loop
        self.clock = clock
        self.port = open_tap(TAP, loop)
        self.stack = self.new_stack()
        self.interface: Interface = self.stack.add_device(WireDevice(self.port, MAC))

    def new_stack(self) -> NetworkStack:
        return jefeos_network_stack(self.loop, self.clock, Entropy(), logging.getLogger("scenario"))

    async def set_up(self) -> None:
        """Addresses at both ends."""
        await self.run("ip", "link", "set", "lo", "up")
        await self.run("ip", "addr", "add", "10.9.8.1/24", "dev", TAP)
        await self.run("ip", "-6", "addr", "add", "fd00:9::1/64", "dev", TAP, "nodad")
        await self.run("ip", "link", "set", TAP, "up")
        self.stack.settings["net.ipv6.conf.all.dad_transmits"] = 0
        self.interface.add_address(OURS4, 24)
        self.interface.add_address(OURS6, 64)
        self.interface.set_up(True)

    async def run(self, *command: str, check: bool = True) -> str:
        """A program of the host; its output."""
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        text = output.decode()
        if check:
            assert process.returncode == 0, f"{command}: {text}"
        return text

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to become true."""
        assert await until(condition, PATIENCE_S, 0.005), f"{what} did not happen in {PATIENCE_S} s"

    async def receive(self, ours: DatagramSocket) -> Datagram:
        """The next message of a socket of ours."""
        got: list[Datagram] = []

        def take() -> bool:
            message = ours.receive_from()
            if message is not None:
                got.append(message)
            return bool(got)

        await self.until(take, "a message")
        return got[0]

    def close(self) -> None:
        self.stack.close()
        self.port.close()


def host_socket(family: socket.AddressFamily, address: str, port: int = 0) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((address, port))
    made.setblocking(False)
    return made
