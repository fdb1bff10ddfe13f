"""Filesystem types: how a filesystem plugin tells the kernel what it can mount.

The hook ``jefeos_filesystems`` returns these. ``jefeos boot --root SOURCE`` asks each type, in the order of the
plugins, whether it can mount the source, and opens it with the first that says yes; mount(2) picks by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from jefeos.vfs.inode import Clock, Filesystem

if TYPE_CHECKING:
    from jefeos.block.volume import VolumeFormat
    from jefeos.mm.pagecache import PageCache


class Probe(Protocol):
    """Tells whether a source (a host path, a device name) is of this type, without opening it for long."""

    def __call__(self, source: str) -> bool: ...


class Open(Protocol):
    """Opens a source. Raises `KernelError` or `CorruptError` if it is not what it seemed."""

    def __call__(self, source: str, *, writable: bool, page_cache: PageCache | None, clock: Clock) -> Filesystem: ...


@frozen
class FilesystemType:
    """A kind of filesystem: its name in mount(2) and /proc/filesystems, and how to recognise and open one.

    ``layered``: opened read-only, it is meant to be the lower half of an overlay (a host folder, an archive).
    ``volume``: how to make, check and mount it on a block device, for filesystems that live on one.
    ``needs_source``: False for filesystems that live on nothing ("nodev" in /proc/filesystems).
    """

    name: str
    probe: Probe
    open: Open
    needs_source: bool = True
    layered: bool = False
    volume: VolumeFormat | None = None
