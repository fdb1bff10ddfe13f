"""Our network stack and the host's kernel at the two ends of a tap device: see host_scenarios.py for what happens.

Each scenario has a network namespace of its own and mostly waits, so that several run at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from host_scenarios import SCENARIOS

AT_ONCE = 4


@pytest.mark.peer
def test_the_host_s_kernel_at_the_other_end(host_program: Callable[[str], str]) -> None:
    for name in ("ip", "ping", "traceroute", "radvd", "sysctl"):
        host_program(name)
    unshare = host_program("unshare")
    program = str(Path(__file__).with_name("host_scenarios.py"))

    def play(name: str) -> str | None:
        command = [unshare, "--net", sys.executable, program, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        return None if done.stdout.endswith("done\n") else f"{name}: {done.stdout}{done.stderr}"

    probe = subprocess.run([unshare, "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no right to make a network namespace: {probe.stderr.strip()}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [failure for failure in pool.map(play, SCENARIOS) if failure]
    assert not failures, "\n\n".join(failures)
