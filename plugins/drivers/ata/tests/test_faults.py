"""Bad hardware: each fault ends in the right errno, a line in the log, and a kernel that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import define
from jefeos.block.faults import FaultyImage
from jefeos.block.image import create_image, open_image
from jefeos.bus.driver import DeviceManager
from jefeos.bus.simulated import SimulatedMachine
from jefeos.errors import Errno, KernelError
from jefeos.testing.machines import bare_machine, start
from jefeos_driver_ata import registers as r
from jefeos_driver_ata.disk import RETRIES, AtaDisk
from jefeos_driver_ata.driver import AtaDriver
from jefeos_driver_ata.model import Drive, IdeController

SECTORS = 8192


@define
class Rig:
    machine: SimulatedMachine
    manager: DeviceManager
    controller: IdeController
    drive: Drive
    image: FaultyImage
    disk: AtaDisk

    def fails_with(self, errno: int, *, writing: bool = False, lba: int = 0) -> None:
        with pytest.raises(KernelError) as failure:
            if writing:
                self.disk.write(lba, bytes(r.SECTOR_BYTES))
            else:
                self.disk.read(lba, 1)
        assert failure.value.errno == errno


def rig(tmp_path: Path, *, dma: bool = True, read_only: bool = False, removable: bool = False) -> Rig:
    path = str(tmp_path / "disk.img")
    create_image(path, SECTORS * r.SECTOR_BYTES)
    image = FaultyImage(open_image(path, read_only=read_only))
    drive = Drive(image, "1", dma=dma, removable=removable)
    controller = IdeController()
    controller.attach(drive, 0)
    machine = bare_machine()
    machine.add(controller)
    manager = start(machine, [AtaDriver()])
    (disk,) = manager.published
    assert isinstance(disk, AtaDisk)
    return Rig(machine, manager, controller, drive, image, disk)


both = pytest.mark.parametrize("dma", [True, False], ids=["dma", "pio"])


@both
def test_a_bad_sector_is_named_and_the_others_are_read(
    tmp_path: Path, dma: bool, caplog: pytest.LogCaptureFixture
) -> None:
    it = rig(tmp_path, dma=dma)
    it.image.bad_sectors = {4242}
    with pytest.raises(KernelError, match="EIO: sector 4242 cannot be read"):
        it.disk.read(4200, 100)
    assert "sector 4242" in caplog.text
    assert it.disk.read(4200, 42) == bytes(42 * r.SECTOR_BYTES)
    assert it.disk.retried == 0
    it.disk.write(4242, b"x" * r.SECTOR_BYTES)  # the disk puts it elsewhere
    assert it.disk.read(4242, 1) == b"x" * r.SECTOR_BYTES


@both
def test_a_stuck_disk_is_reset_tried_again_and_given_up(
    tmp_path: Path, dma: bool, caplog: pytest.LogCaptureFixture
) -> None:
    it = rig(tmp_path, dma=dma)
    it.image.stuck = True
    it.fails_with(Errno.EIO)
    assert "resetting it" in caplog.text and "given up" in caplog.text
    assert not it.manager.published
    it.fails_with(Errno.ENODEV)
    it.fails_with(Errno.ENODEV, writing=True)
    it.image.stuck = False
    (device,) = it.machine.devices
    it.manager.unbind(device)
    assert it.manager.bind(device)  # it has recovered, and is there again
    (disk,) = it.manager.published
    assert isinstance(disk, AtaDisk) and disk.read(0, 1) == bytes(r.SECTOR_BYTES)


def test_a_disk_that_recovers_after_a_reset_loses_nothing(tmp_path: Path) -> None:
    it = rig(tmp_path)
    it.image.stuck = True
    resets: list[int] = []
    reset = it.disk.channel.reset

    def recovering() -> None:
        resets.append(1)
        it.image.stuck = len(resets) < RETRIES
        it.drive.status = r.STATUS_DRDY  # even a stuck one answers the reset itself
        reset()

    it.disk.channel.reset = recovering  # type: ignore[method-assign]
    it.disk.write(5, b"y" * r.SECTOR_BYTES)
    assert it.disk.read(5, 1) == b"y" * r.SECTOR_BYTES
    assert (it.disk.retried, len(resets)) == (RETRIES, RETRIES)


@both
def test_surprise_removal(tmp_path: Path, dma: bool, caplog: pytest.LogCaptureFixture) -> None:
    it = rig(tmp_path, dma=dma)
    it.machine.unplug(it.machine.devices[0].location)
    it.fails_with(Errno.EIO)
    assert "registers read as ones" in caplog.text or "controller is gone" in caplog.text
    it.fails_with(Errno.ENODEV)
    assert not it.manager.published


def test_a_write_protected_medium_is_read_only(tmp_path: Path) -> None:
    it = rig(tmp_path, read_only=True)
    assert it.disk.read(0, 1) == bytes(r.SECTOR_BYTES)
    it.fails_with(Errno.EROFS, writing=True)
    assert it.disk.read_only and it.manager.published == [it.disk]


@both
def test_a_drive_without_its_medium(tmp_path: Path, dma: bool) -> None:
    it = rig(tmp_path, dma=dma, removable=True)
    it.drive.has_medium = False
    it.fails_with(Errno.ENOMEDIUM)
    it.fails_with(Errno.ENOMEDIUM, writing=True)
    assert it.manager.published == [it.disk]
    it.drive.has_medium = True
    assert it.disk.read(0, 1) == bytes(r.SECTOR_BYTES)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rig: setattr(rig.controller.channels[0], "bm_table", 0xFFFF_0000),
        lambda rig: rig.disk.channel._table.view.__setitem__(slice(0, 4), b"\xff\xff\xff\xf0"),
        lambda rig: rig.disk.channel._table.view.__setitem__(slice(4, 6), (2).to_bytes(2, "little")),
    ],
    ids=["table-nowhere", "region-nowhere", "table-too-short"],
)
def test_dma_that_goes_nowhere_is_an_error_not_corruption(tmp_path: Path, spoil: object) -> None:
    it = rig(tmp_path)
    it.disk.read(0, 8)
    run = it.controller.channels[0].run_bus_master

    def spoiled() -> None:
        spoil(it)  # type: ignore[operator]
        run()

    it.controller.channels[0].run_bus_master = spoiled  # type: ignore[method-assign]
    ram_before = bytes(it.machine.ram[: it.machine.dma.base])
    with pytest.raises(KernelError) as failure:
        it.disk.read(0, 8)
    assert failure.value.errno == Errno.EIO
    assert bytes(it.machine.ram[: it.machine.dma.base]) == ram_before


def test_a_lost_interrupt_is_counted_and_the_data_is_there(tmp_path: Path) -> None:
    it = rig(tmp_path)
    it.image.write(0, b"z" * r.SECTOR_BYTES)
    it.controller.channels[0].line = 3  # wired to nobody
    assert it.disk.read(0, 1) == b"z" * r.SECTOR_BYTES
    assert it.disk.channel.lost_interrupts == 1


def test_an_interrupt_that_nobody_cares_about_takes_the_controller_offline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = rig(tmp_path)
    it.machine.interrupts.raise_line(14, "a broken neighbour")
    for _ in range(1000):
        it.machine.interrupts.dispatch()
    assert "interrupt 14 is switched off" in caplog.text
    assert it.manager.offline  # whoever is on that line cannot be trusted to hear of anything
    it.fails_with(Errno.ENODEV)


def test_identify_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "disk.img")
    create_image(path, SECTORS * r.SECTOR_BYTES)
    good = Drive(open_image(path, read_only=True), "1").identify()
    changes = {
        "no-sectors": {120: b"\0\0\0\0", 200: bytes(8)},
        "too-many": {200: b"\xff" * 8},
        "no-lba": {98: b"\0\0"},
        "not-a-disk": {0: b"\0\x80"},
        "checksum": {510: b"\xa5\x00"},
    }
    for name, change in changes.items():
        data = bytearray(good)
        for offset, value in change.items():
            data[offset : offset + len(value)] = value
        if name != "checksum":
            data[511] = 0
            data[511] = -sum(data) & 0xFF

        class Liar(Drive):
            answer = bytes(data)

            def identify(self) -> bytes:
                return self.answer

        controller = IdeController()
        controller.attach(Liar(open_image(path, read_only=True), "1"), 0)
        machine = bare_machine()
        machine.add(controller)
        manager = start(machine, [AtaDriver()])
        assert not manager.published, name
        assert "left alone" in caplog.text
        caplog.clear()
