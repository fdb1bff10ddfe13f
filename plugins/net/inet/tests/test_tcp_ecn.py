"""ECN (RFC 3168) as scripts of exact segments. The host's kernel is the peer in tests/network/test_tcp_host.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import Script

ECN, SYNS = 8, {"tcp_timestamps": 0, "tcp_window_scaling": 0}


def agreed(win: int = 60_000) -> tuple[Script, Any]:
    """A connection on which we asked for ECN."""
    script = Script(tcp_ecn=1, **SYNS)
    socket = script.connecting()
    script.sends("SEW 0:0(0)")
    script.receives(f"S.E 0:0(0) ack 1 win {win} <mss 1000,sackOK>")
    script.sends(". 1:1(0) ack 1")
    assert socket.get_option("tcp_info")["options"] & ECN
    script.host.classes.clear()
    return script, socket


# --- the handshake: section 6.1.1 ---


@pytest.mark.parametrize(("setting", "answer"), [(0, "S."), (1, "S.E"), (2, "S.E")])
def test_who_agrees(setting: int, answer: str) -> None:
    script = Script(tcp_ecn=setting, **SYNS)
    listener = script.host.listen(80)
    script.receives("SEW 0:0(0) win 1000 <mss 1000>")
    script.sends(f"{answer} 0:0(0) ack 1")
    script.passes(1.1)
    script.sends(f"{answer} 0:0(0) ack 1")
    script.receives(". 1:1(0) ack 1 win 1000")
    assert bool(listener.accept().get_option("tcp_info")["options"] & ECN) == (setting > 0)


@pytest.mark.parametrize("flags", ["S", "SE", "SW"])
def test_nobody_agrees_to_what_was_not_asked(flags: str) -> None:
    script = Script(tcp_ecn=1, **SYNS)
    script.host.listen(80)
    script.receives(f"{flags} 0:0(0) win 1000 <mss 1000>")
    script.sends("S. 0:0(0) ack 1")


@pytest.mark.parametrize("setting", [0, 2])
def test_who_does_not_ask(setting: int) -> None:
    script = Script(tcp_ecn=setting, **SYNS)
    script.connecting()
    script.sends("S 0:0(0)")


@pytest.mark.parametrize("answer", ["S.", "S.EW", "S.W"])
def test_an_answer_that_does_not_agree(answer: str) -> None:
    """ECE and CWR together come from who only mirrors what he does not know (section 6.1.1)."""
    script = Script(tcp_ecn=1, **SYNS)
    socket = script.connecting()
    script.sends("SEW 0:0(0)")
    script.receives(f"{answer} 0:0(0) ack 1 win 1000 <mss 1000>")
    assert not socket.get_option("tcp_info")["options"] & ECN
    socket.send(b"x")
    assert script.host.classes[-1] == 0


@pytest.mark.parametrize(("fallback", "again"), [(1, "S"), (0, "SEW")])
def test_a_syn_that_gets_lost_is_repeated_without(fallback: int, again: str) -> None:
    script = Script(tcp_ecn=1, tcp_ecn_fallback=fallback, **SYNS)
    script.connecting()
    script.sends("SEW 0:0(0)")
    script.passes(1.1)
    script.sends(f"{again} 0:0(0)")


# --- marks and what follows: section 6.1.2, 6.1.3 ---


def test_only_new_data_are_marked_as_capable() -> None:
    script, socket = agreed()
    socket.set_option("ip_tos", 0xB9)
    assert socket.get_option("ip_tos") == 0xB8, "as on Linux: the two bits are TCP's own"
    socket.send(bytes(1500))
    assert list(script.host.classes) == [0xBA, 0xBA]
    script.receives("P. 1:1001(1000) ack 1 win 60000")
    script.receives("P. 1001:2001(1000) ack 1 win 60000")
    assert script.host.classes[-1] == 0xB8
    script.host.classes.clear()
    script.passes(0.25)
    assert set(script.host.classes) == {0xB8}, "what is sent again is not"


def test_a_mark_is_echoed_until_the_peer_has_heard() -> None:
    script, socket = agreed()
    script.receives("P. 1:11(10) ack 1", congested=True)
    script.sends(".E 1:1(0) ack 11")
    script.receives("P. 11:21(10) ack 1")
    socket.send(b"x")
    script.sends(*([".E 1:1(0) ack 21"] if len(script.out) > 1 else []), "P.E 1:2(1) ack 21")
    script.receives("P.W 21:31(10) ack 2")
    socket.send(b"y")
    lines = [script._show(script._parse(packet), "") for packet in script.out]
    assert lines[-1] == "P. 2:3(1) ack 31" and not any("E" in line for line in lines)
    script.out.clear()
    script.receives("P.W 31:41(10) ack 3", congested=True)
    script.sends(".E 1:1(0) ack 41".replace("1:1(0)", "3:3(0)"))


def test_an_echo_reduces_the_window_once_a_round_trip_and_is_answered() -> None:
    script, socket = agreed()
    sender = socket.connection.sender
    socket.send(bytes(20_000))
    script.out.clear()
    window = sender.congestion.window
    script.receives(".E 1:1(0) ack 1001 win 60000")
    reduced = sender.congestion.window
    assert reduced < window and socket.get_option("tcp_info")["ca_state"] == 2
    for place in range(2, 9):
        script.receives(f".E 1:1(0) ack {place}001 win 60000")
    assert sender.congestion.window == reduced
    flags = [script._parse(packet).flags & 0x80 for packet in script.out]
    script.out.clear()
    assert flags[0] and not any(flags[1:]), "the first new segment has CWR"
    while sender.una < sender.nxt:
        script.receives(f". 1:1(0) ack {sender.nxt - sender.initial} win 60000")
    assert not script.layer.counters["RetransSegs"] and socket.get_option("tcp_info")["ca_state"] == 0
    socket.send(bytes(10_000))
    script.receives(f".E 1:1(0) ack {sender.una + 1000 - sender.initial} win 60000")
    assert sender.congestion.window < reduced


def test_a_loss_is_told_too() -> None:
    script, socket = agreed()
    socket.send(bytes(10_000))
    script.out.clear()
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:4001>")
    script.sends(". 1:1001(1000) ack 1")
    script.receives(". 1:1(0) ack 10001 win 60000")
    socket.send(bytes(1500))
    script.sends(".W 10001:11001(1000) ack 1", "P. 11001:11501(500) ack 1")


def test_cwr_is_in_no_segment_that_is_cut() -> None:
    script = Script(tcp_ecn=1, largest=65_535, **SYNS)
    socket = script.connecting()
    script.sends("SEW 0:0(0)")
    script.receives("S.E 0:0(0) ack 1 win 60000 <mss 1000,sackOK>")
    socket.send(bytes(10_000))
    script.out.clear()
    script.receives(".E 1:1(0) ack 10001 win 60000")
    socket.send(bytes(5000))
    script.sends(".W 10001:11001(1000) ack 1", "P. 11001:15001(4000) ack 1")


def test_marks_mean_nothing_where_nobody_agreed() -> None:
    script = Script(**SYNS)
    socket = script.connected("mss 1000,sackOK", win=60_000)
    socket.send(bytes(10_000))
    script.out.clear()
    window = socket.connection.sender.congestion.window
    script.receives("P.E 1:11(10) ack 1001 win 60000", congested=True)
    assert socket.connection.sender.congestion.window >= window
    assert not any(script._parse(packet).flags & 0xC0 for packet in script.out)
