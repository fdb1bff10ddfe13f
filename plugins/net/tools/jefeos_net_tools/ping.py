"""``ping``: echo requests, and what comes back (RFC 792, RFC 4443), with statistics as every ping has them."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from jefeos.errors import KernelError, errno_name
from jefeos.net.address import AF_INET, AF_INET6, Address, SocketAddress, address_text, family_of
from jefeos.net.files import DatagramFile
from jefeos.proc.signals import Signal
from jefeos.sched.wait import Interrupted

from jefeos_net_tools.common import CommandError, command, resolve, say, stack_of, usage, words_of

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

USAGE: Final = "ping [-4 | -6] [-c COUNT] [-i SECONDS] [-s BYTES] [-W SECONDS] [-t TTL] [-q] HOST"
SECOND_NS: Final = 1_000_000_000
ECHO_REQUEST, ECHO_REQUEST6 = 8, 128
_HEAD: Final = struct.Struct(">BBHHH")
_STAMP: Final = struct.Struct(">Q")
MOST_BYTES: Final = 65_000


def _number(text: str, what: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise CommandError(f"{text!r} is no {what} from {low:g} to {high:g}", 2)
    return value


@command
async def ping(proc: Proc, argv: list[bytes]) -> int:
    """``ping [-4 | -6] [-c count] [-i seconds] [-s bytes] [-W seconds] [-t ttl] [-q] host``."""
    words = words_of(argv)
    family, count, interval_s, size, patience_s, ttl, quiet = 0, 0, 1.0, 56, 2.0, 0, False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-4", "-6"):
            family = AF_INET if option == "-4" else AF_INET6
        elif option == "-q":
            quiet = True
        elif option in ("-c", "-i", "-s", "-W", "-t") and words:
            value = words.pop(0)
            if option == "-c":
                count = int(_number(value, "count", 1, 1e9))
            elif option == "-i":
                interval_s = _number(value, "interval", 0.001, 3600)
            elif option == "-s":
                size = int(_number(value, "size", 0, MOST_BYTES))
            elif option == "-W":
                patience_s = _number(value, "time", 0.001, 3600)
            else:
                ttl = int(_number(value, "time to live", 1, 255))
        else:
            raise usage(USAGE)
    if len(words) != 1:
        raise usage(USAGE)
    address = await resolve(proc, words[0], family)
    socket = stack_of(proc).open_ping(family_of(address))
    file = DatagramFile(proc.kernel.vfs, socket, 0)
    try:
        if ttl:
            socket.set_option("ip_ttl" if len(address) == 4 else "ipv6_unicast_hops", ttl)
        session = Session(proc, file, address, size, quiet)
        await say(proc, f"PING {words[0]} ({address_text(address)}) {size} data bytes\n")
        proc.catch(Signal.SIGINT)
        await session.run(count, int(interval_s * SECOND_NS), int(patience_s * SECOND_NS))
        await say(proc, session.summary(words[0]))
        return 0 if session.times_ns else 1
    finally:
        file.unref()


class Session:
    """One run of ping."""

    def __init__(self, proc: Proc, file: DatagramFile, address: Address, size: int, quiet: bool) -> None:
        self._proc = proc
        self._file = file
        self._address = address
        self._size = size
        self._quiet = quiet
        self._clock = proc.kernel.clock
        self.sent = self.errors = self.duplicates = 0
        self.times_ns: list[int] = []
        self._waiting: dict[int, int] = {}
        """Sequence number to when it was sent."""

    async def run(self, count: int, interval_ns: int, patience_ns: int) -> None:
        """Send ``count`` requests (0: until SIGINT), one each interval; wait for the last answers."""
        try:
            while not count or self.sent < count:
                await self._send()
                last = count and self.sent == count
                await self._listen(self._clock.monotonic_ns() + (patience_ns if last else interval_ns), bool(last))
                if self._proc.caught:
                    return
        except Interrupted:
            return

    async def _send(self) -> None:
        now_ns = self._clock.monotonic_ns()
        self.sent += 1
        sequence = self.sent & 0xFFFF
        kind = ECHO_REQUEST if len(self._address) == 4 else ECHO_REQUEST6
        body = _STAMP.pack(now_ns) if self._size >= _STAMP.size else b""
        body += bytes(at & 0xFF for at in range(len(body), self._size))
        self._waiting[sequence] = now_ns
        try:
            sent = self._file.send_to(
                _HEAD.pack(kind, 0, 0, 0, sequence) + body, SocketAddress(self._address, 0), None, nonblock=False
            )
            if not isinstance(sent, int):
                await sent
        except KernelError as error:
            if isinstance(error, Interrupted):
                raise
            self.errors += 1
            await say(self._proc, f"From here: seq={self.sent} {errno_name(error.errno)}\n")

    async def _listen(self, until_ns: int, last: bool) -> None:
        """Take answers until it is time, or for the last request until all are there."""
        while not (last and not self._waiting):
            left_ns = until_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                return
            try:
                message = self._file.socket.receive_from()
            except KernelError as error:
                self.errors += 1
                await say(self._proc, f"From the network: {errno_name(error.errno)}\n")
                continue
            if message is None:
                await self._file.queue.wait(left_ns)
                continue
            if len(message.data) < _HEAD.size:
                continue
            sequence = _HEAD.unpack_from(message.data)[4]
            sent_ns = self._waiting.pop(sequence, None)
            if sent_ns is None:
                self.duplicates += 1
            else:
                self.times_ns.append(message.received_ns - sent_ns)
            if not self._quiet:
                took = "DUP!" if sent_ns is None else f"time={(message.received_ns - sent_ns) / 1e6:.3f} ms"
                await say(
                    self._proc,
                    f"{len(message.data)} bytes from {address_text(message.source.address)}: seq={sequence} "
                    f"ttl={message.hop_limit} {took}\n",
                )

    def summary(self, host: str) -> str:
        """The last two lines."""
        received = len(self.times_ns)
        loss = 100 * (self.sent - received) // self.sent if self.sent else 0
        text = f"\n--- {host} ping statistics ---\n{self.sent} packets transmitted, {received} packets received, "
        if self.duplicates:
            text += f"{self.duplicates} duplicates, "
        if self.errors:
            text += f"{self.errors} errors, "
        text += f"{loss}% packet loss\n"
        if received:
            times_ms = [time_ns / 1e6 for time_ns in self.times_ns]
            mean = sum(times_ms) / received
            deviation = math.sqrt(max(sum(time * time for time in times_ms) / received - mean * mean, 0))
            figures = "/".join(f"{value:.3f}" for value in (min(times_ms), mean, max(times_ms), deviation))
            text += f"round-trip min/avg/max/stddev = {figures} ms\n"
        return text


