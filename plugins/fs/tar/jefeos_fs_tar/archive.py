"""The bytes of an archive, unpacked once: from a file of any known compression to random access.

Model::

    host file --magic--> decoder (plain, gzip, xz, bzip2, zstd) --chunks--> store
                                                                            |- bytes in memory    (up to 64 MiB)
                                                                            `- anonymous temp file (beyond)

A tar archive has no directory, so every member must be passed to find the next one; and a compressed stream
cannot be entered in the middle. Unpacking once and keeping the result is therefore both the simplest and the
fastest way (some 40 ms for a small distribution root). The compression is told by the first bytes, never by
the file's name.

Rules:

* The decoder checks the stream to its end mark (CRC, length): a truncated or damaged stream is a
  `CorruptError` that gives the offset *in the compressed file*; nothing else ever comes out of bad input.
* ``limit_bytes`` bounds what an archive may unpack to, so that a bomb costs a bounded time and disk.
* Several streams one after the other (as ``cat a.gz b.gz`` makes them) are one archive; zero padding after
  the last one is ignored, as `gzip` and `xz` do.

A plain ``.tar`` is also copied, since the host may change or cut the file while the guest runs from it; only
past the memory limit is it read in place.

Sources: RFC 1952 (gzip), the .xz file format 1.2, RFC 8878 (zstd).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from attrs import define, field
from jefeos.errors import BootError, CorruptError, Errno

MEBIBYTE = 1 << 20
MEMORY_LIMIT_BYTES = 64 * MEBIBYTE
UNPACKED_LIMIT_BYTES = 8 * 1024 * MEBIBYTE
CHUNK_BYTES = 256 * 1024
ZSTD_WINDOW_LIMIT_BYTES = 128 * MEBIBYTE  # what `zstd -d` accepts without --long
ZSTD_PIECE_BYTES = 256

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
BZIP2_MAGIC = b"BZh"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
TAR_MAGIC = b"ustar"
TAR_MAGIC_OFFSET = 257


class Store(Protocol):
    """Random access to an unpacked archive."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer (or none) past the end."""
        ...

    def close(self) -> None: ...


@define
class MemoryStore:
    """An archive held in memory."""

    data: bytes
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.data = b""


@define
class FileStore:
    """An archive in an open host file (a large one, in a temporary file without a name)."""

    file: BinaryIO
    size: int

    def read(self, offset: int, length: int) -> bytes:
        if offset >= self.size or length <= 0:
            return b""
        self.file.seek(offset)
        return self.file.read(min(length, self.size - offset))

    def close(self) -> None:
        self.file.close()


def compression_of(head: bytes) -> str | None:
    """The compression that the first bytes of a file show: ``gzip``, ``xz``, ``bzip2``, ``zstd`` or None."""
    for magic, name in (
        (GZIP_MAGIC, "gzip"),
        (XZ_MAGIC, "xz"),
        (BZIP2_MAGIC, "bzip2"),
        (ZSTD_MAGIC, "zstd"),
    ):
        if head.startswith(magic):
            return name
    return None


def looks_like_archive(path: Path) -> bool:
    """Whether a host file starts like something `open_archive` reads. Never raises for odd files."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    if compression_of(head) is not None:
        return True
    return head[TAR_MAGIC_OFFSET:].startswith(TAR_MAGIC) or path.suffix == ".tar"


def open_archive(
    path: Path,
    *,
    limit_bytes: int = UNPACKED_LIMIT_BYTES,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Store:
    """Unpack the archive at ``path``.

    Errors: `BootError` when the file cannot be read or its decoder is missing, `CorruptError` for bad data
    and for archives that unpack to more than ``limit_bytes``.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BootError(f"cannot open the archive {path}: {error.strerror}", Errno.ENOENT) from None
    with file:
        head = file.read(512)
        file.seek(0)
        kind = compression_of(head)
        if kind is None:
            return _open_plain(path, file, limit_bytes, memory_limit_bytes)
        return _unpack(_decoded(path, file, kind), path, limit_bytes, memory_limit_bytes)


def _open_plain(path: Path, file: BinaryIO, limit_bytes: int, memory_limit_bytes: int) -> Store:
    size = file.seek(0, 2)
    file.seek(0)
    if size > limit_bytes:
        raise CorruptError(f"{path}: {size} bytes, more than the limit of {limit_bytes}", Errno.EFBIG)
    if size <= memory_limit_bytes:
        return MemoryStore(file.read(size))
    return FileStore(path.open("rb"), size)


def _unpack(chunks: Iterator[bytes], path: Path, limit_bytes: int, memory_limit_bytes: int) -> Store:
    """Collect the chunks, moving to a temporary file once they pass the memory limit."""
    parts: list[bytes] = []
    size = 0
    spool: Any = None
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise CorruptError(
                    f"{path}: unpacks to more than the limit of {limit_bytes} bytes", Errno.EFBIG
                )
            if spool is None and size > memory_limit_bytes:
                spool = tempfile.TemporaryFile(prefix="jefeos-root-")  # noqa: SIM115 (the store keeps it)
                spool.writelines(parts)
                parts.clear()
            if spool is None:
                parts.append(chunk)
            else:
                spool.write(chunk)
        if spool is None:
            return MemoryStore(b"".join(parts))
        spool.flush()
        store, spool = FileStore(spool, size), None
        return store
    except OSError as error:
        raise BootError(f"{path}: cannot keep the unpacked archive: {error.strerror or error}") from None
    finally:
        if spool is not None:
            spool.close()


def _decoded(path: Path, file: BinaryIO, kind: str) -> Iterator[bytes]:
    """The plain bytes of a compressed file, chunk by chunk; stream after stream until its end."""
    new_decoder, failures = _decoder_of(kind, path)
    consumed = 0  # bytes of the file handed to finished or current decoders
    pending = b""
    streams = 0
    while True:
        if len(pending) < len(XZ_MAGIC):
            pending += file.read(CHUNK_BYTES)
        if streams:
            # Between streams: padding, another stream, or rubbish that the tools ignore with a warning.
            stripped = pending.lstrip(b"\x00")
            if pending and not stripped:
                consumed += len(pending)
                pending = b""
                continue
            consumed += len(pending) - len(stripped)
            pending = stripped
            if not pending or compression_of(pending.ljust(8, b"\x00")) != kind:
                return
        decoder = new_decoder()
        streams += 1
        ended = False
        while not decoder.eof:
            if not pending and getattr(decoder, "needs_input", True):
                pending = file.read(CHUNK_BYTES)
                ended = not pending
            try:
                chunk = decoder.decompress(pending, CHUNK_BYTES * 4)
            except failures as error:
                raise CorruptError(
                    f"{path}: bad {kind} data between offsets {consumed} and {consumed + len(pending)}: {error}"
                ) from None
            rest = decoder.rest()
            consumed += len(pending) - len(rest)
            pending = rest
            if chunk:
                yield chunk
            elif ended and not decoder.eof:
                # It was asked once more without input, since a decoder may hold output back.
                raise CorruptError(f"{path}: the {kind} stream is cut short at offset {consumed}")


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    def rest(self) -> bytes: ...


class _Zlib:
    """zlib's decoder in the shape of the others (it keeps what did not fit apart from what came after)."""

    needs_input = True  # what is left over is handed back through rest(), so every call brings its own input

    def __init__(self, new: Any) -> None:
        self._inner = new()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        result: bytes = self._inner.decompress(data, max_length)
        return result

    def rest(self) -> bytes:
        inner = self._inner
        left: bytes = inner.unused_data if inner.eof else inner.unconsumed_tail
        return left


class _Buffered:
    """The lzma and bz2 decoders, which keep unread input themselves until their stream ends."""

    def __init__(self, new: Any) -> None:
        self._inner = new()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        result: bytes = self._inner.decompress(data, max_length)
        return result

    def rest(self) -> bytes:
        left: bytes = self._inner.unused_data if self._inner.eof else b""
        return left


class _Zstd:
    """zstandard's push decoder, which has no output limit: it is fed small pieces instead.

    A zstd block takes 4 bytes or more and unpacks to 128 KiB at most, so a piece gives 8 MiB in the worst
    case; that keeps the memory bounded without a second buffering layer.
    """

    needs_input = True

    def __init__(self, new: Any) -> None:
        self._inner = new()
        self._rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = data[:ZSTD_PIECE_BYTES]
        result: bytes = self._inner.decompress(piece)
        self._rest = (self._inner.unused_data if self._inner.eof else b"") + data[len(piece) :]
        return result

    def rest(self) -> bytes:
        return self._rest


def _decoder_of(kind: str, path: Path) -> tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """How to make a decoder of this kind, and the exceptions it raises for bad data. Imports what it needs."""
    if kind == "gzip":
        import zlib

        return lambda: _Zlib(lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)), (zlib.error,)
    if kind == "xz":
        import lzma

        return lambda: _Buffered(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)), (lzma.LZMAError, EOFError)
    if kind == "bzip2":
        import bz2

        return lambda: _Buffered(bz2.BZ2Decompressor), (OSError, ValueError, EOFError)
    try:
        import zstandard
    except ImportError:
        raise BootError(
            f"{path} is compressed with zstd: install the package 'zstandard' to read it"
        ) from None
    window = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT_BYTES)
    return lambda: _Zstd(window.decompressobj), (zstandard.ZstdError,)
