"""The minimal sysfs: names and texts that the host's sysfs has too."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.vfs.procfs.sysfs import SysFilesystem


@pytest.fixture
def vfs(jefeos_boot: Callable[..., Any]) -> Any:
    kernel = jefeos_boot(plugins=()).kernel
    vfs = kernel.vfs
    vfs.mkdir(vfs.as_kernel(), b"/sys-test", 0o755)
    vfs.mount(SysFilesystem(kernel.clock), b"/sys-test", source=b"sysfs")
    return vfs


def read(vfs: Any, path: bytes) -> bytes:
    file = vfs.open_file(vfs.as_kernel(), path)
    text: bytes = file.read(1000)
    file.unref()
    return text


def test_one_processor(vfs: Any) -> None:
    assert read(vfs, b"/sys-test/devices/system/cpu/online") == b"0\n"
    assert read(vfs, b"/sys-test/devices/system/cpu/cpu0/topology/core_id") == b"0\n"


@pytest.mark.skipif(sys.platform != "linux" or not os.path.isdir("/sys/devices"), reason="compares with a Linux host")
def test_names_are_those_of_the_host(vfs: Any) -> None:
    for folder in (b"/", b"/devices", b"/devices/system/cpu/cpu0/topology"):
        file = vfs.open_file(vfs.as_kernel(), b"/sys-test" + folder)
        names = {entry.name for entry, _ in file.readdir_at(0)}
        file.unref()
        assert names - {b".", b".."} <= set(os.listdir(b"/sys" + folder)), folder
