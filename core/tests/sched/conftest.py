"""Programs that compute and talk, and several of them at once in one system."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.api import System
from jefeos.host import BytesInput, CaptureOutput
from jefeos.proc.process import Process
from jefeos.testing.programs import (
    HEADERS_BYTES,
    MOV_EAX,
    MOV_EDI,
    SYS_EXIT,
    SYSCALL,
    TEXT_ADDRESS,
    call,
    elf,
)


def talks(letter: bytes, times: int, loops: int) -> bytes:
    """A program that writes ``letter`` ``times`` times, with ``2 * loops`` instructions before each."""
    head = b"\xbb" + struct.pack("<I", times)  # mov ebx, times
    body = b"\xb9" + struct.pack("<I", loops) + b"\xff\xc9\x75\xfc"  # mov ecx, loops; dec ecx; jnz -4
    body += MOV_EAX + struct.pack("<I", 1) + MOV_EDI + struct.pack("<I", 1) + b"\xbe%s\xba"
    body += struct.pack("<I", 1) + SYSCALL + b"\xff\xcb"  # write(1, &letter, 1); dec ebx
    tail = MOV_EDI + bytes(4) + call(SYS_EXIT)
    body_bytes = len(body) + 2  # "%s" becomes four bytes
    code_bytes = len(head) + body_bytes + 2 + len(tail)
    address = struct.pack("<I", TEXT_ADDRESS + HEADERS_BYTES + code_bytes)
    jump = b"\x75" + struct.pack("<b", -(body_bytes + 2))
    return elf(head + body.replace(b"%s", address) + jump + tail + letter)


class Together:
    """Several programs at once on one output."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.output = CaptureOutput()
        self.processes: list[Process] = []

    def start(self, *argv: bytes, image: bytes | None = None, nice: int = 0) -> Process:
        kernel = self.system.kernel
        if image is not None:
            self.system.write_file(argv[0].decode(), image, 0o755)
        streams = kernel.host_streams
        files = [streams.open_source(BytesInput()), streams.open_sink(self.output), streams.open_sink(self.output)]
        process = kernel.start(list(argv), files=files)
        process.nice = nice
        self.processes.append(process)
        return process

    def applet(self, name: str, body: Callable[..., Any]) -> Process:
        """Start a coroutine function as a program."""
        self.system.kernel.applets[name] = body
        return self.start(b"/bin/" + name.encode(), image=b"#!jefeos-applet " + name.encode() + b"\n")

    def finish(self, timeout_s: float = 60) -> bytes:
        """Wait for all; what they wrote."""
        for process in self.processes:
            assert self.system.kernel.run_until_exit(process, timeout_s) is not None, process
        return bytes(self.output.data)


@pytest.fixture
def together(jefeos_boot: Callable[..., System]) -> Callable[..., Together]:
    """``together(**options)``: boot, and a stage for several programs."""
    return lambda **options: Together(jefeos_boot(**options))


@pytest.fixture(name="talks")
def talks_fixture() -> Callable[[bytes, int, int], bytes]:
    """See `talks`."""
    return talks
