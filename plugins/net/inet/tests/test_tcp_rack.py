"""Loss by time and probes of the tail (RFC 8985), as scripts of exact segments; the records against a model."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jefeos.net.wires.lan import Faults
from jefeos_net_inet.tcp.flight import Flight
from jefeos_net_inet.tcp.scoreboard import Scoreboard

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import Script
from tcp_world import SECOND_NS, Transfer, World

ROUND_TRIP_S = 0.01


def away(octets: int = 0, **settings: int) -> tuple[Script, Any]:
    """A connection with a round trip of 10 ms, and so many octets under way."""
    script = Script(tcp_timestamps=0, **settings)
    socket = script.connecting()
    script._learn()
    script.passes(ROUND_TRIP_S)
    script.receives("S. 0:0(0) ack 1 win 60000 <mss 1000,sackOK>")
    if octets:
        socket.send(bytes(octets))
    script.out.clear()
    return script, socket


def count(script: Script, name: str) -> int:
    return script.layer.counters[name]


# --- RACK: section 6 ---


def test_a_repetition_that_is_lost_is_noticed_without_a_timeout() -> None:
    script, socket = away(10_000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
    script.sends(". 1:1001(1000) ack 1")
    for place in range(4, 10):
        script.receives(f". 1:1(0) ack 1 win 60000 <sack 1001:{place}001>")
    socket.send(bytes(3000))
    script.sends(". 10001:11001(1000) ack 1", ". 11001:12001(1000) ack 1", "P. 12001:13001(1000) ack 1")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:11001>")  # sent after the repetition: that must be lost
    script.sends(". 1:1001(1000) ack 1")
    assert count(script, "TCPLostRetransmit") == 1 and not count(script, "TCPTimeouts")
    script.receives(". 1:1(0) ack 13001 win 60000")
    assert socket.get_option("tcp_info")["ca_state"] == 0


def test_patience_is_a_quarter_of_the_round_trip_when_little_was_reported() -> None:
    script, _ = away(3000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:3001>")  # two segments: it may be reordering
    script.sends()
    script.passes(ROUND_TRIP_S / 4 - 0.0001)
    script.sends()
    script.passes(0.0002)
    script.sends(". 1:1001(1000) ack 1")


def test_reordering_that_was_seen_needs_more_than_three_segments() -> None:
    script, _ = away(4000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
    script.receives(". 1:1(0) ack 2001 win 60000")  # the first was only late
    script.receives(". 1:1(0) ack 4001 win 60000")
    script.layer.table[next(iter(script.layer.table))].socket.send(bytes(9000))
    script.out.clear()
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 4001 win 60000 <sack 5001:10001>")
    script.sends()
    script.receives(". 1:1(0) ack 10001 win 60000")  # late again, and nothing was sent twice
    assert not count(script, "RetransSegs") and not count(script, "TCPSackRecovery")


@pytest.mark.parametrize(("mask", "patience_s"), [(1, 0.005), (1 | 2, 0.0025)])
def test_duplicates_make_it_more_patient(mask: int, patience_s: float) -> None:
    """Step 4: a duplicate report (RFC 2883) says that something was sent again needlessly."""
    script, socket = away(3000, tcp_recovery=mask)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
    script.passes(ROUND_TRIP_S / 4 + 0.0001)
    script.sends(". 1:1001(1000) ack 1")
    script.receives(". 1:1(0) ack 3001 win 60000")
    script.receives(". 1:1(0) ack 3001 win 60000 <sack 1:1001>")  # both copies arrived
    socket.send(bytes(2000))
    script.sends(". 3001:4001(1000) ack 1", "P. 4001:5001(1000) ack 1")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 3001 win 60000 <sack 4001:5001>")
    script.passes(patience_s - 0.0002)
    script.sends()
    script.passes(0.0004)
    script.sends(". 3001:4001(1000) ack 1")


def test_what_the_peer_takes_back_is_sent_again() -> None:
    script, _ = away(5000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
    script.sends(". 1:1001(1000) ack 1")
    script.receives(". 1:1(0) ack 1001 win 60000")  # up to a block that is gone (RFC 2018, section 8)
    assert count(script, "TCPSACKReneging") == 1
    seen: set[int] = set()
    for _ in range(60):
        script.passes(0.05)
        for packet in script.out:
            seen.add(script._parse(packet).sequence - (script.initial or 0) & 0xFFFF_FFFF)
        script.out.clear()
        done = max([1001, *(start + 1000 for start in seen if start + 1000 <= 4001 and start > 1)])
        script.receives(f". 1:1(0) ack {done} win 60000")
    assert {1001, 2001, 3001} <= seen


def away_with_stamps() -> tuple[Script, Any]:
    """A round trip after ten segments of 988 octets with timestamps were sent."""
    script = Script()
    socket = script.connecting()
    script._learn()
    script.passes(ROUND_TRIP_S)
    script.receives("S. 0:0(0) ack 1 win 60000 <mss 1000,sackOK,TS val 1 ecr 0>")
    socket.send(bytes(9880))
    script.out.clear()
    script.passes(ROUND_TRIP_S)
    return script, socket


def test_a_recovery_that_only_reordering_began_is_undone() -> None:
    """RFC 3522: what is acknowledged answers the first copy."""
    script, socket = away_with_stamps()
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.receives(". 1:1(0) ack 1 win 60000 <TS val 2 ecr 10,sack 989:3953>")
    (again,) = script.sends(". 1:989(988) ack 1")
    assert socket.get_option("tcp_info")["snd_cwnd"] < window and again.stamp is not None
    script.passes(0.002)
    script.receives(". 1:1(0) ack 3953 win 60000 <TS val 3 ecr 10>")
    assert count(script, "TCPFullUndo") == 1
    information = socket.get_option("tcp_info")
    assert information["snd_cwnd"] >= window and information["ca_state"] == 0
    # From now on it is known that this way reorders, and three segments are no reason to hurry.
    script.receives(". 1:1(0) ack 3953 win 60000 <TS val 4 ecr 10,sack 4941:9881>")
    script.sends()


def test_a_recovery_from_a_loss_is_not_undone() -> None:
    script, socket = away_with_stamps()
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.receives(". 1:1(0) ack 1 win 60000 <TS val 2 ecr 10,sack 989:9881>")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 9881 win 60000 <TS val 3 ecr 20>")
    assert not count(script, "TCPFullUndo") and socket.get_option("tcp_info")["snd_cwnd"] < window


# --- tail loss probes: section 7 ---


def test_the_last_segment_is_sent_again_after_two_round_trips() -> None:
    script, socket = away(5000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 3001 win 60000")
    script.passes(2 * ROUND_TRIP_S + 0.0019)
    script.sends()
    script.passes(0.0002)
    script.sends(". 4001:5001(1000) ack 1")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 3001 win 60000 <sack 4001:5001>")
    script.sends(". 3001:4001(1000) ack 1")  # the probe's answer is evidence for RACK
    script.receives(". 1:1(0) ack 5001 win 60000")
    assert count(script, "TCPLossProbes") == 1 and not count(script, "TCPTimeouts")
    assert socket.get_option("tcp_info")["ca_state"] == 0


def test_a_probe_that_repairs_the_only_loss_slows_down_all_the_same() -> None:
    script, socket = away(5000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 4001 win 60000")
    socket.send(bytes(1000))
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.out.clear()
    script.passes(0.05)
    assert script._show(script._parse(script.out[0]), "") == ". 5001:6001(1000) ack 1"
    script.receives(". 1:1(0) ack 6001 win 60000")
    socket.send(b"next")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 6005 win 60000")
    assert count(script, "TCPLossProbeRecovery") == 1
    assert socket.get_option("tcp_info")["snd_cwnd"] < window


def test_a_needless_probe_costs_nothing() -> None:
    script, socket = away(5000)
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 3001 win 60000")
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.passes(0.03)
    script.sends(". 4001:5001(1000) ack 1")
    script.receives(". 1:1(0) ack 5001 win 60000")  # late
    script.receives(". 1:1(0) ack 5001 win 60000 <sack 4001:5001>")
    socket.send(b"next")
    script.passes(ROUND_TRIP_S)
    script.receives(". 1:1(0) ack 5005 win 60000")
    assert socket.get_option("tcp_info")["snd_cwnd"] >= window and not count(script, "TCPLossProbeRecovery")


def test_a_probe_is_new_data_where_there_are_some() -> None:
    script, socket = away()
    socket.send(bytes(30_000))  # the congestion window takes ten
    script.out.clear()
    script.passes(0.03)
    script.sends(". 10001:11001(1000) ack 1")


def test_probes_repeat_before_the_timeout_and_do_not_delay_it() -> None:
    script, _ = away(5000)
    times, began_ns = [], script.time.now_ns
    while not count(script, "TCPTimeouts"):
        script.passes(0.001)
        if script.out:
            times.append(round((script.time.now_ns - began_ns) / 1e6))
            script.out.clear()
    assert times == [22, 66, 154, 210]
    assert count(script, "TCPLossProbes") == 3


def test_no_probes_if_the_setting_says_so() -> None:
    script, _ = away(5000, tcp_early_retrans=0)
    script.passes(0.2)
    script.sends()


# --- on bad wires, in virtual time ---


@pytest.mark.parametrize(("loss", "most_s"), [(0.05, 0.6), (0.2, 10)])
def test_heavy_loss_on_a_near_way_is_bearable(loss: float, most_s: float) -> None:
    """3 MB with a round trip of half a millisecond. When only the retransmission timer noticed lost repetitions and
    lost tails this took 1.1 and 17 s; now some 0.25 and 5 s."""
    world = World(5, Faults(loss=loss, delay_ns=250_000))
    listener = world.hosts[1].listen()
    taken: list[Transfer] = []
    listener.changed = lambda: taken.append(Transfer(listener.accept(), b""))
    began_ns = world.time.now_ns
    data = random.Random(6).randbytes(3_000_000)
    client = Transfer(world.hosts[0].connect(world.hosts[1]), data)
    assert world.run_until(lambda: bool(taken) and taken[0].done and client.done, seconds=1000)
    assert taken[0].received == data
    assert (world.time.now_ns - began_ns) / SECOND_NS < most_s


def test_reordering_alone_makes_nothing_go_twice_for_long() -> None:
    world = World(3, Faults(reordering=0.1, delay_ns=5_000_000))
    listener = world.hosts[1].listen()
    taken: list[Transfer] = []
    listener.changed = lambda: taken.append(Transfer(listener.accept(), b""))
    data = random.Random(6).randbytes(3_000_000)
    client = Transfer(world.hosts[0].connect(world.hosts[1]), data)
    assert world.run_until(lambda: bool(taken) and taken[0].done and client.done, seconds=1000)
    assert taken[0].received == data
    assert world.hosts[0].layer.counters["RetransSegs"] < 40  # of 2,072, with some 200 late ones


# --- the records ---


class Model:
    """Each octet by itself: when it was sent, whether it is lost; absent once it has arrived."""

    def __init__(self) -> None:
        self.octets: dict[int, list[Any]] = {}

    def shown(self) -> list[tuple[int, int, bool]]:
        return [(place, *state) for place, state in sorted(self.octets.items())]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("snnalreftg"), st.integers(0, 60), st.integers(1, 25)), max_size=60))
def test_the_records_say_what_each_octet_would(steps: list[tuple[str, int, int]]) -> None:
    flight, model = Flight(), Model()
    una = nxt = now = 0
    for what, place, length in steps:
        now += 10
        start = una + place
        end = min(start + length, nxt)
        if what == "n":
            flight.sent(nxt, nxt + length, now)
            model.octets |= {octet: [now, False] for octet in range(nxt, nxt + length)}
            nxt += length
        elif what == "a":
            una = min(una + place, nxt)
            gone = flight.acknowledged(una)
            assert all(record.end <= una for record in gone)
            model.octets = {octet: state for octet, state in model.octets.items() if octet >= una}
        elif what in "sg" and start < end:
            gone = flight.selected(start, end, 1)
            assert sum(record.end - record.start for record in gone) == len(
                [octet for octet in range(start, end) if model.octets.pop(octet, None)]
            )
        elif what == "l":
            record = next((one for one in flight if one.end > start), None)
            if record is not None:
                flight.lose(record)
                for octet in range(record.start, record.end):
                    model.octets[octet][1] = True
        elif what == "e":
            flight.lose_all()
            for state in model.octets.values():
                state[1] = True
        elif what == "f":
            flight.find_all()
            for state in model.octets.values():
                state[1] = False
        elif what == "t":
            flight.taken_back(una, nxt)
            for octet in range(una, nxt):
                model.octets.setdefault(octet, [0, True])
        elif what == "r":
            hole = flight.first_lost()
            lost = [octet for octet, state in sorted(model.octets.items()) if state[1]]
            assert (hole is None) == (not lost)
            if hole is not None:
                assert hole.start == lost[0]
                stop = min(hole.start + length, hole.end)
                flight.sent_again(hole.start, stop, now)
                for octet in range(lost[0], stop):
                    model.octets[octet] = [now, False]
        shown = [(octet, one.sent_ns, one.lost) for one in flight for octet in range(one.start, one.end)]
        assert shown == model.shown()
        assert flight.lost == sum(state[1] for state in model.octets.values())
        if flight.by_time is not None:
            times = [one.sent_ns for one in flight.by_time]
            assert times == sorted(times)
            assert set(flight.by_time) == {one for one in flight if not one.lost}


def test_crumbs_cut_nothing() -> None:
    """A hostile peer reports every other octet of large segments."""
    flight = Flight()
    for number in range(10):
        flight.sent(number * 64_000, (number + 1) * 64_000, number + 1)
    for octet in range(1, 640_000, 200):
        assert not flight.selected(octet, octet + 100, 1000)
    assert len(list(flight)) == 10
    (gone,) = flight.selected(1500, 4500, 1000)
    assert (gone.start, gone.end) == (2000, 4000)
    assert [(one.start, one.end) for one in flight][:2] == [(0, 2000), (4000, 64_000)]
    assert sum(one.end - one.start for one in flight.selected(63_500, 130_000, 1000)) == 66_000


@given(st.lists(st.tuples(st.integers(1, 80), st.integers(1, 20)), max_size=40))
def test_the_scoreboard_tells_what_is_news(blocks: list[tuple[int, int]]) -> None:
    board, known = Scoreboard(), set()  # type: ignore[var-annotated]
    for left, length in blocks:
        news = {octet for start, end in board.add(left, left + length) for octet in range(start, end)}
        assert news == set(range(left, left + length)) - known
        known |= news
        assert board.sacked == len(known)
