"""``nslookup``: asks the name servers, or one that is named."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import dns.rdatatype
import dns.reversename
from jefeos.errors import KernelError, UsageError
from jefeos.net.address import address_text, parse_address

from jefeos_net_dns.resolver import StubResolver

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

USAGE: Final = b"usage: nslookup [-type=TYPE] NAME [SERVER]\n"


async def nslookup(proc: Proc, argv: list[bytes]) -> int:
    """``nslookup [-type=TYPE] NAME [SERVER]``."""
    words = [word.decode("utf-8", "replace") for word in argv[1:]]
    kinds = [dns.rdatatype.A, dns.rdatatype.AAAA]
    if words and words[0].startswith("-"):
        option, _, kind = words.pop(0).partition("=")
        try:
            if option not in ("-type", "-query", "-q"):
                raise ValueError(option)
            kinds = [dns.rdatatype.from_text(kind)]
        except (ValueError, dns.rdatatype.UnknownRdatatype):
            await proc.write(2, USAGE)
            return 2
    if not 1 <= len(words) <= 2:
        await proc.write(2, USAGE)
        return 2
    resolver = proc.kernel.net.resolver
    if not isinstance(resolver, StubResolver):
        await proc.write(2, b"nslookup: the system's resolver is another one\n")
        return 1
    name = words[0]
    try:
        servers = [str(ip_address(words[1]))] if len(words) == 2 else resolver.configuration()[0]
    except ValueError as error:
        await proc.write(2, f"nslookup: {error}\n".encode())
        return 2
    if not servers:
        await proc.write(2, b"nslookup: no name server is known\n")
        return 1
    try:
        name = dns.reversename.from_address(str(address_text(parse_address(name)))).to_text()
        kinds = [dns.rdatatype.PTR]
    except UsageError:
        name = words[0]
    await proc.write(1, f"Server: {servers[0]}\n\n".encode())
    found = False
    for kind in kinds:
        try:
            answer = await proc.on_loop(resolver.lookup(name, kind, servers))
        except KernelError as error:
            await proc.write(2, f"nslookup: {words[0]}: {error.args[0] if error.args else error}\n".encode())
            return 1
        for value in answer.values:
            found = True
            await proc.write(1, f"{words[0]}\t{dns.rdatatype.to_text(kind)}\t{value}\n".encode())
    if not found:
        await proc.write(2, f"nslookup: {words[0]}: no such name, or no record of that type\n".encode())
    return 0 if found else 1
