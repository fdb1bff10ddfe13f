"""asyncio inside the system: servers and clients over the kernel's stack, TLS included, as libraries use them."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from jefeos.api import System
from network_support import in_kernel

Boot = Callable[..., System]
LARGE = bytes(range(253)) * 20_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, for ``localhost`` and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2)).add_extension(names, False).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _round_trip(host: str, port: int, data: bytes, **options: object) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, **options)

    async def send() -> None:
        writer.write(data)
        await writer.drain()

    sending = asyncio.ensure_future(send())
    answer = await reader.readexactly(len(data))
    await sending
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_streams_over_lo(boot: Boot, host: str) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(_echo, host, 7000)
        assert await _round_trip(host, 7000, LARGE) == LARGE
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, 7000)

    async def at_rest(system: System) -> None:
        while any(info.state not in ("TIME_WAIT", "") for info in system.kernel.net.stack.sockets()):
            await asyncio.sleep(0.01)

    system = boot()
    in_kernel(system, scenario())
    in_kernel(system, at_rest(system))


def test_tls_both_ways_and_a_client_that_speaks_none(boot: Boot, certificate: Path) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    asking = ssl.create_default_context(cafile=str(certificate))

    async def scenario() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 7443, ssl=serving)
        assert await _round_trip("127.0.0.1", 7443, LARGE, ssl=asking) == LARGE
        reader, writer = await asyncio.open_connection("127.0.0.1", 7443)
        writer.write(b"GET / HTTP/1.0\r\n\r\n" * 10)
        try:
            assert len(await reader.read()) < 100  # an alert at most
        except ConnectionResetError:
            pass  # it hung up on unread words
        writer.close()
        strict = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", 7443, ssl=strict)
        server.close()

    in_kernel(boot(), scenario())


def test_start_tls_in_the_middle_of_a_connection(boot: Boot, certificate: Path) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    asking = ssl.create_default_context(cafile=str(certificate))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(serving)
        await _echo(reader, writer)

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 7025)
        reader, writer = await asyncio.open_connection("127.0.0.1", 7025)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(asking, server_hostname="localhost")
        writer.write(b"secret")
        assert await reader.readexactly(6) == b"secret"
        assert writer.get_extra_info("peername")[:2] == ("127.0.0.1", 7025)
        writer.close()
        server.close()

    if not hasattr(asyncio.StreamWriter, "start_tls"):
        pytest.skip("this Python has no StreamWriter.start_tls")
    in_kernel(boot(), scenario())


def test_a_slow_reader_makes_the_writer_wait(boot: Boot) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(64 << 20))
        assert writer.transport.get_write_buffer_size() > 0
        await asyncio.sleep(0.2)
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 7001)
        reader, writer = await asyncio.open_connection("127.0.0.1", 7001)
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
        assert total == 64 << 20
        writer.close()
        server.close()

    in_kernel(boot(), scenario())


def test_names_and_ports_that_cannot_be(boot: Boot) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError, match=r"nowhere\.invalid"):
            await asyncio.open_connection("nowhere.invalid", 80)
        with pytest.raises(OverflowError):
            await asyncio.open_connection("127.0.0.1", 70_000)
        with pytest.raises(ValueError, match="sock= is not supported"):
            await loop.create_server(asyncio.Protocol, sock=object())
        found = await loop.getaddrinfo("127.0.0.1", 80, type=1)
        assert [entry[4] for entry in found] == [("127.0.0.1", 80)]
        first = await asyncio.start_server(_echo, "127.0.0.1", 7002)
        with pytest.raises(OSError, match=r"EADDRINUSE|in use"):
            await asyncio.start_server(_echo, "127.0.0.1", 7002)
        first.close()

    in_kernel(boot(), scenario())


def test_a_protocol_that_raises_ends_only_its_own_connection(boot: Boot) -> None:
    class Broken(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("this protocol is broken")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        told: list[object] = []
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        await loop.create_server(Broken, "127.0.0.1", 7003)
        good = await asyncio.start_server(_echo, "127.0.0.1", 7004)
        reader, writer = await asyncio.open_connection("127.0.0.1", 7003)
        writer.write(b"x")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            if not await reader.read():
                raise ConnectionResetError
        assert [str(error) for error in told] == ["this protocol is broken"]
        assert await _round_trip("127.0.0.1", 7004, b"fine") == b"fine"
        good.close()

    in_kernel(boot(), scenario())
