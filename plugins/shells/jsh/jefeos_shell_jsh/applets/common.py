"""What the applets share: options, messages, input and output."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from jefeos.errors import Errno, KernelError
from jefeos.proc.applet import Proc
from jefeos.sched.wait import Interrupted
from jefeos.vfs.inode import Stat

from ..messages import error_text, shown

STATUS_USAGE = 2
CHUNK_BYTES = 65536
TYPE_MASK = 0o170000
DIRECTORY, SYMLINK, REGULAR = 0o040000, 0o120000, 0o100000


class UsageFailure(Exception):
    """The applet was called wrongly; the message says how."""


async def complain(proc: Proc, name: bytes, message: str) -> None:
    """One line on standard error."""
    await proc.write(2, f"{shown(name)}: {message}\n".encode())


async def fail(proc: Proc, name: bytes, what: bytes, error: KernelError) -> int:
    """Report a failed call on ``what``. Signals and closed pipes are not the applet's to report."""
    if isinstance(error, Interrupted) or error.errno == Errno.EPIPE:
        raise error
    await complain(proc, name, f"{shown(what)}: {error_text(error)}")
    return 1


def options(argv: list[bytes], flags: bytes, valued: bytes = b"") -> tuple[dict[str, bytes], list[bytes]]:
    """Split the arguments: single-letter options (``valued`` ones take a value) and operands.

    Errors: `UsageFailure` for an option that is not known or lacks its value.
    """
    found: dict[str, bytes] = {}
    words = argv[1:]
    while words and words[0][:1] == b"-" and len(words[0]) > 1:
        word = words.pop(0)
        if word == b"--":
            break
        position = 1
        while position < len(word):
            letter = word[position : position + 1]
            position += 1
            if letter in valued and letter:
                value = word[position:] or (words.pop(0) if words else None)
                if value is None:
                    raise UsageFailure(f"-{letter.decode()} needs a value")
                found[letter.decode()] = value
                break
            if letter not in flags:
                raise UsageFailure(f"unknown option {shown(word)}")
            found[letter.decode()] = b""
    return found, words


def number(text: bytes, what: str) -> int:
    """A plain decimal number. Errors: `UsageFailure`."""
    if not text.isdigit() or len(text) > 18:
        raise UsageFailure(f"{shown(text)} is no {what}")
    return int(text)


def checked(
    applet: Callable[[Proc, list[bytes]], Awaitable[int]],
) -> Callable[[Proc, list[bytes]], Awaitable[int]]:
    """Turn wrong use into one line and status 2."""

    async def run(proc: Proc, argv: list[bytes]) -> int:
        try:
            return await applet(proc, argv)
        except UsageFailure as failure:
            await complain(proc, argv[0], str(failure))
            return STATUS_USAGE

    run.__doc__ = applet.__doc__
    return run


# Iterators written out as classes: an asynchronous generator that is left in the middle, as when a signal ends the
# applet, would be closed later by the event loop, when the process is gone.


class Chunks:
    """The content of a descriptor as it comes."""

    def __init__(self, proc: Proc, descriptor: int) -> None:
        self._proc = proc
        self._descriptor = descriptor

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        part = await self._proc.read(self._descriptor, CHUNK_BYTES)
        if not part:
            raise StopAsyncIteration
        return part


class Lines:
    """The lines of a descriptor, each with its newline; the last one may lack it."""

    def __init__(self, proc: Proc, descriptor: int) -> None:
        self._proc = proc
        self._descriptor = descriptor
        self._ready: list[bytes] = []
        self._rest: list[bytes] = []

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            part = await self._proc.read(self._descriptor, CHUNK_BYTES)
            if not part:
                last = b"".join(self._rest)
                self._rest.clear()
                if last:
                    return last
                raise StopAsyncIteration
            if b"\n" not in part:
                self._rest.append(part)
                continue
            *whole, rest = (b"".join(self._rest) + part).split(b"\n")
            self._rest = [rest] if rest else []
            self._ready = [line + b"\n" for line in reversed(whole)]
        return self._ready.pop()


class Inputs:
    """Open each file in turn (``-`` and no files at all: standard input); what cannot be opened goes to ``failed``."""

    def __init__(self, proc: Proc, argv0: bytes, paths: list[bytes], failed: list[bytes]) -> None:
        self._proc = proc
        self._name = argv0
        self._left = list(reversed(paths or [b"-"]))
        self._failed = failed
        self._open: int | None = None

    def __aiter__(self) -> Inputs:
        return self

    async def __anext__(self) -> tuple[bytes, int]:
        if self._open is not None:
            self._proc.close(self._open)
            self._open = None
        while self._left:
            path = self._left.pop()
            if path == b"-":
                return path, 0
            try:
                self._open = await self._proc.open(path)
            except KernelError as error:
                await fail(self._proc, self._name, path, error)
                self._failed.append(path)
                continue
            return path, self._open
        raise StopAsyncIteration


def status_or_none(proc: Proc, path: bytes, *, follow: bool = True) -> Stat | None:
    """stat(2), or None for what is not there."""
    try:
        return proc.stat(path, follow=follow)
    except KernelError as error:
        if error.errno in (Errno.ENOENT, Errno.ENOTDIR):
            return None
        raise


def is_directory(proc: Proc, path: bytes) -> bool:
    """Whether the path leads to a directory."""
    status = status_or_none(proc, path)
    return status is not None and status.mode & TYPE_MASK == DIRECTORY


def base_name(path: bytes) -> bytes:
    """The last component."""
    return path.rstrip(b"/").rpartition(b"/")[2] or b"/"


def join(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder.endswith(b"/") else folder + b"/" + name
