"""The stub resolver: from a name to addresses (RFC 1034, section 5.3.1; resolv.conf(5), hosts(5)).

    resolve(name) -> /etc/hosts, then for the name and each entry of the search list:
                     cache, then each server in turn, twice; aliases are followed

Servers come from leases and routers (`set_servers`), otherwise from the system's /etc/resolv.conf, read anew when it
has changed. Of names with a dot the name itself is tried first, of the others the search list (ndots:1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.rdatatype
import dns.reversename
from jefeos.errors import Errno, KernelError, UsageError
from jefeos.net.address import AF_INET, AF_INET6, Address, address_text, parse_address
from jefeos.net.services import Resolver

from jefeos_net_dns.cache import Answer, Cache
from jefeos_net_dns.exchange import MOST_ALIASES, ask, read_answer

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

ROUNDS: Final = 2
TIMEOUT_S: Final = 3.0
MOST_SERVERS: Final = 3
MOST_SEARCHED: Final = 6
MOST_FILE_BYTES: Final = 1 << 16


class StubResolver(Resolver):
    """See the module's text."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.cache = Cache()
        self.port = 53
        self._given: list[str] = []
        self._given_search: list[str] = []

    def set_servers(self, servers: Sequence[str], search: Sequence[str] = ()) -> None:
        given = list(servers)[:MOST_SERVERS]
        if given != self._given:
            self.cache.clear()
        self._given, self._given_search = given, list(search)[:MOST_SEARCHED]

    # --- names to addresses --------------------------------------------------------------------------------

    async def resolve(self, name: str, family: int = 0) -> Sequence[Address]:
        name = name.strip()
        found = self._in_hosts(name.rstrip(".").lower(), family)
        if found:
            return found
        servers, search = self.configuration()
        if not servers:
            raise KernelError(Errno.EAGAIN, f"{name}: no name server is known")
        failure = KernelError(Errno.ENOENT, f"{name}: no such name")
        for candidate in candidates(name, search):
            try:
                return await self._addresses(candidate, family, servers)
            except KernelError as error:
                if error.errno != Errno.ENOENT:
                    raise
                failure = error
        raise failure

    async def _addresses(self, name: str, family: int, servers: list[str]) -> list[Address]:
        kinds = [dns.rdatatype.A] if family == AF_INET else [dns.rdatatype.AAAA] if family == AF_INET6 else [
            dns.rdatatype.A, dns.rdatatype.AAAA
        ]  # fmt: skip
        answers = await asyncio.gather(*(self.lookup(name, kind, servers) for kind in kinds), return_exceptions=True)
        addresses: list[Address] = []
        for answer in answers:
            if isinstance(answer, Answer):
                addresses += [parse_address(value) for value in answer.values]
        if addresses:
            return addresses
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        raise KernelError(Errno.ENOENT, f"{name}: no such name, or it has no address")

    async def lookup(self, name: str, kind: int, servers: list[str] | None = None) -> Answer:
        """The records of one type, as text, whatever aliases lead to them. Raises KernelError(EAGAIN)."""
        servers = self.configuration()[0] if servers is None else servers
        question = name.rstrip(".").lower(), int(kind)
        answer = self.cache.get(question, self._kernel.loop.time())
        if answer is not None:
            return answer
        target, ttl_s = name, 2**31
        for _ in range(MOST_ALIASES):
            message = await self._ask_all(target, kind, servers)
            answer, lives_s, last = read_answer(message, target, kind)
            ttl_s = min(ttl_s, lives_s)
            if answer.values or not answer.exists or last.lower() == target.lower().rstrip("."):
                self.cache.put(question, answer, ttl_s, self._kernel.loop.time())
                return answer
            target = last
        raise KernelError(Errno.EAGAIN, f"{name}: its aliases lead nowhere")

    async def _ask_all(self, name: str, kind: int, servers: list[str]) -> dns.message.Message:  # type: ignore[name-defined]
        failure = KernelError(Errno.EAGAIN, "no name server is known")
        for _ in range(ROUNDS):
            for server in servers:
                try:
                    message = await ask(
                        self._kernel.loop, self._kernel.entropy, server, name, kind, TIMEOUT_S, self.port
                    )
                    read_answer(message, name, kind)  # a server that failed is as good as one that is silent
                    return message
                except KernelError as error:
                    if error.errno != Errno.EAGAIN:
                        raise
                    failure = error
        raise failure

    async def name_of(self, address: Address) -> str:
        for addresses, names in self._hosts():
            if address in addresses:
                return names[0]
        reverse = dns.reversename.from_address(address_text(address)).to_text()
        answer = await self.lookup(reverse, dns.rdatatype.PTR)
        if not answer.values:
            raise KernelError(Errno.ENOENT, f"{address_text(address)} has no name")
        return answer.values[0]

    # --- the system's files --------------------------------------------------------------------------------

    def configuration(self) -> tuple[list[str], list[str]]:
        """Servers and search list."""
        if self._given:
            return self._given, self._given_search
        servers: list[str] = []
        search: list[str] = []
        for line in self._lines(b"/etc/resolv.conf"):
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                try:
                    servers.append(str(ip_address(words[1])))
                except ValueError:
                    continue
            elif words and words[0] in ("search", "domain"):
                search = words[1:]
        return servers[:MOST_SERVERS], search[:MOST_SEARCHED]

    def _hosts(self) -> list[tuple[list[Address], list[str]]]:
        entries: list[tuple[list[Address], list[str]]] = []
        for line in self._lines(b"/etc/hosts"):
            words = line.partition("#")[0].split()
            if len(words) >= 2:
                try:
                    entries.append(([parse_address(words[0])], [word.lower() for word in words[1:]]))
                except UsageError:
                    continue
        return entries

    def _in_hosts(self, name: str, family: int) -> list[Address]:
        wanted = {AF_INET: 4, AF_INET6: 16}.get(family, 0)
        return [
            address
            for addresses, names in self._hosts()
            if name in names
            for address in addresses
            if wanted in (0, len(address))
        ]

    def _lines(self, path: bytes) -> list[str]:
        """A small file of the system; nothing if it is not there."""
        vfs = self._kernel.vfs
        try:
            inode = vfs.resolve(vfs.as_kernel(), path).inode
            return bytes(inode.read(0, MOST_FILE_BYTES)).decode("utf-8", "replace").splitlines()
        except KernelError:
            return []


def candidates(name: str, search: Sequence[str]) -> list[str]:
    """The names to try, in order."""
    if name.endswith("."):
        return [name]
    searched = [f"{name}.{domain.strip('.')}" for domain in search if domain.strip(".")]
    return [name, *searched] if "." in name else [*searched, name]
