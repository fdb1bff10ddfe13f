"""The LAN between processes, and faults in front of any wire."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from jefeos.errors import ConfigError
from jefeos.net.wires.faulty import FaultyPort, parse_faults
from jefeos.net.wires.lan import Faults, Lan
from jefeos.net.wires.segment import SegmentPort, open_segment
from jefeos.sched.clock import VirtualClock
from jefeos.sched.loop import KernelLoop
from jefeos.testing.waiting import until

FRAME = bytes(range(14)) + b"frame"


def run(body: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(body(asyncio.get_running_loop()), 60)

    asyncio.run(main())


def listening(port: SegmentPort) -> list[bytes]:
    got: list[bytes] = []
    port.receiver = got.append
    return got


def test_everybody_hears_everybody(tmp_path: Path) -> None:
    async def body(loop: asyncio.AbstractEventLoop) -> None:
        folder = f"{tmp_path}/lan"
        ports = [open_segment(folder, loop) for _ in range(4)]
        got = [listening(port) for port in ports]
        assert await until(lambda: all(len(port._stations) == 3 for port in ports))
        for number, port in enumerate(ports):
            port.send(FRAME + bytes([number]))
        assert await until(lambda: all(len(heard) == 3 for heard in got))
        for number, heard in enumerate(got):
            assert sorted(frame[-1] for frame in heard) == [other for other in range(4) if other != number]
        ports[0].set_link(False)
        ports[0].send(FRAME)
        ports[1].send(FRAME)
        assert await until(lambda: len(got[2]) == 4)
        assert len(got[0]) == 3
        for port in ports:
            port.close()
        assert os.listdir(folder) == []

    run(body)


def test_a_burst_arrives_whole_and_in_order(tmp_path: Path) -> None:
    async def body(loop: asyncio.AbstractEventLoop) -> None:
        first, second = (open_segment(f"{tmp_path}/lan", loop) for _ in range(2))
        got = listening(second)
        assert await until(lambda: bool(first._stations))
        sent = [FRAME + number.to_bytes(4, "big") * 300 for number in range(2000)]
        for frame in sent:
            first.send(frame)
        assert await until(lambda: len(got) == 2000)
        assert got == sent and not first.lost_frames
        first.close()
        second.close()

    run(body)


def test_who_does_not_read_loses_frames_and_holds_nobody_up(tmp_path: Path) -> None:
    async def body(loop: asyncio.AbstractEventLoop) -> None:
        folder = tmp_path / "lan"
        folder.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck:
            stuck.bind(str(folder / "1-0"))
            first, second = (open_segment(str(folder), loop) for _ in range(2))
            got = listening(second)
            assert await until(lambda: len(first._stations) == 2)
            for number in range(6000):
                first.send(FRAME + bytes(1480))
                if number % 8 == 0:
                    await asyncio.sleep(0)
            assert await until(lambda: len(got) == 6000)
            assert first.lost_frames > 1000
        first.close()
        second.close()

    run(body)


def test_a_station_that_ended_without_a_word_is_forgotten_and_swept(tmp_path: Path) -> None:
    async def body(loop: asyncio.AbstractEventLoop) -> None:
        folder = tmp_path / "lan"
        folder.mkdir(mode=0o700)
        first = open_segment(str(folder), loop)
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        dead.bind(str(folder / "99-0"))
        second = open_segment(str(folder), loop)
        assert await until(lambda: len(first._stations) == 1)
        dead.close()
        second.send(FRAME)
        assert sorted(os.listdir(folder)) == sorted([first._name, second._name])
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        left.bind(str(folder / "98-0"))
        left.close()
        (folder / "notes").write_text("not a station")
        third = open_segment(str(folder), loop)
        assert set(third._stations) == {first._name, second._name}
        assert "98-0" not in os.listdir(folder) and "notes" in os.listdir(folder)
        for port in (first, second, third):
            port.close()

    run(body)


def test_names_and_folders_of_segments_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(loop: asyncio.AbstractEventLoop) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        for name in ("", ".", "a b", "x" * 33):
            with pytest.raises(ConfigError, match="is not lan:NAME"):
                open_segment(name, loop)
        port = open_segment("lab", loop)
        folder = tmp_path / "jefeos" / "lan-lab"
        assert folder.stat().st_mode & 0o777 == 0o700
        port.close()
        folder.chmod(0o755)
        with pytest.raises(ConfigError, match="others can enter this folder"):
            open_segment("lab", loop)
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="not a folder"):
            open_segment(f"{tmp_path}/file", loop)
        with pytest.raises(ConfigError, match="lan:"):
            open_segment(f"{tmp_path}/{'long' * 30}", loop)

    run(body)


# --- faults -------------------------------------------------------------------------------------------------------


def test_faults_are_read() -> None:
    assert parse_faults("loss=5%") == Faults(loss=0.05)
    assert parse_faults("duplication=0.01, corruption=1,reordering=0,delay=20ms,jitter=1.5us") == Faults(
        duplication=0.01, corruption=1, delay_ns=20_000_000, jitter_ns=1500
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not NAME=VALUE with a name of: loss, duplication, corruption, reordering, delay, jitter"),
        ("loss", "'loss' is not"), ("lose=1", "'lose=1' is not"), ("loss=-1", "a probability is 0.05 or 5%"),
        ("loss=150%", "a probability"), ("loss=nan", "a probability"), ("delay=20", "a time is 20ms"),
        ("loss=1%,delay=1h", "'delay=1h'"), ("delay=61s", "up to a minute"),
    ],
)  # fmt: skip
def test_mistakes_in_faults_are_told(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_faults(text)


def through_faults(faults: Faults, seed: int, count: int) -> tuple[list[bytes], list[bytes], FaultyPort]:
    """What comes out of a wire with faults at its one end, for frames sent there and back."""
    loop = KernelLoop(VirtualClock())
    lan = Lan(loop.call_soon, loop.call_later_ns)
    port = FaultyPort(lan.port(), faults, seed=seed, call_later_ns=loop.call_later_ns)
    far = lan.port()
    there: list[bytes] = []
    back: list[bytes] = []
    far.receiver, port.receiver = there.append, back.append

    async def body() -> None:
        for number in range(count):
            port.send(FRAME + number.to_bytes(4, "big"))
            far.send(FRAME + number.to_bytes(4, "big"))
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)

    loop.run_until_complete(body())
    loop.close()
    return there, back, port


def test_frames_suffer_both_ways_and_by_seed() -> None:
    faults = Faults(loss=0.1, duplication=0.05, corruption=0.02, reordering=0.03, delay_ns=1_000_000)
    there, back, port = through_faults(faults, 1, 3000)
    counted = port.statistics
    assert counted.sent == 6000
    assert counted.delivered == len(there) + len(back) == 6000 - counted.lost + counted.duplicated
    assert abs(counted.lost / 6000 - 0.1) < 0.03 and counted.corrupted and counted.reordered
    for heard in (there, back):
        assert abs(len(heard) / 3000 - 0.95) < 0.05 and heard != sorted(heard)
    assert through_faults(faults, 1, 3000)[:2] == (there, back)
    assert through_faults(faults, 2, 3000)[:2] != (there, back)


def test_no_segment_passes_whole_where_frames_suffer() -> None:
    lan = Lan(lambda callback: None, lambda delay_ns, callback: None)
    port, far = FaultyPort(lan.port(), Faults(), seed=1, call_later_ns=lambda *_: None), lan.port()
    far.accepts_segments = port.accepts_segments = True
    assert not port.takes_segments and not far.takes_segments


def test_what_is_delayed_when_the_wire_goes_is_lost() -> None:
    loop = KernelLoop(VirtualClock())
    lan = Lan(loop.call_soon, loop.call_later_ns)
    port = FaultyPort(lan.port(), Faults(delay_ns=1_000_000), seed=1, call_later_ns=loop.call_later_ns)
    got: list[bytes] = []
    lan.port().receiver = got.append
    port.send(FRAME)
    port.close()
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    assert got == []
