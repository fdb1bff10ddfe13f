"""More rules as scripts of exact segments: RFC 7323, RFC 5961, endings, urgent data, paths, names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.socket import Readiness

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import OURS, PEER, Script, plain

# --- RFC 7323 ---


def test_windows_are_scaled_but_not_in_syns() -> None:
    script = Script(tcp_timestamps=0)
    socket = script.connected("mss 1000,wscale 7", win=100)
    assert socket.get_option("tcp_info")["snd_wnd"] == 100
    script.receives(". 1:1(0) ack 1 win 100")
    assert socket.get_option("tcp_info")["snd_wnd"] == 12_800


def test_a_scaled_window_is_kept_to_the_octet_that_its_rounding_promised() -> None:
    script = Script(tcp_timestamps=0, tcp_sack=0)
    socket = script.accepted("mss 1000,wscale 0")
    unit = 1 << socket.get_option("tcp_info")["rcv_wscale"]
    script.receives("P. 1:2(1) ack 1")
    (answer,) = script.sends(". 1:1(0) ack 2")
    end = 2 + answer.window * unit
    assert unit > 2 and end == 65_538  # SYN and ACK allowed octets before 65,536, and 65,534 more are rounded up
    script.receives("P. 2:40002(40000) ack 1")
    script.receives(f"P. 40002:{end + 100}({end + 100 - 40002}) ack 1")
    script.sends(". 1:1(0) ack 40002", f". 1:1(0) ack {end} win 0")
    script.receives(f"P. {end}:{end + 1}(1) ack 1")
    script.sends(f". 1:1(0) ack {end} win 0")  # rounding does not let it grow octet by octet
    assert socket.get_option("tcp_info")["rcv_wnd"] == 0
    assert len(socket.receive(100_000)) == end - 1


def test_a_fin_right_behind_a_full_window() -> None:
    script = Script(tcp_timestamps=0, tcp_sack=0, tcp_window_scaling=0)
    socket = script.accepted(so_rcvbuf=4000)
    script.receives("FP. 1:2001(2000) ack 1")
    script.sends(". 1:1(0) ack 2002 win 0")
    assert len(socket.receive(5000)) == 2000
    assert socket.receive(1) == b""


def test_paws_drops_old_segments_and_acknowledges() -> None:
    script = Script()
    socket = script.accepted("mss 1000,TS val 1 ecr 0")
    script.receives("P. 1:11(10) ack 1 <TS val 500 ecr 0>")
    script.sends(". 1:1(0) ack 11 <TS val 0 ecr 500>")
    script.receives("P. 11:21(10) ack 1 <TS val 499 ecr 0>")
    script.sends(". 1:1(0) ack 11 <TS val 0 ecr 500>")
    assert script.layer.counters["PAWSEstab"] == 1
    assert len(socket.receive(100)) == 10


def test_an_acknowledgment_that_was_overtaken_is_passed_over_in_silence() -> None:
    """As Linux does it (PAWSOldAck): on a way that reorders there would be a challenge for each."""
    script = Script()
    socket = script.accepted("mss 1000,TS val 1 ecr 0")
    socket.send(b"ab")
    script.out.clear()
    script.receives(". 1:1(0) ack 3 <TS val 500 ecr 0>")
    script.receives(". 1:1(0) ack 2 <TS val 499 ecr 0>")
    script.sends()
    assert script.layer.counters["PAWSOldAck"] == 1 and not script.layer.counters["PAWSEstab"]
    assert not socket.unsent_bytes


def test_segments_without_timestamps_are_dropped_once_agreed() -> None:
    script = Script()
    socket = script.accepted("mss 1000,TS val 1 ecr 0")
    script.receives("P. 1:11(10) ack 1")
    script.sends()
    assert socket.receive(10) is None
    script.receives("R. 1:1(0) ack 1")  # section 3.2: but a RST counts
    assert socket.state == "CLOSED"


# --- RFC 5961 ---


def test_reset_only_at_the_exact_number() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("R 500:500(0)")
    script.sends(". 1:1(0) ack 1")  # challenge
    script.receives("R 70000:70000(0)")
    script.sends()
    assert socket.state == "ESTABLISHED"
    script.receives("R 1:1(0)")
    assert socket.state == "CLOSED"
    with pytest.raises(KernelError) as caught:
        socket.receive(1)
    assert caught.value.errno == Errno.ECONNRESET


def test_a_syn_within_a_connection_is_challenged() -> None:
    script = plain()
    socket = script.accepted()
    for number in (0, 1, 500, 100_000):
        script.receives(f"S {number}:{number}(0) win 1000")
        script.sends(". 1:1(0) ack 1")
    assert socket.state == "ESTABLISHED"


def test_acknowledgments_of_what_was_never_sent_are_challenged() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("P. 1:11(10) ack 2")
    script.sends(". 1:1(0) ack 1")
    script.receives("P. 1:11(10) ack -70000")  # older than any window (section 5)
    script.sends(". 1:1(0) ack 1")
    assert socket.receive(10) is None


def test_challenges_are_limited() -> None:
    script = plain()
    script.accepted()
    for _ in range(1000):
        script.receives("R 500:500(0)")
    assert len(script.out) == 10
    script.out.clear()
    script.passes(5.1)
    script.receives("R 500:500(0)")
    script.sends(". 1:1(0) ack 1")


# --- ending: sections 3.6, 3.10.4 ---


def test_normal_close_figure_12_and_time_wait() -> None:
    script = plain()
    socket = script.connected()
    socket.shut_down(False, True)
    script.sends("F. 1:1(0) ack 1")
    assert socket.state == "FIN_WAIT_1"
    script.receives(". 1:1(0) ack 2")
    assert socket.state == "FIN_WAIT_2"
    script.receives("F. 1:1(0) ack 2")
    script.sends(". 2:2(0) ack 2")
    socket.close()
    (record,) = script.layer.infos()
    assert record.state == "TIME_WAIT" and record.timer == "timewait"
    script.receives("F. 1:1(0) ack 2")  # our ACK was lost
    script.sends(". 2:2(0) ack 2")
    script.passes(61)
    assert not script.layer.table


def test_passive_close_and_half_close() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("FP. 1:6(5) ack 1")
    script.sends(". 1:1(0) ack 7")
    assert socket.state == "CLOSE_WAIT" and socket.ready & Readiness.PEER_CLOSED
    assert socket.receive(10) == bytes(range(1, 6)) and socket.receive(10) == b""
    assert socket.send(b"still") == 5
    script.sends("P. 1:6(5) ack 7")
    socket.close()
    script.sends("F. 6:6(0) ack 7")
    script.receives(". 7:7(0) ack 7")
    assert not script.layer.table and not len(script.layer.timers)


def test_simultaneous_close_figure_13() -> None:
    script = plain()
    socket = script.connected()
    socket.shut_down(False, True)
    script.sends("F. 1:1(0) ack 1")
    script.receives("F. 1:1(0) ack 1")
    script.sends(". 2:2(0) ack 2")
    assert socket.state == "CLOSING"
    script.receives(". 2:2(0) ack 2")
    assert next(iter(script.layer.infos())).state == "TIME_WAIT"


def test_close_with_unread_data_resets() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("P. 1:6(5) ack 1")
    script.out.clear()
    socket.close()
    script.sends("R. 1:1(0) ack 6")
    assert not script.layer.table


def test_data_after_close_are_answered_with_reset() -> None:
    script = plain()
    socket = script.accepted()
    socket.close()
    script.sends("F. 1:1(0) ack 1")
    script.receives("P. 1:6(5) ack 2")
    script.sends("R. 2:2(0) ack 1")
    assert not script.layer.table


def test_linger_zero_and_abort_reset() -> None:
    for ending in ("linger", "abort"):
        script = plain()
        socket = script.connected()
        if ending == "linger":
            socket.set_option("so_linger", 0)
            socket.close()
        else:
            socket.abort()
        script.sends("R. 1:1(0) ack 1")
        assert not script.layer.table and not len(script.layer.timers)


def test_an_orphan_waits_for_the_peers_fin_a_minute() -> None:
    script = plain()
    script.connected().close()
    script.receives(". 1:1(0) ack 2")
    script.passes(59)
    assert next(iter(script.layer.infos())).state == "FIN_WAIT_2"
    script.passes(62)
    assert not script.layer.table and not script.layer.orphans


def test_an_orphan_cannot_be_kept_by_a_closed_window() -> None:
    script = plain()
    socket = script.connected(win=0)
    socket.send(b"abc")
    socket.close()
    waited = 0
    while script.layer.table:
        script.passes(1)
        waited += 1
        assert waited < 1000
        if script.out:
            script.out.clear()
            script.receives(". 1:1(0) ack 1 win 0")
    assert waited > 100 and not script.layer.orphans


def test_time_wait_is_cut_short_by_a_newer_syn() -> None:
    script = plain()
    listener = script.host.listen(80)
    script.receives("S 0:0(0) win 1000")
    script._learn()
    script.receives(". 1:1(0) ack 1")
    listener.accept().close()
    script.receives("F. 1:1(0) ack 2")
    script.out.clear()
    assert next(iter(script.layer.table.values())).state.name == "TIME_WAIT"
    script.receives("S 1:1(0) win 1000")  # not beyond the old numbers
    script.sends(". 2:2(0) ack 2")
    script.receives("S 100:100(0) win 1000")
    old = script.initial
    script.sends("S. 0:0(0) ack 101")
    assert old is not None and 0 < (script.initial or 0) - old & 0xFFFF_FFFF < 0x8000_0000


def test_keepalive_probes_and_gives_up() -> None:
    script = plain()
    socket = script.connected(so_keepalive=True, tcp_keepidle=10, tcp_keepintvl=2, tcp_keepcnt=3)
    script.passes(9.9)
    script.sends()
    script.passes(0.2)
    script.sends(". 0:0(0) ack 1")
    script.receives(". 1:1(0) ack 1")
    script.passes(9)
    script.sends()
    script.passes(6.5)
    script.sends(". 0:0(0) ack 1", ". 0:0(0) ack 1", ". 0:0(0) ack 1")
    script.passes(2)
    script.sends("R. 1:1(0) ack 1")
    assert socket.take_error() == Errno.ETIMEDOUT and not script.layer.table


def test_keepalive_of_the_peer_is_answered() -> None:
    script = plain()
    script.accepted()
    script.receives(". 0:0(0) ack 1")
    script.sends(". 1:1(0) ack 1")


# --- urgent data: RFC 6093 ---


def test_urgent_octet_leaves_the_stream() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("PU. 1:6(5) ack 1 urg 3")
    assert socket.ready & Readiness.URGENT
    assert socket.receive(10) == bytes((1, 2)) and socket.get_option("siocatmark")
    assert socket.receive(1, urgent=True) == bytes((3,))
    assert socket.receive(10) == bytes((4, 5))
    with pytest.raises(KernelError):
        socket.receive(1, urgent=True)


def test_urgent_octet_in_line() -> None:
    script = plain()
    socket = script.accepted(so_oobinline=True)
    script.receives("PU. 1:6(5) ack 1 urg 3")
    assert socket.receive(10) == bytes((1, 2)) and socket.get_option("siocatmark")
    assert socket.receive(10) == bytes((3, 4, 5))


def test_urgent_data_are_sent_with_the_pointer_behind_them() -> None:
    script = plain()
    socket = script.connected()
    socket.send(b"abc", urgent=True)
    script.sends("P.U 1:4(3) ack 1 urg 3")


# --- paths: RFC 1191, 5927; errors from ICMP ---


def test_path_mtu_discovery_sends_smaller_segments_without_slowing_down() -> None:
    script = plain()
    socket = script.connected("mss 1460", win=60_000)
    socket.send(bytes(1460))
    script.sends("P. 1:1461(1460) ack 1")
    window = socket.get_option("tcp_info")["snd_cwnd"]
    script.host.mtu = 1000
    first = (script.initial or 0) + 1
    local = socket.local.port
    script.layer.icmp_error(OURS, PEER, local, 80, first + 99_999, Errno.EMSGSIZE, False, script.time.now_ns, 1000)
    script.sends()  # a quote of what was never sent
    script.layer.icmp_error(OURS, PEER, local, 80, first, Errno.EMSGSIZE, False, script.time.now_ns, 1000)
    script.sends(". 1:961(960) ack 1")
    assert socket.get_option("tcp_info")["snd_cwnd"] >= window
    assert socket.get_option("tcp_maxseg") == 960


def test_a_path_that_narrowed_unheard_is_looked_at_after_a_timeout() -> None:
    script = plain()
    socket = script.connected("mss 1460", win=60_000)
    script.host.mtu = 1000
    socket.send(bytes(1460))
    script.sends()
    assert script.host.too_long == 1
    script.passes(0.25)
    script.sends(". 1:961(960) ack 1")


def test_icmp_errors_end_only_a_handshake() -> None:
    script = plain()
    socket = script.connecting()
    script._learn()
    local = socket.local.port
    script.layer.icmp_error(OURS, PEER, local, 80, script.initial or 0, Errno.EHOSTUNREACH, True, script.time.now_ns)
    assert socket.state == "CLOSED" and socket.take_error() == Errno.EHOSTUNREACH
    script = plain()
    socket = script.connected()
    socket.send(b"x")
    number = (script.initial or 0) + 1
    script.layer.icmp_error(OURS, PEER, socket.local.port, 80, number, Errno.EHOSTUNREACH, True, script.time.now_ns)
    assert socket.state == "ESTABLISHED" and not socket.pending_error
    script.passes(3000)
    assert socket.take_error() == Errno.EHOSTUNREACH


def test_a_full_device_loses_nothing() -> None:
    script = plain()
    socket = script.connected()
    script.host.fail_sends = 1
    socket.send(bytes(1500))
    script.sends()
    script.layer.writable(script.time.now_ns)
    script.sends(". 1:1001(1000) ack 1", "P. 1001:1501(500) ack 1")


def test_names_in_use_and_nobodys_socket() -> None:
    script = plain()
    first = script.host.listen(80)
    second = script.host.socket()
    with pytest.raises(KernelError) as caught:
        second.bind(SocketAddress(b"", 80))
    assert caught.value.errno == Errno.EADDRINUSE
    for call in (lambda: second.receive(1), lambda: second.shut_down(True, True)):
        with pytest.raises(KernelError) as caught:
            call()
        assert caught.value.errno == Errno.ENOTCONN
    with pytest.raises(KernelError) as caught:
        second.send(b"x")
    assert caught.value.errno == Errno.EPIPE
    first.close()
    second.bind(SocketAddress(b"", 80))
    second.close()
    assert not len(script.layer.ports)
