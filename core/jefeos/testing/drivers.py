"""Conformance of drivers: subclass, say how to make a machine with the device, and the driver is tested on it.

    class TestMyDisk(BlockDriverConformance):
        def make_machine(self, image: Path) -> Machine:
            machine = bare_machine()
            machine.add(MyController(image))
            return machine

        def make_drivers(self) -> list[Driver]:
            return [MyDriver()]

The same suite runs on any machine: what a driver does on the simulated one it must do on QEMU's. The image file is the
oracle: it is read by the host, not through the driver.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import define

from jefeos.block.device import BlockDevice
from jefeos.block.image import create_image
from jefeos.bus.driver import DeviceManager, Driver
from jefeos.bus.machine import Machine
from jefeos.errors import Errno, KernelError
from jefeos.testing.machines import start

SECTOR: Final = 512
IMAGE_BYTES: Final = 16 << 20


@define
class DiskRig:
    """A machine that runs, with one disk."""

    machine: Machine
    manager: DeviceManager
    image: Path

    @property
    def disk(self) -> BlockDevice:
        """The disk. Fails the test if it is not the only one."""
        (disk,) = [thing for thing in self.manager.published if isinstance(thing, BlockDevice)]
        return disk

    def on_image(self, lba: int, count: int) -> bytes:
        """What the host finds in the image file."""
        with self.image.open("rb") as file:
            file.seek(lba * SECTOR)
            return file.read(count * SECTOR)


class BlockDriverConformance:
    """A block driver on a machine with one disk over a raw image file."""

    operations = 10_000
    """Random reads and writes in the longest test."""

    @abstractmethod
    def make_machine(self, image: Path) -> Machine:
        """A machine, not started, with one disk over ``image``."""

    @abstractmethod
    def make_drivers(self) -> list[Driver]:
        """The driver under test."""

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[DiskRig]:
        """A running machine, whose image begins with known bytes."""
        image = tmp_path / "disk.img"
        create_image(str(image), IMAGE_BYTES)
        with image.open("r+b") as file:
            file.write(random.Random(1).randbytes(1 << 20))
        machine = self.make_machine(image)
        manager = start(machine, self.make_drivers())
        try:
            yield DiskRig(machine, manager, image)
            manager.unbind_all()
            assert not machine.dma.block_count, "the driver kept DMA memory"
        finally:
            machine.stop()

    def test_the_capacity_is_the_image_s(self, rig: DiskRig) -> None:
        assert (rig.disk.sector_bytes, rig.disk.sector_count) == (SECTOR, IMAGE_BYTES // SECTOR)
        assert rig.disk.model and not rig.disk.read_only

    @pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 255, 256, 257, 2047])
    def test_it_reads_what_is_on_the_image(self, rig: DiskRig, count: int) -> None:
        for lba in (0, 1, 1000, IMAGE_BYTES // SECTOR - count):
            assert rig.disk.read(lba, count) == rig.on_image(lba, count)

    @pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 255, 256, 257, 2047])
    def test_what_it_writes_is_on_the_image_after_a_flush(self, rig: DiskRig, count: int) -> None:
        for number, lba in enumerate((0, 1, 1000, IMAGE_BYTES // SECTOR - count)):
            data = random.Random(number).randbytes(count * SECTOR)
            rig.disk.write(lba, data)
            rig.disk.flush()
            assert rig.on_image(lba, count) == data
            assert rig.disk.read(lba, count) == data

    def test_random_operations_leave_the_image_as_they_must(self, rig: DiskRig) -> None:
        generator = random.Random(7)
        model = bytearray(rig.image.read_bytes())
        disk = rig.disk
        for number in range(self.operations):
            count = 1 if generator.random() < 0.8 else generator.randrange(1, 64)
            lba = generator.randrange(disk.sector_count - count)
            place = slice(lba * SECTOR, (lba + count) * SECTOR)
            if generator.random() < 0.5:
                data = generator.randbytes(count * SECTOR)
                disk.write(lba, data)
                model[place] = data
            else:
                assert disk.read(lba, count) == model[place], f"operation {number}: sector {lba}, {count} sectors"
            if generator.random() < 0.01:
                disk.flush()
        disk.flush()
        assert rig.image.read_bytes() == model

    def test_what_is_not_on_the_disk_is_refused(self, rig: DiskRig) -> None:
        end = rig.disk.sector_count
        for lba, length, errno in (
            (end, SECTOR, Errno.ENXIO),
            (end - 1, 2 * SECTOR, Errno.ENXIO),
            (-1, SECTOR, Errno.EINVAL),
            (0, SECTOR - 1, Errno.EINVAL),
        ):
            with pytest.raises(KernelError) as reading:
                rig.disk.read_into(lba, memoryview(bytearray(length)))
            with pytest.raises(KernelError) as writing:
                rig.disk.write(lba, bytes(length))
            assert (reading.value.errno, writing.value.errno) == (errno, errno)

    def test_unbinding_and_binding_again_leaks_nothing(self, rig: DiskRig) -> None:
        device = next(iter(rig.manager.bindings))
        free = rig.machine.dma.free_bytes
        for number in range(5):
            data = bytes([number]) * SECTOR
            rig.disk.write(number, data)
            rig.manager.unbind(device)
            assert not rig.manager.published and not rig.machine.dma.block_count
            assert rig.manager.bind(device)
            assert rig.machine.dma.free_bytes == free
            assert rig.disk.read(number, 1) == data
