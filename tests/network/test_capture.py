"""tcpdump and packet sockets on JefeOS and on the host: the same packets captured through the same filters."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import jefeos
import pytest

TRAFFIC = r"""
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
question = bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001")
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
b.bind(("127.0.0.1", 53))
a.bind(("127.0.0.1", 7700))
for data in (question, b"\0" * 600):
    a.sendto(data, ("127.0.0.1", 53))
    a.sendto(data, ("127.0.0.1", 7701))
c = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
c.bind(("::1", 7702))
c.sendto(b"over IPv6", ("::1", 7702))
s = socket.create_server(("127.0.0.1", 7703))
t = socket.socket()
t.bind(("127.0.0.1", 7704))
t.connect(("127.0.0.1", 7703))
u, _ = s.accept()
t.send(b"GET / HTTP/1.0\r\n\r\n")
u.recv(100)
u.close()
t.recv(1)
t.close()
"""
FILTERS = (
    "-i lo udp port 53", "-i lo -s 60 -x udp and greater 500", "-i lo icmp", "-i any -n udp dst port 7701 or ip6",
    "-i lo tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "-i lo tcp port 7703 and tcp[((tcp[12:1]&0xf0)>>2):4]=0x47455420",
    "-i lo --direction=in ip6",
)  # fmt: skip
SCRIPT = r"""
cat > /tmp/traffic.py; number=0
while read -r words; do
    number=$((number + 1)); set -- $words
    timeout 150 tcpdump -l -n -t -S $words > /tmp/seen.$number 2> /tmp/told.$number & pids="$pids $!"
    for i in $(seq 600); do grep -q 'listening on' /tmp/told.$number && break; sleep 0.05; done
done <<< "$FILTERS"
python3 /tmp/traffic.py
i=0; for lines in 2 8 2 3 4 1 1; do
    i=$((i + 1)); for try in $(seq 200); do [ "$(wc -l < /tmp/seen.$i)" -ge $lines ] && break; sleep 0.1; done
done; sleep 0.5  # for what should not come
kill -INT $pids; wait $pids
for i in $(seq $number); do echo "# $i"; cat /tmp/seen.$i; grep -E 'captured|dropped|rror' /tmp/told.$i; done
rm /tmp/seen.* /tmp/told.* /tmp/traffic.py
"""


def bare(output: str) -> list[str]:
    """Without what is chosen anew each time: numbers and options of TCP, the identification of IP, and sums."""
    output = re.sub(r"(seq|ack|win) \d+(:\d+)?", r"\1 N", output)
    output = re.sub(r",? options \[[^]]*\]", "", output)
    output = re.sub(r"(0x0000:  4500 \w{4}) \w{4} (\w{4}) (\w{4}) \w{4}", r"\1 ID \2 \3 SUM", output)
    output = re.sub(r"(0x0010:  (?:\w{4} ){5})\w{4}", r"\1SUM", output)
    return [line.rstrip() for line in output.splitlines()]


@pytest.mark.peer
def test_tcpdump_captures_as_on_the_host(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    host_program("tcpdump")
    words = ["/bin/bash", "-c", f"FILTERS='{chr(10).join(FILTERS)}'\n" + SCRIPT.replace(
        "cat > /tmp/traffic.py;", f"cat > /tmp/traffic.py <<'END'{TRAFFIC}END\n"
    )]
    namespaces = [host_program("unshare"), "--net", "--mount", "/bin/sh", "-c"]
    host = subprocess.run(
        [*namespaces, 'mount -t tmpfs tmpfs /tmp; ip link set lo up; exec "$@"', "sh", *words],
        capture_output=True, text=True, timeout=200, check=False,
    )
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make namespaces: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(words, timeout=200)
    assert bare(done.stdout.decode()) == bare(host.stdout), done.stderr


SOCKETS = r"""
import ctypes, errno, socket, struct, time
def program(*words):
    code = b"".join(struct.pack("<HBBI", *word) for word in words)
    memory = ctypes.create_string_buffer(code, len(code))
    return struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(memory)), memory
def attempt(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
for option, value in ((10, 1), (10, 7), (12, 4), (8, 1)):
    print("set", option, value, attempt(packet.setsockopt, 263, option, value))
print(packet.getsockopt(263, 8), packet.getsockopt(263, 10))
for block, blocks, frame, frames in ((4096, 4, 2048, 8), (4096, 4, 2048, 7), (4095, 4, 2048, 8), (4096, 4, 40, 400),
    (4096, 0, 0, 1)):
    ring = struct.pack("4I", block, blocks, frame, frames)
    if (block, frames) != (4096, 8):
        print("ring", attempt(packet.setsockopt, 263, 5, ring))
accept, refuse = program((6, 0, 0, 12)), program((6, 0, 0, 0))
bad, endless = program((6, 0, 0, 1), (5, 0, 0, 0)), program((5, 0, 0, 1), (6, 0, 0, 1))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(udp.getsockname())
print(attempt(udp.setsockopt, 1, 27, 0))
for name, code in (("refuse", refuse), ("accept", accept), ("bad", bad), ("endless", endless)):
    print(name, attempt(udp.setsockopt, 1, 26, code[0]))
    out.send(b"0123456789")
    if name != "refuse": print(udp.recv(100))
    else: time.sleep(0.2); print(attempt(udp.recv, 100, socket.MSG_DONTWAIT))
print(attempt(udp.setsockopt, 1, 26, accept[0][:8]), attempt(udp.setsockopt, 1, 44, 1))
print(attempt(udp.setsockopt, 1, 27, 0), attempt(udp.setsockopt, 1, 26, accept[0]), attempt(udp.setsockopt, 1, 44, 0))
lo = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x88B5))
lo.bind(("lo", 0x88B5))
lo.setsockopt(263, 8, 1)
lo.setsockopt(1, 26, accept[0])
lo.sendto(b"a frame of the test", ("lo", 0x88B5, 0, 0, bytes(6)))
data, control, flags, name = lo.recvmsg(100, 100)
print(data, control[0][:2], struct.unpack("3I4H", control[0][2]), flags, name[:3])
print(struct.unpack("II", lo.getsockopt(263, 6, 8)), attempt(lo.recv, 1, socket.MSG_DONTWAIT))
"""


@pytest.mark.peer
def test_filters_and_options_as_on_the_host(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    words = ["/usr/bin/python3", "-c", SOCKETS]
    unshare = [host_program("unshare"), "--net", "/bin/sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    host = subprocess.run([*unshare, *words], capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make a network namespace: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(words, timeout=100)
    assert done.stdout.decode() == host.stdout, done.stderr.decode() + host.stderr
