"""A whole system on QEMU's devices: a disk that programs write, and what is left when QEMU dies under it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.peer
SIZE = 1 << 20


def test_a_program_writes_a_disk_and_outlives_qemu(
    host_program: Callable[[str], str], alpine_root: str, jefeos_boot: Callable[..., Any], tmp_path: Path
) -> None:
    host_program("qemu-system-x86_64")
    before = random.Random(5).randbytes(SIZE)
    image = tmp_path / "disk.img"
    image.write_bytes(before)
    system = jefeos_boot(root=alpine_root, machine="qemu", disk=[str(image)])

    def shell(command: str) -> Any:
        return system.run(["/bin/sh", "-c", command])

    assert not system.kernel.ram_file.path  # no name of RAM's file that could stay behind
    assert shell("cat /dev/sda").stdout == before
    done = shell("head -c 524288 /dev/sda > /tmp/half && cat /tmp/half /tmp/half > /dev/sda && sync")
    assert done.status == 0, done.stderr
    assert image.read_bytes() == before[: SIZE // 2] * 2

    os.kill(system.kernel.devices.machine.pid, signal.SIGKILL)
    failed = shell("while [ -e /dev/sda ]; do sleep 0.05; done; cat /dev/sda")
    assert failed.status != 0 and failed.stdout == b"", failed
    assert shell("echo still here").stdout == b"still here\n"
    assert "QEMU has ended: killed by SIGKILL" in shell("dmesg").stdout.decode()
