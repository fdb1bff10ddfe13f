"""Our TCP and the host's kernel, over a TAP in a namespace of its own: both roles, both ways, on good and bad wires."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from faulty_host import PATIENCE_S, in_namespace

pytestmark = pytest.mark.peer
SCRIPT = "tcp_host_peer.py"
ECN_OPTION = 8
"""TCPI_OPT_ECN."""
BAD = {"loss": 0.02, "duplication": 0.02, "corruption": 0.02, "reordering": 0.05}
TERRIBLE = {"loss": 0.2, "mtu": 9000}
SLOW = {"delay_ns": 100_000_000, "jitter_ns": 5_000_000}


def transfer(
    host_program: Callable[[str], str], role: str, direction: str, megabytes: float, faults: dict[str, Any],
    timeout_s: float = PATIENCE_S,
) -> dict[str, Any]:  # fmt: skip
    result: dict[str, Any] = in_namespace(
        host_program, SCRIPT, "transfer", role, direction, str(megabytes), json.dumps(faults), timeout_s=timeout_s
    )
    assert result["right"]
    assert set(result["states"]) <= {"TIME_WAIT"}
    return result


@pytest.mark.parametrize(
    ("role", "direction", "megabytes", "faults"),
    [
        ("client", "both", 3, {}),
        ("server", "both", 3, {}),
        ("client", "both", 1, BAD),
        ("server", "out", 0.3, {"delay_ns": 40_000_000, "jitter_ns": 5_000_000, "loss": 0.01}),
        ("server", "both", 0.3, {"loss": 0.08}),
    ],
)
def test_transfers_are_byte_exact(
    host_program: Callable[[str], str], role: str, direction: str, megabytes: float, faults: dict[str, Any]
) -> None:
    transfer(host_program, role, direction, megabytes, faults)


@pytest.mark.long
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("direction", ["out", "in"])
@pytest.mark.parametrize(
    "faults", [{}, {"loss": 0.01}, {"loss": 0.05, "mtu": 9000}, TERRIBLE, BAD, {**SLOW, "mtu": 9000}], ids=str
)
def test_a_hundred_megabytes(
    host_program: Callable[[str], str], role: str, direction: str, faults: dict[str, Any]
) -> None:
    transfer(host_program, role, direction, 100, faults, timeout_s=4000)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 0), (0, 1)])
def test_ecn_is_agreed_on_as_the_host_does(
    host_program: Callable[[str], str], role: str, ours: int, theirs: int
) -> None:
    """tcp_ecn of Linux: 0 never, 1 asks and agrees, 2 agrees only. On a router's marks both slow down and say so."""
    asks, agrees = (ours, theirs) if role == "client" else (theirs, ours)
    wanted = asks == 1 and agrees > 0
    result = in_namespace(host_program, SCRIPT, "ecn", role, str(ours), str(theirs), "50")
    assert result["right"]
    assert [bool(options & ECN_OPTION) for options in result["options"]] == [wanted, wanted]
    for way, back in (("to host", "to us"), ("to us", "to host")):
        assert bool(result.get(f"CE {way}", 0)) == wanted
        assert bool(result[f"ECE {back}"]) == bool(result[f"CWR {way}"]) == wanted
    assert result["lost"] == 0


def scan(host_program: Callable[[str], str], ports: str, timeout_s: float = PATIENCE_S) -> None:
    host_program("nmap")
    result = in_namespace(host_program, SCRIPT, "scan", ports, timeout_s=timeout_s)
    assert result["found"] == {"-sT": [22, 80, 443, 8080, 65535], "-sS": [22, 80, 443, 8080, 65535]}
    assert result["states"] == ["LISTEN"] and not result["orphans"]


def test_nmap_finds_what_listens(host_program: Callable[[str], str]) -> None:
    scan(host_program, "1-1000,8080,65535")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nmap_looks_at_every_port(host_program: Callable[[str], str]) -> None:
    scan(host_program, "1-65535", 500)


def test_scapy_disturbs_nobody(host_program: Callable[[str], str]) -> None:
    host_program("scapy")
    result = in_namespace(host_program, SCRIPT, "attack", "/usr/bin/python3", "120")
    assert result["status"] == 0
    assert result["right"] and result["hello"] == "hello"
    assert result["most"] <= 30, "handshakes that nobody completes are bounded by the backlog"
    assert result["counters"]["SyncookiesSent"] > 40
