"""What a program finds that starts right after the boot: an address, and name servers that are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System

Boot = Callable[..., System]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host a lease may take longer than systems wait for it."""
    monkeypatch.setattr("jefeos.net.networking.CONFIGURATION_PATIENCE_S", 60)


@pytest.mark.usefixtures("patient")
def test_a_program_finds_the_lease(boot: Boot) -> None:
    system = boot(net="user")
    assert b"10.0.2.15/24" in system.run(["ip", "addr"]).stdout
    assert b"nameserver 10.0.2.3" in system.read_file("/etc/resolv.conf")


def test_nobody_waits_long_for_a_server_that_is_not_there(boot: Boot, tmp_path: Path) -> None:
    system = boot(net=f"lan:{tmp_path}/lan")
    started = time.monotonic()
    system.kernel.net.wait_until_configured()
    assert time.monotonic() - started < 30
    assert not system.kernel.net.on_their_way[0]()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("text", "mode", "kept"),
    [
        ("", "", False),
        ("# by the host\nnameserver 127.0.0.53\noptions edns0\n", "", False),
        ("nameserver ::1\nnameserver 127.0.0.1\n", "", False),
        ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "", True),
        ("search example.org\n", "", True),
        ("nameserver 127.0.0.53\n", ":rw", True),
    ],
)
def test_name_servers_that_came_with_the_root(boot: Boot, tmp_path: Path, text: str, mode: str, kept: bool) -> None:
    path = tmp_path / "root" / "etc" / "resolv.conf"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    system = boot(root=f"{tmp_path}/root{mode}", net="user")
    system.kernel.net.wait_until_configured()
    seen = system.read_file("/etc/resolv.conf").decode()
    assert seen == text if kept else "nameserver 10.0.2.3" in seen
    assert path.read_text() == text, "the host's own file stays as it is"
