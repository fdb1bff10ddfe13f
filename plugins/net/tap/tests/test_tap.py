"""The host's kernel at the other end, in a network namespace that the test makes and that ends with its process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest
from jefeos.errors import ConfigError
from jefeos_net_tap.port import open_tap

SCRIPT = """
    import asyncio, subprocess
    from jefeos_net_tap.port import open_tap
    MAC = bytes.fromhex("525400123456")
    async def main():
        port = open_tap("jefetap0", asyncio.get_running_loop())
        run = lambda *words: subprocess.run(words, check=True)
        run("ip", "addr", "add", "10.9.8.1/24", "dev", "jefetap0")
        run("ip", "link", "set", "jefetap0", "up")
        got = []
        port.receiver = got.append
        arp = bytes.fromhex("0001080006040001") + MAC + bytes([10, 9, 8, 2]) + bytes(6) + bytes([10, 9, 8, 1])
        port.send(b"\\xff" * 6 + MAC + b"\\x08\\x06" + arp)
        is_answer = lambda frame: frame[:6] == MAC and frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2"
        while not any(map(is_answer, got)):
            await asyncio.sleep(0.01)
        answer = next(filter(is_answer, got))
        assert answer[28:32] == bytes([10, 9, 8, 1]), answer.hex()
        run("ip", "link", "del", "jefetap0")
        while port.link_up:
            await asyncio.sleep(0.01)
        port.send(bytes(60))
        assert port.lost_frames == 1
        port.close()
        print("answered")
    asyncio.run(main())
"""


@pytest.mark.peer
def test_the_host_s_kernel_answers(host_program: object) -> None:
    host_program("ip")  # type: ignore[operator]
    unshare = host_program("unshare")  # type: ignore[operator]
    command = [unshare, "--net", sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("no right to make a network namespace")
    assert done.stdout == "answered\n", done.stderr


@pytest.mark.parametrize("name", ["", "a" * 16, "x/y"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 15 characters"):
        open_tap(name, asyncio.new_event_loop())
