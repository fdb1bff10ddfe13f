"""What a system holds, counted: the check that nothing leaks, of any kind.

    before = take_stock(kernel)
    …                                     # anything that ends
    assert not growth(before, take_stock(kernel))

Two sorts of counts, by name:

* ledgers: what the kernel itself keeps count of (free frames, ids, open files, bytes in pipes and sockets, waiting
  futexes, queued tasks, mounts, nodes of filesystems in memory)
* a census: how many objects of the kernel's classes are alive (with ``census=True``). It needs no cooperation: a
  descriptor table, a timer, a wait-queue entry or a lock that anything still refers to is found, wherever it is.

What is kept on purpose to save work later is left out of the census: names and nodes that were looked up, pages of
files. Take the first stock after a run of the same program, so that the caches are warm.
"""

from __future__ import annotations

import gc
import types
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from jefeos.mm.pagecache import FileMapping
from jefeos.vfs.inode import AnonymousInode, Inode
from jefeos.vfs.locks import InodeLocks
from jefeos.vfs.path import Dentry, Path

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

Stock = dict[str, int]

_CACHES: Final = (Dentry, Path, FileMapping, Inode, Enum)
_OTHERS: Final = (
    "jefeos.testing", "jefeos.inject", "jefeos.api", "jefeos.kmsg", "jefeos.klog", "jefeos_fs_host.access"
)  # fmt: skip
"""Modules whose objects are those of whoever looks, or a cache, or bounded by their nature."""
_HOST_TIMERS: Final = ("TimerHandle",)


def take_stock(kernel: Kernel, *, census: bool = False) -> Stock:
    """Count what ``kernel`` holds at this moment, at which no program of it may be on the CPU."""
    stock = _ledgers(kernel)
    if census:
        stock.update(_census())
    return stock


def growth(before: Stock, after: Stock) -> list[str]:
    """What ``after`` holds more than ``before``, in words; empty if nothing leaked."""
    grown = []
    for name in sorted(after):
        more = after[name] - before.get(name, 0)
        if more > 0:
            grown.append(f"{more} {name}")
    return grown


def _ledgers(kernel: Kernel) -> Stock:
    vfs, table = kernel.vfs, kernel.processes
    mounts = {id(mount): mount for mount in (*vfs.mounts, vfs._anonymous_mount)}
    filesystems = {id(mount.fs): mount.fs for mount in mounts.values()}.values()
    return {
        "frames": kernel.memory.frames.total - kernel.memory.free_frames(),
        "processes": len(table.processes),
        "threads": len(table.tasks),
        "children of the kernel's first process": len(kernel.root_process.children),
        "queued tasks": len(kernel.scheduler),
        "open files": sum(mount.open_files for mount in mounts.values()),
        "bytes in pipes and sockets": vfs.buffers.used_bytes,
        "waiters on futexes": len(kernel.futexes),
        "mounts": len(vfs.mounts),
        "nodes in memory": sum(getattr(fs, "inodes_used", 0) for fs in filesystems),
        "pages of files in memory": sum(getattr(fs, "pages_used", 0) for fs in filesystems),
        "terminals": sum(len(getattr(fs, "slaves", ())) for fs in filesystems),
    }


def _census() -> Counter[str]:
    """Living objects of the kernel's and the plugins' classes, by class; waiters, locks and timers by what they are."""
    gc.collect()
    counts: Counter[str] = Counter()
    for found in gc.get_objects():
        kind = type(found)
        module = kind.__module__
        if kind is types.CoroutineType or kind is types.GeneratorType:
            if _is_ours(_code_module(found)):
                counts[f"suspended {found.__qualname__}"] += 1
        elif module.startswith("asyncio"):
            if kind.__name__ in _HOST_TIMERS and not found.cancelled():
                counts["timers"] += 1
        elif _is_ours(module):
            _count(found, kind, counts)
    return counts


def _count(found: Any, kind: type, counts: Counter[str]) -> None:
    if kind.__name__ == "WaitQueue":
        counts["waiters on queues"] += len(found)
    elif kind is InodeLocks:
        counts["locks"] += len(found.flocks) + len(found.records)
    elif isinstance(found, FileMapping) and found.source is None:
        counts["mappings without a file"] += 1
    elif not isinstance(found, _CACHES) or isinstance(found, AnonymousInode):
        counts[f"objects {kind.__qualname__}"] += 1


def _code_module(found: Any) -> str:
    frame = getattr(found, "cr_frame", None) or getattr(found, "gi_frame", None)
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def _is_ours(module: str) -> bool:
    return module.startswith("jefeos") and not module.startswith(_OTHERS)
