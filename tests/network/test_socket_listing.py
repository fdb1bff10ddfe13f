"""`ss` on JefeOS and on the host, each beside the same Python program with sockets of every kind: the same lists.

Numbers that are chosen (ports, inodes) and sizes that depend on a kernel's own structures are left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import jefeos
import pytest
from jefeos_abi_linux import netlink

PROGRAM = r"""
import fcntl, os, shutil, socket, struct, sys, tempfile, termios, time
a = socket.create_server(("127.0.0.1", 7001), backlog=5)
b = socket.create_server(("::", 7002), family=socket.AF_INET6, dualstack_ipv6=True)
only6 = socket.create_server(("::", 7005), family=socket.AF_INET6)
waiting = socket.create_connection(("127.0.0.1", 7001))
waiting.send(b"x" * 100)
near = socket.create_connection(("127.0.0.1", 7002))
far, _ = b.accept()
far.send(b"y" * 7)
near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
left = socket.create_connection(("::1", 7002))
right, _ = b.accept()
left.close()
assert right.recv(1) == b""
unbound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("127.0.0.1", 7003))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v.connect(("127.0.0.1", 7003))
w = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
w.bind(("::", 7004))
l = socket.socket(socket.AF_UNIX)
l.bind("\0listing")
l.listen(3)
m = socket.socket(socket.AF_UNIX)
m.connect("\0listing")
s, t = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
d.bind("\0messages")
e = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
e.connect("\0messages")
f = socket.socket(socket.AF_UNIX)
path = tempfile.mkdtemp() + "/node"
f.bind(path)
f.listen(1)
q = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
def unsent(one):
    return struct.unpack("i", fcntl.ioctl(one, termios.TIOCOUTQ, bytes(4)))[0]
while unsent(waiting) or unsent(far):
    time.sleep(0.01)
print("unsent", unsent(waiting), unsent(v))
try:
    unsent(a)
except OSError as error:
    print("unsent", error.errno)
sys.stdout.flush()
for words in sys.argv[1:]:
    print("#", words, flush=True)
    os.spawnvp(os.P_WAIT, "ss", ["ss", *words.split()])
for command in ["busybox netstat -xa", "cut -c19- /proc/net/unix"]:
    print("#", command, flush=True)
    os.spawnvp(os.P_WAIT, command.split()[0], command.split())
shutil.rmtree(os.path.dirname(path))
"""
COMMANDS = (
    "-tanH", "-uanH", "-xanH", "-0anH", "-tanoeH", "-uaneH", "-xaeH", "-0aneH", "-tanH sport = :7002",
    "-tnH dport = :7001", "-tanH src 127.0.0.0/8 and ( sport >= :7002 or dst [::1] )", "-tlnpH",
    "-H state listening -n", "-tnH state close-wait", "-tanH exclude listening", "-SanH", "-u6anH", "-t4lnH",
)  # fmt: skip


def bare(output: str) -> list[str]:
    """The lines without what may differ: headings as they are, each command's lines sorted."""
    output = re.sub(r"(?<=[\]\w]:)(?!7\d{3}\b)\d+\b", "PORT", output)
    output = re.sub(r"\b(ino|sk):\w+ ?|cgroup:\S* ?|,\d+sec|,\d+min\w*|pid=\d+,|uid:0 ?", "", output)
    output = re.sub(r"(\* |peers: )\d{1,9}\b", "* INODE", output)
    output = re.sub(r"/\S*/node", "@node", re.sub(r"dev:\S* ?", "", output))
    output = re.sub(r"@(listing|messages|node) \d+", r"@\1 INODE", output)
    output = re.sub(r"^((?:unix|0000).*?) +\d+(?=( @\w+)?\s*$)", r"\1 INODE", output, flags=re.MULTILINE)
    groups = re.split(r"^(?=#)", output, flags=re.MULTILINE)
    return [
        line
        for group in groups
        for line in sorted(" ".join(line.split()) for line in group.splitlines() if line.strip())
    ]


@pytest.mark.peer
def test_lists_as_on_the_host(host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]) -> None:
    host_program("ss"), host_program("busybox")
    words = ["/usr/bin/python3", "-c", PROGRAM, *COMMANDS]
    unshare = [host_program("unshare"), "--net", "/bin/sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    host = subprocess.run([*unshare, *words], capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make a network namespace: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(words, timeout=100)
    assert bare(done.stdout.decode()) == bare(host.stdout), done.stderr


@pytest.mark.peer
def test_what_is_told_of_a_connection(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    """INET_DIAG_INFO and memory: the numbers that follow from what was sent."""
    host_program("ss")
    words = ["/usr/bin/python3", "-c", PROGRAM, "-tnimH dport = :7001 or sport = :7001", "-s", "-f netlink -an -H"]
    told = jefeos_boot(root="/").run(words, timeout=100).stdout.decode()
    sender = told.partition("dport = :7001")[2]
    assert re.search(r"\w+ wscale:\d+,\d+ rto:\d+.* mss:\d+ pmtu:65536 .*bytes_acked:100\b", sender), told
    assert re.search(r"skmem:\(r100,rb\d+,t0,tb\d+,.*\n?.*bytes_received:100\b", sender), told
    assert re.search(r"TCP:.*estab 5, closed 1, orphaned 0, timewait 1\)", told), told
    assert re.search(r"UDP\s+3\s+2\s+1\b", told), told
    assert re.search(r"^UNCONN +0 +0 +4:\d+", told, re.MULTILINE), told


@pytest.mark.peer
def test_a_list_longer_than_the_queue(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long answer is made as it is read: it needs no more room than one datagram, and nothing is lost."""
    host_program("ss")
    monkeypatch.setattr(netlink, "QUEUE_BYTES", 2 * netlink.DATAGRAM_BYTES)
    script = (
        "import socket, subprocess\n"
        "kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(300)]\n"
        "for one in kept: one.bind(('127.0.0.1', 0))\n"
        "lines = subprocess.run(['ss', '-uanemH'], capture_output=True, text=True, check=True).stdout.splitlines()\n"
        "assert len({line.split()[3] for line in lines[::2]}) == 300, len(lines)\n"
    )
    done = jefeos_boot(root="/").run(["/usr/bin/python3", "-c", script], timeout=100)
    assert done.status == 0, done.stderr
