"""The rules of RFC 9293 and its companions, each a script of exact segments: what the text says must happen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.socket import Readiness

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import PLAIN, Script, plain

# --- opening: RFC 9293, section 3.5 ---


def test_passive_open_answers_with_the_options_that_were_offered() -> None:
    script = Script()
    listener = script.host.listen(80)
    script.receives("S 0:0(0) win 1000 <mss 1460,sackOK,TS val 7 ecr 0,wscale 3>")
    script.sends("S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,TS val 0 ecr 7,wscale 6>")
    script.receives(". 1:1(0) ack 1 win 1000 <TS val 8 ecr 0>")
    script.sends()
    assert listener.accept().state == "ESTABLISHED" and listener.accept() is None


def test_passive_open_uses_nothing_that_was_not_offered() -> None:
    script = Script()
    script.host.listen(80)
    script.receives("S 0:0(0) win 1000 <mss 1460>")
    script.sends("S. 0:0(0) ack 1 <mss 1460>")


def test_active_open() -> None:
    script = Script()
    socket = script.connecting()
    script.sends("S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 6>")
    assert socket.state == "SYN_SENT" and not socket.ready & Readiness.WRITABLE
    script.receives("S. 0:0(0) ack 1 win 1000 <mss 1000>")
    script.sends(". 1:1(0) ack 1 <>")
    assert socket.state == "ESTABLISHED" and socket.ready & Readiness.WRITABLE


def test_simultaneous_open_figure_8() -> None:
    script = plain()
    socket = script.connecting()
    script.sends("S 0:0(0)")
    script.receives("S 0:0(0) win 1000 <mss 1000>")
    script.sends("S. 0:0(0) ack 1")
    assert socket.state == "SYN_RECEIVED"
    script.receives("S. 0:0(0) ack 1 win 1000")
    assert socket.state == "ESTABLISHED"
    assert socket.send(b"x") == 1
    assert script.sends(*(["P. 1:2(1) ack 1"] if len(script.out) == 1 else [". 1:1(0) ack 1", "P. 1:2(1) ack 1"]))


def test_a_closed_port_answers_with_reset() -> None:
    script = plain()
    script.receives("S 5:5(0) win 1000")
    script.initial = 0
    script.sends("R. 0:0(0) ack 6")  # <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    script.receives(". 5:5(0) ack 77 win 1000")
    script.sends("R 77:77(0)")  # <SEQ=SEG.ACK><CTL=RST>
    script.receives("R 5:5(0) win 1000")
    script.sends()


def test_refused_and_reset_of_wrong_acknowledgments() -> None:
    script = plain()
    socket = script.connecting()
    script.sends("S 0:0(0)")
    script.receives("R. 0:0(0) ack 5 win 0")  # not ours: ignored
    assert socket.state == "SYN_SENT"
    script.receives(". 0:0(0) ack 5 win 0")  # an old half-open connection: figure 9
    script.sends("R 5:5(0)")
    script.receives("R. 0:0(0) ack 1 win 0")
    assert socket.state == "CLOSED" and socket.take_error() == Errno.ECONNREFUSED


def test_syn_is_repeated_with_back_off_and_given_up() -> None:
    script = plain(tcp_syn_retries=3)
    socket = script.connecting()
    script.sends("S 0:0(0)")
    for wait_s in (1, 2, 4):
        script.passes(wait_s - 0.01)
        script.sends()
        script.passes(0.01)
        script.sends("S 0:0(0)")
    script.passes(8)
    script.sends()
    assert socket.take_error() == Errno.ETIMEDOUT and not script.layer.table


def test_syn_ack_is_repeated_and_the_half_open_connection_forgotten() -> None:
    script = plain(tcp_synack_retries=2)
    script.host.listen(80)
    script.receives("S 0:0(0) win 1000")
    script.sends("S. 0:0(0) ack 1")
    script.receives("S 0:0(0) win 1000")  # the peer repeats itself
    script.sends("S. 0:0(0) ack 1")
    script.passes(1.1)
    script.sends("S. 0:0(0) ack 1")
    script.passes(2.1)
    script.sends("S. 0:0(0) ack 1")
    script.passes(8)
    script.sends()
    assert not script.layer.table


# --- data and acknowledgments: sections 3.4, 3.8; RFC 5681 section 4.2 ---


def test_data_are_acknowledged_every_second_segment_or_after_40_ms() -> None:
    script = plain()
    socket = script.accepted(tcp_quickack=False)
    script.layer.table[next(iter(script.layer.table))].receiver.quick_left = 0
    script.receives("P. 1:1001(1000) ack 1")
    script.sends()
    script.receives("P. 1001:2001(1000) ack 1")
    script.sends(". 1:1(0) ack 2001")
    script.receives("P. 2001:3001(1000) ack 1")
    script.passes(0.039)
    script.sends()
    script.passes(0.002)
    script.sends(". 1:1(0) ack 3001")
    assert socket.receive(5000) == bytes(index & 0xFF for index in range(1, 3001))


def test_out_of_order_data_are_acknowledged_at_once_with_sack() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.accepted("mss 1000,sackOK")
    script.receives("P. 1001:2001(1000) ack 1")
    script.sends(". 1:1(0) ack 1 <sack 1001:2001>")
    script.receives("P. 3001:4001(1000) ack 1")
    script.sends(". 1:1(0) ack 1 <sack 3001:4001 1001:2001>")  # RFC 2018: the newest first
    script.receives("P. 1:1001(1000) ack 1")
    script.sends(". 1:1(0) ack 2001 <sack 3001:4001>")
    script.receives("P. 1:1001(1000) ack 1")
    script.sends(". 1:1(0) ack 2001 <sack 1:1001 3001:4001>")  # RFC 2883: twice
    assert socket.receive(9999) == bytes(index & 0xFF for index in range(1, 2001))


def test_the_window_is_kept_and_what_is_beyond_is_cut_off() -> None:
    script = plain()
    socket = script.accepted(so_rcvbuf=4000)
    script.receives("P. 1:1501(1500) ack 1")
    script.sends(". 1:1(0) ack 1501 win 500")
    script.receives("P. 1501:2501(1000) ack 1")
    script.sends(". 1:1(0) ack 2001 win 0")
    script.receives("P. 2001:2002(1) ack 1")  # a probe
    script.sends(". 1:1(0) ack 2001 win 0")
    assert len(socket.receive(100)) == 100
    script.sends()  # RFC 9293, section 3.8.6.2.2: no small steps
    assert len(socket.receive(1900)) == 1900
    script.sends(". 1:1(0) ack 2001 win 2000")


def test_zero_window_probes_carry_one_octet_and_back_off() -> None:
    script = plain()
    socket = script.connected(win=0)
    socket.send(b"abcdef")
    script.sends()
    script.passes(0.3)
    script.sends("P. 1:2(1) ack 1")
    script.receives(". 1:1(0) ack 1 win 0")
    script.passes(0.3)
    script.sends()
    script.passes(0.2)
    script.sends("P. 1:2(1) ack 1")
    script.receives(". 1:1(0) ack 2 win 0")  # it took the octet, and closes again
    script.passes(0.21)
    script.sends("P. 2:3(1) ack 1")
    script.receives(". 1:1(0) ack 3 win 1000")
    script.sends("P. 3:7(4) ack 1")


def test_probing_goes_on_while_the_peer_answers() -> None:
    script = plain(tcp_retries2=3)
    socket = script.connected(win=0)
    socket.send(b"abc")
    for _ in range(40):
        before = script.time.now_ns
        while not script.out:
            script.passes(0.1)
        script.out.clear()
        script.receives(". 1:1(0) ack 1 win 0")
    assert socket.state == "ESTABLISHED"
    assert script.time.now_ns - before > 119e9  # the back-off has its limit (RFC 6298, section 2.5)
    script.passes(2000)
    assert socket.take_error() == Errno.ETIMEDOUT


def test_nagle_holds_a_second_small_segment_back() -> None:
    script = plain()
    socket = script.connected()
    socket.send(b"a")
    socket.send(b"b")
    socket.send(b"c")
    script.sends("P. 1:2(1) ack 1")
    script.receives(". 1:1(0) ack 2")
    script.sends("P. 2:4(2) ack 1")
    socket.set_option("tcp_nodelay", True)
    socket.send(b"d")
    script.sends("P. 4:5(1) ack 1")


def test_cork_holds_for_200_ms_and_until_it_is_pulled() -> None:
    script = plain()
    socket = script.connected(tcp_nodelay=True)
    socket.set_option("tcp_cork", True)
    socket.send(b"head")
    script.sends()
    script.passes(0.21)
    script.sends("P. 1:5(4) ack 1")
    socket.send(b"tail")
    script.sends()
    socket.set_option("tcp_cork", False)
    script.sends("P. 5:9(4) ack 1")
    socket.send(b"x", more=True)
    script.sends()
    socket.send(b"y")
    script.sends("P. 9:11(2) ack 1")


def test_the_senders_side_of_silly_windows() -> None:
    script = plain()
    socket = script.connected(win=2000)
    socket.send(bytes(5000))
    script.sends(". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1")
    script.receives(". 1:1(0) ack 2001 win 300")  # less than a segment and than half of the largest window
    script.sends()
    script.receives(". 1:1(0) ack 2001 win 999")
    script.sends()
    script.passes(0.5)
    script.sends(". 2001:3000(999) ack 1")  # the timer overrides


def test_large_segments_where_the_path_cuts_them() -> None:
    script = Script(largest=65_535, **PLAIN)
    socket = script.connected(win=65_535)
    socket.send(bytes(30_000))
    script.sends(". 1:10001(10000) ack 1")  # RFC 6928: ten segments
    script.receives(". 1:1(0) ack 10001")
    script.sends(". 10001:30001(20000) ack 1".replace(".", "P.", 1))


# --- retransmission and congestion: RFC 6298, 5681, 6582, 6675 ---


def test_retransmission_timer_backs_off_and_gives_up() -> None:
    script = plain(tcp_retries2=4)
    socket = script.connected(tcp_nodelay=True)
    socket.send(b"hello")
    script.sends("P. 1:6(5) ack 1")
    for wait_s in (0.2, 0.4, 0.8, 1.6):  # the handshake took no time: 200 ms is the least
        script.passes(wait_s + 0.001)
        script.sends(". 1:6(5) ack 1")
    script.passes(3.3)
    script.sends()
    assert socket.state == "CLOSED" and not script.layer.table
    with pytest.raises(KernelError) as caught:
        socket.receive(1)
    assert caught.value.errno == Errno.ETIMEDOUT
    assert socket.receive(1) == b""


def test_user_timeout() -> None:
    script = plain()
    socket = script.connected(tcp_user_timeout=1000)
    socket.send(b"hello")
    script.passes(0.9)
    assert socket.state == "ESTABLISHED"
    script.passes(1)
    assert socket.state == "CLOSED" and socket.take_error() == Errno.ETIMEDOUT


def test_fast_retransmit_and_recovery_without_sack() -> None:
    script = plain(tcp_congestion_control="reno")
    socket = script.connected(win=60_000)
    socket.send(bytes(20_000))
    script.sends(*(f". {n}001:{n + 1}001(1000) ack 1".replace(". 0001", ". 1") for n in range(10)))
    script.receives(". 1:1(0) ack 1 win 60000")
    script.receives(". 1:1(0) ack 1 win 60000")
    script.sends(". 10001:11001(1000) ack 1", ". 11001:12001(1000) ack 1")  # RFC 3042: limited transmit
    script.receives(". 1:1(0) ack 1 win 60000")
    script.sends(". 1:1001(1000) ack 1")  # the third: RFC 5681, section 3.2
    for _ in range(5):
        script.receives(". 1:1(0) ack 1 win 60000")
    sent = len(script.out)
    script.out.clear()
    assert sent <= 2
    script.receives(". 1:1(0) ack 5001 win 60000")  # a partial acknowledgment: RFC 6582
    assert script._show(script._parse(script.out[0]), "") == ". 5001:6001(1000) ack 1"
    script.out.clear()
    script.receives(". 1:1(0) ack 12001 win 60000")
    assert socket.get_option("tcp_info")["ca_state"] == 0
    assert socket.get_option("tcp_info")["snd_ssthresh"] == 5  # half of ten: limited transmit does not count


def test_sack_recovery_sends_only_what_is_missing() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.connected("mss 1000,sackOK", win=60_000)
    socket.send(bytes(10_000))
    script.out.clear()
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:2001>")
    script.receives(". 1:1(0) ack 1 win 60000 <sack 1001:2001 3001:4001>")
    script.sends()
    script.receives(". 1:1(0) ack 1 win 60000 <sack 5001:6001 3001:4001 1001:2001>")
    # Three segments reported: no more patience, and all that was sent before the last of them is lost (RFC 8985).
    script.sends(". 1:1001(1000) ack 1", ". 2001:3001(1000) ack 1", ". 4001:5001(1000) ack 1")
    script.receives(". 1:1(0) ack 1 win 60000 <sack 5001:8001 3001:4001 1001:2001>")
    script.sends()
    script.receives(". 1:1(0) ack 8001 win 60000")
    script.sends()
    script.receives(". 1:1(0) ack 10001 win 60000")
    assert socket.get_option("tcp_info")["total_retrans"] == 3


def test_a_timeout_starts_over_with_one_segment() -> None:
    script = plain()
    socket = script.connected(win=60_000)
    socket.send(bytes(4000))
    script.out.clear()
    script.passes(0.25)
    script.sends(". 1:1001(1000) ack 1")
    assert socket.get_option("tcp_info")["snd_cwnd"] == 1
    script.receives(". 1:1(0) ack 1001 win 60000")
    script.sends(". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1")  # slow start
    script.receives(". 1:1(0) ack 4001 win 60000")
    script.sends()


def test_karn_no_sample_from_what_was_sent_twice() -> None:
    script = plain()
    socket = script.connected()
    before = socket.get_option("tcp_info")["rtt_us"]
    socket.send(b"x")
    script.passes(0.25)
    script.receives(". 1:1(0) ack 2")
    assert socket.get_option("tcp_info")["rtt_us"] == before
    script.passes(3)
    socket.send(b"y")
    script.passes(0.1)
    script.receives(". 1:1(0) ack 3")
    assert socket.get_option("tcp_info")["rtt_us"] > before


def test_a_spurious_timeout_is_undone() -> None:
    script = Script()
    socket = script.connected("mss 1000,TS val 1 ecr 0", win=60_000)
    socket.send(bytes(4000))
    script.out.clear()
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.passes(0.25)
    (again,) = script.sends(". 1:989(988) ack 1")
    assert again.stamp is not None
    script.receives(". 1:1(0) ack 4001 win 60000 <TS val 250 ecr 0>")  # RFC 3522: it answers the first copy
    assert socket.get_option("tcp_info")["snd_cwnd"] >= window
