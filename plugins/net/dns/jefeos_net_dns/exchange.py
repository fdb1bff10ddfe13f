"""One question to one server, and what its answer says (RFC 1035, sections 4 and 7; RFC 5452).

    ask(loop, entropy, server, name, type, timeout) -> dns.message.Message       a server of a link is ``fe80::1%eth0``

Against forged answers: each question has a random id and comes from a random port of its own; an answer counts only
from the server's address and port, with our id and exactly our question. Anything else is passed over, and the wait
goes on. A truncated answer is asked for again by TCP.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from jefeos.errors import Errno, KernelError

from jefeos_net_dns.cache import Answer

if TYPE_CHECKING:
    from jefeos.sched.clock import Entropy
    from jefeos.sched.loop import KernelLoop

PORT: Final = 53
PAYLOAD_BYTES: Final = 1232
"""What we say we take (EDNS): fits into any network's packets."""
FIRST_RANDOM_PORT: Final = 1024
PORT_TRIES: Final = 8
MOST_ALIASES: Final = 16
MOST_STRANGE: Final = 1000
"""Answers that do not count, after which a server is given up: somebody is guessing."""


def make_question(name: str, kind: int, entropy: Entropy) -> dns.message.Message:
    """A query. Raises KernelError(ENOENT) for what cannot be a name."""
    try:
        question = dns.message.make_query(name, dns.rdatatype.RdataType(kind), payload=PAYLOAD_BYTES, use_edns=0)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise KernelError(Errno.ENOENT, f"{name!r} is no host name: {error}") from None
    question.id = int.from_bytes(entropy.bytes(2), "big")
    return question


def is_answer(data: bytes, question: dns.message.Message) -> dns.message.Message | None:
    """The message, if it is whole and answers the question."""
    try:
        message = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError, IndexError, KeyError, AttributeError, TypeError, AssertionError):
        return None  # whatever a malformed message makes the library stumble over
    if message.id != question.id or not message.flags & dns.flags.QR or message.opcode() != question.opcode():
        return None
    if message.question != question.question and not (message.rcode() != dns.rcode.NOERROR and not message.question):
        return None
    return message


class _Asking(asyncio.DatagramProtocol):
    """Waits for the answer to one question."""

    def __init__(self, question: dns.message.Message, server: tuple[Any, ...], answer: asyncio.Future[Any]) -> None:
        self._question = question
        self._server = server
        self._answer = answer
        self._strange = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = is_answer(data, self._question) if tuple(addr) == self._server else None
        if message is None:
            self._strange += 1
            if self._strange > MOST_STRANGE and not self._answer.done():
                self._answer.set_exception(KernelError(Errno.EAGAIN, f"{self._server[0]} sends nothing but nonsense"))
        elif not self._answer.done():
            self._answer.set_result(message)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def ask(
    loop: KernelLoop, entropy: Entropy, server: str, name: str, kind: int, timeout_s: float, port: int = PORT
) -> dns.message.Message:
    """Ask once. Raises KernelError: EAGAIN if no answer came in time or the server cannot be reached."""
    question = make_question(name, kind, entropy)
    try:
        async with asyncio.timeout(timeout_s):
            places = await loop.getaddrinfo(server, port, type=socket.SOCK_DGRAM)
            message = await _by_datagram(loop, entropy, question, places[0][4])
            if message.flags & dns.flags.TC:
                message = await _by_stream(loop, question, (server, port))
            return message
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        raise KernelError(Errno.EAGAIN, f"{server} does not answer: {error or 'no answer in time'}") from None


async def _by_datagram(
    loop: KernelLoop, entropy: Entropy, question: dns.message.Message, server: tuple[Any, ...]
) -> dns.message.Message:
    answer: asyncio.Future[dns.message.Message] = loop.create_future()
    transport = await _open(loop, entropy, lambda: _Asking(question, server, answer), ":" in server[0])
    try:
        transport.sendto(question.to_wire(), server)
        return await answer
    finally:
        transport.close()


async def _open(loop: KernelLoop, entropy: Entropy, factory: Any, six: bool) -> asyncio.DatagramTransport:
    """A socket at a port that nobody can guess."""
    for attempt in range(PORT_TRIES):
        port = FIRST_RANDOM_PORT + int.from_bytes(entropy.bytes(2), "big") % (65_536 - FIRST_RANDOM_PORT)
        try:
            transport, _ = await loop.create_datagram_endpoint(factory, local_addr=("::" if six else "0.0.0.0", port))
            return transport  # type: ignore[no-any-return]
        except OSError:  # taken
            if attempt == PORT_TRIES - 1:
                raise
    raise AssertionError("not reached")


async def _by_stream(
    loop: KernelLoop, question: dns.message.Message, server: tuple[str, int]
) -> dns.message.Message:
    reader = asyncio.StreamReader(loop=loop)
    transport, _ = await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), *server)
    try:
        data = question.to_wire()
        transport.write(len(data).to_bytes(2, "big") + data)
        length = int.from_bytes(await reader.readexactly(2), "big")
        message = is_answer(await reader.readexactly(length), question)
    finally:
        transport.close()
    if message is None:
        raise OSError("it sent something else than an answer")
    return message


def read_answer(message: dns.message.Message, name: str, kind: int) -> tuple[Answer, int, str]:
    """What a message says about a name: the answer, its time to live in seconds, and the name that aliases lead to.

    Raises KernelError(EAGAIN) if the server failed, or its aliases lead nowhere.
    """
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise KernelError(Errno.EAGAIN, f"the server says {dns.rcode.to_text(code)}")
    owner, ttl_s = dns.name.from_text(name), 2**31
    for _ in range(MOST_ALIASES):
        rrset = message.get_rrset(message.answer, owner, 1, kind)
        if rrset is not None:
            return Answer(tuple(_text(record) for record in rrset)), min(ttl_s, rrset.ttl), name
        alias = message.get_rrset(message.answer, owner, 1, dns.rdatatype.CNAME)
        if alias is None:
            break
        owner, ttl_s = alias[0].target, min(ttl_s, alias.ttl)
        name = owner.to_text(omit_final_dot=True)
    else:
        raise KernelError(Errno.EAGAIN, f"{name}: its aliases lead nowhere")
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return Answer((), code != dns.rcode.NXDOMAIN), min(rrset.ttl, rrset[0].minimum), name
    return Answer((), code != dns.rcode.NXDOMAIN), 0, name


def _text(record: Any) -> str:
    target = getattr(record, "target", None)
    return target.to_text(omit_final_dot=True) if target is not None else record.to_text()
