"""Fixtures of the tests of the network as a whole: booted systems on a wire, and the host's side of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jefeos
import pytest
from jefeos.api import System
from network_support import BODY


@pytest.fixture
def boot() -> Iterator[Callable[..., System]]:
    """``boot(net="user", ...)``: a system that is shut down at the end of the test."""
    systems: list[System] = []

    def make(**options: Any) -> System:
        systems.append(jefeos.boot(**options))
        return systems[-1]

    yield make
    for system in systems:
        system.shutdown()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/body")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *words: Any) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[int]:
    """A web server on the host's 127.0.0.1; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()
