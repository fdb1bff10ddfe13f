"""``wget``: fetches a file over HTTP/1.1 (RFC 9112): redirects, chunks, and nothing half-written.

The file is written beside its place and renamed there when it is whole. HTTPS is refused with a clear line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from attrs import frozen
from jefeos.errors import KernelError
from jefeos.net.address import SocketAddress, family_of
from jefeos.net.files import StreamFile

from jefeos_net_tools.common import CommandError, command, resolve, say, stack_of, usage, words_of

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

USAGE: Final = "wget [-q] [-O FILE] [-T SECONDS] URL"
MOST_REDIRECTS: Final = 10
MOST_HEAD_BYTES: Final = 64 << 10
MOST_LINE_BYTES: Final = 16 << 10
PIECE_BYTES: Final = 64 << 10
SECOND_NS: Final = 1_000_000_000


@command
async def wget(proc: Proc, argv: list[bytes]) -> int:
    """``wget [-q] [-O file] [-T seconds] url``: ``-O -`` is standard output."""
    words = words_of(argv)
    quiet, output, patience_s = False, None, 60.0
    places = []
    while words:
        word = words.pop(0)
        if word == "-q":
            quiet = True
        elif word == "-O" and words:
            output = words.pop(0)
        elif word == "-T" and words:
            try:
                patience_s = float(words.pop(0))
            except ValueError:
                raise usage(USAGE) from None
        elif word.startswith("-"):
            raise usage(USAGE)
        else:
            places.append(word)
    if len(places) != 1:
        raise usage(USAGE)
    url = places[0] if "://" in places[0] else f"http://{places[0]}"
    for _ in range(MOST_REDIRECTS):
        response = await _request(proc, url, int(patience_s * SECOND_NS))
        try:
            if response.status in (301, 302, 303, 307, 308) and "location" in response.headers:
                url = urljoin(url, response.headers["location"])
                continue
            if response.status != 200:
                raise CommandError(f"{url}: the server says {response.status} {response.reason}")
            await _save(proc, url, response, output, quiet)
            return 0
        finally:
            response.file.unref()
    raise CommandError(f"{places[0]}: more than {MOST_REDIRECTS} redirects")


class Incoming:
    """What comes from the server, in lines or in bytes."""

    def __init__(self, file: StreamFile) -> None:
        self._file = file
        self._buffer = b""

    async def line(self) -> bytes:
        """A line without its end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > MOST_LINE_BYTES:
                raise CommandError("the server sends a line without end")
            if not await self._more():
                raise CommandError("the connection ended too early")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def some(self, most: int) -> bytes:
        """Up to ``most`` bytes; b"" at the end."""
        if not self._buffer and not await self._more():
            return b""
        data, self._buffer = self._buffer[:most], self._buffer[most:]
        return data

    async def _more(self) -> bool:
        data = self._file.receive(PIECE_BYTES, nonblock=False)
        data = data if isinstance(data, bytes) else await data
        self._buffer += data
        return bool(data)


@frozen
class Response:
    """The head of an answer, and where its body comes from."""

    file: StreamFile
    incoming: Incoming
    status: int
    reason: str
    headers: dict[str, str]

    @property
    def length(self) -> int | None:
        """Bytes of the body, if the server says."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and len(text) < 20 else None

    async def body(self) -> AsyncIterator[bytes]:
        """The body, in pieces."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = (await self.incoming.line()).partition(b";")[0].strip()
                try:
                    left = int(size, 16)
                except ValueError:
                    raise CommandError("the server sends a broken chunk") from None
                if left <= 0:
                    return
                async for piece in self._exactly(left):
                    yield piece
                await self.incoming.line()
        elif self.length is not None:
            async for piece in self._exactly(self.length):
                yield piece
        else:
            while piece := await self.incoming.some(PIECE_BYTES):
                yield piece

    async def _exactly(self, left: int) -> AsyncIterator[bytes]:
        while left:
            piece = await self.incoming.some(min(left, PIECE_BYTES))
            if not piece:
                raise CommandError(f"the connection ended with {left} bytes to come")
            left -= len(piece)
            yield piece


async def _request(proc: Proc, url: str, patience_ns: int) -> Response:
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise CommandError(f"{url}: only http is supported, not {parts.scheme}")
    try:
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise CommandError(f"{url}: that is no port") from None
    if not host:
        raise CommandError(f"{url}: no host is named", 2)
    address = await resolve(proc, host)
    file = StreamFile(proc.kernel.vfs, stack_of(proc).open_stream(family_of(address)), 0)
    file.receive_timeout_ns = file.send_timeout_ns = patience_ns
    try:
        connected = file.connect(SocketAddress(address, port))
        if not isinstance(connected, int):
            await connected
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: wget (JefeOS)\r\nConnection: close\r\n\r\n"
        sent = file.send(head.encode("utf-8", "surrogateescape"), nonblock=False)
        if not isinstance(sent, int):
            await sent
        return await _head(file)
    except KernelError as error:
        file.unref()
        raise CommandError(f"{url}: {error}") from None
    except BaseException:
        file.unref()
        raise


async def _head(file: StreamFile) -> Response:
    incoming = Incoming(file)
    version, _, rest = (await incoming.line()).decode("latin-1").partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not code.isdecimal():
        raise CommandError("the server does not speak HTTP/1")
    headers: dict[str, str] = {}
    total = 0
    while line := await incoming.line():
        total += len(line)
        if total > MOST_HEAD_BYTES:
            raise CommandError("the server's headers are too long")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Response(file, incoming, int(code), reason, headers)


async def _save(proc: Proc, url: str, response: Response, output: str | None, quiet: bool) -> None:
    if output == "-":
        async for piece in response.body():
            await proc.write(1, piece)
        return
    name = output or urlsplit(url).path.rpartition("/")[2] or "index.html"
    place = name.encode("utf-8", "surrogateescape")
    beside = place + b".part"
    fd = await proc.create(beside)
    total = 0
    try:
        async for piece in response.body():
            total += len(piece)
            await proc.write(fd, piece)
    except BaseException:
        proc.close(fd)
        proc.unlink(beside)
        raise
    proc.close(fd)
    proc.rename(beside, place)
    if not quiet:
        await say(proc, f"{name}: {total} bytes\n")
