"""Hosts with nothing but TCP, joined by a wire in virtual time: what the tests of TCP run on.

    world = World(seed=7, faults=Faults(loss=0.01, delay_ns=5_000_000), hosts=2)
    world.run_until(lambda: …)

Each host is a `TcpLayer` over a `Network` that puts segments on the wire; the wire is core's `Lan` (with its faults by
seed). A wire may instead be a list that a test fills and empties by hand (`ScriptedHost` in test_tcp_rules.py).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.wires.lan import Faults, Lan
from jefeos_net_inet.tcp.layer import TcpLayer
from jefeos_net_inet.tcp.network import Path
from jefeos_net_inet.tcp.sequence import NEVER
from jefeos_net_inet.tcp.wire import seal

MTU = 1500
SECOND_NS = 1_000_000_000


class Time:
    """An event loop in virtual time: callbacks in order of their times."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0

    def at(self, at_ns: int, callback: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (max(at_ns, self.now_ns), self._serial, callback))

    def soon(self, callback: Callable[[], None]) -> None:
        self.at(self.now_ns, callback)

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self.at(self.now_ns + delay_ns, callback)

    def step(self) -> bool:
        """Run the next callback; False if there is none."""
        if not self._heap:
            return False
        at_ns, _, callback = heapq.heappop(self._heap)
        self.now_ns = max(self.now_ns, at_ns)
        callback()
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now_ns + int(seconds * SECOND_NS)
        while self._heap and self._heap[0][0] <= end:
            self.step()
        self.now_ns = end


@define(eq=False)
class Host:
    """One end: addresses, a layer, and a port of the wire."""

    time: Time
    address: bytes
    carry: Callable[[bytes], None]
    chance: random.Random
    mtu: int = MTU
    largest: int = 0
    layer: TcpLayer = None  # type: ignore[assignment]
    wake_ns: int = NEVER
    unreachables: list[int] = field(factory=list)
    too_long: int = 0
    """Segments that the MTU does not allow, which are lost."""
    classes: deque[int] = field(factory=lambda: deque(maxlen=100))
    """Traffic classes of what was sent last."""
    fail_sends: int = 0
    """So many sends find the device full."""

    def __attrs_post_init__(self) -> None:
        self.layer = TcpLayer(self)

    # --- Network ---

    def path(self, destination: bytes, source: bytes, interface: int) -> Path:
        if destination == b"\0\0\0\xff":
            raise KernelError(Errno.ENETUNREACH)
        own = self.address if len(destination) == 4 else bytes(12) + self.address
        return Path(source or own, self.mtu, 1, self.largest)

    def send(
        self, source: bytes, destination: bytes, header: bytes, payload: bytes | memoryview, segment_bytes: int,
        hop_limit: int, traffic_class: int, interface: int,
    ) -> bool:  # fmt: skip
        if self.fail_sends:
            self.fail_sends -= 1
            return False
        if not segment_bytes and len(header) + len(payload) + (20 if len(source) == 4 else 40) > self.mtu:
            self.too_long += 1
            return True
        self.classes.append(traffic_class)
        head = bytes((len(source), hop_limit)) + source + destination
        self.carry(head + seal(source, destination, header, payload) + bytes(payload))
        return True

    def lane(self, connection: Any) -> None:
        """There is no short way."""

    def is_local(self, address: bytes) -> bool:
        return address == self.address

    def interface_index(self, name: str) -> int:
        raise KernelError(Errno.ENODEV)

    def unreachable(self, segment: bytes, source: bytes, destination: bytes, errno: int, interface: int) -> None:
        self.unreachables.append(errno)

    def random(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    def schedule(self, at_ns: int) -> None:
        self.wake_ns = at_ns
        self.time.at(at_ns, lambda: self._wake(at_ns))

    def _wake(self, at_ns: int) -> None:
        if at_ns == self.wake_ns:
            self.wake_ns = NEVER
            self.layer.run_timers(self.time.now_ns)

    # --- the wire ---

    def receive(self, packet: bytes) -> None:
        size = packet[0]
        source, destination = packet[2 : 2 + size], packet[2 + size : 2 + 2 * size]
        if size in (4, 16) and destination[-4:] == self.address:
            self.layer.segment_arrived(source, destination, memoryview(packet)[2 + 2 * size :], self.time.now_ns)

    def now(self) -> int:
        return self.time.now_ns

    now_ns = now

    def socket(self, family: int = 2) -> Any:
        return self.layer.open(family)

    def listen(self, port: int = 80, backlog: int = 128, **options: Any) -> Any:
        def begin(socket: Any) -> None:
            socket.bind(SocketAddress(b"", port))
            socket.listen(backlog)

        return self._opened(begin, options)

    def connect(self, host: Host, port: int = 80, **options: Any) -> Any:
        return self._opened(lambda socket: socket.connect(SocketAddress(host.address, port)), options)

    def _opened(self, begin: Callable[[Any], object], options: dict[str, Any]) -> Any:
        socket = self.socket()
        for name, value in options.items():
            socket.set_option(name, value)
        try:
            begin(socket)
        except KernelError:
            socket.close()
            raise
        return socket


class World:
    """Hosts on one `Lan`."""

    def __init__(
        self, seed: int = 0, faults: Faults | None = None, hosts: int = 2, mtu: int = MTU, largest: int = 0
    ) -> None:
        self.time = Time()
        self.lan = Lan(self.time.soon, self.time.later, seed=seed, faults=faults)
        self.hosts = []
        for number in range(hosts):
            port = self.lan.port()
            host = Host(
                self.time, bytes((10, 0, 0, number + 1)), port.send, random.Random(seed * 97 + number), mtu, largest
            )
            port.receiver = host.receive
            self.hosts.append(host)

    def run_until(self, condition: Callable[[], bool], seconds: float = 3600.0) -> bool:
        end = self.time.now_ns + int(seconds * SECOND_NS)
        while not condition():
            if self.time.now_ns > end or not self.time.step():
                return condition()
        return True

    def assert_nothing_left(self, wait_s: float = 2000.0) -> None:
        """After every TIME-WAIT and every patience nothing may remain."""
        self.time.run(wait_s)
        for host in self.hosts:
            layer = host.layer
            assert not layer.table, [(key, thing.state.name) for key, thing in layer.table.items()]
            assert not layer.listeners and not len(layer.timers) and not len(layer.ports)
            assert not layer.sockets_open and not layer.orphans and not layer.time_waits and not layer.pending
            assert not layer.blocked and not host.too_long


class Transfer:
    """Sends bytes from one socket and collects them at another, as their owners would: driven by `changed`."""

    def __init__(self, socket: Any, data: bytes, *, close: bool = True, chunk: int = 65_536) -> None:
        self.socket = socket
        self.data = memoryview(data)
        self.sent = 0
        self.received = bytearray()
        self.errors: list[int] = []
        self.ended = False
        self.close = close
        self.chunk = chunk
        self._shut = False
        socket.changed = self.pump
        self.pump()

    def pump(self) -> None:
        try:
            while True:
                data = self.socket.receive(1 << 20)
                if data is None:
                    break
                if not data:
                    self.ended = True
                    break
                self.received += data
            while self.sent < len(self.data):
                count = self.socket.send(self.data[self.sent : self.sent + self.chunk])
                if not count:
                    return
                self.sent += count
            if not self._shut and self.socket.state in ("ESTABLISHED", "CLOSE_WAIT"):
                self._shut = True
                self.socket.shut_down(False, True)
        except KernelError as error:
            self.errors.append(error.errno)

    @property
    def done(self) -> bool:
        return bool(self.errors) or (self.ended and self._shut)
