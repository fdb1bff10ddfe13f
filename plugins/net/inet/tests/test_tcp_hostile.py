"""Malformed and hostile segments: nothing is raised, memory stays within bounds, connections of others go on."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from jefeos.net.wires.lan import Faults
from jefeos_net_inet.tcp.options import Options, emit_options, parse_options
from jefeos_net_inet.tcp.reassembly import MOST_RANGES, Reassembly
from jefeos_net_inet.tcp.wire import emit, parse, seal, verify

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import PEER_INITIAL, Script
from tcp_world import Transfer, World

SOURCE, DESTINATION = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
FULL = Options(mss=1460, window_scale=7, sack_permitted=True, stamp=0xDEADBEEF, echo=1)


def segment(flags: int = 0x18, payload: bytes = b"data", options: Options | None = None, **numbers: int) -> bytes:
    """A right segment."""
    header = emit(
        numbers.get("source", 4000), numbers.get("destination", 80), numbers.get("sequence", 1),
        numbers.get("acknowledgment", 2), flags, 1000, numbers.get("urgent", 0), emit_options(options or Options()),
    )  # fmt: skip
    return seal(SOURCE, DESTINATION, header, payload) + payload


# --- formats ---


GOLDEN = bytes.fromhex("0fa000500000000100000002801003e86c6f00000101080a000000010000000268690a")
GOLDEN_SYN = bytes.fromhex(
    "0fa000500000000100000000a00203e8b01e0000020405b40402080a000000050000000001030307"
)
GOLDEN_SACK = bytes.fromhex(
    "0fa000500000000100000002a01903e872380000010105120000000300000004000000090000000b78"
)
"""As Scapy 2.5 builds them, the last over IPv6 from 2001:db8::1 to 2001:db8::2."""


def test_golden_bytes() -> None:
    parsed = parse(GOLDEN)
    assert parsed is not None and parsed.options is None
    assert (parsed.source_port, parsed.destination_port, parsed.sequence, parsed.acknowledgment) == (4000, 80, 1, 2)
    assert (parsed.flags, parsed.window, parsed.stamp, parsed.echo) == (0x10, 1000, 1, 2)
    assert bytes(parsed.payload) == b"hi\n"
    assert verify(SOURCE, DESTINATION, GOLDEN) and not verify(SOURCE, SOURCE, GOLDEN)
    built = emit(4000, 80, 1, 2, 0x10, 1000, 0, bytes.fromhex("0101080a0000000100000002"))
    assert seal(SOURCE, DESTINATION, built, b"hi\n") + b"hi\n" == GOLDEN


def test_golden_bytes_of_a_syn_and_of_sack_over_ipv6() -> None:
    offered = Options(mss=1460, window_scale=7, sack_permitted=True, stamp=5)
    assert seal(SOURCE, DESTINATION, emit(4000, 80, 1, 0, 2, 1000, 0, emit_options(offered)), b"") == GOLDEN_SYN
    parsed = parse(GOLDEN_SYN)
    assert parsed is not None and parsed.options == offered and parsed.flags == 2
    source, destination = (bytes.fromhex("20010db8") + bytes(11) + bytes((last,)) for last in (1, 2))
    header = emit(4000, 80, 1, 2, 0x19, 1000, 0, emit_options(Options(sack=((3, 4), (9, 11)))))
    assert seal(source, destination, header, b"x") + b"x" == GOLDEN_SACK
    assert verify(source, destination, GOLDEN_SACK)
    assert parse(GOLDEN_SACK).options == Options(sack=((3, 4), (9, 11)))  # type: ignore[union-attr]


def test_truncation_at_every_length() -> None:
    whole = segment(options=FULL)
    script = Script()
    listener = script.host.listen(80)
    for length in range(len(whole)):
        cut = whole[:length]
        parsed = parse(cut)
        assert parsed is None or length >= 40
        script.layer.segment_arrived(SOURCE, DESTINATION, cut, script.time.now_ns)
    assert script.layer.counters["InErrs"] == len(whole)
    assert not script.out and not script.layer.table
    listener.close()


@given(st.binary(max_size=44))
@settings(max_examples=150, deadline=None)
def test_any_option_list_can_be_read(data: bytes) -> None:
    options = parse_options(data)
    assert len(options.sack) <= 4 and (options.window_scale or 0) <= 14
    again = parse_options(emit_options(options))
    assert (again.mss, again.window_scale, again.stamp, again.sack) == (
        options.mss, options.window_scale, options.stamp, options.sack
    )  # fmt: skip


@given(st.binary(max_size=80), st.integers(0, 15))
@settings(max_examples=150, deadline=None)
def test_any_bytes_may_arrive(data: bytes, offset: int) -> None:
    script = Script()
    socket = script.accepted("mss 1000,sackOK")
    data = data[:12] + bytes((offset << 4,)) + data[13:] if len(data) > 12 else data
    ports = script.peer_port.to_bytes(2, "big") + (80).to_bytes(2, "big")
    for one in (data, ports + data[4:], ports + (PEER_INITIAL + 1).to_bytes(4, "big") + data[8:]):
        script.layer.segment_arrived(*script.addresses, one, script.time.now_ns, True)
    script.passes(1)
    assert socket.received_bytes <= 80


# --- segments that mean harm ---


def test_overlapping_segments_first_come_first_kept() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.accepted("mss 1000,sackOK")
    chance = random.Random(3)
    stream = bytes(index & 0xFF for index in range(1, 5001))
    for _ in range(3000):
        start = chance.randrange(1, 5000)
        end = min(start + chance.randrange(1, 700), 5001)
        script.receives(f". {start}:{end}({end - start}) ack 1")
    script.receives(". 1:5001(5000) ack 1")
    assert socket.receive(10_000) == stream
    reassembly = Reassembly()
    assert reassembly.add(10, b"AAAA") and reassembly.add(8, b"bbbbbbbb")
    assert b"".join(reassembly.ready(8)) == b"bbAAAAbb"
    assert not reassembly.bytes_held and not reassembly.pieces_held and not reassembly.recent


def test_holes_are_bounded() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.accepted("mss 1000,sackOK")
    for number in range(2, 10_000, 2):
        script.receives(f". {number}:{number + 1}(1) ack 1")
    held = socket.connection.receiver.reassembly
    assert len(held.ranges) <= MOST_RANGES and held.bytes_held <= MOST_RANGES
    script.receives(". 1:2(1) ack 1")
    assert socket.receive(10) == bytes((1, 2))


def test_single_octets_do_not_cost_more_than_they_hold() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.accepted()
    for number in range(1, 20_001):
        script.receives(f". {number}:{number + 1}(1) ack 1")
    assert len(socket.connection.receiver.queue._chunks) <= 3
    assert socket.receive(20_000) == bytes(index & 0xFF for index in range(1, 20_001))


class Attack:
    """Two hosts that transfer, while a third says what it likes on the same wire."""

    def __init__(self) -> None:
        self.world = World(8, Faults(delay_ns=5_000_000))
        self.client, self.server = self.world.hosts
        self.port = self.world.lan.port()
        self.listener = self.server.listen(backlog=20)
        self.taken: list[Transfer] = []
        self.listener.changed = self._accept
        self.data = random.Random(1).randbytes(300_000)

    def _accept(self) -> None:
        while (child := self.listener.accept()) is not None:
            self.taken.append(Transfer(child, b""))

    def transfer(self) -> Transfer:
        return Transfer(self.client.connect(self.server), self.data)

    def inject(self, source: bytes, destination: bytes, header: bytes, payload: bytes = b"") -> None:
        self.port.send(bytes((4, 64)) + source + destination + seal(source, destination, header, payload) + payload)

    def finish(self, client: Transfer) -> None:
        assert self.world.run_until(lambda: client.done and any(one.received == self.data for one in self.taken))
        assert not client.errors
        client.socket.close()
        for one in self.taken:
            one.socket.close()
        self.listener.close()
        self.world.assert_nothing_left()


def test_a_flood_of_syns_keeps_nobody_out() -> None:
    attack = Attack()
    chance = random.Random(2)
    for number in range(20_000):
        source = bytes((172, 16)) + chance.randbytes(2)
        attack.inject(source, attack.server.address, emit(chance.randrange(65536), 80, chance.getrandbits(32), 0, 2, 1))
        if not number % 100:
            attack.world.time.run(0.01)
    attack.world.time.run(0.1)
    assert len(attack.server.layer.table) <= 32
    assert attack.server.layer.counters["SyncookiesSent"] > 15_000
    client = attack.transfer()
    attack.finish(client)
    assert attack.server.layer.counters["SyncookiesRecv"] == 1


def test_cookies_of_others_and_old_ones_are_refused() -> None:
    attack = Attack()
    chance = random.Random(2)
    for number in range(20):
        attack.inject(bytes((172, 16, 0, number)), attack.server.address, emit(9, 80, 1, 0, 2, 1))
    attack.world.time.run(0.1)
    for number in range(3000):
        source = bytes((172, 17)) + number.to_bytes(2, "big")
        attack.inject(source, attack.server.address, emit(9, 80, 2, chance.getrandbits(32), 0x10, 1))
    attack.world.time.run(0.1)
    assert not attack.server.layer.counters["SyncookiesRecv"] and not attack.taken


def test_a_flood_of_acknowledgments_and_a_land_attack() -> None:
    attack = Attack()
    chance = random.Random(2)
    client = attack.transfer()
    attack.world.time.run(0.05)
    server = attack.server.address
    for number in range(5000):
        source = bytes((172, 16)) + chance.randbytes(2)
        attack.inject(source, server, emit(chance.randrange(65536), 80, chance.getrandbits(32), 5, 0x10, 1))
        attack.inject(server, server, emit(80, 80, chance.getrandbits(32), 0, 2, 1))
        if not number % 100:
            attack.world.time.run(0.001)
    assert len(attack.server.layer.table) <= 2
    attack.finish(client)


def test_blind_resets_syns_and_data_do_not_hurt() -> None:
    """RFC 5961: someone who knows the addresses and ports, but not the numbers."""
    attack = Attack()
    chance = random.Random(9)
    client = attack.transfer()
    attack.world.time.run(0.02)
    port = client.socket.local.port
    here, there = attack.client.address, attack.server.address
    for number in range(4000):
        flags = chance.choice((0x04, 0x14, 0x02, 0x12, 0x11, 0x18, 0x38))
        payload = b"evil" if flags & 8 else b""
        header = emit(
            port, 80, chance.getrandbits(32), chance.getrandbits(32), flags, chance.randrange(65536), 7,
            emit_options(Options(stamp=chance.getrandbits(32), sack=((chance.getrandbits(32), 5),))),
        )  # fmt: skip
        attack.inject(here, there, header, payload)
        if not number % 50:
            attack.world.time.run(0.001)
    attack.finish(client)


def test_false_sack_blocks_do_not_confuse_the_sender() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.connected("mss 1000,sackOK", win=60_000)
    socket.send(bytes(range(256)) * 40)
    chance = random.Random(4)
    for _ in range(3000):
        left = chance.randrange(-100_000, 100_000)
        script.receives(f". 1:1(0) ack 1 win 60000 <sack {left}:{left + chance.randrange(-50, 5000)}>")
    sender = socket.connection.sender
    board = sender.recovery.scoreboard
    assert all(sender.una <= left < right <= sender.nxt for left, right in zip(board.lefts, board.rights, strict=True))
    assert board.sacked == sum(board.rights) - sum(board.lefts) and 0 <= sender.pipe <= sender.nxt - sender.una
    script.out.clear()
    while board.lefts:  # it acknowledges up to a block, and not the block: it has lied (RFC 2018, section 8)
        left = board.lefts[0] - sender.initial
        script.receives(f". 1:1(0) ack {left} win 60000")
    assert script.layer.counters["TCPSACKReneging"] == 1
    seen = set()
    for _ in range(40):
        script.passes(1)
        seen |= {script._parse(packet).sequence for packet in script.out}
        script.out.clear()
    assert sender.una & 0xFFFF_FFFF in seen
