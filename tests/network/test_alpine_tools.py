"""Alpine's network tools on JefeOS: pings, addresses and routes over netlink, ARP by packet socket, UDP messages."""

from __future__ import annotations

from collections.abc import Callable

import jefeos
import pytest

SCRIPT = r"""
ping -c 2 127.0.0.1 | grep -c 'bytes from 127.0.0.1: seq=. ttl=64'
sysctl -n -w net.ipv4.ip_forward=1 net.ipv4.ip_local_port_range='40000 40010' > /dev/null
sysctl net.ipv4.ip_forward net.ipv4.ip_local_port_range
ping -c 1 ::1 | grep -c 'bytes from ::1: seq=0 ttl=64'
ping -c 1 -s 20000 127.0.0.1 | grep -c '20008 bytes from'
until ip -4 addr show dev eth0 | grep -q inet; do sleep 0.1; done
ip addr flush dev eth0
ip addr add 10.0.2.77/24 dev eth0
ip route add default via 10.0.2.2
ip route | grep -v fe80
ip -4 addr show dev eth0 | grep -o 'inet 10.0.2.77/24'
ping -c 1 -W 30 10.0.2.2 | grep -c '64 bytes from 10.0.2.2'
ip neigh | grep -c '^10.0.2.2 dev eth0 lladdr .* REACHABLE'
arping -c 1 -I eth0 10.0.2.2 | grep -c 'Unicast reply from 10.0.2.2'
traceroute -n -q 1 127.0.0.1 2>/dev/null | grep -o '1  127.0.0.1'
nc -u -l -p 7000 > /tmp/got &
until grep -q :1B58 /proc/net/udp /proc/net/udp6; do sleep 0.1; done
echo message | nc -u -w 1 127.0.0.1 7000
until test -s /tmp/got; do sleep 0.1; done; kill $!
cat /tmp/got
ping -c 1 -W 1 10.0.2.99 | grep -o '100% packet loss'
ip route del default
ping -c 1 203.0.113.1 2>&1 | grep -o 'Network unreachable'
"""

EXPECTED = """2
net.ipv4.ip_forward = 1
net.ipv4.ip_local_port_range = 40000\t40010
1
1
default via 10.0.2.2 dev eth0 
10.0.2.0/24 dev eth0 scope link  src 10.0.2.77 
inet 10.0.2.77/24
1
1
1
1  127.0.0.1
message
100% packet loss
Network unreachable
"""  # noqa: W291


@pytest.mark.peer
def test_alpine_s_network_tools(alpine_root: str, jefeos_boot: Callable[..., jefeos.System]) -> None:
    os = jefeos_boot(root=alpine_root, net="user")
    done = os.run(["/bin/sh", "-c", SCRIPT], timeout=100)
    lines = done.stdout.decode().splitlines(keepends=True)
    routes = sorted(line for line in lines if "dev eth0" in line)
    assert "".join([*lines[:5], *routes[::-1], *lines[7:]]) == EXPECTED, done.stdout + done.stderr
