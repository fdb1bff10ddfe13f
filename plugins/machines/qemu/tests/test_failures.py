"""QEMU missing, refusing, killed, stopped, or talking nonsense: one line, devices gone, no hang, no leak."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from jefeos.bus.driver import DeviceContext, DeviceManager, Driver, PciMatch
from jefeos.bus.machine import DiskRequest
from jefeos.bus.pci import Command
from jefeos.errors import BootError
from jefeos.testing.machines import plugin_machine
from jefeos_machine_qemu.machine import QemuMachine
from jefeos_machine_qemu.qtest import POSTED_LIMIT, QtestChannel

sys.path.insert(0, str(Path(__file__).parent))
from hardware import E1000, PATIENCE_NS, SECOND, STATUS, find, nic, registers

Maker = Callable[..., QemuMachine]
peer = pytest.mark.peer


class Card:
    """A driver's hold on an e1000: it looks at its status and publishes itself."""

    def __init__(self, context: DeviceContext) -> None:
        self.registers = context.map_bar(0)
        context.enable(Command.MEMORY_SPACE | Command.BUS_MASTER)
        context.allocate_dma(4096)
        context.connect_interrupt(lambda: False)
        context.publish(self)

    def remove(self) -> None:
        self.registers.write32(0xD8, 0xFFFF_FFFF)


class CardDriver(Driver):
    name = "card"
    matches: ClassVar[tuple[PciMatch, ...]] = (PciMatch(*E1000),)

    def probe(self, context: DeviceContext) -> Card:
        return Card(context)


def children() -> list[str]:
    done = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "stat=,args="], capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if "qemu-system" in line]


@peer
def test_twenty_times_leave_nothing(
    host_program: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_program("qemu-system-x86_64")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr("jefeos.bus.system.MEMORY_FOLDER", str(temporary))

    def once(number: int) -> int:
        """One life of a machine; how many descriptors are open afterwards."""
        disk = DiskRequest(str(image), read_only=bool(number % 2))
        machine = plugin_machine("qemu", [disk], [nic("e1000"), nic("tulip")])
        machine.start()
        assert len(children()) == 1
        machine.stop()
        machine.stop()  # twice is no mistake
        del machine
        gc.collect()
        assert not children() and not os.listdir(temporary)
        return len(os.listdir("/proc/self/fd"))

    first = once(0)  # imports modules, too
    assert [once(number) for number in range(1, 20)] == [first] * 19


@peer
def test_a_killed_qemu_takes_its_devices_offline(boot: Maker, caplog: pytest.LogCaptureFixture) -> None:
    machine = boot(nics=[nic("e1000")])
    manager = DeviceManager(machine, [CardDriver()])
    manager.bind_all()
    (card,) = manager.of_kind(Card)
    assert card.registers.read32(STATUS) != 0xFFFF_FFFF
    os.kill(machine.pid, signal.SIGKILL)
    started = time.monotonic()
    assert not machine.wait(lambda: False, 2 * PATIENCE_NS)
    assert time.monotonic() - started < PATIENCE_NS / SECOND
    assert card.registers.read32(STATUS) == 0xFFFF_FFFF
    card.registers.write32(STATUS, 0)
    assert not manager.published and not machine.dma.block_count
    assert list(manager.offline.values()) == ["QEMU has ended: killed by SIGKILL"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert lines[0] == "machine qemu: QEMU has ended: killed by SIGKILL; its devices are gone"
    assert len(lines) == 2 and "offline" in lines[1]
    assert not machine.devices[0].is_present


@peer
def test_a_qemu_that_is_killed_under_a_loop_is_noticed(make: Maker) -> None:
    async def run() -> list[str]:
        machine = make(nics=[nic("e1000")])
        machine.attach(asyncio.get_running_loop())
        machine.start()
        manager = DeviceManager(machine, [CardDriver()], asyncio.get_running_loop())
        manager.bind_all()
        os.kill(machine.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_NS / SECOND):
            while not manager.offline:
                await asyncio.sleep(0.01)
        machine.stop()
        return list(manager.offline.values())

    assert asyncio.run(run()) == ["QEMU has ended: killed by SIGKILL"]


@peer
def test_a_qemu_that_is_killed_in_the_middle_of_reads(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000")])
    window = registers(machine, find(machine, E1000))
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -9 {machine.pid}"])
    started = time.monotonic()
    while window.read32(STATUS) != 0xFFFF_FFFF:
        window.write32(STATUS, 0)
        assert time.monotonic() - started < PATIENCE_NS / SECOND
    assert killer.wait() == 0
    assert window.read_data(0, 8) == b"\xff" * 16


@peer
def test_a_qemu_that_stands_still_is_given_up(boot: Maker) -> None:
    machine = boot(nics=[nic("e1000")])
    window = registers(machine, find(machine, E1000))
    machine.qtest.set_timeout(1)
    os.kill(machine.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert window.read32(STATUS) == 0xFFFF_FFFF
    assert time.monotonic() - started < PATIENCE_NS / SECOND
    assert machine.qtest.ended == "QEMU gives no answer for 1 s"
    machine.stop()
    assert not children()


@peer
def test_qemu_dies_with_us(host_program: Callable[[str], str], tmp_path: Path) -> None:
    host_program("qemu-system-x86_64")
    code = """
        import sys, time
        from jefeos.bus import system
        from jefeos.testing import machines
        system.MEMORY_FOLDER = sys.argv[1]
        machine = machines.plugin_machine("qemu")
        machine.start()
        print(machine.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert "qemu-system" in Path(f"/proc/{pid}/cmdline").read_text()
        parent.kill()
    status = Path(f"/proc/{pid}/status")
    end = time.monotonic() + PATIENCE_NS / SECOND
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < end, "QEMU outlived its parent"
        time.sleep(0.01)


@peer
def test_what_qemu_refuses_is_one_line(make: Maker) -> None:
    with pytest.raises(BootError, match=r"--machine qemu: QEMU has ended: .*rtl9999.* is not a valid device") as error:
        make(nics=[nic("rtl9999")]).start()
    assert "\n" not in str(error.value) and not children()


def test_without_qemu_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BootError, match=r"not installed .*apt install qemu-system-x86") as error:
        plugin_machine("qemu").start()
    assert "\n" not in str(error.value)


# --- the protocol, with somebody else at the other end -------------------------------------------------------------


class Talk:
    """A channel, the other end of its socket, and what was heard."""

    def __init__(self, timeout_s: int = 1) -> None:
        ours, self.other = socket.socketpair()
        self.ours = ours
        self.heard: list[tuple[int, bool]] = []
        self.ends: list[str] = []
        self.channel = QtestChannel(ours, lambda number, up: self.heard.append((number, up)), self.ends.append)
        self.channel.set_timeout(timeout_s)


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.ours.close()
    talk.other.close()


def test_answers_belong_to_their_commands(talk: Talk) -> None:
    talk.channel.post(b"outb 1 2\n")
    talk.channel.post(b"outb 1 2\n")
    talk.other.sendall(b"OK\nIRQ raise 11\nOK\nIRQ lower 11\nIRQ raise 5\nOK 0x1f\nIRQ lower 5\n")
    assert talk.channel.ask(b"inb 1\n") == 0x1F
    assert talk.heard == [(11, True), (11, False), (5, True), (5, False)]
    talk.other.sendall(b"OK 0x0\nOK 0x00000000fffff")
    talk.other.sendall(b"fff\nOK\n")
    assert talk.channel.ask_all([b"a\n", b"b\n", b"c\n"]) == [0, 0xFFFF_FFFF, 0]
    assert talk.other.recv(100) == b"outb 1 2\noutb 1 2\ninb 1\na\nb\nc\n"
    assert not talk.ends


def test_posted_commands_never_run_away(talk: Talk) -> None:
    for _ in range(POSTED_LIMIT):
        talk.channel.post(b"outb 1 2\n")
    talk.other.sendall(b"OK\n" * POSTED_LIMIT)
    talk.channel.post(b"outb 1 2\n")
    talk.channel.post_all([b"outb 1 2\n"] * (POSTED_LIMIT - 1))
    assert not talk.ends
    talk.channel.post(b"outb 1 2\n")
    assert talk.ends == ["QEMU gives no answer for 1 s"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"\xff\x00\xfe\n",
        b"FAIL Unknown command\n",
        b"OK\nOK\n",
        b"OK 0xnothing\n",
        b"OK 1 2 3\n",
        b"IRQ raise\n",
        b"IRQ sink 3\n",
        b"IRQ raise many\n",
        b"x" * 100_000,
        b"",
    ],
)
def test_nonsense_ends_the_channel_and_never_raises(talk: Talk, garbage: bytes) -> None:
    talk.other.sendall(garbage)
    if not garbage:
        talk.other.close()
    talk.channel.ask(b"inb 1\n")
    talk.channel.receive_waiting()
    assert len(talk.ends) == 1 and "\n" not in talk.ends[0]
    assert talk.channel.ask(b"inb 1\n") is None and talk.channel.ask_all([b"a\n"]) is None
    talk.channel.post(b"outb 1 2\n")
    talk.channel.post_all([b"outb 1 2\n"])
    talk.channel.receive_waiting()
    assert len(talk.ends) == 1
