"""A filesystem that is unmounted lazily ends with its last open file."""

from __future__ import annotations

from collections.abc import Callable

from jefeos.api import System
from jefeos.vfs.flags import O_CREAT, O_RDWR, UnmountFlags
from jefeos.vfs.tmpfs import Tmpfs


def test_a_lazily_unmounted_filesystem_gives_its_memory_back(jefeos_boot: Callable[..., System]) -> None:
    kernel = jefeos_boot().kernel
    vfs, actor = kernel.vfs, kernel.vfs.as_kernel()
    free = kernel.memory.free_frames()
    vfs.mount(Tmpfs(kernel.memory.page_cache, kernel.clock), b"/tmp")
    files = [vfs.open_file(actor, name, O_CREAT | O_RDWR) for name in (b"/tmp/one", b"/tmp/two")]
    for file in files:
        file.write(b"x" * 10000)
    vfs.unmount(b"/tmp", UnmountFlags.DETACH)
    assert kernel.memory.free_frames() == free - 6
    files[0].unref()
    assert files[1].pread(3, 0) == b"xxx"
    files[1].unref()
    assert kernel.memory.free_frames() == free
