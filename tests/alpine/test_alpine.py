"""Alpine's programs do on JefeOS what they do on the host: its shell, its tools, its package manager."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jefeos
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from alpine import CASES, on_jefeos, on_the_host, unpack

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="chroot on the host needs root"),
]


@pytest.fixture(scope="module")
def unpacked(alpine_root: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(alpine_root, tmp_path_factory.mktemp("alpine"))


@pytest.mark.parametrize("name", CASES)
def test_same_as_on_the_host(
    name: str, unpacked: Path, alpine_root: str, jefeos_boot: Callable[..., jefeos.System]
) -> None:
    host = on_the_host(CASES[name], unpacked)
    assert on_jefeos(CASES[name], jefeos_boot(root=alpine_root)) == host


def test_a_chroot_into_it_is_the_same_again(unpacked: Path, jefeos_boot: Callable[..., jefeos.System]) -> None:
    """The host's root on JefeOS, from which a program goes into Alpine by chroot(2)."""
    host = on_the_host(CASES["apk"], unpacked)
    assert on_jefeos(CASES["apk"], jefeos_boot(root="/"), "chroot", str(unpacked)) == host
