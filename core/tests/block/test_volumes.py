"""Volumes of images and of disks: what a source means, who may have it, what a mount gives back at its end."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import pytest
from jefeos.block.image import ImageDevice, create_image, open_image
from jefeos.block.mounting import mount_disk
from jefeos.block.nodes import BlockNodes
from jefeos.block.sources import LazyFormat, VolumeSource, open_volume, recognise, volume_type
from jefeos.block.tables import Span, write_table
from jefeos.block.volume import FormatOptions, VolumeFormat
from jefeos.errors import ConfigError, Errno, KernelError, UsageError
from jefeos.testing.mounted import Mounted
from jefeos.testing.volumes import TestClock, memory_volume, new_page_cache
from jefeos.vfs.devices import DeviceRegistry

from .slot_volume import SlotFormat

SIZE = 1 << 20
SLOT = volume_type("slot", SlotFormat())


def image_with_slot(tmp_path: Path, name: str = "a.img") -> str:
    path = str(tmp_path / name)
    create_image(path, SIZE)
    volume = open_volume(VolumeSource(path), read_only=False)
    SlotFormat().make(volume.cache, FormatOptions(), TestClock())
    volume.release()
    return path


def mbr_image(tmp_path: Path, *spans: Span) -> str:
    path = str(tmp_path / f"disk{len(spans)}.img")
    create_image(path, 8 << 20)
    image = open_image(path)
    write_table(ImageDevice(image), "mbr", spans, random.Random(1).randbytes)
    image.close()
    return path


def test_what_a_source_names(tmp_path: Path) -> None:
    (tmp_path / "odd:3").touch()
    assert VolumeSource.parse(f"{tmp_path}/odd:3") == VolumeSource(f"{tmp_path}/odd:3")
    assert VolumeSource.parse(f"{tmp_path}/even:3") == VolumeSource(f"{tmp_path}/even", 3)
    assert VolumeSource.parse("C:\\disk") == VolumeSource("C:\\disk")
    assert VolumeSource.parse("a:") == VolumeSource("a:")
    assert str(VolumeSource("a", 2)) == "a:2"
    for there in ("even", "even@x"):
        (tmp_path / there).touch()
    assert VolumeSource.parse(f"{tmp_path}/even@x") == VolumeSource(f"{tmp_path}/even@x")
    assert VolumeSource.parse(f"{tmp_path}/even@x:3") == VolumeSource(f"{tmp_path}/even@x", 3)
    assert VolumeSource.parse(f"{tmp_path}/even@y:3") == VolumeSource(f"{tmp_path}/even", None, "y:3")
    assert VolumeSource.parse(f"{tmp_path}/even:3@1:2") == VolumeSource(f"{tmp_path}/even", 3, "1:2")
    assert VolumeSource.parse(f"{tmp_path}/none@x") == VolumeSource(f"{tmp_path}/none@x")
    assert str(VolumeSource("a", 2, "monday")) == "a:2@monday"
    with pytest.raises(UsageError, match="a:2@monday is a snapshot"):
        open_volume(VolumeSource("a", 2, "monday"), read_only=True)


def test_a_type_probes_and_opens_an_image(tmp_path: Path) -> None:
    path = image_with_slot(tmp_path)
    other = tmp_path / "other"
    other.write_bytes(bytes(SIZE))
    (tmp_path / "text").write_text("no image")
    assert SLOT.probe(path)
    assert not SLOT.probe(str(other)) and not SLOT.probe(str(tmp_path)) and not SLOT.probe(str(tmp_path / "missing"))
    here = Mounted.of(SLOT.open(path, writable=True, page_cache=new_page_cache(), clock=TestClock()))
    here.put(b"/file", b"kept")
    with pytest.raises(ConfigError, match="in use by another system or mount"):
        SLOT.open(path, writable=True, page_cache=new_page_cache(), clock=TestClock())
    with pytest.raises(ConfigError, match="written to by another"):
        SLOT.open(path, writable=False, page_cache=new_page_cache(), clock=TestClock())
    assert SLOT.probe(path), "looking at it is allowed"
    here.unmount()
    first, second = (
        Mounted.of(SLOT.open(path, writable=False, page_cache=new_page_cache(), clock=TestClock())) for _ in range(2)
    )
    assert first.get(b"/file") == second.get(b"/file") == b"kept"
    first.unmount()
    second.unmount()


def test_partitions_of_an_image(tmp_path: Path) -> None:
    path = mbr_image(tmp_path, Span(2048, 2048), Span(4096, 2048))
    volume = open_volume(VolumeSource.parse(f"{path}:2"), read_only=False)
    SlotFormat().make(volume.cache, FormatOptions(), TestClock())
    volume.release()
    assert SLOT.probe(f"{path}:2")
    assert not SLOT.probe(f"{path}:1")
    with pytest.raises(UsageError, match=r"has partitions 1, 2: say which, as .*:1"):
        open_volume(VolumeSource.parse(path), read_only=True)
    with pytest.raises(UsageError, match="no partition 3: it has 1, 2"):
        open_volume(VolumeSource.parse(f"{path}:3"), read_only=True)
    single = mbr_image(tmp_path, Span(2048, 2048))
    assert open_volume(VolumeSource(single), read_only=True).cache.size_bytes == 2048 * 512
    assert open_volume(VolumeSource(single), read_only=True, whole=True).cache.size_bytes > 2048 * 512


def test_a_disk_is_mounted_once(tmp_path: Path) -> None:
    path = mbr_image(tmp_path, Span(2048, 2048), Span(4096, 2048))
    disks = BlockNodes(DeviceRegistry(), logging.getLogger("test"))
    device = ImageDevice(open_image(path))
    whole = disks.add(device)
    first, second = disks.disks["sda1"], disks.disks["sda2"]
    SlotFormat().make(first.cache, FormatOptions(), TestClock())
    assert recognise([SLOT], first.cache) is SLOT
    assert recognise([SLOT], second.cache) is None

    def mount(disk: object, writable: bool = True, snapshot: bytes | None = None) -> object:
        return mount_disk(
            disks, disk, SLOT, writable=writable, page_cache=new_page_cache(), clock=TestClock(),  # type: ignore[arg-type]
            snapshot=snapshot,
        )

    def errno_of(disk: object, writable: bool = True) -> int:
        with pytest.raises(KernelError) as caught:
            mount(disk, writable)
        return caught.value.errno

    assert errno_of(second) == Errno.EINVAL
    for writable, errno in ((True, Errno.EROFS), (False, Errno.EINVAL)):
        with pytest.raises(KernelError) as caught:
            mount(first, writable, b"snapshot")
        assert (caught.value.errno, first.filesystem) == (errno, None)
    filesystem = mount(first)
    assert mount(first) is filesystem
    assert errno_of(whole) == Errno.EBUSY
    with pytest.raises(KernelError, match="EBUSY"):
        disks.read_table(whole)
    here = Mounted.of(filesystem)  # type: ignore[arg-type]
    assert here.vfs.stat(here.actor, b"/").dev == first.node.rdev == 0x801  # type: ignore[union-attr]
    here.put(b"/file", b"on the disk")
    here.unmount()
    assert first.filesystem is None
    assert errno_of(whole) == Errno.EINVAL, "nothing is mounted any more, but there is no such filesystem"
    device.read_only = True
    assert errno_of(first) == Errno.EACCES
    again = Mounted.of(mount(first, writable=False))  # type: ignore[arg-type]
    assert again.get(b"/file") == b"on the disk"
    again.unmount()


def test_a_format_that_is_imported_late_passes_everything_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name for name in vars(VolumeFormat) if not name.startswith("_")}
    assert len(names) >= 10
    assert names <= set(vars(LazyFormat))
    lazy = LazyFormat(f"{SlotFormat.__module__}:SlotFormat")
    monkeypatch.setitem(sys.modules, SlotFormat.__module__, sys.modules[SlotFormat.__module__])
    assert lazy.recognise(memory_volume(1 << 20)) is False
    assert isinstance(lazy.real, SlotFormat) and lazy.real is lazy.real
