"""Calls that fail half-way, or whose caller is killed, give back what they took: as on the host."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System
from jefeos.testing.accounting import growth, take_stock

SCRIPT = Path(__file__).with_name("given_back.py")
CASES = [
    "accept_without_a_descriptor",
    "clone_without_a_descriptor",
    "pidfd_is_the_parents",
    "killed_while_it_sends_a_file",
    "sockets_inside_each_other",
    "a_held_socket_lives",
    "closed_files_leave_an_epoll",
]

pytestmark = pytest.mark.peer


def test_as_on_the_host(jefeos_boot: Callable[..., System]) -> None:
    expected = subprocess.run(["/usr/bin/python3", SCRIPT, *CASES], capture_output=True, timeout=200, check=True)
    system = jefeos_boot(root="/")
    system.write_file("/tmp/given_back.py", SCRIPT.read_bytes())
    before = take_stock(system.kernel)
    done = system.run(["/usr/bin/python3", "/tmp/given_back.py", *CASES], timeout=200)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == expected.stdout.decode().splitlines()
    assert not growth(before, take_stock(system.kernel))


def test_sockets_in_a_long_chain_go_one_after_the_other(jefeos_boot: Callable[..., System]) -> None:
    """Each in flight in the next one: Linux refuses that from some depth on, here only the end must not recurse."""
    system = jefeos_boot(root="/")
    program = """if True:
        import socket
        held, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for _ in range(1200):
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            socket.send_fds(one, [b'x'], [held.fileno()])
            one.close()
            held = other
        print('done')
        """
    before = take_stock(system.kernel)
    assert system.run(["/usr/bin/python3", "-c", program], timeout=60).stdout == b"done\n"
    assert not growth(before, take_stock(system.kernel))


def test_an_interrupted_wait_is_no_garbage(jefeos_boot: Callable[..., System]) -> None:
    """The exception that ends a wait refers to the frames it went through: they must not refer to it for long."""
    system = jefeos_boot(root="/")
    script = "mkfifo /tmp/f; sh -c 'sleep 0.02; kill -TERM $0' $$ & exec cat /tmp/f"
    before = take_stock(system.kernel)
    gc.collect()
    gc.disable()
    try:
        assert system.run(["/bin/dash", "-c", script], timeout=100).signal == 15
        system.run(["/bin/dash", "-c", "rm /tmp/f; sleep 0.1"], timeout=100)
        more = [what for what in growth(before, take_stock(system.kernel)) if "bytes in pipes" in what]
        assert not more
    finally:
        gc.enable()
