"""TCP sockets as their owners see them: names, options, backlogs, readiness, what is told and when."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.net.address import SocketAddress
from jefeos.net.socket import Readiness

sys.path.insert(0, str(Path(__file__).parent))

from tcp_script import PEER, Script, plain
from tcp_world import World


def errno_of(call: Any, *arguments: Any) -> int:
    with pytest.raises(KernelError) as caught:
        call(*arguments)
    return caught.value.errno


def test_deferred_accept_waits_for_data() -> None:
    script = plain()
    listener = script.host.listen(80, tcp_defer_accept=5)
    script.receives("S 0:0(0) win 1000")
    script._learn()
    script.receives(". 1:1(0) ack 1 win 1000")
    assert listener.accept() is None and not listener.ready & Readiness.READABLE
    script.receives("P. 1:4(3) ack 1 win 1000")
    assert listener.ready & Readiness.READABLE and listener.accept().receive(9) == bytes((1, 2, 3))


def test_a_full_backlog_drops_and_the_peer_tries_again() -> None:
    world = World(1)
    first, second = world.hosts
    listener = second.listen(backlog=2)
    sockets = [first.connect(second) for _ in range(6)]
    world.time.run(0.5)
    assert len(listener.listener.ready) == 3  # Linux: one more than the backlog
    taken = []
    for _ in range(40):
        world.time.run(1)
        while (child := listener.accept()) is not None:
            taken.append(child)
    assert len(taken) == 6 and {one.state for one in sockets} == {"ESTABLISHED"}
    assert second.layer.counters["ListenOverflows"]
    for one in (*sockets, *taken, listener):
        one.close()
    world.assert_nothing_left()


def test_connections_that_nobody_accepted_are_reset_with_their_listener() -> None:
    world = World(1)
    listener = world.hosts[1].listen()
    socket = world.hosts[0].connect(world.hosts[1])
    world.time.run(0.1)
    assert socket.state == "ESTABLISHED"
    listener.close()
    world.time.run(0.1)
    assert socket.take_error() == Errno.ECONNRESET
    socket.close()
    world.assert_nothing_left()


def test_listeners_share_a_port_by_peer() -> None:
    world = World(1)
    first, second = world.hosts
    listeners = [second.listen(80, so_reuseport=True) for _ in range(3)]
    assert errno_of(second.listen, 80) == Errno.EADDRINUSE
    sockets = [first.connect(second) for _ in range(60)]
    world.time.run(0.1)
    counts = [len(one.listener.ready) for one in listeners]
    assert sum(counts) == 60 and min(counts) > 5
    for one in (*sockets, *listeners):
        one.close()
    world.assert_nothing_left()


def test_time_wait_keeps_a_port_from_those_who_did_not_ask_to_reuse_it() -> None:
    script = plain()
    listener = script.host.listen(80)
    script.receives("S 0:0(0) win 1000")
    script._learn()
    script.receives(". 1:1(0) ack 1")
    listener.accept().close()
    listener.close()
    script.receives("F. 1:1(0) ack 2")
    assert errno_of(script.host.listen, 80) == Errno.EADDRINUSE
    assert script.host.listen(80, so_reuseaddr=True).state == "LISTEN"


def test_ports_run_out_and_time_wait_is_reused_by_connect() -> None:
    world = World(2)
    first, second = world.hosts
    listener = second.listen()
    first.layer.settings["net.ipv4.ip_local_port_range"] = (40_000, 40_001)
    sockets = [first.connect(second) for _ in range(2)]
    world.time.run(0.1)
    assert errno_of(first.connect, second) == Errno.EADDRNOTAVAIL
    for socket in sockets:
        socket.close()
    world.time.run(0.1)
    while (child := listener.accept()) is not None:
        child.close()
    world.time.run(0.1)
    assert first.layer.time_waits == 2
    assert errno_of(first.connect, second) == Errno.EADDRNOTAVAIL
    world.time.run(1.1)
    again = first.connect(second)
    world.time.run(0.1)
    assert again.state == "ESTABLISHED" and first.layer.time_waits == 1
    for one in (again, listener.accept(), listener):
        one.close()
    world.assert_nothing_left()


def test_options_are_checked_and_given_back() -> None:
    script = plain()
    socket = script.host.socket()
    for name, value in (
        ("tcp_keepidle", 30), ("tcp_keepintvl", 5), ("tcp_keepcnt", 4), ("tcp_user_timeout", 900), ("ip_ttl", 9),
        ("tcp_congestion", "reno"), ("so_linger", 3), ("so_linger", None), ("so_rcvbuf", 10_000), ("so_mark", 7),
        ("tcp_maxseg", 700), ("tcp_syncnt", 3), ("so_reuseaddr", True), ("tcp_nodelay", True), ("ip_recverr", 1),
    ):  # fmt: skip
        socket.set_option(name, value)
        assert socket.get_option(name) == value
    for name, value in (
        ("tcp_keepidle", 0), ("tcp_keepcnt", 200), ("ip_ttl", 0), ("ip_ttl", 256), ("tcp_maxseg", 10),
        ("so_sndbuf", "x"),
    ):  # fmt: skip
        assert errno_of(socket.set_option, name, value) == Errno.EINVAL
    assert errno_of(socket.set_option, "tcp_congestion", "bbr") == Errno.ENOENT
    for name in ("tcp_fastopen", "tcp_fastopen_connect", "ipv6_v6only", "nonsense"):
        assert errno_of(socket.set_option, name, 1) == Errno.ENOPROTOOPT
    assert errno_of(socket.get_option, "kept") == Errno.ENOPROTOOPT
    assert not socket.get_option("so_acceptconn") and socket.get_option("so_type") == 1
    socket.listen(1)
    assert socket.get_option("so_acceptconn")


def test_a_smaller_mss_is_offered_and_kept() -> None:
    script = plain()
    socket = script.connecting(tcp_maxseg=500)
    script.sends("S 0:0(0) <mss 500>")
    script.receives("S. 0:0(0) ack 1 win 9000 <mss 1000>")
    script.out.clear()
    socket.send(bytes(800))
    script.sends(". 1:501(500) ack 1", "P. 501:801(300) ack 1")


def test_a_peer_without_an_mss_gets_536_octets() -> None:
    script = plain()
    socket = script.connecting()
    script._learn()
    script.receives("S. 0:0(0) ack 1 win 9000")
    script.out.clear()
    socket.send(bytes(536))
    script.sends("P. 1:537(536) ack 1")


def test_connecting_twice_and_readiness_on_the_way() -> None:
    script = plain()
    socket = script.host.socket()
    assert socket.ready == Readiness.WRITABLE | Readiness.HANGUP  # as poll() shows it on Linux
    assert not socket.connect(SocketAddress(PEER, 80))
    assert not socket.ready
    assert errno_of(socket.connect, SocketAddress(PEER, 80)) == Errno.EALREADY
    assert socket.send(b"early") == 0 and socket.receive(1) is None
    script.peer_port = 80
    script._learn()
    script.receives("S. 0:0(0) ack 1 win 9000")
    assert socket.ready == Readiness.WRITABLE
    assert socket.connect(SocketAddress(PEER, 80))
    assert errno_of(socket.connect, SocketAddress(PEER, 80)) == Errno.EISCONN
    assert errno_of(socket.listen, 1) == Errno.EINVAL
    script.receives("F. 1:1(0) ack 1")
    assert socket.ready == Readiness.WRITABLE | Readiness.READABLE | Readiness.PEER_CLOSED
    socket.shut_down(False, True)
    assert socket.ready & Readiness.HANGUP
    assert errno_of(socket.send, b"late") == Errno.EPIPE


def test_the_send_buffer_fills_and_its_owner_hears_of_room() -> None:
    script = plain()
    socket = script.connected(win=60_000, so_sndbuf=6000)
    heard: list[bool] = []
    socket.changed = lambda: heard.append(bool(socket.ready & Readiness.WRITABLE))
    assert socket.send(bytes(9000)) == 6000 and socket.send(b"x") == 0
    assert not socket.ready & Readiness.WRITABLE and socket.unsent_bytes == 6000
    script.receives(". 1:1(0) ack 1001 win 60000")
    assert not heard  # less than a third is free: nobody is woken for that
    script.receives(". 1:1(0) ack 3001 win 60000")
    assert heard == [True] and socket.unsent_bytes == 3000


def test_data_before_a_reset_can_be_read() -> None:
    script = plain()
    socket = script.accepted()
    script.receives("P. 1:4(3) ack 1")
    script.receives("R. 4:4(0) ack 1")
    assert socket.receive(10, peek=True) == socket.receive(10) == bytes((1, 2, 3))
    assert errno_of(socket.receive, 10) == Errno.ECONNRESET
    assert socket.receive(10) == b"" and errno_of(socket.send, b"x") == Errno.EPIPE


def test_disconnect_makes_a_socket_fresh() -> None:
    script = plain()
    socket = script.connected()
    socket.disconnect()
    script.sends("R. 1:1(0) ack 1")
    assert socket.state == "CLOSED" and socket.remote is None and socket.local.port == 0
    assert not script.layer.table
    assert not socket.connect(SocketAddress(PEER, 80))


def test_what_listings_show() -> None:
    script = Script()
    socket = script.connected("mss 1000,sackOK,wscale 2", win=500)
    socket.owner = "me"
    socket.send(bytes(300))
    (line,) = script.layer.infos()
    assert (line.state, line.owner, line.send_queue, line.timer) == ("ESTABLISHED", "me", 300, "on")
    assert 0 < line.expires_ns <= 210_000_000
    info = socket.get_option("tcp_info")
    assert (info["snd_mss"], info["snd_wscale"], info["options"], info["unacked"]) == (1000, 2, 6, 1)
    script.layer.count("TCPTimeouts")
    counted = script.layer.statistics()
    assert counted["Tcp"]["ActiveOpens"] == counted["Tcp"]["CurrEstab"] == counted["TcpExt"]["TCPTimeouts"] == 1
