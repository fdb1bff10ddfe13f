"""Scenarios between the host's TCP and ours (faulty_host.py): ``transfer ROLE DIRECTION MEGABYTES FAULTS``,
``scan PORTS``, ``attack PYTHON COUNT``, ``ecn ROLE OURS THEIRS EVERY``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from faulty_host import HOST, OUR_MAC, OURS, TAP, HostNetwork, run
from jefeos.errors import KernelError
from jefeos.net.address import SocketAddress, parse_address
from jefeos.net.checksum import checksum
from jefeos.net.wires.lan import Faults

BLOCK = random.Random(5).randbytes(1_000_003)
PIECE = 65_536
PORT = 7


def piece(position: int, total: int) -> bytes:
    """Octets of the stream of the test, which repeats with a period that is no power of two."""
    start = position % len(BLOCK)
    return BLOCK[start : min(start + PIECE, start + total - position)]


async def ready(stream: Any, take: Any) -> Any:
    """What ``take()`` gives once it gives something. Several may wait for one socket, which calls them."""
    if stream.owner is None:
        stream.owner = waiting = []
        stream.changed = lambda: [event.set() for event in waiting]
    while (taken := take()) is None or taken is False or (taken == 0 and not isinstance(taken, bytes)):
        event = asyncio.Event()
        stream.owner.append(event)
        await event.wait()
        stream.owner.remove(event)
    return taken


async def our_end(network: HostNetwork, role: str) -> Any:
    stream = network.stack.open_stream(2)
    if role == "client":
        stream.connect(SocketAddress(parse_address(HOST), PORT))
        await ready(stream, lambda: stream.state == "ESTABLISHED" or stream.pending_error)
        if stream.pending_error:
            raise KernelError(stream.take_error())
        return stream
    stream.bind(SocketAddress(b"", PORT))
    stream.listen(5)
    child = await ready(stream, stream.accept)
    stream.close()
    return child


async def host_end(network: HostNetwork, role: str) -> socket.socket:
    host = socket.socket()
    host.setblocking(False)
    if role == "client":
        await network.loop.sock_connect(host, (OURS, PORT))
        return host
    host.bind((HOST, PORT))
    host.listen(5)
    return (await network.loop.sock_accept(host))[0]


async def our_send(stream: Any, total: int) -> None:
    sent = 0
    while sent < total:
        data = piece(sent, total)
        sent += await ready(stream, lambda data=data: stream.send(data))
    stream.shut_down(False, True)


async def our_receive(stream: Any) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    while data := await ready(stream, lambda: stream.receive(1 << 18)):
        digest.update(data)
        count += len(data)
    return count, digest.hexdigest()


async def host_send(loop: Any, host: socket.socket, total: int) -> None:
    sent = 0
    while sent < total:
        data = piece(sent, total)
        await loop.sock_sendall(host, data)
        sent += len(data)
    host.shutdown(socket.SHUT_WR)


async def host_receive(loop: Any, host: socket.socket) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    while data := await loop.sock_recv(host, 1 << 18):
        digest.update(data)
        count += len(data)
    return count, digest.hexdigest()


async def settled_states(network: HostNetwork, rest: str, patience_s: float = 90) -> list[str]:
    """States of our sockets once all of them are in ``rest``: the last FIN or its ACK may be lost several times."""
    until = time.monotonic() + patience_s
    while True:
        states = sorted({line.state for line in network.stack.sockets()})
        if set(states) <= {rest} or time.monotonic() > until:
            return states
        await asyncio.sleep(0.02)


async def transfer(network: HostNetwork, role: str, direction: str, total: int) -> dict[str, Any]:
    """One connection in which we are ``client`` or ``server`` and send data ``out``, ``in`` or ``both`` ways."""
    other = "server" if role == "client" else "client"
    ends = [lambda: our_end(network, role), lambda: host_end(network, other)]
    if role == "client":
        ends.reverse()  # whoever listens begins
    first = asyncio.ensure_future(ends[0]())
    await asyncio.sleep(0.01)
    second = await ends[1]()
    ours, host = (second, await first) if role == "client" else (await first, second)
    started = time.monotonic()
    out, back = (total if direction in ("out", "both") else 0), (total if direction in ("in", "both") else 0)
    _, _, host_got, we_got = await asyncio.gather(
        our_send(ours, out), host_send(network.loop, host, back),
        host_receive(network.loop, host), our_receive(ours),
    )  # fmt: skip
    seconds = time.monotonic() - started
    info = ours.get_option("tcp_info")["options"], host.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    ours.close()
    host.close()
    digest = hashlib.sha256()
    position = 0
    while position < total:
        data = piece(position, total)
        digest.update(data)
        position += len(data)
    empty = hashlib.sha256().hexdigest()
    states = await settled_states(network, "TIME_WAIT")
    return {
        "right": host_got == (out, digest.hexdigest() if out else empty)
        and we_got == (back, digest.hexdigest() if back else empty),
        "megabytes_a_second": (out + back) / 1e6 / seconds,
        "states": states,
        "options": info,
        "lost": network.lan.statistics.lost,
        "counters": {name: count for name, count in network.stack.counters()["TcpExt"].items() if count},
    }


async def attack(network: HostNetwork, python: str, count: str) -> dict[str, Any]:
    """The host sends 8 MB to our server while Scapy does its worst; another connection is made in the middle of it."""
    listener = network.stack.open_stream(2)
    listener.bind(SocketAddress(b"", PORT))
    listener.listen(20)
    host = socket.socket()
    host.setblocking(False)
    await network.loop.sock_connect(host, (OURS, PORT))
    ours = await ready(listener, listener.accept)
    script = str(Path(__file__).with_name("scapy_attack.py"))
    command = [python, script, TAP, OUR_MAC.hex(":"), OURS, HOST, str(PORT), str(host.getsockname()[1]), count]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    receiving = asyncio.ensure_future(our_receive(ours))
    total = 8_000_000
    most, sent = 0, 0
    while process.returncode is None or sent < total:
        if sent < total:
            data = piece(sent, total)
            await network.loop.sock_sendall(host, data)
            sent += len(data)
        most = max(most, len(network.stack.tcp.layer.table))
        await asyncio.sleep(0.02)
    host.shutdown(socket.SHUT_WR)
    digest = hashlib.sha256()
    position = 0
    while position < total:
        data = piece(position, total)
        digest.update(data)
        position += len(data)
    right = await receiving == (total, digest.hexdigest())
    newcomer = socket.socket()
    newcomer.setblocking(False)
    await network.loop.sock_connect(newcomer, (OURS, PORT))
    await network.loop.sock_sendall(newcomer, b"hello")
    second = await ready(listener, listener.accept)
    hello = await ready(second, lambda: second.receive(100))
    for one in (ours, second, listener, host, newcomer):
        one.close()
    counters = network.stack.counters()
    return {"right": right, "hello": hello.decode(), "most": most, "status": process.returncode,
            "counters": {**counters["TcpExt"], "InSegs": counters["Tcp"]["InSegs"]}}  # fmt: skip


async def scan(network: HostNetwork, ports: str) -> dict[str, Any]:
    """nmap looks at ports, twice: by connect() and, as root, by half-open SYNs."""
    listeners = []
    for port in (22, 80, 443, 8080, 65535):
        stream = network.stack.open_stream(2)
        stream.bind(SocketAddress(b"", port))
        stream.listen(5)

        def drain(stream: Any = stream) -> None:
            while (child := stream.accept()) is not None:
                child.close()

        stream.changed = drain
        listeners.append(stream)
    found = {}
    for kind in ("-sT", "-sS"):
        command = ["nmap", kind, "-Pn", "-n", "-p", ports, "-T4", "--open", "-oG", "-", OURS]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        output, _ = await process.communicate()
        line = next((one for one in output.decode().splitlines() if "Ports:" in one), "")
        entries = line.partition("Ports:")[2].partition("\t")[0].split(",")
        found[kind] = sorted(int(entry.split("/")[0]) for entry in entries if "/" in entry)
    states = await settled_states(network, "LISTEN")
    for stream in listeners:
        stream.close()
    return {"found": found, "states": states, "orphans": network.stack.tcp.layer.orphans}


class MarkingRouter:
    """A router that marks each so many packets of those that allow it, and counts what it sees."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen: Counter[str] = Counter()

    def __call__(self, frame: bytes, to_host: bool) -> bytes:
        """A frame of either direction, perhaps with a mark."""
        if frame[12:14] != b"\x08\0" or frame[23] != 6:
            return frame
        way = "to host" if to_host else "to us"
        flags = frame[14 + 4 * (frame[14] & 0xF) + 13]
        if not flags & 0x02:
            self.seen[f"ECE {way}"] += bool(flags & 0x40)
            self.seen[f"CWR {way}"] += bool(flags & 0x80)
        if frame[15] & 3 not in (1, 2):
            return frame
        self.seen[f"ECT {way}"] += 1
        if self.every and not self.seen[f"ECT {way}"] % self.every:
            self.seen[f"CE {way}"] += 1
            head = bytearray(frame[14:34])
            head[1] |= 3
            head[10:12] = b"\0\0"
            head[10:12] = checksum(head).to_bytes(2, "big")
            return frame[:14] + bytes(head) + frame[34:]
        return frame


async def ecn(network: HostNetwork, role: str, ours: int, theirs: int, router: MarkingRouter) -> dict[str, Any]:
    """2 MB both ways with these settings of tcp_ecn; what was agreed, and what the router saw."""
    network.stack.settings["net.ipv4.tcp_ecn"] = ours
    Path("/proc/sys/net/ipv4/tcp_ecn").write_text(str(theirs))
    result = await transfer(network, role, "both", 2_000_000)
    return {**result, **router.seen}


def main() -> None:
    """See the module's text."""
    scenario, *arguments = sys.argv[1:]
    if scenario == "ecn":
        role, *numbers = arguments
        ours, theirs, every = map(int, numbers)
        router = MarkingRouter(every)
        run(lambda network: ecn(network, role, ours, theirs, router), router=router)
        return
    if scenario == "scan":
        run(lambda network: scan(network, arguments[0]))
        return
    if scenario == "attack":
        run(lambda network: attack(network, *arguments))
        return
    role, direction, megabytes, faults = arguments
    wanted = json.loads(faults)
    mtu = wanted.pop("mtu", 1500)
    run(
        lambda network: transfer(network, role, direction, int(float(megabytes) * 1_000_000)),
        faults=Faults(**wanted) if wanted else None, mtu=mtu,
    )  # fmt: skip


if __name__ == "__main__":
    main()
