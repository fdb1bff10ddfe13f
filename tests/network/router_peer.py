"""Run inside of a fresh network namespace: a booted system on a TAP, and dnsmasq as a router of IPv6 alone (RFC 8106).

Prints one line of JSON. The name server that is advertised has the address of the link, or a global one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import dns.rdatatype
import jefeos
from jefeos.net.address import AF_INET6, address_text
from jefeos.testing.waiting import until

TAP = "jefera0"
SERVER = "fd00:7::1"
TEXTS = 20


async def scenario(system: jefeos.System) -> dict[str, Any]:
    net = system.kernel.net
    seen: dict[str, Any] = {"advertised": await until(lambda: net.name_servers.servers, 80, 0.05)}
    resolver = net.resolver
    seen["name"] = [address_text(address) for address in await resolver.resolve("name.test", AF_INET6)]
    lookup = resolver.lookup("long.test", dns.rdatatype.TXT)  # type: ignore[attr-defined]
    seen["long"] = len((await lookup).values)
    return seen


def main(option: str) -> None:
    for words in (f"tuntap add dev {TAP} mode tap", f"addr add {SERVER}/64 dev {TAP} nodad", f"link set {TAP} up"):
        subprocess.run(["ip", *words.split()], check=True)
    dnsmasq = subprocess.Popen(
        [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--interface={TAP}", "--no-resolv",
            "--no-hosts", "--user=root", "--pid-file=", "--enable-ra", "--dhcp-range=fd00:7::,ra-only,64,600",
            f"--ra-param={TAP},5,600", f"--dhcp-option=option6:dns-server,[{option}]", "--local=/test/",
            "--address=/name.test/fd00:7::9",
            *(f"--txt-record=long.test,{'x' * 200}{number}" for number in range(TEXTS)),
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with jefeos.boot(net=f"tap:{TAP}") as system:
            seen = system.kernel.loop.run_until_complete(scenario(system))
            seen["nslookup"] = system.run(["nslookup", "-type=AAAA", "name.test"]).stdout.decode()
            seen["resolv.conf"] = system.read_file("/etc/resolv.conf").decode()
    finally:
        dnsmasq.terminate()
        dnsmasq.wait()
    print(json.dumps(seen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
