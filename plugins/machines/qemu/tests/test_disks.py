"""Disks by hand: IDENTIFY, data through the port, what read-only means, and which format an image has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.block.image import create_image
from jefeos.bus.machine import DiskRequest
from jefeos.bus.region import Region
from jefeos.errors import ConfigError
from jefeos_machine_qemu.machine import QemuMachine

sys.path.insert(0, str(Path(__file__).parent))
from hardware import PATIENCE_NS

Maker = Callable[..., QemuMachine]
pytestmark = pytest.mark.peer

PRIMARY, SECONDARY = 0x1F0, 0x170
READ, WRITE, FLUSH, IDENTIFY = 0x20, 0x30, 0xE7, 0xEC
BUSY, DATA_REQUEST, ERROR, ABORTED = 0x80, 0x08, 0x01, 0x04


class Disk:
    """A drive's task file (ATA-6, section 7)."""

    def __init__(self, machine: QemuMachine, base: int = PRIMARY, drive: int = 0) -> None:
        self.machine = machine
        self.ports: Region = machine.map_ports(base, 8)
        self.drive = drive

    def command(self, code: int, lba: int = 0) -> int:
        for offset, value in enumerate((1, lba, 0, 0, 0xE0 | self.drive << 4, code), 2):
            self.ports.write8(offset, value)
        return self.status()

    def status(self) -> int:
        """The status, once it is not busy."""
        assert self.machine.wait(lambda: not self.ports.read8(7) & BUSY, PATIENCE_NS)
        return self.ports.read8(7)

    def capacity(self) -> int:
        """Sectors, from IDENTIFY."""
        assert self.command(IDENTIFY) & DATA_REQUEST
        words = memoryview(self.ports.read_data(0, 256)).cast("H")
        assert b"".join(word.to_bytes(2, "big") for word in words[27:47]).startswith(b"QEMU HARDDISK")
        return words[60] | words[61] << 16


def test_every_disk_is_where_it_belongs(boot: Maker, tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("a,b.img", "second.img", "third.img")]
    for number, image in enumerate(images, 1):
        image.write_bytes(bytes(number << 20))
    machine = boot([DiskRequest(str(image)) for image in images])
    places = [(PRIMARY, 0), (PRIMARY, 1), (SECONDARY, 0)]
    assert [Disk(machine, *place).capacity() for place in places] == [2048, 4096, 6144]


@pytest.mark.parametrize(("base", "number"), [(PRIMARY, 14), (SECONDARY, 15)])
def test_the_channels_interrupt_on_14_and_15(boot: Maker, tmp_path: Path, base: int, number: int) -> None:
    images = [tmp_path / name for name in ("1", "2", "3")]
    for image in images:
        image.write_bytes(bytes(1 << 20))
    machine = boot([DiskRequest(str(image)) for image in images])
    disk = Disk(machine, base)
    statuses: list[int] = []

    def handler() -> bool:
        statuses.append(disk.ports.read8(7))
        return True

    machine.interrupts.connect(number, handler)
    disk.ports.write8(6, 0xE0)
    disk.ports.write8(7, IDENTIFY)
    assert machine.wait(lambda: bool(statuses), PATIENCE_NS)
    assert statuses == [statuses[0]] and statuses[0] & DATA_REQUEST


def test_data_through_the_port_reaches_the_image(boot: Maker, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = Disk(boot([DiskRequest(str(image))]))
    data = os.urandom(512)
    assert disk.command(WRITE, 7) & DATA_REQUEST
    disk.ports.write_data(0, data)
    assert not disk.status() & (DATA_REQUEST | ERROR)
    assert not disk.command(FLUSH) & ERROR
    assert image.read_bytes()[7 * 512 : 8 * 512] == data
    assert disk.command(READ, 7) & DATA_REQUEST
    assert disk.ports.read_data(0, 255) + disk.ports.read_data(0, 1) == data  # an odd count first


@pytest.mark.parametrize("kind", ["raw", "vhd"])
def test_a_read_only_disk_fails_writes_and_its_image_stays(boot: Maker, tmp_path: Path, kind: str) -> None:
    image = tmp_path / "disk.img"
    create_image(str(image), 1 << 20, kind=kind)
    before = image.read_bytes()
    machine = boot([DiskRequest(str(image), read_only=True)])
    disk = Disk(machine)
    assert disk.capacity() == 2048
    assert disk.command(READ, 3) & DATA_REQUEST
    assert disk.ports.read_data(0, 256) == bytes(512)
    assert disk.command(WRITE, 3) & DATA_REQUEST
    disk.ports.write_data(0, b"\x55" * 512)
    assert disk.status() & ERROR and disk.ports.read8(1) & ABORTED
    assert disk.command(READ, 3) & DATA_REQUEST
    assert disk.ports.read_data(0, 256) == bytes(512)
    machine.stop()
    assert image.read_bytes() == before


@pytest.mark.parametrize("kind", ["raw", "vhd", "vhd-fixed"])
def test_an_image_s_format_is_seen(boot: Maker, tmp_path: Path, kind: str) -> None:
    sectors = 5003  # no whole number of cylinders
    image = tmp_path / "disk.img"
    create_image(str(image), sectors * 512, kind=kind)
    disk = Disk(boot([DiskRequest(str(image))]))
    assert disk.capacity() == sectors
    assert disk.command(WRITE, 1) & DATA_REQUEST
    disk.ports.write_data(0, b"\xaa" * 512)
    assert not disk.status() & ERROR
    assert not disk.command(FLUSH) & ERROR
    assert image.read_bytes().count(b"\xaa" * 512) == 1
    assert not kind.startswith("vhd") or image.read_bytes()[-512:-504] == b"conectix"


def test_what_cannot_be_is_said(make: Maker, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    there = DiskRequest(str(image))
    for disks, words in (
        ([DiskRequest(str(tmp_path / "none.img"))], "the disk image .* is not there"),
        ([DiskRequest(str(image), controller="nvme")], "no disk controller 'nvme'"),
        ([there] * 5, "has 4 disks, not 5"),
    ):
        with pytest.raises(ConfigError, match=words):
            make(disks).start()
