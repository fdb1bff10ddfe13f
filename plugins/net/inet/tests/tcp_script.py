"""Scripts of exact segments, in the notation of packetdrill: what arrives, and what must go out, when.

    script = Script()
    script.receives("S 0:0(0) win 1000 <mss 1000>")
    script.sends("S. 0:0(0) ack 1 <mss 1460>")

Numbers are relative: ours to our initial number, the peer's to its own. ``win`` and options are compared only where the
expectation names them. The peer is the script, so there is no wire and no chance.
"""

from __future__ import annotations

import random
import re
from typing import Any

from jefeos.net.address import SocketAddress
from jefeos_net_inet.tcp.options import Options, emit_options
from jefeos_net_inet.tcp.wire import Segment, emit, parse, seal, verify
from tcp_world import Host, Time

OURS, PEER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
PEER_INITIAL = 0xFFFF_FF00
"""So that numbers wrap early."""
PLAIN = {"tcp_timestamps": 0, "tcp_sack": 0, "tcp_window_scaling": 0}
FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80}
_LINE = re.compile(
    r"(?P<flags>[FSRPU.EW]+) (?P<start>-?\d+):(?P<end>-?\d+)\((?P<length>\d+)\)(?: ack (?P<ack>-?\d+))?"
    r"(?: win (?P<win>\d+))?(?: urg (?P<urg>\d+))?(?: <(?P<options>[^>]*)>)?$"
)


class Script:
    """One host, and the peer's side of its wire."""

    def __init__(self, *, mtu: int = 1500, largest: int = 0, port: int = 4000, **settings: int) -> None:
        self.time = Time()
        self.addresses = (PEER, OURS)
        """Source and destination of what arrives."""
        self.out: list[bytes] = []
        self.host = Host(self.time, OURS, self.out.append, random.Random(1), mtu, largest)
        for name, value in settings.items():
            self.host.layer.settings["net.ipv4." + name] = value
        self.layer = self.host.layer
        self.initial: int | None = None
        self.peer_port = port
        self.port = 80
        self.stamp_base: int | None = None

    # --- what happens ---

    def receives(self, line: str, *, congested: bool = False) -> None:
        """A segment from the peer, perhaps marked by a router."""
        match = _LINE.match(line)
        assert match, line
        flags = sum(FLAGS[letter] for letter in match["flags"])
        ack = (self.initial or 0) + int(match["ack"] or 0) if flags & 0x10 else 0
        header = emit(
            self.peer_port, self.port, PEER_INITIAL + int(match["start"]), ack, flags, int(match["win"] or 65535),
            int(match["urg"] or 0), emit_options(self._options(match["options"] or "")),
        )  # fmt: skip
        payload = bytes(int(match["start"]) + index & 0xFF for index in range(int(match["length"])))
        data = seal(PEER, OURS, header, payload) + payload
        self.layer.segment_arrived(PEER, OURS, data, self.time.now_ns, congested=congested)

    def _options(self, text: str) -> Options:
        options = Options()
        sack = []
        for part in filter(None, text.split(",")):
            word, *values = part.split()
            if word == "mss":
                options.mss = int(values[0])
            elif word == "sackOK":
                options.sack_permitted = True
            elif word == "wscale":
                options.window_scale = int(values[0])
            elif word == "sack":
                for block in values:
                    left, _, right = block.partition(":")
                    base = self.initial or 0
                    sack.append((base + int(left) & 0xFFFF_FFFF, base + int(right) & 0xFFFF_FFFF))
            else:  # TS val 1 ecr 2
                options.stamp, options.echo = int(values[1]), int(values[3]) + (self.stamp_base or 0) & 0xFFFF_FFFF
        options.sack = tuple(sack)
        return options

    def sends(self, *lines: str) -> list[Segment]:
        """Exactly these have gone out since the last look, in this order."""
        segments = [self._parse(packet) for packet in self.out]
        self.out.clear()
        shown = [self._show(segment, lines[index] if index < len(lines) else "win <") for index, segment in
                 enumerate(segments)]  # fmt: skip
        assert shown == list(lines)
        return segments

    def _parse(self, packet: bytes) -> Segment:
        data = packet[10:]
        assert verify(OURS, PEER, data)
        segment = parse(data)
        assert segment is not None
        if segment.flags & 0x02 or self.initial is None:
            self.initial = segment.sequence
            self.port, self.peer_port = segment.source_port, segment.destination_port
            self.stamp_base = segment.stamp
        return segment

    def _show(self, segment: Segment, wanted: str) -> str:
        flags = "".join(letter for letter, bit in FLAGS.items() if segment.flags & bit)
        start = relative(segment.sequence - (self.initial or 0))
        text = f"{flags} {start}:{start + len(segment.payload)}({len(segment.payload)})"
        if segment.flags & 0x10:
            text += f" ack {relative(segment.acknowledgment - PEER_INITIAL)}"
        if " win " in wanted:
            text += f" win {segment.window}"
        if segment.flags & 0x20:
            text += f" urg {segment.urgent}"
        if "<" in wanted:
            text += f" <{self._show_options(segment)}>"
        return text

    def _show_options(self, segment: Segment) -> str:
        options = segment.options or Options(stamp=segment.stamp, echo=segment.echo)
        parts = [f"mss {options.mss}"] if options.mss else []
        if options.sack_permitted:
            parts.append("sackOK")
        if options.stamp is not None:
            parts.append(f"TS val {relative(options.stamp - (self.stamp_base or 0))} ecr {options.echo}")
        if options.window_scale is not None:
            parts.append(f"wscale {options.window_scale}")
        if options.sack:
            blocks = (
                f"{relative(left - PEER_INITIAL)}:{relative(right - PEER_INITIAL)}" for left, right in options.sack
            )
            parts.append("sack " + " ".join(blocks))
        return ",".join(parts)

    def passes(self, seconds: float) -> None:
        """Time goes on."""
        self.time.run(seconds)

    # --- usual beginnings ---

    def accepted(self, options: str = "mss 1000", win: int = 65535, **ours: Any) -> Any:
        """A connection that the peer opened."""
        listener = self.host.listen(80, **ours)
        self.receives(f"S 0:0(0) win {win} <{options}>")
        self._learn()
        stamp = ",TS val 1 ecr 0" if "TS" in options else ""
        self.receives(f". 1:1(0) ack 1 win {win}" + (f" <{stamp[1:]}>" if stamp else ""))
        socket = listener.accept()
        assert socket is not None and socket.state == "ESTABLISHED"
        listener.close()
        self.out.clear()
        return socket

    def _learn(self) -> None:
        (packet,) = self.out
        self._parse(packet)
        self.out.clear()

    def connecting(self, port: int = 80, **options: Any) -> Any:
        """A connection that we open, its SYN sent."""
        socket = self.host.socket()
        for name, value in options.items():
            socket.set_option(name, value)
        self.peer_port = port
        assert not socket.connect(SocketAddress(PEER, port))
        return socket

    def connected(self, options: str = "mss 1000", win: int = 65535, **ours: Any) -> Any:
        """A connection that we opened, complete."""
        socket = self.connecting(**ours)
        self._learn()
        self.receives(f"S. 0:0(0) ack 1 win {win} <{options}>")
        assert socket.state == "ESTABLISHED"
        self.out.clear()
        return socket


def plain(**more: int) -> Script:
    """A host that offers no options but the MSS."""
    return Script(**{**PLAIN, **more})  # type: ignore[arg-type]


def relative(number: int) -> int:
    """A difference of 32-bit numbers as a small integer."""
    return (number + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
