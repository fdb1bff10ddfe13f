"""The host's own network tools on JefeOS and on the host, in a network namespace with nothing but lo: the same output.

So are the bytes of answers of rtnetlink.

Times differ, and are left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import jefeos
import pytest

COMMANDS = (
    "ping -n -c 2 -i 0.2 127.0.0.1", "ping -n -c 1 -s 30000 ::1", "ping -n -c 1 192.0.2.1",
    "ping -n -c 1 -t 1 -Q 0x28 127.0.0.1", "traceroute -n -q 1 127.0.0.1", "traceroute -6 -n -q 1 -I ::1",
    "tracepath -n -m 2 127.0.0.1", "tracepath -6 -n -m 2 ::1", "ip route get 127.0.0.1", "ip -4 -o addr show lo",
    "ip maddr", "ip netconf show dev lo", "ip addrlabel", "cat /proc/net/dev_mcast /proc/net/igmp /proc/net/igmp6",
    "ip -6 route get 2001:db8::1", "nmap -n -sT -p 1-50 127.0.0.1",
)  # fmt: skip
SCRIPT = " ; ".join(f"echo '# {command}' ; {command} 2>&1" for command in COMMANDS)

PLAIN = "for name in ip_forward conf/all/rp_filter conf/lo/rp_filter conf/default/rp_filter; do " \
    "echo 0 > /proc/sys/net/ipv4/$name; done 2> /dev/null"
"""As a host has it on which nobody has set anything."""
ASK = """
import socket, struct
GETMULTICAST, GETADDRLABEL, GETNETCONF, DUMP = 58, 74, 82, 0x301

def ask(kind, flags, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as asking:
        asking.bind((0, 0))
        asking.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        kinds, answers = {2, 3} if flags == DUMP else {2, kind - 2}, []
        while not kinds & {kind for kind, _ in answers}:
            data = asking.recv(65536)
            while data:
                length, kind_, flags_, sequence, port = struct.unpack_from("=IHHII", data)
                content = data[16:length] if kind_ != 2 else data[16:20] + data[36:length]  # without the port again
                if kind == GETMULTICAST and kind_ == kind:
                    content = content[:-8]  # when it was joined
                answers.append((kind_, content.hex()))
                data = data[(length + 3) & ~3:]
    print(kind, hex(flags), body.hex(), *answers, sep="\\n  ")

for family in (0, 2, 10, 7):
    head = bytes([family])
    ask(GETNETCONF, DUMP, head.ljust(4, b"\\0"))
    if family != 2:  # which older kernels do not tell of
        ask(GETMULTICAST, DUMP, head.ljust(8, b"\\0"))
    ask(GETMULTICAST, 1, head.ljust(8, b"\\0"))
    ask(GETADDRLABEL, DUMP, head.ljust(12, b"\\0"))
    ask(GETNETCONF, 1, head.ljust(4, b"\\0"))
    for index in (1, -1, -2):
        ask(GETNETCONF, 1, head.ljust(4, b"\\0") + struct.pack("=HHi", 8, 1, index))
    for length, address in ((128, "fd00::1"), (128, "2001:db8::1"), (128, "2002::1"), (64, "2001:db8::")):
        body = bytes([family, 0, length]).ljust(12, b"\\0") + struct.pack("=HH", 20, 1)
        ask(GETADDRLABEL, 1, body + socket.inet_pton(socket.AF_INET6, address))
"""


def without_times(output: str) -> list[str]:
    output = re.sub(r"\d+(\.\d+)?( ?m?s\b|s latency)", "TIME", output)
    output = re.sub(r"(rtt min.*=|Starting Nmap|Nmap done|,? ?pipe).*", r"\1", output)
    return [" ".join(line.split()) for line in output.splitlines() if line.strip()]  # times are set in columns


@pytest.mark.peer
@pytest.mark.parametrize(
    ("programs", "script"),
    [("ping traceroute tracepath ip nmap", SCRIPT), ("python3 ip", f"python3 -c '{ASK}' 2>&1")],
    ids=["tools", "rtnetlink"],
)
def test_as_on_the_host(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System], programs: str, script: str
) -> None:
    for name in programs.split():
        host_program(name)
    command = [host_program("unshare"), "--net", "/bin/sh", "-c", f"{PLAIN}; ip link set lo up; {script}"]
    host = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make a network namespace: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(["/bin/sh", "-c", script], timeout=100)
    assert without_times(done.stdout.decode()) == without_times(host.stdout)
