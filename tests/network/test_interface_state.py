"""What is told of interfaces by /sys/class/net and `ethtool`: of lo as on the host, of a card what it is and does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

LOOPBACK = r"""
cd /sys/class/net; ls
cd lo; readlink subsystem; readlink -f .
look() {
    for name in addr_len address broadcast carrier dev_id dev_port dormant duplex flags ifalias ifindex iflink \
        link_mode mtu netdev_group operstate speed testing tx_queue_len type; do
        echo "$name: $(cat $name 2>&1)"
    done
}
look; cat uevent; ls statistics queues
ip link set lo down; look; ip link set lo up; ip link set lo mtu 1400; cat mtu
echo 9000 > mtu; echo $?; ip -o link show lo | grep -o 'mtu [0-9]*'
for name in mtu ifindex; do (echo x > $name) 2>&1 | sed 's/.*: //'; done
ping -c 2 -i 0.2 127.0.0.1 > /dev/null
for name in rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_dropped; do echo $name $(cat statistics/$name); done
ethtool lo 2>&1; ethtool -i lo 2>&1; ethtool -S lo 2>&1; ethtool nothing &> /dev/null; echo $?
"""


@pytest.mark.peer
def test_loopback_as_on_the_host(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    for name in ("ethtool", "ip", "ping"):
        host_program(name)
    own_sys = f"mount -t sysfs sysfs /sys && ip link set lo up && {{ {LOOPBACK} }}"
    command = [host_program("unshare"), "--net", "--mount", "/bin/bash", "-c", own_sys]
    host = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make namespaces: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(["/bin/bash", "-c", f"ip link set lo up; {LOOPBACK}"], timeout=100)
    expected = host.stdout.replace("ifb0\nifb1\n", "")
    assert done.stdout.decode().splitlines() == expected.splitlines(), done.stderr


CARD = r"""
for i in $(seq 600); do ip -4 addr show eth0 | grep -q inet && break; sleep 0.1; done
cd /sys/class/net/eth0
readlink -f .; readlink -f device; cat device/uevent
grep -c "$(cat address)" <<< "$(ip link show eth0)"
before=$(cat statistics/tx_packets); ping -c 3 -i 0.2 10.0.2.2 > /dev/null
echo $(($(cat statistics/tx_packets) - before))
cat carrier operstate speed duplex flags
ethtool eth0; ethtool -i eth0; ethtool -k eth0; ethtool -P eth0; ethtool -T eth0 | head -3
ethtool -S eth0 | grep -c "tx_packets: $(cat statistics/tx_packets)"
ethtool -K eth0 tso off; echo $?
"""


@pytest.mark.peer
def test_a_card(host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]) -> None:
    host_program("ethtool")
    done = jefeos_boot(root="/", net="user").run(["/bin/bash", "-c", CARD], timeout=100)
    told = done.stdout.decode()
    lines = told.splitlines()
    where = re.fullmatch(r"/sys/devices/pci0000:00/(0000:00:\w\w\.\d)/net/eth0", lines[0])
    assert where is not None, told + done.stderr.decode()
    assert lines[1:5] == [
        f"/sys/devices/pci0000:00/{where[1]}", "DRIVER=e1000", f"PCI_SLOT_NAME={where[1]}", "1"
    ]
    assert int(lines[5]) >= 3
    assert lines[6:11] == ["1", "up", "1000", "full", "0x1003"]
    for expected in (
        "Speed: 1000Mb/s", "Duplex: Full", "Link detected: yes", "driver: e1000", f"bus-info: {where[1]}",
        "supports-statistics: yes", "tcp-segmentation-offload: on", "tx-checksum-ipv4: on [fixed]",
        "generic-receive-offload: off [fixed]", "Permanent address: ", "Time stamping parameters",
    ):  # fmt: skip
        assert expected in told, (expected, told, done.stderr)
    assert lines[-2:] == ["1", "1"], done.stderr  # the last: features cannot be changed, and ethtool says so
    assert b"Cannot set device feature settings: Operation not supported" in done.stderr


COUNTERS = r"""
ip link show lo > /dev/null; before=$(nstat -asz IcmpInEchos | tail -1 | tr -s ' ' | cut -d' ' -f2)
ping -c 2 -i 0.2 127.0.0.1 > /dev/null; ping -6 -c 1 ::1 > /dev/null
after=$(nstat -asz IcmpInEchos | tail -1 | tr -s ' ' | cut -d' ' -f2)
echo $((after - before)); cat /proc/net/snmp /proc/net/netstat /proc/net/snmp6
"""


def names_of(text: str) -> set[str]:
    """Counters as ``IpInReceives``: from pairs of lines, and from lines of one each."""
    names = set()
    for line in text.splitlines():
        group, colon, rest = line.partition(": ")
        if colon:
            names |= {group + name for name in rest.split() if not name.lstrip("-").isdigit()}
        else:
            names.add(line.split()[0])
    return names


@pytest.mark.peer
def test_counters_have_linux_s_names(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    for name in ("nstat", "ping"):
        host_program(name)
    done = jefeos_boot(root="/").run(["/bin/bash", "-c", COUNTERS], timeout=100)
    first, _, told = done.stdout.decode().partition("\n")
    assert first == "2", done.stderr
    host = "".join(Path("/proc/net", name).read_text() for name in ("snmp", "netstat", "snmp6"))
    ours = names_of(told)
    assert len(ours) > 100
    by_type = re.compile(r"(IcmpMsg|Icmp6)(In|Out)Type\d+")  # these are there as soon as there was one
    not_shown = {"UdpLite6IgnoredMulti"}  # Linux has it for the other three kinds
    assert {name for name in ours - names_of(host) - not_shown if not by_type.fullmatch(name)} == set()
