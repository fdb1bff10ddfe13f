"""Programs that nobody here wrote, inside of the system and on the host, through the wire `user`: iperf3, nginx, curl,
wget, Python's web server, wrk."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jefeos.api import System
from network_support import BODY, PATIENCE_S, free_port, wait_for_port

Boot = Callable[..., System]
HostProgram = Callable[[str], str]
WAIT_FOR_ADDRESS = "for i in $(seq 600); do ip -4 addr show eth0 | grep -q inet && break; sleep 0.1; done; "


class OnTheHost(threading.Thread):
    """Something that the host does while the system runs."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE_S)
        if self._error is not None:
            raise self._error
        assert not self.is_alive(), "the host's side has not ended"
        return self._result


def bash(system: System, script: str) -> bytes:
    """The output of a script in the system, once it has its address."""
    done = system.run(["/bin/bash", "-c", WAIT_FOR_ADDRESS + script], timeout=PATIENCE_S)
    assert done.status == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def fetch(url: str) -> bytes:
    """What a web server that may not be up yet says."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return bytes(answer.read())
        except (ConnectionError, urllib.error.URLError):
            time.sleep(0.1)
    raise TimeoutError(url)


@pytest.fixture
def nginx(host_program: HostProgram, tmp_path: Path) -> Callable[..., list[str]]:
    """``nginx(port)``: the command of an nginx that serves BODY as /body from 127.0.0.1 or every address."""
    program = host_program("nginx")
    (tmp_path / "body").write_bytes(BODY)

    def command(port: int, address: str = "127.0.0.1") -> list[str]:
        config = tmp_path / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
            f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;"
            f" server {{ listen {address}:{port}; root {tmp_path}; }} }}\n"
        )
        return [program, "-c", str(config), "-e", "stderr"]

    return command


@pytest.mark.peer
def test_curl_and_wget_in_the_system_fetch_from_the_host_s_nginx(
    host_program: HostProgram, boot: Boot, nginx: Callable[..., list[str]]
) -> None:
    host_program("curl"), host_program("wget")
    port = free_port()
    server = subprocess.Popen(nginx(port), stderr=subprocess.DEVNULL)
    try:
        fetch(f"http://127.0.0.1:{port}/body")
        system = boot(root="/", net="user:host")
        url = f"http://10.0.2.2:{port}/body"
        assert bash(system, f"curl -sf {url}") == BODY
        assert bash(system, f"wget -q -O - {url}") == BODY
        heads = bash(system, f"curl -sI {url}; curl -s -o /dev/null -w '%{{http_code}}' {url}x")
        assert b"HTTP/1.1 200 OK" in heads and heads.endswith(b"404")
    finally:
        server.terminate()
        server.wait()


@pytest.mark.peer
def test_nginx_in_the_system_serves_the_host(boot: Boot, nginx: Callable[..., list[str]]) -> None:
    port = free_port()
    system = boot(root="/", forward=f"{port}:80")

    def ask() -> list[bytes]:
        bodies = [fetch(f"http://127.0.0.1:{port}/body") for _ in range(3)]
        system.kernel.loop.call_soon_threadsafe(system.kernel.kill_all)
        return bodies

    client = OnTheHost(ask)
    system.run(nginx(80, "0.0.0.0"), timeout=PATIENCE_S)
    assert client.result() == [BODY] * 3


@pytest.mark.peer
@pytest.mark.parametrize("reverse", [False, True], ids=["up", "down"])
def test_iperf3_in_the_system_as_the_client(host_program: HostProgram, boot: Boot, reverse: bool) -> None:
    iperf3 = host_program("iperf3")
    port = free_port()
    server = subprocess.Popen([iperf3, "-s", "-1", "-B", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        system = boot(root="/", net="user:host")
        words = f"iperf3 -c 10.0.2.2 -p {port} -n 20M -J{' -R' if reverse else ''}"
        report = json.loads(bash(system, words))
        assert report["end"]["sum_sent"]["bytes"] >= 20 << 20  # what was received by then is some less, as everywhere
        assert report["end"]["sum_received"]["bytes"] > 1 << 20
    finally:
        server.terminate()
        server.wait()


@pytest.mark.peer
def test_iperf3_in_the_system_as_the_server(host_program: HostProgram, boot: Boot) -> None:
    iperf3 = host_program("iperf3")
    port = free_port()
    system = boot(root="/", forward=f"{port}:5201")

    def ask() -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            done = subprocess.run(
                [iperf3, "-c", "127.0.0.1", "-p", str(port), "-n", "20M", "-J"], capture_output=True, check=False
            )
            report = json.loads(done.stdout or b"{}")
            if "end" in report and report["end"].get("sum_received"):
                return report
            time.sleep(0.3)
        raise TimeoutError

    client = OnTheHost(ask)
    bash(system, "timeout 100 iperf3 -s -1")
    ends = client.result()["end"]
    assert ends["sum_sent"]["bytes"] >= 20 << 20 and ends["sum_received"]["bytes"] > 1 << 20


@pytest.mark.peer
@pytest.mark.parametrize("requests", [40, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_python_s_web_server_in_the_system_under_load(host_program: HostProgram, boot: Boot, requests: int) -> None:
    wrk = host_program("wrk")
    port = free_port()
    system = boot(root="/", forward=f"{port}:80")

    def load() -> int:
        url = f"http://127.0.0.1:{port}/hosts"
        fetch(url)
        total = 0
        while total < requests:
            command = [wrk, "-t1", "-c8", "-d2s", "--timeout", f"{PATIENCE_S}s", url]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
            found = re.search(r"(\d+) requests in", done.stdout)
            assert found is not None, done.stdout
            total += int(found[1])
        fetch(f"http://127.0.0.1:{port}/hosts?end")
        return total

    client = OnTheHost(load)
    script = (
        "import http.server, functools\n"
        "class Handler(http.server.SimpleHTTPRequestHandler):\n"
        "    def log_message(self, *words): pass\n"
        "    def do_GET(self):\n"
        "        super().do_GET()\n"
        "        if self.path.endswith('?end'): self.server.over = True\n"
        "server = http.server.ThreadingHTTPServer(('', 80), functools.partial(Handler, directory='/etc'))\n"
        "server.over, server.timeout = False, 1\n"
        "while not server.over: server.handle_request()\n"
    )
    done = system.run(["/usr/bin/python3", "-c", script], timeout=3600 if requests > 1000 else PATIENCE_S)
    assert done.status == 0, done.stderr
    assert client.result() >= requests
