"""The host's own network tools on JefeOS and on the host, in a network namespace with nothing but lo: the same output.

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
    "ip -6 route get 2001:db8::1", "nmap -n -sT -p 1-50 127.0.0.1",
)  # fmt: skip
SCRIPT = " ; ".join(f"echo '# {command}' ; {command} 2>&1" for command in COMMANDS)


def without_times(output: str) -> list[str]:
    output = re.sub(r"\d+(\.\d+)?( ?m?s\b|s latency)", "TIME", output)
    output = re.sub(r"(rtt min.*=|Starting Nmap|Nmap done|,? ?pipe).*", r"\1", output)
    return [" ".join(line.split()) for line in output.splitlines() if line.strip()]  # times are set in columns


@pytest.mark.peer
def test_as_on_the_host(host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]) -> None:
    for name in ("ping", "traceroute", "tracepath", "ip", "nmap"):
        host_program(name)
    command = [host_program("unshare"), "--net", "/bin/sh", "-c", f"ip link set lo up; {SCRIPT}"]
    host = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "unshare" in host.stderr:
        pytest.skip(f"no right to make a network namespace: {host.stderr.strip()}")
    done = jefeos_boot(root="/").run(["/bin/sh", "-c", SCRIPT], timeout=100)
    assert without_times(done.stdout.decode()) == without_times(host.stdout)
