"""Run inside of a fresh network namespace (`unshare --net`): a booted system on a TAP, and dnsmasq on the host's end.

Prints one line of JSON: what the system got, step by step. The TAP, its addresses and dnsmasq end with the namespace.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dns.rdatatype
import jefeos
from jefeos.errors import KernelError
from jefeos.net.address import address_text
from jefeos.testing.waiting import until
from jefeos_net_dhcp.system import clients_of

TAP = "jefedhcp0"
SERVER = "10.7.0.1"
LONG = "x" * 200


def shell(*words: str) -> None:
    subprocess.run(words, check=True)


class Dnsmasq:
    """dnsmasq with a range of addresses."""

    def __init__(self, first: str, last: str, folder: Path) -> None:
        program = shutil.which("dnsmasq")
        assert program is not None
        self.process = subprocess.Popen(
            [
                program, "--keep-in-foreground", "--conf-file=/dev/null", f"--interface={TAP}", "--bind-interfaces",
                "--no-resolv", "--no-hosts", "--no-ping", "--user=root", "--pid-file=", "--dhcp-authoritative",
                f"--dhcp-range={first},{last},255.255.255.0,120", f"--dhcp-leasefile={folder / first}",
                "--dhcp-option=option:T1,3", "--domain=test", "--address=/name.test/10.7.0.9",
                "--host-record=six.test,fd00::9", "--cname=alias.test,second.test", "--cname=second.test,six.test",
                *(f"--txt-record=long.test,{LONG}{number}" for number in range(20)), "--local=/test/",
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while ":0043 " not in Path("/proc/self/net/udp").read_text():  # the port of DHCP servers
            assert self.process.poll() is None, "dnsmasq has ended"
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


async def scenario(system: jefeos.System, dnsmasq: list[Dnsmasq], folder: Path) -> dict[str, Any]:
    kernel = system.kernel
    service = clients_of(kernel)["eth0"]
    client = service.client
    seen: dict[str, Any] = {"bound": await until(lambda: client.lease is not None, 80, 0.05)}
    lease = client.lease
    assert lease is not None, client.state
    seen["address"], seen["server"] = address_text(lease.address), address_text(lease.server)
    seen["domain"], seen["servers"] = lease.domain, [address_text(server) for server in lease.name_servers]
    seen["renewed"] = await until(
        lambda: client.lease is not None and client.lease.granted_ns > lease.granted_ns, 80, 0.05
    )

    resolver = kernel.net.resolver
    seen["name"] = [address_text(address) for address in await resolver.resolve("name.test", 2)]
    seen["searched"] = [address_text(address) for address in await resolver.resolve("name", 2)]
    seen["alias"] = [address_text(address) for address in await resolver.resolve("alias.test", 10)]
    try:
        await resolver.resolve("missing.test")
    except KernelError as error:
        seen["missing"] = str(error)
    seen["long"] = len((await resolver.lookup("long.test", dns.rdatatype.TXT)).values)  # type: ignore[attr-defined]

    dnsmasq.pop().stop()
    dnsmasq.append(Dnsmasq("10.7.0.100", "10.7.0.110", folder))
    service.renew()
    seen["moved"] = await until(lambda: client.lease is not None and client.lease.address[3] >= 100, 80, 0.05)
    seen["only"] = [
        address_text(own.address) for own in service.interface.addresses if len(own.address) == 4
    ]
    return seen


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    shell("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
    shell("ip", "addr", "add", f"{SERVER}/24", "dev", TAP)
    shell("ip", "link", "set", TAP, "up")
    shell("ip", "link", "set", "lo", "up")
    dnsmasq = [Dnsmasq("10.7.0.50", "10.7.0.60", folder)]
    try:
        with jefeos.boot(net=f"tap:{TAP}") as system:
            seen = system.kernel.loop.run_until_complete(scenario(system, dnsmasq, folder))
            ping = system.run(["ping", "-c", "3", "-i", "0.1", "-W", "60", SERVER])
            seen["ping"] = ping.stdout.decode()
            seen["nslookup"] = system.run(["nslookup", "name.test"]).stdout.decode()
            seen["resolv.conf"] = system.read_file("/etc/resolv.conf").decode()
    finally:
        for one in dnsmasq:
            one.stop()
        shutil.rmtree(folder)
    print(json.dumps(seen))


if __name__ == "__main__":
    sys.exit(main())
