"""Volumes for ``jefeos disk``: opened from an image without a kernel, and mounted on a Vfs of their own.

    with Volume.open("disk.vhd:1", writable=True) as volume:
        volume.vfs, volume.actor       everything that can be done to files, as the privileged user

There is no page cache: contents go between the buffer cache and the caller in large pieces. When the block ends the
volume is unmounted and flushed, after an error as well: what was done until then stays, whole.
"""

from __future__ import annotations

import errno as host_errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from attrs import define, frozen

from jefeos.block.sources import HostVolume, LazyFormat, VolumeSource, mount_volume, open_volume, recognise
from jefeos.errors import Errno, JefeError, KernelError, UsageError, errno_name
from jefeos.vfs.vfs import Vfs

if TYPE_CHECKING:
    from jefeos.block.volume import Progress, VolumeFormat
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.inode import Filesystem
    from jefeos.vfs.permissions import Actor


class DiskError(JefeError):
    """A command on a disk image failed; the message is what the user reads."""

    exit_status = 1


@frozen
class VolumePath:
    """A file in an image, written ``IMAGE[:PARTITION]:/path``."""

    source: str
    path: bytes

    @classmethod
    def parse(cls, text: str) -> VolumePath | None:
        """None for what is a path of the host."""
        start = 0
        while (at := text.find(":/", start)) > 0:
            if os.path.isfile(VolumeSource.parse(text[:at]).path):
                return cls(text[:at], os.fsencode(text[at + 1 :]))
            start = at + 1
        return None

    def __str__(self) -> str:
        return f"{self.source}:{os.fsdecode(self.path)}"


def volume_types() -> list[FilesystemType]:
    """The types of the installed plugins that live on a volume. A broken plugin is told of and left out."""
    import sys

    from jefeos.config import BootConfig
    from jefeos.plugins import discover, load_plugins

    found = [info for info in discover() if info.kind == "fs"]
    loaded = load_plugins(BootConfig(), lambda health: print(f"jefeos: {health.line()}", file=sys.stderr), found)
    types = [kind for kinds in loaded.collect("jefeos_filesystems") for kind in kinds]
    return [kind for kind in types if kind.volume is not None]


def named_type(name: str) -> FilesystemType:
    """The type of that name. Raises UsageError with those that there are."""
    types = volume_types()
    for kind in types:
        if kind.name == name:
            return kind
    there = ", ".join(kind.name for kind in types) or "none (install a filesystem plugin)"
    raise UsageError(f"there is no filesystem {name!r}; there are: {there}")


def type_on(volume: HostVolume) -> tuple[FilesystemType, VolumeFormat]:
    """What is on a volume. Raises DiskError if no plugin recognises it."""
    types = volume_types()
    kind = recognise(types, volume.cache)
    if kind is None or kind.volume is None:
        known = ", ".join(kind.name for kind in types) or "none (install a filesystem plugin)"
        broken = [f"; {kind.name} is not usable: {why}" for kind in types if (why := _why_unusable(kind))]
        raise DiskError(f"{volume.source}: no filesystem is recognised there; known types: {known}{''.join(broken)}")
    return kind, kind.volume


def _why_unusable(kind: FilesystemType) -> str:
    """What a plugin lacks that is installed without all that it needs."""
    try:
        if isinstance(kind.volume, LazyFormat):
            _ = kind.volume.real
    except KernelError as error:
        return str(error.args[0])
    return ""


def source_and_paths(source: str, paths: list[str]) -> tuple[str, list[str]]:
    """``IMAGE PATH...``, which may be written as for cp, ``IMAGE:/path PATH...``."""
    place = VolumePath.parse(source)
    return (source, paths) if place is None else (place.source, [os.fsdecode(place.path), *paths])


@define
class Volume:
    """See the module."""

    opened: HostVolume
    kind: str
    filesystem: Filesystem
    vfs: Vfs
    actor: Actor

    @classmethod
    def open(cls, text: str, *, writable: bool) -> Volume:
        """Mount what is there. Raises DiskError, ConfigError and UsageError."""
        from jefeos.sched.clock import RealClock

        source = VolumeSource.parse(text)
        opened = open_volume(source.volume, read_only=not writable)
        try:
            kind, volume_format = type_on(opened)
            with speaking_of(text):
                filesystem = mount_volume(opened, volume_format, writable=writable, page_cache=None, clock=RealClock(),
                                          snapshot=source.snapshot)
            if writable and filesystem.read_only:
                why = filesystem.read_only_reason or "its filesystem cannot be written"
                raise DiskError(f"{text} can only be read: {why}")
        except BaseException:
            opened.image.close()
            raise
        vfs = Vfs(filesystem.clock)
        vfs.mount(filesystem, b"/")
        return cls(opened, kind.name, filesystem, vfs, vfs.as_kernel())

    def __enter__(self) -> Volume:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with speaking_of(str(self.opened.source)):
            self.vfs.unmount_all()


@contextmanager
def speaking_of(what: object) -> Iterator[None]:
    """Errors of the kernel become a `DiskError` that names ``what``."""
    try:
        yield
    except KernelError as error:
        raise DiskError(f"{what}: {words_of(error)}", error.errno) from None


def words_of(error: KernelError) -> str:
    """What went wrong, as a program of the host would say it."""
    name = errno_name(error.errno)
    number = getattr(host_errno, name, None)
    text = os.strerror(number) if number is not None else name
    detail = error.args[0] if error.args and error.args[0] else ""
    if error.errno in (Errno.EUCLEAN, Errno.EIO) and detail:
        return f"damaged ({detail}); see jefeos disk fsck" if error.errno == Errno.EUCLEAN else f"{text} ({detail})"
    return f"{text} ({detail})" if detail else text


@contextmanager
def progress_bar(what: str, *, is_bytes: bool = False) -> Iterator[Progress]:
    """A bar on standard error while it goes on, if that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = [DownloadColumn(), TransferSpeedColumn()] if is_bytes else []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


@contextmanager
def waiting_for_interrupts() -> Iterator[Callable[[], None]]:
    """A ^C does not strike in the middle of a change to a volume: it is heeded when the function that this gives is
    called, between two changes, and at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    struck = False

    def strike(number: int, frame: object) -> None:
        nonlocal struck
        struck = True

    def heed() -> None:
        if struck:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, strike)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, before)
    heed()


def counted(number: int, what: str) -> str:
    """``1 file``, ``2 files``, ``2 directories``."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what[:-1]}ies" if what.endswith("y") else f"{number} {what}s"


def human(size: int) -> str:
    """``1.5 MiB``."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def each(paths: list[str], work: Callable[[str], None]) -> int:
    """Do it for each; an error is told and the others go on. 1 if there was one."""
    import sys

    status = 0
    for path in paths:
        try:
            work(path)
        except DiskError as error:
            print(f"jefeos: {error}", file=sys.stderr)
            status = 1
    return status
