"""A campaign of injected faults against one program: many runs, each with one thing that fails, and a look after each.

The system has virtual time, so that a run that waits costs nothing and everything repeats; what hangs is told by a
time limit that only a lost wake-up can reach, as the programs end themselves by an alarm.

What a killed program leaves by right is taken away between runs: names in its working directory, mounts, System V
objects.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define, field
from jefeos.api import ProgramTimeout, System
from jefeos.errors import KernelError
from jefeos.testing.accounting import Stock, growth, take_stock
from jefeos.vfs.flags import UnmountFlags
from jefeos.vfs.path import Path

CALL_FAULTS: Final = (
    "all:error=ENOMEM",
    "all:error=EINTR",
    "all:error=EIO",
    "all:signal=KILL",
    "all:signal=USR2",
)
POINT_FAULTS: Final = (
    "@frame",
    "@copy",
    "@io",
    "@descriptor",
    "@buffer",
    "@process",
    "@wait",
    "@wait:signal=KILL",
    "@wait:signal=TERM",
)
FOLDER: Final = "/tmp/campaign"
TIME_LIMIT_S: Final = 5
CENSUS_EVERY: Final = 25


@define
class Campaign:
    """Runs ``argv`` again and again; ``problems`` says what was wrong after which fault."""

    system: System
    argv: Sequence[str]
    time_limit_s: float = TIME_LIMIT_S
    problems: list[str] = field(factory=list)
    hangs: list[str] = field(factory=list)
    """Faults after which the program did not end by itself."""
    runs: int = 0
    _ledgers: Stock = field(factory=dict)
    _census: Stock = field(factory=dict)
    _mounts: int = 0

    def warm_up(self) -> None:
        """Fill the caches, and count what there is."""
        kernel = self.system.kernel
        self._mounts = len(kernel.vfs.mounts)
        for _ in range(2):
            self.run_once("all:error=EIO:when=1000000000")
        gc.collect()
        gc.freeze()  # what is here now is not to be counted again and again
        self._ledgers, self._census = take_stock(kernel), take_stock(kernel, census=True)

    def count(self, fault: str) -> int:
        """How often ``fault`` could happen in one run."""
        return self.run_once(f"{fault}:when=1000000000")

    def try_each(self, fault: str, moments: Iterable[int]) -> None:
        """One run for each moment, at which ``fault`` happens."""
        for moment in moments:
            self.try_one(f"{fault}:when={moment}")

    def try_one(self, spec: str) -> None:
        """One run, and a look at what it left."""
        kernel = self.system.kernel
        self.run_once(spec)
        if kernel.bugs:
            self.problems.append(f"{spec}: {kernel.bugs} handlers of the kernel failed")
            kernel.bugs = 0
        now = take_stock(kernel)
        grown = growth(self._ledgers, now)
        if grown:
            self.problems.append(f"{spec}: {', '.join(grown)}")
            self._ledgers = now
        if not self.runs % CENSUS_EVERY:
            self.take_census(spec)

    def take_census(self, until: str = "the end") -> None:
        """Look for objects that should be gone; what is found came into being since the last time."""
        now = take_stock(self.system.kernel, census=True)
        grown = growth(self._census, now)
        if grown:
            self.problems.append(f"before {until}: {', '.join(grown)}")
            self._census = now

    def run_once(self, spec: str) -> int:
        """One run without a look; how often the fault could have happened."""
        self.runs += 1
        _folder(self.system)
        with self.system.inject(spec) as injected:
            try:
                self.system.run(self.argv, cwd=FOLDER, timeout=self.time_limit_s)
            except ProgramTimeout:
                self.hangs.append(spec)
        clean(self.system, self._mounts)
        return injected.reached


def clean(system: System, mounts: int) -> None:
    """Take away what a program may leave behind: mounts past the first so many, names, System V objects."""
    vfs = system.kernel.vfs
    for mount in reversed(vfs.mounts[mounts:]):
        vfs.unmount(Path(mount, mount.root), UnmountFlags.DETACH)
    _remove_tree(system, FOLDER.encode())
    for personality in system.kernel.personalities:
        tables: Any = personality.ipc  # type: ignore[attr-defined]
        tables.clear()
        for table in (tables.segments, tables.sets, tables.queues):
            for item in list(table.by_slot.values()):
                table.remove(item)
            table.uses.clear()


def _folder(system: System) -> None:
    vfs = system.kernel.vfs
    vfs.mkdir(vfs.as_kernel(), FOLDER.encode(), 0o777)


def _remove_tree(system: System, path: bytes) -> None:
    vfs = system.kernel.vfs
    actor = vfs.as_kernel()
    remove: Callable[..., None] = vfs.rmdir
    try:
        inode = vfs.resolve(actor, path, follow=False).inode
    except KernelError:
        return
    if inode.is_directory:
        for entry in list(inode.readdir()):
            if entry.name not in (b".", b".."):
                _remove_tree(system, path + b"/" + entry.name)
    else:
        remove = vfs.unlink
    remove(actor, path)
